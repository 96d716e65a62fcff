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
/// What is read at a time of those who live on the reserve, unless that is small.
const SIP: u64 = 4 << 10;
/// What a read may bring besides answers up to high water: itself, and a record of TLS.
const BRINGS: u64 = 96 << 10;

impl Connection {
    /// Neither bytes nor requests are kept for it.
    pub(super) fn holds_nothing(&self) -> bool {
        self.first == NONE && self.memory() == 0 && !self.in_body()
    }

    /// What its peer has begun to say and is waited for: a head, a body that is gathered, a message.
    fn unfinished(&self) -> Option<Wait> {
        if self.is(WAITS | PAUSED | READY | OPENING | CLOSING | LINGERS | CUT) {
            return None; // it waits for the library, or nobody is there to be told
        }
        match self.input.as_ref()?.body.as_ref() {
            Some(BodyIn { mode: Mode::Gather(_), .. }) => Some(Wait::Body),
            Some(BodyIn { mode: Mode::Frames(_), .. }) => Some(Wait::Message),
            None if self.is(IN_HEAD) => Some(Wait::Head),
            _ => None,
        }
    }

    /// Bytes that are kept of it, and what the driver keeps.
    fn unfinished_memory(&self) -> u64 {
        let input = self.unfinished().and(self.input.as_ref()).map_or(0, |input| input.memory());
        input as u64 + u64::from(self.outside)
    }
}

impl Engine {
    /// What everybody may use.
    fn common_memory(&self) -> u64 {
        self.settings.max_memory - self.settings.max_memory / 8
    }

    /// What one of many may bring or get where there is only the reserve.
    fn sip(&self) -> u64 {
        SIP.min(self.settings.max_memory / 32)
    }

    pub fn is_used_up(&self) -> bool {
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
            // Nobody fills the reserve with one read.
            Some(c) if !c.is(CUT) => self.common_memory().saturating_sub(self.counters.memory).max(self.sip()) as usize,
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
        // Who waits longest goes first: newcomers, who have the reserve besides, do not take what became free before them.
        let mut room = 64;
        while room > 0 && !self.is_used_up() {
            let Some(connection) = self.starved.pop_front() else { break };
            room -= u32::from(self.release(connection, STARVED));
        }
        let mut room = 64;
        while room > 0 && self.counters.memory < self.settings.max_memory {
            let Some(connection) = self.thirsty.pop_front() else { break };
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

    /// Ends what holds more than its share of the memory, in unsent answers or in what its peer has not finished saying,
    /// until a quarter of it is free.
    pub(super) fn relieve(&mut self) {
        if self.next_relief().is_none_or(|at| at > self.now) {
            return;
        }
        let most = self.settings.max_memory;
        let goal = most - most / 4;
        // Where connections hold more than the goal one of them holds more than this.
        let share = goal / self.connections.len().max(1) as u64;
        let hasty = self.relief.is_none_or(|at| at > self.now);
        let mut piles = Vec::new();
        for connection in 0..self.connections.slots() {
            let Some(c) = self.connections.at(connection) else { continue };
            let unsent = self.unsent_memory(c);
            let moves = c.output.as_ref().is_some_and(|output| output.progress + HASTE > self.now);
            let pile = match hasty {
                true if moves => 0,
                true => unsent,
                false => unsent + c.unfinished_memory(),
            };
            if pile > share && !c.is(CUT) {
                piles.push((pile, connection));
            }
        }
        piles.sort_unstable_by(|a, b| b.cmp(a));
        for (_, connection) in piles {
            if self.counters.memory < goal {
                break;
            }
            self.give_way(connection, share);
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

    /// A connection that holds too much is told so where it can be told: it sends something and takes its answers.
    fn give_way(&mut self, connection: u32, share: u64) {
        let Some(c) = self.connections.at(connection) else { return };
        let wait = if self.unsent_memory(c) > share { None } else { c.unfinished() };
        let Some(wait) = wait else { return self.cut(connection, End::Limit) };
        if let Some(c) = self.connections.at_mut(connection) {
            c.flags |= STARVED;
        }
        self.time_out(connection, wait);
        self.schedule(connection);
    }

    /// What a message may come to when it is inflated.
    pub(super) fn room_to_inflate(&self) -> u64 {
        self.common_memory().saturating_sub(self.counters.memory).max(self.sip())
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
