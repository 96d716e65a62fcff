//! Owns what is known of one request, a subscriber or a WebSocket, and what it is to get. Rule: it is written down when the
//! engine hears of it, from the model alone.

use std::collections::VecDeque;

use crate::engine::event::End;
use crate::engine::id::Id;
use crate::engine::mailbox::Submission;
use crate::push::policy::Choice;

use super::model::{fits, Message, Model};
use super::plan::{Kind, Plan};

/// What is known of one request, a subscriber or a WebSocket.
#[derive(Debug)]
pub struct Session {
    pub id: Id,
    pub key: (usize, usize),
    pub plan: Plan,
    pub engine: usize,
    pub user: u64,
    pub due: u64,
    pub acts: u32,
    pub threaded: bool,
    pub outbox: VecDeque<(u64, Submission)>,
    /// It is settled; the settle was heard, and made a subscriber or a WebSocket of it.
    pub settled: bool,
    pub heard: bool,
    pub live: bool,
    pub started_at: u64,
    /// When its channels last changed.
    pub changed_at: u64,
    /// Where it began, and what it may be told of what it missed.
    pub last: u64,
    pub told: Option<Vec<bool>>,
    /// Its channels, each with the number from which on it has them.
    pub seats: Vec<(Box<str>, u64)>,
    pub expected: Vec<u64>,
    /// The policy of its first channel when it began, the least backlog of all; bytes of what it was to get; of what its
    /// channels had.
    pub slow: u64,
    pub backlog: u64,
    pub least: u64,
    pub bytes: u64,
    pub offered: u64,
    /// Its first channel, whose policy holds, is not what it was.
    pub moved_on: bool,
    /// The loop has missed messages.
    pub missed: bool,
    /// Frames of the host that took effect; bytes of those that did not yet.
    pub frames: u64,
    pub said: u64,
    pub unheard: VecDeque<u64>,
    pub again: bool,
    /// Whoever ended it.
    pub kicked: bool,
    pub closes: Vec<u16>,
    pub aborted: bool,
    pub joined: Vec<Box<str>>,
    pub messages: usize,
    pub done: Option<End>,
    pub closed: Option<u16>,
}

impl Session {
    pub fn new(id: Id, key: (usize, usize), plan: Plan, engine: usize) -> Session {
        Session {
            id,
            key,
            plan,
            engine,
            user: 0,
            due: 0,
            acts: 0,
            threaded: false,
            outbox: VecDeque::new(),
            settled: false,
            heard: false,
            live: false,
            started_at: 0,
            changed_at: 0,
            last: 0,
            told: None,
            seats: Vec::new(),
            expected: Vec::new(),
            slow: 0,
            backlog: 0,
            least: u64::MAX,
            bytes: 0,
            offered: 0,
            moved_on: false,
            missed: false,
            frames: 0,
            said: 0,
            unheard: VecDeque::new(),
            again: false,
            kicked: false,
            closes: Vec::new(),
            aborted: false,
            joined: Vec::new(),
            messages: 0,
            done: None,
            closed: None,
        }
    }

    /// For messages of what went wrong.
    pub fn name(&self) -> String {
        format!(
            "{:?} engine {} id {:x} {:?} now {:?}, slow {} backlog {} bytes {}, from {}",
            self.key, self.engine, self.id.0, self.plan, self.seats, self.slow, self.backlog, self.bytes, self.last
        )
    }

    /// Its settle took effect.
    pub fn heard(&self) -> bool {
        self.heard
    }

    pub fn ended_by_host(&self) -> bool {
        self.kicked || !self.closes.is_empty()
    }

    /// DONE or CLOSED was seen.
    pub fn is_over(&self) -> bool {
        self.done.is_some() || self.closed.is_some()
    }

    /// It is to end with CLOSED.
    pub fn is_open_socket(&self) -> bool {
        self.live && (self.plan.kind == Kind::Socket)
    }

    /// The policy of its first channel holds.
    pub fn adopt(&mut self, pattern: &str, model: &Model) {
        self.slow = model.rule(pattern, Choice::Slow);
        self.backlog = model.rule(pattern, Choice::Backlog);
    }

    pub fn sits(&mut self, pattern: &str, model: &Model) {
        self.least = self.least.min(model.rule(pattern, Choice::Backlog));
    }

    /// More came at once than is kept for those who are not offered it yet.
    pub fn floods(&self) -> bool {
        self.missed || self.offered > self.least.saturating_mul(16)
    }

    /// Bytes of a message on its way to this subscriber.
    pub fn length(&self, n: u64, model: &Model) -> u64 {
        let len = model.encoded(n, self.plan.form(), self.plan.deflates).expect("published").len();
        // The size of a chunk in hexadecimal digits, and two ends of lines.
        let digits = (len.max(1).ilog2() / 4 + 1) as usize;
        (len + if self.plan.is_chunked() { digits + 4 } else { 0 }) as u64
    }

    pub fn offer(&mut self, n: u64, model: &Model) {
        let message = &model.messages[n as usize - 1];
        if !self.seats.iter().any(|seat| seat.1 < n && fits(&seat.0, message.channel)) {
            return;
        }
        self.offered += message.size();
        // Filters hold from the subscription on; a WebSocket of the host has none.
        if self.plan.kind == Kind::Socket || self.plan.wants(message) {
            self.bytes += self.length(n, model);
            self.expected.push(n);
        }
    }

    /// Everything published in its channels since it has them.
    pub fn owed<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = u64> + 'a {
        let fit = |message: &&Message| {
            self.seats.iter().any(|seat| seat.1 < message.n && fits(&seat.0, message.channel)) && !self.missed
        };
        model.messages.iter().filter(fit).map(|message| message.n)
    }

    pub fn seats(&self) -> impl Iterator<Item = &str> {
        self.joined.iter().map(|pattern| &**pattern)
    }

    /// Bytes of frames that the engine has not heard of.
    pub fn unheard(&self) -> u64 {
        self.unheard.iter().sum()
    }

    pub fn waits_for_room(&self) -> bool {
        self.again
    }

    /// Its channels as the host knows them.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.seats.iter().map(|seat| &*seat.0)
    }

    pub fn check_end(&self, done: bool) {
        let name = format!("{:?}", self.key);
        assert!(self.settled, "{name} was never settled");
        assert!(self.outbox.is_empty(), "{name}");
        if self.plan.is_socket() && self.heard && !(self.plan.kind == Kind::Subscribe && self.closed.is_none()) {
            assert!(self.closed.is_some(), "{name}: CLOSED is missing");
        } else {
            assert!(!done || self.is_over(), "{name}: DONE is missing");
        }
    }
}
