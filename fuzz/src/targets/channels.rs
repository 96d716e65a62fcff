//! Subscribers and WebSockets in a whole engine: what clients ask and say in frames, what a host publishes, joins, sends and
//! closes, what other threads say meanwhile, in any order.
//!
//! An input is settings and then steps, one byte and what it needs each. The driver is that of the simulation, as in
//! [`super::engine`], which has what requests are about without channels.
//!
//! What must hold: every id has its events in the order of the contract and one last one; what goes to a WebSocket is whole
//! frames of a server; whoever subscribed once gets what was published in order and nothing twice; the account of memory is
//! zero at the end, of the engine and of the hub; readable means that there is something to do, and everything ends.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use encke::engine::answer::{Answer, Body};
use encke::engine::event::{self, Event, What};
use encke::engine::head::Head;
use encke::engine::id::Id;
use encke::engine::lease::{Leases, Settle, Settled, Socket};
use encke::engine::mailbox::Submission;
use encke::engine::settings::Settings;
use encke::engine::subscription::Subscription;
use encke::http1::response::Seen;
use encke::push::feed::{Filter, Transport};
use encke::push::hub::Hub;
use encke::push::message::Parts;
use encke::push::policy::Choice;
use encke::push::position::Position;
use encke::ws::frame::{frame, masked};

use crate::bytes::{pattern, Bytes};
use crate::driver::Driver;

const MOST_STEPS: usize = 150;
const MOST_CLIENTS: usize = 6;
const START: u64 = 5000;
const EPOCH: u64 = 7;

const SAYINGS: [&str; 10] = [
    "GET /a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n",
    "GET /m HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /l?since=0000000000000007:1 HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n",
    "GET /w HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /d HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
     Sec-WebSocket-Protocol: encke.json\r\n\r\n",
    "GET /o HTTP/1.1\r\nHost: h\r\nOrigin: http://other\r\nAccept: text/event-stream\r\n\
     Last-Event-ID: 0000000000000007:2\r\n\r\n",
    "GET /v HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /0 HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n",
    "HEAD /h HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
];
const CHANNELS: [&str; 4] = ["a", "b/1", "b/2", "c"];
const PATTERNS: [&str; 6] = ["a", "b/1", "c", "b/*", "*", "a"];

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.finish();
}

/// Where an id is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Held,
    Answered,
    Subscribed,
    Socket,
    Over,
}

#[derive(Debug, Default)]
struct Client {
    pipe: usize,
    got: Vec<u8>,
    /// Subscriptions that it had.
    subscribed: usize,
    left: bool,
}

struct World {
    driver: Driver,
    leases: Arc<Leases>,
    hub: Arc<Hub>,
    clients: Vec<Client>,
    lives: BTreeMap<u64, Life>,
    heads: HashMap<u32, Box<Head>>,
    published: u64,
    idle_rounds: u32,
}

fn answer(status: u16) -> Box<Answer<'static>> {
    let (lines, seen, body) = (Cow::Borrowed(&b""[..]), Seen::default(), Body::Copy(b"an answer"));
    Box::new(Answer { status, close: false, length: None, lines, seen, content_type: None, body })
}

impl World {
    fn new(input: &mut Bytes<'_>) -> World {
        let high_water = input.pick(&[256 << 10, 1, 200, 3000]);
        let flags = input.u8();
        let mut settings = Settings {
            high_water,
            low_water: high_water / 2,
            max_memory: input.pick(&[256 << 20, 20_000, 1 << 20]),
            max_body: input.pick(&[64 << 20, 10, 300]),
            websocket_heartbeat: input.pick(&[30_000, 500, 0]),
            events: 1 << event::DONE | 1 << event::SUBSCRIBER,
            ..Settings::default()
        };
        settings.events |= u64::from(flags & 1) << event::HALF_CLOSED;
        if flags & 2 != 0 {
            settings.origins = "http://other".into();
        }
        if flags & 4 != 0 {
            (settings.write_timeout, settings.idle_timeout) = (600, 900);
        }
        let hub = Arc::new(Hub::new(EPOCH));
        hub.set_limit(settings.max_memory);
        let mut driver = Driver::new(settings, 4096, 1 << 20, 0, START);
        driver.enter(hub.clone());
        let leases = driver.engine.leases().clone();
        let (clients, lives, heads) = (Vec::new(), BTreeMap::new(), HashMap::new());
        World { driver, leases, hub, clients, lives, heads, published: 0, idle_rounds: 0 }
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        let what = input.u8();
        if self.clients.is_empty() {
            self.connect(1 << 20);
        }
        match what % 16 {
            0 => {
                let room = input.pick(&[1 << 20, 100, 3000]);
                self.connect(room);
            }
            1 | 2 => {
                let (at, saying) = (input.u8(), input.pick(&SAYINGS));
                self.send(at, saying.as_bytes());
            }
            3 | 4 => {
                let (at, first, text) = (input.u8(), input.u8(), input.text());
                let mut bytes = masked(first & 0x0f, text, [1, 2, 3, 4]);
                bytes[0] = first;
                self.send(at, &bytes);
            }
            5 => {
                let (at, text) = (input.u8(), input.text());
                self.send(at, text);
            }
            6 => {
                let (at, how) = (input.u8(), input.u8());
                self.leave(at as usize % self.clients.len(), how);
            }
            7 => {
                let (at, most) = (input.u8(), input.u16());
                let at = at as usize % self.clients.len();
                self.read(at, most as usize);
            }
            8 => {
                self.run_once();
                self.take_events();
            }
            9 => self.subscribe(input),
            10 | 11 => self.say_to(input),
            12 => self.publish(input),
            13 => {
                let (id, channel) = (self.any(input), input.pick(&PATTERNS));
                if self.leases.second(id).is_ok() {
                    let submission = match what & 128 {
                        0 => Submission::Join { id, patterns: vec![channel.into()] },
                        _ => Submission::Leave { id, pattern: channel.into() },
                    };
                    self.say(submission, what & 64 != 0);
                }
            }
            14 => {
                let choices =
                    [Choice::History, Choice::Bytes, Choice::Ttl, Choice::Slow, Choice::Backlog, Choice::Heartbeat];
                let (pattern, choice, value) = (input.pick(&PATTERNS), input.pick(&choices), u64::from(input.u8()));
                let value = match choice {
                    Choice::Slow => value % 4,
                    Choice::Backlog => value * 10 + 1,
                    _ => value * 10,
                };
                self.hub.set(pattern, choice, value, self.driver.now);
            }
            _ => match input.u8() {
                255 => self.driver.drain(1000),
                n => self.driver.now += u64::from(n) * 20,
            },
        }
    }

    // ---- clients -----------------------------------------------------------------------------------------------------

    fn connect(&mut self, room: usize) {
        if self.clients.len() < MOST_CLIENTS {
            let pipe = self.driver.connect(room);
            self.clients.push(Client { pipe, ..Client::default() });
        }
    }

    fn send(&mut self, at: u8, bytes: &[u8]) {
        let client = &self.clients[at as usize % self.clients.len()];
        if !client.left && !self.driver.pipes[client.pipe].fin {
            self.driver.client_sends(client.pipe, bytes);
        }
    }

    fn leave(&mut self, at: usize, how: u8) {
        let client = &mut self.clients[at];
        if client.left || self.driver.pipes[client.pipe].fin && how % 3 == 0 {
            return;
        }
        client.left = how % 3 != 0;
        match how % 3 {
            0 => self.driver.client_ends(client.pipe),
            1 => self.driver.client_leaves(client.pipe),
            _ => self.driver.client_resets(client.pipe),
        }
    }

    fn read(&mut self, at: usize, most: usize) -> bool {
        let client = &mut self.clients[at];
        if client.left {
            return false;
        }
        let n = self.driver.client_reads(client.pipe, most, &mut client.got);
        let pipe = &self.driver.pipes[client.pipe];
        if pipe.down.is_empty() && (pipe.shut || pipe.ended.is_some()) {
            let open = pipe.ended.is_none();
            client.left = true;
            if open {
                self.driver.client_leaves(client.pipe);
            }
            return true;
        }
        n > 0
    }

    // ---- the host ----------------------------------------------------------------------------------------------------

    fn any(&self, input: &mut Bytes<'_>) -> Id {
        let at = usize::from(input.u8());
        self.lives.keys().rev().nth(at % self.lives.len().max(1)).map_or(Id::NONE, |id| Id(*id))
    }

    /// On the loop thread, or on another one.
    fn say(&mut self, submission: Submission, elsewhere: bool) {
        if elsewhere {
            return self.driver.submit(submission).expect("it was not freed");
        }
        for before in self.driver.before_answer() {
            self.driver.engine.apply(before);
        }
        self.driver.engine.apply(submission);
        self.driver.after_answer();
    }

    fn settled(&mut self, id: Id, settled: Settled, life: Life, submission: Submission, elsewhere: bool) {
        let gone = settled == Settled::Gone;
        self.lives.insert(id.0, if gone { Life::Answered } else { life });
        self.say(if gone { Submission::Settled { id } } else { submission }, elsewhere);
    }

    fn subscribe(&mut self, input: &mut Bytes<'_>) {
        let (id, pattern, how) = (self.any(input), input.pick(&PATTERNS), input.u8());
        let transports = [
            None,
            Some(Transport::Multipart),
            Some(Transport::Sse),
            Some(Transport::LongPoll),
            Some(Transport::WebSocket),
            Some(Transport::Plain),
        ];
        let transport = transports[how as usize % 6];
        let (since, timeout) = (input.u8(), input.u8());
        let filter = Filter { types: "text/*".into(), ..Filter::default() };
        let subscription = Subscription {
            patterns: vec![pattern.into(), "c".into()],
            transport,
            filter: (how & 64 != 0).then(|| Box::new(filter)),
            since: (since > 0).then(|| Position { epoch: EPOCH, n: u64::from(since) - 1 }),
            timeout: u64::from(timeout) * 10,
            cors: how & 128 != 0,
            ..Subscription::default()
        };
        let socket = match transport {
            None | Some(Transport::WebSocket) => Socket::May,
            Some(_) => Socket::Never,
        };
        let Ok(settled) = self.leases.settle_into_second(id, socket) else { return };
        let subscription = Box::new(subscription);
        self.settled(id, settled, Life::Subscribed, Submission::Subscribe { id, subscription }, timeout & 1 != 0);
    }

    fn say_to(&mut self, input: &mut Bytes<'_>) {
        let (id, verb, n) = (self.any(input), input.u8(), input.u8());
        let elsewhere = verb & 128 != 0;
        match verb % 8 {
            0 | 1 => {
                if let Ok(settled) = self.leases.settle_into_second(id, Socket::Must) {
                    self.settled(id, settled, Life::Socket, Submission::Accept { id, lines: Vec::new() }, elsewhere);
                }
            }
            2 | 3 => {
                let (opcode, len) = if n & 1 == 0 { (2, usize::from(n) * 20) } else { (9, usize::from(n) % 126) };
                let frames = frame(opcode, &pattern(1, len));
                let leases = self.leases.clone();
                if let Ok(pin) = leases.reserve_second(id, frames.len() as u64) {
                    self.say(Submission::Frames { id, frames }, elsewhere);
                    drop(pin);
                };
            }
            4 => {
                if self.leases.second_of_socket(id).is_ok() {
                    self.say(Submission::Close { id, code: 1000 + u16::from(n % 3), reason: "bye".into() }, elsewhere);
                }
            }
            5 if self.leases.is_second(id) => {
                let end =
                    if n & 1 == 0 { Submission::Kick { id } } else { Submission::End { id, trailers: Vec::new() } };
                self.say(end, elsewhere);
            }
            6 => {
                if let Ok(settled) = self.leases.settle(id, Settle::Abort) {
                    self.settled(id, settled, Life::Answered, Submission::Abort { id }, elsewhere);
                }
            }
            _ => {
                if let Ok(settled) = self.leases.settle(id, Settle::Whole) {
                    let submission = Submission::Respond { id, answer: answer(200) };
                    self.settled(id, settled, Life::Answered, submission, elsewhere);
                }
            }
        }
    }

    fn publish(&mut self, input: &mut Bytes<'_>) {
        let (channel, how, n) = (input.pick(&CHANNELS), input.u8(), input.u8());
        self.published += 1;
        let mut data = format!("#{};", self.published).into_bytes();
        data.extend(match how & 3 {
            0 => pattern(2, usize::from(n) * 10),
            _ => b"text and ".repeat(usize::from(n)),
        });
        let parts = Parts {
            kind: if how & 4 == 0 { "text/plain".into() } else { "image/png".into() },
            key: if how & 8 == 0 { String::new() } else { "k".into() },
            data,
            ..Parts::default()
        };
        if !self.hub.has_room(parts.data.len() as u64) {
            return;
        }
        let now = self.driver.now;
        if how & 128 != 0 {
            return self.hub.publish(channel, parts, now, None);
        }
        for before in self.driver.before_answer() {
            self.driver.engine.apply(before);
        }
        let awake = self.driver.engine.hub().map(|(_, member)| *member);
        self.hub.publish(channel, parts, now, awake);
        self.driver.after_publish(&mut |engine, submission| engine.apply(submission));
    }

    fn run_once(&mut self) {
        self.driver.run(256, 1000, &mut |engine, submission| engine.apply(submission));
    }

    fn take_events(&mut self) -> bool {
        let mut taken = 0;
        loop {
            while let Some(slot) = self.driver.engine.take_retired() {
                if let Some(head) = self.heads.remove(&slot) {
                    self.driver.engine.recycle_head(head);
                }
            }
            let Some(event) = self.driver.next() else { return taken > 0 };
            self.event(event);
            taken += 1;
            assert!(taken < 100_000, "a drain without end");
        }
    }

    fn event(&mut self, event: Event) {
        let id = event.id;
        let life = self.lives.get(&id.0).copied();
        match event.what {
            What::Request(head) => {
                assert_eq!(life, None, "an id twice");
                self.lives.insert(id.0, Life::Held);
                let connection = head.connection.slot() as usize;
                if let Some(Some(socket)) = self.driver.sockets.get(connection) {
                    let client = self.clients.iter_mut().find(|client| client.pipe == socket.pipe).expect("a client");
                    client.subscribed += 1;
                }
                self.heads.insert(id.slot(), head);
            }
            What::Body { data, .. } => {
                let n = data.len() as u64;
                self.driver.engine.recycle_buffer(data);
                if n > 0 && self.leases.present(id).is_ok() {
                    self.say(Submission::Ack { id, n }, false);
                }
            }
            What::Message { opcode, data } => {
                assert!(matches!(life, Some(Life::Socket | Life::Subscribed)), "{life:?}");
                assert!(opcode == 2 || opcode == 1 && std::str::from_utf8(&data).is_ok());
                assert!(data.len() as u64 <= self.driver.engine.settings.max_body);
                self.driver.engine.recycle_buffer(data);
            }
            What::Subscriber { .. } => assert!(matches!(life, Some(Life::Socket | Life::Subscribed)), "{life:?}"),
            What::Done { .. } => {
                assert!(matches!(life, Some(Life::Answered | Life::Subscribed)), "{life:?}");
                self.lives.insert(id.0, Life::Over);
            }
            What::Closed(_) => {
                assert!(matches!(life, Some(Life::Socket | Life::Subscribed)), "{life:?}");
                self.lives.insert(id.0, Life::Over);
            }
            What::Aborted(_) => {
                assert!(matches!(life, Some(Life::Held | Life::Answered)), "{life:?}");
                if let Ok(settled) = self.leases.settle(id, Settle::Abort) {
                    self.settled(id, settled, Life::Answered, Submission::Abort { id }, false);
                }
            }
            What::Writable | What::HalfClosed => assert_ne!(life, Some(Life::Over)),
            _ => {}
        }
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    fn finish(mut self) {
        for pipe in &mut self.driver.pipes {
            pipe.room = pipe.room.max(3000); // or a long answer takes for ever
        }
        self.until_quiet(false);
        for at in 0..self.clients.len() {
            self.judge(at);
            // Who only closed its sending side may still be a subscriber, and of a form without signs of life.
            self.clients[at].left = true;
            self.driver.client_resets(self.clients[at].pipe);
        }
        self.until_quiet(true);
        let engine = &self.driver.engine;
        assert_eq!(engine.connections(), 0, "connections are left");
        let counters = engine.counters();
        assert_eq!((counters.memory, counters.held, counters.queued_bytes), (0, 0, 0), "memory, held, queued bytes");
        assert!(!engine.has_events() && !engine.is_dirty(), "{}", self.driver.why());
        assert!(self.lives.values().all(|life| *life == Life::Over), "{:?}", self.lives);
        self.driver.free(&mut |engine, submission| engine.apply(submission));
        drop(self.driver);
        while self.hub.next_expiry().is_some() {
            self.hub.sweep(u64::MAX >> 1);
        }
        assert_eq!((self.hub.channels(), self.hub.memory()), (0, 0), "channels, and bytes of messages");
    }

    fn until_quiet(&mut self, leaving: bool) {
        let end = self.driver.now + 200_000;
        for _ in 0..50_000 {
            let before = self.driver.moved;
            let mut moved = false;
            for at in 0..self.clients.len() {
                moved |= self.read(at, usize::MAX);
            }
            let held: Vec<u64> =
                self.lives.iter().filter(|(_, life)| **life == Life::Held).map(|(id, _)| *id).collect();
            for id in held {
                if let Ok(settled) = self.leases.settle(Id(id), Settle::Whole) {
                    let submission = Submission::Respond { id: Id(id), answer: answer(204) };
                    self.settled(Id(id), settled, Life::Answered, submission, false);
                    moved = true;
                }
            }
            if self.driver.readable() {
                self.run_once();
                moved |= self.take_events() || self.driver.moved > before;
                self.idle_rounds = if moved { 0 } else { self.idle_rounds + 1 };
                assert!(self.idle_rounds < 10, "spinning: {}", self.driver.why());
            } else if !moved {
                let Some(at) = self.driver.next_timer().filter(|_| leaving && self.driver.now < end) else { return };
                if self.driver.engine.connections() == 0 {
                    return;
                }
                self.idle_rounds = 0;
                self.driver.now = at.max(self.driver.now + 1);
            }
        }
        panic!("no end in sight: {}", self.driver.why());
    }

    /// What a client got: frames are whole, and what was published came in order.
    fn judge(&self, at: usize) {
        let got = &self.clients[at].got;
        let mut data = &got[..];
        if got.starts_with(b"HTTP/1.1 101 ") {
            let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            data = &got[end + 4..];
            frames(data);
        }
        if self.clients[at].subscribed > 1 {
            return;
        }
        let mut last = 0;
        for at in 0..data.len() {
            let digits: Vec<u8> = data[at + 1..].iter().copied().take_while(u8::is_ascii_digit).take(9).collect();
            if data[at] != b'#' || digits.is_empty() || data.get(at + 1 + digits.len()) != Some(&b';') {
                continue;
            }
            let n: u64 = String::from_utf8(digits).expect("digits").parse().expect("a number");
            assert!(n > last && n <= self.published, "{n} behind {last} of {}", self.published);
            last = n;
        }
    }
}

/// Frames of a server: not masked, of kinds that there are, in one piece each. The last may be cut.
fn frames(mut data: &[u8]) {
    while let [first, second, rest @ ..] = data {
        assert!(matches!(first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8a | 0xc1 | 0xc2), "{first:#x}");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (len, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [n @ ..]) if n.len() >= 8 => (u64::from_be_bytes(n[..8].try_into().expect("eight")), &n[8..]),
            (126 | 127, _) => return,
            (n, rest) => (u64::from(*n), rest),
        };
        assert!(*first < 0x88 || *first > 0x8a || len <= 125, "a long frame of control");
        let Some(behind) = rest.get(len as usize..) else { return };
        assert!(*first != 0x88 || behind.is_empty(), "frames behind a close");
        data = behind;
    }
}
