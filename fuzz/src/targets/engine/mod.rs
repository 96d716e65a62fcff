//! A whole engine: bytes of several connections, what a host does, and what happens around them, in any order.
//!
//! An input is settings and then steps, one byte and what it needs each. The driver is that of the simulation
//! (`src/engine/tests/driver.rs`); the simulation has polite clients and a rich host from a seed, this has arbitrary bytes
//! and is led by coverage.
//!
//! What must hold: requests are those of `reference.rs`, in order and byte-exact; each client gets the answers to its
//! requests, in order and byte-exact; every request is settled once and every event keeps its contract (`host.rs`); the
//! account of memory is the sum of its parts after every step and zero at the end; readable means that there is something
//! to do, and everything comes to an end.

mod client;
mod host;
mod record;
mod step;

use std::sync::LazyLock;

use encke::engine::event;
use encke::engine::settings::Settings;

use crate::bytes::Bytes;
use crate::driver::Driver;
use crate::reference;

use client::Client;
use host::Host;

const MOST_STEPS: usize = 200;
const START: u64 = 5000;
/// Whoever wakes after so many milliseconds does not spin, although there may be nothing to do.
const SELDOM: u64 = 500;

/// Says what happens, where somebody wants to read it.
macro_rules! say {
    ($($arg:tt)*) => {
        if *crate::targets::engine::TRACE {
            eprintln!($($arg)*);
        }
    };
}
use say;

static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("ENCKE_FUZZ_TRACE").is_some());

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.check_accounts();
    }
    world.finish();
}

struct World {
    driver: Driver,
    host: Host,
    clients: Vec<Client>,
    /// Nothing has happened that keeps a request from its answer.
    calm: bool,
    /// Rounds with the fd readable and nothing done.
    idle_rounds: u32,
}

fn settings(input: &mut Bytes<'_>) -> Settings {
    let high_water = input.pick(&[256 << 10, 1, 50, 3000]);
    let mut settings = Settings {
        high_water,
        low_water: high_water * input.below(5) as u64 / 4,
        max_pipeline: input.pick(&[128, 1, 2, 5]),
        buffer_body: input.pick(&[64 << 10, 0, 10, 300]),
        body_window: input.pick(&[256 << 10, 1, 100, 1000]),
        max_held: input.pick(&[65_536, 1, 3, 0]),
        max_memory: input.pick(&[256 << 20, 4096, 20_000, 1 << 20]),
        max_head: input.pick(&[32 << 10, 64, 200, 1000]),
        max_fields: input.pick(&[100, 1, 3, 70]),
        max_body: input.pick(&[64 << 20, 0, 20, 5000]),
        max_connections: input.pick(&[100, 1, 2, 3]),
        ..Settings::default()
    };
    let flags = input.u8();
    settings.manual_continue = flags & 1 != 0;
    settings.pipeline_safe = flags & 2 != 0;
    settings.connect = flags & 4 == 0;
    for (bit, kind) in [(8, event::DONE), (16, event::HALF_CLOSED), (32, event::CONNECTION)] {
        settings.events |= u64::from(flags & bit != 0) << kind;
    }
    if flags & 64 != 0 {
        settings.server = b"encke".to_vec();
    }
    if flags & 128 != 0 {
        settings.head_timeout = 500;
        settings.body_timeout = 700;
        settings.idle_timeout = 900;
        settings.write_timeout = 600;
        settings.answer_timeout = 800;
    }
    settings
}

impl World {
    fn new(input: &mut Bytes<'_>) -> World {
        let settings = settings(input);
        let scratch = input.pick(&[65_536, 64, 512, 4096]);
        let write_turn = input.pick(&[1 << 20, 1, 1000]);
        let limits = reference::Limits {
            max_head: settings.max_head,
            max_fields: settings.max_fields,
            connect: settings.connect,
        };
        // Bodies that are gathered alone could use up a small memory, until a time-out.
        say!("{settings:?}, scratch {scratch}, write turn {write_turn}");
        let calm = settings.max_memory >= 1 << 20;
        let max_held = settings.max_held;
        let driver = Driver::new(settings, scratch, write_turn, 0, START);
        let host = Host::new(driver.engine.leases().clone(), max_held, limits);
        World { driver, host, clients: Vec::new(), calm, idle_rounds: 0 }
    }

    /// The fd is readable, or the host looks all the same.
    fn run_once(&mut self, budget: u32, hears: usize) {
        let host = &mut self.host;
        self.driver.run(budget, hears, &mut |engine, submission| host.heard(engine, submission));
    }

    fn take_events(&mut self, most: usize) -> usize {
        let mut taken = 0;
        while taken < most {
            let Some(event) = self.driver.next() else { break };
            self.host.event(event, &mut self.driver, &mut self.clients);
            taken += 1;
            assert!(taken < 100_000, "a drain without end");
        }
        taken
    }

    fn set_max_held(&mut self, n: u64) {
        say!("max held {n}");
        self.host.max_held = n;
        self.driver.set_max_held(n);
    }

    // ---- what must hold after every step ---------------------------------------------------------------------------

    fn check_accounts(&self) {
        let engine = &self.driver.engine;
        let counters = engine.counters();
        assert_eq!(counters.held, self.host.held, "held");
        assert!(engine.connections() as u64 <= engine.settings.max_connections);
        let open = self.clients.iter().filter_map(|client| self.driver.connection_of(client.pipe));
        let open: Vec<_> = open.filter_map(|connection| engine.connection(connection)).collect();
        assert_eq!(open.len(), engine.connections());
        if engine.is_dirty() {
            return; // brought up to date when it is written
        }
        let queued: u64 = open.iter().map(|c| c.unsent()).sum();
        assert_eq!(counters.queued_bytes, queued, "queued bytes");
        let least = open.iter().map(|c| c.memory() as u64).sum::<u64>() + self.host.heads();
        let most = least + open.iter().map(|c| c.pending).sum::<u64>();
        assert!(counters.memory >= least, "memory {} is less than {least}", counters.memory);
        // Nothing waits for the host, parked or not: then there is nothing else.
        if !engine.has_events() && counters.held < self.host.max_held && !self.driver.readable() {
            assert!(counters.memory <= most, "memory {} is more than {most}", counters.memory);
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    fn finish(mut self) {
        say!("the end");
        self.set_max_held(65_536);
        self.host.hurry = true;
        for pipe in &mut self.driver.pipes {
            pipe.room = pipe.room.max(3000); // or a long answer takes for ever
        }
        self.until_quiet(false);
        assert_eq!(self.host.unsettled(), 0, "requests are left");
        for at in 0..self.clients.len() {
            if self.calm {
                self.check_served(at);
            }
            if !self.clients[at].left {
                self.clients[at].left = true;
                match at % 2 {
                    0 => self.driver.client_leaves(self.clients[at].pipe),
                    _ => self.driver.client_resets(self.clients[at].pipe),
                }
            }
        }
        self.until_quiet(true);
        self.check_end();
    }

    /// Goes on until nothing happens by itself; `timers`: deadlines count as something.
    fn until_quiet(&mut self, timers: bool) {
        for _ in 0..50_000 {
            let before = self.driver.moved;
            let mut moved = false;
            for client in &mut self.clients {
                moved |= client.read(&mut self.driver, usize::MAX);
            }
            moved |= self.host.hurry_on(&mut self.driver);
            if self.driver.readable() {
                self.run_once(256, 1000);
                moved |= self.take_events(usize::MAX) > 0 || self.driver.moved > before;
                self.idle_rounds = if moved { 0 } else { self.idle_rounds + 1 };
                assert!(self.idle_rounds < 10, "spinning: {}", self.driver.why());
            } else if !moved {
                let Some(at) = self.driver.next_timer().filter(|_| timers) else { return };
                let at = at.max(self.driver.now + 1);
                // Where all memory is held by bodies that do not come, the engine looks now and then, in vain.
                if at >= self.driver.now + SELDOM {
                    self.idle_rounds = 0;
                }
                self.driver.now = at;
            }
            self.check_accounts();
        }
        panic!("no end in sight: {}", self.driver.why());
    }

    /// A calm client has all the answers that it may expect.
    fn check_served(&self, at: usize) {
        let client = &self.clients[at];
        let (Some(expected), false) = (client.expects(&self.host), client.left) else { return };
        let answers = client.judge(&self.host, &self.driver);
        let waiting = self.driver.backlog.contains(&client.pipe);
        assert!(answers == expected || waiting, "client {at} has {answers} answers instead of {expected}");
    }

    fn check_end(&self) {
        let engine = &self.driver.engine;
        assert_eq!(engine.connections(), 0, "connections are left");
        let counters = engine.counters();
        assert_eq!((counters.memory, counters.held, counters.queued_bytes), (0, 0, 0), "memory, held, queued bytes");
        assert!(!engine.has_events() && !engine.is_dirty() && !self.driver.readable(), "{}", self.driver.why());
        assert!(engine.is_draining() || engine.next_deadline().is_none(), "a deadline of nobody");
        assert_eq!(engine.is_draining(), self.host.drained, "DRAINED");
        assert_eq!(counters.requests as usize, self.host.records.len());
        self.host.check_end(&engine.settings);
        for client in &self.clients {
            client.judge(&self.host, &self.driver);
        }
    }
}
