//! Owns the task of one subscription: a connection of its own, made anew for ever, from where it ended. Rules: nothing is
//! read while the host does not take what came; what may have been missed is told.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use super::backoff::Backoff;
use super::connection::Connection;
use super::parts::Terms;
use super::reader::Reader;
use super::response::{parse, Fault, Head, Media};
use super::stream::{within, Stream};
use super::url::append_value;
use super::websocket::{Handshake, Socket};
use super::{is_passing, state, Link, Wish};
use crate::engine::word::{Owner, Topic, Word};
use crate::io::tasks::Reactor;
use crate::push::location;

/// Milliseconds for a connection, and for the head of the answer.
pub const CONNECT: u64 = 10_000;
pub const ANSWER: u64 = 30_000;

/// Who waits for what.
#[derive(Debug)]
pub struct Subscriber {
    pub link: Rc<Link>,
    pub owner: Arc<Owner>,
    pub channel: Arc<str>,
    /// Of the request, with its '?'.
    pub query: Box<str>,
    /// Where it goes on; empty: with what comes.
    pub position: Vec<u8>,
    /// A message was left out.
    pub left_out: bool,
    /// Milliseconds before it comes back, as the server wishes.
    pub retry: Option<u64>,
}

/// How an attempt ended.
enum Ended {
    Lost(Fault),
    /// With this status, and where the server points to.
    Refused(u16, Vec<u8>),
}

impl From<Fault> for Ended {
    fn from(why: Fault) -> Ended {
        Ended::Lost(why)
    }
}

/// Bytes that a task keeps, given back at its end.
struct Kept(Rc<Reactor>, usize);

impl Kept {
    fn now(&mut self, n: usize) -> Result<(), Fault> {
        let before = std::mem::replace(&mut self.1, n);
        if before != n && !self.0.keeps(before, n) {
            return Err("no memory for a message".into());
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.keeps(self.1, 0);
    }
}

fn query(wish: &Wish) -> Box<str> {
    let mut query = Vec::new();
    for (name, list) in [(&b"type="[..], &wish.types), (b"sender=", &wish.from)] {
        if !list.is_empty() {
            query.push(if query.is_empty() { b'?' } else { b'&' });
            query.extend_from_slice(name);
            append_value(list, &mut query);
        }
    }
    String::from_utf8(query).unwrap_or_default().into()
}

impl Subscriber {
    pub fn new(link: Rc<Link>, owner: Arc<Owner>, wish: Wish) -> Subscriber {
        let query = query(&wish);
        let Wish { channel, since: position, .. } = wish;
        Subscriber { link, owner, channel, query, position, left_out: false, retry: None }
    }

    pub async fn run(mut self) {
        let link = self.link.clone();
        let mut backoff = Backoff::new(link.retry_max);
        // It was connected before; at what time it was this time.
        let mut before = !self.position.is_empty();
        let mut up = None;
        let mut told = None;
        loop {
            let ended = match self.follow(&mut before, &mut up).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            let now = link.reactor.now();
            if let Some(since) = up.take() {
                backoff.held(now - since);
                told = None;
            }
            if let Some(retry) = self.retry {
                backoff.begin_with(retry);
            }
            let pause = match ended {
                Ended::Lost(why) => {
                    if told != Some(0) {
                        told = Some(0);
                        let mut word = self.word(state::DOWN);
                        word.text = why.into();
                        link.reactor.tell(word);
                    }
                    backoff.pause(link.random())
                }
                Ended::Refused(status, location) => {
                    if told != Some(status) {
                        told = Some(status);
                        let mut word = self.word(state::REFUSED);
                        word.status = status.into();
                        word.text = String::from_utf8(location).unwrap_or_default().into();
                        link.reactor.tell(word);
                    }
                    // So a server of events says that there is no more (HTML, 9.2.2).
                    if status == 204 && link.url.target.is_some() {
                        return;
                    }
                    match is_passing(status) {
                        true => backoff.pause(link.random()),
                        false => backoff.longest(link.random()),
                    }
                }
            };
            link.reactor.sleep_until(now.saturating_add(pause)).await;
        }
    }

    fn word(&self, code: i32) -> Box<Word> {
        let mut word = Word::new(&self.owner, Topic::State(code));
        word.channel = Some(self.channel.clone());
        word
    }

    /// One connection, from its beginning to its end.
    async fn follow(&mut self, before: &mut bool, up: &mut Option<u64>) -> Result<std::convert::Infallible, Ended> {
        let link = self.link.clone();
        let reactor = &link.reactor;
        // What it takes to begin is not kept for as long as it lasts: most of its life a subscription waits.
        let (mut connection, rest) = Box::pin(self.begin(before, up)).await?;
        let mut kept = Kept(reactor.clone(), 0);
        let mut over = self.receive(&mut connection.reader, &rest, &mut kept);
        let mut open = true;
        drop(rest);
        loop {
            connection.answer()?;
            match (over?, open) {
                (true, _) => return Err(Ended::Lost("the server ended the stream".into())),
                (_, false) => return Err(Ended::Lost("the server closed the connection".into())),
                _ => {}
            }
            poll_fn(|context| reactor.poll_room(context)).await;
            over = Ok(false);
            let Connection { stream, reader } = &mut connection;
            open = poll_fn(|context| {
                let open = stream.poll_receive(context, &mut |bytes| {
                    if matches!(over, Ok(false)) {
                        over = self.receive(reader, bytes, &mut kept);
                    }
                });
                let _ = stream.poll_send(context);
                open
            })
            .await?;
        }
    }

    fn request(&self, handshake: Option<&Handshake>) -> Vec<u8> {
        let url = &self.link.url;
        let mut request = Vec::with_capacity(256);
        request.extend_from_slice(b"GET ");
        match &url.target {
            Some(target) => request.extend_from_slice(target.as_bytes()),
            None => {
                request.extend_from_slice(location::of(&url.prefix, &self.channel).as_bytes());
                request.extend_from_slice(self.query.as_bytes());
            }
        }
        request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        request.extend_from_slice(url.authority.as_bytes());
        request.extend_from_slice(b"\r\nUser-Agent: encke\r\n");
        request.extend_from_slice(match handshake {
            Some(_) => b"",
            // A bus is asked for parts alone; of others nobody knows what they have.
            None if url.target.is_none() => b"Accept: multipart/x-mixed-replace\r\n",
            None => b"Accept: multipart/x-mixed-replace, text/event-stream\r\nCache-Control: no-store\r\n",
        });
        if let Some(handshake) = handshake {
            request.extend_from_slice(handshake.fields(&self.link.protocol).as_bytes());
        }
        request.extend_from_slice(&self.link.authorization(""));
        if !self.position.is_empty() {
            request.extend_from_slice(b"Last-Event-ID: ");
            request.extend_from_slice(&self.position);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// Connects and asks; the other end agreed, and what that means is told. With the first bytes of the stream.
    async fn begin(&mut self, before: &mut bool, up: &mut Option<u64>) -> Result<(Connection, Vec<u8>), Ended> {
        let link = self.link.clone();
        let reactor = &link.reactor;
        let connect = Stream::connect(reactor, &link.url, &link.names, link.trust.as_ref());
        let mut stream = within(reactor, CONNECT, "no connection in 10 seconds", connect).await?;
        let handshake = if link.url.websocket { Some(Handshake::new()?) } else { None };
        stream.queue(&self.request(handshake.as_ref()))?;
        let asked = ask(&mut stream, handshake.is_some());
        let (head, rest) = within(reactor, ANSWER, "no answer in 30 seconds", asked).await?;
        let reader = self.reader(&head, handshake)?;
        *up = Some(reactor.now());
        poll_fn(|context| reactor.poll_room(context)).await;
        reactor.tell(self.word(state::UP));
        let whole = !self.position.is_empty() && head.recovered == Some(true);
        let left_out = std::mem::take(&mut self.left_out);
        if std::mem::replace(before, true) && (!whole || left_out) {
            reactor.tell(self.word(state::GAP));
        }
        // Who was given everything goes on from what comes of it, not from where the stream is now. Who says nothing of
        // positions but in its events may have understood ours all the same.
        if !whole && (head.media != Media::Events || !head.position.is_empty()) {
            self.position = head.position;
        }
        Ok((Connection { stream, reader }, rest))
    }

    /// What is to be read behind this answer, if it is one to what was asked.
    fn reader(&self, head: &Head, handshake: Option<Handshake>) -> Result<Reader, Ended> {
        match (handshake, head.status) {
            (Some(handshake), 101) => {
                handshake.check(head, &self.link.protocol)?;
                return Ok(Reader::Socket(Box::new(Socket::new(&head.upgrade.protocol))));
            }
            (Some(_), 200) => return Err(Ended::Lost("the answer is no WebSocket: is there one at this URL?".into())),
            (None, 200) => {}
            (_, status) => return Err(Ended::Refused(status, head.location.clone())),
        }
        if head.coded {
            return Err(Ended::Lost("the answer has a content coding that nobody asked for".into()));
        }
        let goes_on = if head.position.is_empty() { &self.position } else { &head.position };
        Reader::of(head, goes_on).ok_or(Ended::Lost(match self.link.url.target {
            Some(_) => "the answer is neither multipart/x-mixed-replace nor text/event-stream".into(),
            None => "the answer is no multipart/x-mixed-replace: is there a bus at this URL?".into(),
        }))
    }

    /// Takes some of the stream; true: it has ended.
    fn receive(&mut self, reader: &mut Reader, bytes: &[u8], kept: &mut Kept) -> Result<bool, Fault> {
        let Subscriber { link, owner, channel, position, .. } = self;
        let terms = Terms { channel, prefix: &link.url.prefix, max_message: link.max_message };
        let over = reader.receive(bytes, &terms, &mut |part| {
            if !part.position.is_empty() {
                *position = part.position;
            }
            let mut word = Word::new(owner, Topic::Message);
            word.letter = Some(part.letter);
            link.reactor.tell(word);
        });
        match reader {
            Reader::Parts(parts) if !parts.refused.is_empty() => {
                // Asked for again it would be refused again, for ever.
                self.position = std::mem::take(&mut parts.refused);
                self.left_out = true;
            }
            Reader::Events(both) => {
                let events = &mut both.1;
                self.retry = events.retry;
                if self.position != events.last_id {
                    self.position.clone_from(&events.last_id);
                }
                if std::mem::take(&mut events.left_out) {
                    self.link.reactor.tell(self.word(state::GAP));
                }
            }
            _ => {}
        }
        let over = over?;
        kept.now(reader.kept())?;
        Ok(over)
    }
}

/// Sends what is queued and reads the head of the answer; with what came behind it.
async fn ask(stream: &mut Stream, switching: bool) -> Result<(Head, Vec<u8>), Fault> {
    let mut kept = Vec::new();
    loop {
        let open = poll_fn(|context| {
            if let std::task::Poll::Ready(Err(why)) = stream.poll_send(context) {
                return std::task::Poll::Ready(Err(why));
            }
            stream.poll_receive(context, &mut |bytes| kept.extend_from_slice(bytes))
        })
        .await?;
        if let Some((head, n)) = parse(&kept, switching)? {
            kept.drain(..n);
            return Ok((head, kept));
        }
        if !open {
            return Err("the server closed the connection without an answer".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::tasks::Signal;
    use crate::link::url::parse;
    use std::cell::Cell;
    use std::sync::atomic::AtomicU64;

    /// There may be tens of thousands of them.
    #[test]
    fn a_subscription_is_small() {
        let link = Rc::new(Link {
            reactor: Rc::default(),
            url: parse("", false).unwrap(),
            protocol: "".into(),
            names: Rc::default(),
            trust: None,
            user: "".into(),
            password: "".into(),
            retry_max: 0,
            max_message: 0,
            reports: false,
            once: false,
            published: Signal::default(),
            random: Cell::new(0),
        });
        let owner = Owner::new(crate::engine::id::Id(1), Arc::new(AtomicU64::new(0)));
        let subscriber = Subscriber::new(link, owner, Wish::default());
        let size = size_of_val(&subscriber.run());
        assert!(size <= 1024, "{size} bytes");
    }
}
