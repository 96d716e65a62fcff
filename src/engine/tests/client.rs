//! Owns one virtual client: what it still has to say, what it has read, and how many answers that makes. Rule: it finds
//! the ends of answers by its own reading of RFC 9112, not by the library's.

use std::collections::VecDeque;
use std::rc::Rc;

use super::driver::Driver;
use super::pipe::Ended;
use super::rng::Rng;
use super::script::{Act, Ask};

#[derive(Debug)]
pub struct Client {
    pub index: usize,
    pub pipe: usize,
    pub asks: Rc<Vec<Ask>>,
    acts: VecDeque<Act>,
    pub due: u64,
    pub got: Vec<u8>,
    parsed: usize,
    /// Final answers read in full.
    pub answers: usize,
    /// An answer said that it is the last, or was a tunnel's.
    pub last: bool,
    pub tunnel: bool,
    continued: usize,
    /// Bytes it takes at a time; 0: it does not read before `reads_from`.
    pace: usize,
    reads_from: u64,
    /// Milliseconds from one look at what came to the next.
    sips: u64,
    pub left: bool,
    pub saw_end: bool,
    /// It did not keep to the manners that oblige the server to answer.
    pub rude: bool,
    waits_until: Option<u64>,
    /// Until then there is nothing to do but to look at news.
    sleeps_until: u64,
}

/// It never reads.
const STALLED: u64 = u64::MAX;

impl Client {
    pub fn new(
        rng: &mut Rng,
        wild: bool,
        index: usize,
        pipe: usize,
        asks: Rc<Vec<Ask>>,
        acts: Vec<Act>,
        due: u64,
    ) -> Client {
        let last = acts.len() - usize::from(matches!(acts.last(), Some(Act::Leave)));
        let rude = acts[..last].iter().any(|act| matches!(act, Act::Reset | Act::Leave))
            || !matches!(acts[..last].last(), Some(Act::Await(_)));
        Client {
            index,
            pipe,
            asks,
            acts: acts.into(),
            due,
            got: Vec::new(),
            parsed: 0,
            answers: 0,
            last: false,
            tunnel: false,
            continued: 0,
            pace: if rng.chance(70) { usize::MAX } else { rng.range(1, 3000) as usize },
            reads_from: match rng.below(100) {
                0 if wild => STALLED,
                0..=14 => due + rng.below(3000),
                _ => 0,
            },
            sips: if rng.chance(8) { rng.range(5, 60) } else { 0 },
            left: false,
            saw_end: false,
            rude,
            waits_until: None,
            sleeps_until: 0,
        }
    }

    /// Has nothing more to say and waits for nothing.
    pub fn is_done(&self) -> bool {
        self.acts.is_empty() || self.left || self.saw_end
    }

    pub fn waits_for(&self) -> Option<&Act> {
        self.acts.front()
    }

    /// Goes on as far as it can now. True: something was done.
    pub fn step(&mut self, driver: &mut Driver, rng: &mut Rng) -> bool {
        if self.left || self.sleeps_until > driver.now && !driver.news[self.pipe] {
            return false;
        }
        let moved = self.go_on(driver, rng);
        self.sleeps_until = if moved { 0 } else { self.next_due(driver).unwrap_or(u64::MAX) };
        moved
    }

    /// Before that it only looks at news.
    pub fn sleeps_until(&self) -> u64 {
        if self.left {
            u64::MAX
        } else {
            self.sleeps_until
        }
    }

    fn go_on(&mut self, driver: &mut Driver, rng: &mut Rng) -> bool {
        let mut moved = self.read(driver);
        while self.due <= driver.now {
            let Some(act) = self.acts.front() else { break };
            match act {
                Act::Await(n) if self.answers < *n && !self.last => break,
                Act::AwaitContinue(n, patience) => {
                    let until = *self.waits_until.get_or_insert(driver.now.saturating_add(*patience));
                    if self.continued <= *n && self.answers <= *n && !self.last && driver.now < until {
                        break;
                    }
                    self.waits_until = None;
                }
                _ => {}
            }
            moved = true;
            match self.acts.pop_front() {
                Some(Act::Send(bytes)) => driver.client_sends(self.pipe, &bytes),
                Some(Act::Sleep(ms)) => {
                    self.due = driver.now + ms;
                    if ms == 0 {
                        break; // the server may see what was sent so far
                    }
                }
                Some(Act::Tunnel(n, bytes)) => {
                    if self.tunnel && self.answers == n + 1 {
                        self.acts.clear();
                        for piece in bytes.chunks(rng.range(1, 3000) as usize) {
                            self.acts.push_back(Act::Send(piece.to_vec()));
                            self.acts.push_back(Act::Sleep(rng.below(3)));
                        }
                        if rng.chance(60) {
                            self.acts.push_back(Act::End);
                        }
                        self.acts.push_back(Act::Await(usize::MAX));
                        self.last = false;
                    } else if self.last {
                        self.acts = [Act::Leave].into(); // the library may have taken it for a tunnel
                    }
                }
                Some(Act::End) => driver.client_ends(self.pipe),
                Some(Act::Reset) => {
                    driver.client_resets(self.pipe);
                    self.left = true;
                    return true;
                }
                Some(Act::Leave) => {
                    driver.client_leaves(self.pipe);
                    self.left = true;
                    return true;
                }
                Some(Act::Await(_) | Act::AwaitContinue(..)) | None => {}
            }
        }
        moved
    }

    /// When it acts by itself next.
    pub fn next_due(&self, driver: &Driver) -> Option<u64> {
        if self.left {
            return None;
        }
        let reads = (self.reads_from > driver.now && self.reads_from != STALLED).then_some(self.reads_from);
        let acts = match self.acts.front() {
            Some(Act::Await(_)) | None => None,
            Some(Act::AwaitContinue(..)) => self.waits_until.filter(|at| *at != u64::MAX),
            Some(_) => Some(self.due),
        };
        [reads, acts].into_iter().flatten().filter(|at| *at > driver.now).min()
    }

    fn read(&mut self, driver: &mut Driver) -> bool {
        let stalled = self.reads_from == STALLED && driver.pipes[self.pipe].ended.is_some();
        if self.reads_from > driver.now && !stalled {
            return false;
        }
        let n = driver.client_reads(self.pipe, self.pace, &mut self.got);
        if n > 0 && self.sips > 0 && self.reads_from != STALLED {
            self.reads_from = driver.now + self.sips;
        }
        while self.parse() {}
        let pipe = &driver.pipes[self.pipe];
        if pipe.down.is_empty() && (pipe.shut || pipe.ended.is_some()) && !self.saw_end {
            self.saw_end = true;
            if pipe.ended.is_none() {
                driver.client_leaves(self.pipe);
            }
            self.left = true;
            return true;
        }
        n > 0
    }

    /// Finds the end of the next answer.
    fn parse(&mut self) -> bool {
        if self.last || self.tunnel {
            return false;
        }
        let rest = &self.got[self.parsed..];
        let Some(head) = find(rest, b"\r\n\r\n").map(|at| at + 4) else { return false };
        let text = std::str::from_utf8(&rest[..head]).expect("a head in ASCII");
        let status: u16 = text[9..12].parse().expect("a status line");
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start_matches(": "))
        };
        if (100..200).contains(&status) && status != 101 {
            self.parsed += head;
            if status == 100 {
                self.continued = self.answers + 1;
            }
            return true;
        }
        let ask = self.asks.get(self.answers);
        let connected = ask.is_some_and(|ask| ask.connect && ask.bad.is_none()) && (200..300).contains(&status);
        let size = if status == 101 || connected {
            self.tunnel = true;
            0
        } else if ask.is_some_and(|ask| ask.head && ask.bad.is_none()) || matches!(status, 204 | 304) {
            0
        } else if let Some(length) = field("Content-Length") {
            length.parse().expect("a length")
        } else if field("Transfer-Encoding").is_some() {
            match chunked_size(&rest[head..]) {
                Some(size) => size,
                None => return false,
            }
        } else {
            return false; // ends with the connection
        };
        if rest.len() < head + size {
            return false;
        }
        self.last = field("Connection") == Some("close") || connected;
        self.parsed += head + size;
        self.answers += 1;
        true
    }

    /// How the server ended the connection, if it did.
    pub fn ended(&self, driver: &Driver) -> Option<Ended> {
        driver.pipes[self.pipe].ended
    }
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Bytes of a chunked body with its trailer section, if it is complete.
fn chunked_size(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).expect("a chunk size");
        at += line + 2;
        if size > 0 {
            at += size + 2;
            if at > bytes.len() {
                return None;
            }
            continue;
        }
        loop {
            let line = find(&bytes[at..], b"\r\n")?;
            at += line + 2;
            if line == 0 {
                return Some(at);
            }
        }
    }
}
