//! Owns what happens when the memory of all connections stays used up. Rule: peers that do not take their answers pay for
//! it, those with the most unsent first, so that others wait for them no longer than a second.

use super::connection::{Connection, CUT};
use super::event::End;
use super::Engine;

/// How long a connection waits for memory before somebody has to go.
const PATIENCE: u64 = 1_000;

impl Engine {
    /// A connection is not read for want of memory.
    pub(super) fn feel_pressure(&mut self) {
        if self.relief.is_none_or(|at| at + PATIENCE <= self.now) {
            self.relief = Some(self.now + PATIENCE);
        }
    }

    pub(super) fn next_relief(&self) -> Option<u64> {
        self.relief.filter(|_| self.counters.memory >= self.settings.max_memory)
    }

    /// Ends connections with more unsent than their share of the memory until an eighth of it is free.
    pub(super) fn relieve(&mut self) {
        if self.next_relief().is_none_or(|at| at > self.now) {
            return;
        }
        let most = self.settings.max_memory;
        let share = most / self.connections.len().max(1) as u64;
        let mut piles = Vec::new();
        for connection in 0..self.connections.slots() {
            let Some(c) = self.connections.at(connection) else { continue };
            let pile = self.unsent_memory(c);
            if pile > share && !c.is(CUT) {
                piles.push((pile, connection));
            }
        }
        piles.sort_unstable_by(|a, b| b.cmp(a));
        for (_, connection) in piles {
            if self.counters.memory < most - most / 8 {
                break;
            }
            self.cut(connection, End::Limit);
        }
        self.relief = Some(self.now + PATIENCE);
        self.unpause();
    }

    /// What lies in memory of answers to this connection, in turn or not.
    fn unsent_memory(&self, c: &Connection) -> u64 {
        let mut n = c.output.as_ref().map_or(0, |output| output.memory() as u64);
        let mut at = c.first;
        while let Some(exchange) = self.exchanges.at(at) {
            n += u64::from(exchange.charge);
            at = exchange.next;
        }
        n
    }
}
