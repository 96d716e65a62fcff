//! Owns one request and its answer, from the end of the request's head to the last byte of the answer. Rule: it lives
//! until the host has settled it and the connection has dealt with it, whichever is later.

use std::sync::Arc;

use super::connection::NONE;
use super::event::End;
use super::id::Id;
use super::output::Output;
use super::wishes::Wishes;

/// Answered by the library; the host never hears of it.
pub const HIDDEN: u32 = 1;
pub const HEAD_METHOD: u32 = 2;
pub const HTTP10: u32 = 4;
pub const KEEP_ALIVE: u32 = 8;
/// The host has the request.
pub const DELIVERED: u32 = 16;
/// The host's settle was carried out.
pub const SETTLED: u32 = 32;
pub const BEGUN: u32 = 64;
/// The answer is complete.
pub const ENDED: u32 = 128;
pub const CHUNKED: u32 = 256;
pub const TUNNEL: u32 = 512;
/// 100-continue is asked and neither sent nor refused.
pub const EXPECT: u32 = 1024;
/// Its output goes straight to the connection's.
pub const IN_TURN: u32 = 2048;
/// The peer is gone, or the library has answered.
pub const ABORTED: u32 = 4096;
/// The connection ends with this answer.
pub const CLOSE: u32 = 8192;
/// A body was given that comes back to the host.
pub const LENT: u32 = 1 << 14;
/// The answer has no body whatever is written.
pub const BODILESS: u32 = 1 << 15;
pub const CONNECT: u32 = 1 << 16;
pub const UPGRADE: u32 = 1 << 17;
pub const BODY_FOLLOWS: u32 = 1 << 18;
/// Answered by what is published; its id is the subscriber's.
pub const SUBSCRIBED: u32 = 1 << 19;
/// A WebSocket; its id lives until CLOSED.
pub const SOCKET: u32 = 1 << 20;
/// A ping was sent, and nothing has come since.
pub const AWAITS_PONG: u32 = 1 << 21;
/// Messages may be compressed.
pub const DEFLATES: u32 = 1 << 22;
/// Cut by the host before it became a subscriber or a WebSocket.
pub const KICKED: u32 = 1 << 23;
/// A mount answers it.
pub const SERVED: u32 = 1 << 24;
/// Served, and the host has not seen it and never hears of it.
pub const UNSHOWN: u32 = 1 << 25;

#[derive(Debug)]
pub struct Exchange {
    pub id: Id,
    pub connection: u32,
    /// The next in the pipeline.
    pub next: u32,
    pub flags: u32,
    pub head_size: u32,
    /// Output before its turn.
    pub pending: Option<Box<Output>>,
    /// Bytes accounted for it.
    pub charge: u32,
    pub end: End,
    /// When the host got it.
    pub received: u64,
    /// Where its bytes begin in the connection's output.
    pub start: u64,
    /// Body bytes given to the output, and those of them not yet sent.
    pub given: u64,
    pub unsent: u64,
    /// The length that was promised.
    pub length: Option<u64>,
    /// How a WebSocket ended; 0: it has not.
    pub closed: u16,
    /// What the request says of being pushed to.
    pub wishes: Option<Arc<Wishes>>,
}

impl Exchange {
    #[inline]
    pub fn new(id: Id, connection: u32, flags: u32, head_size: u32) -> Exchange {
        Exchange {
            id,
            connection,
            next: NONE,
            flags,
            head_size,
            pending: None,
            charge: 0,
            end: End::Ok,
            received: 0,
            start: 0,
            given: 0,
            unsent: 0,
            length: None,
            closed: 0,
            wishes: None,
        }
    }

    #[inline]
    pub fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}
