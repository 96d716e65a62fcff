//! Owns the virtual host: it takes events, keeps the account that the contract asks for (L1 to L6, F3, F5), and answers
//! when and how the dice say, from the loop or as another thread would. Rule: every event and every result is checked
//! the moment it comes.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use crate::engine::event::{Event, What};
use crate::engine::head;
use crate::engine::id::Id;
use crate::engine::lease::Leases;
use crate::engine::mailbox::Submission;
use crate::engine::{Engine, Error};

use super::driver::Driver;
use super::record::{Record, Said, Step};
use super::rng::{part, pattern, Rng};
use super::script::{tunnel_bytes, Ask, Framing};

#[derive(Debug)]
pub struct Host {
    pub records: Vec<Record>,
    pub asks: HashMap<usize, Rc<Vec<Ask>>>,
    by_id: HashMap<Id, usize>,
    by_ask: HashMap<(usize, usize), usize>,
    /// Records by client, in order.
    of: HashMap<usize, Vec<usize>>,
    pub leases: Arc<Leases>,
    pub held: u64,
    pub max_held: u64,
    pub drained: bool,
    pub open_connections: i64,
    /// Nothing is kept back any more.
    pub hurry: bool,
    pub cookies: u64,
    pub file: &'static (File, Vec<u8>),
    /// Records that are not over.
    pub active: Vec<usize>,
    /// Heads that the library keeps for the host, by slot.
    pub heads: HashMap<u32, usize>,
    /// Calls of threads that are under way, each on a slot.
    pub calls: Vec<u32>,
    pub trace: bool,
}

pub const FOREVER: u64 = u64::MAX;

/// What all hosts answer with; it has no name, so nobody can change it.
fn file() -> &'static (File, Vec<u8>) {
    static FILE: OnceLock<(File, Vec<u8>)> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("encke-simulation-{}", std::process::id()));
        let content = pattern(3, 30_000);
        std::fs::write(&path, &content).expect("a temporary file");
        let file = File::open(&path).expect("the file just written");
        std::fs::remove_file(&path).expect("removing it");
        (file, content)
    })
}

impl Host {
    pub fn new(leases: Arc<Leases>, max_held: u64, trace: bool) -> Host {
        Host {
            records: Vec::new(),
            asks: HashMap::new(),
            by_id: HashMap::new(),
            by_ask: HashMap::new(),
            of: HashMap::new(),
            leases,
            held: 0,
            max_held,
            drained: false,
            open_connections: 0,
            hurry: false,
            cookies: 0,
            file: file(),
            active: Vec::new(),
            heads: HashMap::new(),
            calls: Vec::new(),
            trace,
        }
    }

    pub fn record(&self, client: usize, n: usize) -> Option<&Record> {
        self.by_ask.get(&(client, n)).map(|at| &self.records[*at])
    }

    /// What one client asked, as far as it was handed over.
    pub fn records_of(&self, client: usize) -> impl DoubleEndedIterator<Item = &Record> {
        let records = &self.records;
        self.of.get(&client).into_iter().flatten().map(move |at| &records[*at])
    }

    // ---- events ----------------------------------------------------------------------------------------------------------

    pub fn event(&mut self, event: Event, driver: &mut Driver, rng: &mut Rng) {
        if self.trace {
            println!("{:8} event {:x} {:?}", driver.now, event.id.0, short(&event.what));
        }
        let id = event.id;
        let at = match event.what {
            What::Request(head) => return self.request(*head, driver, rng),
            What::Drained => {
                assert!(!self.drained, "DRAINED twice");
                assert_eq!(driver.engine.connections(), 0, "DRAINED with open connections");
                self.drained = true;
                return;
            }
            What::Connection(open) => {
                self.open_connections += if open { 1 } else { -1 };
                assert!(self.open_connections >= 0, "a connection is over that never was");
                return;
            }
            What::Listener(_) => panic!("no listener was in trouble"),
            _ => *self.by_id.get(&id).unwrap_or_else(|| panic!("an event of {id:?}, which was never handed over")),
        };
        let record = &mut self.records[at];
        assert!(record.done.is_none(), "an event after DONE: {:?}", short(&event.what));
        let over = matches!(event.what, What::Done { .. } | What::Released { .. });
        assert!(record.aborted.is_none() || over, "an event after ABORTED: {:?}", short(&event.what));
        assert_eq!(event.user, record.user, "ev.user of {:?}", short(&event.what));
        match event.what {
            What::Body { data, more } => {
                assert!(!record.settled, "BODY after the settle");
                assert!(!record.body_over, "BODY after the last piece");
                assert!(record.body_follows || record.tunnel, "BODY without BODY_FOLLOWS");
                record.got.extend_from_slice(&data);
                record.unacked += data.len() as u64;
                let settings = &driver.engine.settings;
                let ask = &self.asks[&record.client][record.n];
                let most = match ask.framing {
                    Framing::Chunked => settings.body_window.max(settings.buffer_body as u64 + 1),
                    _ => settings.body_window,
                };
                assert!(record.unacked <= most, "{} un-acked bytes, {most} are the most", record.unacked);
                let delay = if rng.chance(60) || self.hurry { 0 } else { rng.below(300) };
                record.acks.push((driver.now + delay, data.len() as u64));
                record.body_over = !more;
                if !more && matches!(record.steps.front(), Some(Step::WaitForBody)) {
                    record.due = driver.now;
                }
                assert!(record.tunnel || record.got.len() as u64 <= settings.max_body, "a body beyond the limit");
                let before = record.got.len() - data.len();
                let same = if record.tunnel {
                    data == part(tunnel_bytes(record.client), before, data.len())
                } else {
                    ask.body.get(before..record.got.len()) == Some(&data[..])
                };
                assert!(same, "the body of {}/{} arrived changed", record.client, record.n);
                // An answer that is begun before 100-continue went out refuses the body: it ends without a byte.
                let refused = ask.expect && record.got.is_empty() && record.has_begun();
                if !more && !record.tunnel && !refused {
                    assert_eq!(record.got.len(), ask.body.len(), "the last piece came before the end of the body");
                }
                driver.engine.recycle_buffer(data);
            }
            What::Writable => {
                assert!(!record.settled && record.aborted.is_none(), "WRITABLE of a request that is over");
                assert!(std::mem::take(&mut record.again), "WRITABLE without AGAIN");
                let queued = self.leases.queued(id.slot());
                let low = driver.engine.settings.low_water;
                assert!(queued == 0 || queued < low, "WRITABLE with {queued} queued, low water is {low}");
                record.due = driver.now;
            }
            What::HalfClosed => {
                assert!(!record.settled, "HALF_CLOSED after the settle");
                assert!(!std::mem::replace(&mut record.half_closed, true), "HALF_CLOSED twice");
            }
            What::Aborted(end) => {
                assert!(record.aborted.is_none(), "ABORTED twice");
                assert!(!record.settled, "ABORTED after the settle");
                record.aborted = Some(end);
                record.again = false;
                record.steps = [Step::Abort].into();
                record.due = driver.now + if self.hurry || rng.chance(50) { 0 } else { rng.below(500) };
            }
            What::Released { cookie } => {
                let (lent, bytes) = record.loan.take().expect("RELEASED without a loan");
                assert_eq!(lent, cookie);
                assert_eq!(Arc::strong_count(&bytes), 1, "RELEASED while the library still holds the buffer");
            }
            What::Done { code, len } => {
                assert!(record.settled, "DONE before the settle");
                assert!(record.loan.is_none(), "DONE before RELEASED");
                record.done = Some((code, len));
            }
            _ => unreachable!("handled above"),
        }
    }

    fn request(&mut self, head: head::Head, driver: &mut Driver, rng: &mut Rng) {
        let id = head.id;
        let target = std::str::from_utf8(head.text(head.target)).expect("our own target");
        let mut numbers = target.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok());
        let (client, n): (usize, usize) = numbers.next().zip(numbers.next()).expect("our own target");
        let asks = self.asks[&client].clone();
        let ask = &asks[n];
        assert!(ask.bad.is_none(), "a bad request was handed over");
        assert!(self.held < self.max_held, "a request beyond MAX_HELD");
        let before = self.records_of(client).next_back().map(|record| record.n);
        assert!(before.map_or(n == 0, |before| n == before + 1), "{client}/{n} after {before:?}");
        assert!(self.leases.alive(id));
        let held = || self.records_of(client).filter(|record| !record.settled && record.aborted.is_none());
        let open = held().count();
        let most = driver.engine.settings.max_pipeline as usize;
        let switches = |record: &Record| self.asks[&client][record.n].upgrade || record.connect;
        assert!(!held().any(switches), "a request behind one that may switch the protocol");
        assert!(open < most, "{} requests of one connection, {most} are the most", open + 1);
        let unsafe_one = held().any(|record| !record.safe);
        let safe = ask.framing == Framing::None && !ask.connect;
        let alone = driver.engine.settings.pipeline_safe && (!safe && open > 0 || unsafe_one);
        assert!(!alone, "an unsafe request beside another");
        let method: &[u8] = match (ask.head, ask.body.is_empty() && ask.framing == super::script::Framing::None) {
            (true, _) => b"HEAD",
            _ if ask.connect => b"CONNECT",
            (_, true) => b"GET",
            _ => b"POST",
        };
        assert_eq!(head.text(head.method), method);
        let query: &[u8] = if ask.connect { b"" } else { b"q" };
        assert_eq!((head.text(head.query), head.version), (query, if ask.http10 { 10 } else { 11 }));
        assert_eq!(head.listener, driver.listener);
        let follows = head.flags & head::BODY_FOLLOWS != 0;
        if !follows {
            assert_eq!(head.body(), ask.body, "the body of {client}/{n}");
            assert!(ask.body.len() <= driver.engine.settings.buffer_body && !ask.broken);
            assert!(ask.body.len() as u64 <= driver.engine.settings.max_body, "a body beyond the limit");
        } else {
            let settings = &driver.engine.settings;
            let larger = ask.body.len() > settings.buffer_body;
            assert!(larger || ask.expect && settings.manual_continue, "a body in pieces that would come whole");
        }
        assert_eq!(head.flags & head::UPGRADE != 0, ask.upgrade || ask.connect);
        let fields = head.fields.len();
        assert_eq!(fields, ask.head_bytes(client, n).iter().filter(|byte| **byte == b'\n').count() - 2);
        assert!(!self.calls.contains(&id.slot()), "a slot was used again under a call");
        assert!(self.heads.insert(id.slot(), self.records.len()).is_none(), "a head in the place of another");
        self.held += 1;
        let threaded = rng.chance(40);
        let mut record = Record {
            id,
            client,
            n,
            steps: VecDeque::new(),
            due: driver.now,
            safe,
            expects: head.flags & head::EXPECT != 0,
            threaded,
            status: rng.pick(&[200, 200, 200, 404, 299, 204, 304]),
            close: rng.chance(4),
            length: None,
            outbox: VecDeque::new(),
            in_mailbox: VecDeque::new(),
            told: Vec::new(),
            key: (client * 100 + n) as u64 + 77,
            written: 0,
            upgrade: (ask.upgrade || ask.connect) && !ask.hasty,
            connect: ask.connect,
            tunnel: false,
            body_follows: follows,
            got: Vec::new(),
            body_over: false,
            half_closed: false,
            unacked: 0,
            acks: Vec::new(),
            again: false,
            settled: false,
            settle_heard: false,
            aborted: None,
            done: None,
            loan: None,
            user: 0,
        };
        if rng.chance(50) {
            record.user = id.0 ^ 5;
            self.leases.set_user(id, record.user).expect("a fresh id");
        }
        record.plan(rng, driver.engine.settings.manual_continue);
        record.due = match rng.below(20) {
            _ if self.hurry => driver.now,
            0..=8 => driver.now,
            9 => FOREVER,
            _ => driver.now + rng.below(1500),
        };
        assert!(self.by_id.insert(id, self.records.len()).is_none(), "an id was given out twice");
        let twice = self.by_ask.insert((client, n), self.records.len());
        assert_eq!(twice, None, "{client}/{n} was handed over twice");
        self.of.entry(client).or_default().push(self.records.len());
        self.active.push(self.records.len());
        self.records.push(record);
        driver.engine.recycle_head(Box::new(head));
    }

    // ---- what the host does by itself --------------------------------------------------------------------------------------

    /// When it acts by itself next.
    pub fn next_due(&self) -> Option<u64> {
        let due = |record: &Record| {
            let steps = (!record.steps.is_empty() && !record.again && record.due != FOREVER).then_some(record.due);
            let acks = record.acks.iter().map(|ack| ack.0).min();
            [steps, acks, record.outbox.front().map(|entry| entry.0)].into_iter().flatten().min()
        };
        self.active.iter().filter_map(|at| due(&self.records[*at])).min()
    }

    /// From now on nothing is kept back.
    pub fn finish(&mut self, now: u64) {
        self.hurry = true;
        for at in &self.active {
            let record = &mut self.records[*at];
            record.due = record.due.min(now);
        }
    }

    /// A request that is still to be settled.
    pub fn held_back(&self) -> Option<&Record> {
        self.active.iter().map(|at| &self.records[*at]).find(|record| !record.settled)
    }

    /// Does what is due. True: something was done.
    pub fn step(&mut self, driver: &mut Driver, rng: &mut Rng) -> bool {
        let mut moved = false;
        let first = rng.below(self.active.len() as u64) as usize;
        for i in 0..self.active.len() {
            let at = self.active[(first + i) % self.active.len()];
            moved |= self.post(at, driver, rng);
            let record = &self.records[at];
            if record.acks.iter().any(|ack| ack.0 <= driver.now) {
                moved = true;
                self.acknowledge(at, driver, rng);
            }
            let record = &self.records[at];
            if record.due <= driver.now && !record.again && !record.steps.is_empty() {
                moved = true;
                self.act(at, driver, rng);
            }
        }
        let records = &self.records;
        self.active.retain(|at| {
            let record = &records[*at];
            !(record.settled && record.outbox.is_empty() && record.in_mailbox.is_empty() && record.acks.is_empty())
        });
        moved
    }

    /// Passes on what threads have said.
    fn post(&mut self, at: usize, driver: &mut Driver, rng: &mut Rng) -> bool {
        let record = &mut self.records[at];
        let mut moved = false;
        while record.outbox.front().is_some_and(|entry| entry.0 <= driver.now) && (moved || rng.chance(80)) {
            let Some((_, submission, said)) = record.outbox.pop_front() else { break };
            record.in_mailbox.push_back(said);
            driver.submit(submission).expect("the engine lives");
            moved = true;
        }
        moved || record.outbox.front().is_some_and(|entry| entry.0 <= driver.now)
    }

    fn acknowledge(&mut self, at: usize, driver: &mut Driver, rng: &mut Rng) {
        let record = &mut self.records[at];
        let now = driver.now;
        let mut n = 0;
        record.acks.retain(|ack| {
            n += if ack.0 <= now { ack.1 } else { 0 };
            ack.0 > now
        });
        record.unacked -= n;
        let gone = record.settled || record.aborted.is_some();
        match self.leases.present(record.id) {
            Ok(_) => assert!(!record.settled, "an ack of a settled request was taken"),
            Err(error) => {
                assert!(error == Error::Gone && (gone || driver.engine.has_events()), "ack: {error:?}");
                return;
            }
        }
        self.say(at, driver, rng, Submission::Ack { id: self.records[at].id, n }, None);
    }

    /// Says something to the engine whose lease was asked.
    pub fn say(&mut self, at: usize, driver: &mut Driver, rng: &mut Rng, submission: Submission, said: Option<Said>) {
        let record = &mut self.records[at];
        if record.threaded {
            let before = record.outbox.back().map_or(driver.now, |entry| entry.0);
            let delay = if self.hurry || rng.chance(70) { 0 } else { rng.below(50) };
            record.outbox.push_back((before.max(driver.now + delay), submission, said));
            return;
        }
        self.speak(driver);
        self.records[at].in_mailbox.push_back(said);
        self.heard(&mut driver.engine, submission);
        driver.after_answer();
    }

    /// The loop thread is about to say something: what threads said before takes effect before.
    pub fn speak(&mut self, driver: &mut Driver) {
        for submission in driver.before_answer() {
            self.heard(&mut driver.engine, submission);
        }
    }

    /// A submission takes effect.
    pub fn heard(&mut self, engine: &mut Engine, submission: Submission) {
        let id = match &submission {
            Submission::Respond { id, .. }
            | Submission::Begin { id, .. }
            | Submission::Write { id, .. }
            | Submission::End { id, .. }
            | Submission::Abort { id }
            | Submission::Inform { id, .. }
            | Submission::Ack { id, .. }
            | Submission::Subscribe { id, .. }
            | Submission::Join { id, .. }
            | Submission::Leave { id, .. }
            | Submission::Kick { id }
            | Submission::Accept { id, .. }
            | Submission::Frames { id, .. }
            | Submission::Close { id, .. }
            | Submission::Pass { id, .. }
            | Submission::Settled { id } => *id,
            Submission::Deliver(_) | Submission::Missed(_) => Id::NONE,
        };
        let settles = matches!(
            submission,
            Submission::Respond { .. } | Submission::End { .. } | Submission::Abort { .. } | Submission::Settled { .. }
        );
        self.held -= u64::from(settles);
        let record = &mut self.records[self.by_id[&id]];
        assert!(!(settles && record.settle_heard), "two settles");
        record.settle_heard |= settles;
        if let Some(said) = record.in_mailbox.pop_front().expect("it was said") {
            if self.trace {
                println!(
                    "{:8} heard {:x} {}/{} {:.120}",
                    engine.now(),
                    id.0,
                    record.client,
                    record.n,
                    format!("{said:?}")
                );
            }
            record.told.push((said, engine.date));
        }
        engine.apply(submission);
    }

    // ---- the end -----------------------------------------------------------------------------------------------------------

    /// After everything: every request settled and done, nothing owed.
    pub fn check_end(&self, wants_done: bool) {
        assert_eq!(self.held, 0);
        for record in &self.records {
            let name = format!("{}/{} {:?}", record.client, record.n, record.id);
            assert!(record.settled, "{name} was never settled");
            assert!(record.loan.is_none(), "{name}: RELEASED is missing");
            assert!(!record.again, "{name}: AGAIN without WRITABLE or ABORTED");
            assert!(record.outbox.is_empty() && record.in_mailbox.is_empty(), "{name}");
            assert_eq!(record.done.is_some(), wants_done, "{name}: DONE");
        }
    }
}

fn short(what: &What) -> String {
    match what {
        What::Request(head) => format!("Request {}", String::from_utf8_lossy(head.text(head.target))),
        What::Body { data, more } => format!("Body {} {more}", data.len()),
        other => format!("{other:?}"),
    }
}
