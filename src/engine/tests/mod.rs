//! A deterministic simulation of the whole engine: virtual clients, a virtual host, a virtual clock, all from one seed.
//!
//! `ENCKE_SIM_SEED=n` runs one seed with a trace, `ENCKE_SIM_SEEDS=n` that many seeds from `ENCKE_SIM_FROM` on, by as many
//! threads as there are processors or `ENCKE_SIM_JOBS` says; with `ENCKE_SIM_PUSH` only the half of each that is about push.

mod accounts;
mod client;
mod deadlines;
mod doing;
mod driver;
mod holding;
mod host;
mod memory;
mod oracle;
mod pipe;
mod push;
mod record;
mod rng;
mod scarce;
mod script;
mod single;
mod split;
mod writing;

use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::engine::event;
use crate::engine::mailbox::Submission;
use crate::engine::settings::Settings;

use client::Client;
use driver::Driver;
use host::Host;
use rng::Rng;

struct Simulation {
    rng: Rng,
    driver: Driver,
    host: Host,
    clients: Vec<Client>,
    /// Until when each of them sleeps unless there is news: most of a crowd does, and need not be looked at.
    sleep: Vec<u64>,
    /// Clients that have not connected yet.
    coming: Vec<(u64, usize)>,
    /// When the next of them comes.
    next_comes: u64,
    /// Time-outs, resets and drains may end what should have gone on.
    wild: bool,
    /// The host drains, and waits for what is under way.
    drains: bool,
    /// Very many clients, each with little to say.
    crowd: bool,
    /// Clients that ask for very much at the same time.
    floods: bool,
    /// The step at which the host frees everything, whatever is under way.
    frees_at: Option<u64>,
    steps: u64,
    freed: bool,
    /// Rounds with the fd readable and nothing done.
    idle_rounds: u32,
}

fn settings(rng: &mut Rng, wild: bool, crowd: bool, floods: bool, scratch: usize) -> Settings {
    let high_water = rng.pick(&[1, 50, 3000, 20_000, 256 << 10]);
    let mut settings = Settings {
        max_pipeline: rng.pick(&[1, 2, 5, 128]),
        buffer_body: rng.pick(&[0, 10, 300, 64 << 10]),
        high_water,
        low_water: rng.below(high_water + 1),
        body_window: rng.pick(&[100, 1000, 30_000, 256 << 10]),
        max_held: rng.pick(&[1, 3, 10, 65_536]),
        max_memory: if scratch <= 512 { rng.pick(&[64 << 10, 256 << 20]) } else { 256 << 20 },
        manual_continue: rng.chance(20),
        pipeline_safe: rng.chance(15),
        max_connections: rng.pick(&[5, 100]),
        max_head: rng.pick(&[400, 3000, 32 << 10]),
        max_fields: rng.pick(&[10, 100]),
        connect: rng.chance(50),
        ..Settings::default()
    };
    for kind in [event::DONE, event::HALF_CLOSED, event::CONNECTION] {
        settings.events |= u64::from(rng.chance(60)) << kind;
    }
    if wild {
        settings.handshake_timeout = rng.range(50, 3000);
        settings.head_timeout = rng.range(50, 3000);
        settings.body_timeout = rng.range(50, 3000);
        settings.idle_timeout = rng.range(50, 3000);
        settings.write_timeout = rng.range(50, 3000);
        settings.answer_timeout = rng.pick(&[0, 100, 1000]);
        settings.max_body = rng.pick(&[100, 64 << 20]);
        settings.max_memory = rng.pick(&[2000, 20_000, 256 << 20]);
    } else {
        const LONG: u64 = 1_000_000_000;
        if settings.max_memory < 1 << 20 {
            // What is gathered of heads and bodies alone could use it up, and nothing but a deadline would end that.
            settings.buffer_body = settings.buffer_body.min(300);
            settings.max_head = settings.max_head.min(400);
        }
        (settings.head_timeout, settings.body_timeout) = (LONG, LONG);
        (settings.idle_timeout, settings.write_timeout) = (LONG, LONG);
        (settings.handshake_timeout, settings.websocket_heartbeat) = (LONG, LONG);
    }
    if crowd {
        settings.max_connections = rng.pick(&[300, 100_000]);
        (settings.max_pipeline, settings.max_held) = (rng.pick(&[5, 128]), rng.pick(&[10, 65_536]));
        settings.max_memory = 256 << 20;
    }
    if floods {
        (settings.max_pipeline, settings.max_held) = (128, 65_536);
    }
    settings
}

impl Simulation {
    fn new(seed: u64, trace: bool) -> Simulation {
        let mut rng = Rng::new(seed);
        let wild = rng.chance(40);
        let crowd = seed % 100 == 99;
        let scratch = if crowd { 65_536 } else { rng.pick(&[64, 512, 4096, 65_536]) };
        let floods = !crowd && rng.chance(8);
        let settings = settings(&mut rng, wild, crowd, floods, scratch);
        if trace {
            println!("wild {wild}, crowd {crowd}, floods {floods}, scratch {scratch}, {settings:?}");
        }
        let max_held = settings.max_held;
        let write_turn = rng.pick(&[1, 1000, 1 << 20]);
        let secure_every = rng.pick(&[0, 0, 1, 3]);
        let driver = Driver::new(settings, scratch, write_turn, secure_every, 5000);
        let host = Host::new(driver.engine.leases().clone(), max_held, trace);
        let clients = if crowd { rng.range(1000, 3000) } else { rng.range(5, 30) };
        let over = if floods || rng.chance(20) { 5 } else { 2000 };
        let coming = (0..clients as usize).map(|client| (5000 + rng.below(over), client)).collect();
        let drains = !wild && rng.chance(15);
        let frees_at = rng.chance(12).then(|| rng.below(400));
        let (clients, sleep, next_comes) = (Vec::new(), Vec::new(), 0);
        let (steps, freed, idle_rounds) = (0, false, 0);
        Simulation {
            rng,
            driver,
            host,
            clients,
            sleep,
            coming,
            next_comes,
            wild,
            drains,
            crowd,
            floods,
            frees_at,
            steps,
            freed,
            idle_rounds,
        }
    }

    fn run(mut self) -> Tally {
        self.until_quiet(self.wild);
        if !self.freed {
            self.run_to_the_end();
        }
        // Where memory is scarce the largest answers go.
        let scarce = self.driver.engine.settings.max_memory < 1 << 20;
        let calm = !self.wild && !self.host.drained && !self.freed && !scarce;
        for client in &self.clients {
            oracle::judge(client, &self.host, &self.driver, calm);
        }
        Tally { clients: self.clients.len(), requests: self.host.records.len(), steps: self.steps }
    }

    fn run_to_the_end(&mut self) {
        // Whatever the host kept back is answered now.
        self.frees_at = None;
        self.host.all_return();
        self.set_max_held(65_536);
        self.host.finish(self.driver.now);
        self.until_quiet(self.wild);
        if let Some(record) = self.host.held_back() {
            let connection = self.driver.engine.connection_of(record.id);
            let c = connection.and_then(|connection| self.driver.engine.connection(connection));
            panic!("the host still holds a request: {record:.3000?} of {c:.1000?}");
        }
        for client in &self.clients {
            let waits = client.waits_for();
            assert!(
                client.is_done(),
                "client {} is stuck: it waits for {waits:?}, got {} answers",
                client.index,
                client.answers
            );
        }
        if self.wild {
            let left = self.driver.engine.connections();
            assert_eq!(left, 0, "nobody waits for the host any more, yet no deadline ends {left} connections");
        }
        for at in 0..self.clients.len() {
            let pipe = self.clients[at].pipe;
            if !self.clients[at].left {
                (self.clients[at].left, self.sleep[at]) = (true, u64::MAX);
                if self.rng.chance(50) {
                    self.driver.client_leaves(pipe);
                } else {
                    self.driver.client_resets(pipe);
                }
            }
        }
        self.until_quiet(true);
        self.check_end();
    }

    /// Goes on until nothing happens by itself any more; `timers`: deadlines count as something.
    fn until_quiet(&mut self, timers: bool) {
        let mut steps = 0;
        loop {
            steps += 1;
            self.steps += 1;
            assert!(steps < 1_000_000, "no end in sight");
            if self.frees_at.is_some_and(|at| at <= self.steps) {
                return self.free();
            }
            self.connect();
            let mut moved = false;
            let first = self.rng.below(self.clients.len() as u64) as usize;
            for at in (first..self.clients.len()).chain(0..first) {
                if self.sleep[at] > self.driver.now && !self.driver.news[at] {
                    continue;
                }
                moved |= self.clients[at].step(&mut self.driver, &mut self.rng);
                self.sleep[at] = self.clients[at].sleeps_until();
            }
            moved |= self.host.step(&mut self.driver, &mut self.rng);
            self.host.call(&mut self.rng);
            self.meddle();
            if self.driver.readable() {
                self.serve(moved);
            } else if !moved {
                self.check_quiet();
                let next = [
                    Some(self.next_comes).filter(|_| !self.coming.is_empty()),
                    self.sleep.iter().copied().min().filter(|at| *at != u64::MAX),
                    self.host.next_due(),
                    self.driver.next_timer().filter(|_| timers),
                ];
                let Some(next) = next.into_iter().flatten().min() else { return };
                self.idle_rounds = 0;
                self.driver.now = next.max(self.driver.now + u64::from(next <= self.driver.now));
            }
            self.check_now();
        }
    }

    /// The host ends everything at once.
    fn free(&mut self) {
        self.freed = true;
        let host = &mut self.host;
        self.driver.free(&mut |engine, submission| host.heard(engine, submission));
        let engine = &self.driver.engine;
        assert_eq!(engine.connections(), 0, "connections outlive the engine");
        accounts::check(&self.driver);
        self.host.check_freed(&self.driver);
        let late = self.driver.submit(Submission::Ack { id: self.driver.listener, n: 1 });
        assert!(late.is_err(), "something was taken after the end");
        self.host.all_return();
        for client in &mut self.clients {
            while client.step(&mut self.driver, &mut self.rng) {}
        }
    }

    fn connect(&mut self) {
        let (now, wild) = (self.driver.now, self.wild);
        if self.next_comes > now {
            return;
        }
        for at in (0..self.coming.len()).rev() {
            if self.coming[at].0 <= now {
                let (_, index) = self.coming.remove(at);
                let settings = self.driver.engine.settings.clone();
                let (asks, mut acts) = script::script(&mut self.rng, index, wild, (self.crowd, self.floods), &settings);
                let asks = Rc::new(asks);
                self.host.asks.insert(index, asks.clone());
                let leaves = matches!(acts.last(), Some(script::Act::Leave));
                if !leaves && (settings.max_connections < 100 || self.crowd) {
                    acts.push(script::Act::Leave); // others wait for its place
                }
                let room = self.rng.pick(&[100, 3000, 200_000]);
                let pipe = self.driver.connect(room);
                if self.host.trace {
                    println!("{now:8} client {index} {acts:.300?}");
                }
                assert_eq!(pipe, self.clients.len(), "each client has one pipe");
                self.clients.push(Client::new(&mut self.rng, wild, index, pipe, asks, acts, now));
                self.sleep.push(0);
            }
        }
        self.next_comes = self.coming.iter().map(|coming| coming.0).min().unwrap_or(u64::MAX);
    }

    /// The host changes its mind about limits, or wants to end.
    fn meddle(&mut self) {
        if !self.host.hurry && self.rng.below(300) == 0 {
            let n = self.rng.pick(&[0, 1, 5, 100]);
            self.set_max_held(n);
        }
        let again = self.driver.engine.is_draining() && self.rng.below(10) == 0;
        let drains = self.drains && (again || self.rng.below(200) == 0 && !self.driver.engine.is_draining());
        if drains || self.wild && self.rng.below(3000) == 0 {
            let grace = if self.wild { self.rng.below(3000) } else { 1_000_000_000 };
            self.driver.drain(grace);
            self.coming.clear();
        }
        if self.wild && self.rng.below(500) == 0 && !self.clients.is_empty() {
            let client = self.rng.below(self.clients.len() as u64) as usize;
            if let Some(connection) = self.driver.connection_of(self.clients[client].pipe) {
                self.clients[client].rude = true;
                self.host.speak(&mut self.driver);
                self.driver.engine.cut(connection, event::End::Host);
                self.driver.after_answer();
            }
        }
    }

    fn set_max_held(&mut self, n: u64) {
        self.host.max_held = n;
        self.driver.set_max_held(n);
    }

    /// The fd is readable: run, then take events.
    fn serve(&mut self, moved: bool) {
        self.host.take_back_heads(&mut self.driver);
        let before = self.driver.moved;
        let thorough = self.idle_rounds > 2;
        let mut progress = moved;
        if thorough || self.rng.chance(90) {
            let budget = if thorough || self.rng.chance(60) { 256 } else { self.rng.range(1, 5) as u32 };
            let hears = if thorough || self.rng.chance(60) { 1000 } else { self.rng.range(1, 3) as usize };
            let host = &mut self.host;
            self.driver.run(budget, hears, &mut |engine, submission| host.heard(engine, submission));
            accounts::check_queue(&self.driver.engine, self.driver.might_wait);
        }
        let most = if thorough || self.rng.chance(70) { usize::MAX } else { self.rng.below(4) as usize };
        let mut taken = 0;
        while taken < most {
            self.host.take_back_heads(&mut self.driver);
            let Some(event) = self.driver.next() else { break };
            taken += 1;
            progress = true;
            self.host.event(event, &mut self.driver, &mut self.rng);
            if !self.host.hurry && self.rng.below(100) == 0 {
                let n = self.rng.pick(&[0, 1, 2, 1000]);
                self.set_max_held(n); // while requests are queued for it
            }
            if self.rng.chance(50) {
                self.host.step(&mut self.driver, &mut self.rng);
            }
            assert!(taken < 100_000, "a drain without end");
        }
        progress |= self.driver.moved > before;
        self.idle_rounds = if progress { 0 } else { self.idle_rounds + 1 };
        // A run serves 256; new connections that say nothing yet are served in vain.
        if self.idle_rounds == 5 + self.clients.len() as u32 / 100 {
            panic!("spinning: the fd is readable, but nothing is done: {}", self.driver.why());
        }
    }

    fn check_now(&mut self) {
        if self.crowd && self.rng.below(50) != 0 {
            return; // it is counted anew, which takes long for so many
        }
        accounts::check(&self.driver);
        self.host.check_leases(&self.driver);
        let (engine, counters) = (&self.driver.engine, self.driver.engine.counters());
        assert_eq!(counters.held, self.host.held, "held");
        let seen = (self.driver.taken, self.driver.given, self.driver.accepted);
        assert_eq!((counters.bytes_in, counters.bytes_out, counters.accepted), seen, "bytes in, bytes out, accepted");
        assert!(engine.connections() as u64 <= engine.settings.max_connections);
        let wanted = engine.events.has_parked() && counters.held < engine.settings.max_held;
        assert!(!wanted || self.driver.readable(), "requests wait, the host would take them, and the fd is silent");
    }

    /// The fd is quiet, so there is nothing to do: to run in spite of that changes nothing and brings nothing.
    fn check_quiet(&mut self) {
        if self.crowd && self.steps % 8 != 0 {
            return;
        }
        accounts::check_quiet(&self.driver);
        deadlines::check_quiet(&self.driver);
        self.host.check_half_closed(&self.driver);
        let before = accounts::fingerprint(&self.driver);
        self.driver.run(256, 1000, &mut |_, submission| panic!("the fd is silent, yet a thread said {submission:?}"));
        if let Some(event) = self.driver.next() {
            panic!("the fd is silent, yet there is {event:?}");
        }
        assert_eq!(accounts::fingerprint(&self.driver), before, "the fd was silent, yet a run did something");
        assert!(!self.driver.readable(), "a run of a quiet engine made the fd readable: {}", self.driver.why());
    }

    fn check_end(&mut self) {
        if self.driver.engine.is_draining() {
            self.driver.drain(1000);
            if let Some(event) = self.driver.next() {
                panic!("drained, and yet there is {event:?}");
            }
        }
        self.host.all_return();
        self.host.take_back_heads(&mut self.driver);
        assert!(self.host.heads.is_empty(), "heads were never given back");

        let engine = &self.driver.engine;
        assert_eq!(engine.connections(), 0, "connections are left");
        let counters = engine.counters();
        assert_eq!((counters.memory, counters.held, counters.queued_bytes), (0, 0, 0), "memory, held, queued bytes");
        assert!(!engine.has_events() && !engine.events.has_parked(), "events are left");
        assert!(!engine.is_dirty() && !self.driver.readable());
        assert_eq!(engine.undelivered, 0);
        assert!(engine.exchanges.is_empty(), "{} exchanges are left", engine.exchanges.len());
        assert!(engine.is_draining() || engine.next_deadline().is_none(), "a deadline of nobody");
        assert_eq!(engine.is_draining(), self.host.drained, "DRAINED");
        assert!(engine.pool.is_modest(), "too much is kept");
        self.host.check_end(engine.settings.wants(event::DONE));
        if engine.settings.wants(event::CONNECTION) {
            assert_eq!(self.host.open_connections, 0, "CONNECTION events");
        }
        assert_eq!(counters.requests as usize, self.host.records.len());
    }
}

/// What a seed came to.
#[derive(Debug, Default)]
struct Tally {
    clients: usize,
    requests: usize,
    steps: u64,
}

impl Tally {
    fn add(&mut self, (clients, requests, steps): (usize, usize, u64)) {
        self.clients += clients;
        self.requests += requests;
        self.steps += steps;
    }
}

/// All the worlds of a seed.
fn worlds(seed: u64, push_alone: bool, trace: bool) -> Tally {
    let mut all = Tally::default();
    if !push_alone {
        all = Simulation::new(seed, trace).run();
    }
    if !push_alone && seed % 3 == 0 {
        all.add(memory::World::new(seed, trace).run());
    }
    all.add(push::World::new(seed, trace).run());
    all
}

/// Many seeds, on all processors: each takes the next that nobody has.
struct Seeds {
    from: u64,
    next: AtomicU64,
    end: u64,
    push_alone: bool,
    /// After so many failures no further seed is begun.
    most: u64,
    failed: AtomicU64,
}

impl Seeds {
    fn work(&self) -> Tally {
        let mut all = Tally::default();
        while self.failed.load(SeqCst) < self.most {
            let seed = self.next.fetch_add(1, SeqCst);
            if seed >= self.end {
                break;
            }
            if seed % 1000 == 0 && seed > self.from {
                println!("seed {seed}");
            }
            match catch_unwind(|| worlds(seed, self.push_alone, false)) {
                Ok(tally) => all.add((tally.clients, tally.requests, tally.steps)),
                Err(_) => {
                    self.failed.fetch_add(1, SeqCst);
                    // In one write: what a panic of another thread says does not wait for its turn.
                    let command = "cargo test --lib engine::tests::simulation -- --nocapture";
                    let line = format!("reproduce: ENCKE_SIM_SEED={seed} {command}\n");
                    eprint!("{line}");
                }
            }
        }
        all
    }
}

#[test]
fn simulation() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let push_alone = number("ENCKE_SIM_PUSH").is_some();
    if let Some(seed) = number("ENCKE_SIM_SEED") {
        worlds(seed, push_alone, true);
        return;
    }
    let usual = 100 / crate::every(100) as u64;
    let (from, seeds) = (number("ENCKE_SIM_FROM").unwrap_or(0), number("ENCKE_SIM_SEEDS").unwrap_or(usual));
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let jobs = number("ENCKE_SIM_JOBS").unwrap_or(processors);
    let work = Seeds {
        from,
        next: AtomicU64::new(from),
        end: from + seeds,
        push_alone,
        most: if number("ENCKE_SIM_FIRST").is_some() { 1 } else { 5 },
        failed: AtomicU64::new(0),
    };
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(|| work.work())).collect();
        for worker in workers {
            let tally = worker.join().expect("what a seed does is caught");
            all.add((tally.clients, tally.requests, tally.steps));
        }
    });
    println!("{seeds} seeds: {} clients, {} requests, {} steps", all.clients, all.requests, all.steps);
    assert_eq!(work.failed.into_inner(), 0, "seeds failed");
}
