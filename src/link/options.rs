//! Owns the plain values by which a host says what it wants of links, the same in builds without them.

use std::sync::Arc;

/// How a link is to be. Zero is the usual.
#[derive(Debug, Default)]
pub struct Options {
    pub user: Box<str>,
    pub password: Box<str>,
    pub ca_pem: Vec<u8>,
    pub retry_max: u64,
    pub queue_bytes: u64,
    pub queue_messages: u64,
    pub max_message: u64,
    pub window: u32,
    pub reports: bool,
    pub once: bool,
    /// The URL is a source of any server, not a bus.
    pub source: bool,
    /// Asked of a WebSocket.
    pub protocol: Box<str>,
}

/// What a subscription is to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub channel: Arc<str>,
    pub types: Box<str>,
    pub from: Box<str>,
    pub since: Vec<u8>,
}

impl Default for Wish {
    /// Everything.
    fn default() -> Wish {
        Wish { channel: "".into(), types: Box::default(), from: Box::default(), since: Vec::new() }
    }
}
