//! Owns the share of a run that goes to subscribers. Rule: a slice ends after so many sends or so much time, whichever is
//! earlier, and what is left keeps the fd readable: publishing to very many does not keep the host from its loop.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::clock;
use super::driver::Driver;
use super::socket;
use super::wake::Waker;
use crate::engine::mailbox::Mailbox;
use crate::push::hub::{Hub, Outlet};
use crate::push::message::Message;
use crate::PUSH;

/// Sends of one slice.
pub(super) const SENDS: u32 = 256;
/// Sends beside an answer: few subscribers have it at once, many from the next run on.
pub(super) const SENDS_AT_ONCE: u32 = 32;
/// Subscribers looked at for each that is sent something.
const LOOKS: u32 = 64;
const SLICE_MICROSECONDS: u64 = 1_500;
/// Sends between two looks at the clock.
const UNTIMED: u32 = 16;

/// Of what all buffers may have, the part that may wait for the loop.
const WAITING: u64 = 4;

/// The way from a hub to one encke's loop.
struct Inbox {
    mailbox: Arc<Mailbox>,
    waker: Arc<Waker>,
    /// Bytes of messages that may wait.
    most: u64,
}

impl Outlet for Inbox {
    fn deliver(&self, message: Arc<Message>) -> bool {
        self.mailbox.deliver(message, self.most)
    }

    fn wake(&self) {
        self.waker.wake();
    }

    fn nudge(&self) {
        if self.mailbox.wake() {
            self.waker.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.mailbox.is_closed()
    }
}

impl Driver {
    /// Takes part in a hub: from now on these are the channels.
    pub fn enter(&mut self, hub: Arc<Hub>) {
        if !PUSH {
            return;
        }
        self.leave_hub();
        let most = self.engine.settings.max_memory / WAITING;
        let inbox = Inbox { mailbox: self.mailbox().clone(), waker: self.waker().clone(), most };
        let member = hub.attach(Arc::new(inbox));
        self.engine.set_hub(hub, member);
    }

    /// Takes part in no hub any more.
    pub fn leave_hub(&mut self) {
        if let (true, Some((hub, member))) = (PUSH, self.engine.take_hub()) {
            hub.detach(member);
        }
    }

    /// Gives subscribers what is pending, so many at the most.
    pub(super) fn fan_out(&mut self, sends: u32) {
        if !PUSH || !self.engine.has_turns() {
            return;
        }
        let mut looks = sends * LOOKS;
        let end = clock::microseconds() + SLICE_MICROSECONDS;
        for n in 1..=sends {
            let Some(connection) = self.engine.next_turn(&mut looks) else { break };
            self.give(connection);
            self.tell_wants(connection);
            if n % UNTIMED == 0 && clock::microseconds() >= end {
                break;
            }
        }
        self.engine.end_of_turns();
    }

    /// Writes what a turn gave.
    #[inline]
    fn give(&mut self, connection: u32) {
        let Some(bytes) = self.engine.straight() else { return self.write(connection) };
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else { return };
        let taken = match socket.blocked {
            true => Err(Errno::AGAIN),
            false => socket::transmit_alone(socket.fd.as_fd(), bytes),
        };
        let n = match taken {
            Ok(n) => n,
            Err(Errno::AGAIN) => 0,
            Err(_) => return self.lose(connection),
        };
        self.sent += n as u64;
        if !self.engine.went_straight(n) {
            socket.blocked = true;
            self.obey(connection);
        }
    }

    /// To be called after the loop thread has published: it hears itself.
    pub fn after_publish(&mut self) {
        self.hear_now();
        self.after_answer();
    }
}
