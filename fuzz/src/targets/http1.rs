//! The reading of requests: heads, chunked bodies, targets.
//!
//! An input is two characters and what is read. The first: `0` a stream of requests, `1` a chunked body, `2` a target;
//! its place in the table below gives the limits. The second: how the bytes are cut. So `00GET / HTTP/1.1...` is a seed.
//!
//! What must hold: the second reader of `reference.rs` has the same opinion; cuts change nothing; a verdict is final; what
//! was accepted reads the same when it is written down anew; nothing accepted has a byte that ends a line or a string;
//! the work is linear.

use encke::http1::chunked::Decoder;
use encke::http1::request::{parse, Framing, Limits, Parsed, RequestHead, Scan, Span};
use encke::http1::response::{append_chunk_size, LAST_CHUNK};
use encke::http1::{target, Fault};

use crate::bytes::{pieces, Bytes, Dice};
use crate::reference::{self, Reading};

/// What may be answered to a head or a body that is no HTTP.
const STATUSES: [u16; 6] = [400, 414, 417, 431, 501, 505];
const MOST_REQUESTS: usize = 12;

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let (what, manner) = (input.u8(), input.u8());
    let rest = input.rest();
    match what % 3 {
        0 => stream(rest, limits(what / 3), manner),
        1 => body(rest, manner),
        _ => targets(rest, manner),
    }
}

fn limits(choice: u8) -> Limits {
    let usual = Limits { max_head: 32 << 10, max_fields: 100, allow_connect: true };
    match choice % 8 {
        1 => Limits { allow_connect: false, ..usual },
        2 => Limits { max_fields: 1, ..usual },
        3 => Limits { max_head: 64, ..usual },
        4 => Limits { max_head: 200, max_fields: 3, ..usual },
        5 => Limits { max_fields: 65, ..usual },
        6 => Limits { max_fields: 2000, ..usual },
        7 => Limits { max_head: 1 << 40, max_fields: 64, ..usual },
        _ => usual,
    }
}

fn like(limits: &Limits) -> reference::Limits {
    reference::Limits { max_head: limits.max_head, max_fields: limits.max_fields, connect: limits.allow_connect }
}

/// What was read of a stream, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Head(Box<reference::Head>),
    Body(Vec<u8>),
    Fault(Fault),
}

fn text(bytes: &[u8], span: Span) -> Vec<u8> {
    assert!(span.end() <= bytes.len(), "a span outside of the head: {span:?} of {}", bytes.len());
    span.of(bytes).to_vec()
}

/// A parsed head as the reference would say it.
fn as_reference(bytes: &[u8], head: &RequestHead) -> reference::Head {
    let bytes = &bytes[..head.len];
    reference::Head {
        len: head.len,
        method: text(bytes, head.method),
        target: text(bytes, head.target),
        path: text(bytes, head.path),
        query: text(bytes, head.query),
        host: text(bytes, head.host),
        minor: head.minor,
        fields: head
            .fields
            .iter()
            .map(|field| (text(bytes, field.name).to_ascii_lowercase(), text(bytes, field.value)))
            .collect(),
        framing: match head.framing {
            Framing::None => reference::Framing::None,
            Framing::Length(length) => reference::Framing::Length(length),
            Framing::Chunked => reference::Framing::Chunked,
        },
        keep_alive: head.keep_alive,
        expect: head.expect_continue,
        upgrade: head.upgrade,
        websocket: head.websocket,
    }
}

fn check_fault(fault: &Fault) {
    assert!(STATUSES.contains(&fault.status), "{fault:?}");
    assert!(!fault.text.is_empty() && fault.text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{fault:?}");
    assert_ne!(fault.text, "malformed request head", "a fault without a name");
}

/// One head at the start of `bytes`: everything that must hold for it alone.
fn check_head(bytes: &[u8], limits: &Limits, manner: u8) -> Result<Option<reference::Head>, Fault> {
    let mut head = RequestHead::default();
    let verdict = parse(bytes, limits, &mut head);
    let read = match &verdict {
        Ok(Parsed::Complete) => Some(as_reference(bytes, &head)),
        _ => None,
    };
    let expected = reference::head(bytes, &like(limits));
    match (&verdict, &expected) {
        (Ok(Parsed::Complete), Reading::Whole(expected)) => assert_eq!(read.as_ref(), Some(expected)),
        (Ok(Parsed::Complete), other) => panic!("accepted, but the reference says {other:?}"),
        (_, Reading::Whole(_)) => panic!("{verdict:?}, but the reference accepts it"),
        (Ok(Parsed::Partial), _) => {
            assert!(bytes.len() < limits.max_head, "partial at the limit");
            assert!(!has_end(bytes), "partial, although the head has an end");
        }
        (Err(fault), expected) => {
            check_fault(fault);
            if *expected == Reading::Incomplete {
                check_hopeless(bytes, limits);
            }
        }
    }
    if let Some(read) = &read {
        check_accepted(bytes, &head, read);
    }
    check_prefixes(bytes, limits, &verdict, head.len, manner);
    verdict?;
    Ok(read)
}

/// An empty line behind a line that is not empty.
fn has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(more) = rest.strip_prefix(b"\r\n") {
        rest = more;
    }
    rest.windows(4).any(|window| window == b"\r\n\r\n")
}

/// Was refused before its end: then nothing that could follow may be accepted.
fn check_hopeless(bytes: &[u8], limits: &Limits) {
    const ENDS: [&[u8]; 8] = [
        b"\n\r\n",
        b"\r\n\r\n",
        b"\nHost: a\r\n\r\n",
        b"\r\nHost: a\r\n\r\n",
        b": a\r\n\r\n",
        b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for end in ENDS {
        let whole = [bytes, end].concat();
        let reading = reference::head(&whole, &like(limits));
        assert!(!matches!(reading, Reading::Whole(_)), "refused too early: {:?}", String::from_utf8_lossy(&whole));
    }
}

fn check_accepted(bytes: &[u8], head: &RequestHead, read: &reference::Head) {
    assert!(head.len <= bytes.len() && bytes[..head.len].ends_with(b"\r\n\r\n"));
    let texts = [&read.method, &read.target, &read.path, &read.query, &read.host];
    let fields = read.fields.iter().flat_map(|(name, value)| [name, value]);
    for text in texts.into_iter().chain(fields) {
        assert!(!text.iter().any(|b| b"\r\n\0".contains(b)), "{:?}", String::from_utf8_lossy(text));
    }
    // Room for the NULs that the engine puts behind the texts.
    for field in &head.fields {
        assert_eq!(bytes[field.name.end()], b':');
        assert!(field.value.end() + 2 < head.len && b"\r\t ".contains(&bytes[field.value.end()]));
        assert!(field.name.end() < field.value.start as usize);
    }
    assert_eq!(head.is_head, read.method == b"HEAD");
    assert_eq!(head.is_connect, read.method == b"CONNECT");
    assert_eq!(head.is_safe, [&b"GET"[..], b"HEAD", b"OPTIONS", b"TRACE"].contains(&&read.method[..]));
    assert!(head.upgrade || !head.websocket);

    let mut anew = [&read.method[..], b" ", &read.target, b" HTTP/1."].concat();
    anew.extend_from_slice(&[b'0' + read.minor, b'\r', b'\n']);
    for (name, value) in &read.fields {
        anew.extend_from_slice(&[&name[..], b": ", value, b"\r\n"].concat());
    }
    anew.extend_from_slice(b"\r\n");
    let mut again = RequestHead::default();
    let generous = Limits { max_head: 1 << 30, max_fields: 1024, allow_connect: true };
    assert_eq!(parse(&anew, &generous, &mut again), Ok(Parsed::Complete), "{:?}", String::from_utf8_lossy(&anew));
    assert_eq!(again.len, anew.len());
    assert_eq!(as_reference(&anew, &again), reference::Head { len: anew.len(), ..read.clone() });
}

/// A verdict once reached is final: every prefix is undecided or has it already.
fn check_prefixes(bytes: &[u8], limits: &Limits, whole: &Result<Parsed, Fault>, len: usize, manner: u8) {
    let mut head = RequestHead::default();
    let mut dice = Dice::new(manner as u64 + 1);
    let step = if bytes.len() <= 300 { 1 } else { bytes.len() / 60 };
    let mut end = 0;
    let mut decided = false;
    while end <= bytes.len() {
        let now = parse(&bytes[..end], limits, &mut head);
        match &now {
            Ok(Parsed::Partial) => assert!(!decided, "undecided again at {end}"),
            verdict => {
                assert_eq!(*verdict, *whole, "another verdict at {end}");
                assert!(verdict.is_err() || head.len == len && end >= len);
                decided = true;
            }
        }
        end += if step == 1 { 1 } else { 1 + dice.below(step) };
    }
}

// ---- streams ---------------------------------------------------------------------------------------------------------

fn stream(bytes: &[u8], limits: Limits, manner: u8) {
    let whole = in_one(bytes, &limits, manner);
    for manner in [manner, 1] {
        if manner == 1 && bytes.len() > 2000 {
            continue;
        }
        let mut reader = Reader::new(limits);
        for piece in pieces(bytes, manner) {
            reader.feed(piece);
        }
        reader.look();
        assert_eq!(reader.items, whole, "cut in manner {manner}");
        let most = 4 * bytes.len() + 300 * (whole.len() + 1);
        assert!(reader.work <= most, "{} bytes were looked at for {}", reader.work, bytes.len());
    }
}

/// Every request of the stream, each from a slice that has all the rest.
fn in_one(bytes: &[u8], limits: &Limits, manner: u8) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && items.len() < 2 * MOST_REQUESTS {
        let head = match check_head(rest, limits, manner) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(fault) => {
                items.push(Item::Fault(fault));
                break;
            }
        };
        rest = &rest[head.len..];
        let framing = head.framing;
        items.push(Item::Head(Box::new(head)));
        match framing {
            reference::Framing::None => items.push(Item::Body(Vec::new())),
            reference::Framing::Length(length) => {
                let Some((body, more)) = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n)) else {
                    break;
                };
                items.push(Item::Body(body.to_vec()));
                rest = more;
            }
            reference::Framing::Chunked => match decode(rest, &[rest], usize::MAX) {
                (data, Ok(Some(end))) => {
                    items.push(Item::Body(data));
                    rest = &rest[end..];
                }
                (_, Ok(None)) => break,
                (_, Err(fault)) => {
                    items.push(Item::Fault(fault));
                    break;
                }
            },
        }
    }
    items
}

enum Coding {
    Length(u64),
    Chunked(Decoder),
}

/// Reads a stream as the engine does: a buffer that grows, one head reused, a scan between the parses.
struct Reader {
    limits: Limits,
    buffer: Vec<u8>,
    scan: Scan,
    head: RequestHead,
    body: Option<(Coding, Vec<u8>)>,
    items: Vec<Item>,
    over: bool,
    work: usize,
}

impl Reader {
    fn new(limits: Limits) -> Reader {
        Reader {
            limits,
            buffer: Vec::new(),
            scan: Scan::new(),
            head: RequestHead::default(),
            body: None,
            items: Vec::new(),
            over: false,
            work: 0,
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while !self.over && self.items.len() < 2 * MOST_REQUESTS && self.step() {}
    }

    fn take(&mut self, n: usize) {
        self.buffer.drain(..n);
    }

    /// False: it needs more.
    fn step(&mut self) -> bool {
        match self.body.take() {
            Some((coding, data)) => self.go_on(coding, data),
            None if self.buffer.is_empty() => false,
            None => self.request(),
        }
    }

    /// The scan may put off a fault until more has come, or the time-out: never to another verdict.
    fn look(&mut self) {
        if !self.over && self.body.is_none() && !self.buffer.is_empty() && self.items.len() < 2 * MOST_REQUESTS {
            let verdict = parse(&self.buffer, &self.limits, &mut self.head);
            assert_ne!(verdict, Ok(Parsed::Complete), "a whole head was left where it is");
            if let Err(fault) = verdict {
                self.fail(fault);
            }
        }
    }

    fn request(&mut self) -> bool {
        if !self.scan.worth_parsing(&self.buffer) && self.buffer.len() < self.limits.max_head {
            return false;
        }
        match parse(&self.buffer, &self.limits, &mut self.head) {
            Ok(Parsed::Partial) => {
                self.work += self.buffer.len();
                false
            }
            Ok(Parsed::Complete) => {
                self.work += self.head.len;
                self.items.push(Item::Head(Box::new(as_reference(&self.buffer, &self.head))));
                self.take(self.head.len);
                self.scan = Scan::new();
                let coding = match self.head.framing {
                    Framing::None => Coding::Length(0),
                    Framing::Length(length) => Coding::Length(length),
                    Framing::Chunked => Coding::Chunked(Decoder::new()),
                };
                self.body = Some((coding, Vec::new()));
                true
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) -> bool {
        self.work += self.buffer.len();
        self.items.push(Item::Fault(fault));
        self.over = true;
        false
    }

    fn go_on(&mut self, coding: Coding, mut data: Vec<u8>) -> bool {
        let (coding, done, moved) = match coding {
            Coding::Length(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                data.extend(self.buffer.drain(..n));
                (Coding::Length(left - n as u64), left == n as u64, n > 0)
            }
            Coding::Chunked(mut decoder) => match decoder.decode(&self.buffer, 100) {
                Ok(decoded) => {
                    data.extend_from_slice(&self.buffer[decoded.data]);
                    self.take(decoded.consumed);
                    (Coding::Chunked(decoder), decoded.done, decoded.consumed > 0)
                }
                Err(fault) => return self.fail(fault),
            },
        };
        if done {
            self.items.push(Item::Body(data));
        } else {
            self.body = Some((coding, data));
        }
        done || moved
    }
}

// ---- chunked bodies --------------------------------------------------------------------------------------------------

/// The data, and where the body ends if it does. `all` are the pieces together.
fn decode(all: &[u8], pieces: &[&[u8]], most: usize) -> (Vec<u8>, Result<Option<usize>, Fault>) {
    let mut decoder = Decoder::new();
    let (mut from, mut to) = (0, 0);
    let mut data = Vec::new();
    for piece in pieces {
        to += piece.len();
        loop {
            let input = &all[from..to];
            let decoded = match decoder.decode(input, most) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    check_fault(&fault);
                    assert_eq!(decoder.decode(input, most), Err(fault), "a fault that does not stay");
                    return (data, Err(fault));
                }
            };
            assert!(decoded.consumed <= input.len() && decoded.data.end <= decoded.consumed);
            assert!(decoded.data.len() <= most);
            data.extend_from_slice(&input[decoded.data.clone()]);
            from += decoded.consumed;
            if decoded.done {
                return (data, Ok(Some(from)));
            }
            if decoded.data.is_empty() {
                assert_eq!(from, to, "bytes are left, no data came, and it is not done");
                break;
            }
        }
    }
    (data, Ok(None))
}

fn body(bytes: &[u8], manner: u8) {
    let (data, end) = decode(bytes, &[bytes], usize::MAX);
    let expected = reference::chunked(bytes);
    match (&end, &expected.end) {
        (Ok(Some(end)), Reading::Whole(expected)) => assert_eq!(end, expected),
        (Ok(Some(_)), other) => panic!("the body ended, but the reference says {other:?}"),
        (_, Reading::Whole(_)) => panic!("{end:?}, but for the reference the body has ended"),
        (Ok(None), Reading::Refused) => panic!("undecided, but the reference refuses a whole line"),
        (Ok(None), _) | (Err(_), _) => {}
    }
    if end.is_ok() {
        assert_eq!(data, expected.data);
    } else {
        assert!(expected.data.starts_with(&data) || data.starts_with(&expected.data));
    }
    for (manner, most) in [(manner, usize::MAX), (manner, 1 + manner as usize), (1, 7)] {
        let cut = decode(bytes, &pieces(bytes, manner), most);
        assert_eq!(cut, (data.clone(), end), "cut in manner {manner}, at most {most}");
    }
    // A verdict is final here, too.
    if let Ok(Some(end)) = end {
        assert_eq!(decode(&bytes[..end], &[&bytes[..end]], usize::MAX), (data.clone(), Ok(Some(end))));
        assert_eq!(decode(&bytes[..end - 1], &[&bytes[..end - 1]], usize::MAX).1, Ok(None));
    }
    // Coded anew, it is the same.
    let mut anew = Vec::new();
    for piece in pieces(&data, manner).into_iter().filter(|piece| !piece.is_empty()) {
        append_chunk_size(&mut anew, piece.len());
        anew.extend_from_slice(piece);
        anew.extend_from_slice(b"\r\n");
    }
    anew.extend_from_slice(LAST_CHUNK);
    assert_eq!(decode(&anew, &[&anew], usize::MAX), (data, Ok(Some(anew.len()))));
}

// ---- targets ---------------------------------------------------------------------------------------------------------

fn targets(bytes: &[u8], manner: u8) {
    const METHODS: [&[u8]; 5] = [b"GET", b"OPTIONS", b"CONNECT", b"POST", b"connect"];
    let method = METHODS[manner as usize % METHODS.len()];
    assert_eq!(target::authority(bytes).ok(), reference::authority_port(bytes), "the authority");
    let expected = reference::target_parts(bytes, method);
    let parts = match target::split(bytes, method) {
        Ok(parts) => parts,
        Err(fault) => {
            check_fault(&fault);
            return assert_eq!(expected, None, "{fault:?}");
        }
    };
    let part = |(start, len): (usize, usize)| &bytes[start..start + len];
    let (authority, path, query) = expected.expect("the reference refuses this target");
    assert_eq!((part(parts.path), part(parts.query)), (path, query));
    assert_eq!(part(parts.authority), authority.unwrap_or_default());
    // The parts are all there is: put together they are the target.
    let mut again = Vec::new();
    if parts.form == target::Form::Absolute {
        again.extend_from_slice(&bytes[..parts.authority.0]);
        assert!(again.to_ascii_lowercase().ends_with(b"://"));
    }
    again.extend_from_slice(part(parts.authority));
    again.extend_from_slice(part(parts.path));
    if again.len() < bytes.len() {
        again.push(b'?');
    }
    again.extend_from_slice(part(parts.query));
    assert_eq!(again, bytes);
}
