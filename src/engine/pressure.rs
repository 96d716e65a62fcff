//! Owns what happens when the memory of all connections runs short. Rule: the more of it is used, the less is taken on; its
//! last eighth is a reserve, for those who hold nothing and ask for something that comes whole, so that whoever fills the
//! rest does not keep others from being served.

use super::connection::*;
use super::event::End;
use super::lifecycle::Wait;
use super::Engine;

/// How long a connection waits for memory before somebody has to go.
const PATIENCE: u64 = 1_000;
/// The same where nobody is read any more: then those go that have taken nothing of their answers for as long.
const HASTE: u64 = 20;
/// What is read at a time of those who live on the reserve.
const SIP: usize = 4 << 10;
/// What a read may bring besides answers up to high water: itself, and a record of TLS.
const BRINGS: u64 = 96 << 10;

impl Connection {
    /// Neither bytes nor requests are kept for it.
    fn holds_nothing(&self) -> bool {
        self.first == NONE && self.memory() == 0 && !self.in_body()
    }
}

impl Engine {
    /// What everybody may use.
    fn common_memory(&self) -> u64 {
        self.settings.max_memory - self.settings.max_memory / 8
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.counters.memory >= self.common_memory()
    }

    /// With half of the memory used nobody gets more by asking for much at a time.
    pub fn is_scarce(&self) -> bool {
        self.counters.memory >= self.settings.max_memory / 2
    }

    /// Whether there is memory to read this connection.
    pub(super) fn has_memory_for(&self, c: &Connection) -> bool {
        !self.is_used_up() || self.counters.memory < self.settings.max_memory && c.holds_nothing()
    }

    /// Bytes of this connection to be read at a time.
    pub fn most_input(&self, connection: u32) -> usize {
        match self.connections.at(connection) {
            Some(c) if self.is_used_up() && !c.is(CUT) => SIP,
            _ => usize::MAX,
        }
    }

    /// What answers may have unsent shrinks with the memory that is left.
    #[inline]
    pub(super) fn weigh(&mut self) {
        if self.is_scarce() || self.allowance < self.settings.high_water {
            self.weigh_anew();
        }
    }

    #[cold]
    fn weigh_anew(&mut self) {
        let (half, high) = (self.settings.max_memory / 2, self.settings.high_water);
        let (range, left) = (self.common_memory() - half, self.common_memory().saturating_sub(self.counters.memory));
        let allowance = (u128::from(high) * u128::from(left.min(range)) / u128::from(range.max(1))).max(1) as u64;
        if allowance != self.allowance {
            self.allowance = allowance;
            self.leases.allow(allowance);
        }
    }

    /// Where memory is scarce only so many are read before the host has seen what they ask for as it would bear if each
    /// asked for a long answer.
    pub(super) fn may_read_another(&mut self) -> bool {
        if self.is_scarce() {
            let each = self.settings.high_water.saturating_mul(2).saturating_add(BRINGS);
            let left = self.settings.max_memory.saturating_sub(self.counters.memory);
            if self.admitted > 0 && self.admitted.saturating_mul(each) > left {
                return false;
            }
            self.admitted += 1;
        }
        true
    }

    /// A connection is not read for want of memory.
    pub(super) fn starve(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            if !c.is(STARVED) {
                c.flags |= STARVED;
                if c.holds_nothing() {
                    c.since = self.now;
                    self.thirsty.push_back(connection);
                } else {
                    self.starved.push_back(connection);
                }
            }
        }
        self.schedule(connection);
        super::sweep(&mut self.starved, &self.connections, STARVED);
        super::sweep(&mut self.thirsty, &self.connections, STARVED);
        if self.relief.is_none_or(|at| at + PATIENCE <= self.now) {
            self.relief = Some(self.now + PATIENCE);
        }
        if self.counters.memory >= self.settings.max_memory && self.haste.is_none() {
            self.haste = Some(self.now + HASTE);
        }
    }

    /// Those who wait for memory go on as far as there is some.
    pub(super) fn feed_starved(&mut self) {
        let mut room = 64;
        while room > 0 && self.counters.memory < self.settings.max_memory {
            let Some(connection) = self.thirsty.pop_front() else { break };
            room -= u32::from(self.release(connection, STARVED));
        }
        while room > 0 && !self.is_used_up() {
            let Some(connection) = self.starved.pop_front() else { break };
            room -= u32::from(self.release(connection, STARVED));
        }
    }

    /// Whether what this connection says now must come whole.
    pub fn lives_on_reserve(&self, connection: u32) -> bool {
        self.is_used_up() && self.connections.at(connection).is_some_and(|c| c.holds_nothing())
    }

    /// Something was read on the reserve: the beginning of a head or of a body is not kept there.
    pub(super) fn shed(&mut self, connection: u32) {
        if !self.is_used_up() {
            return;
        }
        let Some(c) = self.connections.at_mut(connection) else { return };
        let gathers = matches!(
            c.input.as_ref().and_then(|input| input.body.as_ref()),
            Some(BodyIn { mode: Mode::Gather(_), .. })
        );
        // Who was told that the connection closes hears nothing more.
        let over = c.is(CLOSING | LINGERS | CUT) || !gathers && c.is(STOPPED);
        if !over && !c.is(WAITS | PAUSED | READY) && (gathers || c.is(IN_HEAD)) {
            c.flags |= STARVED;
            self.time_out(connection, if gathers { Wait::Body } else { Wait::Head });
        }
    }

    pub(super) fn next_relief(&self) -> Option<u64> {
        let relief = self.relief.filter(|_| self.is_used_up());
        let haste = self.haste.filter(|_| self.counters.memory >= self.settings.max_memory);
        [relief, haste].into_iter().flatten().min()
    }

    /// Ends connections with more unsent than their share of the memory until a quarter of it is free.
    pub(super) fn relieve(&mut self) {
        if self.next_relief().is_none_or(|at| at > self.now) {
            return;
        }
        let most = self.settings.max_memory;
        let share = most / self.connections.len().max(1) as u64;
        let hasty = self.relief.is_none_or(|at| at > self.now);
        let mut piles = Vec::new();
        for connection in 0..self.connections.slots() {
            let Some(c) = self.connections.at(connection) else { continue };
            let pile = self.unsent_memory(c);
            let moves = c.output.as_ref().is_some_and(|output| output.progress + HASTE > self.now);
            if pile > share && !c.is(CUT) && !(hasty && moves) {
                piles.push((pile, connection));
            }
        }
        piles.sort_unstable_by(|a, b| b.cmp(a));
        for (_, connection) in piles {
            if self.counters.memory < most - most / 4 {
                break;
            }
            self.cut(connection, End::Limit);
        }
        self.haste = None;
        self.unpause();
        let waited_for = !self.starved.is_empty() || !self.thirsty.is_empty();
        if !hasty {
            self.relief = waited_for.then_some(self.now + PATIENCE);
        }
        if waited_for && self.counters.memory >= most {
            self.haste = Some(self.now + HASTE);
        }
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
