//! Owns tasks: work that is naturally sequential and not per request, such as links. A local executor, and what its tasks
//! wait for: their sockets, in the encke's own set, and the time. Rules: a run ticks so many times at most; whoever wakes a
//! task does it here, so that it is known when there is something to run; nothing of it exists before the first task.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{poll_fn, Future};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_executor::{LocalExecutor, Task};
use rustix::io::Errno;

use super::driver::Driver;
use super::poller::{Poller, Readiness, Token};
use crate::engine::id::MAX_GENERATION;
use crate::engine::word::Word;

/// Tasks run in one run at most.
const TICKS: u32 = 128;
/// Words that wait for the host beyond which tasks do not read.
const MANY_WORDS: usize = 256;
/// Bytes read by one task at a time.
const READ: usize = 16 << 10;

pub struct Tasks {
    /// Before the reactor: its tasks give back what they have of it.
    executor: LocalExecutor<'static>,
    reactor: Rc<Reactor>,
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tasks")
    }
}

/// What tasks wait for.
#[derive(Debug, Default)]
pub struct Reactor {
    now: Cell<u64>,
    /// A task was woken since all were run.
    runnable: Cell<bool>,
    /// A task did not come to its end.
    broken: Cell<bool>,
    /// Bytes that tasks keep.
    memory: Cell<u64>,
    most_memory: Cell<u64>,
    ports: RefCell<Ports>,
    timers: RefCell<Timers>,
    words: RefCell<VecDeque<Box<Word>>>,
    /// Tasks that wait until there is room for words.
    crowd: RefCell<VecDeque<Waker>>,
    scratch: RefCell<Box<[u8]>>,
}

#[derive(Debug, Default)]
struct Ports {
    all: Vec<Option<Open>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    /// To be watched from the end of this tick on.
    fresh: Vec<u32>,
    /// To be closed then.
    closing: Vec<OwnedFd>,
    /// What they wait for may have changed; kept where the host watches.
    changed: Vec<u32>,
    host_watches: bool,
}

#[derive(Debug)]
struct Open {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    /// An end was announced: the socket is read until it comes.
    end: bool,
    /// Less than there was room for does not say that nothing more is there.
    datagrams: bool,
    watched: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// By time, and by order of making.
#[derive(Debug, Default)]
struct Timers {
    all: BTreeMap<(u64, u64), Waker>,
    made: u64,
}

impl Reactor {
    /// Milliseconds of the clock that never goes back, as of this run.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// A task is to be run.
    pub fn wake(&self, waker: Waker) {
        self.runnable.set(true);
        waker.wake();
    }

    /// Says something to the host.
    pub fn tell(&self, word: Box<Word>) {
        self.words.borrow_mut().push_back(word);
    }

    /// Waits until the host has taken enough of what was said.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.words.borrow().len() < MANY_WORDS {
            return Poll::Ready(());
        }
        self.crowd.borrow_mut().push_back(context.waker().clone());
        Poll::Pending
    }

    /// A task keeps so many bytes instead of so many. False: there is no memory for more.
    pub fn keeps(&self, before: usize, now: usize) -> bool {
        let memory = self.memory.get().saturating_sub(before as u64) + now as u64;
        self.memory.set(memory);
        now <= before || memory < self.most_memory.get()
    }

    pub async fn sleep_until(self: &Rc<Reactor>, at: u64) {
        let mut timer = Timer { reactor: self.clone(), at, key: None };
        poll_fn(|context| timer.poll(context)).await
    }

    fn fire(&self) {
        let now = self.now.get();
        loop {
            let mut timers = self.timers.borrow_mut();
            let Some(entry) = timers.all.first_entry().filter(|entry| entry.key().0 <= now) else { break };
            let waker = entry.remove();
            drop(timers);
            self.wake(waker);
        }
    }
}

/// A time that a task waits for.
#[derive(Debug)]
pub struct Timer {
    reactor: Rc<Reactor>,
    at: u64,
    key: Option<(u64, u64)>,
}

impl Timer {
    pub fn new(reactor: &Rc<Reactor>, at: u64) -> Timer {
        Timer { reactor: reactor.clone(), at, key: None }
    }

    /// Another time from now on.
    pub fn set(&mut self, at: u64) {
        if at != self.at {
            self.cancel();
            self.at = at;
        }
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.at <= self.reactor.now() {
            self.cancel();
            return Poll::Ready(());
        }
        let mut timers = self.reactor.timers.borrow_mut();
        let key = *self.key.get_or_insert_with(|| {
            timers.made += 1;
            (self.at, timers.made)
        });
        timers.all.insert(key, context.waker().clone());
        Poll::Pending
    }

    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            self.reactor.timers.borrow_mut().all.remove(&key);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// A socket of a task; closed with it.
#[derive(Debug)]
pub struct Port {
    reactor: Rc<Reactor>,
    slot: u32,
}

impl Port {
    /// `ready`: it is connected already.
    pub fn new(reactor: &Rc<Reactor>, fd: OwnedFd, ready: bool) -> Port {
        Port::open(reactor, fd, ready, false)
    }

    /// Of a connected socket of datagrams: one is read at a time.
    pub fn datagrams(reactor: &Rc<Reactor>, fd: OwnedFd) -> Port {
        Port::open(reactor, fd, true, true)
    }

    fn open(reactor: &Rc<Reactor>, fd: OwnedFd, ready: bool, datagrams: bool) -> Port {
        let mut ports = reactor.ports.borrow_mut();
        let slot = ports.free.pop().unwrap_or_else(|| {
            ports.all.push(None);
            ports.generations.push(0);
            ports.all.len() as u32 - 1
        });
        let generation = &mut ports.generations[slot as usize];
        *generation = if *generation >= MAX_GENERATION { 1 } else { *generation + 1 };
        ports.all[slot as usize] = Some(Open {
            fd,
            readable: ready,
            writable: ready,
            end: false,
            datagrams,
            watched: false,
            reader: None,
            writer: None,
        });
        ports.fresh.push(slot);
        drop(ports);
        Port { reactor: reactor.clone(), slot }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Open) -> T) -> Result<T, Errno> {
        let mut ports = self.reactor.ports.borrow_mut();
        if ports.host_watches {
            ports.changed.push(self.slot);
        }
        ports.all.get_mut(self.slot as usize).and_then(Option::as_mut).map(f).ok_or(Errno::BADF)
    }

    /// Until something may be written.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<Result<(), Errno>> {
        match self.with(|open| {
            if !open.writable {
                open.writer = Some(context.waker().clone());
            }
            open.writable
        }) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(errno) => Poll::Ready(Err(errno)),
        }
    }

    /// Something of this socket.
    pub fn with_fd<T>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
        self.with(|open| f(open.fd.as_fd()))?
    }

    /// Reads once, into a buffer that all tasks share, which `take` gets; 0: the end.
    pub fn poll_read(&self, context: &mut Context<'_>, take: &mut dyn FnMut(&mut [u8])) -> Poll<Result<usize, Errno>> {
        let mut scratch = self.reactor.scratch.borrow_mut();
        let room = scratch.len().min(READ);
        let buffer = &mut scratch[..room];
        let read = self.with(|open| {
            if open.readable {
                match super::socket::receive(open.fd.as_fd(), buffer) {
                    Ok(n) => {
                        open.readable = n == room || open.end || open.datagrams;
                        return Some(Ok(n));
                    }
                    Err(Errno::AGAIN) => open.readable = false,
                    Err(errno) => return Some(Err(errno)),
                }
            }
            open.reader = Some(context.waker().clone());
            None
        })?;
        match read {
            None => Poll::Pending,
            Some(Ok(n)) => {
                take(&mut buffer[..n]);
                Poll::Ready(Ok(n))
            }
            Some(Err(errno)) => Poll::Ready(Err(errno)),
        }
    }

    /// Writes once.
    pub fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Errno>> {
        let written = self.with(|open| {
            if open.writable {
                match super::socket::transmit(open.fd.as_fd(), &[std::io::IoSlice::new(bytes)], false) {
                    Ok(n) => {
                        open.writable = n == bytes.len();
                        return Some(Ok(n));
                    }
                    Err(Errno::AGAIN) => open.writable = false,
                    Err(errno) => return Some(Err(errno)),
                }
            }
            open.writer = Some(context.waker().clone());
            None
        })?;
        match written {
            None => Poll::Pending,
            Some(result) => Poll::Ready(result),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut ports = self.reactor.ports.borrow_mut();
        if let Some(open) = ports.all.get_mut(self.slot as usize).and_then(Option::take) {
            ports.closing.push(open.fd);
            ports.free.push(self.slot);
        }
    }
}

/// Lets a task wait until another says so; said before, it does not wait.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    pub fn raise(&self, reactor: &Reactor) {
        self.raised.set(true);
        if let Some(waker) = self.waiting.borrow_mut().take() {
            reactor.wake(waker);
        }
    }

    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.raised.take() {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A task that was begun; dropped, it ends, as soon as it is its turn.
#[derive(Debug)]
pub struct Job {
    reactor: Rc<Reactor>,
    _task: Task<()>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.reactor.runnable.set(true);
    }
}

/// Tells a task that panicked from one that ended or was dropped.
struct Sound(Rc<Reactor>);

impl Drop for Sound {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.set(true);
        }
    }
}

impl Tasks {
    fn new(host_watches: bool, now: u64) -> Tasks {
        let reactor = Rc::new(Reactor::default());
        reactor.ports.borrow_mut().host_watches = host_watches;
        reactor.now.set(now);
        Tasks { executor: LocalExecutor::new(), reactor }
    }

    pub fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    /// Begins a task.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Job {
        self.reactor.runnable.set(true);
        let sound = Sound(self.reactor.clone());
        let task = self.executor.spawn(async move {
            let _sound = sound;
            future.await
        });
        Job { reactor: self.reactor.clone(), _task: task }
    }

    pub fn memory(&self) -> u64 {
        self.reactor.memory.get()
    }

    pub(super) fn has_work(&self) -> bool {
        self.reactor.runnable.get() || !self.reactor.words.borrow().is_empty()
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.reactor.timers.borrow().all.first_key_value().map(|(key, _)| key.0)
    }

    pub(super) fn note(&self, slot: u32, generation: u32, readiness: &Readiness) {
        let mut ports = self.reactor.ports.borrow_mut();
        if ports.generations.get(slot as usize) != Some(&generation) {
            return;
        }
        if ports.host_watches {
            ports.changed.push(slot);
        }
        let Some(Some(open)) = ports.all.get_mut(slot as usize) else { return };
        open.end |= readiness.end;
        let mut woken = [None, None];
        if readiness.readable || readiness.end {
            open.readable = true;
            woken[0] = open.reader.take();
        }
        if readiness.writable || readiness.dead {
            open.writable = true;
            woken[1] = open.writer.take();
        }
        drop(ports);
        for waker in woken.into_iter().flatten() {
            self.reactor.wake(waker);
        }
    }

    /// Runs what was woken, so much at most.
    fn tick(&mut self) {
        self.reactor.fire();
        for _ in 0..TICKS {
            if !self.executor.try_tick() {
                self.reactor.runnable.set(false);
                break;
            }
        }
        assert!(!self.reactor.broken.get(), "a task did not come to its end");
    }

    /// Brings the poller up to date with the sockets of the tasks.
    fn settle(&mut self, poller: &mut Poller) {
        let mut ports = self.reactor.ports.borrow_mut();
        let mut failed = Vec::new();
        while let Some(slot) = ports.fresh.pop() {
            let generation = ports.generations[slot as usize];
            let Some(Some(open)) = ports.all.get_mut(slot as usize) else { continue };
            if open.watched {
                continue;
            }
            open.watched = true;
            if poller.add(open.fd.as_fd(), Token::Port { slot, generation }).is_err() {
                // It cannot be waited for: the task finds out as soon as it tries.
                (open.readable, open.writable, open.end) = (true, true, true);
                super::socket::cut(open.fd.as_fd());
                failed.extend(open.reader.take());
                failed.extend(open.writer.take());
            }
        }
        while let Some(slot) = ports.changed.pop() {
            if let Some(Some(open)) = ports.all.get(slot as usize) {
                poller.want(open.fd.as_fd(), open.reader.is_some(), open.writer.is_some());
            }
        }
        for fd in ports.closing.drain(..) {
            poller.close(fd);
        }
        drop(ports);
        for waker in failed {
            self.reactor.wake(waker);
        }
    }
}

impl Driver {
    /// The tasks of this encke, which come to be here.
    pub fn tasks(&mut self) -> &Tasks {
        let host_watches = matches!(self.poller, Poller::Host(_));
        let now = self.engine.now();
        self.tasks.get_or_insert_with(|| Box::new(Tasks::new(host_watches, now)))
    }

    /// What the loop thread has just given the tasks to do is not forgotten.
    pub fn after_tasks(&mut self) {
        self.settle_truth();
    }

    /// A share of a run; true: there is more.
    pub(super) fn run_tasks(&mut self) -> bool {
        let Some(mut tasks) = self.tasks.take() else { return false };
        tasks.reactor.now.set(self.engine.now());
        tasks.reactor.most_memory.set(self.engine.settings.max_memory);
        // Most runs have nothing for them.
        let due = tasks.next_timer().is_some_and(|at| at <= self.engine.now());
        if due || tasks.has_work() {
            if !self.engine.events_full() {
                *tasks.reactor.scratch.borrow_mut() = std::mem::take(&mut self.scratch);
                tasks.tick();
                self.scratch = tasks.reactor.scratch.take();
            }
            tasks.settle(&mut self.poller);
            self.bring_words(&tasks);
        }
        let more = tasks.has_work();
        self.tasks = Some(tasks);
        more
    }

    /// Passes on what tasks said, as far as the host takes it.
    fn bring_words(&mut self, tasks: &Tasks) {
        let mut words = tasks.reactor.words.borrow_mut();
        while !words.is_empty() && !self.engine.events_full() {
            if let Some(word) = words.pop_front() {
                self.engine.bring(word);
            }
        }
        let mut room = MANY_WORDS.saturating_sub(words.len());
        drop(words);
        while room > 0 {
            let Some(waker) = tasks.reactor.crowd.borrow_mut().pop_front() else { break };
            tasks.reactor.wake(waker);
            room -= 1;
        }
    }
}
