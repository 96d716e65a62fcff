//! Owns what the virtual host holds of the library's: heads that are kept for it, calls of its threads that are under
//! way, and what is left when everything is freed. Rule: nothing is given back twice, too early, or never.

use std::sync::Arc;

use crate::engine::event;

use super::driver::Driver;
use super::host::Host;
use super::record::Record;
use super::rng::Rng;

impl Host {
    /// The loop thread comes in again: heads that are done with may be used again.
    pub fn take_back_heads(&mut self, driver: &mut Driver) {
        while let Some(slot) = driver.engine.take_retired() {
            let at = self.heads.remove(&slot).expect("a head was retired that nobody had");
            assert!(self.records[at].settled, "a head was retired before its settle");
        }
    }

    /// Threads come into a call, and leave it.
    pub fn call(&mut self, rng: &mut Rng) {
        if !self.active.is_empty() && rng.below(40) == 0 {
            let record = &self.records[self.active[rng.below(self.active.len() as u64) as usize]];
            let held = self.leases.hold(record.id);
            assert!(held || record.settled, "a request of the host's is over");
            if held {
                self.calls.push(record.id.slot());
            }
        }
        if !self.calls.is_empty() && (self.hurry || rng.below(20) == 0) {
            let slot = self.calls.swap_remove(rng.below(self.calls.len() as u64) as usize);
            self.leases.let_go(slot);
        }
    }

    pub fn all_return(&mut self) {
        for slot in self.calls.drain(..) {
            self.leases.let_go(slot);
        }
    }

    /// What the lease of each answer counts is what was said and not yet handed to the kernel.
    pub fn check_leases(&self, driver: &Driver) {
        use crate::engine::exchange::*;
        for at in &self.active {
            let record = &self.records[*at];
            let slot = record.id.slot();
            let Some(exchange) = driver.engine.exchanges.at(slot).filter(|exchange| exchange.id == record.id) else {
                continue;
            };
            if record.settled
                || record.aborted.is_some()
                || exchange.is(SETTLED | ABORTED)
                || driver.engine.has_events()
            {
                continue;
            }
            let said: u64 = record.unheard().sum();
            let queued = self.leases.queued(slot);
            assert_eq!(
                queued,
                exchange.unsent + said,
                "{}/{}: the lease counts something else",
                record.client,
                record.n
            );
            assert!(!record.again || queued > 0, "{}/{} waits for WRITABLE that never comes", record.client, record.n);
        }
    }

    /// Who is to know that the peer sends no more knows it once all events were taken.
    pub fn check_half_closed(&self, driver: &Driver) {
        use crate::engine::connection::{EOF_TOLD, NONE};
        use crate::engine::exchange::*;
        let engine = &driver.engine;
        for at in &self.active {
            let record = &self.records[*at];
            let Some(exchange) = engine.exchanges.at(record.id.slot()).filter(|exchange| exchange.id == record.id)
            else {
                continue;
            };
            let told = exchange.connection != NONE
                && engine.connections.at(exchange.connection).is_some_and(|c| c.is(EOF_TOLD))
                && !exchange.is(SETTLED | ABORTED)
                && !record.settled;
            if told && exchange.is(TUNNEL) {
                assert!(record.body_over, "{}/{}: the end of the tunnel is missing", record.client, record.n);
            } else if told && engine.settings.wants(event::HALF_CLOSED) {
                assert!(record.half_closed || record.tunnel, "{}/{}: HALF_CLOSED is missing", record.client, record.n);
            }
        }
    }

    /// After the engine was freed: everything lent is back, whatever was under way.
    pub fn check_freed(&self, driver: &Driver) {
        for record in &self.records {
            let Some((_, bytes)) = &record.loan else { continue };
            if !record.outbox.is_empty() {
                continue; // the thread has not said it yet
            }
            assert_eq!(Arc::strong_count(bytes), 1, "{}/{}: the buffer is still held", record.client, record.n);
        }
        let held = |record: &&Record| !record.in_effect_settled();
        let unsettled = self.records.iter().filter(held).count();
        assert_eq!(driver.engine.counters().held as usize, unsettled, "requests that were never settled");
    }
}
