//! HTTP/1.x syntax (RFC 9110, RFC 9112): bytes in, values out.
//!
//! This room owns the reading of a request head and of a chunked body, and the writing of a response head. It touches
//! nothing else of ours: no connection, no buffer policy, no clock, no memory but what it is handed.
//!
//! Two rules hold throughout. *One reading of every byte*: what another implementation could read differently is
//! refused, never repaired. *The same verdict wherever the bytes were cut*: a prefix is either undecided or already
//! has the verdict of the whole.

pub mod chunked;
pub mod date;
pub mod request;
pub mod response;
pub mod target;

mod diagnose;
mod grammar;

/// What was wrong with the bytes of the peer: the status to answer, and a short text that names the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub text: &'static str,
}

impl Fault {
    /// 400: the bytes are not HTTP, or could be read in two ways.
    pub(crate) const fn bad(text: &'static str) -> Self {
        Fault { status: 400, text }
    }

    pub(crate) const fn new(status: u16, text: &'static str) -> Self {
        Fault { status, text }
    }
}
