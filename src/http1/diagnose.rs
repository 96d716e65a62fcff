//! Why a head was refused, in words.
//!
//! The parser on the hot path says only that something is wrong, or nothing where it is more lenient than we are (line
//! ends). This walks the head once more, strictly, and names the first fault. Only refused heads come here.
//!
//! The rule it keeps: a verdict rests on no byte behind the fault, so that it does not depend on how much had arrived.

use super::grammar::{is_ows, is_tchar, is_value_byte, CR, HTAB, LF, SP};
use super::target::{is_target_byte, target_byte_fault};
use super::Fault;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fault(Fault),
    /// Nothing wrong up to here.
    Undecided,
    /// HTTP/1.2 to HTTP/1.9, to be served as HTTP/1.1: the offset of the minor version's digit.
    LaterMinor(usize),
}

const BARE_CR: Fault = Fault::bad("bare CR in the head");
const BARE_LF: Fault = Fault::bad("line that ends in a bare LF");
const SPACES: Fault = Fault::bad("more than one space between the parts of the request line");
const NO_VERSION: Fault = Fault::bad("request line without a version");
const BAD_VERSION: Fault = Fault::bad("malformed HTTP version");

/// `head` starts with the request line.
#[cold]
pub(super) fn diagnose(head: &[u8], max_fields: usize) -> Verdict {
    let mut walk = Walk { head, at: 0 };
    let mut minor = None;
    let fault = match walk.request_line(&mut minor) {
        Ok(()) => walk.fields(max_fields),
        other => other,
    };
    match (fault, minor) {
        (Err(Stop::Fault(fault)), _) => Verdict::Fault(fault),
        (_, Some(at)) => Verdict::LaterMinor(at),
        (_, None) => Verdict::Undecided,
    }
}

/// Why the walk ended before the end of the head.
enum Stop {
    Fault(Fault),
    OutOfBytes,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

struct Walk<'a> {
    head: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Result<u8, Stop> {
        self.head.get(self.at).copied().ok_or(Stop::OutOfBytes)
    }

    fn next(&mut self) -> Result<u8, Stop> {
        let b = self.peek()?;
        self.at += 1;
        Ok(b)
    }

    /// The LF behind a CR that was just taken.
    fn line_feed(&mut self) -> Result<(), Stop> {
        if self.next()? != LF {
            return Err(BARE_CR.into());
        }
        Ok(())
    }

    fn request_line(&mut self, minor: &mut Option<usize>) -> Result<(), Stop> {
        self.method()?;
        self.target()?;
        self.version(minor)?;
        match self.next()? {
            CR => self.line_feed(),
            LF => Err(BARE_LF.into()),
            SP | HTAB => Err(Fault::bad("white space behind the HTTP version").into()),
            _ => Err(BAD_VERSION.into()),
        }
    }

    fn method(&mut self) -> Result<(), Stop> {
        let mut first = true;
        loop {
            let text = match self.next()? {
                b if is_tchar(b) => {
                    first = false;
                    continue;
                }
                SP if !first => return Ok(()),
                SP | HTAB if first => "white space before the method",
                CR | LF => "request line without a target",
                _ => "invalid character in the method",
            };
            return Err(Fault::bad(text).into());
        }
    }

    fn target(&mut self) -> Result<(), Stop> {
        let mut first = true;
        loop {
            match self.next()? {
                SP if first => return Err(SPACES.into()),
                SP => return Ok(()),
                CR | LF if first => return Err(Fault::bad("request line without a target").into()),
                CR | LF => return Err(NO_VERSION.into()),
                b if is_target_byte(b) => first = false,
                b => return Err(target_byte_fault(b).into()),
            }
        }
    }

    fn version(&mut self, minor: &mut Option<usize>) -> Result<(), Stop> {
        for (i, expected) in b"HTTP/".iter().enumerate() {
            match self.next()? {
                b if b == *expected => {}
                SP if i == 0 => return Err(SPACES.into()),
                CR | LF if i == 0 => return Err(NO_VERSION.into()),
                _ => return Err(BAD_VERSION.into()),
            }
        }
        let major = self.next()?;
        if !major.is_ascii_digit() || self.next()? != b'.' || !self.next()?.is_ascii_digit() {
            return Err(BAD_VERSION.into());
        }
        if major != b'1' {
            return Err(Fault::new(505, "HTTP version is not 1.0 or 1.1").into());
        }
        let at = self.at - 1;
        if self.head[at] > b'1' {
            *minor = Some(at);
        }
        Ok(())
    }

    fn fields(&mut self, max_fields: usize) -> Result<(), Stop> {
        let mut count = 0;
        loop {
            match self.peek()? {
                CR => {
                    self.at += 1;
                    return self.line_feed();
                }
                LF => return Err(BARE_LF.into()),
                b if is_ows(b) && count == 0 => {
                    return Err(Fault::bad("white space before the first field").into());
                }
                b if is_ows(b) => return Err(Fault::bad("obsolete line folding of a field").into()),
                b':' => return Err(Fault::bad("field without a name").into()),
                _ => {}
            }
            self.name()?;
            self.value()?;
            count += 1;
            if count > max_fields {
                return Err(Fault::new(431, "too many fields").into());
            }
        }
    }

    fn name(&mut self) -> Result<(), Stop> {
        loop {
            let text = match self.next()? {
                b if is_tchar(b) => continue,
                b':' => return Ok(()),
                SP | HTAB => "white space before the colon of a field",
                CR | LF => "field line without a colon",
                _ => "invalid character in a field name",
            };
            return Err(Fault::bad(text).into());
        }
    }

    fn value(&mut self) -> Result<(), Stop> {
        loop {
            match self.next()? {
                b if is_value_byte(b) => {}
                CR => return self.line_feed(),
                LF => return Err(BARE_LF.into()),
                0 => return Err(Fault::bad("NUL in a field value").into()),
                _ => return Err(Fault::bad("control character in a field value").into()),
            }
        }
    }
}
