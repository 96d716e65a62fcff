//! Owns the judgement of the engine's accounts: what the counters say is what lies in its memory, counted anew, after
//! every step. Rule: only a connection that is about to be written to may be behind, and only by its own share.

use crate::engine::connection::{CLOSING, CUT, DIRTY, NONE};
use crate::engine::event::{Due, Event, What};
use crate::engine::exchange::{ABORTED, BEGUN, BODILESS, DELIVERED, EXPECT, HIDDEN, SETTLED};
use crate::engine::stats::Counters;
use crate::engine::Engine;

use super::driver::Driver;

pub fn check(driver: &Driver) {
    let engine = &driver.engine;
    let counters = engine.counters();
    let (mut memory, mut queued, mut held, mut undelivered) = (0, 0, 0, 0);
    for connection in 0..engine.connections.slots() {
        let Some(c) = engine.connections.at(connection) else { continue };
        memory += c.charge as u64;
        queued += c.queued;
        if !c.is(DIRTY) {
            assert_eq!(
                (c.charge as usize, c.queued),
                (c.memory(), c.unsent()),
                "the account of connection {connection}"
            );
        }
        pipeline(engine, connection);
    }
    for slot in 0..engine.exchanges.slots() {
        let Some(exchange) = engine.exchanges.at(slot) else { continue };
        memory += exchange.charge as u64;
        let pending = exchange.pending.as_ref().map_or(0, |pending| pending.memory());
        assert_eq!(exchange.charge as usize, pending, "the account of exchange {slot}");
        if exchange.is(DELIVERED) && !exchange.is(SETTLED) {
            memory += exchange.head_size as u64;
            held += 1;
        }
        assert!(exchange.unsent <= exchange.given);
    }
    let mut unmade = 0;
    for due in engine.events.all() {
        match due {
            Due::Request { size, .. } => {
                memory += *size as u64;
                undelivered += 1;
                unmade += 1;
            }
            Due::Event(Event { what: What::Request(head), .. }) => {
                memory += head.bytes.len() as u64;
                undelivered += 1;
            }
            Due::Event(Event { what: What::Body { data, .. } | What::Message { data, .. }, .. }) => {
                memory += data.len() as u64;
            }
            _ => {}
        }
    }
    assert_eq!(counters.memory, memory, "memory");
    assert_eq!(counters.queued_bytes, queued, "queued bytes");
    assert_eq!(counters.held, held, "held");
    assert_eq!(engine.undelivered, undelivered, "undelivered");
    assert_eq!(engine.patterns.waiting(), unmade, "heads to be made");
}

/// What a run or a drain could have changed of a connection.
type Print = (u32, u32, u32, u32, usize, u64, u64);

/// Everything that a run or a drain could have changed.
pub fn fingerprint(driver: &Driver) -> (Counters, (u64, usize, usize), Vec<Print>) {
    let engine = &driver.engine;
    let print = |connection| {
        let c = engine.connections.at(connection)?;
        Some((connection, c.flags, c.length, c.open, c.buffered(), c.unsent(), c.pending))
    };
    let connections = (0..engine.connections.slots()).filter_map(print).collect();
    (engine.counters(), (driver.moved, driver.mailbox.len(), driver.backlog.len()), connections)
}

/// Beyond what the queue is to hold nothing is read.
pub fn check_queue(engine: &Engine, might_wait: usize) {
    let counts = |due: &&Due| match due {
        Due::Request { .. } => true,
        Due::Event(event) => matches!(event.what, What::Request(_) | What::Body { .. }),
    };
    let requests = engine.events.all().filter(|due| matches!(due, Due::Request { .. })).count();
    // What waits may have come when more might.
    let most = engine.events.may_wait.max(might_wait);
    assert!(engine.events.has_parked() || requests <= most, "{requests} requests are queued, {most} are the most");
    let pieces = engine.events.all().filter(counts).count();
    // A body may begin with its request in a full queue, and some may have been parked before.
    assert!(
        engine.events.has_parked() || pieces <= most + 32,
        "{pieces} requests and pieces are queued, {most} may wait"
    );
}

/// A pipeline is a list of its own exchanges, and its sums are theirs.
fn pipeline(engine: &Engine, connection: u32) {
    let Some(c) = engine.connections.at(connection) else { return };
    let (mut length, mut shown, mut open, mut pending, mut last) = (0, 0, 0, 0, NONE);
    let mut at = c.first;
    while at != NONE {
        let exchange = engine.exchanges.at(at).expect("what is in a pipeline exists");
        assert_eq!(exchange.connection, connection, "an exchange in a foreign pipeline");
        length += 1;
        shown += u32::from(!exchange.is(HIDDEN));
        open += u32::from(!exchange.is(HIDDEN | SETTLED | ABORTED));
        pending += exchange.pending.as_ref().map_or(0, |pending| pending.len());
        (last, at) = (at, exchange.next);
    }
    assert_eq!((c.length, c.open, c.pending, c.last), (length, open, pending, last), "pipeline of {connection}");
    // Whose turn it is keeps nothing back.
    let first = engine.exchanges.at(c.first).filter(|_| !c.is(CUT));
    assert!(first.is_none_or(|first| first.pending.is_none()), "the answer in turn of {connection} waits");
    // What the library refused comes on top, and ends the connection.
    assert!(shown <= engine.settings.max_pipeline, "{shown} requests in a pipeline");
}

/// While the fd is quiet: nobody waits for a word of the library's.
pub fn check_quiet(driver: &Driver) {
    let engine = &driver.engine;
    for slot in 0..engine.exchanges.slots() {
        let Some(exchange) = engine.exchanges.at(slot) else { continue };
        let lies = exchange.is(EXPECT) && exchange.is(DELIVERED) && !exchange.is(BEGUN | SETTLED | ABORTED | BODILESS);
        let silent = lies && !engine.settings.manual_continue && !engine.leases.is_settled(slot);
        assert!(!silent, "a client waits for 100-continue, and nobody will send it");
    }
    if engine.is_draining() {
        assert!(!engine.may_accept(), "a connection would be accepted in the drain");
        for connection in 0..engine.connections.slots() {
            let Some(c) = engine.connections.at(connection) else { continue };
            assert!(c.first != NONE || c.in_body() || c.is(CLOSING | CUT), "an idle connection outlives the drain");
        }
    }
    assert!(!engine.keeps_messages(), "messages are kept, and nobody has a turn");
    let starves = |at: &u32| waits(engine, *at, crate::engine::connection::STARVED);
    if engine.counters.memory < engine.settings.max_memory {
        assert!(!engine.thirsty.iter().any(starves), "thirsty for no reason");
    }
    if !engine.is_used_up() {
        assert!(!engine.starved.iter().any(starves), "starved for no reason");
    }
    if engine.counters.held + engine.undelivered < engine.settings.max_held {
        assert!(
            engine.paused.iter().all(|at| !waits(engine, *at, crate::engine::connection::PAUSED)),
            "paused for no reason"
        );
    }
}

fn waits(engine: &Engine, connection: u32, flag: u32) -> bool {
    engine.connections.at(connection).is_some_and(|c| c.is(flag))
}
