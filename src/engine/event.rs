//! Owns what waits for the host. Rule: events of one request come in the order of the contract, an event whose request
//! is over is not shown, and requests that the host does not want now wait without making the fd readable.

use std::collections::VecDeque;
use std::sync::Arc;

use super::head::Head;
use super::id::Id;
use super::word::Word;

/// Kinds the host may or may not want, as bits of the setting `events`.
pub const DONE: u32 = 4;
pub const SUBSCRIBER: u32 = 9;
pub const HALF_CLOSED: u32 = 13;
pub const CONNECTION: u32 = 14;

/// Requests and body pieces beyond this many stay unread.
pub const MAX_QUEUED: usize = 256;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum End {
    Ok = 0,
    Peer = 1,
    Timeout = 2,
    Limit = 3,
    Protocol = 4,
    Host = 5,
    Drain = 6,
}

#[derive(Debug)]
pub enum What {
    Request(Box<Head>),
    Body {
        data: Vec<u8>,
        more: bool,
    },
    Writable,
    Done {
        code: End,
        len: u64,
    },
    Aborted(End),
    Released {
        cookie: u64,
    },
    /// Accept trouble, as errno.
    Listener(i32),
    Drained,
    HalfClosed,
    /// Accepted, or over.
    Connection(bool),
    /// Of a WebSocket.
    Message {
        opcode: u8,
        data: Vec<u8>,
    },
    /// The end of a WebSocket; 0: of one that the host has never heard of.
    Closed(u16),
    /// Joined, or left.
    Subscriber {
        channel: Arc<str>,
        joined: bool,
    },
    /// Of something that is no request.
    Word(Box<Word>),
}

#[derive(Debug)]
pub struct Event {
    pub id: Id,
    pub user: u64,
    pub what: What,
}

/// What waits in the queue.
#[derive(Debug)]
pub enum Due {
    Event(Event),
    /// A request whose head is yet to be made from its pattern; of so many bytes.
    Request {
        id: Id,
        pattern: u32,
        size: u32,
    },
}

#[derive(Debug, Default)]
pub struct Events {
    queue: VecDeque<Due>,
    /// Requests that the host does not want now, and what belongs to them.
    parked: VecDeque<Due>,
}

impl Events {
    pub fn push(&mut self, id: Id, what: What) {
        self.queue.push_back(Due::Event(Event { id, user: 0, what }));
    }

    pub fn push_for(&mut self, id: Id, user: u64, what: What) {
        self.queue.push_back(Due::Event(Event { id, user, what }));
    }

    #[inline]
    pub fn push_request(&mut self, id: Id, pattern: u32, size: u32) {
        self.queue.push_back(Due::Request { id, pattern, size });
    }

    /// The last event, if it is a piece of this body with more to come.
    pub fn last_body(&mut self, id: Id) -> Option<(&mut Vec<u8>, &mut bool)> {
        match self.queue.back_mut() {
            Some(Due::Event(Event { id: last, what: What::Body { data, more }, .. })) if *last == id && *more => {
                Some((data, more))
            }
            _ => None,
        }
    }

    pub fn pop(&mut self) -> Option<Due> {
        self.queue.pop_front()
    }

    pub fn front(&self) -> Option<&Due> {
        self.queue.front()
    }

    pub fn park_front(&mut self) {
        if let Some(event) = self.queue.pop_front() {
            self.parked.push_back(event);
        }
    }

    /// The parked events are due again, before all others.
    pub fn unpark(&mut self) {
        while let Some(event) = self.parked.pop_back() {
            self.queue.push_front(event);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.queue.len() >= MAX_QUEUED
    }

    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &Due> {
        self.parked.iter().chain(&self.queue)
    }
}
