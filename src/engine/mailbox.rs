//! Owns what other threads have said and the loop thread has not yet heard. Rule: a submission is taken whole or given
//! back whole; a burst of them wakes the loop once.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;

use concurrent_queue::ConcurrentQueue;

use super::answer::Answer;
use super::id::Id;
use super::subscription::Subscription;
use crate::push::message::Message;

#[derive(Debug)]
pub enum Submission {
    Respond {
        id: Id,
        answer: Box<Answer<'static>>,
    },
    Begin {
        id: Id,
        answer: Box<Answer<'static>>,
    },
    Write {
        id: Id,
        data: Vec<u8>,
    },
    End {
        id: Id,
        trailers: Vec<u8>,
    },
    Abort {
        id: Id,
    },
    Inform {
        id: Id,
        status: u16,
        lines: Vec<u8>,
    },
    Ack {
        id: Id,
        n: u64,
    },
    Subscribe {
        id: Id,
        subscription: Box<Subscription>,
    },
    Join {
        id: Id,
        patterns: Vec<Box<str>>,
    },
    Leave {
        id: Id,
        pattern: Box<str>,
    },
    /// A WebSocket begins, with these field lines.
    Accept {
        id: Id,
        lines: Vec<u8>,
    },
    /// Whole frames of a WebSocket; the lease has counted them.
    Frames {
        id: Id,
        frames: Vec<u8>,
    },
    /// A WebSocket is to be closed.
    Close {
        id: Id,
        code: u16,
        reason: Box<str>,
    },
    /// A subscriber or a WebSocket is to be cut.
    Kick {
        id: Id,
    },
    /// A mount is to answer.
    Pass {
        id: Id,
        mount: Id,
    },
    /// A message of a hub.
    Deliver(Arc<Message>),
    /// A settle that found the peer gone.
    Settled {
        id: Id,
    },
}

#[derive(Debug)]
pub struct Mailbox {
    queue: ConcurrentQueue<Submission>,
    armed: AtomicBool,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox { queue: ConcurrentQueue::unbounded(), armed: AtomicBool::new(false) }
    }
}

impl Mailbox {
    /// Passes a submission on; true: the loop is to be woken. After [`Mailbox::close`] it comes back.
    pub fn push(&self, submission: Submission) -> Result<bool, Submission> {
        match self.queue.push(submission) {
            Ok(()) => Ok(self.wake()),
            Err(refused) => Err(refused.into_inner()),
        }
    }

    /// True: nobody has woken the loop since it last looked.
    pub fn wake(&self) -> bool {
        !self.armed.swap(true, SeqCst)
    }

    /// To be called before looking, so that what comes in the meantime wakes again.
    pub fn look(&self) {
        self.armed.store(false, SeqCst);
    }

    pub fn pop(&self) -> Option<Submission> {
        self.queue.pop().ok()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// From now on nothing is taken.
    pub fn close(&self) {
        self.queue.close();
    }

    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_wakes_once_and_a_closed_box_gives_back() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.push(Submission::Abort { id: Id(1) }).ok(), Some(true));
        assert_eq!(mailbox.push(Submission::Abort { id: Id(2) }).ok(), Some(false));
        mailbox.look();
        assert_eq!(mailbox.push(Submission::Abort { id: Id(3) }).ok(), Some(true));
        mailbox.close();
        let Err(Submission::Abort { id }) = mailbox.push(Submission::Abort { id: Id(4) }) else { panic!() };
        assert_eq!(id, Id(4));
        assert_eq!(std::iter::from_fn(|| mailbox.pop()).count(), 3);
    }
}
