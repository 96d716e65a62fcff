//! What holds for a channel: how much it keeps, and what becomes of subscribers that do not keep up. Rule: everything is
//! finite by default; the exact name decides before a prefix, a longer prefix before a shorter one; what was set before
//! a channel came to be holds for it too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use super::prefixes::Lengths;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Messages kept for those who come back.
    History,
    /// Bytes of them.
    Bytes,
    /// Milliseconds that they are kept.
    Ttl,
    Slow,
    /// Bytes that a subscriber may have unsent.
    Backlog,
    /// Milliseconds between signs of life; 0: none.
    Heartbeat,
}

pub const CHOICES: usize = 6;

/// In the order of [`Choice`].
const DEFAULTS: [u64; CHOICES] = [100, 1 << 20, 60_000, 0, 1 << 20, 30_000];

/// What a subscriber gets that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// It is ended, and may come back for what it missed.
    Close,
    /// It misses the new message.
    DropNew,
    /// It misses the oldest that it has not begun to get.
    DropOld,
    /// As DropOld, and a message takes the place of an older one with its key.
    Latest,
}

/// The choices for one name; may change while it is in use. Behind them, a bit for each that was made by somebody.
#[derive(Debug)]
pub struct Policy([AtomicU64; CHOICES + 1]);

/// The unsent bytes with which a subscriber of the msgbus protocol does not keep up, unless somebody chose.
const BUS_BACKLOG: u64 = 1_000_000;

impl Policy {
    pub fn get(&self, choice: Choice) -> u64 {
        self.0[choice as usize].load(Relaxed)
    }

    fn is_chosen(&self, choice: Choice) -> bool {
        self.0[CHOICES].load(Relaxed) & 1 << choice as u64 != 0
    }

    fn store(&self, values: [u64; CHOICES + 1]) {
        for (place, value) in self.0.iter().zip(values) {
            place.store(value, Relaxed);
        }
    }

    pub fn slow(&self) -> Slow {
        match self.get(Choice::Slow) {
            1 => Slow::DropNew,
            2 => Slow::DropOld,
            3 => Slow::Latest,
            _ => Slow::Close,
        }
    }

    /// The msgbus protocol has its own defaults: what is too much for a subscriber is not for it.
    pub fn limits_of_the_bus(&self) -> (Slow, u64) {
        let slow = if self.is_chosen(Choice::Slow) { self.slow() } else { Slow::DropNew };
        let backlog = if self.is_chosen(Choice::Backlog) { self.get(Choice::Backlog) } else { BUS_BACKLOG };
        (slow, backlog)
    }
}

/// All that was set.
#[derive(Debug, Default)]
pub struct Policies {
    exact: HashMap<Box<str>, [Option<u64>; CHOICES]>,
    prefixes: HashMap<Box<str>, [Option<u64>; CHOICES]>,
    lengths: Lengths,
}

/// "news/*" is every channel whose name begins with "news/".
pub fn prefix_of(pattern: &str) -> Option<&str> {
    pattern.strip_suffix('*')
}

impl Policies {
    pub fn set(&mut self, pattern: &str, choice: Choice, value: u64) {
        let row = match prefix_of(pattern) {
            Some(prefix) => {
                if !self.prefixes.contains_key(prefix) {
                    self.lengths.add(prefix);
                }
                self.prefixes.entry(prefix.into()).or_default()
            }
            None => self.exact.entry(pattern.into()).or_default(),
        };
        row[choice as usize] = Some(value);
    }

    fn values(&self, name: &str, exact: Option<&[Option<u64>; CHOICES]>) -> [u64; CHOICES + 1] {
        let mut values = [0; CHOICES + 1];
        values[..CHOICES].copy_from_slice(&DEFAULTS);
        let mut put = |row: &[Option<u64>; CHOICES]| {
            for (choice, set) in row.iter().enumerate() {
                if let Some(value) = set {
                    values[choice] = *value;
                    values[CHOICES] |= 1 << choice;
                }
            }
        };
        for prefix in self.lengths.of(name) {
            if let Some(row) = self.prefixes.get(prefix) {
                put(row);
            }
        }
        exact.map(put);
        values
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    /// What holds for a name, or for all names with a prefix ("news/*").
    pub fn policy(&self, pattern: &str) -> Arc<Policy> {
        match prefix_of(pattern) {
            Some(prefix) => self.policy_of_prefix(prefix),
            None => Arc::new(Policy(self.values(pattern, self.exact.get(pattern)).map(AtomicU64::new))),
        }
    }

    pub fn policy_of_prefix(&self, prefix: &str) -> Arc<Policy> {
        Arc::new(Policy(self.values(prefix, None).map(AtomicU64::new)))
    }

    pub fn update(&self, name: &str, policy: &Policy) {
        policy.store(self.values(name, self.exact.get(name)));
    }

    pub fn update_prefix(&self, prefix: &str, policy: &Policy) {
        policy.store(self.values(prefix, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_decides() {
        let mut policies = Policies::default();
        policies.set("*", Choice::History, 1);
        policies.set("news/*", Choice::History, 2);
        policies.set("news/de/*", Choice::History, 3);
        policies.set("news/de/today", Choice::History, 4);
        policies.set("news/*", Choice::Ttl, 7);
        let of = |name: &str| policies.policy(name).get(Choice::History);
        assert_eq!([of("a"), of("news"), of("news/"), of("news/de/x"), of("news/de/today")], [1, 1, 2, 3, 4]);
        assert_eq!(of("news/fr/*"), 2);
        assert_eq!(policies.policy("news/de/today").get(Choice::Ttl), 7);
        assert_eq!(policies.policy("news/de/today").get(Choice::Backlog), 1 << 20);
    }

    #[test]
    fn what_is_in_use_changes() {
        let mut policies = Policies::default();
        let policy = policies.policy("a");
        assert_eq!(policy.slow(), Slow::Close);
        policies.set("a", Choice::Slow, 3);
        policies.update("a", &policy);
        assert_eq!(policy.slow(), Slow::Latest);
    }

    #[test]
    fn the_bus_drops_what_is_new_unless_somebody_chose() {
        let mut policies = Policies::default();
        assert_eq!(policies.policy("a").limits_of_the_bus(), (Slow::DropNew, 1_000_000));
        policies.set("*", Choice::Backlog, 7);
        assert_eq!(policies.policy("a").limits_of_the_bus(), (Slow::DropNew, 7));
        policies.set("a", Choice::Slow, 0);
        assert_eq!(policies.policy("a").limits_of_the_bus(), (Slow::Close, 7));
        assert_eq!(policies.policy("b").limits_of_the_bus(), (Slow::DropNew, 7));
    }
}
