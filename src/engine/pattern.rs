//! Owns request heads as they were parsed, for the requests made from them: clients repeat their head with every request.
//! Rule: a pattern that a queued request is still to be made from does not change.

use crate::http1::request::RequestHead;

use super::exchange;
use super::head::Head;
use super::pool::COMMON_HEAD;
use super::unused::Unused;

#[derive(Debug, Default)]
struct Pattern {
    head: Head,
    /// Queued requests that are to be made from it.
    waiting: u32,
}

#[derive(Debug)]
pub struct Patterns {
    all: Vec<Pattern>,
    /// Those that no request waits for, but for the newest.
    free: Unused<u32>,
    /// Of those the ones without memory.
    bare: Vec<u32>,
    newest: u32,
    /// Of the newest: what its exchanges begin with.
    exchange: u32,
    made: u64,
}

impl Default for Patterns {
    fn default() -> Patterns {
        Patterns {
            all: vec![Pattern::default()],
            free: Unused::default(),
            bare: Vec::new(),
            newest: 0,
            exchange: 0,
            made: 0,
        }
    }
}

impl Patterns {
    /// A head was parsed: the newest pattern is made from it.
    pub fn renew(&mut self, source: &[u8], parsed: &RequestHead) {
        if self.all[self.newest as usize].waiting > 0 {
            self.newest = self.free.take().or_else(|| self.bare.pop()).unwrap_or(self.all.len() as u32);
            if self.newest as usize == self.all.len() {
                self.all.push(Pattern::default());
            }
        }
        self.made += 1;
        self.all[self.newest as usize].head.fill(source, parsed, self.made);
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        self.exchange = flag(parsed.is_head, exchange::HEAD_METHOD)
            | flag(parsed.minor == 0, exchange::HTTP10)
            | flag(parsed.keep_alive, exchange::KEEP_ALIVE)
            | flag(parsed.is_connect, exchange::CONNECT)
            | flag(parsed.upgrade, exchange::UPGRADE);
    }

    #[inline]
    pub fn newest(&self) -> &Head {
        &self.all[self.newest as usize].head
    }

    /// The flags of an exchange for the newest.
    #[inline]
    pub fn exchange_flags(&self) -> u32 {
        self.exchange
    }

    /// Keeps the newest as it is until [`Patterns::release`].
    #[inline]
    pub fn hold(&mut self) -> u32 {
        self.all[self.newest as usize].waiting += 1;
        self.newest
    }

    #[inline]
    pub fn held(&self, pattern: u32) -> &Head {
        &self.all[pattern as usize].head
    }

    #[inline]
    pub fn release(&mut self, pattern: u32) {
        let held = &mut self.all[pattern as usize];
        held.waiting -= 1;
        if held.waiting == 0 && pattern != self.newest {
            if held.head.bytes.capacity() > COMMON_HEAD {
                held.head = Head::default();
            }
            self.free.give(pattern);
        }
    }

    /// A period is over: those that were not needed in it lose their memory.
    pub fn thin(&mut self) {
        let Patterns { all, free, bare, .. } = self;
        for pattern in free.thin() {
            all[pattern as usize].head = Head::default();
            bare.push(pattern);
        }
    }
}

#[cfg(test)]
impl Patterns {
    /// Queued requests of all patterns.
    pub fn waiting(&self) -> u64 {
        self.all.iter().map(|pattern| u64::from(pattern.waiting)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::request::{parse, Limits, Parsed};

    fn renew(patterns: &mut Patterns, path: &str) {
        let source = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut parsed = RequestHead::default();
        let limits = Limits { max_head: 4096, max_fields: 10, allow_connect: true };
        assert_eq!(parse(source.as_bytes(), &limits, &mut parsed), Ok(Parsed::Complete));
        patterns.renew(source.as_bytes(), &parsed);
    }

    #[test]
    fn what_is_held_stays_and_what_is_released_is_used_again() {
        let mut patterns = Patterns::default();
        renew(&mut patterns, "/a");
        let a = patterns.hold();
        assert_eq!(patterns.hold(), a);
        renew(&mut patterns, "/b");
        let b = patterns.hold();
        renew(&mut patterns, "/c");
        let path = |patterns: &Patterns, of: u32| patterns.held(of).text(patterns.held(of).path).to_vec();
        assert_eq!((path(&patterns, a), path(&patterns, b)), (b"/a".to_vec(), b"/b".to_vec()));
        patterns.release(a);
        assert_eq!(path(&patterns, a), b"/a", "a second request waits");
        patterns.release(a);
        let c = patterns.hold();
        renew(&mut patterns, "/d");
        assert_eq!(patterns.hold(), a);
        assert_eq!((path(&patterns, b), path(&patterns, c)), (b"/b".to_vec(), b"/c".to_vec()));
        assert_eq!(patterns.all.len(), 3);
    }

    #[test]
    fn the_newest_is_used_again_when_nothing_waits_for_it() {
        let mut patterns = Patterns::default();
        for path in ["/a", "/b", "/c"] {
            renew(&mut patterns, path);
            let held = patterns.hold();
            patterns.release(held);
        }
        assert_eq!((patterns.all.len(), patterns.free.len()), (1, 0));
    }
    #[test]
    fn after_a_crowd_patterns_have_no_memory() {
        let mut patterns = Patterns::default();
        let held: Vec<u32> = (0..1000)
            .map(|at| {
                renew(&mut patterns, &format!("/{at}"));
                patterns.hold()
            })
            .collect();
        held.into_iter().for_each(|pattern| patterns.release(pattern));
        (0..2).for_each(|_| patterns.thin());
        let size =
            |patterns: &Patterns| patterns.all.iter().filter(|pattern| pattern.head.bytes.capacity() > 0).count();
        assert!(size(&patterns) < 40, "{} patterns own memory", size(&patterns));
        // They are used again all the same.
        for at in 0..1000 {
            renew(&mut patterns, &format!("/again/{at}"));
            let pattern = patterns.hold();
            assert!(patterns.held(pattern).text(patterns.held(pattern).path).starts_with(b"/again"));
        }
        assert_eq!(patterns.all.len(), 1000);
    }
}
