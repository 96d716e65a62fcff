//! A server as a plain value: connections, pipelines, ids, events, deadlines and the memory budget. No socket, no clock,
//! no randomness: bytes and the time are passed in, bytes and events are taken out, and the same calls give the same
//! results.
//!
//! A driver accepts ([`Engine::accept`]), brings bytes ([`Engine::receive`]), asks which connections may go on
//! ([`Engine::next_ready`]) and which have something to send or to end ([`Engine::next_dirty`], [`Engine::front`],
//! [`Engine::verdict`]); the host takes events ([`Engine::next_event`]) and answers by id.

pub mod answer;
mod body;
pub mod connection;
pub mod event;
pub mod exchange;
mod fanout;
mod handover;
pub mod head;
pub mod id;
pub mod lease;
mod lifecycle;
pub mod mailbox;
mod origin;
pub mod output;
mod pattern;
pub mod peer;
mod pipeline;
mod poll;
mod pool;
mod pressure;
pub mod progress;
mod receive;
pub mod served;
pub mod settings;
pub mod short;
pub mod slab;
pub mod socket;
mod spare;
pub mod stats;
mod straight;
pub mod subscription;
mod turns;
mod unused;
pub mod wheel;
pub mod wishes;
pub mod word;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::http1::date::imf_fixdate;
use crate::http1::request::RequestHead;
use crate::http1::response::Frame;

use connection::{Connection, CUT, DIRTY, PAUSED, READY};
use event::Events;
use exchange::Exchange;
use fanout::Push;
use id::{Id, Kind, Tag};
use lease::Leases;
use output::Released;
use pattern::Patterns;
use pool::Pool;
use settings::Settings;
use slab::Slab;
use stats::Counters;
use turns::Turns;
use wheel::Wheel;
use wishes::Wishes;

/// Why a call did nothing, or not what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Invalid(Cow<'static, str>),
    State,
    Gone,
    Again,
    Closed,
    NoMemory,
    System(i32, Cow<'static, str>),
    Tls(Cow<'static, str>),
    NotSupported(Cow<'static, str>),
    Range,
    Thread,
}

impl Error {
    pub fn invalid(text: impl Into<Cow<'static, str>>) -> Error {
        Error::Invalid(text.into())
    }
}

/// What the driver is to do with a connection whose output is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Stay,
    /// Close the sending side, then go on reading.
    Shutdown,
    Close,
    /// Close so that the peer sees a failure.
    Reset,
}

#[derive(Debug)]
pub struct Engine {
    pub settings: Settings,
    tag: Tag,
    now: u64,
    unix: u64,
    date: [u8; 29],
    connections: Slab<Connection>,
    exchanges: Slab<Exchange>,
    leases: Arc<Leases>,
    /// Slots of exchanges that a thread still works on.
    limbo: Vec<u32>,
    wheel: Wheel,
    events: Events,
    ready: Turns,
    /// Requests that the connection whose turn it is has handed over.
    in_turn: u32,
    dirty: VecDeque<u32>,
    paused: VecDeque<u32>,
    starved: VecDeque<u32>,
    /// Those of the starved that hold nothing.
    thirsty: VecDeque<u32>,
    /// Exchanges whose heads the host has done with.
    retired: Vec<u32>,
    /// Delivered in this drain with 100-continue to be decided at its end.
    expecting: Vec<Id>,
    pool: Pool,
    parsed: RequestHead,
    /// The bytes that `parsed` was made from: clients repeat their head with every request, and equal bytes mean equal
    /// heads.
    parsed_from: Vec<u8>,
    /// What the host gets of it, and of what was parsed before and is still queued.
    patterns: Patterns,
    wishes: Option<Arc<Wishes>>,
    /// How the last answer's head began and ended.
    frame: Frame,
    released: Vec<Released>,
    counters: Counters,
    /// Requests queued for the host.
    undelivered: u64,
    /// When memory that is used up makes somebody go, and when it does where nobody is read any more.
    relief: Option<u64>,
    haste: Option<u64>,
    /// What an answer may have unsent now.
    allowance: u64,
    /// Connections read since the last drain ended, while memory was scarce.
    admitted: u64,
    /// Ready, but not before the host has seen what others ask for.
    withheld: VecDeque<u32>,
    /// Deadline of the drain.
    draining: Option<u64>,
    told_drained: bool,
    push: Push,
    /// Requests that other threads gave to mounts, and to which.
    passed: VecDeque<(Id, Id)>,
}

impl Engine {
    pub fn new(settings: Settings, tag: Tag, now: u64, unix: u64) -> Engine {
        let leases = Arc::new(Leases::new(tag.number, settings.high_water));
        let allowance = settings.high_water;
        Engine {
            settings,
            tag,
            now,
            unix,
            date: imf_fixdate(unix),
            connections: Slab::new(tag.used),
            exchanges: Slab::new(tag.used),
            leases,
            limbo: Vec::new(),
            wheel: Wheel::new(now),
            events: Events::default(),
            ready: Turns::default(),
            in_turn: 0,
            dirty: VecDeque::new(),
            paused: VecDeque::new(),
            starved: VecDeque::new(),
            thirsty: VecDeque::new(),
            retired: Vec::new(),
            expecting: Vec::new(),
            pool: Pool::default(),
            parsed: RequestHead::default(),
            parsed_from: Vec::new(),
            patterns: Patterns::default(),
            wishes: None,
            frame: Frame::default(),
            released: Vec::new(),
            counters: Counters::default(),
            undelivered: 0,
            relief: None,
            haste: None,
            allowance,
            admitted: 0,
            withheld: VecDeque::new(),
            draining: None,
            told_drained: false,
            push: Push::new(),
            passed: VecDeque::new(),
        }
    }

    /// Milliseconds of a clock that never goes back, and seconds since 1970.
    pub fn set_now(&mut self, now: u64, unix: u64) {
        self.now = now;
        if unix != self.unix {
            self.unix = unix;
            self.date = imf_fixdate(unix);
        }
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The last generation that an id of this engine carries.
    pub fn last_generation(&self) -> u32 {
        self.connections.last_generation().max(self.exchanges.last_generation())
    }

    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.connections = self.connections.len() as u64;
        counters
    }

    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    pub fn connection_id(&self, connection: u32) -> Id {
        Id::new(self.tag.number, Kind::Connection, connection, self.connections.generation(connection))
    }

    /// The connection that an id of a connection or of a request means.
    pub fn connection_of(&mut self, id: Id) -> Option<u32> {
        if id.tag() != self.tag.number {
            return None;
        }
        match id.kind() {
            Kind::Connection => self.connections.holds(id.slot(), id.generation()).then_some(id.slot()),
            Kind::Request => {
                let exchange = self.exchanges.get_mut(id.slot(), id.generation())?;
                let connection = exchange.connection;
                (exchange.is(exchange::DELIVERED) && connection != connection::NONE).then_some(connection)
            }
            _ => None,
        }
    }

    pub fn connection(&self, connection: u32) -> Option<&Connection> {
        self.connections.at(connection)
    }

    // ---- lists -----------------------------------------------------------------------------------------------------

    /// The connection may go on: it has readiness, or buffered bytes that can be dealt with now.
    pub fn make_ready(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            if !c.is(READY) {
                c.flags |= READY;
                let idle = c.holds_nothing();
                self.ready.push(connection, idle);
            }
        }
    }

    pub fn next_ready(&mut self) -> Option<u32> {
        while let Some(connection) = self.ready.pop() {
            if let Some(c) = self.connections.at_mut(connection) {
                if c.is(READY) {
                    c.flags &= !READY;
                    return Some(connection);
                }
            }
        }
        None
    }

    /// As [`Engine::make_ready`], for when the host has seen what was read before.
    fn withhold(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            if !c.is(READY) {
                c.flags |= READY;
                self.withheld.push_back(connection);
            }
        }
    }

    /// Whether a connection waits for the host to ask for events.
    pub fn withholds(&self) -> bool {
        !self.withheld.is_empty()
    }

    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    fn make_dirty(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            if !c.is(DIRTY) {
                c.flags |= DIRTY;
                self.dirty.push_back(connection);
            }
        }
    }

    /// A connection that has something to send or to end.
    pub fn next_dirty(&mut self) -> Option<u32> {
        while let Some(connection) = self.dirty.pop_front() {
            if let Some(c) = self.connections.at_mut(connection) {
                if c.is(DIRTY) {
                    c.flags &= !DIRTY;
                    return Some(connection);
                }
            }
        }
        None
    }

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    // ---- limits over all connections ---------------------------------------------------------------------------------

    /// The host's brake, live.
    pub fn set_max_held(&mut self, n: u64) {
        self.settings.max_held = n;
        self.sort_events();
        self.unpause();
    }

    fn pause(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            if !c.is(PAUSED) {
                c.flags |= PAUSED;
                self.paused.push_back(connection);
            }
        }
        sweep(&mut self.paused, &self.connections, PAUSED);
    }

    /// Lets paused connections go on as far as the limits have room.
    #[inline]
    pub fn unpause(&mut self) {
        let waits = !self.paused.is_empty() || !self.starved.is_empty() || !self.thirsty.is_empty();
        if waits || self.events.has_parked() {
            self.let_go_on();
        }
    }

    fn let_go_on(&mut self) {
        self.sort_events();
        let mut room = self.settings.max_held.saturating_sub(self.counters.held + self.undelivered).min(64);
        while room > 0 {
            let Some(connection) = self.paused.pop_front() else { break };
            room -= u64::from(self.release(connection, PAUSED));
        }
        self.feed_starved();
    }

    fn release(&mut self, connection: u32, flag: u32) -> bool {
        let Some(c) = self.connections.at_mut(connection) else { return false };
        if !c.is(flag) {
            return false;
        }
        c.flags &= !flag;
        self.make_ready(connection);
        true
    }

    // ---- accounting --------------------------------------------------------------------------------------------------

    /// The driver keeps so many bytes for this connection. False: the memory for it is used up.
    pub fn keeps_outside(&mut self, connection: u32, n: usize) -> bool {
        if let Some(c) = self.connections.at_mut(connection) {
            let n = n.min(u32::MAX as usize) as u32;
            if c.outside != n && !c.is(CUT) {
                c.outside = n;
                self.recharge(connection);
            }
        }
        !self.is_used_up()
    }

    /// Brings the account of a connection's buffers up to date.
    fn recharge(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            let charge = c.memory().min(u32::MAX as usize) as u32;
            if charge != c.charge {
                self.counters.memory = self.counters.memory + charge as u64 - c.charge as u64;
                c.charge = charge;
            }
            let queued = c.unsent();
            if queued != c.queued {
                self.counters.queued_bytes = self.counters.queued_bytes + queued - c.queued;
                c.queued = queued;
            }
        }
        self.weigh();
    }
}

/// Connections that ended leave their places in a list behind: now and then it is swept.
fn sweep(list: &mut VecDeque<u32>, connections: &Slab<Connection>, flag: u32) {
    if list.len() > 2 * connections.len() + 64 {
        list.retain(|connection| connections.at(*connection).is_some_and(|c| c.is(flag)));
    }
}
