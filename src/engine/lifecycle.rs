//! Owns the beginning of connections, their deadlines, and the end of everything by drain. Rule: every wait for a peer
//! has an end; a wait for the host has one only where the host asked for it.

use crate::http1::Fault;
use crate::PUSH;

use super::connection::*;
use super::event::{self, End, What};
use super::exchange;
use super::id::Id;
use super::peer::Peer;
use super::Engine;

/// How long a closing connection is read so that its last answer arrives.
const LINGER: u64 = 2_000;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Opening,
    Linger,
    Write,
    Head,
    Body,
    Idle,
    /// The rest of a WebSocket message.
    Message,
    /// A word of a WebSocket's peer.
    Voice,
    Answer(u32),
    Poll(u32),
}

impl Engine {
    /// Whether another connection is within the limit.
    pub fn may_accept(&self) -> bool {
        (self.connections.len() as u64) < self.settings.max_connections && self.draining.is_none()
    }

    /// A new connection. A secure one is told by [`Engine::opened`] when it can carry requests.
    pub fn accept(&mut self, listener: Id, peer: Peer, secure: bool) -> Option<u32> {
        let flags = if secure { SECURE | OPENING } else { 0 };
        let connection = self.connections.insert(Connection::new(listener, peer, flags, self.now))?;
        self.counters.accepted += 1;
        if self.settings.wants(event::CONNECTION) {
            let id = self.connection_id(connection);
            self.events.push(id, What::Connection(true));
        }
        self.schedule(connection);
        Some(connection)
    }

    /// The connection is ready for requests.
    pub fn opened(&mut self, connection: u32) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        if c.is(OPENING) {
            c.flags &= !OPENING;
            c.since = self.now;
            self.schedule(connection);
        }
    }

    /// Accept trouble, for the host.
    pub fn listener_trouble(&mut self, listener: Id, errno: i32) {
        self.events.push(listener, What::Listener(errno));
    }

    // ---- deadlines -----------------------------------------------------------------------------------------------------

    pub(super) fn deadline(&self, connection: u32) -> Option<(u64, Wait)> {
        let c = self.connections.at(connection)?;
        if c.is(CUT) {
            return None;
        }
        if c.is(LINGERS) {
            return Some((c.since + LINGER, Wait::Linger));
        }
        if c.is(OPENING) {
            return Some((c.since + self.settings.handshake_timeout, Wait::Opening));
        }
        let mut earliest = None;
        let mut consider = |at: u64, wait: Wait| match earliest {
            Some((other, _)) if other <= at => {}
            _ => earliest = Some((at, wait)),
        };
        if let Some(output) = c.output.as_ref().filter(|output| !output.is_empty()) {
            consider(output.progress + self.settings.write_timeout, Wait::Write);
        }
        // A connection that waits for its turn, its host or its own answers does not wait for its peer.
        let waits_for_us = c.is(WAITS | READY);
        match c.input.as_ref() {
            Some(input) if !waits_for_us => match &input.body {
                Some(BodyIn { mode: Mode::Frames(decoder), .. }) => {
                    if decoder.memory() > 0 {
                        consider(input.since + self.settings.body_timeout, Wait::Message);
                    }
                    if self.settings.websocket_heartbeat > 0 && !c.is(PAUSED | STARVED | EOF) {
                        consider(c.since + self.settings.websocket_heartbeat, Wait::Voice);
                    }
                }
                Some(BodyIn { framing: Coding::Raw, .. }) => {}
                Some(body) if self.peer_waits(body) => {}
                Some(_) if !c.is(EOF) => consider(input.since + self.settings.body_timeout, Wait::Body),
                None if c.is(IN_HEAD) => consider(input.since + self.settings.head_timeout, Wait::Head),
                _ => {}
            },
            _ => {}
        }
        // Bytes that wait for a limit are a request, not idleness.
        let idle = c.first == NONE && c.unsent() == 0 && c.buffered() == 0 && !c.is(IN_HEAD | READY) && !c.in_body();
        if idle && c.is(STARVED) {
            consider(c.since + self.settings.head_timeout, Wait::Head);
        } else if idle {
            consider(c.since + self.settings.idle_timeout, Wait::Idle);
        }
        if PUSH {
            if let Some((at, slot)) = self.poll_deadline(connection) {
                consider(at, Wait::Poll(slot));
            }
        }
        if self.settings.answer_timeout > 0 {
            let mut at = c.first;
            while let Some(exchange) = self.exchanges.at(at) {
                let held = exchange.is(exchange::DELIVERED)
                    && !exchange.is(exchange::SETTLED | exchange::ABORTED | exchange::BEGUN | exchange::SERVED);
                if held {
                    consider(exchange.received + self.settings.answer_timeout, Wait::Answer(at));
                    break;
                }
                at = exchange.next;
            }
        }
        earliest
    }

    /// Whether the peer has every right to send nothing of this body now: it waits for 100-continue.
    fn peer_waits(&self, body: &BodyIn) -> bool {
        self.exchanges.at(body.exchange.slot()).is_some_and(|exchange| {
            let queued = body.total == 0 && exchange.pending.is_some();
            exchange.id == body.exchange && (exchange.is(exchange::EXPECT) || queued)
        })
    }

    /// Makes sure that the connection's next deadline is noticed.
    #[inline]
    pub fn schedule(&mut self, connection: u32) {
        if let Some((deadline, _)) = self.deadline(connection) {
            self.wheel.schedule(&mut self.connections, connection, deadline);
        }
    }

    /// Carries out deadlines that have passed, at most `budget`. True: there are more.
    pub fn expire(&mut self, budget: usize) -> bool {
        if self.draining.is_some_and(|deadline| deadline <= self.now) {
            self.cut_all(End::Drain);
        }
        if PUSH {
            self.push_deadlines();
        }
        self.relieve();
        if self.pool.thin(self.now) {
            self.patterns.thin();
        }
        for _ in 0..budget {
            let Some(connection) = self.wheel.expired(&mut self.connections, self.now) else { return false };
            match self.deadline(connection) {
                Some((at, wait)) if at <= self.now => {
                    self.time_out(connection, wait);
                    self.schedule(connection);
                }
                Some(_) => self.schedule(connection),
                None => {}
            }
        }
        true
    }

    pub(super) fn time_out(&mut self, connection: u32, wait: Wait) {
        match wait {
            Wait::Linger => {
                if let Some(c) = self.connections.at_mut(connection) {
                    c.flags |= EOF;
                }
                self.make_dirty(connection);
            }
            Wait::Opening | Wait::Write => self.cut(connection, End::Timeout),
            Wait::Idle => self.stop(connection),
            Wait::Head => {
                let fault = if self.connections.at(connection).is_some_and(|c| c.is(PAUSED | STARVED)) {
                    Fault { status: 503, text: "the server has too much to do" }
                } else {
                    Fault { status: 408, text: "the head of the request took too long" }
                };
                self.drop_input(connection);
                self.refuse(connection, fault);
            }
            Wait::Body => {
                let starved = self.connections.at(connection).is_some_and(|c| c.is(STARVED));
                let body = self
                    .connections
                    .at_mut(connection)
                    .and_then(|c| c.input.as_mut())
                    .and_then(|input| input.body.take());
                self.drop_input(connection);
                if let Some(body) = body {
                    if let Mode::Gather(head) = body.mode {
                        self.pool.give_head(head);
                    }
                    let fault = if starved || self.is_used_up() {
                        Fault { status: 503, text: "the server has no memory for the body" }
                    } else {
                        Fault { status: 408, text: "the body of the request took too long" }
                    };
                    self.fail(connection, body.exchange, fault, End::Timeout);
                }
            }
            Wait::Message if PUSH => self.time_out_message(connection),
            Wait::Voice if PUSH => self.listen_to_socket(connection),
            Wait::Poll(slot) if PUSH => self.answer_poll(slot, Vec::new()),
            Wait::Message | Wait::Voice | Wait::Poll(_) => {}
            Wait::Answer(slot) => {
                let id = self.exchanges.at(slot).map_or(Id::NONE, |exchange| exchange.id);
                let fault = Fault { status: 503, text: "the answer took too long" };
                self.fail(connection, id, fault, End::Timeout);
            }
        }
    }

    /// The host has kept the loop for so long: that is nobody's time but its own.
    pub fn excuse(&mut self, taken: u64) {
        for connection in 0..self.connections.slots() {
            let Some(c) = self.connections.at_mut(connection) else { continue };
            c.since += taken;
            if let Some(output) = c.output.as_mut() {
                output.progress += taken;
            }
            if let Some(input) = c.input.as_mut() {
                input.since += taken;
            }
        }
    }

    pub(super) fn drop_input(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            c.flags &= !(IN_HEAD | WAITS | PAUSED | STARVED);
            if let Some(input) = c.input.take() {
                self.pool.give_input(input);
            }
        }
        self.recharge(connection);
    }

    /// When [`Engine::expire`] will have something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let push = if PUSH { self.push_deadline() } else { None };
        let drain = self.draining.filter(|_| !self.told_drained);
        [self.wheel.next(), drain, push, self.next_relief()].into_iter().flatten().min()
    }

    // ---- drain and end -----------------------------------------------------------------------------------------------------

    /// No further request; what is under way may end until `grace` milliseconds from now.
    pub fn drain(&mut self, grace: u64) {
        let first = self.draining.is_none();
        self.draining = Some(self.now.saturating_add(grace));
        if first {
            if PUSH {
                self.end_all_subscriptions();
                self.end_all_sockets();
            }
            for connection in 0..self.connections.slots() {
                let Some(c) = self.connections.at_mut(connection) else { continue };
                let waited = c.is(WAITS | PAUSED | STARVED);
                c.flags &= !(WAITS | PAUSED | STARVED);
                self.stop(connection);
                if waited {
                    self.make_ready(connection); // a body or a tunnel goes on
                }
            }
        }
        self.check_drained();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    pub(super) fn check_drained(&mut self) {
        if self.draining.is_some() && !self.told_drained && self.connections.is_empty() {
            self.told_drained = true;
            self.events.push(Id::NONE, What::Drained);
        }
    }

    /// Ends every connection.
    pub fn cut_all(&mut self, end: End) {
        for connection in 0..self.connections.slots() {
            self.cut(connection, end);
        }
    }

    /// Whether the host has not settled this request yet; for the heads that outlive the engine.
    pub fn is_open(&mut self, id: Id) -> bool {
        self.exchanges.get_mut(id.slot(), id.generation()).is_some_and(|e| !e.is(exchange::SETTLED))
    }
}
