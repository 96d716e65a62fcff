//! Owns what the host says of a request: its answer, whole or in pieces. Rule: the lease was asked before; what comes
//! here for an id that is over is dropped, and what was lent with it is given back.

use std::fs::File;
use std::sync::Arc;

use crate::http1::response::{
    append_chunk_size, append_head, bodiless, Length, Persistence, ResponseHead, Seen, LAST_CHUNK,
};
use crate::PUSH;

use super::body::DROP_ALLOWANCE;
use super::connection::*;
use super::event::{End, What};
use super::exchange;
use super::id::Id;
use super::mailbox::Submission;
use super::output::{Lent, Output, Released, COPY_LIMIT};
use super::pipeline::outlet;
use super::spare::Spare;
use super::Engine;

/// A head, and a body or its first piece. The fields were checked when `lines` was made.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// Close the connection after it.
    pub close: bool,
    /// The length that the host promises, for begin and for the answer to HEAD.
    pub length: Option<u64>,
    /// Field lines, each with its CRLF.
    /// Or a whole head but for Connection and the empty line, if they begin with a status line.
    pub lines: std::borrow::Cow<'a, [u8]>,
    pub seen: Seen,
    pub content_type: Option<&'a [u8]>,
    pub body: Body<'a>,
}

pub enum Body<'a> {
    Copy(&'a [u8]),
    Owned(Vec<u8>),
    /// Others are answered with it too.
    Common(Arc<[u8]>),
    Lent {
        bytes: Box<dyn Lent>,
        cookie: u64,
    },
    File {
        file: File,
        offset: u64,
        len: u64,
    },
    /// One behind the other.
    Parts(Vec<Part>),
}

/// Some bytes, and behind them some of a file: from where, and how many.
#[derive(Debug)]
pub struct Part {
    pub before: Vec<u8>,
    pub file: Option<(File, u64, u64)>,
}

impl Part {
    fn len(&self) -> u64 {
        self.before.len() as u64 + self.file.as_ref().map_or(0, |(_, _, len)| *len)
    }
}

impl Body<'_> {
    pub fn len(&self) -> u64 {
        match self {
            Body::Copy(bytes) => bytes.len() as u64,
            Body::Owned(bytes) => bytes.len() as u64,
            Body::Common(bytes) => bytes.len() as u64,
            Body::Lent { bytes, .. } => bytes.bytes().len() as u64,
            Body::File { len, .. } => *len,
            Body::Parts(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({})", self.len())
    }
}

impl Engine {
    /// Carries out what another thread said.
    pub fn apply(&mut self, submission: Submission) {
        match submission {
            Submission::Respond { id, answer } => self.respond(id, *answer),
            Submission::Begin { id, answer } => self.begin(id, *answer),
            Submission::Write { id, data } => self.write(id, Body::Owned(data)),
            Submission::End { id, trailers } => self.end(id, &trailers),
            Submission::Abort { id } => self.abort(id),
            Submission::Inform { id, status, lines } => self.inform(id, status, &lines),
            Submission::Ack { id, n } => self.body_ack(id, n),
            Submission::Settled { id } => {
                self.settle(id);
            }
            of_push if PUSH => self.apply_push(of_push),
            _ => {}
        }
    }

    fn apply_push(&mut self, submission: Submission) {
        match submission {
            Submission::Subscribe { id, subscription } => self.subscribe(id, *subscription),
            Submission::Join { id, patterns } => self.join(id, &patterns),
            Submission::Leave { id, pattern } => self.leave(id, &pattern),
            Submission::Kick { id } => self.kick(id),
            Submission::Accept { id, lines } => self.accept_socket(id, &lines),
            Submission::Frames { id, frames } => self.send_frames(id, frames),
            Submission::Close { id, code, reason } => self.close_socket(id, code, &reason),
            Submission::Pass { id, mount } => self.passed.push_back((id, mount)),
            Submission::Deliver(message) => self.hear(&message),
            Submission::Missed(n) => self.push.feeds.lose(n),
            _ => {}
        }
    }

    /// Carries out the host's settle: the connection that is to be answered, if there still is one.
    #[inline]
    pub(super) fn settle(&mut self, id: Id) -> Option<u32> {
        let slot = id.slot();
        let exchange = self.exchanges.get_mut(slot, id.generation())?;
        if exchange.is(exchange::SETTLED) {
            return None;
        }
        exchange.flags |= exchange::SETTLED;
        self.counters.held -= 1;
        self.counters.memory -= exchange.head_size as u64;
        if !exchange.is(exchange::UNSHOWN) {
            self.retired.push(slot);
        }
        let connection = exchange.connection;
        if exchange.is(exchange::ABORTED) {
            if connection == NONE {
                self.finish(slot, End::Ok);
            }
            self.unpause();
            return None;
        }
        if let Some(c) = self.connections.at_mut(connection) {
            c.open -= 1;
            if c.last == slot {
                c.flags &= !HOLDS;
            }
            if c.is(WAITS) {
                self.wake_connection(connection);
            }
        }
        self.unpause();
        Some(connection)
    }

    /// Gives back what was lent for an answer that nobody can get.
    fn drop_body(&mut self, id: Id, body: Body<'_>) {
        if let Body::Lent { cookie, .. } = body {
            let user = self.leases.user(id.slot());
            self.events.push_for(id, user, What::Released { cookie });
        }
    }

    /// A whole answer.
    #[inline]
    pub fn respond(&mut self, id: Id, answer: Answer<'_>) {
        if !self.respond_short(id, &answer) {
            self.respond_in_general(id, answer);
        }
    }

    #[inline(never)]
    fn respond_in_general(&mut self, id: Id, answer: Answer<'_>) {
        // RELEASED comes before DONE, so what cannot be sent goes back before the settle ends the exchange.
        let gone = self.exchanges.get_mut(id.slot(), id.generation()).is_none_or(|e| e.is(exchange::ABORTED));
        if gone {
            self.drop_body(id, answer.body);
            self.settle(id);
            return;
        }
        if let Some(connection) = self.settle(id) {
            self.send_whole(connection, id, answer);
        }
    }

    pub(super) fn send_whole(&mut self, connection: u32, id: Id, answer: Answer<'_>) {
        let slot = id.slot();
        let reads = self.connections.at(connection).is_some_and(|c| c.input.is_some());
        let unread_long = reads && self.refuse_rest(connection, id);
        let connect = self.exchanges.at(slot).is_some_and(|e| e.is(exchange::CONNECT));
        let close = answer.close || unread_long || connect && (200..300).contains(&answer.status);
        let (flags, persistence) = self.persistence(connection, slot, close);
        let len = answer.body.len();
        let is_head = flags & exchange::HEAD_METHOD != 0;
        // A tunnel that ends at once: after 2xx to CONNECT there is no content (RFC 9110, 9.3.6).
        let tunnel = flags & exchange::CONNECT != 0 && (200..300).contains(&answer.status);
        let no_body = is_head || tunnel || bodiless(answer.status);
        let length = match answer.status {
            _ if tunnel => Length::None,
            100..=199 | 204 => Length::None,
            304 => answer.length.map_or(Length::None, Length::Exact),
            _ if is_head => Length::Exact(answer.length.unwrap_or(len)),
            _ => Length::Exact(len),
        };
        let small = match &answer.body {
            _ if no_body => b"",
            Body::Copy(bytes) if bytes.len() <= COPY_LIMIT => *bytes,
            Body::Common(bytes) if bytes.len() <= COPY_LIMIT => bytes,
            _ => b"",
        };
        let server = &self.settings.server;
        let head = ResponseHead {
            status: answer.status,
            lines: &answer.lines,
            date: (!answer.seen.date).then_some(&self.date),
            server: (!answer.seen.server && !server.is_empty()).then_some(server.as_slice()),
            content_type: answer.content_type,
            length,
            persistence,
        };
        let frame = &mut self.frame;
        let parts = (&mut self.connections, &mut self.exchanges, &mut self.pool, &mut self.counters);
        outlet(parts, self.now, slot, |output, spare, exchange| {
            exchange.flags |= exchange::ENDED;
            let tail = output.tail(spare);
            let before = tail.len();
            if is_whole(head.lines) {
                append_whole(tail, head.lines, persistence);
            } else {
                frame.append_head(tail, &head);
            }
            tail.extend_from_slice(small);
            let n = tail.len() - before;
            output.appended(n);
            if !no_body {
                exchange.given = len;
                exchange.unsent = len;
            }
        });
        if no_body {
            // Released before the mark: nothing of it is referenced.
            self.drop_body(id, answer.body);
        } else if small.len() as u64 != len || matches!(answer.body, Body::Lent { .. }) {
            self.send_large(slot, answer.body);
        }
        self.pump(connection);
    }

    /// A body that is not copied together with its head.
    fn send_large(&mut self, slot: u32, body: Body<'_>) {
        self.with_output(slot, |output, spare, exchange| match body {
            Body::Copy(bytes) => output.push_owned(bytes.to_vec(), spare),
            Body::Owned(bytes) => output.push_owned(bytes, spare),
            Body::Common(bytes) => output.push_common(bytes),
            Body::Lent { bytes, cookie } => {
                exchange.flags |= exchange::LENT;
                output.push_lent(bytes, Released { slot, cookie });
            }
            Body::File { file, offset, len } => output.push_file(file, offset, len),
            Body::Parts(parts) => {
                for Part { before, file } in parts {
                    output.push_owned(before, spare);
                    if let Some((file, offset, len)) = file {
                        output.push_file(file, offset, len);
                    }
                }
            }
        });
    }

    /// Whether the connection goes on after this answer, and what the answer says of it.
    fn persistence(&mut self, connection: u32, slot: u32, close: bool) -> (u32, Persistence) {
        let Some(exchange) = self.exchanges.at_mut(slot) else { return (0, Persistence::Close) };
        exchange.flags &= !exchange::EXPECT;
        let stopped = self.connections.at(connection).is_some_and(|c| c.is(STOPPED) && c.last == slot && !c.in_body());
        if close || stopped || !exchange.is(exchange::KEEP_ALIVE) {
            exchange.flags |= exchange::CLOSE;
            (exchange.flags, Persistence::Close)
        } else if exchange.is(exchange::HTTP10) {
            (exchange.flags, Persistence::KeepAlive)
        } else {
            (exchange.flags, Persistence::Default)
        }
    }

    /// The host wants no more of this request's body. True: so much is left that the connection cannot go on.
    pub(super) fn refuse_rest(&mut self, connection: u32, id: Id) -> bool {
        let expects =
            self.exchanges.get_mut(id.slot(), id.generation()).is_some_and(|exchange| exchange.is(exchange::EXPECT));
        let Some(body) = self
            .connections
            .at_mut(connection)
            .and_then(|c| c.input.as_mut())
            .and_then(|input| input.body.as_mut())
            .filter(|body| body.exchange == id)
        else {
            return false;
        };
        if expects {
            // Without 100-continue nobody knows whether the peer sends the body: it is not waited for.
            self.forget_body(connection);
            return true;
        }
        body.mode = Mode::Drop { allowance: DROP_ALLOWANCE };
        match body.framing {
            Coding::Length(left) => left > DROP_ALLOWANCE,
            Coding::Chunked(_) => false,
            Coding::Raw => true,
        }
    }

    /// The head of an answer whose body follows in pieces.
    pub fn begin(&mut self, id: Id, answer: Answer<'_>) {
        let slot = id.slot();
        let Some(exchange) = self.exchanges.get_mut(slot, id.generation()) else { return };
        if exchange.is(exchange::ABORTED | exchange::SETTLED | exchange::BEGUN) {
            return;
        }
        let connection = exchange.connection;
        let is_head = exchange.is(exchange::HEAD_METHOD);
        let tunnel = answer.status == 101 || exchange.is(exchange::CONNECT) && (200..300).contains(&answer.status);
        let http10 = exchange.is(exchange::HTTP10);
        let refuses = exchange.is(exchange::EXPECT);
        let no_body = is_head || bodiless(answer.status) && !tunnel;
        let length = match answer.status {
            _ if tunnel => Length::None,
            204 => Length::None,
            304 => answer.length.map_or(Length::None, Length::Exact),
            _ => match answer.length {
                Some(length) => Length::Exact(length),
                None if http10 => Length::None,
                None => Length::Chunked,
            },
        };
        let until_close = length == Length::None && !tunnel && !no_body;
        if refuses && !tunnel && self.refuse_rest(connection, id) {
            self.push_body(id, b"", false); // BODY events were announced: the host hears that none comes
        }
        let (_, mut persistence) = if tunnel {
            (0, Persistence::Default)
        } else {
            self.persistence(connection, slot, answer.close || until_close || refuses)
        };
        if answer.status == 101 {
            persistence = Persistence::Upgrade;
        }
        let date = self.date;
        let server = std::mem::take(&mut self.settings.server);
        let mut frame = std::mem::take(&mut self.frame);
        self.with_output(slot, |output, spare, exchange| {
            exchange.flags |= exchange::BEGUN;
            exchange.flags &= !exchange::EXPECT;
            exchange.length = answer.length;
            if tunnel {
                exchange.flags |= exchange::TUNNEL | exchange::CLOSE;
            } else if no_body {
                exchange.flags |= exchange::BODILESS;
            } else if length == Length::Chunked {
                exchange.flags |= exchange::CHUNKED;
            }
            let tail = output.tail(spare);
            let before = tail.len();
            let head = ResponseHead {
                status: answer.status,
                lines: &answer.lines,
                date: (!answer.seen.date).then_some(&date),
                server: (!answer.seen.server && !server.is_empty()).then_some(&server),
                content_type: answer.content_type,
                length,
                persistence,
            };
            if is_whole(head.lines) {
                append_whole(tail, head.lines, persistence);
            } else {
                frame.append_head(tail, &head);
            }
            let n = tail.len() - before;
            output.appended(n);
        });
        self.settings.server = server;
        self.frame = frame;
        if tunnel {
            self.open_tunnel(connection, id);
        }
        if answer.body.is_empty() || no_body {
            self.after_output(connection);
        }
        if !answer.body.is_empty() {
            self.write(id, answer.body);
        }
    }

    /// A piece of the body of a begun answer; the lease has counted it.
    pub fn write(&mut self, id: Id, body: Body<'_>) {
        let slot = id.slot();
        let Some(exchange) = self.exchanges.get_mut(slot, id.generation()) else { return };
        if exchange.is(exchange::ABORTED | exchange::SETTLED) || !exchange.is(exchange::BEGUN) {
            return;
        }
        let connection = exchange.connection;
        let len = body.len();
        if exchange.is(exchange::BODILESS) {
            // Taken, not sent.
            if self.leases.drained(slot, len, self.settings.low_water) {
                self.events.push(id, What::Writable);
            }
            return;
        }
        self.with_output(slot, |output, spare, exchange| {
            let chunked = exchange.is(exchange::CHUNKED);
            if chunked {
                with_tail(output, spare, |tail| append_chunk_size(tail, len as usize));
            }
            match body {
                Body::Copy(bytes) => output.push(bytes, spare),
                Body::Owned(bytes) => output.push_owned(bytes, spare),
                Body::Lent { bytes, .. } => output.push(bytes.bytes(), spare),
                Body::File { .. } | Body::Parts(_) | Body::Common(_) => {} // whole answers only
            }
            if chunked {
                output.push(b"\r\n", spare);
            }
            exchange.given += len;
            exchange.unsent += len;
        });
        self.after_output(connection);
    }

    /// The end of a begun answer.
    pub fn end(&mut self, id: Id, trailers: &[u8]) {
        let slot = id.slot();
        if PUSH && self.end_second_life(id) {
            return;
        }
        let Some(exchange) = self.exchanges.get_mut(slot, id.generation()) else { return };
        let short = exchange.length.is_some_and(|length| exchange.given < length)
            && !exchange.is(exchange::BODILESS | exchange::TUNNEL);
        if short || !exchange.is(exchange::BEGUN) {
            return self.abort(id);
        }
        let Some(connection) = self.settle(id) else { return };
        let close = self.refuse_rest(connection, id);
        self.with_output(slot, |output, spare, exchange| {
            if exchange.is(exchange::CHUNKED) {
                if trailers.is_empty() {
                    output.push(LAST_CHUNK, spare);
                } else {
                    with_tail(output, spare, |tail| {
                        tail.extend_from_slice(b"0\r\n");
                        tail.extend_from_slice(trailers);
                        tail.extend_from_slice(b"\r\n");
                    });
                }
            }
            exchange.flags |= exchange::ENDED;
            if close {
                exchange.flags |= exchange::CLOSE;
            }
        });
        self.pump(connection);
    }

    /// The host gives up: 500 if nothing of the answer went out, otherwise the connection is cut.
    pub fn abort(&mut self, id: Id) {
        let slot = id.slot();
        let Some(connection) = self.settle(id) else { return };
        let Some(exchange) = self.exchanges.at_mut(slot) else { return };
        let begun = exchange.is(exchange::BEGUN);
        if begun && exchange.is(exchange::IN_TURN) {
            exchange.flags |= exchange::ABORTED;
            exchange.end = End::Host;
            return self.cut(connection, End::Host);
        }
        exchange.flags |= exchange::ABORTED;
        exchange.end = End::Host;
        self.take_back(slot);
        let answer = Answer {
            status: 500,
            close: false,
            length: None,
            lines: Default::default(),
            seen: Seen::default(),
            content_type: Some(b"text/plain; charset=utf-8"),
            body: Body::Copy(b"500 the server gave no answer\n"),
        };
        self.send_whole(connection, id, answer);
    }

    /// An informational answer.
    pub fn inform(&mut self, id: Id, status: u16, lines: &[u8]) {
        let slot = id.slot();
        let Some(exchange) = self.exchanges.get_mut(slot, id.generation()) else { return };
        if exchange.is(exchange::ABORTED | exchange::SETTLED | exchange::BEGUN | exchange::HTTP10) {
            return;
        }
        let connection = exchange.connection;
        self.with_output(slot, |output, spare, exchange| {
            if status == 100 {
                exchange.flags &= !exchange::EXPECT;
            }
            with_tail(output, spare, |tail| {
                append_head(
                    tail,
                    &ResponseHead {
                        status,
                        lines,
                        date: None,
                        server: None,
                        content_type: None,
                        length: Length::None,
                        persistence: Persistence::Default,
                    },
                );
            });
        });
        self.after_output(connection);
    }

    /// Something was queued, perhaps.
    fn after_output(&mut self, connection: u32) {
        self.recharge(connection);
        self.make_dirty(connection);
        self.schedule(connection);
    }
}

/// Whether lines are a whole head: the name of a field has no '/'.
fn is_whole(lines: &[u8]) -> bool {
    lines.starts_with(b"HTTP/")
}

/// A head that somebody else has made, as far as it goes. That HTTP/1.0 closes need not be said, nor what was said.
fn append_whole(out: &mut Vec<u8>, lines: &[u8], persistence: Persistence) {
    out.extend_from_slice(lines);
    let said = |line: &[u8]| lines.windows(line.len()).any(|part| part == line);
    out.extend_from_slice(match persistence {
        Persistence::Close if !lines.starts_with(b"HTTP/1.0") && !said(b"\r\nConnection: close\r\n") => {
            b"Connection: close\r\n\r\n"
        }
        Persistence::KeepAlive => b"Connection: keep-alive\r\n\r\n",
        _ => b"\r\n",
    });
}

fn with_tail(output: &mut Output, spare: &mut Spare, append: impl FnOnce(&mut Vec<u8>)) {
    let tail = output.tail(spare);
    let before = tail.len();
    append(tail);
    let n = tail.len() - before;
    output.appended(n);
}
