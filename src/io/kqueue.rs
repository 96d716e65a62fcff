//! Owns readiness on BSD and macOS: one kqueue with everything in it. Rule: as in epoll.rs: sockets by edges
//! (EV_CLEAR), listeners and the work flag by level; the work flag is a pipe that always has a byte.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::kqueue::{kevent, kqueue, Event, EventFilter, EventFlags};
use rustix::io::Errno;

use super::clock;
use super::poller::{Readiness, Token};

const BATCH: usize = 256;

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("queue", &self.queue).finish_non_exhaustive()
    }
}

pub struct Queue {
    queue: OwnedFd,
    /// The reading end always has a byte; watched or not.
    work: (OwnedFd, OwnedFd),
    events: Vec<Event>,
}

impl Queue {
    pub fn new() -> Result<Queue, Errno> {
        let queue = kqueue()?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        let work = rustix::pipe::pipe()?;
        for fd in [&work.0, &work.1] {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        rustix::io::write(&work.1, &[1])?;
        let queue = Queue { queue, work, events: Vec::with_capacity(BATCH) };
        queue.change(&[read(queue.work.0.as_fd(), EventFlags::ADD | EventFlags::DISABLE, Token::Work)])?;
        Ok(queue)
    }

    fn change(&self, changes: &[Event]) -> Result<(), Errno> {
        let mut none: [Event; 0] = [];
        // SAFETY: every fd in the changes is open, and udata carries numbers, not pointers.
        unsafe { kevent(&self.queue, changes, &mut none, None) }.map(drop)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    pub fn add(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        let flags = EventFlags::ADD | EventFlags::CLEAR;
        if token == Token::Wake {
            return self.change(&[read(fd, flags, token)]);
        }
        self.change(&[read(fd, flags, token), write(fd, flags, token)])
    }

    pub fn add_listener(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        self.change(&[read(fd, EventFlags::ADD, token)])
    }

    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.change(&[read(fd, EventFlags::DELETE, Token::Work)]);
    }

    pub fn set_timer(&self, at: u64) -> Result<(), Errno> {
        let wait = Duration::from_millis(at.saturating_sub(clock::monotonic()).max(1));
        let filter = EventFilter::Timer { ident: 1, timer: Some(wait) };
        self.change(&[Event::new(filter, EventFlags::ADD | EventFlags::ONESHOT, udata(Token::Timer))])
    }

    pub fn set_work(&self, work: bool) -> Result<(), Errno> {
        let flags = if work { EventFlags::ENABLE } else { EventFlags::DISABLE };
        self.change(&[read(self.work.0.as_fd(), flags, Token::Work)])
    }

    pub fn poll(&mut self, timeout: i64, out: &mut Vec<Readiness>) -> Result<bool, Errno> {
        let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        // SAFETY: no changes are made; the room is the vector's own.
        unsafe { kevent(&self.queue, &[], room, timeout) }?;
        for event in &self.events {
            let reads = matches!(event.filter(), EventFilter::Read(_));
            let end = event.flags().contains(EventFlags::EOF);
            out.push(Readiness {
                token: Token::unpack(event.udata() as usize as u64),
                readable: reads,
                writable: !reads,
                end: reads && end,
                dead: !reads && end,
            });
        }
        Ok(self.events.len() == BATCH)
    }
}

fn udata(token: Token) -> *mut core::ffi::c_void {
    token.pack() as usize as *mut core::ffi::c_void
}

fn read(fd: BorrowedFd<'_>, flags: EventFlags, token: Token) -> Event {
    Event::new(EventFilter::Read(fd.as_raw_fd()), flags, udata(token))
}

fn write(fd: BorrowedFd<'_>, flags: EventFlags, token: Token) -> Event {
    Event::new(EventFilter::Write(fd.as_raw_fd()), flags, udata(token))
}
