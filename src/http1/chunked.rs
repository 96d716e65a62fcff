//! The chunked transfer coding of a request (RFC 9112 7.1), decoded in place.
//!
//! A state machine fed with any cut of the bytes; the work per byte is constant. Strict where others have been fooled:
//! a size is plain hexadecimal digits and nothing else (no blanks either, though RFC 9112 has them tolerated before an
//! extension), a line ends in CRLF and nothing else. Chunk extensions and the trailer section are checked, bounded and
//! dropped.

use super::grammar::{is_ows, is_tchar, is_value_byte, CR, LF};
use super::Fault;
use core::ops::Range;

/// Extensions of all chunks of one message, together.
const MAX_EXTENSIONS: u16 = 4096;
/// The trailer section, line ends included.
const MAX_TRAILERS: u16 = 8192;
/// As many digits as fit 64 bits; leading zeros count, lest a size never end.
const MAX_DIGITS: u8 = 16;

#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// The size being read, then what is left of the chunk's data.
    size: u64,
    extensions: u16,
    trailers: u16,
    digits: u8,
    state: State,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
    ExtensionStart,
    ExtensionName,
    AfterName,
    ValueStart,
    Token,
    Quoted,
    Escaped,
    AfterQuoted,
    /// White space behind a value: only another extension may follow.
    AfterValue,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// What one call took from its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub consumed: usize,
    /// Content, within the input and before `consumed`.
    pub data: Range<usize>,
    /// The body has ended at `consumed`.
    pub done: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    pub fn new() -> Self {
        Decoder { size: 0, extensions: 0, trailers: 0, digits: 0, state: State::Size }
    }

    /// How much of the chunk's data is still to come; `None`: not within data.
    pub fn left(&self) -> Option<u64> {
        (self.state == State::Data).then_some(self.size)
    }

    /// Consumes framing and at most one run of data, of at most `max_data` bytes. No data and not done means that more
    /// input is needed, or that `max_data` is 0. A fault is reported once the data before it was handed out; it
    /// consumes nothing, so the same input has the same fault again.
    pub fn decode(&mut self, input: &[u8], max_data: usize) -> Result<Decoded, Fault> {
        let before = *self;
        let mut at = 0;
        let mut data = 0..0;
        while self.state != State::Done {
            if self.state == State::Data {
                let room = usize::try_from(self.size).unwrap_or(usize::MAX).min(max_data);
                let run = room.min(input.len() - at);
                if run == 0 || !data.is_empty() {
                    break;
                }
                data = at..at + run;
                at += run;
                self.size -= run as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let Some(&b) = input.get(at) else { break };
            match self.step(b) {
                Ok(state) => self.state = state,
                Err(_) if !data.is_empty() => break,
                Err(fault) => {
                    *self = before;
                    return Err(fault);
                }
            }
            at += 1;
        }
        Ok(Decoded { consumed: at, data, done: self.state == State::Done })
    }

    /// One byte of framing. A fault leaves the decoder as it was.
    fn step(&mut self, b: u8) -> Result<State, Fault> {
        match self.state {
            State::Size => self.size_byte(b),
            State::SizeLf => match b {
                LF if self.size == 0 => Ok(State::TrailerStart),
                LF => Ok(State::Data),
                _ => Err(Fault::bad("bare CR in a chunk's size line")),
            },
            State::DataCr if b == CR => Ok(State::DataLf),
            State::DataLf if b == LF => {
                self.digits = 0;
                Ok(State::Size)
            }
            State::DataCr | State::DataLf => Err(Fault::bad("chunk longer than its size")),
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf | State::LastLf => {
                self.trailer_byte(b)
            }
            State::Data | State::Done => Ok(self.state),
            _ => self.extension_byte(b),
        }
    }

    #[inline]
    fn size_byte(&mut self, b: u8) -> Result<State, Fault> {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            CR if self.digits > 0 => return Ok(State::SizeLf),
            b';' if self.digits > 0 => return self.extension_counted(State::ExtensionStart),
            CR | b';' => return Err(Fault::bad("chunk without a size")),
            LF => return Err(Fault::bad("bare LF in a chunk's size line")),
            _ => return Err(Fault::bad("chunk size is not plain hexadecimal digits")),
        };
        if self.digits == MAX_DIGITS {
            return Err(Fault::bad("chunk size out of range"));
        }
        self.size = if self.digits == 0 { 0 } else { self.size << 4 } | u64::from(digit);
        self.digits += 1;
        Ok(State::Size)
    }

    fn extension_counted(&mut self, next: State) -> Result<State, Fault> {
        if self.extensions == MAX_EXTENSIONS {
            return Err(Fault::bad("chunk extensions too long"));
        }
        self.extensions += 1;
        Ok(next)
    }

    fn extension_byte(&mut self, b: u8) -> Result<State, Fault> {
        use State::*;
        if b == CR && matches!(self.state, ExtensionName | Token | AfterQuoted) {
            return Ok(SizeLf);
        }
        let next = match (self.state, b) {
            (_, LF) => return Err(Fault::bad("bare LF in a chunk extension")),
            (Quoted | Escaped, CR) => return Err(Fault::bad("bare CR in a chunk extension")),
            (_, b) if b != CR && !is_value_byte(b) => {
                return Err(Fault::bad("control character in a chunk extension"));
            }
            (Quoted, b'"') => AfterQuoted,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) => Quoted,
            (ExtensionStart | ValueStart, b) if is_ows(b) => self.state,
            (ExtensionStart | ExtensionName, b) if is_tchar(b) => ExtensionName,
            (ValueStart | Token, b) if is_tchar(b) => Token,
            (ValueStart, b'"') => Quoted,
            (ExtensionName | AfterName, b) if is_ows(b) => AfterName,
            (ExtensionName | AfterName, b'=') => ValueStart,
            (Token | AfterQuoted | AfterValue, b) if is_ows(b) => AfterValue,
            (ExtensionName | AfterName | Token | AfterQuoted | AfterValue, b';') => ExtensionStart,
            _ => return Err(Fault::bad("malformed chunk extension")),
        };
        self.extension_counted(next)
    }

    fn trailer_byte(&mut self, b: u8) -> Result<State, Fault> {
        use State::*;
        let next = match (self.state, b) {
            (TrailerStart, CR) => LastLf,
            (LastLf, LF) => return Ok(Done),
            (TrailerLf, LF) => TrailerStart,
            (LastLf | TrailerLf, _) => return Err(Fault::bad("bare CR in the trailer section")),
            (TrailerValue, CR) => TrailerLf,
            (TrailerValue, b) if is_value_byte(b) => TrailerValue,
            (TrailerStart | TrailerValue, LF) => return Err(Fault::bad("bare LF in the trailer section")),
            (TrailerValue, _) => return Err(Fault::bad("control character in a trailer field")),
            (TrailerStart | TrailerName, b) if is_tchar(b) => TrailerName,
            (TrailerName, b':') => TrailerValue,
            (TrailerStart, b) if is_ows(b) => return Err(Fault::bad("obsolete line folding of a trailer field")),
            (TrailerName, b) if is_ows(b) => {
                return Err(Fault::bad("white space before the colon of a trailer field"));
            }
            _ => return Err(Fault::bad("malformed trailer field")),
        };
        if self.trailers == MAX_TRAILERS {
            return Err(Fault::new(431, "trailer section too large"));
        }
        self.trailers += 1;
        Ok(next)
    }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
