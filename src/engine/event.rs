//! Owns what waits for the host. Rule: events of one request come in the order of the contract, an event whose request
//! is over is not shown, and requests that the host does not want now wait without making the fd readable.

use std::collections::VecDeque;
use std::sync::Arc;

use super::head::Head;
use super::id::Id;
use super::word::Word;

/// Kinds the host may or may not want, as bits of the setting `events`.
pub const DONE: u32 = 4;
pub const MESSAGE: u32 = 7;
pub const SUBSCRIBER: u32 = 9;
pub const HALF_CLOSED: u32 = 13;
pub const CONNECTION: u32 = 14;

/// Requests and body pieces beyond this many stay unread, or beyond fewer for a host that takes its time over them.
pub const MAX_QUEUED: usize = 256;
/// Of a host that is not known yet.
const FIRST: usize = 32;

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

#[derive(Debug)]
pub struct Events {
    queue: VecDeque<Due>,
    /// Requests that the host does not want now, and what belongs to them.
    parked: VecDeque<Due>,
    /// Those in the queue that carry what peers said.
    said: usize,
    /// So many of them may wait at present.
    pub may_wait: usize,
}

impl Default for Events {
    fn default() -> Events {
        Events { queue: VecDeque::new(), parked: VecDeque::new(), said: 0, may_wait: FIRST }
    }
}

impl Due {
    fn is_said(&self) -> bool {
        match self {
            Due::Request { .. } => true,
            Due::Event(event) => {
                matches!(event.what, What::Request(_) | What::Body { .. } | What::Message { .. } | What::Word(_))
            }
        }
    }
}

impl Events {
    pub fn push(&mut self, id: Id, what: What) {
        let due = Due::Event(Event { id, user: 0, what });
        self.said += usize::from(due.is_said());
        self.queue.push_back(due);
    }

    pub fn push_for(&mut self, id: Id, user: u64, what: What) {
        self.queue.push_back(Due::Event(Event { id, user, what }));
    }

    #[inline]
    pub fn push_request(&mut self, id: Id, pattern: u32, size: u32) {
        self.said += 1;
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

    #[inline]
    pub fn pop(&mut self) -> Option<Due> {
        let due = self.queue.pop_front()?;
        self.said -= usize::from(due.is_said());
        Some(due)
    }

    pub fn front(&self) -> Option<&Due> {
        self.queue.front()
    }

    pub fn park_front(&mut self) {
        if let Some(event) = self.pop() {
            self.parked.push_back(event);
        }
    }

    /// The parked events are due again, before all others.
    pub fn unpark(&mut self) {
        while let Some(event) = self.parked.pop_back() {
            self.said += usize::from(event.is_said());
            self.queue.push_front(event);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.said >= self.may_wait
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &Due> {
        self.parked.iter().chain(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_has_to_say_keeps_nobody_from_being_heard() {
        let mut events = Events::default();
        for _ in 0..2 * MAX_QUEUED {
            events.push(Id::NONE, What::Writable);
            events.push_for(Id::NONE, 0, What::Done { code: End::Ok, len: 0 });
        }
        assert!(!events.is_full());
        for n in 0..FIRST {
            assert!(!events.is_full(), "{n}");
            match n % 3 {
                0 => events.push_request(Id::NONE, 0, 1),
                1 => events.push(Id::NONE, What::Body { data: vec![1], more: true }),
                _ => events.push(Id::NONE, What::Message { opcode: 1, data: Vec::new() }),
            }
        }
        assert!(events.is_full());
        while events.len() > FIRST {
            events.pop();
        }
        assert!(events.is_full());
        events.park_front();
        assert!(!events.is_full());
        events.unpark();
        assert!(events.is_full());
        while events.pop().is_some() {}
        assert!(!events.is_full() && events.said == 0);
    }
}
