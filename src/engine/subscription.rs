//! Owns the beginning and the end of subscriptions: a request that is answered by what is published from now on. Rule: the
//! request is settled when it begins; its id lives on as the subscriber's until the last event of it.

use std::sync::Arc;

use crate::http1::response::Seen;
use crate::push::feed::{Filter, Subscriber, Transport};
use crate::push::form::{chunk, multipart_start, Form, BOUNDARY, BUS_DELIMITER};
use crate::push::hub::Start;
use crate::push::message::Message;
use crate::push::policy::Choice;
use crate::push::position::Position;

use super::answer::{Answer, Body};
use super::connection::{EOF_TOLD, NONE, POLLS, STOPPED};
use super::event::{self, End, What};
use super::exchange;
use super::id::Id;
use super::origin;
use super::wishes::Wishes;
use super::Engine;

/// What a host asks for its client.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// Names of channels, and prefixes ("news/*").
    pub patterns: Vec<Box<str>>,
    /// `None`: as the client asked.
    pub transport: Option<Transport>,
    pub filter: Option<Box<Filter>>,
    /// Instead of what the client says.
    pub since: Option<Position>,
    /// Of a long poll, in milliseconds; 0: the usual.
    pub timeout: u64,
    /// Any page may read the answer.
    pub cors: bool,
    /// Fields of the answer, each with its CRLF; for the msgbus protocol its whole head, as [`Answer`] takes it.
    pub lines: Vec<u8>,
    pub seen: Seen,
    /// Of the msgbus protocol: which of the paths under which buses show channels.
    pub bus: u8,
}

/// A long poll ends after this long without a message.
const POLL_TIMEOUT: u64 = 30_000;

impl Engine {
    /// Answers a request by what is published from now on; the lease was won.
    pub fn subscribe(&mut self, id: Id, mut subscription: Subscription) {
        let slot = id.slot();
        let alive = self
            .exchanges
            .get_mut(slot, id.generation())
            .filter(|exchange| !exchange.is(exchange::ABORTED | exchange::SETTLED | exchange::BEGUN));
        let Some(exchange) = alive else {
            self.leases.end_second(slot);
            self.settle(id);
            return;
        };
        let wishes = exchange.wishes.take();
        let bodiless = exchange.is(exchange::HEAD_METHOD);
        let transport = subscription.transport.unwrap_or_else(|| Wishes::transport(wishes.as_deref()));
        let since = subscription.since.or_else(|| wishes.as_ref().and_then(|wishes| wishes.since));
        let socket = wishes.as_ref().is_some_and(|wishes| wishes.handshake.is_some());
        let asked = subscription.transport.is_none_or(|transport| transport == Transport::WebSocket);
        match Wishes::refused(wishes.as_deref()).filter(|_| asked) {
            Some(400) => return self.refuse_subscription(id, 400, b"400 the WebSocket handshake has no valid key\n"),
            None if transport != Transport::WebSocket || socket => {}
            _ => return self.refuse_subscription(id, 426, b"426 this needs a WebSocket handshake of version 13\n"),
        }
        if let Some(origin) = wishes.as_ref().and_then(|wishes| wishes.origin.as_deref()).filter(|_| !subscription.cors)
        {
            if !self.may_come(origin) {
                return self.refuse_subscription(id, 403, foreign_text(origin).as_bytes());
            }
            if transport != Transport::WebSocket && !has_field(&subscription.lines, "access-control-allow-origin:") {
                let line = format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n{EXPOSE}");
                subscription.lines.extend_from_slice(line.as_bytes());
            }
        }
        if bodiless {
            return self.refuse_subscription(id, 200, b"");
        }
        let Some((hub, member)) = self.push.hub.clone().filter(|_| self.draining.is_none()) else {
            return self.refuse_subscription(id, 503, b"503 the server is about to end\n");
        };
        let start = hub.join(member, &subscription.patterns, since, self.now);
        if transport == Transport::LongPoll {
            self.begin_poll(id, subscription, start);
        } else if transport == Transport::WebSocket {
            self.begin_subscribed_socket(id, wishes, subscription, start);
        } else {
            self.begin_stream(id, transport, subscription, start);
        }
    }

    /// Whether pages of another origin may subscribe.
    pub fn may_come(&self, origin: &str) -> bool {
        origin::is_listed(&self.settings.origins, origin)
    }

    /// HEAD has nothing to get, and who comes while the server ends is to come back later.
    pub(super) fn refuse_subscription(&mut self, id: Id, status: u16, text: &[u8]) {
        self.leases.end_second(id.slot());
        let answer = Answer {
            status,
            close: false,
            length: None,
            lines: match status {
                503 => b"Retry-After: 1\r\n"[..].into(),
                426 => b"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"[..].into(),
                _ => b""[..].into(),
            },
            seen: Seen::default(),
            content_type: Some(b"text/plain; charset=utf-8"),
            body: Body::Copy(text),
        };
        self.respond(id, answer);
    }

    fn begin_stream(&mut self, id: Id, transport: Transport, mut subscription: Subscription, mut start: Start) {
        let slot = id.slot();
        let chunked = self.exchanges.at(slot).is_some_and(|exchange| !exchange.is(exchange::HTTP10));
        let pick = |plain, chunks| if chunked { chunks } else { plain };
        let content_type = match transport {
            Transport::Sse => "text/event-stream".to_owned(),
            Transport::Plain => "application/octet-stream".to_owned(),
            Transport::Bus => String::new(),
            _ => format!("multipart/x-mixed-replace;boundary={BOUNDARY}"),
        };
        let form = match transport {
            Transport::Sse => pick(Form::Sse, Form::SseChunked),
            Transport::Plain => pick(Form::Plain, Form::PlainChunked),
            Transport::Bus if subscription.patterns.iter().any(|pattern| **pattern == *"*") => {
                pick(Form::BusRoot(subscription.bus), Form::BusRootChunked(subscription.bus))
            }
            Transport::Bus => pick(Form::Bus, Form::BusChunked),
            _ => pick(Form::Multipart, Form::MultipartChunked),
        };
        let mut subscriber = Subscriber::new(transport, form, subscription.filter.take());
        subscriber.position = start.position.n;
        subscriber.beaten = self.now;
        fit(&mut start, &subscriber);
        let first = match transport {
            Transport::Sse => sse_start(&start),
            Transport::Plain => Vec::new(),
            Transport::Bus => BUS_DELIMITER.to_vec(),
            _ => multipart_start(),
        };
        let first = if chunked { chunk(&first) } else { first };
        let host_type = subscription.seen.content_type;
        if transport != Transport::Bus {
            push_lines(&mut subscription, &start);
        }
        let answer = Answer {
            status: 200,
            close: false,
            length: None,
            lines: subscription.lines.into(),
            seen: subscription.seen,
            content_type: (!host_type).then_some(content_type.as_bytes()),
            body: Body::Copy(b""),
        };
        self.begin(id, answer);
        let Some(connection) = self.settle(id) else { return self.leave_hub(&subscription.patterns) };
        let unread = self.refuse_rest(connection, id);
        let mut left = false;
        if let Some(c) = self.connections.at_mut(connection) {
            // What comes behind it would wait for an answer that does not end.
            c.flags |= STOPPED;
            left = c.is(EOF_TOLD);
        }
        self.seat(slot, subscriber, &subscription.patterns, &start);
        self.append_raw(slot, &first);
        self.append_missed(slot, &start.missed);
        self.after_push(connection);
        if unread || left {
            self.end_subscription(slot, if left { End::Peer } else { End::Ok });
        }
        self.kick_if_asked(id);
    }

    /// The host took it back before it began: two threads crossed.
    pub(super) fn kick_if_asked(&mut self, id: Id) {
        if self.exchanges.get_mut(id.slot(), id.generation()).is_some_and(|exchange| exchange.is(exchange::KICKED)) {
            self.kick(id);
        }
    }

    /// Puts a subscriber where messages find it.
    pub(super) fn seat(&mut self, slot: u32, subscriber: Subscriber, patterns: &[Box<str>], start: &Start) {
        if let Some(exchange) = self.exchanges.at_mut(slot) {
            exchange.flags |= exchange::SUBSCRIBED;
        }
        self.push.feeds.add(slot, subscriber);
        for (pattern, policy) in patterns.iter().zip(&start.policies) {
            self.take_seat(slot, pattern, policy, start.position.n);
        }
    }

    fn take_seat(&mut self, slot: u32, pattern: &str, policy: &Arc<crate::push::policy::Policy>, from: u64) {
        if self.push.feeds.join(slot, pattern, policy, from, self.now) {
            self.counters.subscribers = self.push.feeds.len();
            self.tell_subscriber(slot, pattern, true);
        } else if let Some((hub, member)) = &self.push.hub {
            hub.leave(*member, pattern); // named twice
        }
    }

    fn tell_subscriber(&mut self, slot: u32, pattern: &str, joined: bool) {
        if self.settings.wants(event::SUBSCRIBER) {
            if let Some(exchange) = self.exchanges.at(slot).filter(|exchange| !exchange.is(exchange::UNSHOWN)) {
                let user = self.leases.user(slot);
                self.events.push_for(exchange.id, user, What::Subscriber { channel: pattern.into(), joined });
            }
        }
    }

    fn leave_hub(&mut self, patterns: &[Box<str>]) {
        if let Some((hub, member)) = &self.push.hub {
            for pattern in patterns {
                hub.leave(*member, pattern);
            }
        }
    }

    /// More channels for a subscriber or a WebSocket; the lease was asked.
    pub fn join(&mut self, id: Id, patterns: &[Box<str>]) {
        let Some((hub, member)) = self.push.hub.clone() else { return };
        if !self.is_subscribed(id) && !self.seat_socket(id) {
            return;
        }
        // What it has not got yet is of the channels that it had; from the new ones it gets what comes.
        self.take_last_turn(id.slot());
        if !self.is_subscribed(id) {
            return;
        }
        let start = hub.join(member, patterns, None, self.now);
        for (pattern, policy) in patterns.iter().zip(&start.policies) {
            self.take_seat(id.slot(), pattern, policy, start.position.n);
        }
    }

    /// A channel less; the subscriber stays.
    pub fn leave(&mut self, id: Id, pattern: &str) {
        if self.is_subscribed(id) {
            self.take_last_turn(id.slot());
        }
        if self.is_subscribed(id) && self.push.feeds.leave(id.slot(), pattern) {
            if let Some((hub, member)) = &self.push.hub {
                hub.leave(*member, pattern);
            }
            self.tell_subscriber(id.slot(), pattern, false);
            self.end_of_turns(); // the walk may have ended with it
        }
    }

    pub(super) fn is_subscribed(&mut self, id: Id) -> bool {
        let exchange = self.exchanges.get_mut(id.slot(), id.generation());
        exchange.is_some_and(|exchange| exchange.is(exchange::SUBSCRIBED))
    }

    /// It is no subscriber any more, whatever else becomes of its request.
    pub(super) fn unseat(&mut self, slot: u32) {
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        if !exchange.is(exchange::SUBSCRIBED) {
            return;
        }
        exchange.flags &= !exchange::SUBSCRIBED;
        self.push.poll_lines.remove(&slot);
        for pattern in self.push.feeds.patterns(slot) {
            if let Some((hub, member)) = &self.push.hub {
                hub.leave(*member, &pattern);
            }
            self.tell_subscriber(slot, &pattern, false);
        }
        self.push.feeds.remove(slot);
        self.end_of_turns(); // the walk may have ended with it
        self.counters.subscribers = self.push.feeds.len();
        if self.exchanges.at(slot).is_some_and(|exchange| !exchange.is(exchange::SOCKET)) {
            self.leases.end_second(slot);
        }
    }

    /// The host ends a subscriber or a WebSocket, behind what was published. False: the id is in its first life.
    pub(super) fn end_second_life(&mut self, id: Id) -> bool {
        if self.is_subscribed(id) {
            self.take_last_turn(id.slot());
            if self.is_subscribed(id) {
                self.end_subscription(id.slot(), End::Ok);
            }
            return true;
        }
        if self.is_socket(id) {
            self.end_subscribed_socket(id.slot(), End::Ok);
            return true;
        }
        self.exchanges.get_mut(id.slot(), id.generation()).is_some_and(|exchange| exchange.is(exchange::SETTLED))
    }

    /// The stream ends well, after what is queued of it: the client may come back for more.
    pub fn end_subscription(&mut self, slot: u32, end: End) {
        let Some(subscriber) = self.push.feeds.at(slot) else { return };
        let transport = subscriber.transport;
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        let connection = exchange.connection;
        if end != End::Ok {
            exchange.flags |= exchange::ABORTED;
            exchange.end = end;
        }
        if transport == Transport::LongPoll {
            return self.answer_poll(slot, Vec::new());
        }
        if transport == Transport::WebSocket {
            return self.end_subscribed_socket(slot, end);
        }
        self.unseat(slot);
        self.with_output(slot, |output, spare, exchange| {
            if exchange.is(exchange::CHUNKED) {
                output.push(crate::http1::response::LAST_CHUNK, spare);
            }
            exchange.flags |= exchange::ENDED | exchange::CLOSE;
        });
        self.pump(connection);
    }

    /// The host's word: it is cut.
    pub fn kick(&mut self, id: Id) {
        if self.is_socket(id) {
            return self.cut_socket(id);
        }
        if !self.is_subscribed(id) {
            if let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) {
                if !exchange.is(exchange::SETTLED) {
                    exchange.flags |= exchange::KICKED;
                    if exchange.is(exchange::SERVED) {
                        self.events.push(id, What::Aborted(End::Host)); // the mount gives it up
                    }
                }
            }
            return;
        }
        let slot = id.slot();
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        let (connection, in_turn, begun) =
            (exchange.connection, exchange.is(exchange::IN_TURN), exchange.is(exchange::BEGUN));
        if in_turn && begun {
            self.unseat(slot);
            if let Some(exchange) = self.exchanges.at_mut(slot) {
                exchange.flags |= exchange::ABORTED;
                exchange.end = End::Host;
            }
            self.cut(connection, End::Host);
        } else {
            self.end_subscription(slot, End::Host);
        }
    }

    /// The peer sends no more: of a subscriber that means that it has left.
    pub(super) fn end_of_subscribers(&mut self, connection: u32) {
        let mut at = self.connections.at(connection).map_or(NONE, |c| c.first);
        while let Some(exchange) = self.exchanges.at(at) {
            let next = exchange.next;
            if exchange.is(exchange::SUBSCRIBED) {
                self.end_subscription(at, End::Peer);
            }
            at = next;
        }
    }

    /// All of them, because the server ends.
    pub(super) fn end_all_subscriptions(&mut self) {
        if self.push.feeds.is_empty() {
            return;
        }
        for slot in 0..self.exchanges.slots() {
            if self.exchanges.at(slot).is_some_and(|exchange| exchange.is(exchange::SUBSCRIBED)) {
                self.take_last_turn(slot);
                self.end_subscription(slot, End::Drain);
            }
        }
    }

    // ---- long polls ------------------------------------------------------------------------------------------------

    fn begin_poll(&mut self, id: Id, subscription: Subscription, start: Start) {
        let slot = id.slot();
        let Some(connection) = self.settle(id) else { return self.leave_hub(&subscription.patterns) };
        self.refuse_rest(connection, id);
        let mut subscriber = Subscriber::new(Transport::LongPoll, Form::Json, subscription.filter.clone());
        let timeout = if subscription.timeout > 0 { subscription.timeout } else { POLL_TIMEOUT };
        subscriber.position = start.position.n;
        subscriber.deadline = self.now.saturating_add(timeout);
        subscriber.recovered = start.recovered;
        subscriber.beaten = self.now;
        let missed: Vec<_> = start.missed.iter().filter(|message| subscriber.wants(message)).cloned().collect();
        self.seat(slot, subscriber, &subscription.patterns, &start);
        let mut subscription = subscription;
        if subscription.cors {
            push_cors(&mut subscription.lines);
        }
        self.push.poll_lines.insert(slot, (std::mem::take(&mut subscription.lines), subscription.seen));
        // Who asks where it stands is answered at once, so that it has somewhere to go on from.
        let lost = start.recovered == Some(false);
        if !missed.is_empty() || lost {
            self.answer_poll(slot, missed);
        } else {
            if let Some(c) = self.connections.at_mut(connection) {
                c.flags |= POLLS;
            }
            if self.connections.at(connection).is_some_and(|c| c.is(EOF_TOLD)) {
                self.end_subscription(slot, End::Peer);
            }
            self.schedule(connection);
        }
        self.kick_if_asked(id);
    }
}

const EXPOSE: &str = "Access-Control-Expose-Headers: Encke-Position, Encke-Recovered\r\n";

/// Any page may read it.
fn push_cors(lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"Access-Control-Allow-Origin: *\r\n");
    lines.extend_from_slice(EXPOSE.as_bytes());
}

/// What a page of another server is told; of its name as much as may be one.
pub(super) fn foreign_text(origin: &str) -> String {
    let name: String = origin.chars().take(100).collect();
    format!("403 pages of the origin \"{name}\" may not subscribe here\n")
}

pub(super) fn recovered_line(recovered: bool) -> String {
    format!("Encke-Recovered: {}\r\n", if recovered { "yes" } else { "no" })
}

pub(super) fn has_field(lines: &[u8], name: &str) -> bool {
    let is = |line: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
    lines.split(|byte| *byte == b'\n').any(is)
}

/// What was missed has to fit into the backlog, or who comes back would be slow before it began: the newest of it does,
/// and it is told.
pub(super) fn fit(start: &mut Start, subscriber: &Subscriber) {
    let most = start.policies.first().map_or(u64::MAX, |policy| match subscriber.transport {
        Transport::Bus => policy.limits_of_the_bus().1,
        _ => policy.get(Choice::Backlog),
    });
    start.missed.retain(|message| subscriber.wants(message));
    let mut bytes = 0;
    let mut fits = |message: &Arc<Message>| {
        bytes += message.form(subscriber.form).len() as u64;
        bytes <= most
    };
    let n = start.missed.iter().rev().take_while(|message| fits(message)).count().max(1);
    if n < start.missed.len() {
        start.missed.drain(..start.missed.len() - n);
        start.recovered = Some(false);
    }
}

/// The fields of every stream: nothing between keeps or gathers it, and the client knows where it begins.
fn push_lines(subscription: &mut Subscription, start: &Start) {
    let lines = &mut subscription.lines;
    if !has_field(lines, "cache-control:") {
        lines.extend_from_slice(b"Cache-Control: no-store\r\n");
    }
    if !has_field(lines, "x-accel-buffering:") {
        lines.extend_from_slice(b"X-Accel-Buffering: no\r\n");
    }
    lines.extend_from_slice(format!("Encke-Position: {}\r\n", begins(start)).as_bytes());
    if let Some(recovered) = start.recovered {
        lines.extend_from_slice(recovered_line(recovered).as_bytes());
    }
    if subscription.cors {
        push_cors(lines);
    }
}

/// Where who leaves before the first message can come back to.
fn begins(start: &Start) -> Position {
    let n = start.missed.first().map_or(start.position.n, |message| message.position.n - 1);
    Position { n, ..start.position }
}

/// An id without data is remembered by the browser and shown to nobody. Where it cannot be given what it missed, it is
/// told by an event.
fn sse_start(start: &Start) -> Vec<u8> {
    let from = begins(start);
    let text = match start.recovered {
        None => format!("id: {from}\n\n"),
        Some(recovered) => {
            format!("id: {from}\nevent: recovered\ndata: {}\n\n", if recovered { "yes" } else { "no" })
        }
    };
    text.into_bytes()
}
