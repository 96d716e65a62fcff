//! Owns what other threads have said and the loop thread has not yet heard. Rule: a submission is taken whole or given
//! back whole; a burst of them wakes the loop once; messages of a hub wait within bounds, and what finds no room is told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
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
    /// Messages of the hub up to this number found no room here.
    Missed(u64),
    /// A settle that found the peer gone.
    Settled {
        id: Id,
    },
}

/// Messages of a hub that may wait for a loop that stands still; few under Miri, which takes its time over so many.
const MOST_MESSAGES: u64 = if cfg!(miri) { 200 } else { 64 << 10 };

#[derive(Debug)]
pub struct Mailbox {
    queue: ConcurrentQueue<Submission>,
    armed: AtomicBool,
    /// Messages of the hub that wait, and their bytes.
    messages: AtomicU64,
    bytes: AtomicU64,
    /// The number of the newest message that found no room and was not told of; 0: none.
    missed: AtomicU64,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox {
            queue: ConcurrentQueue::unbounded(),
            armed: AtomicBool::new(false),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
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

    /// A message of the hub, from one thread at a time; `most` bytes of them may wait. True: the loop is to be woken.
    pub fn deliver(&self, message: Arc<Message>, most: u64) -> bool {
        let (size, n) = (message.size(), message.position.n);
        let waiting = self.messages.load(SeqCst);
        if waiting >= MOST_MESSAGES || waiting > 0 && self.bytes.load(SeqCst) + size > most {
            self.missed.store(n, SeqCst);
            return self.wake();
        }
        let missed = self.missed.swap(0, SeqCst);
        if missed > 0 && self.push(Submission::Missed(missed)).is_err() {
            return false;
        }
        self.messages.fetch_add(1, SeqCst);
        self.bytes.fetch_add(size, SeqCst);
        self.push(Submission::Deliver(message)).unwrap_or(false)
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
        match self.queue.pop() {
            Ok(submission) => {
                if let Submission::Deliver(message) = &submission {
                    self.messages.fetch_sub(1, SeqCst);
                    self.bytes.fetch_sub(message.size(), SeqCst);
                }
                Some(submission)
            }
            // Everything that came before it was taken.
            Err(_) if self.missed.load(SeqCst) > 0 => match self.missed.swap(0, SeqCst) {
                0 => None,
                missed => Some(Submission::Missed(missed)),
            },
            Err(_) => None,
        }
    }

    pub fn len(&self) -> usize {
        self.queue.len() + usize::from(self.missed.load(SeqCst) > 0)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missed.load(SeqCst) == 0
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
    use crate::push::message::{Account, Parts};
    use crate::push::position::Position;

    fn message(n: u64, bytes: usize) -> Arc<Message> {
        let parts = Parts { data: vec![b'x'; bytes], ..Parts::default() };
        Arc::new(Message::new("news".into(), Position { epoch: 1, n }, 0, parts, Account::default()))
    }

    fn said(mailbox: &Mailbox) -> Vec<i64> {
        std::iter::from_fn(|| mailbox.pop())
            .map(|submission| match submission {
                Submission::Deliver(message) => message.position.n as i64,
                Submission::Missed(n) => -(n as i64),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_loop_that_stands_still_is_told_what_it_missed() {
        let mailbox = Mailbox::default();
        for n in 1..=5 {
            mailbox.deliver(message(n, 10), 30);
        }
        assert_eq!(mailbox.len(), 4);
        assert_eq!(said(&mailbox), [1, 2, 3, -5]);
        assert!(mailbox.is_empty());
        for n in 6..=9 {
            mailbox.deliver(message(n, 10), 30);
        }
        assert_eq!(mailbox.pop().map(|_| ()), Some(()), "6, and there is room again");
        mailbox.deliver(message(10, 10), 30);
        assert_eq!(said(&mailbox), [7, 8, -9, 10]);
        mailbox.deliver(message(11, 100), 30);
        assert_eq!(said(&mailbox), [11], "one is always taken");
        for n in 1..=MOST_MESSAGES + 2 {
            mailbox.deliver(message(n, 0), u64::MAX);
        }
        assert_eq!(said(&mailbox).last(), Some(&-(MOST_MESSAGES as i64 + 2)));
    }

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
