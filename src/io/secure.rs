//! Owns the TLS of connections, between their sockets and the engine. Rules: the engine sees plaintext alone, and hears
//! that bytes are sent when the last of their ciphertext is; a run makes a few steps of handshakes at most; tickets go with
//! what is sent next; a stream that ends without close_notify was cut.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::driver::Driver;
use super::socket;
use super::traffic::SLICES;
use crate::engine::event::End;
use crate::engine::id::Id;
use crate::engine::output::Front;
use crate::engine::Error;
use crate::http1::Fault;

#[cfg(not(feature = "tls"))]
use super::no_tls as tls;
#[cfg(feature = "tls")]
use crate::tls;

pub use tls::Certificates;
use tls::{Progress, Session};

/// Steps of handshakes in one run at the most: each costs as much as dozens of requests.
pub(super) const STEPS: u64 = 3;
/// Turns of others for each step but the first.
const TURNS_FOR_A_STEP: u64 = 32;
/// Connections looked at for them: one that has ended meanwhile costs next to nothing.
const LOOKS: usize = 64;
/// Plaintext of one record, and of one system call.
const RECORD: usize = 16 << 10;
const CHUNK: usize = 64 << 10;
/// A byte that is encrypted takes as long as so many that are not.
const DEAR: u64 = 4;
/// The same for a slow reader where memory is scarce, and for everybody where it is used up: what is encrypted and not
/// sent is there twice.
const SHORT_RECORD: usize = 2 << 10;

/// The first byte of a hello (RFC 8446, section 5.1: the content type of its record).
const HANDSHAKE: u8 = 22;
/// For a client that speaks plain HTTP.
const PLAIN: Fault = Fault { status: 400, text: "this port speaks HTTPS: use https:// instead of http://" };

/// The TLS of one connection.
pub(super) struct Secure {
    session: Session,
    /// Ciphertext that the kernel has not taken, from `start`.
    unsent: Vec<u8>,
    start: usize,
    /// Tickets that nobody waits for, to go in front of the next ciphertext: of the first answer if it is given at once.
    tickets: Vec<u8>,
    /// How much plaintext at the engine's front `unsent` carries the end of.
    carries: usize,
    /// Waits for a step of its handshake.
    waits: bool,
    /// Its hello was answered.
    begun: bool,
    failed: bool,
    /// The peer's close_notify came.
    ended: bool,
    /// The sending side is closed when `unsent` is gone.
    closing: bool,
    /// The peer is slower than this answer: no more than a record is encrypted ahead of it.
    slow: bool,
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secure({} unsent)", self.unsent.len() - self.start)
    }
}

impl Secure {
    #[cfg_attr(not(feature = "tls"), allow(unreachable_code))]
    pub(super) fn new(certificates: Arc<Certificates>) -> Box<Secure> {
        Box::new(Secure {
            session: Session::new(certificates),
            unsent: Vec::new(),
            start: 0,
            tickets: Vec::new(),
            carries: 0,
            waits: false,
            begun: false,
            failed: false,
            ended: false,
            closing: false,
            slow: false,
        })
    }

    /// What the engine counts beside its own buffers.
    fn memory(&self) -> usize {
        self.session.kept() + self.unsent.len()
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The most to be read at a time: a step of a handshake is not to bring a body with it.
    pub(super) fn most(&self) -> usize {
        if self.session.is_handshaking() {
            RECORD
        } else {
            usize::MAX
        }
    }

    /// Whether the end of the socket's input is the end that the peer announced, or does not matter any more.
    pub(super) fn ends_well(&self) -> bool {
        self.ended || self.failed
    }

    /// Plaintext to be encrypted at a time.
    fn most_plain(&self, scarce: bool, used_up: bool) -> usize {
        match (scarce, self.slow || used_up) {
            (true, true) => SHORT_RECORD,
            (false, false) => CHUNK,
            _ => RECORD,
        }
    }

    /// Encrypts from the front of what is to be sent: how many bytes of it. Large pieces go from where they lie, small
    /// ones share a record.
    fn encrypt(&mut self, slices: &[IoSlice<'_>], most: usize, scratch: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
        let Some(first) = slices.first() else { return Some(0) };
        let record = RECORD.min(most);
        let plain = if slices.len() == 1 {
            &first[..first.len().min(most)]
        } else if first.len() >= record {
            let whole = first.len().min(most);
            &first[..whole - whole % record]
        } else {
            let mut n = 0;
            for slice in slices {
                let more = slice.len().min(record - n);
                scratch[n..n + more].copy_from_slice(&slice[..more]);
                n += more;
            }
            &scratch[..n]
        };
        self.session.encrypt(plain, out).ok()?;
        Some(plain.len())
    }
}

/// Connections that wait for a step of their handshake, in the order in which they came. Those whose hello was answered have
/// every second step, which is as many as they need: who was let in is soon through, and few are half-open.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    begun: VecDeque<(u32, u32)>,
    fresh: VecDeque<(u32, u32)>,
    /// The next step is that of a hello.
    alternate: bool,
    /// Steps so far.
    made: u64,
}

impl Handshakes {
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.fresh.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len() + self.fresh.len()
    }

    fn push(&mut self, connection: (u32, u32), begun: bool) {
        if begun {
            self.begun.push_back(connection);
        } else {
            self.fresh.push_back(connection);
        }
    }

    fn pop(&mut self) -> Option<(u32, u32)> {
        self.alternate = !self.alternate;
        if self.alternate {
            self.begun.pop_front().or_else(|| self.fresh.pop_front())
        } else {
            self.fresh.pop_front().or_else(|| self.begun.pop_front())
        }
    }
}

/// Connections that said something while their tickets were still here.
pub(super) type Tickets = Vec<(u32, u32)>;

impl Driver {
    fn secure(&mut self, connection: u32) -> Option<&mut Secure> {
        self.sockets.get_mut(connection as usize)?.as_mut()?.secure.as_deref_mut()
    }

    // ---- in --------------------------------------------------------------------------------------------------------------

    /// Whether what there is to read is a step of a handshake, which then waits for its turn.
    pub(super) fn is_handshake(&mut self, connection: u32) -> bool {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return false };
        let Some(secure) = socket.secure.as_deref_mut() else { return false };
        if secure.failed || !secure.session.is_handshaking() {
            return false;
        }
        if !std::mem::replace(&mut secure.waits, true) {
            self.handshakes.push((connection, socket.generation), secure.begun);
        }
        true
    }

    /// Some steps of handshakes: how many connections that waited for one turned out to be gone. `None`: none waited.
    pub(super) fn step_handshakes(&mut self, turns: u64) -> Option<usize> {
        if self.handshakes.is_empty() {
            return None;
        }
        // A run with few turns has few steps: they are not to take all the time of those who talk.
        let (mut left, mut gone) = (STEPS.min(1 + turns / TURNS_FOR_A_STEP), 0);
        for _ in 0..LOOKS {
            if left == 0 {
                break;
            }
            let Some((connection, generation)) = self.handshakes.pop() else { break };
            let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { continue };
            match socket.secure.as_deref_mut() {
                Some(secure) if socket.generation == generation => secure.waits = false,
                _ => continue,
            }
            if socket.dead {
                self.lose(connection);
                gone += 1;
                continue;
            }
            let made = self.handshakes.made;
            if self.engine.admit(connection) {
                self.read(connection);
            }
            self.tell_wants(connection);
            if self.handshakes.made == made && self.secure(connection).is_none() {
                gone += 1;
            } else {
                left -= 1;
            }
        }
        Some(gone)
    }

    /// The first `n` bytes of the scratch buffer came.
    pub(super) fn decrypt(&mut self, connection: u32, n: usize) {
        let Driver { sockets, engine, scratch, cipher, tickets, handshakes, .. } = self;
        let Some(Some(socket)) = sockets.get_mut(connection as usize) else { return };
        let Some(secure) = socket.secure.as_deref_mut() else { return };
        if secure.failed {
            return engine.receive(connection, &scratch[..n]); // which drops it
        }
        let handshaking = secure.session.is_handshaking();
        // Who has ended its side before the answer to its hello will never complete: no arithmetic for that.
        if handshaking && !secure.begun && socket.end && scratch[0] == HANDSHAKE {
            return self.lose(connection);
        }
        handshakes.made += u64::from(handshaking);
        let on_reserve = engine.lives_on_reserve(connection);
        cipher.clear();
        let mut said = false;
        let progress = secure.session.receive(&mut scratch[..n], cipher, &mut |plain| {
            said = true;
            engine.receive(connection, plain);
        });
        let established = handshaking && !secure.session.is_handshaking();
        secure.begun |= !cipher.is_empty();
        if matches!(progress, Ok(Progress::Established)) && secure.session.ends_with_tickets() {
            secure.tickets.append(cipher);
        }
        if said && !secure.tickets.is_empty() {
            tickets.push((connection, socket.generation));
        }
        match progress {
            Ok(Progress::Plain) => {
                socket.secure = None;
                engine.opened(connection);
                return engine.refuse(connection, PLAIN);
            }
            Ok(Progress::Closed) => secure.ended = true,
            Ok(Progress::Going | Progress::Established) => {}
            Err(_) => secure.failed = true,
        }
        // Who has said nothing whole yet is not to keep others from being read.
        let nothing_whole = (handshaking && !established || on_reserve && !said) && secure.session.kept() > 0;
        if !engine.keeps_outside(connection, secure.memory()) && nothing_whole {
            return self.lose(connection);
        }
        let (ended, failed) = (secure.ended, secure.failed);
        if !self.transmit_cipher(connection, 0) {
            return;
        }
        if established {
            self.engine.opened(connection);
        }
        if failed && !handshaking {
            self.engine.cut(connection, End::Protocol);
        } else if failed || ended && handshaking && !established {
            // The alert is to arrive: closed as after an answer.
            self.engine.opened(connection);
            self.engine.stop(connection);
        } else if ended {
            self.engine.end_of_input(connection);
        }
    }

    // ---- out -------------------------------------------------------------------------------------------------------------

    /// [`Driver::write`] for a secure connection.
    pub(super) fn write_secure(&mut self, connection: u32) {
        let mut turn = 0;
        let most = (self.write_turn() / DEAR).max(CHUNK as u64);
        while self.flush_unsent(connection) {
            let Driver { sockets, engine, scratch, cipher, .. } = self;
            let Some(Some(socket)) = sockets.get_mut(connection as usize) else { return };
            let blocked = socket.blocked;
            let Some(secure) = socket.secure.as_deref_mut() else { return };
            if blocked || secure.has_unsent() || secure.failed || secure.session.is_handshaking() {
                return self.obey(connection);
            }
            if turn >= most {
                engine.make_ready(connection);
                return self.obey(connection);
            }
            cipher.clear();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let most_plain = secure.most_plain(engine.is_scarce(), engine.is_used_up());
            let taken = match engine.front(connection, &mut slices) {
                Front::Nothing => {
                    secure.slow = false;
                    return self.obey(connection);
                }
                Front::Bytes(n, _) => secure.encrypt(&slices[..n], most_plain, scratch, cipher),
                Front::File { left: 0, .. } => {
                    engine.sent(connection, 0);
                    continue;
                }
                Front::File { file, offset, left } => {
                    let n = left.min(most_plain as u64) as usize;
                    match rustix::io::pread(file.as_fd(), &mut scratch[..n], offset) {
                        Err(Errno::INTR) => continue,
                        Ok(0) | Err(_) => {
                            engine.file_failed(connection);
                            return self.obey(connection);
                        }
                        Ok(n) => secure.session.encrypt(&scratch[..n], cipher).ok().map(|()| n),
                    }
                }
            };
            let Some(taken) = taken else {
                // The session is used up and has said so to the peer, or there is no memory.
                if self.transmit_cipher(connection, 0) {
                    self.lose(connection);
                }
                return;
            };
            turn += taken as u64;
            self.sent += taken as u64 * DEAR;
            if !self.transmit_cipher(connection, taken) {
                return;
            }
        }
    }

    /// Sends the new ciphertext, which carries so many bytes of the engine's front, behind what is left from before.
    /// False: the connection is lost.
    fn transmit_cipher(&mut self, connection: u32, carries: usize) -> bool {
        let Driver { sockets, engine, cipher, .. } = self;
        let Some(Some(socket)) = sockets.get_mut(connection as usize) else { return false };
        let Some(secure) = socket.secure.as_deref_mut() else { return true };
        if cipher.is_empty() {
            return true;
        }
        if !secure.tickets.is_empty() {
            let tickets = std::mem::take(&mut secure.tickets);
            cipher.extend_from_slice(&tickets);
            cipher.rotate_right(tickets.len());
        }
        let sent = if socket.blocked || secure.has_unsent() {
            0
        } else {
            match socket::transmit(socket.fd.as_fd(), &[IoSlice::new(cipher)], false) {
                Ok(n) => n,
                Err(Errno::AGAIN) => 0,
                Err(_) => {
                    self.lose(connection);
                    return false;
                }
            }
        };
        if sent == cipher.len() {
            if carries > 0 {
                engine.sent(connection, carries);
            }
        } else {
            socket.blocked |= !secure.has_unsent();
            secure.slow = true;
            if secure.unsent.try_reserve(cipher.len() - sent).is_err() {
                self.lose(connection);
                return false;
            }
            secure.unsent.extend_from_slice(&cipher[sent..]);
            engine.keeps_outside(connection, secure.memory());
            secure.carries += carries;
            engine.promised(connection, secure.carries);
        }
        true
    }

    /// Sends the tickets that no answer took along.
    pub(super) fn send_tickets(&mut self) {
        while let Some((connection, generation)) = self.tickets.pop() {
            let Driver { sockets, cipher, .. } = self;
            let Some(Some(socket)) = sockets.get_mut(connection as usize) else { continue };
            let Some(secure) = socket.secure.as_deref_mut() else { continue };
            if socket.generation != generation || secure.tickets.is_empty() {
                continue;
            }
            cipher.clear();
            cipher.extend_from_slice(&std::mem::take(&mut secure.tickets));
            self.transmit_cipher(connection, 0);
            self.tell_wants(connection);
        }
    }

    /// Sends what is left from before. False: the connection is lost.
    fn flush_unsent(&mut self, connection: u32) -> bool {
        let Driver { sockets, engine, .. } = self;
        let Some(Some(socket)) = sockets.get_mut(connection as usize) else { return false };
        let Some(secure) = socket.secure.as_deref_mut() else { return false };
        if socket.blocked || !secure.has_unsent() {
            return true;
        }
        match socket::transmit(socket.fd.as_fd(), &[IoSlice::new(&secure.unsent[secure.start..])], false) {
            Ok(n) if secure.start + n < secure.unsent.len() => {
                secure.start += n;
                socket.blocked = true;
            }
            Ok(_) => {
                secure.unsent = Vec::new();
                secure.start = 0;
                engine.keeps_outside(connection, secure.memory());
                let (carried, closing) = (std::mem::take(&mut secure.carries), secure.closing);
                if closing {
                    socket::shut_down_sending(socket.fd.as_fd());
                }
                if carried > 0 {
                    engine.sent(connection, carried);
                }
                if closing {
                    engine.make_ready(connection);
                }
            }
            Err(Errno::AGAIN) => socket.blocked = true,
            Err(_) => {
                self.lose(connection);
                return false;
            }
        }
        true
    }

    /// Whether there is ciphertext to be sent.
    pub(super) fn has_cipher(&mut self, connection: u32) -> bool {
        self.secure(connection).is_some_and(|secure| secure.has_unsent())
    }

    /// Says close_notify, then closes the sending side.
    pub(super) fn close_sending(&mut self, connection: u32) {
        self.cipher.clear();
        let Driver { sockets, cipher, .. } = self;
        let Some(Some(socket)) = sockets.get_mut(connection as usize) else { return };
        if let Some(secure) = socket.secure.as_deref_mut() {
            secure.session.close(cipher);
        }
        if !self.transmit_cipher(connection, 0) {
            return;
        }
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        match socket.secure.as_deref_mut() {
            Some(secure) if secure.has_unsent() => secure.closing = true,
            _ => socket::shut_down_sending(socket.fd.as_fd()),
        }
        self.engine.make_ready(connection);
    }

    // ---- facts -----------------------------------------------------------------------------------------------------------

    /// What `ask` learns from the TLS of what the id names; nothing where there is none.
    fn ask_session(&mut self, id: Id, ask: impl FnOnce(&Session) -> Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        self.raw_fd(id)?;
        let secure = self.engine.connection_of(id).and_then(|connection| self.secure(connection));
        Ok(secure.and_then(|secure| ask(&secure.session)).unwrap_or_default())
    }

    pub fn tls_server_name(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        self.ask_session(id, |session| session.server_name().map(|name| name.as_bytes().to_vec()))
    }

    pub fn tls_version_and_suite(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        self.ask_session(id, |session| session.version_and_suite().map(String::into_bytes))
    }

    pub fn tls_protocol(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        self.ask_session(id, |session| session.alpn().map(<[u8]>::to_vec))
    }

    pub fn tls_client_certificate(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        self.ask_session(id, |session| session.client_certificate().map(<[u8]>::to_vec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_let_in_goes_on_at_every_second_step() {
        let mut all = Handshakes::default();
        (0..4).for_each(|connection| all.push((connection, 1), false));
        assert_eq!((all.pop(), all.pop()), (Some((0, 1)), Some((1, 1))));
        (10..14).for_each(|connection| all.push((connection, 1), true));
        let order: Vec<u32> = std::iter::from_fn(|| all.pop()).map(|(connection, _)| connection).collect();
        assert_eq!(order, [10, 2, 11, 3, 12, 13]);
        assert!(all.is_empty());
    }
}
