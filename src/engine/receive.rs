//! Owns the way of bytes from a connection to the host: heads, bodies, tunnels. Rule: one reading of every byte; what
//! cannot be dealt with now is kept, in order, and its connection is not read until it can.

use std::sync::Arc;

use crate::http1::chunked::Decoder;
use crate::http1::request::{self, Framing, Limits, Parsed, Scan};
use crate::http1::Fault;
use crate::PUSH;

use super::body::DROP_ALLOWANCE;
use super::connection::*;
use super::event::{self, End, What};
use super::exchange;
use super::head;
use super::id::Id;
use super::turns;
use super::wishes::Wishes;
use super::Engine;

/// Heads up to this size are remembered for the next request.
const REMEMBERED: usize = 2048;

/// What became of some bytes.
pub(super) enum Step {
    Took(usize),
    /// The rest is kept until more bytes come.
    More(usize),
    /// The rest is kept until something else changes.
    Wait(usize),
}

impl Engine {
    /// Whether the driver should read this connection.
    pub fn wants_input(&self, connection: u32) -> bool {
        let Some(c) = self.connections.at(connection) else { return false };
        if c.is(EOF | CUT) {
            return false;
        }
        if c.is(LINGERS | CLOSING) {
            return true; // to see its end
        }
        if c.is(STOPPED) && !c.in_body() {
            return (c.dropped as u64) < DROP_ALLOWANCE; // the same, within bounds
        }
        !c.is(PAUSED | STARVED | WAITS) && self.has_memory_for(c)
    }

    /// Whether the driver may read this connection now. If only the memory of all forbids it, it is found again when
    /// there is some.
    pub fn admit(&mut self, connection: u32) -> bool {
        if self.wants_input(connection) {
            if self.may_read_another() {
                return true;
            }
            self.withhold(connection);
            return false;
        }
        let Some(c) = self.connections.at(connection) else { return false };
        if !c.is(EOF | CUT | WAITS | PAUSED) && !self.has_memory_for(c) {
            self.starve(connection);
        }
        false
    }

    /// Bytes of the peer.
    pub fn receive(&mut self, connection: u32, data: &[u8]) {
        self.counters.bytes_in += data.len() as u64;
        self.in_turn = 0;
        let on_reserve = self.lives_on_reserve(connection);
        let Some(c) = self.connections.at_mut(connection) else { return };
        if let Some(mut input) = c.input.take() {
            if input.bytes.is_empty() {
                let taken = self.consume(connection, data, &mut input);
                self.keep(connection, input, &data[taken..]);
            } else {
                if let Some(input) = self.append(connection, input, data) {
                    self.work_off(connection, input);
                }
            }
        } else {
            // The usual case: whole requests straight from the driver's buffer.
            let taken = self.consume_heads(connection, data);
            if taken < data.len() {
                let mut input = match self.connections.at_mut(connection).and_then(|c| c.input.take()) {
                    Some(input) => input,
                    None => self.pool.input(),
                };
                let more = self.consume(connection, &data[taken..], &mut input);
                self.keep(connection, input, &data[taken + more..]);
            }
        }
        if on_reserve {
            self.shed(connection);
        }
        self.after_input(connection);
    }

    /// Goes on with buffered bytes.
    pub fn resume(&mut self, connection: u32) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        c.flags &= !WAITS;
        self.in_turn = 0;
        if let Some(input) = c.input.take() {
            self.work_off(connection, input);
        }
        self.after_input(connection);
    }

    /// Whether [`Engine::resume`] has bytes to work on.
    pub fn has_buffered(&self, connection: u32) -> bool {
        self.connections.at(connection).is_some_and(|c| c.buffered() > 0)
    }

    /// The peer has closed its sending side.
    pub fn end_of_input(&mut self, connection: u32) {
        if let Some(c) = self.connections.at_mut(connection) {
            c.flags |= EOF;
        }
        self.after_input(connection);
    }

    // ---- buffers -----------------------------------------------------------------------------------------------------

    fn keep(&mut self, connection: u32, input: Box<Input>, rest: &[u8]) {
        if let Some(input) = self.append(connection, input, rest) {
            self.put_back(connection, input);
        }
    }

    /// Without memory for what the peer has sent its connection ends, and the buffer with it.
    fn append(&mut self, connection: u32, mut input: Box<Input>, bytes: &[u8]) -> Option<Box<Input>> {
        if input.bytes.try_reserve(bytes.len()).is_ok() {
            input.bytes.extend_from_slice(bytes);
            return Some(input);
        }
        if let Some(c) = self.connections.at_mut(connection) {
            c.input = Some(input);
        }
        self.cut(connection, End::Limit);
        None
    }

    fn work_off(&mut self, connection: u32, mut input: Box<Input>) {
        let bytes = std::mem::take(&mut input.bytes);
        let start = std::mem::take(&mut input.start);
        let taken = self.consume(connection, &bytes[start..], &mut input);
        input.bytes = bytes;
        input.start = start + taken;
        if input.start == input.bytes.len() {
            input.bytes.clear();
            input.start = 0;
        } else if input.start > input.bytes.len() / 2 {
            input.bytes.drain(..input.start);
            input.start = 0;
        }
        self.put_back(connection, input);
    }

    fn put_back(&mut self, connection: u32, input: Box<Input>) {
        match self.connections.at_mut(connection) {
            Some(c) if !input.bytes.is_empty() || input.body.is_some() => c.input = Some(input),
            Some(c) => {
                if c.first == NONE && !c.is(LINGERS) {
                    c.since = self.now; // it may have been the rest of a body that nobody wanted
                }
                self.pool.give_input(input)
            }
            None => self.pool.give_input(input),
        }
        self.recharge(connection);
    }

    // ---- the state machine -------------------------------------------------------------------------------------------

    /// Heads without partial state: as many as are whole. Leaves bodies to [`Engine::consume`].
    fn consume_heads(&mut self, connection: u32, data: &[u8]) -> usize {
        let mut at = 0;
        while at < data.len() {
            let mut scan = Scan::new();
            let mut body = None;
            match self.take_request(connection, &data[at..], &mut scan, &mut body) {
                Step::Took(n) => at += n,
                Step::More(_) | Step::Wait(_) => break,
            }
            if let Some(body) = body {
                let mut input = self.pool.input();
                input.since = self.now;
                input.body = Some(body);
                if let Some(c) = self.connections.at_mut(connection) {
                    c.input = Some(input);
                }
                break;
            }
        }
        at
    }

    /// Deals with as many bytes as can be dealt with now: how many those were.
    fn consume(&mut self, connection: u32, data: &[u8], input: &mut Input) -> usize {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            let step = match input.body.take() {
                Some(mut body) => {
                    if !rest.is_empty() {
                        input.since = self.now;
                    }
                    let (step, over) = self.take_body(connection, rest, &mut body);
                    if !over {
                        input.body = Some(body);
                    }
                    // A body may end without further bytes.
                    if over && rest.is_empty() {
                        return at;
                    }
                    step
                }
                None if rest.is_empty() => return at,
                None => {
                    let step = self.take_request(connection, rest, &mut input.scan, &mut input.body);
                    if input.body.is_some() {
                        input.since = self.now;
                    }
                    step
                }
            };
            match step {
                Step::Took(0) if input.body.is_none() => return at,
                Step::Took(n) => {
                    at += n;
                    if input.body.is_none() {
                        input.scan = Scan::new();
                    }
                }
                Step::More(n) => {
                    let at = at + n;
                    if input.body.is_none() && data.len() > at {
                        self.begin_head(connection, input);
                    }
                    return at;
                }
                Step::Wait(n) => return at + n,
            }
        }
    }

    fn begin_head(&mut self, connection: u32, input: &mut Input) {
        if let Some(c) = self.connections.at_mut(connection) {
            if !c.is(IN_HEAD) {
                c.flags |= IN_HEAD;
                input.since = self.now;
            }
        }
    }

    /// Whether this connection may hand over another request now. Otherwise it is put where it is found again.
    fn may_take(&mut self, connection: u32) -> bool {
        // Memory is no matter here: what is buffered occupies it already, and only handing it over gives it back.
        let within = self.counters.held + self.undelivered < self.settings.max_held;
        let full = self.events.is_full();
        // With half of the memory used up, nobody gets more by asking for many answers before taking one.
        let (most, high) = (if self.is_scarce() { 1 } else { self.settings.max_pipeline }, self.settings.high_water);
        let Some(c) = self.connections.at_mut(connection) else { return false };
        // Answers that are complete and wait behind another count too: a client must not pile them up.
        if c.is(HOLDS) || c.length >= most || c.unsent() + c.pending >= high {
            c.flags |= WAITS;
            return false;
        }
        if full {
            self.make_ready(connection);
            return false;
        }
        if !within {
            self.pause(connection);
            return false;
        }
        if self.in_turn >= turns::share(self.events.may_wait) && self.ready.len() > 0 {
            c.flags |= WAITS;
            self.make_ready(connection);
            return false;
        }
        self.in_turn += 1;
        true
    }

    fn take_request(&mut self, connection: u32, data: &[u8], scan: &mut Scan, body: &mut Option<BodyIn>) -> Step {
        let Some(c) = self.connections.at_mut(connection) else { return Step::Took(data.len()) };
        // What may become a tunnel's is kept although no further request is taken.
        if c.is(STOPPED | CLOSING | LINGERS | CUT) && (!c.is(HOLDS) || c.is(CLOSING | LINGERS | CUT)) {
            c.dropped = c.dropped.saturating_add(data.len() as u32);
            return Step::Took(data.len());
        }
        if !self.may_take(connection) {
            return Step::Wait(0);
        }
        if !self.parsed_from.is_empty() && data.starts_with(&self.parsed_from) {
            return self.take_head(connection, data, scan, body);
        }
        if !scan.worth_parsing(data) && data.len() < self.settings.max_head {
            return Step::More(0);
        }
        self.parsed_from.clear();
        let limits = self.head_limits();
        match request::parse(data, &limits, &mut self.parsed) {
            Ok(Parsed::Partial) => Step::More(0),
            Ok(Parsed::Complete) => {
                self.patterns.renew(data, &self.parsed);
                if PUSH {
                    self.wishes = Wishes::of(self.patterns.newest()).map(Arc::new);
                }
                if self.parsed.len <= REMEMBERED {
                    self.parsed_from.extend_from_slice(&data[..self.parsed.len]);
                }
                self.take_head(connection, data, scan, body)
            }
            Err(fault) => {
                self.refuse(connection, fault);
                Step::Took(data.len())
            }
        }
    }

    /// A whole head was parsed: makes it an exchange, or leaves it where it is.
    fn take_head(&mut self, connection: u32, data: &[u8], scan: &mut Scan, body: &mut Option<BodyIn>) -> Step {
        let parsed = &self.parsed;
        let Some(c) = self.connections.at_mut(connection) else { return Step::Took(data.len()) };
        if self.settings.pipeline_safe {
            if c.open > 0 && (!parsed.is_safe || c.is(UNSAFE)) {
                c.flags |= WAITS;
                *scan = Scan::new();
                return Step::Wait(0);
            }
            c.flags &= !UNSAFE;
            if !parsed.is_safe {
                c.flags |= UNSAFE;
            }
        }
        c.flags &= !IN_HEAD;
        if let Framing::Length(length) = parsed.framing {
            if length > self.settings.max_body {
                self.refuse(connection, Fault { status: 413, text: "the body is larger than the limit" });
                return Step::Took(data.len());
            }
        }

        let (framing, head_len) = (parsed.framing, parsed.len);
        if parsed.upgrade || parsed.is_connect {
            c.flags |= HOLDS;
        }
        if !parsed.keep_alive {
            c.flags |= STOPPED;
        }
        c.open += 1;
        let size = self.patterns.newest().size_for(&c.peer);
        let Some(id) = self.enqueue(connection, self.patterns.exchange_flags(), size) else {
            self.cut(connection, End::Limit);
            return Step::Took(data.len());
        };
        if self.wishes.is_some() {
            if let Some(exchange) = self.exchanges.at_mut(id.slot()) {
                exchange.wishes = self.wishes.clone();
            }
        }
        if matches!(framing, Framing::None | Framing::Length(0)) {
            self.counters.memory += size as u64;
            self.undelivered += 1;
            self.events.push_request(id, self.patterns.hold(), size);
            return Step::Took(head_len);
        }
        self.take_body_with_head(connection, id, data, body)
    }

    /// What of a body lies behind its head decides how both are handed over.
    fn take_body_with_head(&mut self, connection: u32, id: Id, data: &[u8], body: &mut Option<BodyIn>) -> Step {
        let pattern = self.patterns.hold();
        let head = self.make_head(id, connection, pattern);
        self.patterns.release(pattern);
        let Some(mut head) = head else { return Step::Took(data.len()) };
        let parsed = &self.parsed;
        let (framing, keep_alive, head_len) = (parsed.framing, parsed.keep_alive, parsed.len);
        let expects = parsed.expect_continue && parsed.minor > 0;
        let manual = self.settings.manual_continue;
        let buffer = self.settings.buffer_body;
        let (coding, gather) = match framing {
            Framing::None => return Step::Took(head_len),
            Framing::Length(length) => {
                head.content_length = length;
                (Coding::Length(length), length <= buffer as u64 && !(expects && manual))
            }
            Framing::Chunked => {
                head.content_length = head::UNKNOWN;
                (Coding::Chunked(Decoder::new()), !(expects && manual))
            }
        };
        // The whole body may lie behind the head already.
        if let (Coding::Length(length), true) = (&coding, gather) {
            let length = *length as usize;
            let bytes = data[head_len..].get(..length);
            if let Some(bytes) = bytes.filter(|_| head.bytes.try_reserve(length).is_ok()) {
                head.bytes.extend_from_slice(bytes);
                self.hand_over(head);
                return Step::Took(head_len + length);
            }
        }
        let mode = if gather {
            if expects && data.len() == head_len {
                self.send_continue(id);
            }
            Mode::Gather(head)
        } else {
            head.flags |= head::BODY_FOLLOWS;
            if expects && data.len() == head_len {
                head.flags |= head::EXPECT;
                self.set_exchange_flag(id, exchange::EXPECT);
            }
            self.set_exchange_flag(id, exchange::BODY_FOLLOWS);
            self.hand_over(head);
            Mode::Stream { unacknowledged: 0 }
        };
        *body = Some(BodyIn { exchange: id, framing: coding, mode, total: 0, keep_alive });
        Step::Took(head_len)
    }

    pub(super) fn set_exchange_flag(&mut self, id: Id, flag: u32) {
        if let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) {
            exchange.flags |= flag;
        }
    }

    /// Queues the request for the host.
    #[inline]
    pub(super) fn hand_over(&mut self, head: Box<head::Head>) {
        let id = head.id;
        if let Some(exchange) = self.exchanges.get_mut(id.slot(), id.generation()) {
            exchange.head_size = head.bytes.len() as u32;
        }
        self.counters.memory += head.bytes.len() as u64;
        self.undelivered += 1;
        self.events.push(id, What::Request(head));
    }

    // ---- after input ---------------------------------------------------------------------------------------------------

    fn after_input(&mut self, connection: u32) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        if c.is(EOF) {
            self.after_eof(connection);
        }
        self.rest(connection);
    }

    fn after_eof(&mut self, connection: u32) {
        let Some(c) = self.connections.at_mut(connection) else { return };
        if c.is(LINGERS | CLOSING | CUT) {
            self.make_dirty(connection);
            return;
        }
        if c.is(PAUSED | WAITS | READY) && c.buffered() > 0 {
            return; // there are whole requests before the end
        }
        if c.is(EOF_TOLD) {
            return;
        }
        c.flags |= EOF_TOLD;
        if PUSH {
            self.end_of_subscribers(connection);
        }
        let Some(c) = self.connections.at_mut(connection) else { return };
        let body = c.input.as_mut().and_then(|input| input.body.take());
        if self.settings.wants(event::HALF_CLOSED) {
            // Whose own body ends here hears it by that.
            let reads = body.as_ref().map(|body| body.exchange);
            let mut at = c.first;
            while let Some(exchange) = self.exchanges.at(at) {
                let over = exchange.is(exchange::HIDDEN | exchange::SETTLED | exchange::ABORTED);
                if !over && Some(exchange.id) != reads {
                    self.events.push(exchange.id, What::HalfClosed);
                }
                at = exchange.next;
            }
        }
        if let Some(mut body) = body {
            match (&body.framing, &body.mode) {
                (Coding::Raw, Mode::Stream { .. }) => {
                    self.push_body(body.exchange, b"", false);
                }
                (_, Mode::Drop { .. }) => {}
                (_, Mode::Frames(_)) if PUSH => self.lose_socket(body.exchange),
                _ => {
                    let fault = Fault { status: 400, text: "the body ended before its length" };
                    self.fail_body(connection, &mut body, fault, End::Peer);
                }
            }
        }
        let Some(c) = self.connections.at_mut(connection) else { return };
        let in_head = c.is(IN_HEAD) && !c.is(STOPPED | CUT);
        c.flags &= !IN_HEAD;
        let input = c.input.take();
        if let Some(input) = input {
            let fault = if in_head { self.last_look(&input.bytes[input.start..]) } else { None };
            self.pool.give_input(input);
            if let Some(fault) = fault {
                self.refuse(connection, fault);
            }
        }
        self.recharge(connection);
        self.stop(connection);
    }

    /// What is wrong with a head that will not be complete: [`Scan`] may have put off looking at its last bytes.
    fn last_look(&mut self, head: &[u8]) -> Option<Fault> {
        self.parsed_from.clear();
        let limits = self.head_limits();
        request::parse(head, &limits, &mut self.parsed).err()
    }

    fn head_limits(&self) -> Limits {
        Limits {
            max_head: self.settings.max_head,
            max_fields: self.settings.max_fields,
            allow_connect: self.settings.connect,
        }
    }
}
