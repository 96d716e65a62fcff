//! Owns the short way of messages: who has nothing unsent is sent what is pending from where it lies, and only what the
//! socket does not take becomes output. Rule: nothing comes of it that the long way would not have come to, and what one
//! subscriber was given is not looked for again for the next.

use std::sync::Arc;

use crate::push::feed::Pending;
use crate::push::message::{Bundle, Message};
use crate::push::policy::Slow;

use super::connection::{CUT, SECURE};
use super::exchange;
use super::fanout::MOST_BUNDLED;
use super::Engine;

#[derive(Debug, Default)]
pub struct Straight {
    /// Whose messages these are.
    pending: Option<Pending>,
    messages: Vec<Arc<Message>>,
    /// Several of them together, but where one may take the place of another. Without it and with more than one message
    /// there is no short way.
    bundle: Option<Arc<Bundle>>,
    /// Who has the turn.
    to: Option<(u32, u32)>,
}

impl Straight {
    fn bytes(&self) -> &[u8] {
        match (&self.bundle, &self.messages[..], self.pending) {
            (Some(bundle), ..) => bundle.bytes(),
            (None, [message], Some(pending)) => message.form(pending.form),
            _ => &[],
        }
    }

    /// Nobody needs the same messages again.
    pub fn forget(&mut self) {
        self.messages.clear();
        (self.pending, self.bundle, self.to) = (None, None, None);
    }
}

impl Engine {
    /// Gives a subscriber its turn, if it can have it the short way: the connection, for [`Engine::straight`].
    #[inline]
    pub(super) fn straight_turn(&mut self, slot: u32) -> Option<u32> {
        self.push.straight.to = None;
        let exchange = self.exchanges.at(slot)?;
        if exchange.unsent > 0 || !exchange.is(exchange::IN_TURN) || exchange.is(exchange::ENDED | exchange::ABORTED) {
            return None;
        }
        let connection = exchange.connection;
        let c = self.connections.at(connection)?;
        if c.first != slot || c.is(CUT | SECURE) || c.unsent() > 0 {
            return None;
        }
        let pending = self.push.feeds.pending(slot)?;
        if self.push.straight.pending != Some(pending) {
            self.look_up(slot, pending);
        }
        if self.push.straight.bytes().is_empty() {
            return None;
        }
        self.push.feeds.given(slot);
        self.push.straight.to = Some((slot, connection));
        Some(connection)
    }

    #[inline(never)]
    fn look_up(&mut self, slot: u32, pending: Pending) {
        let alone = matches!(self.slow_of(slot), Slow::DropOld | Slow::Latest);
        let straight = &mut self.push.straight;
        straight.pending = Some(pending);
        straight.bundle = None;
        straight.messages.clear();
        if !self.push.feeds.look_up(pending, &mut straight.messages) {
            straight.messages.clear();
        } else if straight.messages.len() > 1 && !alone {
            let bytes: u64 = straight.messages.iter().map(|message| message.size()).sum();
            if bytes <= MOST_BUNDLED {
                straight.bundle = Bundle::new(&straight.messages, pending.form).map(Arc::new);
            }
        }
    }

    /// What the last turn gave and no output has: to be sent as far as the socket takes it, and then
    /// [`Engine::went_straight`]. `None`: it is in the connection's output.
    #[inline]
    pub fn straight(&self) -> Option<&[u8]> {
        self.push.straight.to.map(|_| self.push.straight.bytes())
    }

    /// So many bytes of it were taken by the kernel. True: that was all.
    #[inline]
    pub fn went_straight(&mut self, n: usize) -> bool {
        let Some((slot, connection)) = self.push.straight.to.take() else { return true };
        if n < self.push.straight.bytes().len() {
            self.went_in_part(slot, connection, n);
            return false;
        }
        self.gave_straight(slot, self.push.straight.messages.len(), n);
        true
    }

    #[inline]
    fn gave_straight(&mut self, slot: u32, messages: usize, n: usize) {
        self.counters.bytes_out += n as u64;
        self.counters.delivered += messages as u64;
        if let Some(exchange) = self.exchanges.at_mut(slot) {
            exchange.given += n as u64;
        }
    }

    /// From the message on that did not go as a whole everything waits, as far as the channel lets it.
    #[inline(never)]
    fn went_in_part(&mut self, slot: u32, connection: u32, mut n: usize) {
        let Some(form) = self.push.straight.pending.map(|pending| pending.form) else { return };
        let messages = std::mem::take(&mut self.push.straight.messages);
        let mut whole = 0;
        while let Some(len) = messages.get(whole).map(|message| message.form(form).len()).filter(|len| *len <= n) {
            self.gave_straight(slot, 1, len);
            (whole, n) = (whole + 1, n - len);
        }
        for message in &messages[whole..] {
            if !self.append_message(slot, message) {
                break;
            }
            self.counters.delivered += 1;
            if n > 0 {
                self.sent(connection, std::mem::take(&mut n));
            }
        }
        self.push.straight.messages = messages;
        self.recharge(connection);
    }
}
