//! Owns the choice of how readiness is learned: one kernel queue behind one fd, or the host that watches every socket.
//! Rule: what is reported is only a reason to look.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::epoll::Queue;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use super::kqueue::Queue;
use super::watch::Watches;
use crate::engine::id::MAX_GENERATION;

/// What a readiness is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Connection {
        slot: u32,
        generation: u32,
    },
    Listener(u32),
    /// The socket of a task.
    Port {
        slot: u32,
        generation: u32,
    },
    Wake,
    Timer,
    /// Is ready as long as there is work that no socket tells of.
    Work,
}

impl Token {
    pub fn pack(self) -> u64 {
        let (kind, slot) = match self {
            Token::Connection { slot, generation } => return ((generation as u64) << 32) | slot as u64,
            Token::Port { slot, generation } => return (5 << 60) | ((generation as u64) << 32) | slot as u64,
            Token::Listener(slot) => (1, slot),
            Token::Wake => (2, 0),
            Token::Timer => (3, 0),
            Token::Work => (4, 0),
        };
        ((kind as u64) << 60) | slot as u64
    }

    pub fn unpack(bits: u64) -> Token {
        match bits >> 60 {
            1 => Token::Listener(bits as u32),
            2 => Token::Wake,
            3 => Token::Timer,
            4 => Token::Work,
            5 => Token::Port { slot: bits as u32, generation: (bits >> 32) as u32 & MAX_GENERATION },
            _ => Token::Connection { slot: bits as u32, generation: (bits >> 32) as u32 },
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    pub token: Token,
    pub readable: bool,
    pub writable: bool,
    /// The peer has closed its sending side, or more.
    pub end: bool,
    /// Nothing can be sent any more.
    pub dead: bool,
}

pub enum Poller {
    Queue(Queue),
    Host(Watches),
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Poller::Queue(_) => "Poller::Queue",
            Poller::Host(_) => "Poller::Host",
        })
    }
}

impl Poller {
    pub fn queue() -> Result<Poller, Errno> {
        Ok(Poller::Queue(Queue::new()?))
    }

    pub fn host() -> Poller {
        Poller::Host(Watches::default())
    }

    /// The one fd.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Poller::Queue(queue) => Some(queue.fd()),
            Poller::Host(_) => None,
        }
    }

    pub fn watches(&mut self) -> Option<&mut Watches> {
        match self {
            Poller::Queue(_) => None,
            Poller::Host(watches) => Some(watches),
        }
    }

    /// A connected socket, or the waker: edges of everything.
    pub fn add(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        match self {
            Poller::Queue(queue) => queue.add(fd, token),
            Poller::Host(watches) => {
                watches.add(fd, token);
                Ok(())
            }
        }
    }

    /// A listener: as long as there is something to accept.
    pub fn add_listener(&mut self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        match self {
            Poller::Queue(queue) => queue.add_listener(fd, token),
            Poller::Host(watches) => {
                watches.add(fd, token);
                Ok(())
            }
        }
    }

    /// No more of this listener until it is added again.
    pub fn rest_listener(&mut self, fd: BorrowedFd<'_>) {
        match self {
            Poller::Queue(queue) => queue.remove(fd),
            Poller::Host(watches) => watches.want(fd, false, false),
        }
    }

    /// What a connection waits for now; only a host that watches needs to know.
    pub fn want(&mut self, fd: BorrowedFd<'_>, read: bool, write: bool) {
        if let Poller::Host(watches) = self {
            watches.want(fd, read, write);
        }
    }

    /// Forgets a socket and closes it as soon as that is safe.
    pub fn close(&mut self, fd: OwnedFd) {
        match self {
            Poller::Queue(_) => drop(fd),
            Poller::Host(watches) => watches.close(fd),
        }
    }

    /// Wakes at this time, in milliseconds of the monotonic clock.
    pub fn set_timer(&mut self, at: u64) -> Result<(), Errno> {
        match self {
            Poller::Queue(queue) => queue.set_timer(at),
            Poller::Host(_) => Ok(()),
        }
    }

    /// Makes the fd readable, or not, on account of work that no socket tells of.
    pub fn set_work(&mut self, work: bool) -> Result<(), Errno> {
        match self {
            Poller::Queue(queue) => queue.set_work(work),
            Poller::Host(_) => Ok(()),
        }
    }

    /// Collects what is ready; waits for `timeout` milliseconds (-1: for ever) where nothing is. True: there may be more.
    pub fn poll(&mut self, timeout: i64, out: &mut Vec<Readiness>) -> Result<bool, Errno> {
        match self {
            Poller::Queue(queue) => queue.poll(timeout, out),
            Poller::Host(watches) => {
                watches.collect(out);
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::id::MAX_SLOTS;

    #[test]
    fn tokens_come_back() {
        for token in [
            Token::Connection { slot: 0, generation: 1 },
            Token::Connection { slot: MAX_SLOTS - 1, generation: MAX_GENERATION },
            Token::Port { slot: MAX_SLOTS - 1, generation: MAX_GENERATION },
            Token::Listener(7),
            Token::Wake,
            Token::Timer,
            Token::Work,
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
