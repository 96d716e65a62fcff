//! The simulation of a server whose memory is used up: clients that hoard what they never finish, in heads, in bodies that
//! are gathered and in messages of WebSockets, and others that ask for little. Rule: no deadline helps, so whoever holds
//! nothing is answered because the largest holders have to go.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

use crate::engine::answer::{Answer, Body};
use crate::engine::event::What;
use crate::engine::head::Head;
use crate::engine::id::Id;
use crate::engine::lease::{Settle, Settled, Socket};
use crate::engine::settings::Settings;
use crate::http1::response::Seen;
use crate::ws::deflate::deflate;

use super::accounts;
use super::client::find;
use super::deadlines;
use super::driver::Driver;
use super::push::masked;
use super::rng::{pattern, Rng};

const BEGIN: u64 = 5000;
/// A small request is answered within this time: one second of patience, and the turns of all the others. Handshakes and
/// messages of WebSockets, which may be the beginning of something large, wait for as many reliefs as there are clients.
const MOST: u64 = 4000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One small request after another.
    Small,
    /// Small messages in a WebSocket.
    Talk,
    /// What does not end: a head, a body, a chunked one, a message in one frame, in fragments.
    Head,
    Body,
    Chunked,
    Frame,
    Fragments,
    /// A message that is small only on its way.
    Bomb,
}

#[derive(Debug)]
struct Client {
    kind: Kind,
    pipe: Option<usize>,
    due: u64,
    out: VecDeque<(u64, Vec<u8>)>,
    got: Vec<u8>,
    /// When its last small request or message was sent, until it is dealt with.
    asked: Option<u64>,
    /// Bytes that it goes on to send, so many at a time, with such pauses.
    left: usize,
    piece: usize,
    pause: u64,
    upgraded: bool,
    /// Bytes of the message that it sent in few.
    bomb: usize,
    said: u64,
    answers: usize,
}

#[derive(Debug)]
pub struct World {
    rng: Rng,
    driver: Driver,
    clients: Vec<Client>,
    /// By id, the client of a WebSocket.
    sockets: HashMap<Id, usize>,
    closed: HashMap<Id, u16>,
    most: u64,
    /// A message that is no larger when it is inflated is taken in any case.
    least: u64,
    used_up: bool,
    horizon: u64,
    over: bool,
    trace: bool,
    pub steps: u64,
    pub requests: usize,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        const LONG: u64 = 1_000_000_000;
        let mut rng = Rng::new(seed ^ 0x6d65_6d6f_7279);
        let max_memory = rng.pick(&[20_000, 80_000, 400_000]);
        let settings = Settings {
            max_memory,
            max_head: 32 << 10,
            buffer_body: rng.pick(&[4000, 64 << 10, 300_000]),
            high_water: rng.pick(&[100, 3000]),
            low_water: 50,
            max_body: 64 << 20,
            head_timeout: LONG,
            body_timeout: LONG,
            idle_timeout: LONG,
            write_timeout: LONG,
            handshake_timeout: LONG,
            websocket_heartbeat: LONG,
            ..Settings::default()
        };
        if trace {
            println!("memory: {settings:?}");
        }
        let scratch = rng.pick(&[512, 4096, 65_536]);
        let driver = Driver::new(settings, scratch, 1 << 20, rng.pick(&[0, 0, 3]), BEGIN);
        let mut kinds = Vec::new();
        for _ in 0..rng.range(2, 24) {
            kinds.push(rng.pick(&[Kind::Head, Kind::Body, Kind::Chunked, Kind::Frame, Kind::Fragments, Kind::Bomb]));
        }
        for _ in 0..rng.range(1, 8) {
            kinds.push(if rng.chance(70) { Kind::Small } else { Kind::Talk });
        }
        let clients = kinds.into_iter().map(|kind| Client {
            kind,
            pipe: None,
            due: BEGIN + rng.below(3000),
            out: VecDeque::new(),
            got: Vec::new(),
            asked: None,
            left: 0,
            piece: 0,
            pause: 0,
            upgraded: false,
            bomb: 0,
            said: 0,
            answers: 0,
        });
        let clients = clients.collect();
        // Beyond the limit by what reads and one message may bring, and no more.
        let most = max_memory + 2 * scratch as u64 + (64 << 10);
        World {
            horizon: BEGIN + rng.range(4_000, 12_000),
            rng,
            driver,
            clients,
            sockets: HashMap::new(),
            closed: HashMap::new(),
            most,
            least: 4096.min(max_memory / 32),
            used_up: false,
            over: false,
            trace,
            steps: 0,
            requests: 0,
        }
    }

    pub fn run(mut self) -> (usize, usize, u64) {
        self.until_quiet(self.horizon);
        self.over = true;
        for at in 0..self.clients.len() {
            if let Some(pipe) = self.clients[at].pipe.take() {
                self.driver.client_leaves(pipe);
            }
        }
        self.until_quiet(u64::MAX);
        let engine = &self.driver.engine;
        let counters = engine.counters();
        assert_eq!(engine.connections(), 0, "connections are left");
        assert_eq!((counters.memory, counters.held, counters.queued_bytes), (0, 0, 0), "memory, held, queued bytes");
        assert!(engine.exchanges.is_empty() && !engine.has_events());
        (self.clients.len(), self.requests, self.steps)
    }

    fn until_quiet(&mut self, horizon: u64) {
        let mut idle = 0;
        loop {
            self.steps += 1;
            assert!(self.steps < 1_000_000, "no end in sight");
            let mut moved = false;
            for at in 0..self.clients.len() {
                moved |= self.step(at);
            }
            if self.driver.readable() {
                let before = self.driver.moved;
                self.driver.run(256, 1000, &mut |_, _| ());
                self.check(); // before the host takes anything
                moved |= self.drain();
                moved |= self.driver.moved > before;
                idle = if moved { 0 } else { idle + 1 };
                assert!(idle < 20, "spinning: {}", self.driver.why());
                self.check();
                continue;
            }
            self.check();
            if moved {
                continue;
            }
            accounts::check_quiet(&self.driver);
            deadlines::check_quiet(&self.driver);
            idle = 0;
            let now = self.driver.now;
            let timer = self.driver.next_timer().filter(|at| *at < now + 100_000_000);
            let due = self.clients.iter().filter_map(|client| client.next_due(self.over)).min();
            let Some(next) = [timer, due].into_iter().flatten().min().filter(|at| *at < horizon) else { return };
            self.driver.now = next.max(now + 1);
        }
    }

    fn check(&mut self) {
        accounts::check(&self.driver);
        let engine = &self.driver.engine;
        let memory = engine.counters().memory;
        self.used_up |= engine.is_scarce();
        assert!(memory <= self.most, "{memory} bytes of buffers, {} are the limit", engine.settings.max_memory);
        let now = self.driver.now;
        for (at, client) in self.clients.iter().enumerate() {
            if let Some(asked) = client.asked.filter(|_| !self.over) {
                let most = MOST + if client.is_socket() { 1000 * self.clients.len() as u64 } else { 0 };
                assert!(
                    now <= asked + most,
                    "{:?} {at} holds nothing and has waited since {asked}, now {now}, {memory} bytes are used",
                    client.kind
                );
            }
        }
    }

    // ---- the host: it answers everything at once -------------------------------------------------------------------

    fn drain(&mut self) -> bool {
        let mut taken = 0;
        while let Some(event) = self.driver.next() {
            taken += 1;
            let id = event.id;
            if self.trace {
                println!("{:8} event {:x} {:.200}", self.driver.now, id.0, format!("{:?}", event.what));
            }
            match event.what {
                What::Request(head) => self.request(id, head),
                What::Message { data, .. } => {
                    self.message(id, &data);
                }
                What::Closed(code) => {
                    let before = self.closed.insert(id, code);
                    assert_eq!(before, None, "CLOSED twice");
                    let Some(at) = self.sockets.remove(&id) else { continue };
                    // Who did nothing wrong is told to come again.
                    let client = &self.clients[at];
                    let bomb = client.bomb as u64;
                    let fits = match code {
                        1006 => true,
                        1013 => self.used_up,
                        1009 => {
                            bomb > self.least && (self.used_up || bomb > self.driver.engine.settings.max_memory / 4)
                        }
                        _ => false,
                    };
                    assert!(fits, "{:?} {at} is closed with {code}, used up: {}", client.kind, self.used_up);
                    self.clients[at].asked = None;
                }
                What::Body { data, .. } => {
                    let n = data.len() as u64;
                    let gone = self.driver.engine.leases().present(id).is_err();
                    if !gone {
                        self.driver.engine.body_ack(id, n);
                        self.driver.after_answer();
                    }
                }
                What::Aborted(_) => {
                    let settled = self.driver.engine.leases().settle(id, Settle::Abort);
                    assert_eq!(settled, Ok(Settled::Gone), "ABORTED of a request that is settled");
                    self.driver.engine.settle(id);
                    self.driver.after_answer();
                }
                _ => {}
            }
        }
        while self.driver.engine.take_retired().is_some() {}
        taken > 0
    }

    fn request(&mut self, id: Id, head: Box<Head>) {
        self.requests += 1;
        let target = String::from_utf8_lossy(head.text(head.target)).into_owned();
        let follows = head.flags & crate::engine::head::BODY_FOLLOWS != 0;
        self.driver.engine.recycle_head(head);
        let leases = self.driver.engine.leases().clone();
        let at: usize = target[1..].parse().expect("our own target");
        if self.clients[at].is_socket() {
            match leases.settle_into_second(id, Socket::Must).expect("the first settle") {
                Settled::Answer => {
                    self.sockets.insert(id, at);
                    self.driver.engine.accept_socket(id, b"");
                }
                Settled::Gone => drop(self.driver.engine.settle(id)),
            }
            return self.driver.after_answer();
        }
        if follows {
            return; // a body without an end
        }
        match leases.settle(id, Settle::Whole).expect("the first settle") {
            Settled::Answer => {
                let (lines, seen, body) = (Cow::Borrowed(&b""[..]), Seen::default(), Body::Copy(b"ok"));
                let answer = Answer { status: 200, close: false, length: None, lines, seen, content_type: None, body };
                self.driver.engine.respond(id, answer);
            }
            Settled::Gone => drop(self.driver.engine.settle(id)),
        }
        self.driver.after_answer();
    }

    fn message(&mut self, id: Id, data: &[u8]) {
        let Some(at) = self.sockets.get(&id).copied() else { return };
        let client = &mut self.clients[at];
        if client.kind == Kind::Talk {
            assert_eq!(data, client.said.to_be_bytes(), "another message than the last");
            client.asked = None;
        }
    }

    // ---- clients ---------------------------------------------------------------------------------------------------

    fn step(&mut self, at: usize) -> bool {
        let World { rng, driver, clients, over, used_up, least, .. } = self;
        let (client, now) = (&mut clients[at], driver.now);
        if *over {
            return false;
        }
        let Some(pipe) = client.pipe else {
            if client.due > now {
                return false;
            }
            client.connect(at, driver, rng);
            return true;
        };
        let n = driver.client_reads(pipe, usize::MAX, &mut client.got);
        let mut moved = n > 0;
        if n > 0 {
            client.read(*used_up);
        }
        if driver.pipes[pipe].shut || driver.pipes[pipe].ended.is_some() {
            let reason = *used_up || client.bomb as u64 > *least;
            assert!(reason, "{:?} {at} is ended although there is memory", client.kind);
            assert!(client.kind != Kind::Small, "a small request is not answered, or its connection ends");
            let told = client.upgraded || client.answers > 0;
            assert!(told, "{:?} {at} is ended without a word", client.kind);
            driver.client_leaves(pipe);
            (client.pipe, client.asked) = (None, None);
            client.due = now + rng.below(2000);
            return true;
        }
        while client.out.front().is_some_and(|piece| piece.0 <= now) {
            let Some((_, bytes)) = client.out.pop_front() else { break };
            driver.client_sends(pipe, &bytes);
            moved = true;
        }
        if client.due <= now && client.out.is_empty() {
            moved |= client.go_on(at, driver, pipe, rng);
        }
        moved
    }
}

const BOMBS: [usize; 3] = [3000, 100_000, 2 << 20];

/// So many zeros, compressed.
fn bomb(len: usize) -> &'static [u8] {
    static MADE: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    let made = MADE.get_or_init(|| BOMBS.map(|len| deflate(&vec![0; len]).expect("zeros compress")));
    &made[BOMBS.iter().position(|known| *known == len).expect("one of them")]
}

impl Client {
    fn is_socket(&self) -> bool {
        matches!(self.kind, Kind::Talk | Kind::Frame | Kind::Fragments | Kind::Bomb)
    }

    fn next_due(&self, over: bool) -> Option<u64> {
        let waits = self.pipe.is_some() && (self.asked.is_some() || self.left == 0 && self.kind != Kind::Small);
        let waits = waits && !(self.is_socket() && self.upgraded && self.asked.is_none());
        let due = (!waits).then_some(self.due);
        // What is overdue is to be noticed.
        let late = self.asked.map(|asked| asked + MOST + 1);
        [due, self.out.front().map(|piece| piece.0), late].into_iter().flatten().min().filter(|_| !over)
    }

    fn connect(&mut self, at: usize, driver: &mut Driver, rng: &mut Rng) {
        let now = driver.now;
        let pipe = driver.connect(200_000);
        self.pipe = Some(pipe);
        (self.upgraded, self.answers, self.left, self.said) = (false, 0, 0, 0);
        self.got.clear();
        self.out.clear();
        (self.piece, self.pause) = (rng.range(100, 8000) as usize, rng.range(20, 400));
        let large = rng.range(2_000, 250_000) as usize;
        let text = match self.kind {
            Kind::Small => return,
            Kind::Head => {
                self.left = 30_000;
                format!("GET /{at} HTTP/1.1\r\nHost: a\r\nX: ")
            }
            Kind::Body => {
                self.left = large;
                format!("POST /{at} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large + 1)
            }
            Kind::Chunked => {
                self.left = large;
                format!("POST /{at} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", large + 1)
            }
            _ => format!(
                "GET /{at} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            ),
        };
        if self.is_socket() {
            self.asked = Some(now); // small, and it holds nothing
        }
        self.out.push_back((now, text.into_bytes()));
        self.due = now + self.pause;
    }

    /// What came of the server.
    fn read(&mut self, used_up: bool) {
        while !self.upgraded {
            let Some(end) = find(&self.got, b"\r\n\r\n").map(|end| end + 4) else { return };
            let head = String::from_utf8_lossy(&self.got[..end]).into_owned();
            let status = &head[9..12];
            match status {
                "101" => {
                    (self.upgraded, self.asked) = (true, None);
                    self.got.drain(..end);
                    return;
                }
                "200" | "503" => {
                    assert!(status == "200" || used_up, "503 although there is memory");
                    assert!(status == "200" || self.kind != Kind::Small, "503 to a small request: {head}");
                    assert!(status == "503" || self.kind == Kind::Small, "an answer to what never came");
                    let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
                    let whole = end + line.parse::<usize>().expect("a length");
                    if self.got.len() < whole {
                        return;
                    }
                    self.got.drain(..whole);
                    self.answers += 1;
                    self.asked = None;
                }
                other => panic!("{other} to {:?}: {head}", self.kind),
            }
        }
    }

    fn go_on(&mut self, at: usize, driver: &mut Driver, pipe: usize, rng: &mut Rng) -> bool {
        let now = driver.now;
        self.due = now + self.pause;
        match self.kind {
            Kind::Small if self.asked.is_none() => {
                driver.client_sends(pipe, format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                self.asked = Some(now);
                self.due = now + rng.below(800);
            }
            Kind::Talk if self.upgraded && self.asked.is_none() => {
                self.said += 1;
                driver.client_sends(pipe, &masked(rng, 0x82, &self.said.to_be_bytes()));
                self.asked = Some(now);
                self.due = now + rng.below(1500);
            }
            Kind::Head | Kind::Body | Kind::Chunked if self.left > 0 => {
                let n = self.piece.min(self.left);
                self.left -= n;
                driver.client_sends(pipe, &vec![b'x'; n]);
            }
            Kind::Frame if self.upgraded && self.left == 0 && self.said == 0 => {
                // The beginning of a large frame; the rest comes like a body.
                self.said = 1;
                let frame = masked(rng, 0x82, &vec![7; 200_000]);
                for (n, piece) in frame[..frame.len() - 1].chunks(self.piece).enumerate() {
                    self.out.push_back((now + n as u64 * self.pause, piece.to_vec()));
                }
            }
            Kind::Fragments if self.upgraded => {
                let first = if self.said == 0 { 0x02 } else { 0 };
                self.said += 1;
                let piece = pattern(self.said, self.piece);
                driver.client_sends(pipe, &masked(rng, first, &piece));
            }
            Kind::Bomb if self.upgraded && self.said == 0 => {
                self.said = 1;
                self.bomb = rng.pick(&BOMBS);
                driver.client_sends(pipe, &masked(rng, 0xc2, bomb(self.bomb)));
                self.due = now + 1500;
            }
            _ => return false,
        }
        true
    }
}
