//! Owns WebSockets: a request that became one, its messages in, its frames out, its end. Rule: what the peer must not send
//! ends it with the code that says why; who does not read its pongs is not read; the last event is CLOSED, once.

use std::sync::Arc;

use crate::http1::response::Seen;
use crate::push::feed::{Subscriber, Transport};
use crate::push::form::Form;
use crate::push::hub::Start;
use crate::ws::decoder::{Decoder, Failure, Item};
use crate::ws::{code, frame, handshake, PING, PONG};

use super::answer::{Answer, Body};
use super::connection::{Coding, Mode, STARVED, WAITS};
use super::event::{End, What};
use super::exchange;
use super::id::Id;
use super::receive::Step;
use super::subscription::{fit, foreign_text, Subscription};
use super::wishes::Wishes;
use super::Engine;

/// The subprotocol in which messages of channels come with what is known of them.
pub const JSON_PROTOCOL: &str = "encke.json";
/// Bytes of messages from which on a connection's turn is over.
const MOST_MADE: usize = 64 << 10;
/// A deadline that is found so much later was not waited for.
const LATE: u64 = 1_000;

impl Engine {
    pub fn is_socket(&mut self, id: Id) -> bool {
        let exchange = self.exchanges.get_mut(id.slot(), id.generation());
        exchange.is_some_and(|exchange| exchange.is(exchange::SOCKET) && exchange.closed == 0)
    }

    /// A host takes the handshake; the lease was won.
    pub fn accept_socket(&mut self, id: Id, lines: &[u8]) {
        let wishes = self.exchanges.get_mut(id.slot(), id.generation()).and_then(|exchange| exchange.wishes.take());
        if let Some(origin) = wishes.as_ref().and_then(|wishes| wishes.origin.as_deref()) {
            if !self.may_come(origin) {
                return self.refuse_socket(id, origin);
            }
        }
        self.open_socket(id, wishes, lines.to_vec());
        if self.draining.is_some() && self.is_socket(id) {
            // It was asked for before the drain.
            self.end_socket(id.slot(), code::GOING_AWAY, &frame::close(code::GOING_AWAY, ""), End::Drain);
        }
        self.kick_if_asked(id);
    }

    /// A page of another server, which is not to speak in the name of its user; the host hears CLOSED.
    fn refuse_socket(&mut self, id: Id, origin: &str) {
        let text = foreign_text(origin);
        if let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) {
            exchange.flags |= exchange::SOCKET;
            exchange.closed = code::ABNORMAL;
        }
        self.charge_socket(id.slot(), text.len() as u64);
        self.refuse_subscription(id, 403, text.as_bytes());
    }

    /// The 101, and from here on frames. False: there is nobody any more.
    fn open_socket(&mut self, id: Id, wishes: Option<Arc<Wishes>>, mut lines: Vec<u8>) -> bool {
        let slot = id.slot();
        let alive = self
            .exchanges
            .get_mut(slot, id.generation())
            .is_some_and(|exchange| !exchange.is(exchange::ABORTED | exchange::SETTLED | exchange::BEGUN));
        let handshake = wishes.as_ref().and_then(|wishes| wishes.handshake.as_ref());
        let Some(handshake) = handshake.filter(|_| alive) else {
            self.leases.end_second(slot);
            if let Some(exchange) = self.exchanges.get_mut(slot, id.generation()) {
                // What was promised for it comes all the same: CLOSED.
                exchange.flags |= exchange::SOCKET;
                exchange.closed = code::ABNORMAL;
            }
            self.settle(id);
            return false;
        };
        let deflates = handshake::offers_deflate(&handshake.extensions);
        lines.extend_from_slice(b"Upgrade: websocket\r\nSec-WebSocket-Accept: ");
        lines.extend_from_slice(handshake::accept(&handshake.key).as_bytes());
        if deflates {
            lines.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            lines.extend_from_slice(handshake::DEFLATE.as_bytes());
        }
        lines.extend_from_slice(b"\r\n");
        let seen = Seen { date: true, server: true, content_type: true };
        let answer = Answer {
            status: 101,
            close: false,
            length: None,
            lines: lines.into(),
            seen,
            content_type: None,
            body: Body::Copy(b""),
        };
        self.begin(id, answer);
        let Some(connection) = self.settle(id) else { return false };
        let Some(exchange) = self.exchanges.at_mut(slot) else { return false };
        exchange.flags |= exchange::SOCKET | if deflates { exchange::DEFLATES } else { 0 };
        let body =
            self.connections.at_mut(connection).and_then(|c| c.input.as_mut()).and_then(|input| input.body.as_mut());
        match body.filter(|body| body.exchange == id && matches!(body.framing, Coding::Raw)) {
            Some(body) => {
                body.mode = Mode::Frames(Box::new(Decoder::new(deflates)));
                self.spoke(connection);
                self.schedule(connection);
            }
            // The peer had sent its end with the handshake.
            None => self.lose_socket(id),
        }
        true
    }

    pub(super) fn begin_subscribed_socket(
        &mut self,
        id: Id,
        wishes: Option<Arc<Wishes>>,
        subscription: Subscription,
        mut start: Start,
    ) {
        let slot = id.slot();
        let offered = wishes.as_ref().and_then(|wishes| wishes.handshake.as_ref());
        let json = offered.is_some_and(|handshake| handshake::offers(&handshake.protocols, JSON_PROTOCOL));
        let mut lines = subscription.lines;
        if json {
            lines.extend_from_slice(b"Sec-WebSocket-Protocol: ");
            lines.extend_from_slice(JSON_PROTOCOL.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        if !self.open_socket(id, wishes, lines) || !self.is_socket(id) {
            if let Some((hub, member)) = &self.push.hub {
                for pattern in &subscription.patterns {
                    hub.leave(*member, pattern);
                }
            }
            return;
        }
        let deflates = self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::DEFLATES));
        let form = match (json, deflates) {
            (false, false) => Form::WebSocket,
            (false, true) => Form::WebSocketDeflated,
            (true, false) => Form::WebSocketJson,
            (true, true) => Form::WebSocketJsonDeflated,
        };
        let mut subscriber = Subscriber::new(Transport::WebSocket, form, subscription.filter);
        subscriber.position = start.position.n;
        subscriber.beaten = self.now;
        fit(&mut start, &subscriber);
        self.seat(slot, subscriber, &subscription.patterns, &start);
        if json {
            let from = start.missed.first().map_or(start.position.n, |message| message.position.n - 1);
            let recovered = start.recovered.map_or(String::new(), |recovered| format!(",\"recovered\":{recovered}"));
            let hello = format!("{{\"position\":\"{}\"{recovered}}}", self.push.position(from));
            self.append_raw(slot, &frame::frame(crate::ws::TEXT, hello.as_bytes()));
        }
        self.append_missed(slot, &start.missed);
        if let Some(exchange) = self.exchanges.at(slot) {
            self.after_push(exchange.connection);
        }
        self.kick_if_asked(id);
    }

    /// A WebSocket of the host joins channels: it gets the data alone. False: it is none.
    pub(super) fn seat_socket(&mut self, id: Id) -> bool {
        if !self.is_socket(id) {
            return false;
        }
        let slot = id.slot();
        let Some(exchange) = self.exchanges.at_mut(slot) else { return false };
        exchange.flags |= exchange::SUBSCRIBED;
        let form = if exchange.is(exchange::DEFLATES) { Form::WebSocketDeflated } else { Form::WebSocket };
        let mut subscriber = Subscriber::new(Transport::WebSocket, form, None);
        subscriber.position = self.push.feeds.heard();
        subscriber.beaten = self.now;
        self.push.feeds.add(slot, subscriber);
        true
    }

    // ---- in --------------------------------------------------------------------------------------------------------

    /// Bytes of the peer; true: no more of them are read.
    pub(super) fn take_frames(&mut self, connection: u32, data: &[u8], id: Id, decoder: &mut Decoder) -> (Step, bool) {
        let slot = id.slot();
        if data.is_empty() {
            return (Step::More(0), false);
        }
        if !self.is_socket(id) {
            return (Step::Took(data.len()), false);
        }
        if let Some(exchange) = self.exchanges.at_mut(slot) {
            exchange.flags &= !exchange::AWAITS_PONG;
        }
        self.spoke(connection);
        let (mut at, mut made) = (0, 0);
        while at < data.len() {
            // What is small on the wire may be large: others have their turn in between.
            if self.events.is_full() || made >= MOST_MADE {
                self.make_ready(connection);
                return (Step::Wait(at), false);
            }
            let high = self.settings.high_water;
            if let Some(c) = self.connections.at_mut(connection).filter(|c| c.unsent() + c.pending >= high) {
                c.flags |= WAITS; // who does not read its answers
                return (Step::Wait(at), false);
            }
            match decoder.decode(&data[at..], self.settings.max_body, self.room_to_inflate()) {
                Ok((n, item)) => {
                    at += n;
                    match item {
                        None | Some(Item::Pong) => {}
                        Some(Item::Ping(payload)) => {
                            self.append_raw(slot, &frame::frame(PONG, &payload));
                            self.after_push(connection);
                        }
                        Some(Item::Message { opcode, data }) => {
                            made += data.len();
                            self.counters.memory += data.len() as u64;
                            self.events.push(id, What::Message { opcode, data });
                        }
                        Some(Item::Close { code, .. }) => {
                            let answer = if code == code::NONE {
                                frame::frame(crate::ws::CLOSE, b"")
                            } else {
                                frame::close(code, "")
                            };
                            self.end_socket(slot, code, &answer, End::Ok);
                            return (Step::Took(data.len()), true);
                        }
                    }
                }
                Err(Failure { code, text }) => {
                    self.end_socket(slot, code, &frame::close(code, text), End::Protocol);
                    return (Step::Took(data.len()), true);
                }
            }
        }
        (Step::Took(at), false)
    }

    // ---- out -------------------------------------------------------------------------------------------------------

    /// Frames of the host; the lease has counted them.
    pub fn send_frames(&mut self, id: Id, frames: Vec<u8>) {
        if !self.is_socket(id) {
            return;
        }
        let slot = id.slot();
        let n = frames.len() as u64;
        self.with_output(slot, |output, spare, exchange| {
            output.push_owned(frames, spare);
            exchange.given += n;
            exchange.unsent += n;
        });
        if let Some(exchange) = self.exchanges.at(slot) {
            self.after_push(exchange.connection);
        }
    }

    /// The lease of a WebSocket counts what the library adds to its output, as it counts what the host does.
    #[inline]
    pub(super) fn charge_socket(&mut self, slot: u32, n: u64) {
        if self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::SOCKET)) {
            self.leases.charge(slot, n);
        }
    }

    /// Its silence begins anew.
    fn spoke(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            c.since = self.now;
        }
    }

    /// A sign of life is asked for; whoever gave none since the last time is gone.
    pub(super) fn ping(&mut self, slot: u32) {
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        let connection = exchange.connection;
        if exchange.is(exchange::AWAITS_PONG) {
            return self.cut(connection, End::Timeout);
        }
        exchange.flags |= exchange::AWAITS_PONG;
        self.append_raw(slot, &frame::frame(PING, b""));
        self.spoke(connection);
    }

    /// The peer was silent for so long that it is asked, or, if it was, gone.
    pub(super) fn listen_to_socket(&mut self, connection: u32) {
        let every = self.settings.websocket_heartbeat;
        let Some(c) = self.connections.at_mut(connection) else { return };
        if self.now > c.since + every + LATE {
            // A loop that stood still comes to this before it has read what the peer said meanwhile.
            c.since = self.now - every + every.min(LATE);
            return;
        }
        let Some(id) = c.input.as_ref().and_then(|input| input.body.as_ref()).map(|body| body.exchange) else { return };
        if !self.is_socket(id) || self.exchanges.at(id.slot()).is_some_and(|exchange| exchange.unsent > 0) {
            return self.spoke(connection); // who takes nothing is the write time-out's
        }
        self.ping(id.slot());
        self.after_push(connection);
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// The host's word: what is queued, then the close.
    pub fn close_socket(&mut self, id: Id, code: u16, reason: &str) {
        if self.is_socket(id) {
            self.end_socket(id.slot(), code, &frame::close(code, reason), End::Ok);
        }
    }

    pub(super) fn end_subscribed_socket(&mut self, slot: u32, end: End) {
        let (code, reason) = match end {
            End::Drain => (code::GOING_AWAY, ""),
            End::Limit => (code::TRY_AGAIN_LATER, "too slow"),
            End::Peer => return self.end_socket(slot, code::ABNORMAL, b"", end),
            _ => (code::NORMAL, ""),
        };
        self.end_socket(slot, code, &frame::close(code, reason), end);
    }

    /// Its last frame goes out, then the sending side closes; what still comes of the peer is dropped.
    fn end_socket(&mut self, slot: u32, code: u16, last: &[u8], end: End) {
        self.unseat(slot);
        self.append_raw(slot, last);
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        let connection = exchange.connection;
        exchange.closed = code;
        exchange.end = end;
        exchange.flags |= exchange::ENDED | exchange::CLOSE;
        self.leases.end_second(slot);
        self.pump(connection);
    }

    /// A message that was begun does not go on.
    pub(super) fn time_out_message(&mut self, connection: u32) {
        let Some(c) = self.connections.at(connection) else { return };
        let starved = c.is(STARVED);
        let Some(id) = c.input.as_ref().and_then(|input| input.body.as_ref()).map(|body| body.exchange) else { return };
        let (code, text, end) = match starved {
            true => (code::TRY_AGAIN_LATER, "the server has no memory for the message", End::Limit),
            false => (code::POLICY, "the message took too long", End::Timeout),
        };
        self.drop_input(connection);
        if self.is_socket(id) {
            self.end_socket(id.slot(), code, &frame::close(code, text), end);
        }
    }

    /// The peer is gone without a close.
    pub(super) fn lose_socket(&mut self, id: Id) {
        if self.is_socket(id) {
            self.end_socket(id.slot(), code::ABNORMAL, b"", End::Peer);
        }
    }

    pub(super) fn cut_socket(&mut self, id: Id) {
        let slot = id.slot();
        self.unseat(slot);
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        exchange.closed = code::ABNORMAL;
        exchange.flags |= exchange::ABORTED;
        exchange.end = End::Host;
        let (connection, in_turn) = (exchange.connection, exchange.is(exchange::IN_TURN));
        if in_turn {
            self.cut(connection, End::Host);
        } else {
            self.end_socket(slot, code::ABNORMAL, b"", End::Host);
        }
    }

    pub(super) fn end_all_sockets(&mut self) {
        for slot in 0..self.exchanges.slots() {
            if let Some(exchange) = self.exchanges.at(slot) {
                if exchange.is(exchange::SOCKET) && exchange.closed == 0 {
                    self.end_socket(slot, code::GOING_AWAY, &frame::close(code::GOING_AWAY, ""), End::Drain);
                }
            }
        }
    }
}
