//! Owns the state of one connection. Rule: an idle connection owns no buffer; what it needs while it is busy comes from
//! the pool and goes back there.

use crate::http1::chunked;
use crate::http1::request::Scan;
use crate::ws::decoder::Decoder;

use super::head::Head;
use super::id::Id;
use super::output::Output;
use super::peer::Peer;
use super::slab::Slab;
use super::wheel::{Items, Links};

/// No exchange, no connection.
pub const NONE: u32 = u32::MAX;

/// The peer has closed its sending side.
pub const EOF: u32 = 1;
/// No further request is taken; the connection closes when the pipeline is empty.
pub const STOPPED: u32 = 2;
/// In the list of connections that may go on.
pub const READY: u32 = 4;
/// In the list of connections that have something to write or to end.
pub const DIRTY: u32 = 8;
/// Has a request that waits for the host's hands to be less full.
pub const PAUSED: u32 = 16;
/// Waits for its own pipeline, output or credit.
pub const WAITS: u32 = 32;
/// The last request must be settled before the next is read (Upgrade, CONNECT).
pub const HOLDS: u32 = 64;
/// An unsafe request is in the host's hands (with the setting `pipeline_safe`).
pub const UNSAFE: u32 = 128;
/// All answers are queued; it ends when they are sent.
pub const CLOSING: u32 = 256;
/// Its sending side is closed; what still comes is dropped.
pub const LINGERS: u32 = 512;
/// Cut: nothing more is sent.
pub const CUT: u32 = 1024;
/// Has taken a first byte of the next request head.
pub const IN_HEAD: u32 = 2048;
/// The end of input was dealt with.
pub const EOF_TOLD: u32 = 4096;
/// Cut when nothing was under way: it closes without a reset.
pub const QUIET: u32 = 8192;
/// Is not read because the memory of all connections is used up.
pub const STARVED: u32 = 1 << 14;

/// Its driver prepares it (TLS): no request can come yet.
pub const OPENING: u32 = 1 << 15;
/// What it carries is encrypted on its way.
pub const SECURE: u32 = 1 << 16;

/// A long poll waits in its pipeline.
pub const POLLS: u32 = 1 << 17;

#[derive(Debug)]
pub struct Connection {
    pub links: Links,
    /// When it became idle, or began to linger; of a WebSocket, when the peer last spoke or was asked to.
    pub since: u64,
    pub listener: Id,
    pub input: Option<Box<Input>>,
    pub output: Option<Box<Output>>,
    /// The pipeline: exchanges in the order of their requests.
    pub first: u32,
    pub last: u32,
    /// Exchanges in the pipeline that the host has not settled, and all of them.
    pub open: u32,
    pub length: u32,
    /// Bytes of answers that wait behind an unfinished one.
    pub pending: u64,
    /// Bytes that came after the last request and were dropped.
    pub dropped: u32,
    /// Bytes that the driver keeps for it, such as those of an unfinished handshake.
    pub outside: u32,
    /// Bytes accounted for its buffers, and for its unsent output.
    pub charge: u32,
    pub queued: u64,
    pub flags: u32,
    pub peer: Peer,
}

impl Connection {
    pub fn new(listener: Id, peer: Peer, flags: u32, now: u64) -> Connection {
        Connection {
            links: Links::default(),
            since: now,
            listener,
            input: None,
            output: None,
            first: NONE,
            last: NONE,
            open: 0,
            length: 0,
            pending: 0,
            dropped: 0,
            outside: 0,
            charge: 0,
            queued: 0,
            flags,
            peer,
        }
    }

    #[inline]
    pub fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub fn unsent(&self) -> u64 {
        self.output.as_ref().map_or(0, |output| output.len())
    }

    pub fn buffered(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes.len() - input.start)
    }

    pub fn in_body(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.body.is_some())
    }

    pub fn memory(&self) -> usize {
        let input = self.input.as_ref().map_or(0, |input| input.memory());
        input + self.outside as usize + self.output.as_ref().map_or(0, |output| output.memory())
    }
}

impl Items for Slab<Connection> {
    fn links(&mut self, item: u32) -> &mut Links {
        // The wheel holds connections of the slab only: removal cancels first.
        &mut self.at_mut(item).expect("a connection in the wheel is in the slab").links
    }
}

/// Bytes that could not be dealt with yet, and the body being read.
#[derive(Debug, Default)]
pub struct Input {
    pub bytes: Vec<u8>,
    pub start: usize,
    pub scan: Scan,
    /// When the head began, or when the body last went on.
    pub since: u64,
    pub body: Option<BodyIn>,
}

impl Input {
    /// Bytes that it keeps, those of a body that is collected behind its head among them.
    pub fn memory(&self) -> usize {
        let gathered = match &self.body {
            Some(BodyIn { mode: Mode::Gather(head), .. }) => head.bytes.len(),
            Some(BodyIn { mode: Mode::Frames(decoder), .. }) => decoder.memory(),
            _ => 0,
        };
        self.bytes.len() + gathered
    }
}

#[derive(Debug)]
pub struct BodyIn {
    /// The exchange it belongs to; may be over (then it is dropped).
    pub exchange: Id,
    pub framing: Coding,
    pub mode: Mode,
    /// Body bytes so far.
    pub total: u64,
    /// The connection may go on after it.
    pub keep_alive: bool,
}

#[derive(Debug)]
pub enum Coding {
    Length(u64),
    Chunked(chunked::Decoder),
    /// A tunnel: until the peer closes.
    Raw,
}

#[derive(Debug)]
pub enum Mode {
    /// Collected behind its head, which is not handed over yet.
    Gather(Box<Head>),
    /// Handed over in pieces; this many bytes are with the host.
    Stream { unacknowledged: u64 },
    /// Frames of a WebSocket.
    Frames(Box<Decoder>),
    /// Nobody wants it: this many bytes are read and dropped for the sake of the connection.
    Drop { allowance: u64 },
}
