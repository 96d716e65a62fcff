//! Owns one encke's sockets and turns readiness into calls of the engine. Rules: every run is bounded; what is left
//! over keeps the fd readable; the end of a drain writes what the drain answered; nothing but [`Driver::wait`] waits.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::getsockname;

use super::address;
use super::clock;
use super::delivery::{SENDS, SENDS_AT_ONCE};
use super::listener::{system, Listener};
use super::poller::{Poller, Readiness, Token};
use super::secure::{Handshakes, Secure, Tickets};
use super::serving::Serving;
use super::tasks::Tasks;
use super::wake::Waker;
use super::watch::Watches;
use crate::engine::event::{End, Event};
use crate::engine::id::{Id, Kind, Tag};
use crate::engine::mailbox::Mailbox;
use crate::engine::progress::Progress;
use crate::engine::settings::Settings;
use crate::engine::slab::Slab;
use crate::engine::stats::Stats;
use crate::engine::{Engine, Error};

const DEFAULT_BUDGET: u32 = 256;
/// Turns between two looks at the clock, and the time from the first such look on that the turns of a run may take.
const UNTIMED_TURNS: u32 = 16;
const TURNS_MICROSECONDS: u64 = 1_000;
const SUBMISSIONS: usize = 1024;
const TIMERS: usize = 256;
/// Miri fills it byte by byte.
const SCRATCH: usize = if cfg!(miri) { 1 << 10 } else { 64 << 10 };
/// Connections written to in one drain from which on the next run is expected to find something.
const BUSY: u32 = 2;
/// Drains that do not look ahead after one that did in vain.
const SHORT_SIGHT: u32 = 16;
/// So many bytes sent take as long as a turn.
const BYTES_OF_A_TURN: u64 = 32 << 10;
/// A host that takes longer over its events than this is not the peers' fault.
const PATIENCE_WITH_HOST: u64 = 1_000;
/// Deadlines are looked at this often also while there is always more to read.
const EXPIRE_AT_LEAST: u64 = 500;

/// Whether the time since the first question is up.
fn over(end: &mut Option<u64>) -> bool {
    let now = clock::microseconds();
    now >= *end.get_or_insert(now + TURNS_MICROSECONDS)
}

/// What is known of a connection's socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) generation: u32,
    pub(super) readable: bool,
    /// The kernel took less than it was given.
    pub(super) blocked: bool,
    /// The peer has closed its sending side: there is an end to be read.
    pub(super) end: bool,
    /// Nothing can be sent any more.
    pub(super) dead: bool,
    pub(super) secure: Option<Box<Secure>>,
}

#[derive(Debug)]
pub struct Driver {
    pub engine: Engine,
    pub(super) poller: Poller,
    pub(super) sockets: Vec<Option<Socket>>,
    pub(super) listeners: Slab<Listener>,
    pub(super) tag: Tag,
    mailbox: Arc<Mailbox>,
    waker: Arc<Waker>,
    stats: Arc<Stats>,
    pub(super) scratch: Box<[u8]>,
    /// Ciphertext on its way to a socket.
    pub(super) cipher: Vec<u8>,
    pub(super) handshakes: Handshakes,
    pub(super) tickets: Tickets,
    found: Vec<Readiness>,
    pub(super) accepting: VecDeque<u32>,
    /// Listeners that rest, and until when.
    pub(super) resting: usize,
    pub(super) rest_until: Option<u64>,
    progress: Progress,
    /// Many events that a run found for the host, and when, in microseconds.
    drain: Option<(usize, u64)>,
    /// Readiness was collected before the run that it is for.
    polled: bool,
    /// Connections written to since the last run, and drains to come that do not look ahead.
    pub(super) written: u32,
    /// Bytes written since the last run began; encrypted ones count for more.
    pub(super) sent: u64,
    short_sighted: u32,
    fd_shown: bool,
    work: bool,
    timer: Option<u64>,
    /// Seconds since 1970, and until when they are taken for true.
    wall: u64,
    wall_until: u64,
    /// When deadlines were last looked at.
    expired: u64,
    pub(super) serving: Serving,
    /// Made with the first of them.
    pub(super) tasks: Option<Box<Tasks>>,
}

impl Driver {
    pub fn new(settings: Settings, tag: Tag, watch_each: bool) -> Result<Driver, Error> {
        let fault = |errno| system("making the encke", errno);
        let waker = Arc::new(Waker::new().map_err(fault)?);
        let mut poller = if watch_each { Poller::host() } else { Poller::queue().map_err(fault)? };
        poller.add(waker.fd(), Token::Wake).map_err(fault)?;
        let mut scratch = Vec::new();
        scratch.try_reserve_exact(SCRATCH).map_err(|_| Error::NoMemory)?;
        scratch.resize(SCRATCH, 0);
        let engine = Engine::new(settings, tag, clock::monotonic(), clock::unix());
        Ok(Driver {
            engine,
            poller,
            sockets: Vec::new(),
            listeners: Slab::new(tag.used),
            tag,
            mailbox: Arc::default(),
            waker,
            stats: Arc::default(),
            scratch: scratch.into(),
            cipher: Vec::new(),
            handshakes: Handshakes::default(),
            tickets: Tickets::new(),
            found: Vec::new(),
            accepting: VecDeque::new(),
            resting: 0,
            rest_until: None,
            progress: Progress::default(),
            drain: None,
            polled: false,
            written: 0,
            sent: 0,
            short_sighted: 0,
            fd_shown: false,
            work: false,
            timer: None,
            wall: 0,
            wall_until: 0,
            expired: 0,
            serving: Serving::new(tag),
            tasks: None,
        })
    }

    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The one fd; `None` where the host watches each.
    pub fn fd(&mut self) -> Option<BorrowedFd<'_>> {
        self.fd_shown = true;
        self.settle_truth();
        self.poller.fd()
    }

    pub fn watches(&mut self) -> Option<&mut Watches> {
        self.poller.watches()
    }

    /// Cuts a connection; its requests are told.
    pub fn close_connection(&mut self, id: Id) -> Result<(), Error> {
        let Some(connection) = self.engine.connection_of(id) else { return Err(Error::Gone) };
        self.tick();
        self.engine.cut(connection, End::Host);
        self.after_answer();
        Ok(())
    }

    pub fn drain(&mut self, grace: u64) {
        self.tick();
        self.hear_now();
        for slot in 0..self.listeners.slots() {
            if self.listeners.at(slot).is_some() {
                let _ = self.close_listener(self.listener_id(slot));
            }
        }
        self.engine.drain(grace);
        self.after_answer();
    }

    fn listener_fd(&self, id: Id) -> Option<BorrowedFd<'_>> {
        let ours = id.tag() == self.tag.number && self.listeners.holds(id.slot(), id.generation());
        self.listeners.at(id.slot()).filter(|_| ours).map(|listener| listener.fd.as_fd())
    }

    fn fd_of(&mut self, id: Id) -> Result<BorrowedFd<'_>, Error> {
        match id.kind() {
            Kind::Listener => self.listener_fd(id).ok_or(Error::Gone),
            _ => {
                let connection = self.engine.connection_of(id).ok_or(Error::Gone)?;
                let socket = self.sockets.get(connection as usize).and_then(|socket| socket.as_ref());
                socket.map(|socket| socket.fd.as_fd()).ok_or(Error::Gone)
            }
        }
    }

    pub fn local_address(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        let fd = self.fd_of(id)?;
        getsockname(fd).map(address::text).map_err(|errno| system("asking for the local address", errno))
    }

    pub fn peer_address(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        if id.kind() == Kind::Listener {
            return self.fd_of(id).map(|_| Vec::new());
        }
        let connection = self.engine.connection_of(id).ok_or(Error::Gone)?;
        let mut text = Vec::new();
        if let Some(connection) = self.engine.connection(connection) {
            text.extend_from_slice(connection.peer.text());
        }
        Ok(text)
    }

    pub fn raw_fd(&mut self, id: Id) -> Result<i32, Error> {
        self.fd_of(id).map(|fd| fd.as_raw_fd())
    }

    /// A limit was changed by the host.
    pub fn limits_changed(&mut self) {
        self.wake_listeners();
        self.settle();
    }

    // ---- running ---------------------------------------------------------------------------------------------------------

    pub(super) fn tick(&mut self) {
        let now = clock::monotonic();
        // The wall's seconds are for the Date field: a twentieth of one is exact enough.
        if now >= self.wall_until {
            self.wall = clock::unix();
            self.wall_until = now + 50;
        }
        self.engine.set_now(now, self.wall);
    }

    /// [`Driver::tick`] when the host may have had events in its hands since the last one: time stood still for the
    /// engine while it had.
    fn tick_after_host(&mut self) {
        let before = self.engine.now();
        self.tick();
        let taken = self.engine.now() - before;
        if taken > PATIENCE_WITH_HOST && self.progress.is_draining() {
            self.engine.excuse(taken);
        }
    }

    /// Does what is ready, at most `budget` socket operations (0: the default). True: calling again would do more.
    pub fn run(&mut self, budget: u32) -> Result<bool, Error> {
        self.tick_after_host();
        self.end_drain();
        self.written = 0;
        let sent_before = std::mem::take(&mut self.sent);
        let mut more = false;
        if !std::mem::take(&mut self.polled) {
            more = self.poll(0)?;
        }
        more |= self.hear();
        self.engine.unpause();
        more |= self.run_tasks();
        let budget = if budget == 0 { DEFAULT_BUDGET } else { budget };
        let enough = self.engine.enough_events();
        let (mut turns, mut turns_end) = (0, None);
        while turns < budget && !self.engine.events_full() && self.engine.events() < enough {
            let Some(connection) = self.engine.next_ready() else { break };
            self.turn(connection);
            turns += 1;
            if turns % UNTIMED_TURNS == 0 && over(&mut turns_end) {
                break;
            }
        }
        let gone = self.step_handshakes(turns as u64 + (sent_before + self.sent) / BYTES_OF_A_TURN);
        self.accept_some(turns, budget, gone);
        // Not before what has come in the meantime was read, unless that never ends.
        if !more || self.engine.now() > self.expired + EXPIRE_AT_LEAST {
            self.expired = self.engine.now();
            more |= self.engine.expire(TIMERS);
        }
        self.flush();
        self.fan_out(SENDS);
        self.progress.ran(&self.engine, more);
        self.drain = self.engine.many_events().map(|n| (n, clock::microseconds()));
        self.settle();
        let more = more
            || self.engine.has_turns()
            || self.engine.ready_len() > 0
            || !self.accepting.is_empty()
            || !self.handshakes.is_empty();
        Ok(more && !self.engine.events_full())
    }

    /// The next event. `None`: there is none, and the answers given so far are written.
    #[inline(always)]
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.engine.next_event() {
                if !self.concerns_mounts(&event.what) {
                    self.progress.took();
                    return Some(event);
                }
                let Some(event) = self.sort_out(event) else { continue };
                self.progress.took();
                return Some(event);
            }
            self.tick_after_host();
            self.engine.end_of_drain();
            self.flush();
            self.fan_out(SENDS_AT_ONCE);
            if !self.progress.goes_on(&self.engine) {
                break;
            }
        }
        if let Some((events, from)) = self.drain.take() {
            self.engine.pace(events, clock::microseconds().saturating_sub(from));
        }
        self.progress.end_drain();
        self.look_ahead();
        self.settle();
        None
    }

    /// In busy times the next run's readiness is there already when a drain ends. To collect it now is one system call
    /// as it would be then, and the fd, which has to be readable in any case, need not be told so twice.
    fn look_ahead(&mut self) {
        let busy = std::mem::take(&mut self.written) >= BUSY;
        if !busy || !self.work || self.polled || self.has_work() {
            return;
        }
        if self.short_sighted > 0 {
            self.short_sighted -= 1;
        } else if self.poll(0).is_ok() && !self.found.is_empty() {
            // Whatever it was: a wake-up and a deadline are seen by the run alone.
            self.polled = true;
            self.progress.leave_over();
        } else {
            self.short_sighted = SHORT_SIGHT;
        }
    }

    fn end_drain(&mut self) {
        self.progress.end_drain();
        self.engine.end_of_drain();
        self.flush();
    }

    /// To be called after the loop thread has said something of a request: outside a drain it is written at once.
    #[inline(always)]
    pub fn after_answer(&mut self) {
        if !self.progress.is_draining() {
            self.send_now();
        } else if !self.work {
            self.settle_truth();
        }
    }

    #[inline(never)]
    fn send_now(&mut self) {
        self.flush();
        self.fan_out(SENDS_AT_ONCE);
        self.settle();
    }

    /// To be called before the loop thread says something of a request: the time is told, and what other threads said
    /// before takes effect before.
    #[inline(always)]
    pub fn before_answer(&mut self) {
        if !self.progress.is_draining() {
            self.tick();
        }
        if !self.mailbox.is_empty() {
            self.hear_what_was_said();
        }
    }

    #[cold]
    fn hear_what_was_said(&mut self) {
        for _ in 0..self.mailbox.len() {
            match self.mailbox.pop() {
                Some(submission) => self.engine.apply(submission),
                None => break,
            }
        }
    }

    /// Blocks until there is something to run or to show, a signal, or `timeout` milliseconds (-1: for ever) have passed.
    pub fn wait(&mut self, timeout: i64) -> Result<(), Error> {
        self.tick();
        self.end_drain();
        self.settle();
        let timeout = if self.has_work() || self.polled { 0 } else { timeout.max(-1) };
        match self.poll(timeout) {
            Ok(more) => {
                if more {
                    self.progress.leave_over();
                }
                self.polled = true;
                Ok(())
            }
            Err(Error::System(errno, _)) if errno == Errno::INTR.raw_os_error() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where the host watches each socket: milliseconds until run is to be called.
    pub fn timeout(&mut self) -> Option<u64> {
        if self.has_work() || self.poller.watches().is_some_and(|watches| watches.has_noted()) {
            return Some(0);
        }
        self.next_timer().map(|at| at.saturating_sub(clock::monotonic()))
    }

    /// Everything that other threads said so far takes effect.
    pub fn hear_all(&mut self) {
        self.tick();
        while self.hear() {}
        self.after_answer();
    }

    /// What was published by the loop thread itself, and what was said before.
    pub(super) fn hear_now(&mut self) {
        if self.hear() {
            self.progress.leave_over();
        }
    }

    /// What other threads said; true: there is more.
    fn hear(&mut self) -> bool {
        self.mailbox.look();
        for _ in 0..SUBMISSIONS {
            match self.mailbox.pop() {
                Some(submission) => self.engine.apply(submission),
                None => return false,
            }
        }
        !self.mailbox.is_empty()
    }

    fn poll(&mut self, timeout: i64) -> Result<bool, Error> {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let result = self.poller.poll(timeout, &mut found);
        for readiness in &found {
            self.note(readiness);
        }
        self.found = found;
        match result {
            Ok(more) => Ok(more),
            Err(Errno::INTR) if timeout == 0 => Ok(true),
            Err(errno) => Err(system("waiting for readiness", errno)),
        }
    }

    fn note(&mut self, readiness: &Readiness) {
        match readiness.token {
            Token::Connection { slot, generation } => {
                let Some(Some(socket)) = self.sockets.get_mut(slot as usize) else { return };
                if socket.generation != generation {
                    return;
                }
                socket.readable |= readiness.readable | readiness.end;
                socket.end |= readiness.end;
                socket.dead |= readiness.dead;
                if readiness.writable {
                    socket.blocked = false;
                }
                // An edge that only says "writable" concerns nobody who has nothing to write.
                let cipher = socket.secure.as_ref().is_some_and(|secure| secure.has_unsent());
                if socket.readable || cipher || self.engine.connection(slot).is_some_and(|c| c.unsent() > 0) {
                    self.engine.make_ready(slot);
                }
            }
            Token::Listener(slot) if self.accepting.contains(&slot) => {}
            Token::Listener(slot) => self.accepting.push_back(slot),
            Token::Port { slot, generation } => {
                if let Some(tasks) = &self.tasks {
                    tasks.note(slot, generation, readiness);
                }
            }
            Token::Wake => {
                if self.poller.watches().is_some() {
                    self.waker.clear();
                }
            }
            Token::Timer => self.timer = None,
            Token::Work => {}
        }
    }

    // ---- the truth of the fd -----------------------------------------------------------------------------------------------

    /// Whether run or next would do or show something that no socket tells of.
    #[inline]
    fn has_work(&self) -> bool {
        self.progress.has_work(&self.engine)
            || !self.accepting.is_empty()
            || !self.handshakes.is_empty()
            || self.tasks.as_ref().is_some_and(|tasks| tasks.has_work())
    }

    fn settle(&mut self) {
        if !self.progress.is_draining() {
            self.send_tickets();
        }
        self.engine.unpause();
        let mut counters = self.engine.counters();
        counters.memory += self.tasks.as_ref().map_or(0, |tasks| tasks.memory());
        self.stats.publish(&counters);
        self.settle_timer();
        self.settle_truth();
    }

    #[inline]
    pub(super) fn settle_truth(&mut self) {
        let work = self.has_work();
        if work != self.work && self.fd_shown && self.poller.set_work(work).is_ok() {
            self.work = work;
        }
    }

    fn next_timer(&self) -> Option<u64> {
        let timer = self.tasks.as_ref().and_then(|tasks| tasks.next_timer());
        [self.engine.next_deadline(), self.rest_until, timer].into_iter().flatten().min()
    }

    fn settle_timer(&mut self) {
        let Some(at) = self.next_timer() else { return };
        if self.timer.is_none_or(|timer| at < timer) && self.poller.set_timer(at.max(1)).is_ok() {
            self.timer = Some(at);
        }
    }

    // ---- the end -------------------------------------------------------------------------------------------------------------

    /// Writes what was answered, then ends everything. Nothing more is heard: what other threads said is carried out
    /// as far as it is there, and gives back what was lent.
    pub fn shut_down(&mut self) {
        self.mailbox.close();
        self.tick();
        while self.hear() {}
        self.end_drain();
        self.fan_out(SENDS);
        self.engine.cut_all(End::Host);
        self.flush();
        self.tasks = None;
        self.leave_hub();
        for slot in 0..self.listeners.slots() {
            if let Some(mut listener) = self.listeners.remove(slot) {
                listener.remove_file();
            }
        }
    }

    /// The last generation that an id of this driver carries.
    pub fn last_generation(&self) -> u32 {
        let mounts = self.serving.mounts.last_generation();
        self.engine.last_generation().max(self.listeners.last_generation()).max(mounts)
    }
}
