//! Owns the in-memory stand-in for `io::driver`: sockets are pipes, readiness comes by edges, the clock is virtual.
//! Rule: it calls the engine in the order in which the real driver does, so what holds here holds there.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;

use crate::engine::connection::{Connection, CLOSING, IN_HEAD, LINGERS, STOPPED};
use crate::engine::event::{End, Event, What};
use crate::engine::id::{Id, Kind, Tag};
use crate::engine::mailbox::{Mailbox, Submission};
use crate::engine::peer::Peer;
use crate::engine::progress::Progress;
use crate::engine::settings::Settings;
use crate::engine::Engine;
use crate::push::hub::{Hub, Outlet};
use crate::push::message::Message;

use super::deadlines::Deadlines;
use super::pipe::{Ended, Pipe};

const TIMERS: usize = 256;
const EXPIRE_AT_LEAST: u64 = 500;
/// Subscribers looked at for each that is sent something.
const LOOKS: u32 = 64;
/// Of what all buffers may have, the part that may wait for the loop.
const WAITING: u64 = 4;
pub const EPOCH: u64 = 1_700_000_000;

#[derive(Debug, Default)]
pub struct Socket {
    pub pipe: usize,
    pub readable: bool,
    pub blocked: bool,
    pub dead: bool,
    pub end: bool,
    pub secure: bool,
    /// Bytes of the front that it has in another form, as a record that the kernel did not take.
    pub promised: Vec<u8>,
    /// When it was accepted, when bytes last came, when a head or body began, when bytes last went or there were none,
    /// when the sending side was closed.
    pub accepted: u64,
    pub came: u64,
    pub began: u64,
    pub went: u64,
    pub shut: u64,
}

/// The way from a hub to the mailbox.
struct Inbox {
    mailbox: Arc<Mailbox>,
    woken: Arc<AtomicBool>,
    /// Bytes of messages that may wait.
    most: u64,
}

impl Outlet for Inbox {
    fn deliver(&self, message: Arc<Message>) -> bool {
        self.mailbox.deliver(message, self.most)
    }

    fn wake(&self) {
        self.woken.store(true, SeqCst);
    }

    fn nudge(&self) {
        if self.mailbox.wake() {
            self.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.mailbox.is_closed()
    }
}

#[derive(Debug)]
pub struct Driver {
    pub engine: Engine,
    pub pipes: Vec<Pipe>,
    /// Pipes of which something happened that the client may want to look at.
    pub news: Vec<bool>,
    pub sockets: Vec<Option<Socket>>,
    /// Pipes with an edge that was not seen yet.
    pub edges: Vec<usize>,
    pub backlog: VecDeque<usize>,
    pub listener: Id,
    pub now: u64,
    pub mailbox: Arc<Mailbox>,
    pub woken: Arc<AtomicBool>,
    pub progress: Progress,
    /// Many events that a run found for the host.
    found: Option<usize>,
    /// What might wait for the host at the most since nothing did.
    pub might_wait: usize,
    /// Every so many connections are secure: they carry nothing before they were opened.
    pub secure_every: u64,
    pub timer: Option<u64>,
    pub expired: u64,
    pub scratch: Vec<u8>,
    pub write_turn: u64,
    /// Sends of one slice of fan-out, and of one beside an answer.
    pub sends: u32,
    pub sends_at_once: u32,
    /// Counts everything that was moved, accepted or closed.
    pub moved: u64,
    /// Bytes and connections as the kernel would count them.
    pub taken: u64,
    pub given: u64,
    pub accepted: u64,
    /// When the host got the request of each slot.
    pub delivered: HashMap<u32, (Id, u64)>,
    pub file: Vec<u8>,
}

impl Driver {
    pub fn new(settings: Settings, scratch: usize, write_turn: u64, secure_every: u64, now: u64) -> Driver {
        Driver::with_tag(7, settings, scratch, write_turn, secure_every, now)
    }

    pub fn with_tag(
        number: u16,
        settings: Settings,
        scratch: usize,
        write_turn: u64,
        secure_every: u64,
        now: u64,
    ) -> Driver {
        let tag = Tag { number, used: 0 };
        Driver {
            engine: Engine::new(settings, tag, now, EPOCH + now / 1000),
            pipes: Vec::new(),
            news: Vec::new(),
            sockets: Vec::new(),
            edges: Vec::new(),
            backlog: VecDeque::new(),
            listener: Id::new(number, Kind::Listener, 0, 1),
            now,
            mailbox: Arc::default(),
            woken: Arc::default(),
            progress: Progress::default(),
            found: None,
            might_wait: 0,
            secure_every,
            timer: None,
            expired: 0,
            scratch: vec![0; scratch],
            write_turn,
            sends: 256,
            sends_at_once: 32,
            moved: 0,
            taken: 0,
            given: 0,
            accepted: 0,
            delivered: HashMap::new(),
            file: vec![0; 1 << 14],
        }
    }

    // ---- the truth of the fd ------------------------------------------------------------------------------------------

    pub fn readable(&self) -> bool {
        self.work()
            || self.woken.load(SeqCst)
            || self.timer.is_some_and(|at| at <= self.now)
            || (!self.backlog.is_empty() && self.engine.may_accept())
            || !self.edges.is_empty()
    }

    pub fn work(&self) -> bool {
        self.progress.has_work(&self.engine)
    }

    /// What keeps the fd readable.
    pub fn why(&self) -> String {
        format!(
            "{:?}, events {}, ready {}, withheld {}, dirty {}, woken {}, timer {:?}, backlog {}, edges {:?}",
            self.progress,
            self.engine.has_events(),
            self.engine.ready_len(),
            self.engine.withholds(),
            self.engine.is_dirty(),
            self.woken.load(SeqCst),
            self.timer,
            self.backlog.len(),
            self.edges
        )
    }

    pub fn next_timer(&self) -> Option<u64> {
        self.timer
    }

    fn settle(&mut self) {
        self.engine.unpause();
        if let Some(at) = self.engine.next_deadline() {
            if self.timer.is_none_or(|timer| at < timer) {
                self.timer = Some(at);
            }
        }
    }

    // ---- the host's side ------------------------------------------------------------------------------------------------

    /// Another thread says something. It comes back when the engine is freed.
    pub fn submit(&mut self, submission: Submission) -> Result<(), Submission> {
        if self.mailbox.push(submission)? {
            self.woken.store(true, SeqCst);
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.engine.set_now(self.now, EPOCH + self.now / 1000);
    }

    /// `budget` connections have their turn; `hears` submissions take effect.
    pub fn run(&mut self, budget: u32, hears: usize, heard: &mut dyn FnMut(&mut Engine, Submission)) -> bool {
        self.tick();
        self.end_drain();
        self.poll();
        self.woken.store(false, SeqCst);
        let mut more = self.hear(hears, heard);
        self.engine.unpause();
        let mut left = budget;
        let enough = self.engine.enough_events();
        while left > 0 && !self.engine.events_full() && self.engine.events() < enough {
            let Some(connection) = self.engine.next_ready() else { break };
            self.turn(connection);
            left -= 1;
        }
        self.accept(left.max(1));
        if !more || self.now > self.expired + EXPIRE_AT_LEAST {
            self.expired = self.now;
            let before = Deadlines::before(self);
            more |= self.engine.expire(TIMERS);
            before.check(self, TIMERS);
        }
        self.flush();
        self.fan_out(self.sends);
        self.progress.ran(&self.engine, more);
        self.found = self.engine.many_events();
        self.settle();
        let more = more || self.engine.has_turns() || self.engine.ready_len() > 0;
        more && !self.engine.events_full()
    }

    /// What other threads said; true: there is more.
    fn hear(&mut self, most: usize, heard: &mut dyn FnMut(&mut Engine, Submission)) -> bool {
        self.mailbox.look();
        for _ in 0..most {
            let Some(submission) = self.mailbox.pop() else { return false };
            self.moved += 1;
            heard(&mut self.engine, submission);
        }
        !self.mailbox.is_empty()
    }

    /// Takes part in a hub.
    pub fn enter(&mut self, hub: Arc<Hub>) {
        let most = self.engine.settings.max_memory / WAITING;
        let inbox = Inbox { mailbox: self.mailbox.clone(), woken: self.woken.clone(), most };
        let member = hub.attach(Arc::new(inbox));
        self.engine.set_hub(hub, member);
    }

    /// Gives subscribers what is pending, so many at the most.
    fn fan_out(&mut self, sends: u32) {
        if !self.engine.has_turns() {
            return;
        }
        let mut looks = sends * LOOKS;
        for _ in 0..sends {
            let before = looks;
            let Some(connection) = self.engine.next_turn(&mut looks) else { break };
            assert!(looks < before, "a turn without a look");
            self.moved += 1;
            self.give(connection);
        }
        self.engine.end_of_turns();
    }

    /// The loop thread has published, and hears itself.
    pub fn after_publish(&mut self, heard: &mut dyn FnMut(&mut Engine, Submission)) {
        if self.hear(1024, heard) {
            self.progress.leave_over();
        }
        self.after_answer();
    }

    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.engine.next_event() {
                self.progress.took();
                if matches!(event.what, What::Request(_)) {
                    self.delivered.insert(event.id.slot(), (event.id, self.engine.now()));
                }
                return Some(event);
            }
            self.engine.end_of_drain();
            self.flush();
            self.fan_out(self.sends_at_once);
            if !self.progress.goes_on(&self.engine) {
                break;
            }
        }
        let (may_wait, waiting) = self.engine.may_wait();
        self.might_wait = if waiting { self.might_wait.max(may_wait) } else { 0 };
        if let Some(events) = self.found.take() {
            // Hosts are fast, slow, or stood still.
            self.engine.pace(events, [0, 900, 3_000, 9_000, 100_000][self.moved as usize % 5]);
        }
        self.progress.end_drain();
        self.settle();
        None
    }

    fn end_drain(&mut self) {
        self.progress.end_drain();
        self.engine.end_of_drain();
        self.flush();
    }

    /// What it returns is to take effect before the loop thread says something.
    #[must_use]
    pub fn before_answer(&mut self) -> Vec<Submission> {
        if !self.progress.is_draining() {
            self.tick();
        }
        (0..self.mailbox.len()).map_while(|_| self.mailbox.pop()).collect()
    }

    pub fn after_answer(&mut self) {
        if !self.progress.is_draining() {
            self.flush();
            self.fan_out(self.sends_at_once);
            self.settle();
        }
    }

    pub fn drain(&mut self, grace: u64) {
        self.tick();
        for pipe in self.backlog.drain(..) {
            (self.pipes[pipe].ended, self.news[pipe]) = (Some(Ended::Reset), true);
        }
        self.engine.drain(grace);
        self.after_answer();
    }

    pub fn set_max_held(&mut self, n: u64) {
        self.engine.set_max_held(n);
        self.settle();
    }

    /// Ends everything, as the real driver's `shut_down` does.
    pub fn free(&mut self, heard: &mut dyn FnMut(&mut Engine, Submission)) {
        self.mailbox.close();
        self.tick();
        self.mailbox.look();
        while let Some(submission) = self.mailbox.pop() {
            heard(&mut self.engine, submission);
        }
        self.end_drain();
        self.fan_out(self.sends);
        self.engine.cut_all(End::Host);
        self.flush();
        if let Some((hub, member)) = self.engine.take_hub() {
            hub.detach(member);
        }
    }

    // ---- readiness ------------------------------------------------------------------------------------------------------

    fn poll(&mut self) {
        if self.timer.is_some_and(|at| at <= self.now) {
            self.timer = None;
        }
        for pipe in std::mem::take(&mut self.edges) {
            let pipe = &mut self.pipes[pipe];
            pipe.edge = false;
            let Some(connection) = pipe.connection else { continue };
            let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { continue };
            let dead = pipe.reset || pipe.fin && pipe.shut;
            socket.readable |= !pipe.up.is_empty() || pipe.fin || dead;
            socket.end |= pipe.fin || dead;
            socket.dead |= dead;
            if dead || pipe.down.len() * 3 <= pipe.room * 2 {
                socket.blocked = false;
            }
            if socket.readable || self.engine.connection(connection).is_some_and(|c| c.unsent() > 0) {
                self.engine.make_ready(connection);
            }
        }
    }

    fn accept(&mut self, most: u32) {
        for _ in 0..most {
            if !self.engine.may_accept() {
                return;
            }
            let Some(pipe) = self.backlog.pop_front() else { return };
            self.moved += 1;
            let secure = self.secure_every > 0 && self.pipes.len() as u64 % self.secure_every == 0;
            let Some(connection) = self.engine.accept(self.listener, Peer::unknown(), secure) else { return };
            self.pipes[pipe].connection = Some(connection);
            self.accepted += 1;
            self.edge(pipe);
            let index = connection as usize;
            if self.sockets.len() <= index {
                self.sockets.resize_with(index + 1, || None);
            }
            self.sockets[index] = Some(Socket {
                pipe,
                secure,
                accepted: self.now,
                came: self.now,
                began: self.now,
                went: self.now,
                ..Socket::default()
            });
        }
    }

    fn turn(&mut self, connection: u32) {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        let (readable, blocked, dead) = (socket.readable, socket.blocked, socket.dead);
        if !blocked && self.engine.connection(connection).is_some_and(|c| c.unsent() > 0) {
            self.write(connection);
        }
        if self.engine.has_buffered(connection) {
            self.gives(connection, |engine| engine.resume(connection));
        }
        if readable && self.engine.events_full() {
            self.engine.make_ready(connection);
        } else if readable && self.engine.admit(connection) {
            self.read(connection);
        } else if dead && self.engine.connection(connection).is_some() {
            self.forget(connection);
        }
        self.engine.schedule(connection);
    }

    fn read(&mut self, connection: u32) {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        let pipe = &mut self.pipes[socket.pipe];
        if pipe.reset {
            return self.forget(connection);
        }
        let room = self.scratch.len().min(self.engine.most_input(connection));
        let n = pipe.up.len().min(room);
        let ends = self.engine.connection(connection).is_some_and(|c| c.is(CLOSING | LINGERS | STOPPED));
        let memory = self.engine.counters().memory;
        assert!(ends || memory < self.engine.settings.max_memory, "read with {memory} bytes of buffers");
        if n == 0 && !pipe.fin {
            socket.readable = false;
        } else if n == 0 {
            socket.readable = false;
            let dead = socket.dead;
            self.moved += 1;
            self.engine.end_of_input(connection);
            if dead {
                self.forget(connection);
            }
        } else {
            let (front, back) = pipe.up.as_slices();
            let first = n.min(front.len());
            self.scratch[..first].copy_from_slice(&front[..first]);
            self.scratch[first..n].copy_from_slice(&back[..n - first]);
            pipe.up.drain(..n);
            self.moved += n as u64;
            self.taken += n as u64;
            self.engine.opened(connection); // the first bytes are the handshake's
            socket.readable = n == room || socket.end;
            let again = socket.readable;
            socket.came = self.now;
            let fresh = |c: &Connection| c.buffered() == 0 && !c.is(IN_HEAD) && !c.in_body();
            if self.engine.connection(connection).is_some_and(fresh) {
                socket.began = self.now;
            }
            let scratch = std::mem::take(&mut self.scratch);
            self.gives(connection, |engine| engine.receive(connection, &scratch[..n]));
            self.scratch = scratch;
            let over =
                |socket: &Socket| socket.secure && self.pipes[socket.pipe].fin && self.pipes[socket.pipe].up.is_empty();
            if self.sockets[connection as usize].as_ref().is_some_and(over) {
                // The end of a secure connection comes with its last record.
                self.engine.end_of_input(connection);
            }
            if again {
                self.engine.make_ready(connection);
            }
        }
    }

    /// Gives the engine bytes to work on: it takes no request while too much of the answers before it is unsent.
    fn gives(&mut self, connection: u32, give: impl FnOnce(&mut Engine)) {
        let state = |engine: &Engine| engine.connection(connection).map(|c| (c.length, c.unsent() + c.pending));
        let before = state(&self.engine);
        give(&mut self.engine);
        if let (Some((length, queued)), Some((now, _))) = (before, state(&self.engine)) {
            let high = self.engine.settings.high_water;
            assert!(queued < high || now <= length, "a request was taken while {queued} bytes of answers are unsent");
        }
    }

    pub fn forget(&mut self, connection: u32) {
        self.moved += 1;
        self.engine.remove(connection, End::Peer);
        if let Some(socket) = self.sockets.get_mut(connection as usize).and_then(Option::take) {
            let pipe = &mut self.pipes[socket.pipe];
            (pipe.connection, self.news[socket.pipe]) = (None, true);
            if std::mem::take(&mut pipe.edge) {
                self.edges.retain(|other| *other != socket.pipe);
            }
            // Closing with unread bytes is a reset, too.
            let unread = !pipe.up.is_empty();
            pipe.ended = pipe.ended.or(Some(if unread { Ended::Reset } else { Ended::Closed }));
        }
    }

    pub fn connection_of(&self, pipe: usize) -> Option<u32> {
        self.pipes[pipe].connection
    }
}
