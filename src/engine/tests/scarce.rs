//! Owns small tests of what happens when memory runs short (`pressure.rs`).

use std::borrow::Cow;

use crate::engine::answer::{Answer, Body};
use crate::engine::connection::CUT;
use crate::engine::event::What;
use crate::engine::id::{Id, Tag};
use crate::engine::lease::{Settle, Socket};
use crate::engine::peer::Peer;
use crate::engine::settings::Settings;
use crate::engine::subscription::Subscription;
use crate::engine::tests::single::take_output;
use crate::engine::{Engine, Error};
use crate::http1::response::Seen;
use crate::push::feed::Transport;
use crate::push::hub::{Hub, Outlet};
use crate::push::message::Message;
use crate::push::position::Position;
use crate::ws::deflate::deflate;

const MEMORY: u64 = 80_000;
const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn engine() -> Engine {
    let settings = Settings { max_memory: MEMORY, max_head: 32 << 10, high_water: 20_000, ..Settings::default() };
    Engine::new(settings, Tag { number: 1, used: 0 }, 0, 1_000_000_000)
}

fn connect(engine: &mut Engine) -> u32 {
    engine.accept(Id::NONE, Peer::unknown(), false).expect("there is room")
}

/// What the driver does with a connection that has something to read.
fn says(engine: &mut Engine, connection: u32, bytes: &[u8]) -> bool {
    engine.end_of_drain();
    let admitted = engine.admit(connection);
    if admitted {
        engine.receive(connection, bytes);
    }
    admitted
}

fn requests(engine: &mut Engine) -> Vec<Id> {
    std::iter::from_fn(|| engine.next_event()).filter(|e| matches!(e.what, What::Request(_))).map(|e| e.id).collect()
}

/// A connection with `n` bytes of a head that goes on.
fn unfinished(engine: &mut Engine, n: usize) -> u32 {
    let connection = connect(engine);
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.resize(n, b'x');
    assert!(says(engine, connection, &head));
    connection
}

fn begin(engine: &mut Engine, id: Id, first: usize) {
    let leases = engine.leases().clone();
    let pin = leases.begin(id, None, first as u64, false).expect("a fresh request");
    let (lines, seen, body) = (Cow::Borrowed(&b""[..]), Seen::default(), Body::Owned(vec![b'x'; first]));
    engine.begin(id, Answer { status: 200, close: false, length: None, lines, seen, content_type: None, body });
    leases.begun(&pin);
}

#[test]
fn whoever_fills_the_memory_does_not_keep_others_from_being_served() {
    let mut engine = engine();
    let hoarders: Vec<u32> = (0..3).map(|_| unfinished(&mut engine, 24_000)).collect();
    assert!(engine.counters().memory >= MEMORY - MEMORY / 8);
    for hoarder in &hoarders {
        assert!(!engine.admit(*hoarder), "it has its share");
    }
    for _ in 0..100 {
        let other = connect(&mut engine);
        assert!(says(&mut engine, other, SMALL), "it holds nothing");
        assert_eq!(requests(&mut engine).len(), 1);
        engine.cut(other, crate::engine::event::End::Host);
        while engine.next_event().is_some() {}
    }
}

#[test]
fn the_reserve_keeps_nothing_that_is_not_whole() {
    let mut engine = engine();
    for _ in 0..3 {
        unfinished(&mut engine, 24_000);
    }
    let before = engine.counters().memory;
    for begun in [&b"GET / HTTP/1.1\r\nHost: "[..], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal"] {
        let other = connect(&mut engine);
        assert!(says(&mut engine, other, begun));
        assert!(take_output(&mut engine).starts_with("HTTP/1.1 503 "));
        assert_eq!(engine.counters().memory, before);
    }
}

#[test]
fn answers_may_have_less_unsent_the_less_memory_is_left() {
    let mut engine = engine();
    let reader = connect(&mut engine);
    assert!(says(&mut engine, reader, SMALL));
    let id = requests(&mut engine)[0];
    begin(&mut engine, id, 10_000);
    let leases = engine.leases().clone();
    assert!(leases.reserve(id, 0).is_ok(), "half of high water is unsent");
    unfinished(&mut engine, 25_000);
    unfinished(&mut engine, 25_000);
    assert_eq!(leases.reserve(id, 0).err(), Some(Error::Again), "10,000 bytes of the memory are left");
    take_output(&mut engine);
    assert!(engine.next_event().is_some_and(|event| event.id == id && matches!(event.what, What::Writable)));
}

#[test]
fn where_nobody_can_be_read_those_go_that_take_nothing() {
    let mut engine = engine();
    let readers: Vec<u32> = (0..5).map(|_| connect(&mut engine)).collect();
    for reader in &readers {
        assert!(says(&mut engine, *reader, SMALL));
    }
    for (n, id) in requests(&mut engine).into_iter().enumerate() {
        begin(&mut engine, id, 16_500 + n * 10);
    }
    let full = engine.counters().memory;
    assert!(full >= MEMORY);
    let other = connect(&mut engine);
    engine.set_now(100, 1_000_000_000);
    assert!(!says(&mut engine, other, SMALL));
    engine.set_now(110, 1_000_000_000);
    engine.expire(256);
    assert_eq!(engine.counters().memory, full, "not at once");
    engine.sent(readers[4], 1);
    engine.set_now(125, 1_000_000_000);
    engine.expire(256);
    let gone: Vec<u32> = readers.iter().copied().filter(|c| engine.connection(*c).unwrap().is(CUT)).collect();
    assert_eq!(gone, [readers[2], readers[3]], "the largest that took nothing");
    assert_eq!(engine.next_ready(), Some(other));
    assert!(says(&mut engine, other, SMALL));
}

#[test]
fn a_connection_that_was_told_to_close_hears_nothing_more_where_memory_is_used_up() {
    let mut engine = engine();
    let closing = connect(&mut engine);
    assert!(says(&mut engine, closing, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"));
    let id = requests(&mut engine)[0];
    engine.leases().clone().settle(id, Settle::Whole).expect("a fresh request");
    let (lines, seen, body) = (Cow::Borrowed(&b""[..]), Seen::default(), Body::Copy(b"x"));
    engine.respond(id, Answer { status: 200, close: true, length: None, lines, seen, content_type: None, body });
    assert!(take_output(&mut engine).contains("\r\nConnection: close\r\n"));
    for _ in 0..3 {
        unfinished(&mut engine, 24_000);
    }
    says(&mut engine, closing, b"TP/1.1\r\n");
    assert_eq!(take_output(&mut engine), "");
}

/// A connection with `n` bytes of a body that is gathered and goes on.
fn gathers(engine: &mut Engine, n: usize) -> u32 {
    let connection = connect(engine);
    let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n".to_vec();
    bytes.resize(n, b'x');
    assert!(says(engine, connection, &bytes));
    connection
}

/// A WebSocket with compression, and its id.
fn socket(engine: &mut Engine) -> (u32, Id) {
    let connection = connect(engine);
    let handshake = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    assert!(says(engine, connection, handshake));
    let id = requests(engine)[0];
    engine.leases().clone().settle_into_second(id, Socket::Must).expect("a fresh request");
    engine.accept_socket(id, b"");
    assert!(take_output(engine).starts_with("HTTP/1.1 101 "));
    (connection, id)
}

/// The code with which the host hears that its WebSocket is closed.
fn closed(engine: &mut Engine, id: Id) -> Option<u16> {
    take_output(engine);
    std::iter::from_fn(|| engine.next_event()).find_map(|event| match event.what {
        What::Closed(code) if event.id == id => Some(code),
        _ => None,
    })
}

#[test]
fn where_others_wait_the_largest_that_are_not_finished_have_to_go() {
    let mut engine = engine();
    let small = gathers(&mut engine, 3_000);
    let (talker, id) = socket(&mut engine);
    let mut message = vec![0x02, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.resize(22_000, 1);
    assert!(says(&mut engine, talker, &message));
    let large = gathers(&mut engine, 46_000);
    assert!(engine.counters().memory >= MEMORY - MEMORY / 8);
    assert!(!says(&mut engine, small, b"more"), "it waits");
    engine.set_now(999, 1_000_000_000);
    engine.expire(256);
    assert_eq!(take_output(&mut engine), "", "not at once");
    engine.set_now(1000, 1_000_000_000);
    engine.expire(256);
    let said = take_output(&mut engine);
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\r\nConnection: close\r\n"), "{said:?}");
    assert!(engine.connection(large).is_some_and(|c| c.memory() == 0), "its bytes are gone");
    assert_eq!(engine.next_ready(), Some(small), "who waited goes on");
    assert!(says(&mut engine, small, b"more"));
    assert_eq!(closed(&mut engine, id), None, "a quarter of the memory is free");

    for _ in 0..3 {
        gathers(&mut engine, 16_000);
    }
    assert!(!says(&mut engine, small, b"more"), "it waits");
    engine.set_now(2000, 1_000_000_000);
    engine.expire(256);
    assert!(engine.connection(talker).is_some_and(|c| c.memory() < 100), "its message is gone");
    assert_eq!(closed(&mut engine, id), Some(1013));
    assert!(says(&mut engine, small, b"more"));
}

#[test]
fn a_message_is_inflated_as_far_as_there_is_memory() {
    let mut engine = engine();
    let message = |n: usize| {
        let small = deflate(&vec![0; n]).expect("zeros compress");
        assert!(small.len() < 65_536);
        let mut frame = vec![0xc2, 0xfe, (small.len() >> 8) as u8, small.len() as u8, 0, 0, 0, 0];
        if small.len() < 126 {
            frame = vec![0xc2, 0x80 | small.len() as u8, 0, 0, 0, 0];
        }
        frame.extend(small);
        frame
    };
    let (talker, id) = socket(&mut engine);
    assert!(says(&mut engine, talker, &message(60_000)));
    let length = |engine: &mut Engine| match engine.next_event().map(|event| event.what) {
        Some(What::Message { data, .. }) => data.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(length(&mut engine), 60_000);
    gathers(&mut engine, 40_000);
    assert!(says(&mut engine, talker, &message(25_000)));
    assert_eq!(length(&mut engine), 25_000);
    assert!(says(&mut engine, talker, &message(60_000)));
    assert!(engine.counters().memory < 45_000, "it was not made");
    assert_eq!(closed(&mut engine, id), Some(1009));
}

#[test]
fn one_read_does_not_fill_the_reserve() {
    let mut engine = engine();
    let connection = connect(&mut engine);
    assert_eq!(engine.most_input(connection) as u64, MEMORY - MEMORY / 8);
    gathers(&mut engine, 50_000);
    let left = engine.most_input(connection);
    assert!((19_000..20_000).contains(&left), "{left}");
    gathers(&mut engine, 20_000);
    assert_eq!(engine.most_input(connection), 2_500);
}

struct Nobody;

impl Outlet for Nobody {
    fn deliver(&self, _: std::sync::Arc<Message>) -> bool {
        false
    }

    fn wake(&self) {}

    fn is_over(&self) -> bool {
        false
    }
}

/// What four polls are answered that came at once.
fn polled(engine: &mut Engine, client: u32, ids: Vec<Id>) -> String {
    for id in ids {
        let _ = engine.leases().settle(id, Settle::Whole);
        let since = Some(Position { epoch: 99, n: 1 }); // lost: it is told so at once
        let patterns = vec!["a".into()];
        let transport = Some(Transport::LongPoll);
        engine.subscribe(id, Subscription { patterns, transport, since, ..Subscription::default() });
    }
    assert!(engine.connection(client).is_some());
    take_output(engine)
}

#[test]
fn who_sends_many_polls_gets_one_answer_at_a_time_where_memory_is_scarce() {
    for (scarce, whole) in [(false, 4), (true, 1)] {
        let mut engine = engine();
        let hub = std::sync::Arc::new(Hub::new(1));
        let member = hub.attach(std::sync::Arc::new(Nobody));
        engine.set_hub(hub, member);
        let client = connect(&mut engine);
        assert!(says(&mut engine, client, &SMALL.repeat(4)));
        let ids = requests(&mut engine);
        if scarce {
            unfinished(&mut engine, 24_000);
            unfinished(&mut engine, 24_000);
        }
        let text = polled(&mut engine, client, ids);
        assert_eq!(text.matches("HTTP/1.1 200").count(), whole, "{text}");
        assert_eq!(text.matches("HTTP/1.1 503").count(), 4 - whole, "{text}");
        assert_eq!(text.matches("Retry-After: 1\r\n").count(), 4 - whole, "{text}");
    }
}
