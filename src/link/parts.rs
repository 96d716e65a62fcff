//! Owns the reading of a stream of messages: multipart/x-mixed-replace, as it comes from the original message bus and from
//! an encke. Rules: a part with a length is read by it; one without ends with its chunk, as the original sends them; what is
//! kept of a message is bounded; the work per byte is constant.

use super::response::{is_position, Body, Fault};
use crate::engine::word::Letter;
use crate::push::location;

/// Bytes of the fields of one part, and of what stands before the first one.
const MAX_FIELDS: usize = 8 << 10;
/// Memory is taken for a length that is promised only as far as this.
const MOST_AT_ONCE: usize = 64 << 10;
/// Of a delimiter line beside the boundary: a line end before it, dashes on both sides, a line end.
const DELIMITER: usize = 2 + 2 + 70 + 2 + 2;

const NO_DELIMITER: &str = "a delimiter between messages is missing";

/// What was read of one part.
#[derive(Debug)]
pub struct Part {
    pub letter: Letter,
    /// Where it stands in the stream of all messages; empty where the server does not say.
    pub position: Vec<u8>,
}

/// Which messages these are.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The channel of parts that do not say.
    pub channel: &'a str,
    /// What stands before a channel's name in a path.
    pub prefix: &'a str,
    /// Bytes of one message at the most.
    pub max_message: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Up to the first delimiter.
    Preamble,
    Fields,
    /// So many bytes are missing.
    Length(u64),
    /// Up to the delimiter at the end of a chunk, or anywhere where there are no chunks.
    Open,
    /// The delimiter behind a part with a length.
    Behind,
    /// The last delimiter has come.
    Over,
}

/// Reads the body of one answer.
#[derive(Debug)]
pub struct Parts {
    body: Body,
    state: State,
    boundary: Box<[u8]>,
    /// What is not complete: fields, data, a delimiter.
    kept: Vec<u8>,
    /// Bytes between two messages that belong to neither.
    skipped: u32,
    fields: Option<Box<Fields>>,
    /// Where a message stands that was refused for its size; empty: there was none, or the server does not say.
    pub refused: Vec<u8>,
}

#[derive(Debug, Default)]
struct Fields {
    kind: Vec<u8>,
    from: Vec<u8>,
    event: Vec<u8>,
    key: Vec<u8>,
    channel: Option<Vec<u8>>,
    position: Vec<u8>,
    length: Option<u64>,
}

impl Parts {
    pub fn new(body: Body, boundary: &[u8]) -> Parts {
        Parts {
            body,
            state: State::Preamble,
            boundary: boundary.into(),
            kept: Vec::new(),
            skipped: 0,
            fields: None,
            refused: Vec::new(),
        }
    }

    /// Bytes kept for a message that is not complete.
    pub fn kept(&self) -> usize {
        self.kept.capacity()
    }

    /// Tells each message that is complete. True: the stream has ended.
    pub fn receive(&mut self, mut input: &[u8], terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<bool, Fault> {
        loop {
            let step = self.body.step(input)?;
            let mut data = &input[step.data];
            while !data.is_empty() {
                let taken = self.take(data, terms, tell)?;
                data = &data[taken..];
            }
            if step.chunk_ends && self.state == State::Open {
                self.end_open(terms, tell)?;
            }
            if step.done || self.state == State::Over {
                return Ok(true);
            }
            if step.consumed == 0 {
                return Ok(false);
            }
            input = &input[step.consumed..];
        }
    }

    /// Takes some of this content, at least a byte.
    fn take(&mut self, data: &[u8], terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<usize, Fault> {
        match self.state {
            State::Preamble | State::Behind => {
                // Up to the end of a line, which is the delimiter, or an empty one before it.
                let n = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1);
                self.kept.extend_from_slice(&data[..n]);
                let most = if self.state == State::Preamble { MAX_FIELDS } else { DELIMITER };
                if self.kept.ends_with(b"\n") {
                    self.end_line()?;
                } else if self.kept.len() > most {
                    return Err(NO_DELIMITER.into());
                }
                Ok(n)
            }
            State::Fields => {
                let n = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1);
                self.kept.extend_from_slice(&data[..n]);
                if self.kept.len() > MAX_FIELDS {
                    return Err("the fields of a message are too large".into());
                }
                if self.kept == b"\n"
                    || self.kept == b"\r\n"
                    || self.kept.ends_with(b"\n\n")
                    || self.kept.ends_with(b"\n\r\n")
                {
                    self.end_fields(terms, tell)?;
                }
                Ok(n)
            }
            State::Length(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                if self.kept.is_empty() {
                    let whole = usize::try_from(left).unwrap_or(usize::MAX);
                    self.kept.try_reserve_exact(whole.min(MOST_AT_ONCE)).map_err(|_| "no memory for a message")?;
                }
                self.keep(&data[..n])?;
                self.state = State::Length(left - n as u64);
                if left == n as u64 {
                    let data = std::mem::take(&mut self.kept);
                    self.end_part(data, terms, tell);
                    self.state = State::Behind;
                }
                Ok(n)
            }
            State::Open => {
                let n = match self.body {
                    Body::Chunked(_) => data.len(),
                    // Nothing but the delimiter tells where it ends; it ends with a line.
                    _ => data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1),
                };
                if self.kept.len() as u64 + n as u64 > terms.max_message.saturating_add(DELIMITER as u64) {
                    return Err(too_large(terms));
                }
                self.keep(&data[..n])?;
                if !matches!(self.body, Body::Chunked(_)) && self.kept.ends_with(b"\n") {
                    self.end_open(terms, tell)?;
                }
                Ok(n)
            }
            State::Over => Ok(data.len()),
        }
    }

    fn keep(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.kept.try_reserve(data.len()).map_err(|_| "no memory for a message")?;
        self.kept.extend_from_slice(data);
        Ok(())
    }

    /// A line is complete where a delimiter is expected.
    fn end_line(&mut self) -> Result<(), Fault> {
        let line = trim_line(&self.kept);
        match line.strip_prefix(b"--").and_then(|line| line.strip_prefix(&*self.boundary)) {
            Some(b"") => self.state = State::Fields,
            Some(b"--") => self.state = State::Over,
            _ if line.is_empty() => {}
            _ if self.state == State::Preamble => {}
            _ => return Err(NO_DELIMITER.into()),
        }
        // Somebody who never says anything would be read for ever.
        self.skipped = if self.state == State::Fields { 0 } else { self.skipped + self.kept.len() as u32 };
        if self.skipped as usize > MAX_FIELDS {
            return Err(NO_DELIMITER.into());
        }
        // Idle streams keep nothing.
        self.kept = Vec::new();
        Ok(())
    }

    fn end_fields(&mut self, terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<(), Fault> {
        let kept = std::mem::take(&mut self.kept);
        let mut fields = Fields::default();
        for line in kept.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
            if line.is_empty() {
                continue;
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return Err("a field of a message has no colon".into());
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if value.iter().any(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7f) {
                return Err("a field of a message has a control character".into());
            }
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("content-type") {
                fields.kind = value.to_vec();
            } else if is("content-length") {
                let digits = !value.is_empty() && value.len() < 20 && value.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(value).unwrap_or_default();
                let Some(n) = text.parse::<u64>().ok().filter(|_| digits && fields.length.is_none()) else {
                    return Err("the length of a message is no number".into());
                };
                fields.length = Some(n);
            } else if is("from") {
                fields.from = value.to_vec();
            } else if is("encke-event") {
                fields.event = value.to_vec();
            } else if is("encke-key") {
                fields.key = value.to_vec();
            } else if is("encke-channel") {
                fields.channel = Some(value.to_vec());
            } else if is("encke-position") && is_position(value) {
                fields.position = value.to_vec();
            } else if is("content-location") && fields.channel.is_none() {
                fields.channel = value.strip_prefix(terms.prefix.as_bytes()).map(name_of);
            }
        }
        let length = fields.length;
        if length.is_some_and(|n| n > terms.max_message) {
            self.refused = fields.position;
            return Err(too_large(terms));
        }
        self.fields = Some(Box::new(fields));
        self.state = match length {
            Some(0) => {
                self.end_part(Vec::new(), terms, tell);
                State::Behind
            }
            Some(n) => State::Length(n),
            None => State::Open,
        };
        Ok(())
    }

    /// A chunk or a line has ended in a part without a length: if it ends with the delimiter, so does the part.
    fn end_open(&mut self, terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<(), Fault> {
        let Some(line) = self.kept.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)) else {
            return Ok(());
        };
        let (line, last) = match line.strip_suffix(b"--").filter(|line| line.ends_with(&self.boundary)) {
            Some(line) => (line, true),
            None => (line, false),
        };
        let Some(data) = line.strip_suffix(&*self.boundary).and_then(|line| line.strip_suffix(b"--")) else {
            return Ok(());
        };
        if data.len() as u64 > terms.max_message {
            return Err(too_large(terms));
        }
        let n = data.len();
        let mut data = std::mem::take(&mut self.kept);
        data.truncate(n);
        self.end_part(data, terms, tell);
        self.state = if last { State::Over } else { State::Fields };
        Ok(())
    }

    fn end_part(&mut self, data: Vec<u8>, terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) {
        let fields = *self.fields.take().unwrap_or_default();
        let channel = fields.channel.as_deref().unwrap_or(terms.channel.as_bytes());
        let letter = Letter::new([channel, &fields.kind, &fields.from, &fields.event, &fields.key], data);
        tell(Part { letter, position: fields.position });
    }
}

fn too_large(terms: &Terms<'_>) -> Fault {
    format!("a message is larger than {} bytes", terms.max_message).into()
}

/// The channel that a path means; what means none is taken as it is.
fn name_of(path: &[u8]) -> Vec<u8> {
    location::channel(path).map_or_else(|| path.to_vec(), String::into_bytes)
}

fn trim_line(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;
