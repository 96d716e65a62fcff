//! Owns the channels that one encke, or several that share them, have: their history, their numbers, and who wants their
//! messages. Any thread may come in. Rule: a message gets its number and goes to every outlet under one lock, so that all
//! see one order; nothing is sent under it, and whoever is to be woken is woken after it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::message::{Account, Message, Parts};
use super::policy::{prefix_of, Choice, Policies, Policy};
use super::position::Position;
use super::prefixes::Lengths;

/// Where the messages go that the subscribers of one encke want. Neither call waits.
pub trait Outlet: Send + Sync {
    /// In the order of their numbers. True: it is to be woken.
    fn deliver(&self, message: Arc<Message>) -> bool;
    fn wake(&self);
    /// A time has changed at which it is to look again.
    fn nudge(&self) {
        self.wake();
    }
    /// Nobody takes what is delivered any more.
    fn is_over(&self) -> bool {
        false
    }
}

/// One of the outlets of a hub.
pub type Member = u32;

/// Expired channels dealt with at a time.
const SWEEP: usize = 256;
const BUCKETS: usize = 1024;
/// Messages that may go for a new one.
const MOST_EVICTED: usize = 16 * 1024;
/// Channels of a prefix that are looked at for who comes back: under one hold of the lock, and in all; few under Miri, which
/// takes its time over so many.
const AT_A_TIME: usize = if cfg!(miri) { 16 } else { 256 };
const MOST_LOOKED_AT: usize = if cfg!(miri) { 256 } else { 16 * 1024 };
/// Messages that who comes back gets at the most.
const MOST_MISSED: usize = 64 * 1024;

fn from(name: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Included(name), Bound::Unbounded)
}

/// The subscribers of each outlet; few outlets, so a list.
type Interest = Vec<(Member, u32)>;

struct Channel {
    history: VecDeque<Arc<Message>>,
    bytes: u64,
    /// The number of the newest message that is gone from the history; 0: none is.
    lost: u64,
    published: u64,
    interest: Interest,
    policy: Arc<Policy>,
    /// When it is in the list of those that expire, as it stands there.
    expires: Option<u64>,
}

/// Everybody who wants all channels with a prefix.
struct Prefix {
    interest: Interest,
    policy: Arc<Policy>,
}

struct State {
    last: u64,
    channels: BTreeMap<Arc<str>, Channel>,
    /// Without their star.
    prefixes: HashMap<Box<str>, Prefix>,
    lengths: Lengths,
    policies: Policies,
    /// What channels may have lost that are gone with their history, by a hash of their name: a channel that comes to be
    /// again must not promise what it cannot know, and one number for all would make every other promise void.
    forgotten: Box<[u64]>,
    hasher: RandomState,
    expiring: BinaryHeap<Reverse<(u64, Arc<str>)>>,
    /// No number is given twice.
    outlets: BTreeMap<Member, Arc<dyn Outlet>>,
    members: Member,
}

pub struct Hub {
    epoch: u64,
    account: Account,
    published: AtomicU64,
    /// Bytes of messages beyond which history goes.
    limit: AtomicU64,
    /// When the first channel expires; `u64::MAX`: none does.
    expiry: AtomicU64,
    /// How often a heartbeat was set.
    heartbeats: AtomicU64,
    state: Mutex<State>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What a new subscriber begins with.
#[derive(Debug)]
pub struct Start {
    /// Everything behind this comes through the outlet.
    pub position: Position,
    /// What it missed, in order.
    pub missed: Vec<Arc<Message>>,
    /// Whether it gets all that was published since it left. `None`: it did not ask.
    pub recovered: Option<bool>,
    /// What holds for each of its channels.
    pub policies: Vec<Arc<Policy>>,
}

/// What is known of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    pub subscribers: u64,
    pub messages: u64,
    pub bytes: u64,
    pub published: u64,
    pub position: Position,
}

impl Channel {
    fn new(policy: Arc<Policy>, lost: u64) -> Channel {
        let (history, interest) = (VecDeque::new(), Interest::new());
        Channel { history, bytes: 0, lost, published: 0, interest, policy, expires: None }
    }

    /// Brings the history within its limits.
    fn trim(&mut self, now: u64) {
        let (most, bytes) = (self.policy.get(Choice::History), self.policy.get(Choice::Bytes));
        let ttl = self.policy.get(Choice::Ttl);
        while let Some(oldest) = self.history.front() {
            let within = self.history.len() as u64 <= most && self.bytes <= bytes;
            if within && now < oldest.at.saturating_add(ttl) {
                break;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.history.pop_front() {
            self.lost = oldest.position.n;
            self.bytes -= oldest.size();
        }
    }

    fn expiry(&self) -> Option<u64> {
        self.history.front().map(|oldest| oldest.at.saturating_add(self.policy.get(Choice::Ttl)))
    }

    fn is_idle(&self) -> bool {
        self.history.is_empty() && self.interest.is_empty()
    }

    fn subscribers(&self) -> u64 {
        self.interest.iter().map(|(_, n)| u64::from(*n)).sum()
    }
}

fn count(interest: &mut Interest, member: Member) {
    match interest.iter_mut().find(|(other, _)| *other == member) {
        Some((_, n)) => *n += 1,
        None => interest.push((member, 1)),
    }
}

fn discount(interest: &mut Interest, member: Member) {
    if let Some(at) = interest.iter().position(|(other, _)| *other == member) {
        interest[at].1 -= 1;
        if interest[at].1 == 0 {
            interest.swap_remove(at);
        }
    }
}

impl State {
    fn channel(&mut self, name: &str) -> (&Arc<str>, &mut Channel) {
        if !self.channels.contains_key(name) {
            let lost = self.forgotten.get(self.bucket(name)).copied().unwrap_or(0);
            let channel = Channel::new(self.policies.policy(name), lost);
            self.channels.insert(name.into(), channel);
        }
        self.channels.range_mut::<str, _>(from(name)).next().expect("inserted above")
    }

    fn bucket(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize % BUCKETS
    }

    /// A channel goes with its last subscriber and its history.
    fn forget_if_idle(&mut self, name: &str) {
        if let Some(channel) = self.channels.get(name) {
            if channel.is_idle() {
                let lost = channel.lost;
                self.channels.remove(name);
                if lost > 0 {
                    if self.forgotten.is_empty() {
                        self.forgotten = vec![0; BUCKETS].into();
                    }
                    let bucket = self.bucket(name);
                    self.forgotten[bucket] = self.forgotten[bucket].max(lost);
                }
            }
        }
    }

    /// Everybody who wants the messages of this channel, each once.
    fn wanting(&self, name: &str, interest: &Interest) -> Vec<Member> {
        let mut members: Vec<Member> = interest.iter().map(|(member, _)| *member).collect();
        for prefix in self.lengths.of(name) {
            let Some(prefix) = self.prefixes.get(prefix) else { continue };
            for (member, _) in &prefix.interest {
                if !members.contains(member) {
                    members.push(*member);
                }
            }
        }
        members
    }

    fn join_prefix(&mut self, prefix: &str, member: Member) -> Arc<Policy> {
        if !self.prefixes.contains_key(prefix) {
            let policy = self.policies.policy_of_prefix(prefix);
            self.prefixes.insert(prefix.into(), Prefix { interest: Interest::new(), policy });
            self.lengths.add(prefix);
        }
        let users = self.prefixes.get_mut(prefix).expect("inserted above");
        count(&mut users.interest, member);
        users.policy.clone()
    }

    fn drop_prefix(&mut self, prefix: &str) {
        if self.prefixes.remove(prefix).is_some() {
            self.lengths.remove(prefix);
        }
    }

    /// Everybody, to be told of something outside the lock.
    fn all(&self) -> Vec<Arc<dyn Outlet>> {
        self.outlets.values().cloned().collect()
    }

    /// What some of the channels with a prefix have: those from this one on, or behind it. Where to go on.
    fn gather(&mut self, prefix: &str, behind: Option<&str>, missed: &mut Missed, now: u64) -> Option<Arc<str>> {
        let start = behind.map_or(Bound::Included(prefix), Bound::Excluded);
        for (n, (name, channel)) in self.channels.range_mut::<str, _>((start, Bound::Unbounded)).enumerate() {
            if !name.starts_with(prefix) {
                return None;
            }
            missed.look(channel, now);
            if n + 1 == AT_A_TIME {
                return Some(name.clone());
            }
        }
        None
    }
}

/// What is found for who comes back.
struct Missed {
    /// It has everything up to here, and gets by itself what is behind the other.
    after: u64,
    until: u64,
    messages: Vec<Arc<Message>>,
    /// Nothing is known to be missing.
    whole: bool,
    looked_at: usize,
}

impl Missed {
    fn look(&mut self, channel: &mut Channel, now: u64) {
        channel.trim(now);
        self.looked_at += 1;
        self.whole &= channel.lost <= self.after;
        let first = channel.history.partition_point(|message| message.position.n <= self.after);
        let behind = channel.history.range(first..).take_while(|message| message.position.n <= self.until);
        let room = MOST_MISSED - self.messages.len();
        self.messages.extend(behind.take(room).cloned());
        self.whole &= self.messages.len() < MOST_MISSED;
    }

    fn is_full(&self) -> bool {
        self.looked_at >= MOST_LOOKED_AT || self.messages.len() >= MOST_MISSED
    }
}

impl Hub {
    /// The epoch is to be random: positions of another life must not be taken for this one's.
    pub fn new(epoch: u64) -> Hub {
        Hub {
            epoch,
            account: Account::default(),
            published: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            expiry: AtomicU64::new(u64::MAX),
            heartbeats: AtomicU64::new(0),
            state: Mutex::new(State {
                last: 0,
                channels: BTreeMap::new(),
                prefixes: HashMap::new(),
                lengths: Lengths::default(),
                policies: Policies::default(),
                forgotten: Box::default(),
                hasher: RandomState::new(),
                expiring: BinaryHeap::new(),
                outlets: BTreeMap::new(),
                members: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half-way; if it did, the guards of the boundary have said so.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Bytes of all messages that are alive.
    pub fn memory(&self) -> u64 {
        self.account.bytes.load(Relaxed)
    }

    /// A bus shows the channels below this path: its number.
    pub fn show_under(&self, path: &str) -> u8 {
        self.account.bus(path)
    }

    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Puts a channel with a history into the list of those that expire. True: it is the first of them.
    fn expire_later(&self, state: &mut State, name: &Arc<str>) -> bool {
        let Some(channel) = state.channels.get_mut(name) else { return false };
        let Some(at) = channel.expiry() else { return false };
        if channel.expires.is_some_and(|other| other <= at) {
            return false;
        }
        channel.expires = Some(at);
        state.expiring.push(Reverse((at, name.clone())));
        self.expiry.fetch_min(at, Relaxed) > at
    }

    pub fn attach(&self, outlet: Arc<dyn Outlet>) -> Member {
        let mut state = self.state();
        state.members += 1;
        let member = state.members;
        state.outlets.insert(member, outlet);
        member
    }

    /// The outlet is gone, with every subscriber that it had.
    pub fn detach(&self, member: Member) {
        let mut state = self.state();
        if state.outlets.remove(&member).is_none() {
            return;
        }
        let mut idle = Vec::new();
        for (name, channel) in &mut state.channels {
            channel.interest.retain(|(other, _)| *other != member);
            if channel.is_idle() {
                idle.push(name.clone());
            }
        }
        for name in idle {
            state.forget_if_idle(&name);
        }
        for prefix in state.prefixes.values_mut() {
            prefix.interest.retain(|(other, _)| *other != member);
        }
        let empty: Vec<Box<str>> =
            state.prefixes.iter().filter(|(_, p)| p.interest.is_empty()).map(|(name, _)| name.clone()).collect();
        for prefix in empty {
            state.drop_prefix(&prefix);
        }
    }

    /// Whether nothing was ever said or set here, and nobody listens.
    pub fn is_fresh(&self) -> bool {
        let state = self.state();
        state.last == 0 && state.channels.is_empty() && state.prefixes.is_empty() && state.policies.is_empty()
    }

    /// Publishes; `awake` needs no waking.
    pub fn publish(&self, name: &str, parts: Parts, now: u64, awake: Option<Member>) {
        let mut wake: Vec<Arc<dyn Outlet>> = Vec::new();
        let mut nudge = Vec::new();
        let mut over = Vec::new();
        {
            let mut state = self.state();
            state.last += 1;
            let position = Position { epoch: self.epoch, n: state.last };
            let (name, channel) = state.channel(name);
            let name = name.clone();
            let message = Arc::new(Message::new(name.clone(), position, now, parts, self.account.clone()));
            channel.published += 1;
            channel.bytes += message.size();
            channel.history.push_back(message.clone());
            channel.trim(now);
            let interest = channel.interest.clone();
            for member in state.wanting(&name, &interest) {
                if let Some(outlet) = state.outlets.get(&member) {
                    if outlet.deliver(message.clone()) && awake != Some(member) {
                        wake.push(outlet.clone());
                    } else if outlet.is_over() {
                        over.push(member);
                    }
                }
            }
            if self.expire_later(&mut state, &name) && awake.is_none() {
                nudge = state.all(); // nobody's timer is set for that
            }
            state.forget_if_idle(&name);
            self.make_room(&mut state);
        }
        self.published.fetch_add(1, Relaxed);
        for outlet in wake {
            outlet.wake();
        }
        for outlet in nudge {
            outlet.nudge();
        }
        for member in over {
            self.detach(member);
        }
    }

    /// Bytes that all messages may occupy: history beyond is given up, the oldest first. The first word counts.
    pub fn set_limit(&self, bytes: u64) {
        let _ = self.limit.compare_exchange(u64::MAX, bytes, Relaxed, Relaxed);
    }

    /// Whether a message of this size may be published at all.
    pub fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.limit.load(Relaxed)
    }

    /// Whether messages occupy more than they may: what is unsent of them is too much.
    pub fn is_full(&self) -> bool {
        self.memory() > self.limit.load(Relaxed)
    }

    fn make_room(&self, state: &mut State) {
        for _ in 0..MOST_EVICTED {
            if !self.is_full() {
                return;
            }
            let Some(Reverse((at, name))) = state.expiring.pop() else { return };
            let Some(channel) = state.channels.get_mut(&name).filter(|channel| channel.expires == Some(at)) else {
                continue;
            };
            channel.drop_oldest();
            channel.expires = None;
            self.expire_later(state, &name);
            state.forget_if_idle(&name);
        }
    }

    /// A subscriber of these channels and prefixes; `since` is where it left.
    pub fn join(&self, member: Member, patterns: &[Box<str>], since: Option<Position>, now: u64) -> Start {
        let mut state = self.state();
        let position = Position { epoch: self.epoch, n: state.last };
        let ours = since.is_some_and(|since| since.epoch == self.epoch && since.n <= state.last);
        let after = since.filter(|_| ours).map_or(u64::MAX, |since| since.n);
        let mut missed = Missed { after, until: position.n, messages: Vec::new(), whole: ours, looked_at: 0 };
        let mut policies = Vec::with_capacity(patterns.len());
        // Prefixes with more channels than are looked at under one hold of the lock, and how far that has come.
        let mut long: Vec<(&str, Arc<str>)> = Vec::new();
        let mut prefixed = false;
        for pattern in patterns {
            match prefix_of(pattern) {
                None => {
                    let (_, channel) = state.channel(pattern);
                    count(&mut channel.interest, member);
                    missed.look(channel, now);
                    policies.push(channel.policy.clone());
                }
                Some(prefix) => {
                    prefixed = true;
                    policies.push(state.join_prefix(prefix, member));
                    if since.is_some() && !missed.is_full() {
                        let rest = state.gather(prefix, None, &mut missed, now);
                        long.extend(rest.map(|last| (prefix, last)));
                    }
                }
            }
        }
        while let Some((prefix, last)) = long.pop().filter(|_| !missed.is_full()) {
            drop(state);
            state = self.state();
            let rest = state.gather(prefix, Some(&last), &mut missed, now);
            long.extend(rest.map(|last| (prefix, last)));
        }
        // What was forgotten, in the meantime too, may have had the prefix; and what was not looked at is not known.
        let unknown = prefixed && (missed.is_full() || state.forgotten.iter().any(|lost| *lost > after));
        drop(state);
        let Missed { messages: mut missed, whole, .. } = missed;
        missed.sort_unstable_by_key(|message| message.position.n);
        missed.dedup_by_key(|message| message.position.n);
        let recovered = since.map(|_| whole && !unknown);
        Start { position, missed, recovered, policies }
    }

    pub fn leave(&self, member: Member, pattern: &str) {
        let mut state = self.state();
        match prefix_of(pattern) {
            None => {
                if let Some(channel) = state.channels.get_mut(pattern) {
                    discount(&mut channel.interest, member);
                    state.forget_if_idle(pattern);
                }
            }
            Some(prefix) => {
                if let Some(users) = state.prefixes.get_mut(prefix) {
                    discount(&mut users.interest, member);
                    if users.interest.is_empty() {
                        state.drop_prefix(prefix);
                    }
                }
            }
        }
    }

    pub fn set(&self, pattern: &str, choice: Choice, value: u64, now: u64) {
        let mut state = self.state();
        let mut nudge = choice == Choice::Heartbeat;
        state.policies.set(pattern, choice, value);
        let State { channels, prefixes, policies, .. } = &mut *state;
        let mut touched: Vec<Arc<str>> = Vec::new();
        match prefix_of(pattern) {
            None => touched.extend(channels.contains_key(pattern).then(|| pattern.into())),
            Some(prefix) => {
                let range = channels.range::<str, _>(from(prefix)).take_while(|(name, _)| name.starts_with(prefix));
                touched.extend(range.map(|(name, _)| name.clone()));
                for (other, users) in prefixes.iter().filter(|(other, _)| other.starts_with(prefix)) {
                    policies.update_prefix(other, &users.policy);
                }
            }
        }
        for name in touched {
            let State { channels, policies, .. } = &mut *state;
            if let Some(channel) = channels.get_mut(&name) {
                policies.update(&name, &channel.policy);
                channel.trim(now);
            }
            nudge |= self.expire_later(&mut state, &name);
            state.forget_if_idle(&name);
        }
        if nudge {
            if choice == Choice::Heartbeat {
                self.heartbeats.fetch_add(1, Relaxed);
            }
            let all = state.all();
            drop(state);
            all.iter().for_each(|outlet| outlet.nudge());
        }
    }

    /// Another number than before: a heartbeat was set.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Relaxed)
    }

    pub fn facts(&self, name: &str) -> Option<Facts> {
        let state = self.state();
        state.channels.get(name).map(|channel| Facts {
            subscribers: channel.subscribers(),
            messages: channel.history.len() as u64,
            bytes: channel.bytes,
            published: channel.published,
            position: Position { epoch: self.epoch, n: channel.history.back().map_or(channel.lost, |m| m.position.n) },
        })
    }

    /// The first channel behind this name, in the order of bytes.
    pub fn next_after(&self, name: &str) -> Option<Arc<str>> {
        let behind = (Bound::Excluded(name), Bound::Unbounded);
        self.state().channels.range::<str, _>(behind).next().map(|(name, _)| name.clone())
    }

    pub fn channels(&self) -> u64 {
        self.state().channels.len() as u64
    }

    /// When [`Hub::sweep`] has something to do.
    pub fn next_expiry(&self) -> Option<u64> {
        Some(self.expiry.load(Relaxed)).filter(|at| *at != u64::MAX)
    }

    /// Forgets what is too old, some channels at a time.
    pub fn sweep(&self, now: u64) {
        let mut state = self.state();
        for _ in 0..SWEEP {
            match state.expiring.peek() {
                Some(Reverse((at, _))) if *at <= now => {}
                _ => break,
            }
            let Some(Reverse((at, name))) = state.expiring.pop() else { break };
            let Some(channel) = state.channels.get_mut(&name).filter(|channel| channel.expires == Some(at)) else {
                continue; // an earlier time took its place
            };
            channel.trim(now);
            channel.expires = None;
            self.expire_later(&mut state, &name);
            state.forget_if_idle(&name);
        }
        let next = state.expiring.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        self.expiry.store(next, Relaxed);
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
