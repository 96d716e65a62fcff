//! Owns the way of connections into the driver: listeners, accept, adopted sockets. Rule: accept trouble takes the
//! listener out until it may be over; nothing is accepted that the limits have no room for.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{acceptfrom_with, getpeername, sockopt, SocketFlags};

use super::address::{self, Address};
use super::driver::{Driver, Socket};
use super::listener::{system, Listener, Manner};
use super::poller::Token;
use super::secure::{Certificates, Secure};
use super::socket;
use crate::engine::event::End;
use crate::engine::id::{Id, Kind};
use crate::engine::peer::Peer;
use crate::engine::Error;

const ACCEPTS: usize = 64;
/// Connections accepted in a run that was busy with handshakes, with TLS and without: the others are not to wait for both.
const ACCEPTS_BESIDE_HANDSHAKES: usize = 8;
/// Connections that may wait for their turn, or for a step of their handshake, while others are accepted: more wait in the
/// kernel's queue, which slows down who connects. Whoever comes gets a share of the turns all the same.
const MAY_WAIT: usize = 256;
const TURNS_FOR_A_NEWCOMER: u32 = 4;
/// How long a listener rests for want of fds.
const ACCEPT_PAUSE: u64 = 100;

impl Driver {
    pub fn listen(&mut self, address: &Address, manner: Manner, tls: Option<Arc<Certificates>>) -> Result<Id, Error> {
        self.add_listener(Listener::open(address, manner)?.speaking(tls))
    }

    pub(super) fn add_listener(&mut self, listener: Listener) -> Result<Id, Error> {
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

    pub(super) fn listener_id(&self, slot: u32) -> Id {
        Id::new(self.tag.number, Kind::Listener, slot, self.listeners.generation(slot))
    }

    /// Takes a bound socket, listening or connected. On a fault it is given back.
    pub fn adopt(&mut self, fd: OwnedFd, tls: Option<Arc<Certificates>>) -> Result<Id, (OwnedFd, Error)> {
        let listening = match listens(&fd) {
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
            let Some(slot) = self.listeners.reserve() else { return Err((fd, Error::NoMemory)) };
            self.listeners.fill(slot, || Listener::adopt(fd).speaking(tls));
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
        match self.take_connection(fd, Id::NONE, peer, tls) {
            Ok(connection) => {
                self.settle_truth();
                Ok(self.engine.connection_id(connection))
            }
            Err((fd, errno)) => Err((fd, system("watching the adopted connection", errno))),
        }
    }

    pub(super) fn take_connection(
        &mut self,
        fd: OwnedFd,
        listener: Id,
        peer: Peer,
        tls: Option<Arc<Certificates>>,
    ) -> Result<u32, (OwnedFd, Errno)> {
        let Some(slot) = self.engine.accept(listener, peer, tls.is_some()) else { return Err((fd, Errno::NFILE)) };
        let generation = self.engine.connection_id(slot).generation();
        if let Err(errno) = self.poller.add(fd.as_fd(), Token::Connection { slot, generation }) {
            self.engine.remove(slot, End::Host);
            return Err((fd, errno));
        }
        let index = slot as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        let secure = tls.map(Secure::new);
        self.sockets[index] =
            Some(Socket { fd, generation, readable: false, blocked: false, end: false, dead: false, secure });
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

    /// As many as can be served before long, behind so many turns of the others. `gone`: how many connections that waited for
    /// a step of their handshake were gone, if any waited.
    pub(super) fn accept_some(&mut self, turns: u32, budget: u32, gone: Option<usize>) {
        // For each that is gone another may come: more would only wait here instead of in the kernel's queue. Who comes
        // without TLS does not wait for those who come with it.
        let most = (budget - turns).max(1) as usize;
        let [plain, secure] =
            gone.map_or([most; 2], |gone| [ACCEPTS_BESIDE_HANDSHAKES, ACCEPTS_BESIDE_HANDSHAKES + gone]);
        let newcomers = (turns / TURNS_FOR_A_NEWCOMER).max(1) as usize;
        let ready = self.engine.ready_len();
        let plain = plain.min(MAY_WAIT.saturating_sub(ready).max(newcomers));
        // Behind so many handshakes it would only wait here; each run shortens their row.
        let secure = match MAY_WAIT.saturating_sub(self.handshakes.len()) {
            0 => 0,
            room => secure.min(room.saturating_sub(ready).max(newcomers)),
        };
        self.accept(gone.map_or(most, |_| plain + secure), plain, secure);
    }

    /// One from each listener in turn: up to `most`, so many of them without TLS and so many with it.
    fn accept(&mut self, most: usize, plain: usize, secure: usize) {
        if self.rest_until.is_some_and(|until| until <= self.engine.now()) {
            self.rest_until = None;
            self.wake_listeners();
        }
        let (mut left, mut left_of) = (most.min(ACCEPTS), [plain, secure]);
        // So many in a row had to be left for the next run.
        let mut passed = 0;
        while left > 0 && passed < self.accepting.len() {
            let Some(slot) = self.accepting.pop_front() else { break };
            let speaks_tls = self.listeners.at(slot).is_some_and(|listener| listener.tls.is_some());
            let of_its_kind = &mut left_of[usize::from(speaks_tls)];
            if *of_its_kind == 0 {
                self.accepting.push_back(slot);
                passed += 1;
                continue;
            }
            *of_its_kind -= 1;
            if self.accept_one(slot) {
                self.accepting.push_back(slot);
                left -= 1;
                passed = 0;
            }
        }
    }

    pub(super) fn accept_one(&mut self, slot: u32) -> bool {
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
                let tls = listener.tls.clone();
                let id = self.listener_id(slot);
                match self.take_connection(fd, id, address::peer(address), tls) {
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
    pub(super) fn rest_listener(&mut self, slot: u32) {
        if let Some(listener) = self.listeners.at_mut(slot) {
            if !std::mem::replace(&mut listener.rests, true) {
                self.resting += 1;
                self.poller.rest_listener(listener.fd.as_fd());
            }
        }
    }

    pub(super) fn wake_listeners(&mut self) {
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
                    // Somebody may be waiting there, and this run has asked the kernel already.
                    if !self.accepting.contains(&slot) {
                        self.accepting.push_back(slot);
                    }
                } else {
                    self.rest_until = Some(self.engine.now() + ACCEPT_PAUSE);
                }
            }
        }
    }
}

/// Whether a socket listens.
#[cfg(not(target_vendor = "apple"))]
fn listens(fd: &OwnedFd) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(fd)
}

/// Whether a socket listens: here nobody tells, so what is not connected does.
#[cfg(target_vendor = "apple")]
fn listens(fd: &OwnedFd) -> Result<bool, Errno> {
    match getpeername(fd) {
        Ok(_) => Ok(false),
        Err(Errno::NOTCONN | Errno::INVAL) => Ok(true),
        Err(errno) => Err(errno),
    }
}
