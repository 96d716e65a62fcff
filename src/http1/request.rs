//! A request head: from bytes to offsets and to the few facts that decide what happens next.
//!
//! `httparse` finds the lines; what it is lenient about (line ends, versions, targets, the meaning of fields) is
//! decided here. The rule: whatever two implementations could read in two ways is a fault, and a fault ends the
//! connection. Nothing is copied, and nothing is allocated once `RequestHead::fields` has its capacity.

use super::diagnose::{diagnose, Verdict};
use super::grammar::{is_token, list, trim_ows, CR, LF};
use super::target::{self, Form};
use super::Fault;
use std::mem::MaybeUninit;

/// A piece of the bytes that were parsed.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    /// The piece itself; empty if `bytes` are not those that were parsed.
    #[inline]
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start as usize..self.end()).unwrap_or_default()
    }

    #[inline]
    pub fn end(&self) -> usize {
        self.start as usize + self.len as usize
    }

    /// `start + len` fits: no head is longer than `MAX_HEAD`.
    #[inline]
    fn new(start: usize, len: usize) -> Self {
        Span { start: start as u32, len: len as u32 }
    }

    /// `part` is a piece of the bytes that start at address `base`.
    #[inline]
    fn within(base: usize, part: &[u8]) -> Self {
        Span::new((part.as_ptr() as usize).wrapping_sub(base), part.len())
    }
}

/// Behind the name stands its colon; behind the value, still inside the head, CR, SP or HTAB.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
}

/// How the end of the request's content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// One parsed request head. Spans are offsets into the bytes given to [`parse`]. Made to be reused: `parse` clears it.
/// After anything but `Complete` its contents mean nothing.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Bytes of the head, with its final empty line and the empty lines skipped before it.
    pub len: usize,
    pub method: Span,
    pub target: Span,
    /// As sent, before '?'. Empty in authority-form, and in absolute-form when the URI has none.
    pub path: Span,
    /// After '?'; empty if there is none.
    pub query: Span,
    /// The value of Host, or the authority of the target if it has one, which wins (RFC 9112 3.2.2).
    pub host: Span,
    pub fields: Vec<Field>,
    /// 0 or 1; HTTP/1.2 and later count as 1.
    pub minor: u8,
    pub framing: Framing,
    /// The connection may carry another request after this one.
    pub keep_alive: bool,
    /// The client waits for 100 before it sends the content.
    pub expect_continue: bool,
    /// The client offers to leave HTTP: a well-formed Upgrade with `Connection: upgrade` on HTTP/1.1, or CONNECT.
    pub upgrade: bool,
    /// A WebSocket handshake that satisfies RFC 6455 4.2.1.
    pub websocket: bool,
    pub is_head: bool,
    pub is_connect: bool,
    /// GET, HEAD, OPTIONS, TRACE.
    pub is_safe: bool,
    /// The last Host that was found to be valid: clients repeat it with every request.
    known_host: KnownHost,
}

/// A short text that need not be looked at again.
#[derive(Debug, Clone, Copy)]
struct KnownHost {
    len: u8,
    text: [u8; 47],
}

impl KnownHost {
    #[inline]
    fn is(&self, value: &[u8]) -> bool {
        self.text.get(..self.len as usize) == Some(value) && !value.is_empty()
    }

    fn set(&mut self, value: &[u8]) {
        if let Some(place) = self.text.get_mut(..value.len()) {
            place.copy_from_slice(value);
            self.len = value.len() as u8;
        }
    }
}

impl Default for RequestHead {
    fn default() -> Self {
        RequestHead {
            len: 0,
            method: Span::default(),
            target: Span::default(),
            path: Span::default(),
            query: Span::default(),
            host: Span::default(),
            fields: Vec::new(),
            minor: 1,
            framing: Framing::None,
            keep_alive: false,
            expect_continue: false,
            upgrade: false,
            websocket: false,
            is_head: false,
            is_connect: false,
            is_safe: false,
            known_host: KnownHost { len: 0, text: [0; 47] },
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the head, empty lines before it included: 414 or 431 beyond.
    pub max_head: usize,
    /// 431 beyond. At most 1024.
    pub max_fields: usize,
    /// Without it CONNECT is 501.
    pub allow_connect: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Partial,
    Complete,
}

/// Empty lines that are skipped before a request line (RFC 9112 2.2 asks for at least one).
const MAX_EMPTY_LINES: usize = 8;
/// Spans are 32 bits wide.
const MAX_HEAD: usize = u32::MAX as usize;
const MAX_FIELDS: usize = 1024;
/// Nearly every head has fewer fields, and a small array keeps the stack of the hot path within a page.
const USUAL_FIELDS: usize = 64;

type Slot<'b> = MaybeUninit<httparse::Header<'b>>;

/// Parses the request head at the start of `bytes`, which may go on behind it.
///
/// The verdict depends on the bytes alone, not on how they arrived: if a prefix has a fault, everything that starts
/// with it has the same. Once `bytes` is as long as `limits.max_head` the answer is never `Partial`.
#[inline]
pub fn parse(bytes: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Parsed, Fault> {
    let max_head = limits.max_head.min(MAX_HEAD);
    let window = &bytes[..bytes.len().min(max_head)];
    let start = match window.first() {
        Some(&(CR | LF)) => match skip_empty_lines(window)? {
            Some(start) => start,
            None => return partial(window, max_head),
        },
        _ => 0,
    };
    let max_fields = limits.max_fields.min(MAX_FIELDS);
    let mut slots: [Slot<'_>; USUAL_FIELDS] = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let slots = &mut slots[..max_fields.min(USUAL_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&window[start..], slots) {
        Ok(httparse::Status::Complete(len)) => accept(&window[..start + len], start, &request, limits, head),
        Ok(httparse::Status::Partial) => partial(window, max_head),
        Err(httparse::Error::TooManyHeaders) if max_fields > USUAL_FIELDS => parse_many(window, start, limits, head),
        Err(_) => refuse(window, start, limits, head),
    }
}

/// `parse` once more, for heads of very many fields.
#[cold]
#[inline(never)]
fn parse_many(window: &[u8], start: usize, limits: &Limits, head: &mut RequestHead) -> Result<Parsed, Fault> {
    let mut slots: [Slot<'_>; MAX_FIELDS] = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let slots = &mut slots[..limits.max_fields.min(MAX_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&window[start..], slots) {
        Ok(httparse::Status::Complete(len)) => accept(&window[..start + len], start, &request, limits, head),
        Ok(httparse::Status::Partial) => partial(window, limits.max_head.min(MAX_HEAD)),
        Err(_) => refuse(window, start, limits, head),
    }
}

/// Where the request line starts; None while that is not known.
#[cold]
fn skip_empty_lines(window: &[u8]) -> Result<Option<usize>, Fault> {
    let mut at = 0;
    for _ in 0..=MAX_EMPTY_LINES {
        match &window[at..] {
            [] | [CR] => return Ok(None),
            [CR, LF, ..] => at += 2,
            [CR, ..] => return Err(Fault::bad("bare CR before the request line")),
            [LF, ..] => return Err(Fault::bad("bare LF before the request line")),
            _ => return Ok(Some(at)),
        }
    }
    Err(Fault::bad("too many empty lines before the request line"))
}

/// The end of the head is not among these bytes: wait for more, unless there may be no more.
#[cold]
fn partial(window: &[u8], max_head: usize) -> Result<Parsed, Fault> {
    if window.len() < max_head {
        return Ok(Parsed::Partial);
    }
    let line = window.iter().position(|&b| b != CR && b != LF).unwrap_or(window.len());
    if window[line..].contains(&LF) {
        Err(Fault::new(431, "fields too large"))
    } else {
        Err(Fault::new(414, "request target too long"))
    }
}

/// What httparse would not read: a fault, a version that may yet become one, or a later minor version.
#[cold]
fn refuse(window: &[u8], start: usize, limits: &Limits, head: &mut RequestHead) -> Result<Parsed, Fault> {
    match diagnose(&window[start..], limits.max_fields.min(MAX_FIELDS)) {
        Verdict::Fault(fault) => Err(fault),
        Verdict::Undecided if is_short_of_version(&window[start..]) => partial(window, limits.max_head.min(MAX_HEAD)),
        Verdict::Undecided => Err(Fault::bad("malformed request head")),
        Verdict::LaterMinor(at) => {
            // A message of a later minor version is read as one of the highest known; offsets are the same in a copy.
            let end = end_of_head(window, start).unwrap_or(window.len());
            let mut copy = window[..end].to_vec();
            copy[start + at] = b'1';
            match parse(&copy, limits, head) {
                Ok(Parsed::Partial) => partial(window, limits.max_head.min(MAX_HEAD)),
                verdict => verdict,
            }
        }
    }
}

/// httparse decides on a version before it has all of it; we wait for the rest.
fn is_short_of_version(line: &[u8]) -> bool {
    !line.contains(&LF)
}

/// Everything that `httparse` leaves open. `bytes` ends with the head; the request line starts at `start`.
#[inline]
fn accept(
    bytes: &[u8],
    start: usize,
    request: &httparse::Request<'_, '_>,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Parsed, Fault> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Fault::bad("malformed request head"));
    };
    // Every line has its CR: the last field's and the empty one are looked at here, the others with the fields.
    if !bytes.ends_with(b"\r\n\r\n") {
        return bare_line_feed(bytes, start);
    }
    let base = bytes.as_ptr() as usize;
    let (method, target) = (method.as_bytes(), target.as_bytes());
    head.len = bytes.len();
    head.minor = minor;
    head.method = Span::within(base, method);
    head.target = Span::within(base, target);
    head.is_head = method == b"HEAD";
    head.is_connect = method == b"CONNECT";
    head.is_safe = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE");
    if head.is_connect && !limits.allow_connect {
        return Err(Fault::new(501, "CONNECT is not served here"));
    }

    let parts = target::split(target, method)?;
    let at = head.target.start as usize;
    head.path = Span::new(at + parts.path.0, parts.path.1);
    head.query = Span::new(at + parts.query.0, parts.query.1);

    let mut facts = Facts::default();
    head.fields.clear();
    head.fields.reserve(request.headers.len());
    for header in request.headers.iter() {
        let name = header.name.as_bytes();
        let field = Field { name: Span::within(base, name), value: Span::within(base, header.value) };
        if bytes.get((field.name.start as usize).wrapping_sub(2)) != Some(&CR) {
            return bare_line_feed(bytes, start);
        }
        facts.learn(name, header.value, field.value, &mut head.known_host)?;
        head.fields.push(field);
    }

    match (facts.host, parts.form) {
        (_, Form::Absolute | Form::Authority) => {
            head.host = Span::new(at + parts.authority.0, parts.authority.1);
        }
        (host, _) => head.host = host.unwrap_or_default(),
    }
    if facts.host.is_none() && minor == 1 {
        return Err(Fault::bad("Host missing"));
    }
    head.framing = facts.framing(minor)?;
    facts.conclude(method, head)?;
    Ok(Parsed::Complete)
}

#[cold]
fn bare_line_feed(bytes: &[u8], start: usize) -> Result<Parsed, Fault> {
    match diagnose(&bytes[start..], MAX_FIELDS) {
        Verdict::Fault(fault) => Err(fault),
        _ => Err(Fault::bad("line that ends in a bare LF")),
    }
}

/// What the fields of one head say, as far as it is the library's business.
#[derive(Default)]
struct Facts {
    host: Option<Span>,
    content_length: Option<u64>,
    transfer_encoding: bool,
    /// The first thing wrong with Transfer-Encoding. Kept, as Content-Length beside it is worse.
    transfer_fault: Option<Fault>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
    expect_continue: bool,
    unknown_expectation: bool,
    upgrade: bool,
    malformed_upgrade: bool,
    upgrade_websocket: bool,
    websocket_key: Once,
    websocket_version: Once,
}

/// A field that counts only if it is there once and valid.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Once {
    #[default]
    Missing,
    Valid,
    Spoilt,
}

impl Once {
    fn note(&mut self, valid: bool) {
        *self = if valid && *self == Once::Missing { Once::Valid } else { Once::Spoilt };
    }
}

impl Facts {
    #[inline]
    fn learn(&mut self, name: &[u8], value: &[u8], span: Span, known: &mut KnownHost) -> Result<(), Fault> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.learn_host(value, span, known)?,
            6 if name.eq_ignore_ascii_case(b"expect") => self.learn_expect(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.learn_upgrade(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.learn_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.learn_content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.learn_transfer_encoding(value),
            17 if name.eq_ignore_ascii_case(b"sec-websocket-key") => {
                self.websocket_key.note(is_websocket_key(value));
            }
            21 if name.eq_ignore_ascii_case(b"sec-websocket-version") => {
                self.websocket_version.note(value == b"13");
            }
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn learn_host(&mut self, value: &[u8], span: Span, known: &mut KnownHost) -> Result<(), Fault> {
        if self.host.is_some() {
            return Err(Fault::bad("Host repeated"));
        }
        self.host = Some(span);
        if !known.is(value) {
            target::authority(value).map_err(Fault::bad)?;
            known.set(value);
        }
        Ok(())
    }

    #[inline]
    fn learn_content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.content_length.is_some() {
            return Err(Fault::bad("Content-Length repeated"));
        }
        let mut length = 0u64;
        for &b in value {
            if !b.is_ascii_digit() {
                return Err(Fault::bad(match b {
                    b',' => "Content-Length is a list",
                    b'+' | b'-' => "Content-Length has a sign",
                    _ => "Content-Length is not a number",
                }));
            }
            length = match length.checked_mul(10).and_then(|l| l.checked_add(u64::from(b - b'0'))) {
                Some(length) => length,
                None => return Err(Fault::bad("Content-Length out of range")),
            };
        }
        if value.is_empty() {
            return Err(Fault::bad("Content-Length is empty"));
        }
        self.content_length = Some(length);
        Ok(())
    }

    /// Taken only as the single word "chunked": list syntax that others might read differently is refused.
    #[cold]
    fn learn_transfer_encoding(&mut self, value: &[u8]) {
        self.transfer_encoding = true;
        for element in value.split(|&b| b == b',').map(trim_ows) {
            let coding = element.split(|&b| b == b';').next().map(trim_ows).unwrap_or_default();
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            let fault = match () {
                () if element.is_empty() => Fault::bad("empty element in Transfer-Encoding"),
                () if is_chunked && coding.len() < element.len() => {
                    Fault::bad("chunked transfer coding with parameters")
                }
                () if is_chunked && self.chunked => Fault::bad("chunked transfer coding repeated"),
                () if is_chunked => {
                    self.chunked = true;
                    continue;
                }
                () if self.chunked => Fault::bad("chunked is not the final transfer coding"),
                () if is_token(coding) => Fault::new(501, "transfer coding other than chunked"),
                () => Fault::bad("malformed Transfer-Encoding"),
            };
            self.transfer_fault.get_or_insert(fault);
        }
    }

    /// Options that are not ours are ignored, well-formed or not.
    fn learn_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.connection_upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => {}
            }
        }
    }

    #[cold]
    fn learn_expect(&mut self, value: &[u8]) {
        for expectation in list(value) {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expect_continue = true;
            } else {
                self.unknown_expectation = true;
            }
        }
    }

    #[cold]
    fn learn_upgrade(&mut self, value: &[u8]) {
        for protocol in list(value) {
            let mut parts = protocol.splitn(2, |&b| b == b'/');
            self.upgrade = true;
            self.malformed_upgrade |= !parts.all(is_token);
            self.upgrade_websocket |= protocol.eq_ignore_ascii_case(b"websocket");
        }
    }

    #[inline]
    fn framing(&self, minor: u8) -> Result<Framing, Fault> {
        if self.transfer_encoding {
            if self.content_length.is_some() {
                return Err(Fault::bad("Content-Length beside Transfer-Encoding"));
            }
            if minor == 0 {
                return Err(Fault::bad("Transfer-Encoding on HTTP/1.0"));
            }
            return match self.transfer_fault {
                Some(fault) => Err(fault),
                None => Ok(Framing::Chunked),
            };
        }
        Ok(self.content_length.map_or(Framing::None, Framing::Length))
    }

    /// The facts that rest on several fields, the version and the method.
    #[inline]
    fn conclude(&self, method: &[u8], head: &mut RequestHead) -> Result<(), Fault> {
        let current = head.minor == 1;
        if current && self.unknown_expectation {
            return Err(Fault::new(417, "expectation other than 100-continue"));
        }
        let upgrade = current && self.connection_upgrade && self.upgrade && !self.malformed_upgrade;
        head.keep_alive = !self.close && (current || self.keep_alive);
        head.expect_continue = current && self.expect_continue;
        head.upgrade = upgrade || head.is_connect;
        head.websocket = upgrade
            && self.upgrade_websocket
            && self.websocket_key == Once::Valid
            && self.websocket_version == Once::Valid
            && method == b"GET";
        Ok(())
    }
}

/// Sixteen bytes in base64.
fn is_websocket_key(value: &[u8]) -> bool {
    value.len() == 24
        && value.ends_with(b"==")
        && value[..22].iter().all(|&b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Behind the first empty line whose line end is at or after `from`: LF LF or LF CR LF.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.iter().position(|&b| b == LF) {
        at += found + 1;
        match &bytes[..at - 1] {
            [.., LF] | [.., LF, CR] => return Some(at),
            _ => {}
        }
    }
    None
}

/// Remembers how far a growing partial head was looked at, so that the work per byte stays constant: says whether
/// [`parse`] is worth calling on these bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Scan {
    /// Bytes searched for the end of the head.
    seen: u32,
    /// Length at the last yes.
    parsed: u32,
}

impl Scan {
    pub fn new() -> Self {
        Self::default()
    }

    /// `bytes` is the partial head so far, from its first byte. Yes the first time; after that when the new bytes hold
    /// an end of head (with bare LFs too, for their 400), or when the length has doubled since the last yes, so that a
    /// fault is found long before the time-out, at a total cost that is linear.
    pub fn worth_parsing(&mut self, bytes: &[u8]) -> bool {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if len < self.seen {
            *self = Self::new();
        }
        let worth = len / 2 >= self.parsed || end_of_head(bytes, self.seen as usize).is_some();
        self.seen = len;
        if worth {
            self.parsed = len;
        }
        worth
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "request_cut_tests.rs"]
mod cut_tests;
