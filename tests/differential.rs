//! Our half of the differential test of the request parser (docs/parsers.md): what the engine, fed with some bytes and
//! then the end of the stream, makes of them. The other half, `tests/differential/`, has other parsers read the same.
//!
//! Rule: a reading depends on the bytes alone. Each is made twice: by an engine that has read all cases before, with the
//! bytes in one piece and a host that answers at the end; and by a fresh one, with the bytes in small pieces, bodies as they
//! come and a host that answers at once.
//!
//! By itself this repeats `tests/differential/recorded.txt`. With `ENCKE_DIFFERENTIAL=DIRECTORY` it reads the file
//! `cases` there (records of a 32-bit little-endian length and as many bytes) and writes `readings`, a line for each.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IoSlice;

use encke::engine::answer::{Answer, Body};
use encke::engine::connection::{CLOSING, CUT, LINGERS, STOPPED};
use encke::engine::event::What;
use encke::engine::head::{Head, BODY_FOLLOWS, UNKNOWN, UPGRADE};
use encke::engine::id::{Id, Tag};
use encke::engine::lease::Settle;
use encke::engine::output::Front;
use encke::engine::peer::Peer;
use encke::engine::settings::Settings;
use encke::engine::{Engine, Verdict};
use encke::http1::response::Seen;

/// One request as the host got it, and what its answer said of the connection.
struct Request {
    id: Id,
    head: Box<Head>,
    body: Vec<u8>,
    /// All of it is there.
    whole: bool,
    answered: bool,
    aborted: bool,
}

struct Server {
    engine: Engine,
    /// The host answers when all that can be read was read, and not each request as it comes.
    slow: bool,
    connection: u32,
    requests: Vec<Request>,
    answers: Vec<u8>,
    gone: bool,
}

impl Server {
    fn new(settings: Settings, slow: bool) -> Server {
        let engine = Engine::new(settings, Tag { number: 1, used: 0 }, 0, 1_000_000_000);
        Server { engine, slow, connection: 0, requests: Vec::new(), answers: Vec::new(), gone: true }
    }

    /// A connection on which `bytes` come in `pieces`, then the end.
    fn read<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> String {
        self.connection = self.engine.accept(Id::NONE, Peer::unknown(), false).expect("there is room");
        self.requests.clear();
        self.answers.clear();
        self.gone = false;
        for piece in pieces {
            if !self.gone {
                self.engine.receive(self.connection, piece);
                self.go_on();
            }
        }
        let c = self.engine.connection(self.connection);
        let closed = c.is_none_or(|c| c.is(STOPPED | CLOSING | LINGERS | CUT) && !c.in_body());
        let buffered = c.and_then(|c| c.input.as_ref()).map_or(&b""[..], |input| &input.bytes[input.start..]);
        let begun = buffered.iter().any(|b| !b"\r\n".contains(b)); // empty lines are no request yet
        let in_body = c.is_some_and(|c| c.in_body());
        let said = self.answers.len();
        if !self.gone {
            self.engine.end_of_input(self.connection);
            self.go_on();
        }
        // An answer to the end of the stream says that a body has not ended before it, or what is wrong with a head.
        let answered = self.answers.len() > said;
        let (begun, closed) = (begun || answered && in_body, closed || answered && !in_body);
        if in_body {
            self.answers.truncate(said);
        }
        if !self.gone {
            self.engine.remove(self.connection, encke::engine::event::End::Peer);
            self.go_on();
        }
        assert_eq!(self.engine.counters().held, 0, "a request is still held");
        assert_eq!(self.engine.counters().memory, 0, "memory is still accounted for");
        self.requests.retain(|request| !request.aborted);
        self.describe(closed, begun)
    }

    /// Events, answers and output, until nothing moves. A request is answered when its body is complete.
    fn go_on(&mut self) {
        loop {
            let mut moved = false;
            while let Some(event) = self.engine.next_event() {
                moved = true;
                match event.what {
                    What::Request(head) => {
                        let whole = head.flags & BODY_FOLLOWS == 0;
                        let (id, body) = (event.id, head.body().to_vec());
                        self.requests.push(Request { id, head, body, whole, answered: false, aborted: false });
                    }
                    What::Body { data, more } => {
                        let request = self.request(event.id);
                        request.body.extend_from_slice(&data);
                        request.whole = !more;
                        self.engine.body_ack(event.id, data.len() as u64);
                    }
                    What::Aborted(_) => {
                        let request = self.request(event.id);
                        assert!(!request.whole, "a request that is complete was aborted");
                        request.aborted = true;
                        self.engine.leases().settle(event.id, Settle::Whole).expect("an abort is settled once");
                        self.engine.abort(event.id);
                    }
                    other => panic!("{other:?}"),
                }
                if !self.slow {
                    self.answer_all();
                }
            }
            self.engine.end_of_drain();
            while let Some(connection) = self.engine.next_dirty() {
                moved = true;
                self.write(connection);
            }
            while let Some(connection) = self.engine.next_ready() {
                moved = true;
                self.engine.resume(connection);
            }
            while self.engine.take_retired().is_some() {}
            if !moved && !self.answer_all() {
                return;
            }
        }
    }

    fn request(&mut self, id: Id) -> &mut Request {
        self.requests.iter_mut().rfind(|request| request.id == id).expect("it follows its REQUEST")
    }

    /// Answers what is complete and has no answer; true if there was something.
    fn answer_all(&mut self) -> bool {
        let Some(first) = self.requests.iter().position(|request| !request.answered && !request.aborted) else {
            return false;
        };
        let due = |request: &Request| request.whole && !request.answered && !request.aborted;
        let ids: Vec<Id> = self.requests[first..].iter().filter(|request| due(request)).map(|r| r.id).collect();
        ids.iter().for_each(|id| self.answer(*id));
        !ids.is_empty()
    }

    fn answer(&mut self, id: Id) {
        self.engine.leases().settle(id, Settle::Whole).expect("a request is settled once");
        let request = self.request(id);
        request.answered = true;
        let head = &request.head;
        let answer = Answer {
            status: if head.text(head.method) == b"CONNECT" { 405 } else { 200 },
            close: false,
            length: None,
            lines: Cow::Borrowed(b""),
            seen: Seen::default(),
            content_type: None,
            body: Body::Copy(b""),
        };
        self.engine.respond(id, answer);
    }

    fn write(&mut self, connection: u32) {
        loop {
            let mut slices = [IoSlice::new(&[]); 4];
            let Front::Bytes(n, _) = self.engine.front(connection, &mut slices) else { break };
            let before = self.answers.len();
            self.answers.extend(slices[..n].iter().flat_map(|slice| slice.iter()));
            self.engine.sent(connection, self.answers.len() - before);
        }
        if matches!(self.engine.verdict(connection), Verdict::Close | Verdict::Reset) {
            self.engine.remove(connection, encke::engine::event::End::Peer);
            self.gone = true;
        }
    }

    /// The reading as JSON. Bytes are characters U+0000 to U+00FF.
    fn describe(&self, closed: bool, begun: bool) -> String {
        let mut text = String::from("{\"requests\":[");
        let mut answers = &self.answers[..];
        for (n, request) in self.requests.iter().enumerate() {
            let (status, keep, rest) = final_answer(answers).expect("every request has its answer");
            assert!(status == 200 || status == 405, "no answer of ours: {status}");
            answers = &rest[2..]; // no body
            text.push_str(if n > 0 { "," } else { "" });
            describe_request(&mut text, request, keep);
        }
        let (end, status, reason) = match final_answer(answers) {
            Some((status, keep, rest)) => {
                assert!(!keep, "a refusal closes");
                let line = rest.get(2..).and_then(|body| body.strip_suffix(b"\n")).unwrap_or_default();
                let reason = line.get(4..).unwrap_or_default(); // behind the status; nothing to HEAD
                ("refused", status, reason)
            }
            None if closed => ("closed", 0, &b""[..]),
            None if begun => ("incomplete", 0, &b""[..]),
            None => ("idle", 0, &b""[..]),
        };
        let _ = write!(text, "],\"end\":\"{end}\",\"status\":{status},\"reason\":");
        quote(&mut text, reason);
        text.push('}');
        text
    }
}

/// Status and persistence of the next answer that is not 1xx, and what begins with the empty line behind its head.
fn final_answer(mut answers: &[u8]) -> Option<(u16, bool, &[u8])> {
    loop {
        if answers.is_empty() {
            return None;
        }
        let end = answers.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&answers[..end + 2]).expect("our own head");
        let status: u16 = head[9..12].parse().expect("a status");
        if status >= 200 {
            let keep = !head.contains("\r\nconnection: close\r\n") && !head.contains("\r\nConnection: close\r\n");
            return Some((status, keep, &answers[end + 2..]));
        }
        answers = &answers[end + 4..];
    }
}

fn describe_request(text: &mut String, request: &Request, keep: bool) {
    let head = &request.head;
    text.push_str("{\"method\":");
    quote(text, head.text(head.method));
    text.push_str(",\"target\":");
    quote(text, head.text(head.target));
    let _ = write!(text, ",\"minor\":{},\"fields\":[", head.version - 10);
    for (n, field) in head.fields.iter().enumerate() {
        text.push_str(if n > 0 { ",[" } else { "[" });
        quote(text, head.text(field.name));
        text.push(',');
        quote(text, head.text(field.value));
        text.push(']');
    }
    let (chunked, upgrade) = (head.content_length == UNKNOWN, head.flags & UPGRADE != 0);
    let _ = write!(text, "],\"chunked\":{chunked},\"upgrade\":{upgrade},\"keep\":{keep},\"body\":");
    quote(text, &request.body);
    text.push('}');
}

fn quote(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for &b in bytes {
        match b {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "\\u{b:04x}");
            }
            _ => text.push(char::from(b)),
        }
    }
    text.push('"');
}

fn in_one_piece() -> Server {
    Server::new(Settings { connect: true, ..Settings::default() }, true)
}

/// The reading by a fresh engine; where the bytes are cut comes from the bytes.
fn in_pieces(case: &[u8]) -> String {
    let mut server = Server::new(Settings { connect: true, buffer_body: 0, ..Settings::default() }, false);
    let mut dice = case.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let most = 1 + dice % 40;
    let mut rest = case;
    server.read(std::iter::from_fn(move || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (1 + (dice >> 33) % most).min(rest.len() as u64) as usize;
        let (piece, behind) = rest.split_at(n);
        rest = behind;
        (n > 0).then_some(piece)
    }))
}

fn read(server: &mut Server, case: &[u8]) -> String {
    let whole = server.read(std::iter::once(case));
    let cut = in_pieces(case);
    assert_eq!(whole, cut, "the same bytes in pieces: {}", case.escape_ascii());
    whole
}

#[test]
fn a_fault_in_a_head_that_never_ends_is_told_wherever_it_was_cut() {
    let pieces = [&b"GET / HTTP/1.1\r\nHost: a\r\nX: y"[..], b"\r\n: z"];
    let whole = in_one_piece().read(std::iter::once(&pieces.concat()[..]));
    assert_eq!(in_one_piece().read(pieces.into_iter()), whole);
}

#[test]
fn readings_stay_as_recorded() {
    let mut server = in_one_piece();
    let mut case = Vec::new();
    let mut compared = 0;
    for line in include_str!("differential/recorded.txt").lines() {
        if let Some(text) = line.strip_prefix("> ") {
            case = unescape(text);
        } else if let Some(recorded) = line.strip_prefix("encke ") {
            assert_eq!(read(&mut server, &case), recorded, "{}", case.escape_ascii());
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing is recorded");
}

/// `\r`, `\n`, `\t`, `\\` and `\xhh` become bytes.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        let byte = match (b, if b == b'\\' { rest.next() } else { None }) {
            (_, None) => b,
            (_, Some(b'r')) => b'\r',
            (_, Some(b'n')) => b'\n',
            (_, Some(b't')) => b'\t',
            (_, Some(b'x')) => {
                let mut digit = || char::from(rest.next().unwrap_or_default()).to_digit(16).expect("hexadecimal");
                (digit() << 4 | digit()) as u8
            }
            (_, Some(other)) => other,
        };
        bytes.push(byte);
    }
    bytes
}

#[test]
fn readings_of_given_cases() {
    let Some(directory) = std::env::var_os("ENCKE_DIFFERENTIAL").map(std::path::PathBuf::from) else { return };
    let cases = std::fs::read(directory.join("cases")).expect("the file of cases");
    let mut server = in_one_piece();
    let mut readings = String::new();
    let mut rest = &cases[..];
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (case, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        readings.push_str(&read(&mut server, case));
        readings.push('\n');
    }
    std::fs::write(directory.join("readings"), readings).expect("writing the readings");
}
