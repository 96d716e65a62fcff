//! Owns the usual answer: whole, short, in turn, on a connection that goes on. Rule: it does in one pass over exchange and
//! connection what [`answer`](super::answer) and [`pipeline`](super::pipeline) do in general, and leaves everything else
//! to them untouched.

use crate::http1::response::{bodiless, Length, Persistence, ResponseHead};

use super::answer::{Answer, Body};
use super::connection::*;
use super::event;
use super::exchange;
use super::id::Id;
use super::output::COPY_LIMIT;
use super::Engine;

impl Engine {
    /// Carries out an answer whose lease was settled, if it is the usual one. False: it is not, and nothing was done.
    #[inline]
    pub(super) fn respond_short(&mut self, id: Id, answer: &Answer<'_>) -> bool {
        let Body::Copy(body) = answer.body else { return false };
        if body.len() > COPY_LIMIT || answer.close || bodiless(answer.status) || self.settings.wants(event::DONE) {
            return false;
        }
        let slot = id.slot();
        let Some(exchange) = self.exchanges.get_mut(slot, id.generation()) else { return false };
        let usual = exchange::DELIVERED | exchange::KEEP_ALIVE;
        if exchange.flags & !exchange::IN_TURN != usual || exchange.pending.is_some() {
            return false;
        }
        let connection = exchange.connection;
        let Some(c) = self.connections.at_mut(connection) else { return false };
        if c.first != slot || c.input.is_some() || c.is(STOPPED | WAITS | HOLDS | CLOSING | LINGERS | CUT) {
            return false;
        }
        // The settle.
        self.counters.held -= 1;
        self.counters.memory -= exchange.head_size as u64;
        self.retired.push(slot);
        c.open -= 1;
        // The answer.
        let output = c.output.get_or_insert_with(|| self.pool.output());
        if output.is_empty() {
            output.progress = self.now;
        }
        let server = &self.settings.server;
        let head = ResponseHead {
            status: answer.status,
            lines: &answer.lines,
            date: (!answer.seen.date).then_some(&self.date),
            server: (!answer.seen.server && !server.is_empty()).then_some(server.as_slice()),
            content_type: answer.content_type,
            length: Length::Exact(body.len() as u64),
            persistence: Persistence::Default,
        };
        let tail = output.tail(&mut self.pool.buffers);
        let before = tail.len();
        self.frame.append_head(tail, &head);
        tail.extend_from_slice(body);
        let n = tail.len() - before;
        output.appended(n);
        // The end of the exchange.
        let next = exchange.next;
        c.first = next;
        c.length -= 1;
        if next == NONE {
            c.last = NONE;
        }
        if !c.is(DIRTY) {
            c.flags |= DIRTY;
            self.dirty.push_back(connection);
        }
        self.exchanges.clear(slot);
        if self.leases.close(slot) {
            self.exchanges.reuse(slot);
        } else {
            self.limbo.push(slot);
        }
        self.unpause();
        if self.exchanges.at(next).is_some_and(|next| next.pending.is_some() || next.is(exchange::ENDED)) {
            self.pump(connection);
        }
        true
    }
}
