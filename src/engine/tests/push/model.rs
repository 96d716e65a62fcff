//! Owns what is true of the channels: every message, what each history has, what holds for each channel. Rule: it is
//! written from the documents and shares no code with the library's.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::push::form::{Form, FORMS};
use crate::push::policy::Choice;

use super::plan::encode;

pub const CHANNELS: [&str; 5] = ["a/1", "a/2", "a/b/1", "c", "d"];
pub const PATTERNS: [&str; 8] = ["a/1", "a/2", "a/b/1", "c", "d", "a/*", "a/b/*", "*"];

#[derive(Debug, Clone)]
pub struct Message {
    pub n: u64,
    pub channel: &'static str,
    pub at: u64,
    pub kind: &'static str,
    pub from: &'static str,
    pub event: &'static str,
    pub key: &'static str,
    pub data: Vec<u8>,
}

impl Message {
    pub fn size(&self) -> u64 {
        let texts = self.kind.len() + self.from.len() + self.event.len() + self.key.len();
        (texts + self.data.len()) as u64
    }
}

#[derive(Debug, Default)]
struct Channel {
    history: VecDeque<u64>,
    bytes: u64,
    /// The newest message that its history had and has not.
    lost: u64,
}

/// A message in each form, without and with compression.
type Encoded = [Option<Rc<[u8]>>; 2 * FORMS];

/// What a subscriber is to begin with.
#[derive(Debug, Clone)]
pub struct Start {
    pub last: u64,
    pub missed: Vec<u64>,
    /// Nothing that was published since is missing.
    pub whole: bool,
    /// A "no" may be wrong: channels that came and went are remembered in common.
    pub doubtful: bool,
}

#[derive(Debug)]
pub struct Model {
    pub epoch: u64,
    pub messages: Vec<Message>,
    channels: BTreeMap<&'static str, Channel>,
    rules: Vec<(&'static str, Choice, u64)>,
    /// Messages as they are on the wire, each form of each made once.
    encoded: RefCell<Vec<Encoded>>,
}

pub fn fits(pattern: &str, channel: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == channel, |prefix| channel.starts_with(prefix))
}

impl Model {
    pub fn new(epoch: u64) -> Model {
        let (messages, channels, rules) = (Vec::new(), BTreeMap::new(), Vec::new());
        Model { epoch, messages, channels, rules, encoded: RefCell::default() }
    }

    pub fn last(&self) -> u64 {
        self.messages.len() as u64
    }

    pub fn message(&self, n: u64) -> Option<&Message> {
        self.messages.get((n as usize).checked_sub(1)?)
    }

    /// A message in a form without chunks, if it was published.
    pub fn encoded(&self, n: u64, form: Form, deflates: bool) -> Option<Rc<[u8]>> {
        let message = self.message(n)?;
        let mut encoded = self.encoded.borrow_mut();
        encoded.resize_with(self.messages.len(), Default::default);
        let known = &mut encoded[n as usize - 1][form.slot()? + if deflates { FORMS } else { 0 }];
        Some(known.get_or_insert_with(|| encode(message, self.epoch, form, deflates).into()).clone())
    }

    // ---- rules -----------------------------------------------------------------------------------------------------

    pub fn set(&mut self, pattern: &'static str, choice: Choice, value: u64, now: u64) {
        self.rules.retain(|rule| (rule.0, rule.1) != (pattern, choice));
        self.rules.push((pattern, choice, value));
        for channel in CHANNELS {
            if fits(pattern, channel) {
                self.trim(channel, now);
            }
        }
    }

    /// For a channel or a pattern: the exact name decides before a prefix, a longer prefix before a shorter one.
    pub fn rule(&self, name: &str, choice: Choice) -> u64 {
        let plain = name.trim_end_matches('*');
        let closest = self
            .rules
            .iter()
            .filter(|rule| rule.1 == choice && (rule.0 == plain || rule.0.ends_with('*') && fits(rule.0, plain)))
            .max_by_key(|rule| if rule.0.ends_with('*') { rule.0.len() - 1 } else { usize::MAX });
        closest.map_or_else(
            || match choice {
                Choice::History => 100,
                Choice::Bytes | Choice::Backlog => 1 << 20,
                Choice::Ttl => 60_000,
                Choice::Slow => 0,
                Choice::Heartbeat => 30_000,
            },
            |rule| rule.2,
        )
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    pub fn publish(&mut self, message: Message) {
        let (name, n, size, now) = (message.channel, message.n, message.size(), message.at);
        assert_eq!(n, self.last() + 1);
        self.messages.push(message);
        let channel = self.channels.entry(name).or_default();
        channel.history.push_back(n);
        channel.bytes += size;
        self.trim(name, now);
    }

    fn trim(&mut self, name: &str, now: u64) {
        let most = [Choice::History, Choice::Bytes, Choice::Ttl].map(|choice| self.rule(name, choice));
        let Some(channel) = self.channels.get_mut(name) else { return };
        while let Some(oldest) = channel.history.front().map(|n| &self.messages[*n as usize - 1]) {
            let old = now >= oldest.at.saturating_add(most[2]);
            if channel.history.len() as u64 <= most[0] && channel.bytes <= most[1] && !old {
                break;
            }
            channel.lost = oldest.n;
            channel.bytes -= oldest.size();
            channel.history.pop_front();
        }
    }

    /// The memory was full: histories are as long as they say.
    pub fn shorten(&mut self, name: &str, length: u64) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        while channel.history.len() as u64 > length {
            let oldest = channel.history.pop_front().expect("it is longer");
            channel.lost = oldest;
            channel.bytes -= self.messages[oldest as usize - 1].size();
        }
    }

    pub fn length(&mut self, name: &str, now: u64) -> u64 {
        self.trim(name, now);
        self.channels.get(name).map_or(0, |channel| channel.history.len() as u64)
    }

    /// Who comes with this position; `None`: it did not say one.
    pub fn start(&mut self, patterns: &[Box<str>], since: Option<(u64, u64)>, now: u64) -> Start {
        let last = self.last();
        let ours = since.is_some_and(|(epoch, n)| epoch == self.epoch && n <= last);
        let after = if ours { since.map_or(0, |since| since.1) } else { u64::MAX };
        let (mut missed, mut whole, mut doubtful) = (Vec::new(), ours, false);
        for name in CHANNELS {
            self.trim(name, now);
            let Some(channel) = self.channels.get(name) else { continue };
            doubtful |= channel.lost > after;
            if patterns.iter().any(|pattern| fits(pattern, name)) {
                whole &= channel.lost <= after;
                missed.extend(channel.history.iter().filter(|n| **n > after));
            }
        }
        missed.sort_unstable();
        Start { last, missed, whole, doubtful }
    }
}

/// Lists of patterns, as they are defined.
pub fn wanted(list: &str, text: &str) -> bool {
    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|n| glob(rest, &text[n..])),
            Some((b'?', rest)) => !text.is_empty() && glob(rest, &text[1..]),
            Some((byte, rest)) => text.first() == Some(byte) && glob(rest, &text[1..]),
        }
    }
    let hit = |pattern: &str| glob(pattern.as_bytes(), text.as_bytes());
    let against = list.split(',').any(|pattern| pattern.strip_prefix('!').is_some_and(hit));
    list.is_empty() || !against && list.split(',').any(|pattern| !pattern.starts_with('!') && hit(pattern))
}
