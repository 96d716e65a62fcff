//! A response head: the host's fields, checked, and the lines that are the library's own.
//!
//! The rule: nothing a host passes can break the framing of what goes out. A field is checked before one byte of it is
//! appended, and the fields that frame a message or manage the connection are written here alone.

use super::grammar::{is_ows, is_tchar, is_value_byte, trim_ows, CR, HTAB, LF, SP};

/// The registered reason phrase (RFC 9110 15 and the IANA registry); "" for a status that has none.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        104 => "Upload Resumption Supported",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Which fields that the library would add has the host given.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Seen {
    pub date: bool,
    pub server: bool,
    pub content_type: bool,
}

/// Which of the host's fields was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    pub index: usize,
    pub text: &'static str,
}

/// Where a field is to stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The head of a final response.
    Answer,
    /// The head of a 1xx but 101.
    Inform,
    /// The head of a 101, where Upgrade is the host's.
    Switching,
    /// The trailer section.
    Trailer,
}

/// Validates one field of the host and appends "name: value\r\n". On a fault nothing is appended.
pub fn append_field(
    out: &mut Vec<u8>,
    name: &[u8],
    value: &[u8],
    place: Place,
    seen: &mut Seen,
) -> Result<(), &'static str> {
    valid_name(name)?;
    let value = trim_ows(value);
    valid_value(value)?;
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        4 if is("date") => seen.date = admit_control(place)?,
        6 if is("server") => seen.server = true,
        7 if is("trailer") => return Err("Trailer is set by the library"),
        7 if is("upgrade") && place != Place::Switching => return Err("Upgrade is set by the library"),
        10 if is("connection") => return Err("Connection is set by the library"),
        10 if is("keep-alive") => return Err("Keep-Alive is set by the library"),
        12 if is("content-type") => seen.content_type = admit_control(place)?,
        14 if is("content-length") => return Err("Content-Length is set by the library"),
        17 if is("transfer-encoding") => return Err("Transfer-Encoding is set by the library"),
        _ if place == Place::Trailer && NOT_IN_TRAILERS.iter().any(|known| is(known)) => {
            return Err("field is not allowed in the trailer section");
        }
        _ => {}
    }
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn admit_control(place: Place) -> Result<bool, &'static str> {
    match place {
        Place::Trailer => Err("field is not allowed in the trailer section"),
        _ => Ok(true),
    }
}

/// Fields that must be known before the content is (RFC 9110 6.5.1): routing, request modifiers, authentication,
/// control data, content format. What frames the message is refused everywhere.
const NOT_IN_TRAILERS: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "cookie",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "vary",
    "warning",
    "www-authenticate",
];

fn valid_name(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("name is empty");
    }
    match name.iter().find(|&&b| !is_tchar(b)) {
        None => Ok(()),
        Some(&SP | &HTAB) => Err("name contains a space"),
        Some(b':') => Err("name contains a colon"),
        Some(&CR | &LF) => Err("name contains a line end"),
        Some(0..=0x1f | 0x7f) => Err("name contains a control character"),
        Some(_) => Err("name contains a character that is not of a token"),
    }
}

fn valid_value(value: &[u8]) -> Result<(), &'static str> {
    if all_plain(value) {
        return Ok(());
    }
    match value.iter().find(|&&b| !is_value_byte(b)) {
        None => Ok(()),
        Some(&CR) => Err("value contains CR"),
        Some(&LF) => Err("value contains LF"),
        Some(0) => Err("value contains NUL"),
        Some(_) => Err("value contains a control character"),
    }
}

/// Whether every byte is SP, VCHAR or obs-text; eight at a time, the last eight perhaps a second time.
#[inline]
fn all_plain(value: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // The high bit of each byte that is below SP, or DEL; a borrow can only add to what is found already.
    let odd = |word: [u8; 8]| {
        let word = u64::from_ne_bytes(word);
        let del = word ^ (0x7f * ONES);
        (word.wrapping_sub(0x20 * ONES) & !word) | (del.wrapping_sub(ONES) & !del)
    };
    let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) else {
        return value.iter().all(|&b| b >= SP && b != 0x7f);
    };
    let mut found = odd(*first) | odd(*last);
    if value.len() > 16 {
        for word in value.chunks_exact(8) {
            found |= <[u8; 8]>::try_from(word).map_or(0, odd);
        }
    }
    found & HIGH == 0
}

/// A content type is only checked to be a field value, and not an empty one.
pub fn valid_content_type(v: &[u8]) -> Result<(), &'static str> {
    valid_value(v)?;
    if v.iter().all(|&b| is_ows(b)) {
        return Err("content type is empty");
    }
    Ok(())
}

/// Responses that never have content: 1xx, 204, 304.
#[inline]
pub fn bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// How the end of the response's content is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Length {
    #[default]
    /// No framing field: 1xx, 204, 304, tunnels, and content that ends with the connection.
    None,
    Exact(u64),
    Chunked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Persistence {
    #[default]
    /// No Connection field.
    Default,
    Close,
    KeepAlive,
    Upgrade,
}

#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Three digits.
    pub status: u16,
    /// Output of [`append_field`].
    pub lines: &'a [u8],
    pub date: Option<&'a [u8; 29]>,
    pub server: Option<&'a [u8]>,
    pub content_type: Option<&'a [u8]>,
    pub length: Length,
    pub persistence: Persistence,
}

/// Appends the status line, the fields and the empty line.
pub fn append_head(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    Frame::default().append_head(out, head);
}

/// How the last response head began and ended, around the host's lines: servers give the same again and again, and a
/// second of time lasts for thousands of answers.
#[derive(Debug, Default)]
pub struct Frame {
    /// What the beginning was made of; a status of 0: nothing yet.
    status: u16,
    date: Option<[u8; 29]>,
    server: Option<Vec<u8>>,
    content_type: Option<Vec<u8>>,
    /// What the end was made of.
    length: Length,
    persistence: Persistence,
    /// The beginning, and behind it the end.
    text: Vec<u8>,
    /// Where the end begins.
    middle: usize,
}

impl Frame {
    /// [`append_head`] with what is remembered.
    #[inline(always)]
    pub fn append_head(&mut self, out: &mut Vec<u8>, head: &ResponseHead<'_>) {
        let same = self.status == head.status
            && self.content_type.as_deref() == head.content_type
            && self.date.as_ref() == head.date
            && self.server.as_deref() == head.server;
        if !same {
            self.make_beginning(head);
            self.make_end(head);
        } else if self.length != head.length || self.persistence != head.persistence {
            self.make_end(head);
        }
        if head.lines.is_empty() {
            return out.extend_from_slice(&self.text);
        }
        let (beginning, end) = self.text.split_at(self.middle);
        out.reserve(self.text.len() + head.lines.len());
        out.extend_from_slice(beginning);
        out.extend_from_slice(head.lines);
        out.extend_from_slice(end);
    }

    /// The lines behind the host's.
    #[inline(never)]
    fn make_end(&mut self, head: &ResponseHead<'_>) {
        (self.length, self.persistence) = (head.length, head.persistence);
        let out = &mut self.text;
        out.truncate(self.middle);
        match head.length {
            Length::None => {}
            Length::Exact(length) => append_content_length(out, length),
            Length::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        match head.persistence {
            Persistence::Default => out.extend_from_slice(b"\r\n"),
            Persistence::Close => out.extend_from_slice(b"Connection: close\r\n\r\n"),
            Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n\r\n"),
            Persistence::Upgrade => out.extend_from_slice(b"Connection: upgrade\r\n\r\n"),
        }
    }

    #[cold]
    fn make_beginning(&mut self, head: &ResponseHead<'_>) {
        self.status = head.status;
        self.date = head.date.copied();
        remember(&mut self.server, head.server);
        remember(&mut self.content_type, head.content_type);
        let out = &mut self.text;
        out.clear();
        append_status_line(out, head.status);
        let named = [
            (&b"Date: "[..], head.date.map(|date| &date[..])),
            (b"Server: ", head.server),
            (b"Content-Type: ", head.content_type),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                out.extend_from_slice(name);
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.middle = out.len();
    }
}

/// Keeps a copy in the memory of the one before.
fn remember(kept: &mut Option<Vec<u8>>, value: Option<&[u8]>) {
    *kept = value.map(|value| {
        let mut copy = kept.take().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(value);
        copy
    });
}

macro_rules! status_lines {
    ($($code:literal $text:literal)*) => {
        /// The status lines of everyday use, ready-made.
        fn status_line(status: u16) -> Option<&'static [u8]> {
            match status {
                $($code => Some(concat!("HTTP/1.1 ", $code, " ", $text, "\r\n").as_bytes()),)*
                _ => None,
            }
        }
    };
}

status_lines! {
    200 "OK"
    201 "Created"
    204 "No Content"
    206 "Partial Content"
    301 "Moved Permanently"
    302 "Found"
    304 "Not Modified"
    400 "Bad Request"
    401 "Unauthorized"
    403 "Forbidden"
    404 "Not Found"
    500 "Internal Server Error"
    503 "Service Unavailable"
}

fn append_status_line(out: &mut Vec<u8>, status: u16) {
    if let Some(line) = status_line(status) {
        out.extend_from_slice(line);
        return;
    }
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), SP]);
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a line whose blanks are then filled in place: a copy that was just put together byte by byte stalls.
#[inline]
fn append_pattern<'a, const N: usize>(out: &'a mut Vec<u8>, pattern: &[u8; N]) -> &'a mut [u8] {
    let start = out.len();
    out.extend_from_slice(pattern);
    &mut out[start..]
}

#[inline]
fn append_content_length(out: &mut Vec<u8>, length: u64) {
    const NAME: usize = "Content-Length: ".len();
    let digits = length.checked_ilog10().unwrap_or(0) as usize + 1;
    let end = NAME + digits;
    let start = out.len();
    let line = append_pattern(out, b"Content-Length: --------------------\r\n");
    let mut value = length;
    for digit in line[NAME..end].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    line[end..end + 2].copy_from_slice(b"\r\n");
    out.truncate(start + end + 2);
}

/// The size line of a chunk: "1f4\r\n". A size of 0 would end the body: see [`LAST_CHUNK`].
pub fn append_chunk_size(out: &mut Vec<u8>, n: usize) {
    let mut line = [0u8; 18];
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut value = n;
    loop {
        at -= 1;
        line[at] = b"0123456789abcdef"[value & 15];
        value >>= 4;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&line[at..]);
}

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
