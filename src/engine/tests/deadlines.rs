//! Owns the judgement of deadlines: what a deadline ended had waited long enough by the driver's own watch, one call ends
//! no more than its budget, and no deadline is forgotten. Rule: the times are what the sockets saw, not what the engine
//! remembers.

use crate::engine::connection::{Mode, CUT, EOF, IN_HEAD, LINGERS, OPENING, READY, STARVED, STOPPED, WAITS};

use super::driver::Driver;

/// How late a coarse deadline may be.
const COARSE: u64 = 64;
const LINGER: u64 = 2_000;

#[derive(Debug)]
struct One {
    connection: u32,
    flags: u32,
    in_body: bool,
    is_socket: bool,
    starved: bool,
    /// Bytes that are kept for it.
    memory: usize,
    held_since: Option<u64>,
}

/// The connections before deadlines are carried out; nothing where none is due.
#[derive(Debug)]
pub struct Deadlines {
    all: Vec<One>,
    /// The largest holders have to go.
    relieves: bool,
}

impl Deadlines {
    pub fn before(driver: &Driver) -> Deadlines {
        let engine = &driver.engine;
        let mut all = Vec::new();
        let relieves = engine.next_relief().is_some_and(|at| at <= driver.now);
        if engine.wheel.next().is_none_or(|at| at > driver.now) {
            return Deadlines { all, relieves };
        }
        for connection in 0..engine.connections.slots() {
            let Some(c) = engine.connections.at(connection) else { continue };
            let mut held_since = None;
            let mut at = c.first;
            while let Some(exchange) = engine.exchanges.at(at) {
                use crate::engine::exchange::*;
                if exchange.is(DELIVERED) && !exchange.is(SETTLED | ABORTED | BEGUN) {
                    let since = driver.delivered.get(&at).filter(|delivered| delivered.0 == exchange.id);
                    held_since = held_since.or(since.map(|delivered| delivered.1));
                }
                at = exchange.next;
            }
            let starved = c.is(STARVED);
            let body = c.input.as_ref().and_then(|input| input.body.as_ref());
            let is_socket = body.is_some_and(|body| matches!(body.mode, Mode::Frames(_)));
            let (flags, in_body, memory) = (c.flags, c.in_body(), c.memory());
            all.push(One { connection, flags, in_body, is_socket, starved, memory, held_since });
        }
        Deadlines { all, relieves }
    }

    pub fn check(self, driver: &Driver, budget: usize) {
        let (engine, now) = (&driver.engine, driver.now);
        if engine.draining.is_some_and(|at| at <= now) {
            return;
        }
        let mut ended = 0;
        for one in self.all {
            let Some(c) = engine.connections.at(one.connection) else { panic!("a deadline removed a connection") };
            let Some(Some(socket)) = driver.sockets.get(one.connection as usize) else { continue };
            let new = c.flags & !one.flags;
            if new & (CUT | STOPPED | EOF) == 0 {
                continue;
            }
            ended += 1;
            let settings = &engine.settings;
            if new & CUT != 0 && settings.max_memory < 1 << 20 {
                continue; // it had to go for want of memory
            }
            if self.relieves && one.memory > 0 {
                continue;
            }
            // F5: the peer's time does not run while an acknowledgement, or its turn, is waited for.
            let waits_for_us = one.flags & (WAITS | READY) != 0;
            // Each of the reasons that there may be; one of them is due.
            let mut due = Vec::new();
            if one.flags & LINGERS != 0 {
                due.push(socket.shut + LINGER);
            } else if one.flags & OPENING != 0 {
                due.push(socket.accepted + settings.handshake_timeout);
            } else if new & CUT != 0 {
                due.push(socket.went + settings.write_timeout);
                if one.is_socket && settings.websocket_heartbeat > 0 {
                    due.push(socket.came + settings.websocket_heartbeat);
                }
                if one.in_body && !waits_for_us {
                    due.push(socket.came + settings.body_timeout);
                }
            } else if one.in_body {
                if !waits_for_us {
                    due.push(socket.came + settings.body_timeout);
                }
            } else if one.flags & IN_HEAD != 0 {
                due.push(socket.began + settings.head_timeout);
            } else if one.starved {
                due.push(socket.went + settings.head_timeout);
                due.push(socket.came + settings.idle_timeout);
            } else {
                due.push(socket.came.max(socket.went) + settings.idle_timeout);
            }
            if let Some(since) = one.held_since.filter(|_| settings.answer_timeout > 0) {
                due.push(since + settings.answer_timeout);
            }
            assert!(due.iter().any(|at| *at <= now), "a deadline came before its time: {one:?}, {due:?}, now {now}");
        }
        assert!(ended <= budget, "{ended} deadlines in one go");
    }
}

/// While the fd is quiet: every deadline is still to come, and the timer is set for it.
pub fn check_quiet(driver: &Driver) {
    let engine = &driver.engine;
    for connection in 0..engine.connections.slots() {
        let Some((at, wait)) = engine.deadline(connection) else { continue };
        // What was not waited for may begin to count when it is over: then the next tick is soon enough.
        let latest = at.max(driver.now) + COARSE;
        let timer = driver.next_timer();
        assert!(timer.is_some_and(|timer| timer <= latest), "{wait:?} at {at}, but the timer is set to {timer:?}");
    }
}
