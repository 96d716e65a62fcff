//! Owns the test that cuts do not matter: one stream of requests gives the same events and answers wherever it is cut.

use std::borrow::Cow;
use std::io::IoSlice;

use crate::engine::answer::{Answer, Body};
use crate::engine::event::What;
use crate::engine::id::{Id, Tag};
use crate::engine::lease::Settle;
use crate::engine::output::Front;
use crate::engine::peer::Peer;
use crate::engine::settings::Settings;
use crate::engine::Engine;
use crate::every;
use crate::http1::response::Seen;

const STREAM: &[u8] = b"GET /a?x=1 HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n\
    \r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
    POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n\
    HEAD /d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
    POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n0123456789012345678901234567890123456789\
    PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n\
    GET /g HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n\
    POST /h HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n\
    GET /bad HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n";

/// What the host saw, and what the client got.
#[derive(Debug, PartialEq, Eq, Default)]
struct Outcome {
    requests: Vec<(String, Vec<u8>)>,
    answers: Vec<u8>,
}

struct Served {
    engine: Engine,
    connection: u32,
    seen: Outcome,
    /// Bodies that come in pieces, by id.
    open: Vec<(Id, usize)>,
}

impl Served {
    fn new() -> Served {
        let settings = Settings { buffer_body: 16, body_window: 1000, ..Settings::default() };
        let mut engine = Engine::new(settings, Tag { number: 1, used: 0 }, 0, 1_000_000_000);
        let connection = engine.accept(Id::NONE, Peer::unknown(), false).unwrap();
        Served { engine, connection, seen: Outcome::default(), open: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.engine.receive(self.connection, bytes);
        self.go_on();
    }

    /// Events, answers and output, until nothing moves.
    fn go_on(&mut self) {
        loop {
            let mut moved = false;
            while let Some(event) = self.engine.next_event() {
                moved = true;
                match event.what {
                    What::Request(head) => {
                        let text = |span| String::from_utf8_lossy(head.text(span)).into_owned();
                        let line = format!("{} {} {}", text(head.method), text(head.target), head.version);
                        self.seen.requests.push((line, head.body().to_vec()));
                        if head.flags & crate::engine::head::BODY_FOLLOWS != 0 {
                            self.open.push((event.id, self.seen.requests.len() - 1));
                        } else {
                            self.answer(event.id);
                        }
                    }
                    What::Body { data, more } => {
                        let at = self.open.iter().position(|open| open.0 == event.id).expect("it follows a REQUEST");
                        self.seen.requests[self.open[at].1].1.extend_from_slice(&data);
                        if !more {
                            self.open.remove(at);
                            self.answer(event.id);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            while let Some(connection) = self.engine.next_dirty() {
                moved = true;
                self.write(connection);
            }
            while let Some(connection) = self.engine.next_ready() {
                moved = true;
                self.engine.resume(connection);
            }
            if !moved {
                return;
            }
        }
    }

    fn answer(&mut self, id: Id) {
        self.engine.leases().settle(id, Settle::Whole).expect("a fresh request");
        let answer = Answer {
            status: 200,
            close: false,
            length: None,
            lines: Cow::Borrowed(b""),
            seen: Seen::default(),
            content_type: None,
            body: Body::Copy(b"answer"),
        };
        self.engine.respond(id, answer);
    }

    fn write(&mut self, connection: u32) {
        loop {
            let mut slices = [IoSlice::new(&[]); 4];
            let Front::Bytes(n, _) = self.engine.front(connection, &mut slices) else { break };
            let bytes: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.iter().copied()).collect();
            self.seen.answers.extend_from_slice(&bytes);
            self.engine.sent(connection, bytes.len());
        }
        self.engine.verdict(connection);
    }
}

fn in_pieces(cuts: &[usize]) -> Outcome {
    let mut served = Served::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([STREAM.len()]) {
        served.receive(&STREAM[from..to]);
        from = to;
    }
    served.seen
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    let whole = in_pieces(&[]);
    assert_eq!(whole.requests.len(), 8);
    assert_eq!(whole.requests[2], ("POST /c 11".to_owned(), b"abc0123456789".to_vec()));
    assert_eq!(whole.requests[4].1.len(), 40);
    let text = String::from_utf8(whole.answers.clone()).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 8);
    assert_eq!(text.matches("HTTP/1.1 400 Bad Request").count(), 1);
    for cut in (0..=STREAM.len()).step_by(every(41)) {
        assert_eq!(in_pieces(&[cut]), whole, "cut at {cut}");
    }
    let single: Vec<usize> = (1..STREAM.len()).collect();
    assert_eq!(in_pieces(&single), whole, "byte by byte");
    for step in [2, 3, 7, 64].into_iter().step_by(every(3)) {
        let cuts: Vec<usize> = (step..STREAM.len()).step_by(step).collect();
        assert_eq!(in_pieces(&cuts), whole, "in steps of {step}");
    }
}
