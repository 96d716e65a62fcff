//! Owns one encke's subscribers and who of them is still to get what. Rule: a subscriber holds a position; a message that
//! all have been offered is forgotten here. Walks go on from where they stopped, so nobody is always first, and a message
//! that comes during a walk extends it: whoever had its turn before it gets both at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use super::form::Form;
use super::globs;
use super::message::Message;
use super::policy::{prefix_of, Choice, Policy, Slow};
use super::prefixes::Lengths;

/// No subscriber, no seat.
pub const NONE: u32 = u32::MAX;
/// What may wait to be offered, in backlogs of one subscriber.
const MOST_BACKLOGS: u64 = 16;
/// Turns of one feed before another has some.
const QUANTUM: u32 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Multipart,
    /// The msgbus protocol.
    Bus,
    Sse,
    LongPoll,
    WebSocket,
    Plain,
}

/// Which messages a subscriber wants, by type and sender.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Filter {
    pub types: Box<str>,
    pub from: Box<str>,
    /// Messages of nobody are wanted whatever `from` says.
    pub anonymous: bool,
}

impl Filter {
    fn wants(&self, message: &Message) -> bool {
        let from = &message.parts.from;
        globs::wanted(&self.types, &message.parts.kind)
            && (self.anonymous && from.is_empty() || globs::wanted(&self.from, from))
    }
}

/// A place in the walk of a feed.
#[derive(Debug, Clone, Copy)]
struct Seat {
    feed: u32,
    at: u32,
    /// What is up to this number was there before it sat down.
    from: u64,
}

#[derive(Debug)]
pub struct Subscriber {
    pub transport: Transport,
    pub form: Form,
    /// It has everything up to this number that it wants.
    pub position: u64,
    pub filter: Option<Box<Filter>>,
    /// When a long poll ends without a message.
    pub deadline: u64,
    /// When it was last given a sign of life.
    pub beaten: u64,
    /// What was told of what it missed, for a long poll.
    pub recovered: Option<bool>,
    seats: SmallVec<[Seat; 1]>,
}

impl Subscriber {
    pub fn new(transport: Transport, form: Form, filter: Option<Box<Filter>>) -> Subscriber {
        Subscriber {
            transport,
            form,
            position: 0,
            filter,
            deadline: u64::MAX,
            beaten: 0,
            recovered: None,
            seats: SmallVec::new(),
        }
    }

    pub fn wants(&self, message: &Message) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.wants(message))
    }
}

#[derive(Debug)]
struct Feed {
    pattern: Arc<str>,
    policy: Arc<Policy>,
    /// The walk goes over these; NONE: free.
    seats: Vec<u32>,
    free: Vec<u32>,
    /// What is not yet offered to all.
    log: VecDeque<Arc<Message>>,
    log_bytes: u64,
    /// The newest message that had to go before all were offered it.
    lost: u64,
    cursor: usize,
    /// Seats to be looked at until all are up to date, and until all have had a sign of life.
    left: usize,
    beat_left: usize,
    /// When seats as many as there are were looked at, everything up to this number is offered.
    looked: usize,
    offered: u64,
    active: bool,
    /// When the next sign of life is due.
    beat_at: u64,
}

impl Feed {
    fn is_empty(&self) -> bool {
        self.free.len() == self.seats.len()
    }

    fn forget_through(&mut self, n: u64) {
        while self.log.front().is_some_and(|message| message.position.n <= n) {
            if let Some(message) = self.log.pop_front() {
                self.log_bytes -= message.size();
            }
        }
    }
}

/// A message for everybody in a feed.
fn offer(feeds: &mut [Option<Feed>], active: &mut VecDeque<u32>, at: u32, message: &Arc<Message>) {
    let Some(Some(feed)) = feeds.get_mut(at as usize) else { return };
    feed.log.push_back(message.clone());
    feed.log_bytes += message.size();
    // A burst may be larger than a backlog: it is not the subscribers' fault. Only what is many times that has to go before
    // all were offered it.
    let most = feed.policy.get(Choice::Backlog).saturating_mul(MOST_BACKLOGS);
    while feed.log_bytes > most && feed.log.len() > 1 {
        if let Some(oldest) = feed.log.pop_front() {
            feed.log_bytes -= oldest.size();
            feed.lost = oldest.position.n;
        }
    }
    feed.left = feed.seats.len();
    if !feed.active {
        feed.active = true;
        (feed.looked, feed.offered) = (0, message.position.n);
        active.push_back(at);
    }
}

/// Room for one more, and a quarter: lists of very many are not to be half empty.
fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 4);
    }
}

/// Whole seconds: feeds that are due at nearly the same time are due together.
fn beat_after(now: u64, every: u64) -> u64 {
    (now + every).next_multiple_of(1024)
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The exchange.
    pub slot: u32,
    /// A sign of life is due.
    pub beat: bool,
}

#[derive(Debug, Default)]
pub struct Feeds {
    feeds: Vec<Option<Feed>>,
    free: Vec<u32>,
    /// Feeds of channels, and those of prefixes without their star.
    names: HashMap<Arc<str>, u32>,
    prefixes: HashMap<Box<str>, u32>,
    lengths: Lengths,
    /// By the slot of their exchange.
    subscribers: Vec<Option<Box<Subscriber>>>,
    count: u64,
    active: VecDeque<u32>,
    turns: u32,
    /// The number of the last message heard.
    heard: u64,
    /// The earliest sign of life that is due; may be too early.
    beat_at: u64,
    /// Feeds that are over: another may have the place of one.
    closed: u64,
}

/// What is pending for a subscriber, by name: the same messages for everybody for whom this is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    feed: u32,
    /// It has everything up to here, and is to get everything up to there.
    has: u64,
    heard: u64,
    closed: u64,
    pub form: Form,
}

impl Feeds {
    pub fn new() -> Feeds {
        Feeds { beat_at: u64::MAX, ..Feeds::default() }
    }

    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn at(&self, slot: u32) -> Option<&Subscriber> {
        self.subscribers.get(slot as usize)?.as_deref()
    }

    pub fn at_mut(&mut self, slot: u32) -> Option<&mut Subscriber> {
        self.subscribers.get_mut(slot as usize)?.as_deref_mut()
    }

    // ---- coming and going ------------------------------------------------------------------------------------------

    pub fn add(&mut self, slot: u32, subscriber: Subscriber) {
        let slot = slot as usize;
        if self.subscribers.len() <= slot {
            let more = slot + 1 - self.subscribers.len();
            if self.subscribers.capacity() <= slot {
                self.subscribers.reserve_exact(more + slot / 4);
            }
            self.subscribers.resize_with(slot + 1, || None);
        }
        if self.subscribers[slot].replace(Box::new(subscriber)).is_none() {
            self.count += 1;
        }
    }

    /// Seats a subscriber in the feed of a channel or prefix, for what is published behind `from`. False: it sits there.
    pub fn join(&mut self, slot: u32, pattern: &str, policy: &Arc<Policy>, from: u64, now: u64) -> bool {
        let feed = self.find(pattern).unwrap_or_else(|| self.open(pattern, policy));
        let Some(subscriber) = self.subscribers.get_mut(slot as usize).and_then(Option::as_deref_mut) else {
            return false;
        };
        if subscriber.seats.iter().any(|seat| seat.feed == feed) {
            return false;
        }
        let Some(Some(room)) = self.feeds.get_mut(feed as usize) else { return false };
        let at = match room.free.pop() {
            Some(at) => {
                room.seats[at as usize] = slot;
                at
            }
            None => {
                // The walk is one seat longer, or those before its start would be left out.
                room.left += usize::from(room.left > 0);
                room.beat_left += usize::from(room.beat_left > 0);
                reserve(&mut room.seats);
                room.seats.push(slot);
                room.seats.len() as u32 - 1
            }
        };
        subscriber.seats.push(Seat { feed, at, from });
        if room.beat_at == u64::MAX {
            let every = room.policy.get(Choice::Heartbeat);
            if every > 0 {
                room.beat_at = beat_after(now, every);
                self.beat_at = self.beat_at.min(room.beat_at);
            }
        }
        true
    }

    fn find(&self, pattern: &str) -> Option<u32> {
        match prefix_of(pattern) {
            Some(prefix) => self.prefixes.get(prefix),
            None => self.names.get(pattern),
        }
        .copied()
    }

    fn open(&mut self, pattern: &str, policy: &Arc<Policy>) -> u32 {
        let pattern: Arc<str> = pattern.into();
        let feed = Feed {
            pattern: pattern.clone(),
            policy: policy.clone(),
            seats: Vec::new(),
            free: Vec::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            lost: 0,
            cursor: 0,
            left: 0,
            beat_left: 0,
            looked: 0,
            offered: 0,
            active: false,
            beat_at: u64::MAX,
        };
        let at = self.free.pop().unwrap_or(self.feeds.len() as u32);
        if at as usize == self.feeds.len() {
            self.feeds.push(None);
        }
        self.feeds[at as usize] = Some(feed);
        match prefix_of(&pattern) {
            Some(prefix) => {
                self.lengths.add(prefix);
                self.prefixes.insert(prefix.into(), at);
            }
            None => {
                self.names.insert(pattern, at);
            }
        }
        at
    }

    fn close(&mut self, at: u32) {
        if let Some(feed) = self.feeds.get_mut(at as usize).and_then(Option::take) {
            match prefix_of(&feed.pattern) {
                Some(prefix) => {
                    self.lengths.remove(prefix);
                    self.prefixes.remove(prefix);
                }
                None => {
                    self.names.remove(&feed.pattern);
                }
            }
            if feed.active {
                self.active.retain(|other| *other != at);
            }
            self.closed += 1;
            self.free.push(at);
        }
    }

    /// The patterns of a subscriber, in the order in which they were joined.
    pub fn patterns(&self, slot: u32) -> Vec<Arc<str>> {
        let seats = self.at(slot).map_or(&[][..], |subscriber| &subscriber.seats);
        seats.iter().filter_map(|seat| Some(self.feeds.get(seat.feed as usize)?.as_ref()?.pattern.clone())).collect()
    }

    /// It leaves one channel and stays a subscriber. False: it was not there.
    pub fn leave(&mut self, slot: u32, pattern: &str) -> bool {
        let Some(feed) = self.find(pattern) else { return false };
        let Some(subscriber) = self.at_mut(slot) else { return false };
        let Some(at) = subscriber.seats.iter().position(|seat| seat.feed == feed) else { return false };
        let seat = subscriber.seats.remove(at);
        self.stand_up(seat);
        true
    }

    /// It is gone.
    pub fn remove(&mut self, slot: u32) {
        if let Some(subscriber) = self.subscribers.get_mut(slot as usize).and_then(Option::take) {
            self.count -= 1;
            for seat in subscriber.seats {
                self.stand_up(seat);
            }
        }
    }

    fn stand_up(&mut self, seat: Seat) {
        let Some(Some(feed)) = self.feeds.get_mut(seat.feed as usize) else { return };
        feed.seats[seat.at as usize] = NONE;
        feed.free.push(seat.at);
        if feed.is_empty() {
            return self.close(seat.feed);
        }
        // Free seats at the end are no seats: a feed that shrinks does not walk for ever over what is gone.
        if feed.seats.len() > 64 && feed.free.len() > feed.seats.len() / 2 {
            self.move_together(seat.feed);
        }
    }

    /// Gives everybody a seat in front. Who moves may be looked at once more or once less, so the walk begins anew.
    fn move_together(&mut self, at: u32) {
        let Some(Some(feed)) = self.feeds.get_mut(at as usize) else { return };
        feed.seats.retain(|slot| *slot != NONE);
        feed.free.clear();
        feed.cursor = 0;
        feed.looked = 0;
        feed.offered = 0;
        if feed.left > 0 {
            feed.left = feed.seats.len();
        }
        feed.beat_left = feed.beat_left.min(feed.seats.len());
        for (to, slot) in feed.seats.iter().enumerate() {
            if let Some(Some(subscriber)) = self.subscribers.get_mut(*slot as usize) {
                if let Some(seat) = subscriber.seats.iter_mut().find(|seat| seat.feed == at) {
                    seat.at = to as u32;
                }
            }
        }
    }

    // ---- walks -----------------------------------------------------------------------------------------------------

    /// From now on another hub numbers the messages; nobody is seated.
    pub fn begin_anew(&mut self) {
        self.heard = 0;
    }

    /// A message of the hub: whoever wants it will have a turn.
    pub fn hear(&mut self, message: &Arc<Message>) {
        if message.position.n <= self.heard {
            return; // it was given up
        }
        self.heard = message.position.n;
        let Feeds { feeds, names, prefixes, lengths, active, .. } = self;
        if let Some(feed) = names.get(&message.channel) {
            offer(feeds, active, *feed, message);
        }
        for prefix in lengths.of(&message.channel) {
            if let Some(feed) = prefixes.get(prefix) {
                offer(feeds, active, *feed, message);
            }
        }
    }

    /// Messages up to this number did not come here, of whatever channels: everybody may have missed one.
    pub fn lose(&mut self, n: u64) {
        if n <= self.heard {
            return;
        }
        self.heard = n;
        for (at, feed) in self.feeds.iter_mut().enumerate() {
            let Some(feed) = feed else { continue };
            feed.lost = n;
            feed.left = feed.seats.len();
            if !feed.active {
                feed.active = true;
                (feed.looked, feed.offered) = (0, n);
                self.active.push_back(at as u32);
            }
        }
    }
    /// The number of the last message that came here.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    pub fn is_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// Whose turn it is; every seat that is looked at costs one of `looks`. `None`: all had theirs, or no looks are left.
    pub fn next(&mut self, looks: &mut u32) -> Option<Turn> {
        while *looks > 0 {
            let at = *self.active.front()?;
            let Some(Some(feed)) = self.feeds.get_mut(at as usize) else {
                self.active.pop_front();
                continue;
            };
            if feed.left == 0 && feed.beat_left == 0 {
                feed.log.clear();
                feed.log_bytes = 0;
                feed.active = false;
                self.active.pop_front();
                self.turns = 0;
                continue;
            }
            if self.turns >= QUANTUM && self.active.len() > 1 {
                self.turns = 0;
                self.active.rotate_left(1);
                continue;
            }
            if feed.looked >= feed.seats.len() {
                // All were looked at since then, and took what there was.
                let offered = std::mem::replace(&mut feed.offered, self.heard);
                feed.forget_through(offered);
                feed.looked = 0;
            }
            *looks -= 1;
            if feed.cursor >= feed.seats.len() {
                feed.cursor = 0;
            }
            let slot = feed.seats[feed.cursor];
            feed.cursor += 1;
            feed.left = feed.left.saturating_sub(1);
            let beat = feed.beat_left > 0;
            feed.beat_left = feed.beat_left.saturating_sub(1);
            feed.looked += 1;
            let Some(Some(subscriber)) = self.subscribers.get(slot as usize) else { continue };
            if subscriber.position < self.heard || beat {
                self.turns += 1;
                return Some(Turn { slot, beat });
            }
        }
        None
    }

    /// What is pending for a subscriber of one channel who wants all of it, and is not answered with it. `None`: to be
    /// looked for in another way.
    pub fn pending(&self, slot: u32) -> Option<Pending> {
        let subscriber = self.at(slot)?;
        let [seat] = subscriber.seats[..] else { return None };
        if subscriber.filter.is_some() || subscriber.transport == Transport::LongPoll {
            return None;
        }
        let has = subscriber.position.max(seat.from);
        Some(Pending { feed: seat.feed, has, heard: self.heard, closed: self.closed, form: subscriber.form })
    }

    /// The messages of that name. False: something went before it was offered.
    pub fn look_up(&self, pending: Pending, into: &mut Vec<Arc<Message>>) -> bool {
        let Some(Some(feed)) = self.feeds.get(pending.feed as usize) else { return false };
        let from = feed.log.partition_point(|message| message.position.n <= pending.has);
        into.extend(feed.log.range(from..).cloned());
        feed.lost <= pending.has
    }

    /// A subscriber was given what was pending for it.
    #[inline]
    pub fn given(&mut self, slot: u32) {
        let heard = self.heard;
        if let Some(subscriber) = self.at_mut(slot) {
            subscriber.position = subscriber.position.max(heard);
        }
    }

    /// Everything that a subscriber has not got and wants, in order; it counts as got from now on. True: something went
    /// before it was offered.
    pub fn take(&mut self, slot: u32, into: &mut Vec<Arc<Message>>) -> bool {
        let Some(Some(subscriber)) = self.subscribers.get_mut(slot as usize) else { return false };
        let mut lost = false;
        let first = into.len();
        for seat in &subscriber.seats {
            let Some(Some(feed)) = self.feeds.get(seat.feed as usize) else { continue };
            let has = subscriber.position.max(seat.from);
            lost |= feed.lost > has;
            let from = feed.log.partition_point(|message| message.position.n <= has);
            into.extend(feed.log.range(from..).filter(|message| subscriber.wants(message)).cloned());
        }
        if subscriber.seats.len() > 1 {
            into[first..].sort_unstable_by_key(|message| message.position.n);
            into.dedup_by_key(|message| message.position.n);
        }
        subscriber.position = subscriber.position.max(self.heard);
        lost
    }

    /// What becomes of a subscriber that does not keep up, and from how many unsent bytes on it does not.
    pub fn limits(&self, slot: u32) -> Option<(Slow, u64)> {
        let policy = self.policy(slot)?;
        Some(match self.at(slot)?.transport {
            Transport::Bus => policy.limits_of_the_bus(),
            _ => (policy.slow(), policy.get(Choice::Backlog)),
        })
    }

    /// The policy of a subscriber: its first channel's.
    pub fn policy(&self, slot: u32) -> Option<&Policy> {
        let seat = self.at(slot)?.seats.first()?;
        self.feeds.get(seat.feed as usize)?.as_ref().map(|feed| &*feed.policy)
    }

    // ---- signs of life ---------------------------------------------------------------------------------------------

    pub fn next_beat(&self) -> Option<u64> {
        Some(self.beat_at).filter(|at| *at != u64::MAX)
    }

    /// A heartbeat was set: what it was before may have been later, or none.
    pub fn plan_beats(&mut self, now: u64) {
        self.beat_at = u64::MAX;
        for feed in self.feeds.iter_mut().flatten() {
            feed.beat_at = match feed.policy.get(Choice::Heartbeat) {
                0 => u64::MAX,
                every => feed.beat_at.min(beat_after(now, every)),
            };
            self.beat_at = self.beat_at.min(feed.beat_at);
        }
    }

    /// Begins the walks that are due.
    pub fn beat(&mut self, now: u64) {
        if now < self.beat_at {
            return;
        }
        self.beat_at = u64::MAX;
        for at in 0..self.feeds.len() {
            let Some(feed) = &mut self.feeds[at] else { continue };
            let every = feed.policy.get(Choice::Heartbeat);
            if every == 0 {
                feed.beat_at = u64::MAX;
                continue;
            }
            if feed.beat_at <= now {
                feed.beat_at = beat_after(now, every);
                feed.beat_left = feed.seats.len();
                if !feed.active {
                    feed.active = true;
                    (feed.looked, feed.offered) = (0, self.heard);
                    self.active.push_back(at as u32);
                }
            }
            self.beat_at = self.beat_at.min(feed.beat_at);
        }
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
