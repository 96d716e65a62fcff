//! Owns the order of answers on a connection and the way of bytes to the driver. Rule: answers go out in the order of
//! their requests; an exchange ends once, and everything that was lent to it comes back before it ends.

use std::io::IoSlice;

use crate::http1::response::{Length, Persistence, ResponseHead};
use crate::http1::Fault;

use super::connection::*;
use super::event::{self, End, What};
use super::exchange::{self, Exchange};
use super::id::{Id, Kind};
use super::output::{Front, Output};
use super::pool::Pool;
use super::slab::Slab;
use super::spare::Spare;
use super::stats::Counters;
use super::{Engine, Verdict};
use crate::ws::code;
use crate::PUSH;

/// The parts of the engine that an output is found with.
pub(super) type Parts<'a> = (&'a mut Slab<Connection>, &'a mut Slab<Exchange>, &'a mut Pool, &'a mut Counters);

/// [`Engine::with_output`] for callers that hold other parts of the engine.
#[inline]
pub(super) fn outlet(
    (connections, exchanges, pool, counters): Parts<'_>,
    now: u64,
    slot: u32,
    append: impl FnOnce(&mut Output, &mut Spare, &mut Exchange),
) {
    let Some(exchange) = exchanges.at_mut(slot) else { return };
    let Some(c) = connections.at_mut(exchange.connection) else { return };
    if c.first == slot {
        let output = c.output.get_or_insert_with(|| pool.output());
        if output.is_empty() {
            output.progress = now;
        }
        if !exchange.is(exchange::IN_TURN) {
            exchange.flags |= exchange::IN_TURN;
            exchange.start = output.end();
            if let Some(mut pending) = exchange.pending.take() {
                c.pending -= pending.len();
                if let Some(input) = c.input.as_mut() {
                    input.since = now; // a 100-continue may have waited in it
                }
                output.append(&mut pending);
                pool.give_output(pending);
                counters.memory -= std::mem::take(&mut exchange.charge) as u64;
            }
        }
        append(output, &mut pool.buffers, exchange);
    } else {
        let mut pending = exchange.pending.take().unwrap_or_else(|| pool.output());
        let before = pending.len();
        append(&mut pending, &mut pool.buffers, exchange);
        c.pending = c.pending + pending.len() - before;
        let charge = pending.memory() as u32;
        counters.memory = counters.memory + charge as u64 - exchange.charge as u64;
        exchange.charge = charge;
        exchange.pending = Some(pending);
    }
}

impl Engine {
    // ---- the pipeline --------------------------------------------------------------------------------------------------

    /// Makes an exchange at the end of a connection's pipeline.
    pub(super) fn enqueue(&mut self, connection: u32, flags: u32, head_size: u32) -> Option<Id> {
        if !self.limbo.is_empty() {
            let (leases, exchanges) = (&self.leases, &mut self.exchanges);
            self.limbo.retain(|slot| {
                let idle = leases.idle(*slot);
                if idle {
                    exchanges.reuse(*slot);
                }
                !idle
            });
        }
        let tag = self.tag.number;
        let slot = self.exchanges.reserve()?;
        let id = Id::new(tag, Kind::Request, slot, self.exchanges.generation(slot));
        self.exchanges.fill(slot, || Exchange::new(id, connection, flags, head_size));
        let c = self.connections.at_mut(connection)?;
        c.length += 1;
        let last = std::mem::replace(&mut c.last, slot);
        if last == NONE {
            c.first = slot;
        } else if let Some(last) = self.exchanges.at_mut(last) {
            last.next = slot;
        }
        Some(id)
    }

    /// Gives the output that an exchange's bytes go to now: the connection's when it is its turn.
    #[inline]
    pub(super) fn with_output(&mut self, slot: u32, append: impl FnOnce(&mut Output, &mut Spare, &mut Exchange)) {
        let Engine { connections, exchanges, pool, counters, now, .. } = self;
        outlet((connections, exchanges, pool, counters), *now, slot, append);
    }

    /// Moves on to the next exchange as long as the one in turn is complete.
    pub(super) fn pump(&mut self, connection: u32) {
        loop {
            let Some(c) = self.connections.at_mut(connection) else { return };
            let slot = c.first;
            if slot == NONE {
                break;
            }
            let Some(exchange) = self.exchanges.at(slot) else { break };
            if exchange.pending.is_some() {
                self.with_output(slot, |_, _, _| {});
            }
            let Some(exchange) = self.exchanges.at_mut(slot) else { break };
            if !exchange.is(exchange::ENDED) {
                break;
            }
            let Some(c) = self.connections.at_mut(connection) else { return };
            c.first = exchange.next;
            c.length -= 1;
            if c.first == NONE {
                c.last = NONE;
            }
            let close = exchange.is(exchange::CLOSE);
            let cause = if exchange.is(exchange::ABORTED) { exchange.end } else { End::Host };
            let told = !exchange.is(exchange::HIDDEN | exchange::UNSHOWN) && self.settings.wants(event::DONE);
            if told || exchange.is(exchange::LENT) {
                match c.output.as_mut() {
                    Some(output) if !output.is_empty() => output.mark(slot),
                    _ => self.finish(slot, End::Ok),
                }
            } else {
                self.finish(slot, End::Ok);
            }
            if close {
                self.abort_pipeline(connection, cause);
                if let Some(c) = self.connections.at_mut(connection) {
                    c.flags |= STOPPED;
                    if let Some(input) = c.input.take() {
                        self.pool.give_input(input);
                    }
                }
            }
        }
        self.make_dirty(connection);
    }

    /// What is left to do when nothing is going on: end a stopped connection, put away the buffers of an idle one.
    pub(super) fn rest(&mut self, connection: u32) {
        self.recharge(connection);
        let Some(c) = self.connections.at_mut(connection) else { return };
        if c.first == NONE {
            if c.is(STOPPED) && !c.is(CLOSING | CUT) && !c.in_body() {
                c.flags |= CLOSING;
                self.make_dirty(connection);
            } else if let Some(output) = c.output.take() {
                if output.is_empty() {
                    self.pool.give_output(output);
                    c.since = self.now;
                } else {
                    c.output = Some(output);
                }
            }
        } else if c.output.as_ref().is_some_and(|output| output.is_empty()) {
            // A stream between two pieces of it keeps no buffer either; it begins a new one at its beginning.
            if let Some(exchange) = self.exchanges.at_mut(c.first).filter(|exchange| exchange.is(exchange::BEGUN)) {
                exchange.start = 0;
                if let Some(output) = c.output.take() {
                    self.pool.give_output(output);
                }
            }
        }
        self.schedule(connection);
    }

    /// Something that this connection waited for has happened.
    pub(super) fn wake_connection(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            if c.is(WAITS) {
                c.flags &= !WAITS;
                if let Some(input) = c.input.as_mut() {
                    input.since = self.now; // it was not read while it waited: its peer's time begins again
                }
                self.make_ready(connection);
            }
        }
    }

    // ---- the library's own answers ---------------------------------------------------------------------------------------

    pub(super) fn send_continue(&mut self, id: Id) {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        if !self.exchanges.holds(id.slot(), id.generation()) {
            return;
        }
        self.with_output(id.slot(), |output, spare, exchange| {
            exchange.flags &= !exchange::EXPECT;
            output.push(CONTINUE, spare);
        });
        if let Some(exchange) = self.exchanges.at(id.slot()) {
            let (connection, now) = (exchange.connection, self.now);
            if let Some(input) = self.connections.at_mut(connection).and_then(|c| c.input.as_mut()) {
                input.since = now;
            }
            self.recharge(connection);
            self.schedule(connection);
            self.make_dirty(connection);
        }
    }

    /// The host has seen all that was read; 100-continue for what was delivered and neither settled nor begun.
    pub fn end_of_drain(&mut self) {
        self.admitted = 0;
        self.ready.append(&mut self.withheld);
        while let Some(id) = self.expecting.pop() {
            let manual = self.settings.manual_continue;
            let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) else { continue };
            let open =
                exchange.is(exchange::EXPECT) && !exchange.is(exchange::BEGUN | exchange::SETTLED | exchange::ABORTED);
            if open && !manual && !self.leases.is_settled(id.slot()) {
                self.send_continue(id);
            }
        }
    }

    /// Writes a whole short answer of the library for an exchange; the connection ends with it.
    pub(super) fn answer_fault(&mut self, slot: u32, fault: Fault) {
        let date = self.date;
        let server = std::mem::take(&mut self.settings.server);
        let mut frame = std::mem::take(&mut self.frame);
        let text = format!("{} {}\n", fault.status, fault.text);
        self.with_output(slot, |output, spare, exchange| {
            let bodiless = exchange.is(exchange::HEAD_METHOD);
            let tail = output.tail(spare);
            let before = tail.len();
            frame.append_head(
                tail,
                &ResponseHead {
                    status: fault.status,
                    lines: b"",
                    date: Some(&date),
                    server: (!server.is_empty()).then_some(&server),
                    content_type: Some(b"text/plain; charset=utf-8"),
                    length: Length::Exact(text.len() as u64),
                    persistence: Persistence::Close,
                },
            );
            if !bodiless {
                tail.extend_from_slice(text.as_bytes());
            }
            let n = tail.len() - before;
            output.appended(n);
            exchange.flags |= exchange::ENDED | exchange::CLOSE;
        });
        self.settings.server = server;
        self.frame = frame;
        self.counters.refused += 1;
    }

    /// Answers bytes that are no request, after the answers to what came before; the connection ends with it.
    pub fn refuse(&mut self, connection: u32, fault: Fault) {
        let Some(id) = self.enqueue(connection, exchange::HIDDEN, 0) else {
            return self.cut(connection, End::Limit);
        };
        if let Some(c) = self.connections.at_mut(connection) {
            c.flags |= STOPPED;
            c.flags &= !IN_HEAD;
        }
        self.answer_fault(id.slot(), fault);
        self.pump(connection);
    }

    /// A request that cannot go on: its body is broken, too late or too large, or its answer is.
    pub(super) fn fail(&mut self, connection: u32, id: Id, fault: Fault, end: End) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        c.flags |= STOPPED;
        let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) else {
            return self.rest(connection); // answered and sent before the body ended
        };
        if exchange.is(exchange::ENDED) {
            exchange.flags |= exchange::CLOSE;
            return self.rest(connection);
        }
        if exchange.is(exchange::BEGUN) && exchange.is(exchange::IN_TURN) {
            return self.cut(connection, end);
        }
        if !exchange.is(exchange::ABORTED | exchange::SETTLED) {
            c.open -= 1;
        }
        c.flags &= !HOLDS;
        if PUSH {
            self.unseat(id.slot());
        }
        self.take_back(id.slot());
        self.abandon(id.slot(), end);
        self.answer_fault(id.slot(), fault);
        self.pump(connection);
    }

    /// What was begun and has not gone out is as if it had not been said.
    pub(super) fn take_back(&mut self, slot: u32) {
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        if !exchange.is(exchange::BEGUN) {
            return;
        }
        exchange.flags &= !(exchange::BEGUN | exchange::CHUNKED | exchange::BODILESS | exchange::TUNNEL);
        (exchange.given, exchange.unsent, exchange.length) = (0, 0, None);
        self.counters.memory -= std::mem::take(&mut exchange.charge) as u64;
        if let (Some(pending), Some(c)) = (exchange.pending.take(), self.connections.at_mut(exchange.connection)) {
            c.pending -= pending.len();
        }
    }

    /// The host cannot answer this exchange any more, but still has to settle it if it has it.
    fn abandon(&mut self, slot: u32, end: End) {
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        exchange.end = end;
        if !exchange.is(exchange::DELIVERED) {
            // The host never hears of it: the request is skipped when its turn to be delivered comes.
            exchange.flags |= exchange::HIDDEN;
            return;
        }
        exchange.flags |= exchange::ABORTED;
        self.counters.aborted += 1;
        let id = exchange.id;
        let served = exchange.is(exchange::SERVED);
        if self.leases.mark_gone(slot) || served {
            self.events.push(id, What::Aborted(end));
        }
    }

    // ---- ends --------------------------------------------------------------------------------------------------------------

    /// No further request; the connection ends when its answers are sent.
    pub fn stop(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            c.flags |= STOPPED;
        }
        self.rest(connection);
    }

    /// The connection is through with an exchange. If the host is too (or never had it): DONE, and its slot is free.
    pub(super) fn finish(&mut self, slot: u32, end: End) {
        if PUSH && self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::SUBSCRIBED)) {
            self.unseat(slot);
        }
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        exchange.connection = NONE;
        exchange.next = NONE;
        let delivered = exchange.is(exchange::DELIVERED);
        if delivered && !exchange.is(exchange::SETTLED) {
            return;
        }
        let end = if exchange.is(exchange::ABORTED) { exchange.end } else { end };
        if exchange.is(exchange::SOCKET) {
            let closed = match exchange.closed {
                _ if exchange.is(exchange::UNSHOWN) => 0, // for the mount: the host has never heard of it
                0 => code::ABNORMAL,
                closed => closed,
            };
            let id = exchange.id;
            let user = self.leases.user(slot);
            self.leases.end_second(slot);
            self.events.push_for(id, user, What::Closed(closed));
        } else if delivered && self.settings.wants(event::DONE) && !exchange.is(exchange::UNSHOWN) {
            let len = exchange.given - exchange.unsent;
            let user = self.leases.user(slot);
            self.events.push_for(exchange.id, user, What::Done { code: end, len });
        }
        let free = !delivered || self.leases.close(slot);
        self.exchanges.clear(slot, free);
        if !free {
            self.limbo.push(slot);
        }
    }

    /// The exchange loses its connection.
    fn abort_exchange(&mut self, slot: u32, end: End) {
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        exchange.connection = NONE;
        exchange.next = NONE;
        self.counters.memory -= std::mem::take(&mut exchange.charge) as u64;
        if let Some(mut pending) = exchange.pending.take() {
            exchange.unsent = exchange.given;
            pending.clear(&mut self.released);
            self.give_back();
        }
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        if exchange.is(exchange::SETTLED) || !exchange.is(exchange::DELIVERED) {
            self.finish(slot, end);
        } else if !exchange.is(exchange::ABORTED) {
            self.abandon(slot, end);
        }
    }

    /// All that is in the pipeline of a connection cannot be answered there.
    fn abort_pipeline(&mut self, connection: u32, end: End) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        let mut at = std::mem::replace(&mut c.first, NONE);
        c.last = NONE;
        (c.open, c.length, c.pending) = (0, 0, 0);
        while at != NONE {
            let next = self.exchanges.at(at).map_or(NONE, |exchange| exchange.next);
            self.abort_exchange(at, end);
            at = next;
        }
    }

    /// Ends a connection at once, with everything on it. The driver learns it by the verdict.
    pub fn cut(&mut self, connection: u32, end: End) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        if c.is(CUT) {
            return;
        }
        if c.first == NONE && c.unsent() == 0 {
            c.flags |= QUIET;
        }
        c.outside = 0;
        c.flags |= CUT | STOPPED;
        c.flags &= !(WAITS | PAUSED | STARVED);
        if let Some(mut output) = c.output.take() {
            let marked = output.marked();
            output.clear(&mut self.released);
            self.give_back();
            for (slot, missing) in marked {
                if let Some(exchange) = self.exchanges.at_mut(slot) {
                    exchange.unsent = exchange.given.min(missing);
                }
                self.finish(slot, end);
            }
        }
        self.abort_pipeline(connection, end);
        if let Some(c) = self.connections.at_mut(connection) {
            if let Some(mut input) = c.input.take() {
                if let Some(BodyIn { mode: Mode::Gather(head), .. }) = input.body.take() {
                    self.pool.give_head(head);
                }
                self.pool.give_input(input);
            }
        }
        self.recharge(connection);
        self.make_dirty(connection);
    }

    /// Tells the host which lent buffers came back.
    fn give_back(&mut self) {
        for i in 0..self.released.len() {
            let released = self.released[i];
            let id = self.exchanges.at(released.slot).map_or(Id::NONE, |exchange| exchange.id);
            let user = self.leases.user(released.slot);
            self.events.push_for(id, user, What::Released { cookie: released.cookie });
        }
        self.released.clear();
    }

    // ---- the driver's side ---------------------------------------------------------------------------------------------------

    /// What is to be sent next.
    pub fn front<'a>(&'a self, connection: u32, slices: &mut [IoSlice<'a>]) -> Front<'a> {
        match self.connections.at(connection).and_then(|c| c.output.as_ref()) {
            Some(output) => output.front(slices),
            None => Front::Nothing,
        }
    }

    /// `n` bytes of the front were taken by the kernel. True: nothing is left.
    pub fn sent(&mut self, connection: u32, n: usize) -> bool {
        self.counters.bytes_out += n as u64;
        let Some(c) = self.connections.at_mut(connection) else { return true };
        let Some(output) = c.output.as_mut() else { return true };
        output.progress = self.now;
        output.advance(n, &mut self.released, &mut self.pool.buffers);
        let (sent, end) = (output.sent_so_far(), output.end());
        if !self.released.is_empty() {
            self.give_back();
        }
        while let Some(slot) =
            self.connections.at_mut(connection).and_then(|c| c.output.as_mut()).and_then(|output| output.passed())
        {
            if let Some(exchange) = self.exchanges.at_mut(slot) {
                exchange.unsent = 0;
            }
            self.finish(slot, End::Ok);
        }
        let Some(c) = self.connections.at_mut(connection) else { return true };
        let (first, waits) = (c.first, c.is(WAITS));
        if let Some(exchange) = self.exchanges.at_mut(first) {
            if exchange.is(exchange::IN_TURN) && exchange.unsent > 0 {
                let unsent = exchange.unsent.min(end - sent.max(exchange.start));
                let drained = exchange.unsent - unsent;
                exchange.unsent = unsent;
                let id = exchange.id;
                if drained > 0
                    && exchange.is(exchange::DELIVERED)
                    && !exchange.is(exchange::ABORTED)
                    && (!exchange.is(exchange::SETTLED) || exchange.is(exchange::SOCKET))
                    && self.leases.drained(first, drained, self.settings.low_water)
                {
                    self.events.push(id, What::Writable);
                }
            }
        }
        if waits {
            self.wake_connection(connection);
        }
        sent == end
    }

    /// The file at the front gave fewer bytes than it had: the answer cannot be completed.
    pub fn file_failed(&mut self, connection: u32) {
        self.cut(connection, End::Host);
    }

    /// What is to happen to the connection now that it was written to, or that it is cut. Every dirty connection comes
    /// here, so this is where a connection that has nothing left to do comes to rest.
    pub fn verdict(&mut self, connection: u32) -> Verdict {
        self.rest(connection);
        let now = self.now;
        let Some(c) = self.connections.at_mut(connection) else { return Verdict::Stay };
        if c.is(CUT) {
            return if c.is(QUIET) { Verdict::Close } else { Verdict::Reset };
        }
        if !c.is(CLOSING) || c.unsent() > 0 {
            return Verdict::Stay;
        }
        if c.is(EOF) {
            return Verdict::Close;
        }
        if c.is(LINGERS) {
            return Verdict::Stay;
        }
        c.flags |= LINGERS;
        c.since = now;
        self.schedule(connection);
        Verdict::Shutdown
    }

    /// The driver has closed the connection, or lost it: everything on it ends.
    pub fn remove(&mut self, connection: u32, end: End) {
        if self.connections.at(connection).is_none() {
            return;
        }
        self.cut(connection, end);
        self.wheel.cancel(&mut self.connections, connection);
        let id = self.connection_id(connection);
        if self.connections.remove(connection).is_none() {
            return;
        }
        if self.settings.wants(event::CONNECTION) {
            self.events.push(id, What::Connection(false));
        }
        self.unpause();
        self.check_drained();
    }
}
