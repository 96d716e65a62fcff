//! Owns requests that a mount answers, in the host's stead or because the host passed them on. Rule: they are exchanges
//! like all others; what happens to them is told to the mount, and the host hears of what it has seen and nothing else.

use super::answer::Answer;
use super::exchange;
use super::id::Id;
use super::lease::Settled;
use super::Engine;
use crate::MOUNTS;

impl Engine {
    /// A request that was just taken from the queue is a mount's, and the host does not hear of it.
    pub fn keep_from_host(&mut self, id: Id) -> bool {
        if self.leases.settle_by_passing(id) != Ok(Settled::Answer) {
            return false;
        }
        self.set_exchange_flag(id, exchange::SERVED | exchange::UNSHOWN);
        true
    }

    /// A request of the host is a mount's; the lease was won. False: there is nobody to be answered.
    pub fn take_passed(&mut self, id: Id) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) else { return false };
        exchange.flags |= exchange::SERVED;
        let kicked = exchange.is(exchange::KICKED);
        if exchange.is(exchange::ABORTED) || kicked {
            self.give_up(id);
            return false;
        }
        true
    }

    /// What other threads passed on: the request, and the mount.
    pub fn next_passed(&mut self) -> Option<(Id, Id)> {
        self.passed.pop_front()
    }

    pub fn has_passed(&self) -> bool {
        MOUNTS && !self.passed.is_empty()
    }

    /// Whether a request that is not answered yet is a mount's.
    pub fn is_served(&mut self, id: Id) -> bool {
        self.exchanges.holds(id.slot(), id.generation()) && self.leases.is_passed(id.slot())
    }

    /// The answer of a mount.
    pub fn answer_served(&mut self, id: Id, answer: Answer<'_>) {
        self.leases.end_second(id.slot());
        self.respond(id, answer);
    }

    /// A mount cannot answer any more, or is not to.
    pub fn give_up(&mut self, id: Id) {
        self.leases.end_second(id.slot());
        self.abort(id);
    }

    /// A mount waits for the body: whoever waits for leave to send it gets that.
    pub fn ask_for_body(&mut self, id: Id) {
        if self.exchanges.get_mut(id.slot(), id.generation()).is_some_and(|exchange| exchange.is(exchange::EXPECT)) {
            self.send_continue(id);
        }
    }

    /// A mount keeps so many bytes more of a request until it is answered.
    pub fn keep_piece(&mut self, id: Id, n: usize) {
        if let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) {
            let before = exchange.head_size;
            exchange.head_size = before.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
            self.counters.memory += u64::from(exchange.head_size - before);
        }
    }

    /// Whether so much memory is used up that mounts keep no more of bodies: the last quarter is for everybody else.
    pub fn is_short_of_memory(&self) -> bool {
        self.counters.memory >= self.settings.max_memory / 4 * 3
    }

    /// Whether what the mount answers is to be told to the host.
    pub fn is_unshown(&mut self, id: Id) -> bool {
        let exchange = self.exchanges.get_mut(id.slot(), id.generation());
        exchange.is_some_and(|exchange| exchange.is(exchange::UNSHOWN))
    }

    /// The Date field's value now.
    pub fn date(&self) -> &[u8; 29] {
        &self.date
    }
}
