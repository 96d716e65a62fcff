//! Section 3: plain types.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::sync::{Arc, Mutex};

use super::held::Held;
use super::place::Place;
use super::server::Inner;
use crate::engine::lease::Leases;
use crate::engine::mailbox::Mailbox;
use crate::engine::stats::Stats;
use crate::io::wake::Waker;
use crate::link::door::Doors;
use crate::push::hub::Hub;

/// Names a listener, a connection, a request, a link or its subscription. 0 is none. Ids are never reused and differ between all
/// enckes of a process (L7).
pub type encke_id = u64;

/// A file descriptor.
pub type encke_fd_t = c_int;

/// A length that nobody knows yet.
pub const ENCKE_UNKNOWN: u64 = u64::MAX;

/// Bytes with their length; also NUL-terminated when the library hands them out. {NULL, 0} is empty. Frozen.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_str {
    pub p: *const c_char,
    pub n: usize,
}

impl encke_str {
    pub(super) const EMPTY: encke_str = encke_str { p: std::ptr::null(), n: 0 };
}

/// One field. Names are in lower case on delivery; values are bytes without CR, LF and NUL. Frozen.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_field {
    pub name: encke_str,
    pub value: encke_str,
}

/// The request came over TLS.
pub const ENCKE_HEAD_TLS: u32 = 1;
/// The body comes in ENCKE_EV_BODY events.
pub const ENCKE_HEAD_BODY_FOLLOWS: u32 = 2;
/// The client waits for 100-continue, which is not sent yet.
pub const ENCKE_HEAD_EXPECT: u32 = 4;
/// A well-formed Upgrade, or CONNECT: encke_begin may open a tunnel.
pub const ENCKE_HEAD_UPGRADE: u32 = 8;
/// A well-formed WebSocket handshake (RFC 6455, 4.2.1).
pub const ENCKE_HEAD_WEBSOCKET: u32 = 16;

/// The head of a request. Constant; for how long, see L3. Plain data: a unit test may fill one itself. Frozen: new facts
/// come through encke_info and flags.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_head {
    pub id: encke_id,
    /// The connection it came on.
    pub connection: encke_id,
    /// The listener of that connection; 0 where the connection was adopted.
    pub listener: encke_id,
    /// As it came, known or not; methods are case-sensitive (RFC 9110, 9.1).
    pub method: encke_str,
    /// As it came: origin-, absolute-, authority- or asterisk-form (RFC 9112, 3.2).
    pub target: encke_str,
    /// Before '?', not decoded: see encke_param. "/" for an absolute-form target without a path, empty for CONNECT.
    pub path: encke_str,
    /// Behind '?', not decoded; empty where there is none.
    pub query: encke_str,
    /// The Host field, or the authority of an absolute-form target, which wins (RFC 9112, 3.2.2); empty with HTTP/1.0.
    pub host: encke_str,
    /// The client's address, as ENCKE_INFO_PEER.
    pub peer: encke_str,
    /// In order of arrival, repeats kept; trailers of requests are dropped.
    pub fields: *const encke_field,
    pub nfields: usize,
    /// The whole body, unless ENCKE_HEAD_BODY_FOLLOWS.
    pub body: *const c_void,
    pub body_len: usize,
    /// ENCKE_UNKNOWN: chunked.
    pub content_length: u64,
    /// 10 or 11.
    pub version: u32,
    /// ENCKE_HEAD_ bits.
    pub flags: u32,
}

impl encke_head {
    pub(super) const EMPTY: encke_head = encke_head {
        id: 0,
        connection: 0,
        listener: 0,
        method: encke_str::EMPTY,
        target: encke_str::EMPTY,
        path: encke_str::EMPTY,
        query: encke_str::EMPTY,
        host: encke_str::EMPTY,
        peer: encke_str::EMPTY,
        fields: std::ptr::null(),
        nfields: 0,
        body: std::ptr::null(),
        body_len: 0,
        content_length: 0,
        version: 0,
        flags: 0,
    };
}

/// What is published, or came from a channel. Zero it first. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_message {
    /// Content type; may be empty.
    pub r#type: encke_str,
    /// Who sent it; may be empty.
    pub from: encke_str,
    /// Name of the event for EventSource; may be empty.
    pub event: encke_str,
    /// With ENCKE_SLOW_LATEST: of the messages with one key the newest stands for all.
    pub key: encke_str,
    pub data: *const c_void,
    pub len: usize,
}

impl encke_message {
    pub(super) const EMPTY: encke_message = encke_message {
        r#type: encke_str::EMPTY,
        from: encke_str::EMPTY,
        event: encke_str::EMPTY,
        key: encke_str::EMPTY,
        data: std::ptr::null(),
        len: 0,
    };
}

/// The any-thread half of an encke; outlives it. See encke_get_sender.
pub struct encke_sender {
    pub(super) leases: Arc<Leases>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) waker: Arc<Waker>,
    pub(super) stats: Arc<Stats>,
    /// The number of the loop thread.
    pub(super) thread: AtomicU64,
    /// The forks before this encke.
    pub(super) forks: u32,
    pub(super) poisoned: AtomicBool,
    /// Somebody took a reference: the loop thread may be inside a call of a sender when another thread frees the encke.
    pub(super) referenced: AtomicBool,
    /// The loop thread is inside a call of a sender; whoever takes the encke from it waits for the end of that.
    pub(super) inside: AtomicBool,
    /// For the loop thread alone; NULL once the encke is freed.
    pub(super) inner: AtomicPtr<Inner>,
    /// Heads that were not settled when the encke was freed.
    pub(super) left: Mutex<HashMap<u64, Place<Held>>>,
    pub(super) secret: [u8; 16],
    /// The channels; exchanged by encke_share only.
    pub(super) hub: Mutex<Arc<Hub>>,
    /// The mounts that requests may be passed to.
    pub(super) mounts: Mutex<Vec<encke_id>>,
    pub(super) doors: Arc<Doors>,
}

// SAFETY: what is not atomic or locked is constant, and `inner` is dereferenced on the loop thread only.
unsafe impl Send for encke_sender {}
// SAFETY: as above.
unsafe impl Sync for encke_sender {}

impl std::fmt::Debug for encke_sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("encke_sender")
    }
}
