//! Owns small tests of single behaviours, most of them found by the simulation first.

use std::borrow::Cow;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use crate::engine::answer::{Answer, Body};
use crate::engine::connection::{Connection, CLOSING, CUT, EOF, STOPPED};
use crate::engine::event::{self, What};
use crate::engine::id::{Id, Tag};
use crate::engine::lease::{Settle, Socket};
use crate::engine::output::Front;
use crate::engine::peer::Peer;
use crate::engine::settings::Settings;
use crate::engine::subscription::Subscription;
use crate::engine::Engine;
use crate::http1::response::Seen;
use crate::push::feed::{Filter, Transport};
use crate::push::hub::{Hub, Outlet};
use crate::push::message::{Message, Parts};
use crate::push::policy::Choice;
use crate::push::position::Position;

struct One {
    engine: Engine,
    connection: u32,
}

impl One {
    fn new(settings: Settings) -> One {
        let mut engine = Engine::new(settings, Tag { number: 1, used: 0 }, 0, 1_000_000_000);
        let connection = engine.accept(Id::NONE, Peer::unknown(), false).unwrap();
        One { engine, connection }
    }

    /// The next event, without the head.
    fn event(&mut self) -> Option<(Id, String)> {
        let event = self.engine.next_event()?;
        let text = match event.what {
            What::Request(_) => "Request".to_owned(),
            other => format!("{other:?}"),
        };
        Some((event.id, text))
    }

    fn request(&mut self) -> Id {
        let (id, text) = self.event().expect("a request");
        assert_eq!(text, "Request");
        id
    }

    fn begin(&mut self, id: Id, first: &'static [u8]) {
        let leases = self.engine.leases().clone();
        let pin = leases.begin(id, None, first.len() as u64, false).expect("a fresh request");
        let (lines, seen) = (Cow::Borrowed(&b""[..]), Seen::default());
        let body = Body::Copy(first);
        self.engine
            .begin(id, Answer { status: 200, close: false, length: None, lines, seen, content_type: None, body });
        leases.begun(&pin);
    }

    /// What the driver would write now.
    fn written(&mut self) -> String {
        take_output(&mut self.engine)
    }
}

/// What a driver would write now.
pub fn take_output(engine: &mut Engine) -> String {
    let mut all = Vec::new();
    while let Some(connection) = engine.next_dirty() {
        let mut slices = [IoSlice::new(&[]); 4];
        while let Front::Bytes(n, _) = engine.front(connection, &mut slices) {
            let bytes: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.iter().copied()).collect();
            all.extend_from_slice(&bytes);
            engine.sent(connection, bytes.len());
            slices = [IoSlice::new(&[]); 4];
        }
        engine.verdict(connection);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn the_head_of_an_answer_to_head_goes_out_with_its_first_piece() {
    let mut one = One::new(Settings::default());
    one.engine.receive(one.connection, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let id = one.request();
    one.begin(id, b"a piece that is not sent");
    assert!(one.engine.is_dirty(), "there is a head to be sent");
    assert!(one.written().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn held_requests_hear_of_a_half_close_although_the_last_body_was_cut() {
    let mut one = One::new(Settings { events: 1 << event::HALF_CLOSED, buffer_body: 0, ..Settings::default() });
    one.engine.receive(
        one.connection,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal",
    );
    let (first, second) = (one.request(), one.request());
    assert_eq!(one.event().map(|event| event.0), Some(second), "a piece of its body");
    one.engine.end_of_input(one.connection);
    let mut events: Vec<_> = std::iter::from_fn(|| one.event()).collect();
    events.sort_by_key(|event| event.0 .0);
    assert_eq!(events, [(first, "HalfClosed".to_owned()), (second, "Aborted(Peer)".to_owned())]);
}

#[test]
fn the_time_of_a_body_begins_with_it_although_its_request_had_to_wait() {
    let mut one = One::new(Settings { max_held: 0, body_timeout: 1000, ..Settings::default() });
    one.engine.set_now(5_000, 1_000_000_005);
    one.engine.receive(one.connection, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    one.engine.set_now(9_000, 1_000_000_009);
    one.engine.set_max_held(1);
    assert_eq!(one.engine.next_ready(), Some(one.connection));
    one.engine.resume(one.connection);
    one.engine.set_now(9_900, 1_000_000_010);
    one.engine.expire(256);
    assert_eq!(one.written(), "", "its peer has had 900 of 1,000 milliseconds");
    one.engine.set_now(10_100, 1_000_000_010);
    one.engine.expire(256);
    assert!(one.written().starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_connection_is_idle_from_the_end_of_a_body_that_nobody_wanted() {
    let mut one = One::new(Settings { buffer_body: 0, idle_timeout: 1000, ..Settings::default() });
    one.engine.receive(one.connection, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal");
    let id = one.request();
    assert!(one.event().is_some_and(|(_, text)| text.starts_with("Body")));
    one.engine.leases().clone().settle(id, Settle::Whole).expect("a fresh request");
    let (lines, seen, body) = (Cow::Borrowed(&b""[..]), Seen::default(), Body::Copy(b"no"));
    one.engine.respond(id, Answer { status: 403, close: false, length: None, lines, seen, content_type: None, body });
    assert!(one.written().starts_with("HTTP/1.1 403 "));
    one.engine.set_now(900, 1_000_000_000);
    one.engine.receive(one.connection, b"f of i");
    one.engine.set_now(1_500, 1_000_000_001);
    one.engine.expire(256);
    assert!(
        one.engine.wants_input(one.connection) && !one.engine.is_dirty(),
        "it is idle for 600 of 1,000 milliseconds"
    );
    one.engine.set_now(2_000, 1_000_000_002);
    one.engine.expire(256);
    assert!(one.engine.is_dirty(), "its time is over");
}

#[test]
fn the_time_of_a_head_does_not_run_while_its_connection_waits_for_its_own_answers() {
    let mut one = One::new(Settings { head_timeout: 1000, high_water: 10, ..Settings::default() });
    one.engine.receive(one.connection, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT");
    let id = one.request();
    one.begin(id, b"more than may be queued, so that nothing is read");
    one.engine.receive(one.connection, b"TP/1.1\r\nHost: a\r\n");
    assert!(!one.engine.wants_input(one.connection));
    one.engine.set_now(5_000, 1_000_000_005);
    one.engine.expire(256);
    assert!(one.written().ends_with("nothing is read\r\n"));
    assert_eq!(one.engine.next_ready(), Some(one.connection));
    one.engine.resume(one.connection);
    one.engine.leases().clone().settle(id, Settle::End).expect("a begun answer");
    one.engine.end(id, b"");
    one.engine.set_now(5_900, 1_000_000_005);
    one.engine.expire(256);
    assert_eq!(one.written(), "0\r\n\r\n", "its peer has had 900 of 1,000 milliseconds");
    one.engine.set_now(6_100, 1_000_000_006);
    one.engine.expire(256);
    assert!(one.written().starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_fault_in_a_head_that_was_not_looked_at_again_is_told_at_the_end_of_the_stream() {
    let mut one = One::new(Settings::default());
    one.engine.receive(one.connection, b"GET / HTTP/1.1\r\nHost: a\r\nX: y");
    one.engine.receive(one.connection, b"\r\n: z");
    assert_eq!(one.written(), "");
    one.engine.end_of_input(one.connection);
    assert!(one.written().starts_with("HTTP/1.1 400 "));
    assert_eq!(one.engine.counters().memory, 0);
}

#[test]
fn a_host_that_blocks_in_its_drain_costs_no_peer_its_connection() {
    let mut one = One::new(Settings { write_timeout: 1000, ..Settings::default() });
    one.engine.receive(one.connection, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let id = one.request();
    one.begin(id, b"a piece");
    one.engine.set_now(40_000, 1_000_000_040);
    one.engine.excuse(40_000);
    one.engine.expire(256);
    assert!(one.engine.connection(one.connection).is_some_and(|c| !c.is(CUT)), "the peer could not take it yet");
    one.engine.set_now(41_100, 1_000_000_041);
    one.engine.expire(256);
    assert!(one.engine.connection(one.connection).is_some_and(|c| c.is(CUT)));
}

/// What came while the host did not let the loop read is not late.
#[test]
fn a_host_that_blocks_in_its_drain_costs_nobody_the_time_to_speak() {
    let ended = |c: &Connection| c.is(CUT | STOPPED | CLOSING | EOF);
    for begun in [&b""[..], b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal"] {
        let (head_timeout, body_timeout, idle_timeout) = (1000, 1000, 1000);
        let mut one = One::new(Settings { head_timeout, body_timeout, idle_timeout, ..Settings::default() });
        one.engine.receive(one.connection, begun);
        one.engine.set_now(40_000, 1_000_000_040);
        one.engine.excuse(40_000);
        one.engine.expire(256);
        assert!(one.engine.connection(one.connection).is_some_and(|c| !ended(c)), "after {begun:?}");
        one.engine.set_now(41_100, 1_000_000_041);
        one.engine.expire(256);
        assert!(one.engine.connection(one.connection).is_none_or(ended), "after {begun:?}");
    }
}

struct Nobody;

impl Outlet for Nobody {
    fn deliver(&self, _: Arc<Message>) -> bool {
        false
    }

    fn wake(&self) {}
}

#[test]
fn a_stream_begins_before_what_was_missed_and_has_the_newest_that_is_wanted() {
    let hub = Arc::new(Hub::new(7));
    let mut one = One::new(Settings::default());
    one.engine.set_hub(hub.clone(), hub.attach(Arc::new(Nobody)));
    hub.set("a", Choice::Backlog, 1, 0);
    for kind in ["text/plain", "image/png", "text/plain"] {
        hub.publish("a", Parts { kind: kind.into(), data: kind.into(), ..Parts::default() }, 0, None);
    }
    one.engine.receive(one.connection, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let id = one.request();
    one.engine.leases().clone().settle_into_second(id, Socket::May).expect("a fresh request");
    let filter = Filter { types: "image/*".into(), ..Filter::default() };
    let since = Some(Position { epoch: 7, n: 0 });
    let patterns = vec!["a".into()];
    one.engine
        .subscribe(id, Subscription { patterns, filter: Some(Box::new(filter)), since, ..Subscription::default() });
    let written = one.written();
    assert!(written.contains("\r\nEncke-Position: 0000000000000007:1\r\n"), "cut now, it comes back for: {written}");
    assert!(written.contains("\r\n\r\nimage/png\r\n"), "the newest that is wanted: {written}");
}

/// Keeps what it hears.
#[derive(Default)]
struct Keeps(Mutex<Vec<Arc<Message>>>);

impl Outlet for Keeps {
    fn deliver(&self, message: Arc<Message>) -> bool {
        self.0.lock().unwrap().push(message);
        true
    }

    fn wake(&self) {}
}

#[test]
fn messages_do_not_outlive_those_who_leave_with_them() {
    for transport in [Transport::LongPoll, Transport::Sse] {
        let (hub, inbox) = (Arc::new(Hub::new(7)), Arc::new(Keeps::default()));
        let mut one = One::new(Settings::default());
        one.engine.set_hub(hub.clone(), hub.attach(inbox.clone()));
        hub.set("a", Choice::History, 0, 0);
        one.engine.receive(one.connection, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let id = one.request();
        one.engine.leases().clone().settle_into_second(id, Socket::Never).expect("a fresh request");
        let (patterns, transport) = (vec!["a".into()], Some(transport));
        one.engine.subscribe(id, Subscription { patterns, transport, ..Subscription::default() });
        for _ in 0..3 {
            hub.publish("a", Parts { data: b"news".into(), ..Parts::default() }, 0, None);
        }
        for message in inbox.0.lock().unwrap().drain(..) {
            one.engine.hear(&message);
        }
        // It leaves before its turn, and gets what was published before.
        one.engine.leave(id, "a");
        assert_eq!(one.written().matches("news").count(), 3, "{transport:?}");
        assert!(!one.engine.has_turns(), "nobody is left");
        assert_eq!(hub.memory(), 0, "{transport:?}: nobody needs them any more");
    }
}

#[test]
fn a_websocket_that_is_taken_in_a_drain_is_told_to_go() {
    let mut one = One::new(Settings::default());
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    one.engine.receive(one.connection, format!("GET / HTTP/1.1\r\nHost: a\r\n{handshake}\r\n").as_bytes());
    let id = one.request();
    one.engine.drain(1000);
    one.engine.leases().clone().settle_into_second(id, Socket::Must).expect("a handshake");
    one.engine.accept_socket(id, b"");
    assert!(one.engine.is_dirty());
    while let Some(connection) = one.engine.next_dirty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let Front::Bytes(n, _) = one.engine.front(connection, &mut slices) else { break };
        let bytes: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(bytes.ends_with(b"\r\n\r\n\x88\x02\x03\xe9"), "101, and a close with 1001");
        one.engine.sent(connection, bytes.len());
    }
    assert_eq!(one.event().map(|event| event.1), Some("Closed(1001)".to_owned()));
}

#[test]
fn messages_that_are_small_on_the_wire_come_some_at_a_time() {
    let mut one = One::new(Settings::default());
    one.engine.receive(
        one.connection,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    let id = one.request();
    one.engine.leases().clone().settle_into_second(id, Socket::Must).expect("a handshake");
    one.engine.accept_socket(id, b"");
    assert!(one.written().starts_with("HTTP/1.1 101 "));
    let small = crate::ws::deflate::deflate(&vec![0; 50_000]).expect("zeros compress");
    assert!(small.len() < 126);
    let mut frame = vec![0xc2, 0x80 | small.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(&small);
    one.engine.receive(one.connection, &frame.repeat(10));
    let mut turns = Vec::new();
    loop {
        turns.push(std::iter::from_fn(|| one.event()).filter(|(_, text)| text.starts_with("Message")).count());
        if one.engine.next_ready() != Some(one.connection) {
            break;
        }
        one.engine.resume(one.connection);
    }
    assert_eq!(turns, [2; 5], "a hundred thousand bytes in a turn");
}

#[test]
fn what_comes_for_a_websocket_that_is_over_is_passed_over() {
    let mut one = One::new(Settings::default());
    one.engine.receive(one.connection, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let first = one.request();
    // Its 101 and its close wait behind the first answer.
    one.engine.receive(
        one.connection,
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let id = one.request();
    one.engine.leases().clone().settle_into_second(id, Socket::Must).expect("a handshake");
    one.engine.accept_socket(id, b"");
    one.engine.close_socket(id, 1000, "");
    // It was looked at for ever.
    one.engine.receive(one.connection, b"\x81\x82\0\0\0\0hi");
    one.begin(first, b"the first");
    one.engine.leases().clone().settle(first, Settle::End).expect("it was begun");
    one.engine.end(first, b"");
    let written = one.written();
    let first = written.find("the first").expect("the first answer");
    assert!(written[first..].contains("HTTP/1.1 101 Switching Protocols\r\n"), "{written}");
    assert!(std::iter::from_fn(|| one.event()).any(|(other, text)| other == id && text == "Closed(1000)"));
}
