//! The truth of the one fd, as a model test: random sequences of what peers, other threads and the host do, and after
//! every step `poll(fd, 0)` must say whether encke_run or encke_next would do or return something. Both failures are
//! caught: sleeping with work pending, and spinning without work.
//!
//! `ENCKE_TRUTH_SEED=n` runs one seed with a trace, `ENCKE_TRUTH_SEEDS=n` that many.
#![cfg(target_os = "linux")]

#[path = "truth/peer.rs"]
mod peer;
#[path = "truth/server.rs"]
mod server;

use std::panic::{catch_unwind, AssertUnwindSafe};

use peer::Peer;
use server::{Did, Rng, Server};

const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nExpect: 100-continue\r\n\r\n",
    b"012345678901234567890123456789012345678901234567890123456789",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: raw\r\nHost: a\r\n\r\nraw bytes",
    b"nonsense\r\n\r\n",
    b"GET / HT",
    b"TP/1.1\r\nHo",
    b"st: a\r\n\r\n",
];

struct World {
    rng: Rng,
    server: Server,
    peers: Vec<Peer>,
    /// TCP as well; its bytes may take a moment.
    tcp: bool,
    /// Something happened since the last check that the library has to look at to find that nothing follows from it: it
    /// may be woken for nothing, once.
    excused: bool,
    trace: bool,
}

impl World {
    fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::new(seed);
        let timers = rng.below(3) == 0;
        let server = Server::new(&mut rng, timers, trace);
        World { rng, server, peers: Vec::new(), tcp: seed % 2 == 1, excused: false, trace }
    }

    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            let what = self.step();
            if self.trace {
                println!("{what}");
            }
            if self.rng.below(3) > 0 {
                self.check(&what);
            }
        }
        self.check("the last step");
        self.finish();
    }

    /// All peers end, all requests are given up: nothing may be left, and no end may have been overheard.
    fn finish(&mut self) {
        self.server.set_max_held(1000);
        self.peers.iter_mut().for_each(Peer::end);
        for _ in 0..1000 {
            for peer in &mut self.peers {
                while peer.read() > 0 {}
            }
            self.server.run_and_drain();
            self.server.abort_all();
            if !self.server.readable(2) && self.server.connections() == 0 {
                return;
            }
        }
        panic!("{} connections are left although every peer has ended", self.server.connections());
    }

    /// Something happens.
    fn step(&mut self) -> String {
        if self.peers.is_empty() || self.peers.len() < 12 && self.rng.below(12) == 0 {
            return self.connect();
        }
        let at = self.rng.below(self.peers.len() as u64) as usize;
        match self.rng.below(26) {
            0..=7 => {
                let bytes = REQUESTS[self.rng.below(REQUESTS.len() as u64) as usize];
                let from = if self.rng.below(5) == 0 { self.rng.below(bytes.len() as u64) as usize } else { 0 };
                self.excused = true;
                self.peers[at].send(&bytes[from..]);
                format!("peer {at} sends {:?}", String::from_utf8_lossy(&bytes[from..]))
            }
            8 | 9 => {
                self.excused = true;
                format!("peer {at} reads {}", self.peers[at].read())
            }
            10 => {
                self.excused = true;
                self.peers[at].end();
                format!("peer {at} ends")
            }
            11 => {
                self.excused = true;
                let reset = self.rng.below(2) == 0;
                self.peers.swap_remove(at).leave(reset);
                format!("peer {at} leaves, reset {reset}")
            }
            12..=14 => {
                self.excused = true; // what its connection held back may have a look
                self.server.answer(&mut self.rng, false)
            }
            15..=17 => {
                self.excused = true;
                self.server.answer(&mut self.rng, true)
            }
            18 | 19 => {
                let budget = self.rng.below(4) as u32;
                let more = self.server.run(budget);
                if more == 0 && !self.tcp && self.rng.below(3) == 0 {
                    self.server.assert_idle_run(&self.peers);
                }
                format!("run {budget}: {more}")
            }
            20..=22 => {
                let n = self.rng.below(3) + 1;
                let events: Vec<u32> = (0..n).map_while(|_| self.server.next()).collect();
                format!("next: {events:?}")
            }
            23 => {
                self.excused = true;
                let n = [0, 1, 2, 1000][self.rng.below(4) as usize];
                self.server.set_max_held(n);
                format!("max held {n}")
            }
            24 => {
                self.excused = true;
                self.server.wake();
                "wake".to_owned()
            }
            _ => {
                self.server.wait_for_timer();
                self.excused = true;
                "a timer".to_owned()
            }
        }
    }

    fn connect(&mut self) -> String {
        self.excused = true;
        if self.tcp && self.rng.below(2) == 0 {
            self.peers.push(Peer::connect(self.server.port));
            return format!("peer {} connects", self.peers.len() - 1);
        }
        if self.rng.below(2) == 0 {
            self.peers.push(Peer::connect_unix(&self.server.path));
            return format!("peer {} connects", self.peers.len() - 1);
        }
        let (peer, other) = Peer::pair();
        if self.server.adopt(other) {
            self.peers.push(peer);
        }
        "adopts a pair".to_owned()
    }

    /// The fd says the truth now; afterwards there is nothing left to do.
    fn check(&mut self, after: &str) {
        // TCP tells of room to write when it likes.
        let mut excused = if self.tcp { 3 } else { u32::from(self.excused) };
        self.excused = false;
        for _ in 0..10_000 {
            let tick = self.server.tick();
            let readable = self.server.readable(if self.tcp { 2 } else { 0 });
            assert!(readable || !self.server.drain_is_open, "the fd is silent in an open drain, after: {after}");
            let before = self.server.snapshot(&self.peers);
            let did = self.server.run_and_drain();
            let now = self.server.snapshot(&self.peers);
            let changed = did == Did::Something || now != before;
            // A deadline may have passed in the meantime.
            let timer = self.server.timers && self.server.tick() != tick;
            if self.trace {
                println!("  readable {readable}, {did:?}, changed {changed}");
            }
            match (readable, changed) {
                (false, false) => return,
                (false, true) => assert!(timer, "the fd slept over work, after: {after}: {before:?}, {now:?}"),
                (true, true) => {}
                (true, false) if did == Did::EndedDrain || timer => {}
                (true, false) => {
                    assert!(excused > 0 || self.server.timers, "the fd is readable for nothing, after: {after}");
                    excused = excused.saturating_sub(1);
                }
            }
        }
        panic!("no end of work, after: {after}");
    }
}

#[test]
fn the_fd_tells_the_truth() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("ENCKE_TRUTH_SEED") {
        return World::new(seed, true).run(400);
    }
    let mut failed = 0;
    for seed in 0..number("ENCKE_TRUTH_SEEDS").unwrap_or(24) {
        if catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run(400))).is_err() {
            eprintln!("reproduce: ENCKE_TRUTH_SEED={seed} cargo test --test truth -- --nocapture");
            failed += 1;
            if failed >= 5 {
                break;
            }
        }
    }
    assert_eq!(failed, 0, "seeds failed");
}
