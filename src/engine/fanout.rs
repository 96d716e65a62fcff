//! Owns the way of messages to subscribers: hearing them, whose turn it is, what becomes of who does not keep up. Rule: a
//! turn gives a subscriber all that is pending for it, by reference; what its socket does not take waits in its own
//! output, within the channel's backlog.

use std::collections::HashMap;
use std::sync::Arc;

use crate::http1::response::Seen;
use crate::push::feed::{Feeds, Transport, Turn};
use crate::push::form::Form;
use crate::push::hub::{Hub, Member};
use crate::push::message::{Bundle, Message};
use crate::push::policy::{Choice, Slow};
use crate::push::position::Position;

use super::connection::POLLS;
use super::event::{End, What};
use super::exchange;
use super::poll::Batch;
use super::straight::Straight;
use super::Engine;

/// Messages that a subscriber may have unsent whose oldest ones are dropped: to look for one is work for each of them.
const MOST_PIECES: usize = 1024;
/// Bytes of messages that are put together.
pub(super) const MOST_BUNDLED: u64 = 64 << 10;

#[derive(Debug)]
pub struct Push {
    pub(super) hub: Option<(Arc<Hub>, Member)>,
    pub(super) feeds: Feeds,
    /// What the hub's number of heartbeats was when they were planned.
    heartbeats: u64,
    /// Fields of the answers to long polls that wait.
    pub(super) poll_lines: HashMap<u32, (Vec<u8>, Seen)>,
    taken: Vec<Arc<Message>>,
    /// What the last subscriber got, if it was more than one message.
    bundle: Option<Arc<Bundle>>,
    pub(super) straight: Straight,
    pub(super) batch: Option<Batch>,
}

impl Push {
    pub(super) fn new() -> Push {
        Push {
            hub: None,
            feeds: Feeds::new(),
            heartbeats: 0,
            poll_lines: HashMap::new(),
            taken: Vec::new(),
            bundle: None,
            straight: Straight::default(),
            batch: None,
        }
    }

    pub(super) fn position(&self, n: u64) -> Position {
        Position { epoch: self.hub.as_ref().map_or(0, |(hub, _)| hub.epoch()), n }
    }
}

impl Engine {
    /// Whose channels these are; before anybody subscribes.
    pub fn set_hub(&mut self, hub: Arc<Hub>, member: Member) {
        hub.set_limit(self.settings.max_memory);
        self.push.hub = Some((hub, member));
        self.push.feeds.begin_anew();
    }

    pub fn hub(&self) -> Option<&(Arc<Hub>, Member)> {
        self.push.hub.as_ref()
    }

    /// From now on there is none.
    pub fn take_hub(&mut self) -> Option<(Arc<Hub>, Member)> {
        self.push.hub.take()
    }

    pub fn has_subscribers(&self) -> bool {
        !self.push.feeds.is_empty()
    }

    /// A message of the hub.
    pub fn hear(&mut self, message: &Arc<Message>) {
        self.push.feeds.hear(message);
    }

    /// The walks rest: nobody needs the same messages again.
    pub fn end_of_turns(&mut self) {
        if !self.push.feeds.is_active() {
            self.push.bundle = None;
            self.push.straight.forget();
            self.push.batch = None;
        }
    }

    /// Whether messages are kept for whoever has the next turn.
    #[cfg(test)]
    pub(super) fn keeps_messages(&self) -> bool {
        self.push.bundle.is_some() || self.push.batch.is_some()
    }

    /// Whether somebody waits for a turn.
    pub fn has_turns(&self) -> bool {
        self.push.feeds.is_active()
    }

    /// Gives the next subscriber what is pending for it: the connection to be written. Looks at no more than `looks` of
    /// them. `None`: none is left to be looked at now.
    pub fn next_turn(&mut self, looks: &mut u32) -> Option<u32> {
        while let Some(turn) = self.push.feeds.next(looks) {
            if let Some(connection) = self.straight_turn(turn.slot) {
                return Some(connection);
            }
            if let Some(connection) = self.take_turn(turn) {
                return Some(connection);
            }
        }
        None
    }

    /// What is pending for a subscriber that leaves or joins now, before it does.
    pub(super) fn take_last_turn(&mut self, slot: u32) {
        if self.push.feeds.at(slot).is_some() {
            if let Some(connection) = self.take_turn(Turn { slot, beat: false }) {
                self.make_dirty(connection);
            }
            self.end_of_turns(); // with it the last may have gone who waited for them
        }
    }

    fn take_turn(&mut self, turn: Turn) -> Option<u32> {
        let slot = turn.slot;
        let before = self.push.feeds.at(slot)?.position;
        let mut taken = std::mem::take(&mut self.push.taken);
        let lost = self.push.feeds.take(slot, &mut taken);
        let connection = self.exchanges.at(slot).map(|exchange| exchange.connection)?;
        let transport = self.push.feeds.at(slot)?.transport;
        let result = if lost && transport == Transport::LongPoll {
            // It comes back to where it stood: what the history does not have it is told then.
            taken.clear();
            if let Some(subscriber) = self.push.feeds.at_mut(slot) {
                subscriber.position = before;
            }
            self.answer_poll(slot, Vec::new());
            Some(connection)
        } else if lost && self.slow_of(slot) == Slow::Close {
            taken.clear();
            self.end_lagging(slot);
            Some(connection)
        } else if transport == Transport::LongPoll {
            (!taken.is_empty()).then(|| {
                let batch = std::mem::take(&mut taken);
                self.answer_poll(slot, batch);
                connection
            })
        } else {
            self.counters.dropped += u64::from(lost);
            let beats = turn.beat && taken.is_empty() && self.may_beat(slot);
            if !self.append_bundle(slot, &taken) {
                for message in &taken {
                    if !self.append_message(slot, message) {
                        break;
                    }
                    self.counters.delivered += 1;
                }
            }
            if beats {
                self.append_beat(slot, transport);
            }
            self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::IN_TURN)).then_some(connection)
        };
        taken.clear();
        self.push.taken = taken;
        // It is written by the caller at once; should that not come about, the flush finds it.
        if let Some(connection) = result {
            self.recharge(connection);
        }
        result
    }

    /// Several messages at once, for a subscriber that keeps up and could not be told to drop single ones of them. False:
    /// they go one by one.
    fn append_bundle(&mut self, slot: u32, messages: &[Arc<Message>]) -> bool {
        if messages.len() < 2 || self.exchanges.at(slot).is_none_or(|exchange| exchange.unsent > 0) {
            return false;
        }
        let bytes: u64 = messages.iter().map(|message| message.size()).sum();
        if bytes > MOST_BUNDLED || !matches!(self.slow_of(slot), Slow::Close | Slow::DropNew) {
            return false;
        }
        let Some(form) = self.push.feeds.at(slot).map(|subscriber| subscriber.form) else { return false };
        let bundle = match &self.push.bundle {
            Some(bundle) if bundle.is(messages, form) => bundle.clone(),
            _ => match Bundle::new(messages, form) {
                Some(bundle) => self.push.bundle.insert(Arc::new(bundle)).clone(),
                None => return false,
            },
        };
        let n = bundle.bytes().len() as u64;
        self.charge_socket(slot, n);
        self.with_output(slot, |output, _, exchange| {
            output.push_bundle(bundle);
            exchange.given += n;
            exchange.unsent += n;
        });
        self.counters.delivered += messages.len() as u64;
        true
    }

    /// Several feeds of one subscriber may be due together, and a walk may come by twice: one sign of life is enough, and
    /// a ping must have its time to be answered.
    fn may_beat(&mut self, slot: u32) -> bool {
        let every = self.push.feeds.policy(slot).map_or(0, |policy| policy.get(Choice::Heartbeat));
        let now = self.now;
        let exchange = self.exchanges.at(slot).filter(|exchange| exchange.is(exchange::SOCKET));
        if let Some(c) = exchange.and_then(|exchange| self.connections.at(exchange.connection)) {
            // Its connection has a heartbeat too.
            return now >= c.since.saturating_add(every.max(1000) / 2);
        }
        match self.push.feeds.at_mut(slot) {
            Some(subscriber) if now >= subscriber.beaten.saturating_add(every.max(1000) / 2) => {
                subscriber.beaten = now;
                true
            }
            _ => false,
        }
    }

    pub(super) fn slow_of(&self, slot: u32) -> Slow {
        self.push.feeds.limits(slot).map_or(Slow::Close, |(slow, _)| slow)
    }

    /// Queues a message for a subscriber that keeps up, or what its channel's policy says for one that does not. False: it
    /// is a subscriber no more.
    pub(super) fn append_message(&mut self, slot: u32, message: &Arc<Message>) -> bool {
        let Some(subscriber) = self.push.feeds.at(slot) else { return false };
        if !subscriber.wants(message) {
            return true;
        }
        let form = subscriber.form;
        let n = message.form(form).len() as u64;
        if n == 0 {
            return true;
        }
        let unsent = self.exchanges.at(slot).map_or(0, |exchange| exchange.unsent);
        if unsent > 0 && !self.make_room(slot, message, unsent + n) {
            return self.push.feeds.at(slot).is_some();
        }
        self.queue_message(slot, message, form);
        true
    }

    /// What was missed; it was seen to before that it is within the backlog.
    pub(super) fn append_missed(&mut self, slot: u32, missed: &[Arc<Message>]) {
        for message in missed {
            let Some(subscriber) = self.push.feeds.at(slot) else { return };
            if subscriber.wants(message) {
                let form = subscriber.form;
                self.queue_message(slot, message, form);
                self.counters.delivered += 1;
            }
        }
    }

    fn queue_message(&mut self, slot: u32, message: &Arc<Message>, form: Form) {
        let n = message.form(form).len() as u64;
        if n > 0 {
            self.charge_socket(slot, n);
            self.with_output(slot, |output, _, exchange| {
                output.push_shared(message.clone(), form);
                exchange.given += n;
                exchange.unsent += n;
            });
        }
    }

    /// Sees to it that a message has room among what a subscriber has unsent. False: it does not get it.
    fn make_room(&mut self, slot: u32, message: &Message, mut needed: u64) -> bool {
        let Some((slow, most)) = self.push.feeds.limits(slot) else { return true };
        if slow == Slow::Latest && !message.parts.key.is_empty() {
            let key = &message.parts.key;
            needed -= self
                .drop_unsent(slot, u64::MAX, u64::MAX, |old| old.channel == message.channel && old.parts.key == *key);
        }
        let full = self.push.hub.as_ref().is_some_and(|(hub, _)| hub.is_full());
        if matches!(slow, Slow::DropOld | Slow::Latest) && self.pieces(slot) >= MOST_PIECES {
            needed -= self.drop_unsent(slot, u64::MAX, MOST_PIECES as u64 / 4, |_| true);
        }
        if needed <= most && !full {
            return true;
        }
        match slow {
            Slow::Close => {
                self.end_lagging(slot);
                false
            }
            Slow::DropNew => {
                self.counters.dropped += 1;
                false
            }
            Slow::DropOld | Slow::Latest => {
                // A quarter more, so that not every message has to look for old ones.
                let too_much = if full { u64::MAX } else { needed - most + most / 4 };
                self.drop_unsent(slot, too_much, u64::MAX, |_| true);
                true
            }
        }
    }

    /// Pieces of which the unsent output of a subscriber consists.
    fn pieces(&mut self, slot: u32) -> usize {
        let mut pieces = 0;
        self.with_output(slot, |output, _, _| pieces = output.pieces());
        pieces
    }

    /// Takes back messages that have not begun to go out, the oldest first, until so many bytes are saved, or so many
    /// messages: how many bytes those were.
    fn drop_unsent(&mut self, slot: u32, bytes: u64, messages: u64, which: impl Fn(&Message) -> bool) -> u64 {
        let (mut saved, mut n) = (0, 0);
        self.with_output(slot, |output, _, exchange| {
            (saved, n) = output.take_back_shared(bytes, messages, which);
            exchange.given -= saved;
            exchange.unsent -= saved;
        });
        self.counters.dropped += n;
        if saved > 0 && self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::SOCKET)) {
            let low = self.settings.low_water;
            if let (true, Some(exchange)) = (self.leases.drained(slot, saved, low), self.exchanges.at(slot)) {
                self.events.push(exchange.id, What::Writable);
            }
        }
        saved
    }

    /// Ends a subscriber that does not keep up: it has whole messages, and may come back for the others.
    fn end_lagging(&mut self, slot: u32) {
        self.drop_unsent(slot, u64::MAX, u64::MAX, |_| true);
        self.end_subscription(slot, End::Limit);
    }

    /// A sign of life, where the transport has one and nothing else is on its way.
    fn append_beat(&mut self, slot: u32, transport: Transport) {
        if self.exchanges.at(slot).is_none_or(|exchange| exchange.unsent > 0) {
            return;
        }
        let chunked = self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::CHUNKED));
        match transport {
            Transport::Sse if chunked => self.append_raw(slot, b"2\r\n:\n\r\n"),
            Transport::Sse => self.append_raw(slot, b":\n"),
            Transport::WebSocket => self.ping(slot),
            _ => {}
        }
    }

    /// Bytes of the library between messages.
    pub(super) fn append_raw(&mut self, slot: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.charge_socket(slot, bytes.len() as u64);
        self.with_output(slot, |output, spare, exchange| {
            output.push(bytes, spare);
            exchange.given += bytes.len() as u64;
            exchange.unsent += bytes.len() as u64;
        });
    }

    /// So many bytes of a connection's front are with its driver in another form: they cannot be taken back.
    pub fn promised(&mut self, connection: u32, n: usize) {
        if let Some(output) = self.connections.at_mut(connection).and_then(|c| c.output.as_mut()) {
            output.promise(n as u64);
        }
    }

    /// Something was queued outside a walk.
    pub(super) fn after_push(&mut self, connection: u32) {
        self.recharge(connection);
        self.make_dirty(connection);
        self.schedule(connection);
    }

    /// When something is due that concerns no single connection.
    pub(super) fn push_deadline(&self) -> Option<u64> {
        let (hub, _) = self.push.hub.as_ref()?;
        if hub.heartbeats() != self.push.heartbeats {
            return Some(self.now);
        }
        match (hub.next_expiry(), self.push.feeds.next_beat()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn push_deadlines(&mut self) {
        let Some((hub, _)) = &self.push.hub else { return };
        if hub.next_expiry().is_some_and(|at| at <= self.now) {
            hub.sweep(self.now);
        }
        let heartbeats = hub.heartbeats();
        if heartbeats != self.push.heartbeats {
            self.push.heartbeats = heartbeats;
            self.push.feeds.plan_beats(self.now);
        }
        self.push.feeds.beat(self.now);
    }

    /// The long polls of a connection: when the first of them ends.
    pub(super) fn poll_deadline(&self, connection: u32) -> Option<(u64, u32)> {
        let c = self.connections.at(connection).filter(|c| c.is(POLLS))?;
        let mut at = c.first;
        let mut earliest = None;
        while let Some(exchange) = self.exchanges.at(at) {
            if exchange.is(exchange::SUBSCRIBED) {
                if let Some(subscriber) = self.push.feeds.at(at).filter(|s| s.form == Form::Json) {
                    if earliest.is_none_or(|(other, _)| subscriber.deadline < other) {
                        earliest = Some((subscriber.deadline, at));
                    }
                }
            }
            at = exchange.next;
        }
        earliest
    }
}
