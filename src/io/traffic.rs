//! Owns the bytes of connections: whose turn it is, what is read, what is written, how it ends. Rule: a short read has
//! emptied the socket and a short write has filled it; nobody writes more than a turn's worth before the others had theirs.

use std::io::IoSlice;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::driver::{Driver, Socket};
use super::poller::Poller;
use super::socket;
use crate::engine::event::End;
use crate::engine::output::Front;
use crate::engine::Verdict;

pub(super) const SLICES: usize = 16;
/// Bytes written to one connection before the others have their turn.
const WRITE_TURN: u64 = 1 << 20;
/// The same when this much was written since the run began, so that many long answers do not keep the host from its loop.
const SHORT_TURN: u64 = 64 << 10;
const LONG_TURNS: u64 = 4 << 20;

impl Driver {
    /// One connection's turn.
    pub(super) fn turn(&mut self, connection: u32) {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        let (readable, blocked, dead) = (socket.readable, socket.blocked, socket.dead);
        let unsent = self.engine.connection(connection).is_some_and(|c| c.unsent() > 0) || self.has_cipher(connection);
        if !blocked && unsent {
            self.write(connection);
        }
        if self.engine.has_buffered(connection) {
            self.engine.resume(connection);
        }
        if readable && self.engine.events_full() {
            self.engine.make_ready(connection);
        } else if readable && self.is_handshake(connection) {
            // It is asked for when it has its step.
        } else if readable && self.engine.admit(connection) {
            self.read(connection);
        } else if dead && self.engine.connection(connection).is_some() {
            // It is not read now, and what it waits for cannot reach it any more.
            self.lose(connection);
        } else {
            self.engine.schedule(connection);
        }
        self.tell_wants(connection);
    }

    pub(super) fn read(&mut self, connection: u32) {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        let room = socket.secure.as_ref().map_or(usize::MAX, |secure| secure.most()).min(self.scratch.len());
        let room = room.min(self.engine.most_input(connection));
        match socket::receive(socket.fd.as_fd(), &mut self.scratch[..room]) {
            Ok(0) => {
                socket.readable = false;
                if socket.secure.as_ref().is_some_and(|secure| !secure.ends_well()) {
                    return self.lose(connection);
                }
                if socket.dead {
                    self.engine.end_of_input(connection);
                    return self.lose(connection);
                }
                self.engine.end_of_input(connection);
            }
            Ok(n) => {
                // A short read has emptied the socket, unless an end was announced.
                socket.readable = n == room || socket.end;
                let again = socket.readable;
                if socket.secure.is_some() {
                    self.decrypt(connection, n);
                } else {
                    self.engine.receive(connection, &self.scratch[..n]);
                }
                if again {
                    self.engine.make_ready(connection);
                }
            }
            Err(Errno::AGAIN) => {
                socket.readable = false;
                self.engine.schedule(connection);
            }
            Err(_) => self.lose(connection),
        }
    }

    /// Bytes that a connection may be written to at once.
    pub(super) fn write_turn(&self) -> u64 {
        if self.sent < LONG_TURNS {
            WRITE_TURN
        } else {
            SHORT_TURN
        }
    }

    pub(super) fn flush(&mut self) {
        while let Some(connection) = self.engine.next_dirty() {
            self.written += 1;
            self.write(connection);
            self.tell_wants(connection);
        }
    }

    pub(super) fn write(&mut self, connection: u32) {
        if matches!(self.sockets.get(connection as usize), Some(Some(Socket { secure: Some(_), .. }))) {
            return self.write_secure(connection);
        }
        let mut turn = 0;
        let most = self.write_turn();
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
                    let n = left.min(most) as usize;
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
                    self.sent += n as u64;
                    if self.engine.sent(connection, n) {
                        break;
                    }
                    turn += n as u64;
                    if turn >= most && !self.sockets[connection as usize].as_ref().is_some_and(|s| s.blocked) {
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
    pub(super) fn obey(&mut self, connection: u32) {
        let verdict = self.engine.verdict(connection);
        if verdict == Verdict::Stay {
            return;
        }
        let Some(Some(socket)) = self.sockets.get(connection as usize) else { return };
        match verdict {
            Verdict::Stay => {}
            Verdict::Shutdown if socket.secure.is_some() => self.close_sending(connection),
            Verdict::Shutdown => {
                socket::shut_down_sending(socket.fd.as_fd());
                self.engine.make_ready(connection);
            }
            Verdict::Close => {
                if socket.secure.is_some() {
                    self.close_sending(connection);
                }
                self.forget(connection, End::Peer);
            }
            Verdict::Reset => {
                socket::reset_on_close(socket.fd.as_fd());
                self.forget(connection, End::Peer);
            }
        }
    }

    /// The connection failed.
    pub(super) fn lose(&mut self, connection: u32) {
        self.forget(connection, End::Peer);
    }

    pub(super) fn forget(&mut self, connection: u32, end: End) {
        self.engine.remove(connection, end);
        if let Some(socket) = self.sockets.get_mut(connection as usize).and_then(Option::take) {
            self.poller.close(socket.fd);
        }
        self.rest_until = None;
        self.wake_listeners();
    }

    /// Tells a host that watches each socket what this one waits for.
    pub(super) fn tell_wants(&mut self, connection: u32) {
        if matches!(self.poller, Poller::Queue(_)) {
            return;
        }
        let read = self.engine.wants_input(connection);
        let unsent = self.engine.connection(connection).is_some_and(|c| c.unsent() > 0) || self.has_cipher(connection);
        if let Some(Some(socket)) = self.sockets.get(connection as usize) {
            self.poller.want(socket.fd.as_fd(), read, unsent && socket.blocked);
        }
    }
}
