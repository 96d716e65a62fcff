//! Owns one encke's sockets and turns readiness into calls of the engine. Rules: every run is bounded; what is left
//! over keeps the fd readable; the end of a drain writes what the drain answered; nothing but [`Driver::wait`] waits.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{acceptfrom_with, getpeername, getsockname, sockopt, SocketFlags};

use super::address::{self, Address};
use super::clock;
use super::listener::{system, Listener, Manner};
use super::poller::{Poller, Readiness, Token};
use super::socket;
use super::wake::Waker;
use super::watch::Watches;
use crate::engine::event::{End, Event};
use crate::engine::id::{Id, Kind, Tag};
use crate::engine::mailbox::Mailbox;
use crate::engine::output::Front;
use crate::engine::peer::Peer;
use crate::engine::settings::Settings;
use crate::engine::slab::Slab;
use crate::engine::stats::Stats;
use crate::engine::{Engine, Error, Verdict};

const DEFAULT_BUDGET: u32 = 256;
const ACCEPTS: usize = 64;
const SUBMISSIONS: usize = 1024;
const TIMERS: usize = 256;
const SCRATCH: usize = 64 << 10;
const SLICES: usize = 16;
/// Bytes written to one connection before the others have their turn.
const WRITE_TURN: u64 = 1 << 20;
/// How long a listener rests for want of fds.
const ACCEPT_PAUSE: u64 = 100;
/// Deadlines are looked at this often also while there is always more to read.
const EXPIRE_AT_LEAST: u64 = 500;

/// What is known of a connection's socket.
#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    generation: u32,
    readable: bool,
    /// The kernel took less than it was given.
    blocked: bool,
    /// The peer has closed its sending side: there is an end to be read.
    end: bool,
    /// Nothing can be sent any more.
    dead: bool,
}

#[derive(Debug)]
pub struct Driver {
    pub engine: Engine,
    poller: Poller,
    sockets: Vec<Option<Socket>>,
    listeners: Slab<Listener>,
    tag: Tag,
    mailbox: Arc<Mailbox>,
    waker: Arc<Waker>,
    stats: Arc<Stats>,
    scratch: Box<[u8]>,
    found: Vec<Readiness>,
    accepting: VecDeque<u32>,
    /// Listeners that rest, and until when.
    resting: usize,
    rest_until: Option<u64>,
    /// The host takes events: its answers are collected.
    draining: bool,
    flushed: bool,
    /// Readiness was collected by `wait`.
    polled: bool,
    /// Submissions or deadlines were left over.
    left_over: bool,
    fd_shown: bool,
    work: bool,
    timer: Option<u64>,
    /// When deadlines were last looked at.
    expired: u64,
}

impl Driver {
    pub fn new(settings: Settings, tag: Tag, watch_each: bool) -> Result<Driver, Error> {
        let fault = |errno| system("making the encke", errno);
        let waker = Arc::new(Waker::new().map_err(fault)?);
        let mut poller = if watch_each { Poller::host() } else { Poller::queue().map_err(fault)? };
        poller.add(waker.fd(), Token::Wake).map_err(fault)?;
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
            scratch: vec![0; SCRATCH].into(),
            found: Vec::new(),
            accepting: VecDeque::new(),
            resting: 0,
            rest_until: None,
            draining: false,
            flushed: false,
            polled: false,
            left_over: false,
            fd_shown: false,
            work: false,
            timer: None,
            expired: 0,
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

    // ---- listeners and connections from outside ------------------------------------------------------------------------

    pub fn listen(&mut self, address: &Address, manner: Manner) -> Result<Id, Error> {
        let listener = Listener::open(address, manner)?;
        self.add_listener(listener)
    }

    fn add_listener(&mut self, listener: Listener) -> Result<Id, Error> {
        let Some(slot) = self.listeners.insert(listener) else { return Err(Error::NoMemory) };
        let (token, id) = (Token::Listener(slot), self.listener_id(slot));
        let Some(listener) = self.listeners.at(slot) else { return Err(Error::Gone) };
        if let Err(errno) = self.poller.add_listener(listener.fd.as_fd(), token) {
            if let Some(mut listener) = self.listeners.remove(slot) {
                listener.remove_file();
            }
            return Err(system("watching the listener", errno));
        }
        Ok(id)
    }

    fn listener_id(&self, slot: u32) -> Id {
        Id::new(self.tag.number, Kind::Listener, slot, self.listeners.generation(slot))
    }

    /// Takes a bound socket, listening or connected. On a fault it is given back.
    pub fn adopt(&mut self, fd: OwnedFd) -> Result<Id, (OwnedFd, Error)> {
        let listening = match sockopt::socket_acceptconn(&fd) {
            Ok(listening) => listening,
            Err(errno) => return Err((fd, system("adopting: no socket that can be asked", errno))),
        };
        if !sockopt::socket_type(&fd).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM) {
            return Err((fd, Error::invalid("adopting: the socket is not a stream")));
        }
        let peer = if listening { Ok(None) } else { getpeername(&fd) };
        let peer = match peer {
            Ok(peer) => address::peer(peer),
            Err(errno) => return Err((fd, system("adopting: the socket neither listens nor is connected", errno))),
        };
        if let Err(errno) = socket::prepare(fd.as_fd()) {
            return Err((fd, system("adopting: making it non-blocking", errno)));
        }
        if listening {
            let _ = sockopt::set_tcp_nodelay(&fd, true);
            let Some(slot) = self.listeners.insert(Listener::adopt(fd)) else {
                unreachable!("listener slots outnumber fds")
            };
            let (token, id) = (Token::Listener(slot), self.listener_id(slot));
            let added = match self.listeners.at(slot) {
                Some(listener) => self.poller.add_listener(listener.fd.as_fd(), token),
                None => Ok(()),
            };
            return match (added, added.err().and_then(|_| self.listeners.remove(slot))) {
                (Err(errno), Some(listener)) => Err((listener.fd, system("watching the adopted listener", errno))),
                _ => Ok(id),
            };
        }
        if !self.engine.may_accept() {
            return Err((fd, Error::State));
        }
        let _ = sockopt::set_tcp_nodelay(&fd, true);
        self.tick();
        match self.take_connection(fd, Id::NONE, peer) {
            Ok(connection) => {
                self.settle_truth();
                Ok(self.engine.connection_id(connection))
            }
            Err((fd, errno)) => Err((fd, system("watching the adopted connection", errno))),
        }
    }

    fn take_connection(&mut self, fd: OwnedFd, listener: Id, peer: Peer) -> Result<u32, (OwnedFd, Errno)> {
        let Some(slot) = self.engine.accept(listener, peer) else { return Err((fd, Errno::NFILE)) };
        let generation = self.engine.connection_id(slot).generation();
        if let Err(errno) = self.poller.add(fd.as_fd(), Token::Connection { slot, generation }) {
            self.engine.remove(slot, End::Host);
            return Err((fd, errno));
        }
        let index = slot as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(Socket { fd, generation, readable: false, blocked: false, end: false, dead: false });
        Ok(slot)
    }

    /// Stops accepting there; open connections go on.
    pub fn close_listener(&mut self, id: Id) -> Result<(), Error> {
        let slot = id.slot();
        if id.tag() != self.tag.number || !self.listeners.holds(slot, id.generation()) {
            return Err(Error::Gone);
        }
        if let Some(mut listener) = self.listeners.remove(slot) {
            listener.remove_file();
            if !listener.rests {
                self.poller.rest_listener(listener.fd.as_fd());
            } else {
                self.resting -= 1;
            }
            self.poller.close(listener.fd);
        }
        Ok(())
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

    fn tick(&mut self) {
        self.engine.set_now(clock::monotonic(), clock::unix());
    }

    /// Does what is ready, at most `budget` socket operations (0: the default). True: calling again would do more.
    pub fn run(&mut self, budget: u32) -> Result<bool, Error> {
        self.tick();
        self.end_drain();
        let mut more = false;
        if !std::mem::take(&mut self.polled) {
            more = self.poll(0)?;
        }
        more |= self.hear();
        self.engine.unpause();
        let mut left = if budget == 0 { DEFAULT_BUDGET } else { budget };
        while left > 0 && !self.engine.events_full() {
            let Some(connection) = self.engine.next_ready() else { break };
            self.turn(connection);
            left -= 1;
        }
        self.accept(left.max(1) as usize);
        // Not before what has come in the meantime was read, unless that never ends.
        if !more || self.engine.now() > self.expired + EXPIRE_AT_LEAST {
            self.expired = self.engine.now();
            more |= self.engine.expire(TIMERS);
        }
        self.flush();
        self.left_over = more;
        self.draining = self.engine.has_events();
        self.settle();
        Ok(!self.engine.events_full() && (more || self.engine.ready_len() > 0 || !self.accepting.is_empty()))
    }

    /// The next event. `None`: there is none, and the answers given so far are written.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.engine.next_event() {
                self.draining = true;
                return Some(event);
            }
            self.engine.end_of_drain();
            self.flush();
            // What the flush brought is shown once more, then it is for the next drain: otherwise a fast reader could
            // keep the host in this one for ever.
            if !self.engine.has_events() || self.flushed {
                break;
            }
            self.flushed = true;
        }
        self.draining = false;
        self.flushed = false;
        self.settle();
        None
    }

    fn end_drain(&mut self) {
        self.draining = false;
        self.flushed = false;
        self.engine.end_of_drain();
        self.flush();
    }

    /// To be called after the loop thread has said something of a request: outside a drain it is written at once.
    pub fn after_answer(&mut self) {
        if !self.draining {
            self.flush();
            self.settle();
        } else {
            self.settle_truth();
        }
    }

    /// To be called before the loop thread says something of a request: the time is told, and what other threads said
    /// before takes effect before.
    pub fn before_answer(&mut self) {
        if !self.draining {
            self.tick();
        }
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
                self.left_over |= more;
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
                if socket.readable || self.engine.connection(slot).is_some_and(|c| c.unsent() > 0) {
                    self.engine.make_ready(slot);
                }
            }
            Token::Listener(slot) if self.accepting.contains(&slot) => {}
            Token::Listener(slot) => self.accepting.push_back(slot),
            Token::Wake => {
                if self.poller.watches().is_some() {
                    self.waker.clear();
                }
            }
            Token::Timer => self.timer = None,
            Token::Work => {}
        }
    }

    /// One connection's turn.
    fn turn(&mut self, connection: u32) {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        let (readable, blocked, dead) = (socket.readable, socket.blocked, socket.dead);
        if !blocked && self.engine.connection(connection).is_some_and(|c| c.unsent() > 0) {
            self.write(connection);
        }
        if self.engine.has_buffered(connection) {
            self.engine.resume(connection);
        }
        if readable && self.engine.events_full() {
            self.engine.make_ready(connection);
        } else if readable && self.engine.admit(connection) {
            self.read(connection);
        } else if dead && self.engine.connection(connection).is_some() {
            // It is not read now, and what it waits for cannot reach it any more.
            self.lose(connection);
        }
        self.engine.schedule(connection);
        self.tell_wants(connection);
    }

    fn read(&mut self, connection: u32) {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        match socket::receive(socket.fd.as_fd(), &mut self.scratch) {
            Ok(0) => {
                socket.readable = false;
                if socket.dead {
                    self.engine.end_of_input(connection);
                    return self.lose(connection);
                }
                self.engine.end_of_input(connection);
            }
            Ok(n) => {
                // A short read has emptied the socket, unless an end was announced.
                socket.readable = n == self.scratch.len() || socket.end;
                let again = socket.readable;
                self.engine.receive(connection, &self.scratch[..n]);
                if again {
                    self.engine.make_ready(connection);
                }
            }
            Err(Errno::AGAIN) => socket.readable = false,
            Err(_) => self.lose(connection),
        }
    }

    fn accept(&mut self, most: usize) {
        if self.rest_until.is_some_and(|until| until <= self.engine.now()) {
            self.rest_until = None;
            self.wake_listeners();
        }
        let mut left = most.min(ACCEPTS);
        while let Some(slot) = self.accepting.pop_front() {
            while left > 0 && self.accept_one(slot) {
                left -= 1;
            }
            if left == 0 {
                self.accepting.push_back(slot);
                break;
            }
        }
    }

    fn accept_one(&mut self, slot: u32) -> bool {
        if !self.engine.may_accept() {
            self.rest_listener(slot);
            return false;
        }
        let Some(listener) = self.listeners.at_mut(slot) else { return false };
        #[cfg(not(target_vendor = "apple"))]
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        #[cfg(target_vendor = "apple")]
        let flags = SocketFlags::empty();
        let trouble = match acceptfrom_with(&listener.fd, flags) {
            Ok((fd, address)) => {
                listener.told = false;
                #[cfg(target_vendor = "apple")]
                if socket::prepare(fd.as_fd()).is_err() {
                    return true;
                }
                let id = self.listener_id(slot);
                match self.take_connection(fd, id, address::peer(address)) {
                    Ok(_) => return true,
                    Err((_, errno)) => errno,
                }
            }
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => return true,
            Err(errno) => errno,
        };
        self.rest_listener(slot);
        self.rest_until = Some(self.engine.now() + ACCEPT_PAUSE);
        let id = self.listener_id(slot);
        if let Some(listener) = self.listeners.at_mut(slot) {
            if !std::mem::replace(&mut listener.told, true) {
                self.engine.listener_trouble(id, trouble.raw_os_error());
            }
        }
        false
    }

    /// A listener that cannot be served is taken out, or it would keep the fd readable for nothing.
    fn rest_listener(&mut self, slot: u32) {
        if let Some(listener) = self.listeners.at_mut(slot) {
            if !std::mem::replace(&mut listener.rests, true) {
                self.resting += 1;
                self.poller.rest_listener(listener.fd.as_fd());
            }
        }
    }

    fn wake_listeners(&mut self) {
        if self.resting == 0 || !self.engine.may_accept() {
            return;
        }
        for slot in 0..self.listeners.slots() {
            if let Some(listener) = self.listeners.at_mut(slot) {
                if !listener.rests {
                    continue;
                }
                if self.poller.add_listener(listener.fd.as_fd(), Token::Listener(slot)).is_ok() {
                    listener.rests = false;
                    self.resting -= 1;
                } else {
                    self.rest_until = Some(self.engine.now() + ACCEPT_PAUSE);
                }
            }
        }
    }

    // ---- writing -------------------------------------------------------------------------------------------------------

    fn flush(&mut self) {
        while let Some(connection) = self.engine.next_dirty() {
            self.write(connection);
            self.tell_wants(connection);
        }
    }

    fn write(&mut self, connection: u32) {
        let mut turn = 0;
        loop {
            let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
            if socket.blocked {
                break;
            }
            let fd = socket.fd.as_fd();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (result, offered) = match self.engine.front(connection, &mut slices) {
                Front::Nothing => break,
                Front::Bytes(n, file_follows) => {
                    let slices = &slices[..n];
                    let offered = slices.iter().map(|slice| slice.len()).sum::<usize>();
                    (socket::transmit(fd, slices, file_follows), offered)
                }
                Front::File { left: 0, .. } => (Ok(0), 0),
                Front::File { file, offset, left } => {
                    let n = left.min(WRITE_TURN) as usize;
                    match socket::transmit_file(fd, file, offset, n, &mut self.scratch) {
                        // sendfile gives what one call can: only 0 and EAGAIN tell.
                        Ok(0) => {
                            self.engine.file_failed(connection);
                            continue;
                        }
                        result => (result, 0),
                    }
                }
            };
            match result {
                Ok(n) => {
                    socket.blocked = n < offered;
                    if self.engine.sent(connection, n) {
                        break;
                    }
                    turn += n as u64;
                    if turn >= WRITE_TURN && !self.sockets[connection as usize].as_ref().is_some_and(|s| s.blocked) {
                        self.engine.make_ready(connection);
                        break;
                    }
                }
                Err(Errno::AGAIN) => socket.blocked = true,
                Err(errno) if errno == Errno::IO || errno == Errno::INVAL => {
                    // The file's fault, or nobody's that more calls could help.
                    self.engine.file_failed(connection);
                }
                Err(_) => return self.lose(connection),
            }
        }
        self.obey(connection);
    }

    /// Carries out what the engine wants done with the connection itself.
    fn obey(&mut self, connection: u32) {
        let verdict = self.engine.verdict(connection);
        if verdict == Verdict::Stay {
            return;
        }
        let Some(Some(socket)) = self.sockets.get(connection as usize) else { return };
        match verdict {
            Verdict::Stay => {}
            Verdict::Shutdown => {
                socket::shut_down_sending(socket.fd.as_fd());
                self.engine.make_ready(connection);
            }
            Verdict::Close => self.forget(connection, End::Peer),
            Verdict::Reset => {
                socket::reset_on_close(socket.fd.as_fd());
                self.forget(connection, End::Peer);
            }
        }
    }

    /// The connection failed.
    fn lose(&mut self, connection: u32) {
        self.forget(connection, End::Peer);
    }

    fn forget(&mut self, connection: u32, end: End) {
        self.engine.remove(connection, end);
        if let Some(socket) = self.sockets.get_mut(connection as usize).and_then(Option::take) {
            self.poller.close(socket.fd);
        }
        self.rest_until = None;
        self.wake_listeners();
    }

    /// Tells a host that watches each socket what this one waits for.
    fn tell_wants(&mut self, connection: u32) {
        if matches!(self.poller, Poller::Queue(_)) {
            return;
        }
        let read = self.engine.wants_input(connection);
        let unsent = self.engine.connection(connection).is_some_and(|c| c.unsent() > 0);
        if let Some(Some(socket)) = self.sockets.get(connection as usize) {
            self.poller.want(socket.fd.as_fd(), read, unsent && socket.blocked);
        }
    }

    // ---- the truth of the fd -----------------------------------------------------------------------------------------------

    /// Whether run or next would do or show something that no socket tells of.
    fn has_work(&self) -> bool {
        self.draining
            || self.left_over
            || self.engine.has_events()
            || self.engine.ready_len() > 0
            || self.engine.is_dirty()
            || !self.accepting.is_empty()
    }

    fn settle(&mut self) {
        self.engine.unpause();
        self.stats.publish(&self.engine.counters());
        self.settle_timer();
        self.settle_truth();
    }

    fn settle_truth(&mut self) {
        let work = self.has_work();
        if work != self.work && self.fd_shown && self.poller.set_work(work).is_ok() {
            self.work = work;
        }
    }

    fn next_timer(&self) -> Option<u64> {
        match (self.engine.next_deadline(), self.rest_until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
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
        self.engine.cut_all(End::Host);
        self.flush();
        for slot in 0..self.listeners.slots() {
            if let Some(mut listener) = self.listeners.remove(slot) {
                listener.remove_file();
            }
        }
    }

    /// The last generation that an id of this driver carries.
    pub fn last_generation(&self) -> u32 {
        self.engine.last_generation().max(self.listeners.last_generation())
    }
}
