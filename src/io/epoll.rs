//! Owns readiness on Linux: one epoll set with everything in it. Rule: sockets by edges (no call to change interest),
//! listeners and the work flag by level; the timer is a timerfd in the set.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};

use super::poller::{Readiness, Token};

const BATCH: usize = 256;

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("set", &self.set).finish_non_exhaustive()
    }
}

pub struct Queue {
    set: OwnedFd,
    timer: OwnedFd,
    /// Always readable; in the set with or without interest.
    work: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Queue {
    pub fn new() -> Result<Queue, Errno> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let work = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&set, &timer, data(Token::Timer), EventFlags::IN | EventFlags::ET)?;
        epoll::add(&set, &work, data(Token::Work), EventFlags::empty())?;
        Ok(Queue { set, timer, work, events: Vec::with_capacity(BATCH) })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    pub fn add(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        let flags = match token {
            Token::Wake => EventFlags::IN | EventFlags::ET,
            _ => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
        };
        epoll::add(&self.set, fd, data(token), flags)
    }

    pub fn add_listener(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        match epoll::add(&self.set, fd, data(token), EventFlags::IN) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    }

    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.set, fd);
    }

    pub fn set_timer(&self, at: u64) -> Result<(), Errno> {
        let value = Timespec { tv_sec: (at / 1000) as _, tv_nsec: (at % 1000 * 1_000_000) as _ };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec).map(drop)
    }

    pub fn set_work(&self, work: bool) -> Result<(), Errno> {
        let flags = if work { EventFlags::IN } else { EventFlags::empty() };
        epoll::modify(&self.set, &self.work, data(Token::Work), flags)
    }

    pub fn poll(&mut self, timeout: i64, out: &mut Vec<Readiness>) -> Result<bool, Errno> {
        let timeout = u64::try_from(timeout)
            .ok()
            .map(|ms| Timespec { tv_sec: (ms / 1000) as _, tv_nsec: (ms % 1000 * 1_000_000) as _ });
        self.events.clear();
        epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref())?;
        for event in &self.events {
            let flags = event.flags;
            let dead = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            out.push(Readiness {
                token: Token::unpack(event.data.u64()),
                readable: flags.contains(EventFlags::IN) || dead,
                writable: flags.contains(EventFlags::OUT) || dead,
                end: flags.contains(EventFlags::RDHUP) || dead,
                dead,
            });
        }
        Ok(self.events.len() == BATCH)
    }
}

fn data(token: Token) -> EventData {
    EventData::new_u64(token.pack())
}
