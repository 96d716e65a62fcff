//! Owns the usual answer: whole, short, in turn, on a connection that goes on. Rule: it does in one pass over exchange and
//! connection what [`answer`](super::answer) and [`pipeline`](super::pipeline) do in general, and leaves everything else
//! to them untouched.

use crate::http1::response::{bodiless, Length, Persistence, ResponseHead, Seen};

use super::answer::{Answer, Body};
use super::connection::*;
use super::event;
use super::exchange;
use super::id::{Id, Kind};
use super::output::COPY_LIMIT;
use super::Engine;

/// A whole answer with a body that is copied, after which the connection goes on; see [`Answer`].
#[derive(Debug, Clone, Copy)]
pub struct Short<'a> {
    pub status: u16,
    pub lines: &'a [u8],
    pub seen: Seen,
    pub content_type: Option<&'a [u8]>,
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    #[inline]
    fn short(&self) -> Option<Short<'_>> {
        match self.body {
            Body::Copy(body) if !self.close => {
                let Answer { status, lines, seen, content_type, .. } = self;
                Some(Short { status: *status, lines, seen: *seen, content_type: *content_type, body })
            }
            _ => None,
        }
    }
}

impl Engine {
    /// Carries out an answer whose lease was settled, if it is the usual one. False: it is not, and nothing was done.
    #[inline]
    pub(super) fn respond_short(&mut self, id: Id, answer: &Answer<'_>) -> bool {
        answer.short().is_some_and(|short| self.answer(id, &short, false))
    }

    /// Settles and answers at once, where this is the only thread that has the leases. False: it is not the usual
    /// answer, or the id is over, and nothing was done.
    #[inline]
    pub fn respond_alone(&mut self, id: Id, short: &Short<'_>) -> bool {
        id.tag() == self.tag.number && id.kind() == Kind::Request && self.answer(id, short, true)
    }

    #[inline(always)]
    fn answer(&mut self, id: Id, answer: &Short<'_>, alone: bool) -> bool {
        let body = answer.body;
        if body.len() > COPY_LIMIT || bodiless(answer.status) || self.settings.wants(event::DONE) {
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
        let output = match &mut c.output {
            Some(output) => output,
            none => none.insert(self.pool.output()),
        };
        if output.is_empty() {
            output.progress = self.now;
        }
        let server = &self.settings.server;
        let head = ResponseHead {
            status: answer.status,
            lines: answer.lines,
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
        // What the host has in this state is neither settled nor begun.
        let free = if alone {
            self.leases.close_alone(slot);
            true
        } else {
            self.leases.close(slot)
        };
        self.exchanges.clear(slot, free);
        if !free {
            self.limbo.push(slot);
        }
        self.unpause();
        if self.exchanges.at(next).is_some_and(|next| next.pending.is_some() || next.is(exchange::ENDED)) {
            self.pump(connection);
        }
        true
    }
}
