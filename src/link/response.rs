//! Owns the reading of answers: one head, and how its body ends. Rule: as strict as the other direction, and bounded: what
//! could be read in two ways ends the connection, and so does a head that does not end.

use crate::http1::chunked::Decoder;

/// Bytes of a head at the most.
pub const MAX_HEAD: usize = 16 << 10;
const MAX_FIELDS: usize = 64;
/// Bytes of a URL that is only shown.
const MAX_LOCATION: usize = 1024;
/// 1xx heads in front of an answer.
const MAX_INFORMATIONAL: u32 = 8;

/// Why a connection is of no more use: for the host's eyes.
pub type Fault = std::borrow::Cow<'static, str>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    pub status: u16,
    /// What follows on this connection.
    pub framing: Framing,
    /// The connection ends with this answer.
    pub close: bool,
    pub media: Media,
    pub position: Vec<u8>,
    /// Encke-Recovered.
    pub recovered: Option<bool>,
    /// The body has a content coding.
    pub coded: bool,
    /// Where a redirect points to.
    pub location: Vec<u8>,
    /// What a server says that changes to WebSocket.
    pub upgrade: Upgrade,
}

/// What the body is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Media {
    #[default]
    Other,
    /// multipart/x-mixed-replace with this boundary.
    Parts(Vec<u8>),
    /// text/event-stream
    Events,
}

/// The fields of RFC 6455, 4.2.2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upgrade {
    /// Upgrade says so, and Connection too.
    pub to_websocket: bool,
    pub connection: bool,
    /// Sec-WebSocket-Accept.
    pub accept: Vec<u8>,
    pub protocol: Vec<u8>,
    pub extensions: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    #[default]
    Nothing,
    Length(u64),
    Chunked,
    /// Until the connection ends.
    Close,
}

/// Takes a head from the front of `input`: it and its length. `None`: more is needed. `switching`: a 101 is an answer to what
/// was asked.
pub fn parse(input: &[u8], switching: bool) -> Result<Option<(Head, usize)>, Fault> {
    let mut start = 0;
    for _ in 0..=MAX_INFORMATIONAL {
        match parse_one(&input[start..])? {
            None if input.len() >= MAX_HEAD => return Err("the head of the answer is too large".into()),
            None => return Ok(None),
            // However it came.
            Some((_, n)) if start + n > MAX_HEAD => return Err("the head of the answer is too large".into()),
            Some((head, _)) if head.status == 101 && !switching => {
                return Err("101: nobody asked for another protocol".into());
            }
            Some((head, n)) if head.status < 200 && head.status != 101 => start += n,
            Some((head, n)) => return Ok(Some((head, start + n))),
        }
    }
    Err("too many informational answers".into())
}

fn parse_one(input: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let n = match response.parse(input) {
        Ok(httparse::Status::Complete(n)) => n,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(why) => return Err(format!("no answer of HTTP: {why}").into()),
    };
    // httparse takes lines that end in LF alone.
    if input[..n].windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r') || input[0] == b'\n' {
        return Err("no answer of HTTP: a line ends in LF alone".into());
    }
    let status = response.code.unwrap_or_default();
    let old = response.version == Some(0);
    let mut head = Head { status, close: old, ..Head::default() };
    let (mut length, mut chunked) = (None, false);
    for field in response.headers.iter() {
        let value = field.value.trim_ascii();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            if length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err("Content-Length is no number".into());
            }
            let text = std::str::from_utf8(value).unwrap_or_default();
            length = Some(text.parse::<u64>().map_err(|_| "Content-Length is no number")?);
        } else if is("transfer-encoding") {
            if chunked || old || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a transfer coding that nobody asked for".into());
            }
            chunked = true;
        } else if is("connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    head.close = true;
                } else if option.eq_ignore_ascii_case(b"upgrade") {
                    head.upgrade.connection = true;
                } else if old && option.eq_ignore_ascii_case(b"keep-alive") {
                    head.close = false;
                }
            }
        } else if is("content-type") {
            head.media = media(value);
        } else if is("content-encoding") {
            head.coded = !value.eq_ignore_ascii_case(b"identity");
        } else if is("location") && value.len() <= MAX_LOCATION && value.iter().all(u8::is_ascii_graphic) {
            head.location = value.to_vec();
        } else if is("encke-position") && is_position(value) {
            head.position = value.to_vec();
        } else if is("encke-recovered") {
            head.recovered = match value {
                b"yes" => Some(true),
                b"no" => Some(false),
                _ => None,
            };
        } else if status == 101 {
            head.upgrade.take(field.name, value)?;
        }
    }
    head.framing = match (status, chunked, length) {
        (..=199 | 204 | 304, ..) => Framing::Nothing,
        (_, true, Some(_)) => return Err("Content-Length beside Transfer-Encoding".into()),
        (_, true, None) => Framing::Chunked,
        (_, false, Some(0)) => Framing::Nothing,
        (_, false, Some(n)) => Framing::Length(n),
        (_, false, None) => Framing::Close,
    };
    head.close |= head.framing == Framing::Close;
    Ok(Some((head, n)))
}

/// What a server may say of where a stream is, and will be told again.
pub fn is_position(value: &[u8]) -> bool {
    (1..=255).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

impl Upgrade {
    fn take(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("upgrade") {
            self.to_websocket = value.eq_ignore_ascii_case(b"websocket");
        } else if is("sec-websocket-accept") || is("sec-websocket-protocol") {
            let once = if is("sec-websocket-accept") { &mut self.accept } else { &mut self.protocol };
            if !once.is_empty() {
                return Err(format!("{name} comes twice").into());
            }
            *once = value.to_vec();
        } else if is("sec-websocket-extensions") {
            self.extensions |= !value.is_empty();
        }
        Ok(())
    }
}

fn media(value: &[u8]) -> Media {
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    match boundary(value) {
        Some(boundary) => Media::Parts(boundary),
        None if kind.eq_ignore_ascii_case(b"text/event-stream") => Media::Events,
        None => Media::Other,
    }
}

/// The boundary of multipart/x-mixed-replace (RFC 2046, 5.1.1), quoted or not.
fn boundary(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.split(|byte| *byte == b';');
    if !parts.next()?.trim_ascii().eq_ignore_ascii_case(b"multipart/x-mixed-replace") {
        return None;
    }
    for part in parts {
        let (name, value) = part.split_at(part.iter().position(|byte| *byte == b'=')?);
        if name.trim_ascii().eq_ignore_ascii_case(b"boundary") {
            let value = value[1..].trim_ascii();
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            let fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"' || *byte == b' ';
            return ((1..=70).contains(&value.len()) && value.iter().all(fits)).then(|| value.to_vec());
        }
    }
    None
}

/// A body on its way, freed of its framing.
#[derive(Debug)]
pub enum Body {
    Nothing,
    Length(u64),
    Chunked(Decoder),
    Close,
}

/// One step of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub consumed: usize,
    /// Content, within the input.
    pub data: std::ops::Range<usize>,
    /// A chunk ends behind the data.
    pub chunk_ends: bool,
    pub done: bool,
}

impl Body {
    pub fn new(framing: Framing) -> Body {
        match framing {
            Framing::Nothing => Body::Nothing,
            Framing::Length(n) => Body::Length(n),
            Framing::Chunked => Body::Chunked(Decoder::new()),
            Framing::Close => Body::Close,
        }
    }

    /// Consumes at most one run of content. To be called until the input is consumed, or the body done.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let all = |n: usize, done| Step { consumed: n, data: 0..n, chunk_ends: false, done };
        match self {
            Body::Nothing => Ok(all(0, true)),
            Body::Close => Ok(all(input.len(), false)),
            Body::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= n as u64;
                Ok(all(n, *left == 0))
            }
            Body::Chunked(decoder) => match decoder.left() {
                Some(left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    decoder.decode(&input[..n], n).map_err(|fault| fault.text)?;
                    Ok(Step { chunk_ends: n as u64 == left, ..all(n, false) })
                }
                None => {
                    let step = decoder.decode(input, 0).map_err(|fault| fault.text)?;
                    Ok(Step { consumed: step.consumed, data: 0..0, chunk_ends: false, done: step.done })
                }
            },
        }
    }
}

/// Bytes of the body of an answer to a publish at the most.
const MAX_ANSWER: u64 = 1 << 20;

/// Reads the answers to what was published, one behind the other.
#[derive(Debug, Default)]
pub struct Answers {
    /// A head that is not whole.
    kept: Vec<u8>,
    /// The answer whose body is being read and dropped.
    body: Option<(Head, Body, u64)>,
}

impl Answers {
    /// Tells each answer that is complete; true: the connection ends with it.
    pub fn receive(
        &mut self,
        mut input: &[u8],
        answer: &mut dyn FnMut(u16) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        loop {
            if let Some((head, body, dropped)) = &mut self.body {
                let step = body.step(input)?;
                input = &input[step.consumed..];
                *dropped += step.data.len() as u64;
                if *dropped > MAX_ANSWER {
                    // The status is known: what it says holds, and the connection is given up.
                    let status = head.status;
                    self.body = None;
                    answer(status)?;
                    return Ok(true);
                }
                if step.done {
                    let (status, close) = (head.status, head.close);
                    self.body = None;
                    answer(status)?;
                    if close {
                        return Ok(true);
                    }
                } else if step.consumed == 0 {
                    return Ok(false);
                }
                continue;
            }
            if input.is_empty() && self.kept.is_empty() {
                return Ok(false);
            }
            let parsed = if self.kept.is_empty() {
                parse(input, false)?.inspect(|(_, n)| input = &input[*n..])
            } else {
                let before = self.kept.len();
                self.kept.extend_from_slice(&input[..input.len().min(MAX_HEAD)]);
                let parsed = parse(&self.kept, false)?;
                if let Some((_, n)) = &parsed {
                    input = &input[n - before..];
                    self.kept = Vec::new();
                    parsed
                } else {
                    return Ok(false);
                }
            };
            match parsed {
                Some((head, _)) => self.body = Some((head.clone(), Body::new(head.framing), 0)),
                None => {
                    self.kept.extend_from_slice(input);
                    return Ok(false);
                }
            }
        }
    }

    /// The connection ended: the status of an answer that ends with it.
    pub fn end(&mut self) -> Option<u16> {
        match self.body.take() {
            Some((head, Body::Close, _)) => Some(head.status),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<(Head, usize)>, Fault> {
        parse(text.as_bytes(), false)
    }

    #[test]
    fn heads() {
        let msgbus =
            "HTTP/1.1 200 OK\r\nServer: msgbus\r\nContent-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\n\
                      Transfer-Encoding: chunked\r\nDate: Fri, 20 Nov 2026 08:40:22 GMT\r\n\r\n";
        let (found, n) = head(msgbus).unwrap().unwrap();
        assert_eq!(n, msgbus.len());
        assert_eq!((found.status, found.framing, found.close), (200, Framing::Chunked, false));
        assert_eq!(found.media, Media::Parts(b"00MsgBus00".to_vec()));
        for cut in 0..msgbus.len() {
            assert_eq!(head(&msgbus[..cut]), Ok(None), "{cut}");
        }
        let old = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=\"a b\"\r\n\r\n";
        let (found, _) = head(old).unwrap().unwrap();
        assert_eq!((found.framing, found.close, found.media), (Framing::Close, true, Media::Parts(b"a b".to_vec())));
        let ours = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nEncke-Position: 1:2\r\nEncke-Recovered: no\r\n\
                    Content-Length: 5\r\nConnection: close\r\n\r\n";
        let (found, n) = head(ours).unwrap().unwrap();
        assert_eq!(n, ours.len());
        assert_eq!((found.framing, found.close, found.recovered), (Framing::Length(5), true, Some(false)));
        assert_eq!(found.position, b"1:2");
        let (found, _) = head("HTTP/1.1 204 OK\r\nServer: msgbus\r\n\r\n").unwrap().unwrap();
        assert_eq!((found.status, found.framing, found.close), (204, Framing::Nothing, false));
    }

    #[test]
    fn other_answers() {
        let events =
            "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream;charset=utf-8\r\nContent-Encoding: gzip\r\n\r\n";
        let (found, _) = head(events).unwrap().unwrap();
        assert_eq!((found.media, found.coded, found.framing), (Media::Events, true, Framing::Close));
        let moved = "HTTP/1.1 307 x\r\nLocation: https://a/b\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(head(moved).unwrap().unwrap().0.location, b"https://a/b");
        let switching =
            "HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: abc=\r\n\
                         Sec-WebSocket-Protocol: p\r\n\r\n\x01";
        let (found, n) = parse(switching.as_bytes(), true).unwrap().unwrap();
        assert_eq!((found.status, n), (101, switching.len() - 1));
        let upgrade = Upgrade {
            to_websocket: true,
            connection: true,
            accept: b"abc=".to_vec(),
            protocol: b"p".to_vec(),
            extensions: false,
        };
        assert_eq!(found.upgrade, upgrade);
        let twice = "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: a\r\nSec-WebSocket-Accept: a\r\n\r\n";
        assert!(parse(twice.as_bytes(), true).is_err());
    }

    #[test]
    fn bad_heads() {
        for bad in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        ] {
            assert!(head(bad).is_err(), "{bad:?}");
        }
        assert!(head(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD))).is_err());
        assert!(head(&format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD))).is_err());
        assert!(head(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(20)).is_err());
        assert!(head(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(65))).is_err());
    }

    /// Recorded from the original daemon, and what others may say.
    const STREAM: &str = "HTTP/1.1 204 OK\r\nServer: msgbus\r\nDate: x\r\n\r\n\
        HTTP/1.1 401 Unauthorized\r\nContent-Length: 21\r\n\r\n<h1>Unauthorized</h1>\
        HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<HTML>";

    fn read(pieces: &[&[u8]]) -> (Vec<u16>, bool) {
        let (mut answers, mut statuses, mut over) = (Answers::default(), Vec::new(), false);
        for piece in pieces {
            let mut take = |status| {
                statuses.push(status);
                Ok(())
            };
            over |= answers.receive(piece, &mut take).unwrap();
        }
        let last = answers.end();
        statuses.extend(last);
        (statuses, over || last.is_some())
    }

    #[test]
    fn answers_at_every_cut() {
        let bytes = STREAM.as_bytes();
        let expected = (vec![204, 401, 200, 400], true);
        assert_eq!(read(&[bytes]), expected);
        for cut in 0..bytes.len() {
            assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), expected, "{cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), expected);
    }

    #[test]
    fn an_endless_body_ends() {
        let mut answers = Answers::default();
        let mut told = Vec::new();
        let mut tell = |status| {
            told.push(status);
            Ok(())
        };
        answers.receive(b"HTTP/1.1 200 OK\r\n\r\n", &mut tell).unwrap();
        let piece = vec![b'x'; 1 << 16];
        assert!((0..100).any(|_| answers.receive(&piece, &mut tell).unwrap()));
        assert_eq!(told, [200]);
    }
}
