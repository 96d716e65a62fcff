//! The simulation of push: virtual clients of every transport, a virtual host that publishes, one or two engines that share
//! a hub.

mod client;
mod host;
mod judge;
mod model;
mod plan;
mod session;
mod wire;

use std::sync::Arc;

use crate::engine::event::{self, End};
use crate::engine::settings::Settings;
use crate::push::hub::Hub;
use crate::push::policy::Choice;

use super::accounts;
use super::deadlines;
use super::driver::Driver;
use super::rng::Rng;
pub use client::masked;
use client::{Book, Client};
use host::Host;
use model::Model;

/// The life of the hub.
pub const EPOCH: u64 = 0xe_9c4e;
/// When the world begins.
const BEGIN: u64 = 5000;

#[derive(Debug)]
pub struct World {
    rng: Rng,
    drivers: Vec<Driver>,
    hub: Arc<Hub>,
    model: Model,
    host: Host,
    book: Book,
    clients: Vec<Client>,
    /// Time-outs, cuts and drains may end what should have gone on.
    wild: bool,
    drains: bool,
    frees_at: Option<u64>,
    /// Until then everything goes its way.
    horizon: u64,
    steps: u64,
    idle_rounds: u32,
    trace: bool,
}

fn settings(rng: &mut Rng, wild: bool, tight: bool) -> Settings {
    let high_water = rng.pick(&[100, 3000, 256 << 10]);
    let mut settings = Settings {
        high_water,
        low_water: rng.below(high_water + 1),
        max_pipeline: rng.pick(&[1, 3, 128]),
        max_body: 64 << 20,
        max_memory: if tight { rng.pick(&[20_000, 100_000]) } else { 256 << 20 },
        websocket_heartbeat: rng.pick(&[0, 700, 4000, 30_000]),
        ..Settings::default()
    };
    for kind in [event::DONE, event::SUBSCRIBER, event::HALF_CLOSED, event::CONNECTION] {
        settings.events |= u64::from(rng.chance(75)) << kind;
    }
    const LONG: u64 = 1_000_000_000;
    let mut time = || if wild { rng.range(100, 5000) } else { LONG };
    settings.head_timeout = time();
    settings.body_timeout = time();
    settings.idle_timeout = time();
    settings.write_timeout = time();
    settings.handshake_timeout = time();
    settings
}

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::new(seed ^ 0x7075_7368_0000_0000);
        let (wild, tight) = (rng.chance(25), rng.chance(10));
        let engines = if rng.chance(40) { 2 } else { 1 };
        // Very many ask for the same, and are given little at a time.
        let crowd = rng.chance(8);
        // Most of them poll, without saying where they were.
        let polls = seed % 12 == 5;
        let hub = Arc::new(Hub::new(EPOCH));
        let mut model = Model::new(EPOCH);
        for pattern in ["*", "a/*", "a/b/*", "a/1", "c"] {
            for (choice, values) in [
                (Choice::History, &[0, 1, 3, 20, 1000][..]),
                (Choice::Bytes, &[0, 500, 5000, 1 << 20]),
                (Choice::Ttl, &[1, 1000, 10_000, 1 << 40]),
                (Choice::Slow, &[0, 0, 1, 2, 3]),
                (Choice::Backlog, &[1, 400, 2000, 20_000, 1 << 20]),
                (Choice::Heartbeat, &[0, 500, 3000, 30_000]),
            ] {
                if rng.chance(if pattern == "*" { 70 } else { 25 }) {
                    let value = rng.pick(values);
                    hub.set(pattern, choice, value, BEGIN);
                    model.set(pattern, choice, value, BEGIN);
                }
            }
        }
        let drivers: Vec<Driver> = (0..engines)
            .map(|e| {
                let settings = settings(&mut rng, wild, tight);
                if trace {
                    println!("engine {e}: wild {wild}, tight {tight}, {settings:?}");
                }
                let (scratch, turn, secure) =
                    (rng.pick(&[64, 4096, 65_536]), rng.pick(&[1, 1000, 1 << 20]), rng.pick(&[0, 1, 3]));
                let mut driver = Driver::with_tag(7 + e, settings, scratch, turn, secure, BEGIN);
                driver.sends = rng.pick(if crowd { &[1, 2, 3] } else { &[1, 3, 256] });
                driver.sends_at_once = rng.pick(if crowd { &[1, 1] } else { &[1, 32] });
                driver.enter(hub.clone());
                driver
            })
            .collect();
        if trace {
            println!("{model:?}");
        }
        let publishes = if crowd || polls { rng.range(60, 200) } else { rng.range(5, 120) } as u32;
        let host = Host::new(hub.clone(), drivers.len(), publishes, (tight, crowd, polls), BEGIN, trace);
        let over = if rng.chance(30) { 5 } else { 8000 };
        let most = if crowd || polls { rng.range(12, 40) } else { rng.range(1, 12) };
        let clients = (0..most as usize).map(|index| {
            let due = BEGIN + rng.below(over);
            Client::new(&mut rng, index, (crowd, polls), due)
        });
        let clients = clients.collect();
        let horizon = BEGIN + rng.range(5_000, 40_000);
        let (drains, frees_at) = (rng.chance(10), rng.chance(10).then(|| rng.below(600)));
        World {
            rng,
            drivers,
            hub,
            model,
            host,
            book: Book::default(),
            clients,
            wild,
            drains,
            frees_at,
            horizon,
            steps: 0,
            idle_rounds: 0,
            trace,
        }
    }

    /// Clients, requests, steps.
    pub fn run(mut self) -> (usize, usize, u64) {
        self.until_quiet(true, self.horizon);
        // Nothing is kept back any more, and whatever was published arrives.
        self.frees_at = None;
        let now = self.drivers[0].now;
        self.host.finish(now);
        for client in &mut self.clients {
            client.stay(now);
        }
        self.until_quiet(false, u64::MAX);
        let first = self.rng.chance(50);
        for resets in [first, !first] {
            if resets {
                for e in 0..self.drivers.len() {
                    self.drain(e, 1_000_000_000);
                }
                self.until_quiet(true, self.drivers[0].now + 10_000);
            }
            for at in 0..self.clients.len() {
                let client = &mut self.clients[at];
                client.rounds = 0;
                if let Some((e, _)) = client.at {
                    let resets = self.rng.chance(50);
                    client.leave(&mut self.drivers[e], &mut self.book, &mut self.rng, resets);
                }
            }
            self.until_quiet(true, u64::MAX);
        }
        self.check_end();
        let calm = !self.wild;
        judge::all(&self.host, &self.book, &self.model, calm, self.clients.len());
        (self.clients.len(), self.host.sessions.len(), self.steps)
    }

    fn is_freed(&self, e: usize) -> bool {
        self.host.freed[e]
    }

    fn until_quiet(&mut self, timers: bool, horizon: u64) {
        let mut steps = 0;
        loop {
            steps += 1;
            self.steps += 1;
            assert!(steps < 200_000, "no end in sight: {}", self.why());
            if self.frees_at.is_some_and(|at| at <= self.steps) {
                self.frees_at = None;
                let e = self.rng.below(self.drivers.len() as u64) as usize;
                self.free(e);
            }
            let mut moved = false;
            let first = self.rng.below(self.clients.len() as u64) as usize;
            for i in 0..self.clients.len() {
                let at = (first + i) % self.clients.len();
                moved |= self.clients[at].step(&mut self.drivers, &self.model, &mut self.book, &mut self.rng);
            }
            moved |= self.host.step(&mut self.drivers, &mut self.model, &mut self.rng);
            self.meddle();
            let mut readable = false;
            for e in 0..self.drivers.len() {
                if !self.is_freed(e) && self.drivers[e].readable() {
                    readable = true;
                    self.serve(e, moved);
                }
            }
            self.check_now();
            if readable || moved {
                continue;
            }
            self.check_quiet();
            let now = self.drivers[0].now;
            let clients = self.clients.iter().filter_map(|client| client.next_due(now)).min();
            let deadlines = (0..self.drivers.len())
                .filter(|e| !self.is_freed(*e))
                .filter_map(|e| self.drivers[e].next_timer())
                .min();
            let next = [clients, self.host.next_due(), deadlines.filter(|_| timers)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next < horizon) else { return };
            self.idle_rounds = 0;
            let now = next.max(now + 1);
            self.drivers.iter_mut().for_each(|driver| driver.now = now);
        }
    }

    /// What goes on.
    fn why(&self) -> String {
        let now = self.drivers[0].now;
        let clients: Vec<_> = self.clients.iter().map(|client| client.next_due(now)).collect();
        let engines: Vec<String> = self.drivers.iter().map(Driver::why).collect();
        format!(
            "now {now}, the host is due at {:?}, clients at {clients:?}, engines: {engines:?}",
            self.host.next_due()
        )
    }

    fn serve(&mut self, e: usize, moved: bool) {
        let World { drivers, host, model, book, rng, .. } = self;
        while drivers[e].engine.take_retired().is_some() {}
        let before = drivers[e].moved;
        let thorough = self.idle_rounds > 2;
        let mut progress = moved;
        if thorough || rng.chance(90) {
            let budget = if thorough || rng.chance(60) { 256 } else { rng.range(1, 5) as u32 };
            let hears = if thorough || rng.chance(60) { 1024 } else { rng.range(1, 3) as usize };
            drivers[e].run(budget, hears, &mut |engine, submission| host.heard(e, engine, submission, model));
        }
        let most = if thorough || rng.chance(70) { usize::MAX } else { rng.below(4) as usize };
        let mut taken = 0;
        while taken < most {
            while drivers[e].engine.take_retired().is_some() {}
            let Some(event) = drivers[e].next() else { break };
            taken += 1;
            progress = true;
            host.event(e, event, drivers, book, rng);
            if rng.chance(30) {
                host.step(drivers, model, rng);
            }
            assert!(taken < 100_000, "a drain without end");
        }
        progress |= drivers[e].moved > before;
        self.idle_rounds = if progress { 0 } else { self.idle_rounds + 1 };
        assert!(self.idle_rounds < 20, "spinning: the fd is readable, but nothing is done: {}", drivers[e].why());
    }

    fn meddle(&mut self) {
        let e = self.rng.below(self.drivers.len() as u64) as usize;
        if self.is_freed(e) {
            return;
        }
        if self.drains && self.rng.below(400) == 0 && !self.host.hurry {
            let grace = if self.wild { self.rng.below(3000) } else { 1_000_000_000 };
            self.drain(e, grace);
        }
        if self.rng.below(300) == 0 {
            // Shorter histories; longer ones are no promise for what is gone.
            let pattern = self.rng.pick(&["*", "a/*", "c"]);
            let (choice, value) = match self.rng.below(3) {
                0 => (Choice::History, self.rng.below(20)),
                1 => (Choice::Bytes, self.rng.below(5000)),
                _ => (Choice::Ttl, self.model.rule(pattern, Choice::Ttl) / 2),
            };
            let now = self.drivers[0].now;
            let longer = choice == Choice::Ttl && pattern != "*" && self.model.rule("*", choice) > value;
            if !longer {
                self.hub.set(pattern, choice, value, now);
                self.model.set(pattern, choice, value, now);
            }
        }
        if self.wild && self.rng.below(1000) == 0 && !self.clients.is_empty() {
            let at = self.rng.below(self.clients.len() as u64) as usize;
            if let Some((e, pipe)) = self.clients[at].at.filter(|at| !self.host.freed[at.0]) {
                if let Some(connection) = self.drivers[e].connection_of(pipe) {
                    self.host.speak(e, &mut self.drivers[e], &mut self.model);
                    self.drivers[e].engine.cut(connection, End::Host);
                    self.drivers[e].after_answer();
                }
            }
        }
    }

    fn drain(&mut self, e: usize, grace: u64) {
        if !self.is_freed(e) {
            self.host.speak(e, &mut self.drivers[e], &mut self.model);
            self.drivers[e].drain(grace);
        }
    }

    fn free(&mut self, e: usize) {
        if self.is_freed(e) {
            return;
        }
        if self.trace {
            println!("engine {e} is freed");
        }
        let World { drivers, host, model, .. } = self;
        drivers[e].free(&mut |engine, submission| host.heard(e, engine, submission, model));
        host.freed[e] = true;
        let driver = &mut drivers[e];
        assert_eq!(driver.engine.connections(), 0, "connections outlive the engine");
        for pipe in std::mem::take(&mut driver.backlog) {
            (driver.pipes[pipe].ended, driver.news[pipe]) = (Some(super::pipe::Ended::Reset), true);
        }
        accounts::check(driver);
    }

    // ---- checks ----------------------------------------------------------------------------------------------------

    fn check_now(&mut self) {
        for (e, driver) in self.drivers.iter().enumerate().filter(|(e, _)| !self.host.freed[*e]) {
            accounts::check(driver);
            judge::now(driver, e, &self.host, &self.model);
            if self.steps % 8 == 0 {
                judge::latest(driver, e, &self.host, &self.model);
            }
        }
    }

    fn check_quiet(&mut self) {
        for e in 0..self.drivers.len() {
            if self.is_freed(e) {
                continue;
            }
            let driver = &mut self.drivers[e];
            accounts::check_quiet(driver);
            deadlines::check_quiet(driver);
            judge::quiet(driver, e, &self.host, &self.clients, &self.book, &self.model);
            let before = accounts::fingerprint(driver);
            driver.run(256, 1024, &mut |_, submission| panic!("the fd is silent, yet a thread said {submission:?}"));
            if let Some(event) = driver.next() {
                panic!("the fd is silent, yet there is {event:?}");
            }
            assert_eq!(accounts::fingerprint(driver), before, "the fd was silent, yet a run did something");
            assert!(!driver.readable(), "a run of a quiet engine made the fd readable: {}", driver.why());
        }
        judge::timers(&self.host, &self.drivers);
        let told = self.drivers.iter().all(|driver| driver.engine.settings.wants(event::SUBSCRIBER));
        if told {
            judge::seats(&self.host, &self.drivers, &mut self.model, self.drivers[0].now);
        }
    }

    fn check_end(&mut self) {
        // All histories go.
        let now = self.drivers[0].now;
        for pattern in ["*", "a/*", "a/b/*", "a/1", "c"] {
            self.hub.set(pattern, Choice::History, 0, now);
        }
        for (e, driver) in self.drivers.iter().enumerate() {
            let engine = &driver.engine;
            assert_eq!(engine.connections(), 0, "connections are left");
            if self.host.freed[e] {
                continue;
            }
            let counters = engine.counters();
            let all = (counters.memory, counters.held, counters.queued_bytes, counters.subscribers);
            assert_eq!(all, (0, 0, 0, 0), "memory, held, queued bytes, subscribers");
            assert!(engine.exchanges.is_empty(), "{} exchanges are left", engine.exchanges.len());
            assert!(!engine.has_events() && !engine.is_dirty() && !engine.has_turns());
            assert!(self.host.drained[e], "DRAINED is missing");
            let done = engine.settings.wants(event::DONE);
            for session in self.host.sessions.iter().filter(|session| session.engine == e) {
                session.check_end(done);
            }
        }
        if !self.host.freed.contains(&true) {
            assert_eq!(self.hub.memory(), 0, "bytes of messages are left");
        }
        assert_eq!(self.hub.channels(), 0, "channels are left");
    }
}
