//! Owns the way of a request's body, or of a tunnel's bytes, to the host. Rule: at most a window of it is with the host
//! unacknowledged; a body that nobody wants any more is read for the sake of the connection, within bounds.

use crate::http1::Fault;
use crate::PUSH;

use super::connection::*;
use super::event::{End, What};
use super::exchange;
use super::head;
use super::id::Id;
use super::receive::Step;
use super::Engine;

/// So much of a body that nobody wants is read for the sake of the connection.
pub(super) const DROP_ALLOWANCE: u64 = 64 << 10;
/// Bytes of a body in one event at the most.
const PIECE: usize = 64 << 10;
const NO_MEMORY: Fault = Fault { status: 503, text: "no memory" };

impl Engine {
    /// Bytes of a body; true: it is over.
    pub(super) fn take_body(&mut self, connection: u32, data: &[u8], body: &mut BodyIn) -> (Step, bool) {
        if let (true, Mode::Frames(decoder)) = (PUSH, &mut body.mode) {
            return self.take_frames(connection, data, body.exchange, decoder);
        }
        if !matches!(body.mode, Mode::Drop { .. }) {
            let wanted = match &body.mode {
                Mode::Gather(_) => self.exchanges.holds(body.exchange.slot(), body.exchange.generation()),
                _ => self.wants_body(body.exchange),
            };
            if !wanted {
                body.mode = Mode::Drop { allowance: DROP_ALLOWANCE };
            }
        }
        if data.is_empty() {
            return (Step::More(0), false);
        }
        let room = match &mut body.mode {
            // One byte more than may come whole tells that it cannot.
            Mode::Frames(_) => return (Step::More(0), false), // dealt with above
            Mode::Gather(head) => self.settings.buffer_body + 1 - head.body().len().min(self.settings.buffer_body),
            Mode::Drop { allowance: 0 } => {
                self.stop(connection);
                return (Step::Took(data.len()), true);
            }
            Mode::Drop { allowance } => *allowance as usize,
            Mode::Stream { unacknowledged } => {
                let room = self.settings.body_window.saturating_sub(*unacknowledged);
                if room == 0 {
                    if let Some(c) = self.connections.at_mut(connection) {
                        c.flags |= WAITS;
                    }
                    return (Step::Wait(0), false);
                }
                if self.events.is_full() {
                    self.make_ready(connection);
                    return (Step::Wait(0), false);
                }
                let undelivered = self
                    .exchanges
                    .get_mut(body.exchange.slot(), body.exchange.generation())
                    .is_some_and(|exchange| !exchange.is(exchange::DELIVERED));
                if undelivered && self.events.has_parked() {
                    // The host wants no requests now: the body waits with its request.
                    if let Some(c) = self.connections.at_mut(connection) {
                        c.flags |= WAITS;
                    }
                    return (Step::Wait(0), false);
                }
                (room as usize).min(PIECE)
            }
        };
        let (consumed, piece, done) = match &mut body.framing {
            Coding::Raw => {
                let n = data.len().min(room);
                (n, 0..n, false)
            }
            Coding::Length(left) => {
                let n = (data.len().min(room) as u64).min(*left) as usize;
                *left -= n as u64;
                (n, 0..n, *left == 0)
            }
            Coding::Chunked(decoder) => match decoder.decode(data, room) {
                Ok(decoded) => (decoded.consumed, decoded.data, decoded.done),
                Err(fault) => {
                    self.fail_body(connection, body, fault, End::Protocol);
                    return (Step::Took(data.len()), true);
                }
            },
        };
        body.total += piece.len() as u64;
        if body.total > self.settings.max_body && !matches!(body.framing, Coding::Raw) {
            let fault = Fault { status: 413, text: "the body is larger than the limit" };
            self.fail_body(connection, body, fault, End::Limit);
            return (Step::Took(data.len()), true);
        }
        let piece = &data[piece];
        match &mut body.mode {
            Mode::Frames(_) => {}
            Mode::Drop { allowance } => *allowance -= (piece.len() as u64).min(*allowance),
            Mode::Stream { unacknowledged } => {
                *unacknowledged += piece.len() as u64;
                if (!piece.is_empty() || done) && !self.push_body(body.exchange, piece, !done) {
                    self.fail_body(connection, body, NO_MEMORY, End::Limit);
                    return (Step::Took(data.len()), true);
                }
            }
            Mode::Gather(head) => {
                if head.bytes.try_reserve(piece.len()).is_err() {
                    self.fail_body(connection, body, NO_MEMORY, End::Limit);
                    return (Step::Took(data.len()), true);
                }
                head.bytes.extend_from_slice(piece);
                if head.body().len() > self.settings.buffer_body {
                    self.start_streaming(body, !done);
                } else if done {
                    let head = std::mem::take(head);
                    self.hand_over(head);
                }
            }
        }
        if !done {
            let step = if consumed == 0 { Step::More(0) } else { Step::Took(consumed) };
            return (step, false);
        }
        if !body.keep_alive {
            self.stop(connection);
        }
        let tunnel = self
            .exchanges
            .get_mut(body.exchange.slot(), body.exchange.generation())
            .is_some_and(|exchange| exchange.is(exchange::TUNNEL));
        if tunnel {
            body.framing = Coding::Raw;
            return (Step::Took(consumed), false);
        }
        (Step::Took(consumed), true)
    }

    /// Whether the host still takes this body.
    fn wants_body(&mut self, id: Id) -> bool {
        let delivered = match self.exchanges.get_mut(id.slot(), id.generation()) {
            None => return false,
            Some(exchange) if exchange.is(exchange::ABORTED | exchange::SETTLED) => return false,
            Some(exchange) => exchange.is(exchange::DELIVERED),
        };
        !delivered || !self.leases.is_over(id.slot())
    }

    /// False: there is no memory for it. It needs none for an empty piece.
    pub(super) fn push_body(&mut self, id: Id, piece: &[u8], more: bool) -> bool {
        if let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) {
            exchange.flags &= !exchange::EXPECT;
        }
        if let Some((data, open)) = self.events.last_body(id) {
            // Small pieces, such as those of small chunks, come to the host together.
            if data.len() + piece.len() <= PIECE {
                if data.try_reserve(piece.len()).is_err() {
                    return false;
                }
                data.extend_from_slice(piece);
                *open = more;
                self.counters.memory += piece.len() as u64;
                return true;
            }
        }
        let mut data = self.pool.buffer();
        if data.try_reserve(piece.len()).is_err() {
            return false;
        }
        data.extend_from_slice(piece);
        self.counters.memory += piece.len() as u64;
        self.events.push(id, What::Body { data, more });
        true
    }

    /// A gathered body became too large to come whole: it comes in pieces from here.
    fn start_streaming(&mut self, body: &mut BodyIn, more: bool) {
        let mode = std::mem::replace(&mut body.mode, Mode::Stream { unacknowledged: 0 });
        let Mode::Gather(mut head) = mode else { return };
        let piece = head.bytes.split_off(head.body as usize);
        head.flags |= head::BODY_FOLLOWS;
        self.set_exchange_flag(body.exchange, exchange::BODY_FOLLOWS);
        self.hand_over(head);
        body.mode = Mode::Stream { unacknowledged: piece.len() as u64 };
        self.counters.memory += piece.len() as u64;
        self.events.push(body.exchange, What::Body { data: piece, more });
    }

    pub(super) fn fail_body(&mut self, connection: u32, body: &mut BodyIn, fault: Fault, end: End) {
        if let Mode::Gather(head) = std::mem::replace(&mut body.mode, Mode::Drop { allowance: 0 }) {
            self.pool.give_head(head);
        }
        self.fail(connection, body.exchange, fault, end);
    }

    /// The rest of the body is not read: nobody knows whether it comes. The connection ends with the answer.
    pub(super) fn forget_body(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            c.flags |= STOPPED;
            if let Some(input) = c.input.take() {
                self.pool.give_input(input);
            }
        }
        self.recharge(connection);
    }

    /// `n` bytes of this body are dealt with.
    pub fn body_ack(&mut self, id: Id, n: u64) {
        let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) else { return };
        let connection = exchange.connection;
        let Some(c) = self.connections.at_mut(connection) else { return };
        let Some(body) = c.input.as_mut().and_then(|input| input.body.as_mut()) else { return };
        if body.exchange != id {
            return;
        }
        if let Mode::Stream { unacknowledged } = &mut body.mode {
            *unacknowledged = unacknowledged.saturating_sub(n);
            if c.is(WAITS) {
                // The peer's time begins again: what waited was the library.
                if let Some(input) = c.input.as_mut() {
                    input.since = self.now;
                }
                self.wake_connection(connection);
            }
        }
    }

    /// From here on the connection carries raw bytes.
    pub(super) fn open_tunnel(&mut self, connection: u32, id: Id) {
        let now = self.now;
        let Some(c) = self.connections.at_mut(connection) else { return };
        let eof_told = c.is(EOF_TOLD);
        c.flags &= !(IN_HEAD | STOPPED | HOLDS);
        let mut input = c.input.take().unwrap_or_else(|| self.pool.input());
        if input.body.is_none() {
            input.body = Some(BodyIn {
                exchange: id,
                framing: Coding::Raw,
                mode: Mode::Stream { unacknowledged: 0 },
                total: 0,
                keep_alive: false,
            });
        }
        input.since = now;
        if eof_told {
            // The peer said before that it sends nothing.
            input.body = None;
            self.push_body(id, b"", false);
        }
        if let Some(c) = self.connections.at_mut(connection) {
            c.input = Some(input);
        }
        self.wake_connection(connection);
    }
}
