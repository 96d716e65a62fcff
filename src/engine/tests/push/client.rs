//! Owns a virtual client of push: it asks, reads what it is pushed, talks where it has a WebSocket, leaves in every way
//! there is, and comes back with its position, by another transport or to another server. Rule: it goes by what it read.

use std::collections::{HashMap, VecDeque};

use crate::push::feed::Transport;

use super::super::driver::Driver;
use super::super::pipe::Ended;
use super::super::rng::{pattern, Rng};
use super::model::Model;
use super::plan::{Kind, Plan};
use super::wire::{Got, Reader};
use super::EPOCH;

/// What clients did, for the judges: by client and request.
#[derive(Debug, Default)]
pub struct Book {
    pub plans: HashMap<(usize, usize), Plan>,
    pub got: HashMap<(usize, usize), Got>,
    pub talk: HashMap<(usize, usize), Talk>,
}

/// What a client said in its WebSocket, and how it ended.
#[derive(Debug, Default)]
pub struct Talk {
    pub sent: Vec<(u8, Vec<u8>)>,
    pub pings: Vec<Vec<u8>>,
    /// It closed with this code; it broke a rule, and is to be closed with this one.
    pub closes: Option<u16>,
    pub breaks: Option<u16>,
    /// It sent its end, or a reset.
    pub gone: bool,
    /// It answers no pings.
    pub mute: bool,
    /// It does not read at once what comes.
    pub late: bool,
    /// When it last said something.
    pub spoke_at: u64,
    pub pipe: usize,
}

#[derive(Debug)]
pub struct Client {
    pub index: usize,
    /// The server it talks to, and the pipe to it.
    pub at: Option<(usize, usize)>,
    raw: Vec<u8>,
    reader: Reader,
    /// Requests that are not answered in full.
    pub asked: VecDeque<usize>,
    next: usize,
    position: Option<(u64, u64)>,
    /// It asks for the same again.
    habit: Option<Plan>,
    pub rounds: u32,
    pub due: u64,
    out: VecDeque<(u64, Vec<u8>)>,
    acts: u32,
    pace: usize,
    reads_from: u64,
    sips: u64,
    /// Nothing is held back any more.
    pub hurry: bool,
    /// It only stays and reads.
    pub quiet: bool,
    /// Many ask for the same.
    crowd: bool,
    /// It polls, mostly.
    polls: bool,
}

pub fn masked(rng: &mut Rng, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = (rng.next() as u32).to_be_bytes();
    let mut out = vec![first];
    match payload.len() {
        n if n < 126 => out.push(0x80 | n as u8),
        n if n < 65_536 => {
            out.push(0x80 | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    out
}

impl Client {
    pub fn new(rng: &mut Rng, index: usize, (crowd, polls): (bool, bool), due: u64) -> Client {
        Client {
            index,
            at: None,
            raw: Vec::new(),
            reader: Reader::default(),
            asked: VecDeque::new(),
            next: 0,
            position: None,
            habit: None,
            rounds: rng.range(1, if polls { 20 } else { 6 }) as u32,
            due,
            out: VecDeque::new(),
            acts: 0,
            pace: usize::MAX,
            reads_from: 0,
            sips: 0,
            hurry: false,
            quiet: false,
            crowd,
            polls,
        }
    }

    pub fn step(&mut self, drivers: &mut [Driver], model: &Model, book: &mut Book, rng: &mut Rng) -> bool {
        let now = drivers[0].now;
        let Some((engine, pipe)) = self.at else {
            if self.due > now || self.rounds == 0 {
                return false;
            }
            let engine = rng.below(drivers.len() as u64) as usize;
            if drivers[engine].engine.is_draining() || drivers[engine].mailbox.is_closed() {
                self.rounds = 0;
                return false;
            }
            self.connect(engine, &mut drivers[engine], book, rng);
            return true;
        };
        let driver = &mut drivers[engine];
        let mut moved = self.read(driver, pipe, model, book, rng);
        if self.at.is_none() {
            return true;
        }
        while self.out.front().is_some_and(|piece| piece.0 <= now) {
            let Some((_, bytes)) = self.out.pop_front() else { break };
            driver.client_sends(pipe, &bytes);
            moved = true;
            if let Some(key) = self.asked.front().map(|n| (self.index, *n)) {
                book.talk.get_mut(&key).expect("asked").spoke_at = now;
                book.got.get_mut(&key).expect("asked").unheeded = 0;
            }
        }
        if self.acts > 0 && self.due <= now && !self.quiet {
            self.acts -= 1;
            self.due = now + rng.below(1200);
            moved = true;
            self.act(driver, pipe, book, rng);
        }
        moved
    }

    /// It reads what there is, and stays.
    pub fn stay(&mut self, now: u64) {
        (self.hurry, self.quiet, self.pace, self.sips, self.reads_from) = (true, true, usize::MAX, 0, 0);
        self.rounds = 0;
        for piece in &mut self.out {
            piece.0 = piece.0.min(now);
        }
    }

    pub fn next_due(&self, now: u64) -> Option<u64> {
        let acts = match self.at {
            None => self.rounds > 0,
            Some(_) => self.acts > 0 && !self.quiet,
        };
        let reads = (self.at.is_some() && self.reads_from > now).then_some(self.reads_from);
        let sends = self.out.front().map(|piece| piece.0);
        [acts.then_some(self.due), reads, sends].into_iter().flatten().filter(|at| *at > now).min()
    }

    // ---- asking ----------------------------------------------------------------------------------------------------

    fn connect(&mut self, engine: usize, driver: &mut Driver, book: &mut Book, rng: &mut Rng) {
        self.rounds -= 1;
        let pipe = driver.connect(rng.pick(&[300, 2000, 10_000, 200_000]));
        self.at = Some((engine, pipe));
        self.raw.clear();
        self.reader = Reader::default();
        self.out.clear();
        let now = driver.now;
        self.pace = if rng.chance(75) { usize::MAX } else { rng.range(50, 3000) as usize };
        self.reads_from = if !self.hurry && rng.chance(20) { now + rng.below(6000) } else { 0 };
        self.sips = if !self.hurry && rng.chance(10) { rng.range(5, 100) } else { 0 };
        self.ask(driver, book, rng);
    }

    /// The next requests of this connection.
    fn ask(&mut self, driver: &mut Driver, book: &mut Book, rng: &mut Rng) {
        let Some((_, pipe)) = self.at else { return };
        let now = driver.now;
        let mut plans = Vec::new();
        while plans.len() < 2 && rng.chance(20) {
            plans.push(Plan::plain(self.index, self.next + plans.len()));
        }
        plans.push(self.plan(rng, self.next + plans.len()));
        let last = &plans[plans.len() - 1];
        let goes_on = last.transport == Transport::LongPoll && last.keep_alive && !last.head;
        if goes_on && rng.chance(20) {
            let n = self.next + plans.len();
            let mut more = if rng.chance(50) { Plan::plain(self.index, n) } else { last.clone() };
            more.n = n;
            plans.push(more);
        }
        let mut bytes = Vec::new();
        for plan in plans {
            bytes.extend(plan.bytes());
            self.asked.push_back(plan.n);
            self.next = plan.n + 1;
            let key = (plan.client, plan.n);
            let late = self.reads_from > 0 || self.sips > 0;
            book.talk.insert(key, Talk { pipe, mute: rng.chance(5), late, ..Talk::default() });
            book.got.insert(key, Got { heard_at: now, ..Got::default() });
            book.plans.insert(key, plan);
        }
        self.send(rng, now, &bytes);
        self.acts = if rng.chance(70) { rng.range(1, 8) as u32 } else { 0 };
        self.due = now + rng.below(2000);
    }

    fn plan(&mut self, rng: &mut Rng, n: usize) -> Plan {
        use Transport::*;
        let transport = rng.pick(&[Sse, Sse, Multipart, Plain, LongPoll, LongPoll, WebSocket, WebSocket, WebSocket]);
        let mut plan = match self.habit.clone().filter(|_| rng.chance(70)) {
            Some(habit) if rng.chance(60) => Plan { n, says: rng.below(4), ..habit },
            Some(Plan { patterns, types, from, .. }) => {
                Plan { patterns, types, from, ..Plan::random(rng, self.index, n, transport) }
            }
            None => Plan::random(rng, self.index, n, transport),
        };
        (plan.head, plan.mistaken) = (false, false);
        if self.crowd && plan.kind == Kind::Subscribe {
            plan.patterns = vec![rng.pick(&["a/1", "a/1", "a/*"]).into()];
            (plan.types, plan.from) = ("", "");
        }
        plan.since = self.position.filter(|_| rng.chance(85));
        if self.polls && plan.kind == Kind::Subscribe && rng.chance(80) {
            (plan.transport, plan.explicit, plan.timeout) = (LongPoll, true, 5000);
            plan.since = plan.since.filter(|_| rng.chance(20));
            plan.patterns = vec![rng.pick(&["a/1", "a/2", "c", "d", "a/*"]).into()];
            (plan.types, plan.from) = ("", "");
        }
        self.habit = Some(plan.clone());
        if rng.chance(4) {
            plan.since = Some(match self.position {
                Some((epoch, n)) if rng.chance(50) => (epoch, n + rng.pick(&[1, 1000])),
                Some((epoch, n)) => (epoch ^ 1, n),
                None => (rng.next(), rng.below(20)),
            });
        }
        match rng.below(40) {
            0 => plan.mistaken = plan.transport == WebSocket && plan.kind == Kind::Subscribe && !plan.http10,
            1 => plan.head = plan.transport != WebSocket,
            _ => {}
        }
        plan.explicit |= plan.mistaken;
        plan
    }

    /// In one piece, or in several.
    fn send(&mut self, rng: &mut Rng, now: u64, bytes: &[u8]) {
        let mut at = self.out.back().map_or(now, |piece| piece.0.max(now));
        let most = if rng.chance(70) { bytes.len().max(1) } else { rng.range(1, 100) as usize };
        for piece in bytes.chunks(most) {
            self.out.push_back((at, piece.to_vec()));
            at += if rng.chance(50) { 0 } else { rng.below(30) };
        }
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    fn read(&mut self, driver: &mut Driver, pipe: usize, model: &Model, book: &mut Book, rng: &mut Rng) -> bool {
        let now = driver.now;
        let ended = driver.pipes[pipe].ended.is_some();
        if self.reads_from > now && !ended {
            return false;
        }
        let n = driver.client_reads(pipe, self.pace, &mut self.raw);
        if n > 0 && self.sips > 0 && !self.hurry {
            self.reads_from = now + self.sips;
        }
        let mut moved = n > 0;
        while let Some(key) = self.asked.front().map(|n| (self.index, *n)) {
            let (plan, got) = (&book.plans[&key], book.got.get_mut(&key).expect("asked"));
            if n > 0 {
                got.heard_at = now;
            }
            let taken = self.reader.read(&self.raw, plan, model, got);
            self.raw.drain(..taken);
            self.reply(rng, now, key, book);
            let got = &book.got[&key];
            if !got.over {
                break;
            }
            self.finish(key, driver, book);
            moved = true;
            if self.reader.closes {
                break;
            }
            self.reader = Reader::default();
        }
        let ends = &driver.pipes[pipe];
        if ends.down.is_empty() && (ends.shut || ends.ended.is_some()) {
            self.end(driver, pipe, book, rng);
            return true;
        }
        if self.asked.is_empty() && !self.reader.closes && moved && self.rounds > 0 {
            self.rounds -= 1;
            self.ask(driver, book, rng);
        }
        moved
    }

    /// Pings are answered.
    fn reply(&mut self, rng: &mut Rng, now: u64, key: (usize, usize), book: &mut Book) {
        let (got, talk) = (book.got.get_mut(&key).expect("asked"), &book.talk[&key]);
        let pings = std::mem::take(&mut got.pings);
        assert!(got.unheeded < 2 || talk.late, "{key:?}: asked twice whether it is there, without a word of its own");
        if !talk.mute && !talk.gone && talk.closes.is_none() && talk.breaks.is_none() {
            for _ in 0..pings {
                let pong = masked(rng, 0x8a, b"");
                self.out.push_back((now, pong));
            }
        }
    }

    /// An answer is over, or what there is of it: where to go on from.
    fn finish(&mut self, key: (usize, usize), driver: &Driver, book: &mut Book) {
        let got = book.got.get_mut(&key).expect("asked");
        got.over_at = driver.now;
        got.drained = driver.engine.is_draining() || driver.mailbox.is_closed();
        let n = match book.plans[&key].transport {
            Transport::LongPoll => got.position.filter(|_| got.over),
            _ => got.received.last().copied().or(got.position),
        };
        if let Some(n) = n {
            self.position = Some((EPOCH, n));
        }
        self.asked.pop_front();
    }

    /// The server ended the connection.
    fn end(&mut self, driver: &mut Driver, pipe: usize, book: &mut Book, rng: &mut Rng) {
        let now = driver.now;
        if driver.pipes[pipe].ended.is_none() {
            driver.client_leaves(pipe);
        }
        let mut first = true;
        while let Some(n) = self.asked.front().copied() {
            let key = (self.index, n);
            let (plan, got) = (&book.plans[&key], book.got.get_mut(&key).expect("asked"));
            got.lost = true;
            let ends = &driver.pipes[pipe];
            let well = ends.ended.map_or(ends.shut, |ended| ended == Ended::Closed);
            got.over |= first && self.reader.ends_with_connection(plan) && well;
            first = false;
            self.finish(key, driver, book);
        }
        self.part(rng, now);
    }

    fn part(&mut self, rng: &mut Rng, now: u64) {
        self.at = None;
        self.acts = 0;
        self.out.clear();
        self.due = now + if rng.chance(50) { 0 } else { rng.below(4000) };
    }

    // ---- doing -----------------------------------------------------------------------------------------------------

    /// It leaves without a word.
    pub fn leave(&mut self, driver: &mut Driver, book: &mut Book, rng: &mut Rng, resets: bool) {
        let Some((_, pipe)) = self.at else { return };
        for n in &self.asked {
            book.talk.get_mut(&(self.index, *n)).expect("asked").gone = true;
        }
        if resets {
            driver.client_resets(pipe);
        } else {
            driver.client_leaves(pipe);
        }
        let now = driver.now;
        while let Some(n) = self.asked.front().copied() {
            book.got.get_mut(&(self.index, n)).expect("asked").lost = true;
            self.finish((self.index, n), driver, book);
        }
        self.part(rng, now);
    }

    fn act(&mut self, driver: &mut Driver, pipe: usize, book: &mut Book, rng: &mut Rng) {
        let Some(key) = self.asked.front().map(|n| (self.index, *n)) else { return };
        let (got, now) = (&book.got[&key], driver.now);
        let talk = book.talk.get(&key).expect("asked");
        let over = talk.closes.is_some() || talk.breaks.is_some() || talk.gone;
        match rng.below(30) {
            0 if !over && self.out.is_empty() => {
                for n in &self.asked {
                    book.talk.get_mut(&(self.index, *n)).expect("asked").gone = true;
                }
                driver.client_ends(pipe);
                self.acts = 0;
            }
            1 => {
                let resets = rng.chance(60);
                self.leave(driver, book, rng, resets);
            }
            _ if got.status == 101 && !over => self.talk(key, now, book, rng),
            _ => {}
        }
    }

    /// Something in its WebSocket.
    fn talk(&mut self, key: (usize, usize), now: u64, book: &mut Book, rng: &mut Rng) {
        let deflates = book.plans[&key].deflates;
        let talk = book.talk.get_mut(&key).expect("asked");
        match rng.below(20) {
            0 => {
                let (bytes, code) = violation(rng);
                talk.breaks = Some(code);
                self.send(rng, now, &bytes);
            }
            1 | 2 => {
                let code = rng.pick(&[1000, 1001, 3000, 4999, 1005]);
                talk.closes = Some(code);
                let payload = if code == 1005 { Vec::new() } else { code.to_be_bytes().to_vec() };
                let bytes = masked(rng, 0x88, &payload);
                self.send(rng, now, &bytes);
            }
            3 | 4 => {
                let payload = pattern(now, rng.below(126) as usize);
                let bytes = masked(rng, 0x89, &payload);
                talk.pings.push(payload);
                self.send(rng, now, &bytes);
            }
            5 => {
                let bytes = masked(rng, 0x8a, b"alive");
                self.send(rng, now, &bytes);
            }
            _ => {
                let text = rng.chance(50);
                let mut data = pattern(talk.sent.len() as u64 + now, rng.size() / 4);
                if text {
                    data = data
                        .iter()
                        .map(
                            |byte| {
                                if *byte & 1 == 0 {
                                    "ë".to_owned()
                                } else {
                                    ((byte & 63 | 32) as char).to_string()
                                }
                            },
                        )
                        .collect::<String>()
                        .into_bytes();
                }
                let opcode = if text { 1 } else { 2 };
                talk.sent.push((opcode, data.clone()));
                let small = crate::ws::deflate::deflate(&data).filter(|_| deflates && rng.chance(60));
                let bits = if small.is_some() { 0x40 } else { 0 };
                let data = small.unwrap_or(data);
                let mut bytes = Vec::new();
                let pieces = if rng.chance(60) { 1 } else { rng.range(2, 4) as usize };
                let each = data.len() / pieces + 1;
                let mut rest = &data[..];
                for n in 0..pieces {
                    let (piece, more) = rest.split_at(if n + 1 == pieces { rest.len() } else { each.min(rest.len()) });
                    rest = more;
                    let fin = if n + 1 == pieces { 0x80 } else { 0 };
                    let first = if n == 0 { opcode | bits } else { 0 };
                    bytes.extend(masked(rng, fin | first, piece));
                    if n + 1 < pieces && rng.chance(30) {
                        talk.pings.push(b"between".to_vec());
                        bytes.extend(masked(rng, 0x89, b"between"));
                    }
                }
                self.send(rng, now, &bytes);
            }
        }
    }
}

/// What a client must not send, and the code it is closed with.
fn violation(rng: &mut Rng) -> (Vec<u8>, u16) {
    match rng.below(6) {
        0 => (vec![0x81, 0x01, b'a'], 1002),                     // without a mask
        1 => (masked(rng, 0x80, b"x"), 1002),                    // a continuation of nothing
        2 => (masked(rng, 0x81, b"\xff\xff"), 1007),             // text that is none
        3 => (masked(rng, 0xa1, b"x"), 1002),                    // a reserved bit
        4 => (masked(rng, 0x88, b"\x03"), 1002),                 // a close of one byte
        _ => (masked(rng, 0x88, &1006_u16.to_be_bytes()), 1002), // a code that must not be sent
    }
}
