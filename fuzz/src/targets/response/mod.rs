//! The writing of answers: whatever the host passes, what goes out is HTTP and says what was passed.
//!
//! The first byte chooses: the fields alone, heads one after the other through one `Frame`, or whole answers on an engine,
//! with a second answer behind them that must be found where the first one ends.

mod fields;

use std::borrow::Cow;
use std::io::IoSlice;
use std::sync::Arc;

use encke::engine::answer::{Answer, Body};
use encke::engine::event::{self, End, What};
use encke::engine::id::{Id, Tag};
use encke::engine::lease::{Settle, Settled};
use encke::engine::mailbox::Submission;
use encke::engine::output::{Front, Lent};
use encke::engine::peer::Peer;
use encke::engine::settings::Settings;
use encke::engine::{Engine, Error, Verdict};
use encke::http1::date::imf_fixdate;
use encke::http1::response::{
    append_chunk_size, append_head, bodiless, reason, valid_content_type, Frame, Length, Persistence, Place,
    ResponseHead, Seen,
};

use crate::answers::{self, Asked};
use crate::bytes::{pattern, Bytes};
use crate::reference::{is_value, trim};

use fields::{add_field, Given};

const NOW: u64 = 1_700_000_000;

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    match input.u8() % 4 {
        0 => fields::run(&mut input),
        1 => heads(&mut input),
        _ => whole(&mut input),
    }
}

// ---- heads -----------------------------------------------------------------------------------------------------------

fn a_length(input: &mut Bytes<'_>) -> Length {
    match input.below(4) {
        0 => Length::None,
        1 => Length::Chunked,
        2 => Length::Exact(input.u8() as u64),
        _ => Length::Exact(input.take(8).iter().fold(0, |n, b| n << 8 | *b as u64)),
    }
}

/// What a frame remembers changes no byte.
fn heads(input: &mut Bytes<'_>) {
    let mut frame = Frame::default();
    let dates = [imf_fixdate(NOW), imf_fixdate(NOW + 1), imf_fixdate(u64::MAX)];
    let mut out = Vec::new();
    for _ in 0..12 {
        let (mut lines, mut seen, mut given) = (Vec::new(), Seen::default(), Vec::new());
        let status = match input.below(4) {
            0 => 200,
            1 => 304,
            _ => 100 + input.u16() % 900,
        };
        for _ in 0..input.below(3) {
            add_field(input, Place::Answer, &mut lines, &mut seen, &mut given);
        }
        let date = input.pick(&[None, Some(&dates[0]), Some(&dates[1]), Some(&dates[2])]);
        let server = input.pick(&[None, Some(&b"encke"[..]), Some(b"a b")]);
        let content_type = input.pick(&[None, Some(&b"text/plain"[..]), Some(b"a/b; c=\"d\"")]);
        let length = a_length(input);
        let persistence =
            input.pick(&[Persistence::Default, Persistence::Close, Persistence::KeepAlive, Persistence::Upgrade]);
        let head = ResponseHead { status, lines: &lines, date, server, content_type, length, persistence };
        let start = out.len();
        frame.append_head(&mut out, &head);
        let mut alone = Vec::new();
        append_head(&mut alone, &head);
        assert_eq!(&out[start..], alone, "the frame remembers something else");

        let mut expected: Given = Vec::new();
        let mut expect = |name: &str, value: Option<&[u8]>| {
            expected.extend(value.map(|value| (name.to_owned(), value.to_vec())));
        };
        expect("Date", date.map(|date| &date[..]));
        expect("Server", server);
        expect("Content-Type", content_type);
        given.iter().for_each(|(name, value)| expect(name, Some(value)));
        match length {
            Length::None => {}
            Length::Exact(n) => expect("Content-Length", Some(n.to_string().as_bytes())),
            Length::Chunked => expect("Transfer-Encoding", Some(b"chunked")),
        }
        match persistence {
            Persistence::Default => {}
            Persistence::Close => expect("Connection", Some(b"close")),
            Persistence::KeepAlive => expect("Connection", Some(b"keep-alive")),
            Persistence::Upgrade => expect("Connection", Some(b"upgrade")),
        }
        let mut slots = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut slots);
        assert_eq!(parsed.parse(&alone), Ok(httparse::Status::Complete(alone.len())));
        assert_eq!((parsed.version, parsed.code), (Some(1), Some(status)));
        assert_eq!(parsed.reason, Some(reason(status)));
        let fields: Given = parsed.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
        assert_eq!(fields, expected);
        if input.is_empty() {
            break;
        }
    }
    let n = input.take(8).iter().fold(0usize, |n, b| n << 8 | *b as usize);
    out.clear();
    append_chunk_size(&mut out, n);
    assert_eq!(out, format!("{n:x}\r\n").as_bytes());
}

// ---- whole answers ---------------------------------------------------------------------------------------------------

/// A request, and whether the connection may go on after its answer.
struct Request {
    text: &'static [u8],
    head: bool,
    http10: bool,
    connect: bool,
    upgrade: bool,
    keep_alive: bool,
}

const fn plain(text: &'static [u8]) -> Request {
    Request { text, head: false, http10: false, connect: false, upgrade: false, keep_alive: true }
}

const REQUESTS: [Request; 9] = [
    plain(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    Request { head: true, ..plain(b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n") },
    Request { http10: true, keep_alive: false, ..plain(b"GET /a HTTP/1.0\r\n\r\n") },
    Request { http10: true, ..plain(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") },
    Request { keep_alive: false, ..plain(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") },
    plain(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"),
    Request { connect: true, ..plain(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n") },
    Request { upgrade: true, ..plain(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n") },
    Request { head: true, http10: true, ..plain(b"HEAD /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") },
];
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
const NEXT_BODY: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nnot a head";

#[derive(Debug)]
struct Loan(Arc<Vec<u8>>);

impl Lent for Loan {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An engine with one connection, and the bytes that it sent.
struct Served {
    engine: Engine,
    connection: u32,
    sent: Vec<u8>,
    /// Requests that were handed over and not answered.
    open: Vec<Id>,
    step: usize,
    /// The last that was more than to stay.
    verdict: Verdict,
}

impl Served {
    /// Takes what there is of events.
    fn requests(&mut self) {
        while let Some(event) = self.engine.next_event() {
            match event.what {
                What::Request(head) => {
                    self.open.push(event.id);
                    self.engine.recycle_head(head);
                }
                What::Done { .. } | What::Writable | What::Body { .. } | What::Released { .. } | What::Aborted(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.engine.end_of_drain();
        self.write();
    }

    fn write(&mut self) {
        while let Some(connection) = self.engine.next_dirty() {
            loop {
                let mut slices = [IoSlice::new(&[]); 3];
                let Front::Bytes(n, _) = self.engine.front(connection, &mut slices) else { break };
                let bytes = slices[..n].iter().flat_map(|slice| slice.iter().copied()).take(self.step);
                let before = self.sent.len();
                self.sent.extend(bytes);
                let n = self.sent.len() - before;
                self.engine.sent(connection, n);
            }
            let verdict = self.engine.verdict(connection);
            if verdict != Verdict::Stay {
                self.verdict = verdict;
            }
        }
        while let Some(connection) = self.engine.next_ready() {
            self.engine.resume(connection);
        }
    }
}

/// What the answer should be.
struct Expected {
    status: u16,
    fields: Given,
    framing: Option<(&'static str, String)>,
    body: Vec<u8>,
    trailers: Given,
    close: bool,
    /// The host did not give as many bytes as it had promised.
    cut: bool,
    tunnel: bool,
    /// Ends with the connection.
    until_close: bool,
}

fn whole(input: &mut Bytes<'_>) {
    let mut settings = Settings { connect: true, low_water: 10, ..Settings::default() };
    settings.events = u64::from(input.flag()) << event::DONE;
    let server = input.pick(&[&b""[..], b"encke", b"a  b\t\x80"]);
    settings.server = server.to_vec();
    let request = &REQUESTS[input.below(REQUESTS.len())];
    let mut engine = Engine::new(settings, Tag { number: 1, used: 0 }, 0, NOW);
    let connection = engine.accept(Id::NONE, Peer::unknown(), false).expect("the first connection");
    let step = [1 << 20, 13, 300, 5000][input.below(4)];
    let mut served = Served { engine, connection, sent: Vec::new(), open: Vec::new(), step, verdict: Verdict::Stay };
    // At times a first answer goes before, so that the frame and the buffers have been used.
    if input.flag() {
        served.engine.receive(connection, NEXT);
        served.requests();
        let id = served.open.remove(0);
        reply_next(&mut served, id);
        assert!(answers::next(&served.sent, Asked::default()).is_some_and(|answer| answer.body == NEXT_BODY));
        served.sent.clear();
    }
    let bytes = [request.text, NEXT].concat();
    served.engine.receive(connection, &bytes);
    served.requests();
    let id = served.open.remove(0);
    let informs = inform(&mut served, id, request, input);
    // The next one may be answered first: it waits.
    if input.flag() {
        reply_all(&mut served);
    }
    let expected = answer(&mut served, id, request, server, input);
    reply_all(&mut served);
    judge(&served, request, &informs, &expected);
    finish(served);
}

fn reply_all(served: &mut Served) {
    served.requests();
    while let Some(id) = served.open.pop() {
        reply_next(served, id);
        served.requests();
    }
}

fn reply_next(served: &mut Served, id: Id) {
    match served.engine.leases().settle(id, Settle::Whole).expect("a first settle") {
        Settled::Answer => {}
        Settled::Gone => return served.engine.apply(Submission::Settled { id }),
    }
    let (lines, body, seen) = (Cow::Borrowed(&b""[..]), Body::Copy(NEXT_BODY), Seen::default());
    let content_type = None;
    served.engine.respond(id, Answer { status: 299, close: false, length: None, lines, seen, content_type, body });
    served.write();
}

fn inform(served: &mut Served, id: Id, request: &Request, input: &mut Bytes<'_>) -> Vec<(u16, Given)> {
    let mut informs = Vec::new();
    for _ in 0..input.below(3) {
        let status = input.pick(&[100, 102, 103]);
        let (mut lines, mut given) = (Vec::new(), Vec::new());
        for _ in 0..input.below(3) {
            add_field(input, Place::Inform, &mut lines, &mut Seen::default(), &mut given);
        }
        drop(served.engine.leases().inform(id).expect("before the answer"));
        served.engine.inform(id, status, &lines);
        if input.flag() {
            served.write();
        }
        if !request.http10 {
            informs.push((status, given));
        }
    }
    informs
}

/// Bytes of a body: from the input, or many.
fn a_body(input: &mut Bytes<'_>) -> Vec<u8> {
    match input.below(4) {
        0 => Vec::new(),
        1 => b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        2 => pattern(input.u8() as u64, input.u16() as usize % 20_000),
        _ => input.text().to_vec(),
    }
}

fn answer(served: &mut Served, id: Id, request: &Request, server: &[u8], input: &mut Bytes<'_>) -> Expected {
    let begins = input.flag();
    let mut status = match input.below(4) {
        0 => 200,
        1 => input.pick(&[204, 304, 205, 206, 299]),
        _ => 200 + input.u16() % 800,
    };
    if begins && request.upgrade && input.flag() {
        status = 101;
    }
    let close = input.below(4) == 3;
    let (mut lines, mut seen, mut given) = (Vec::new(), Seen::default(), Vec::new());
    let place = if status == 101 { Place::Switching } else { Place::Answer };
    for _ in 0..input.below(6) {
        add_field(input, place, &mut lines, &mut seen, &mut given);
    }
    let content_type = if begins || seen.content_type { None } else { Some(input.text()) };
    let content_type = content_type.filter(|text| match valid_content_type(text) {
        Ok(()) => {
            assert!(is_value(text) && !trim(text).is_empty());
            true
        }
        Err(why) => {
            assert!(!is_value(text) || trim(text).is_empty(), "refused: {why}");
            false
        }
    });
    let mut length = (input.below(3) == 0).then(|| input.u8() as u64);
    let first = a_body(input);
    if begins && length.is_some_and(|length| length < first.len() as u64) {
        length = Some(first.len() as u64);
    }
    let tunnel = begins && status == 101 || request.connect && (200..300).contains(&status);
    let no_body = request.head || bodiless(status) && !tunnel || tunnel && !begins;
    let mut expected = Expected {
        status,
        fields: Vec::new(),
        framing: None,
        body: Vec::new(),
        trailers: Vec::new(),
        close: false,
        cut: false,
        tunnel: tunnel && begins,
        until_close: false,
    };
    let mut expect = |name: &str, value: &[u8]| expected.fields.push((name.to_owned(), value.to_vec()));
    if !seen.date {
        expect("Date", &imf_fixdate(NOW));
    }
    if !seen.server && !server.is_empty() {
        expect("Server", server);
    }
    if let Some(content_type) = content_type {
        expect("Content-Type", trim(content_type));
    }
    expected.fields.extend(given);
    let content_length = |n: u64| Some(("Content-Length", n.to_string()));
    expected.framing = match status {
        _ if tunnel => None,
        204 => None,
        304 => length.and_then(content_length),
        _ if begins => match length {
            Some(length) => content_length(length),
            None if request.http10 => None,
            None => Some(("Transfer-Encoding", "chunked".to_owned())),
        },
        _ if request.head => content_length(length.unwrap_or(first.len() as u64)),
        _ => content_length(first.len() as u64),
    };
    expected.until_close = begins && expected.framing.is_none() && !tunnel && !no_body;
    expected.close = close || !request.keep_alive || expected.until_close || tunnel;
    if !no_body {
        expected.body = first.clone();
    }
    let lines = Cow::Owned(lines);
    if !begins {
        let settled = served.engine.leases().settle(id, Settle::Whole);
        assert_eq!(settled, Ok(Settled::Answer));
        let body = match input.below(3) {
            0 => Body::Copy(&first),
            1 => Body::Owned(first.clone()),
            _ => Body::Lent { bytes: Box::new(Loan(Arc::new(first.clone()))), cookie: 7 },
        };
        served.engine.respond(id, Answer { status, close, length, lines, seen, content_type, body });
        served.write();
        return expected;
    }
    {
        let leases = served.engine.leases().clone();
        let pin = leases.begin(id, length, first.len() as u64, status == 101).expect("a first begin");
        let body = if input.flag() { Body::Copy(&first) } else { Body::Owned(first.clone()) };
        served.engine.begin(id, Answer { status, close, length, lines, seen, content_type, body });
        leases.begun(&pin);
    }
    let mut given = first.len() as u64;
    for _ in 0..input.below(5) {
        if input.flag() {
            served.requests();
        }
        let piece = a_body(input);
        if piece.is_empty() {
            continue;
        }
        let reserved = served.engine.leases().reserve(id, piece.len() as u64).map(drop);
        match reserved {
            Ok(()) => {}
            Err(Error::Again | Error::Gone) => continue,
            Err(Error::Invalid(_)) => {
                assert!(length.is_some_and(|length| given + piece.len() as u64 > length));
                continue;
            }
            Err(other) => panic!("{other:?}"),
        }
        given += piece.len() as u64;
        if !no_body {
            expected.body.extend_from_slice(&piece);
        }
        served.engine.write(id, if input.flag() { Body::Copy(&piece) } else { Body::Owned(piece) });
    }
    let mut lines = Vec::new();
    let mut trailers = Vec::new();
    for _ in 0..input.below(4) {
        add_field(input, Place::Trailer, &mut lines, &mut Seen::default(), &mut trailers);
    }
    let chunked = expected.framing.as_ref().is_some_and(|framing| framing.0 == "Transfer-Encoding") && !no_body;
    if chunked {
        expected.trailers = trailers;
    }
    expected.cut = length.is_some_and(|length| given < length) && !no_body && !tunnel;
    match served.engine.leases().settle(id, Settle::End) {
        Ok(Settled::Answer) => served.engine.end(id, &lines),
        other => panic!("{other:?}"),
    }
    served.write();
    expected
}

fn judge(served: &Served, request: &Request, informs: &[(u16, Given)], expected: &Expected) {
    let asked = Asked { head: request.head, connect: request.connect };
    let mut sent = &served.sent[..];
    let text = || String::from_utf8_lossy(&served.sent[..served.sent.len().min(1000)]).into_owned();
    for (status, fields) in informs {
        let Some(answer) = answers::next(sent, asked) else {
            assert!(expected.cut, "an informational answer is missing: {}", text());
            return;
        };
        assert_eq!((answer.status, &answer.fields), (*status, fields));
        sent = &sent[answer.head..];
    }
    let Some(answer) = answers::next(sent, asked) else {
        assert!(expected.cut && sent.is_empty(), "no answer: {}", text());
        return;
    };
    if expected.cut && answer.status == 500 && answer.body.starts_with(b"500 the server") {
        return; // nothing of it had gone out
    }
    assert_eq!(answer.status, expected.status, "{}", text());
    assert_eq!(answer.reason, reason(expected.status));
    let mut fields = expected.fields.clone();
    fields.extend(expected.framing.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())));
    let connection = match () {
        () if expected.status == 101 => Some("upgrade"),
        () if expected.tunnel => None,
        () if expected.close => Some("close"),
        () if request.http10 => Some("keep-alive"),
        () => None,
    };
    fields.extend(connection.map(|value| ("Connection".to_owned(), value.as_bytes().to_vec())));
    assert_eq!(answer.fields, fields, "{}", text());
    if expected.cut {
        assert!(expected.body.starts_with(&answer.body));
        assert!(answer.len.is_none(), "cut, but it looks whole: {}", text());
        assert_eq!(served.verdict, Verdict::Reset);
        return;
    }
    if expected.tunnel || expected.until_close {
        assert_eq!(sent[answer.head..], expected.body, "raw bytes");
        assert_eq!(served.verdict, Verdict::Shutdown);
        return;
    }
    assert_eq!(answer.body, expected.body, "{}", text());
    assert_eq!(answer.trailers, expected.trailers);
    let sent = &sent[answer.len.unwrap_or_else(|| panic!("not whole: {}", text()))..];
    if expected.close {
        assert_eq!(sent, b"", "something behind the last answer");
        assert_eq!(served.verdict, Verdict::Shutdown);
        return;
    }
    let next = answers::next(sent, Asked::default()).unwrap_or_else(|| panic!("no next answer: {}", text()));
    assert_eq!((next.status, &next.body[..], next.len), (299, NEXT_BODY, Some(sent.len())), "{}", text());
    assert_eq!(served.verdict, Verdict::Stay);
}

fn finish(mut served: Served) {
    served.engine.remove(served.connection, End::Peer);
    reply_all(&mut served);
    let counters = served.engine.counters();
    assert_eq!((counters.memory, counters.held, counters.queued_bytes), (0, 0, 0), "memory, held, queued");
    assert_eq!(served.engine.connections(), 0);
}
