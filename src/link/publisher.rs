//! Owns the task that publishes: one connection, on which messages go out one behind the other, without waiting for the
//! answers. Rules: a message leaves the queue by its answer alone; when the connection is lost, what was not answered is sent
//! again, or comes back where nothing may be sent twice.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::backoff::Backoff;
use super::door::Door;
use super::queue::{Item, Queue};
use super::response::{Answers, Fault};
use super::stream::{within, Stream};
use super::subscriber::{ANSWER, CONNECT};
use super::{is_passing, state, Link};
use crate::engine::word::{Letter, Topic, Word};
use crate::io::tasks::Timer;
use crate::push::location;

/// Bytes encoded ahead of what the socket takes.
const AHEAD: usize = 64 << 10;
/// Rounds of one turn, before other tasks have theirs.
const ROUNDS: u32 = 8;

pub struct Publisher {
    pub link: Rc<Link>,
    pub door: Arc<Door>,
}

/// What one connection has seen.
struct Session {
    stream: Stream,
    answers: Answers,
    /// When an answer must have come.
    timer: Timer,
    /// The last message that was answered; 0: none.
    settled: u64,
}

impl Publisher {
    pub async fn run(self) {
        let link = self.link.clone();
        let mut backoff = Backoff::new(link.retry_max);
        let mut up = None;
        loop {
            self.wait().await;
            let connect = Stream::connect(&link.reactor, &link.url, &link.names, link.trust.as_ref());
            let ended = match within(&link.reactor, CONNECT, "no connection in 10 seconds", connect).await {
                Ok(stream) => {
                    if up != Some(true) {
                        up = Some(true);
                        link.reactor.tell(self.word(state::UP));
                    }
                    self.publish(stream, &mut backoff).await
                }
                Err(why) => Err(why),
            };
            let lost = self.door.queue().lost();
            let last = lost.last().map(|item| item.number);
            for item in lost {
                self.give_back(item, 0);
            }
            self.report(last);
            let Err(why) = ended else { continue };
            if up != Some(false) {
                up = Some(false);
                let mut word = self.word(state::DOWN);
                word.text = why.into();
                link.reactor.tell(word);
            }
            let pause = backoff.pause(link.random());
            link.reactor.sleep_until(link.reactor.now().saturating_add(pause)).await;
        }
    }

    fn word(&self, code: i32) -> Box<Word> {
        Word::new(&self.door.owner, Topic::State(code))
    }

    /// Until there is something to be published.
    async fn wait(&self) {
        poll_fn(|context| loop {
            self.door.look();
            if !self.door.queue().is_empty() {
                return Poll::Ready(());
            }
            if self.link.published.poll(context).is_pending() {
                return Poll::Pending;
            }
        })
        .await
    }

    /// One connection, until it is of no more use. `Ok`: it ended while nobody waited for an answer.
    async fn publish(&self, stream: Stream, backoff: &mut Backoff) -> Result<(), Fault> {
        let timer = Timer::new(&self.link.reactor, u64::MAX);
        let mut session = Session { stream, answers: Answers::default(), timer, settled: 0 };
        poll_fn(|context| {
            for _ in 0..ROUNDS {
                match self.round(&mut session, context) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                    Poll::Pending => return Poll::Pending,
                }
                if session.settled > 0 {
                    backoff.succeeded();
                }
            }
            self.link.reactor.wake(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Sends, receives; true: there may be more to do, false: the connection has ended.
    fn round(&self, session: &mut Session, context: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let reactor = &self.link.reactor;
        let mut progress = self.link.published.poll(context).is_ready();
        self.door.look();
        let waiting = {
            let mut queue = self.door.queue();
            let before = queue.sent();
            while session.stream.unsent() < AHEAD {
                let Some(item) = queue.send() else { break };
                session.stream.queue(&self.request(item))?;
            }
            if before == 0 && queue.sent() > 0 {
                session.timer.set(reactor.now().saturating_add(ANSWER));
            }
            queue.sent() > 0
        };
        let unsent = session.stream.unsent();
        if let Poll::Ready(Err(why)) = session.stream.poll_send(context) {
            // What the server said last may tell why.
            let _ = self.receive(session, context);
            return Poll::Ready(Err(why));
        }
        if session.stream.unsent() < unsent {
            // A large message on a slow way: what it waits for is not the answer yet.
            session.timer.set(reactor.now().saturating_add(ANSWER));
        }
        // Messages that come back are events: who does not take them is not given more.
        if reactor.poll_room(context).is_ready() {
            match self.receive(session, context) {
                Poll::Ready(Ok(true)) => progress = true,
                Poll::Ready(other) => return Poll::Ready(other),
                Poll::Pending => {}
            }
        }
        if waiting && session.timer.poll(context).is_ready() {
            return Poll::Ready(Err("no answer in 30 seconds".into()));
        }
        match progress {
            true => Poll::Ready(Ok(true)),
            false => Poll::Pending,
        }
    }

    fn receive(&self, session: &mut Session, context: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let before = session.settled;
        let mut result = Ok(false);
        let Session { stream, answers, settled, .. } = session;
        let read = stream.poll_receive(context, &mut |bytes| {
            if matches!(result, Ok(false)) {
                result = answers.receive(bytes, &mut |status| self.answered(status, settled));
            }
        });
        let open = match read {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(open)) => open,
            Poll::Ready(Err(why)) => {
                // Answers may have come before what is wrong.
                if session.settled != before {
                    self.report(Some(session.settled));
                }
                return Poll::Ready(Err(why));
            }
        };
        if let (false, Some(status)) = (open, session.answers.end()) {
            result = result.and(self.answered(status, &mut session.settled).map(|()| true));
        }
        if session.settled != before {
            session.timer.set(self.link.reactor.now().saturating_add(ANSWER));
            self.report(Some(session.settled));
        }
        let over = result?;
        if over || !open {
            return Poll::Ready(match self.door.queue().sent() {
                0 => Ok(false),
                // It said so with its last answer, or it did not.
                _ if over => Ok(false),
                _ => Err("the server closed the connection".into()),
            });
        }
        Poll::Ready(Ok(true))
    }

    /// The oldest message on its way has its answer.
    fn answered(&self, status: u16, settled: &mut u64) -> Result<(), Fault> {
        if is_passing(status) && !self.link.once {
            return Err(format!("the server answered {status}").into());
        }
        let (item, relief) = {
            let mut queue = self.door.queue();
            let item = queue.answered();
            (item, queue.has_relief())
        };
        let Some(item) = item else { return Err("an answer that nobody asked for".into()) };
        *settled = item.number;
        if !(200..=299).contains(&status) {
            self.give_back(item, status);
        }
        if relief {
            self.link.reactor.tell(Word::new(&self.door.owner, Topic::Writable));
        }
        Ok(())
    }

    /// All up to this one have left the queue.
    fn report(&self, last: Option<u64>) {
        if let (true, Some(number)) = (self.link.reports, last) {
            let mut word = self.word(state::ACKED);
            word.number = number;
            word.last = true;
            self.link.reactor.tell(word);
        }
        let relief = last.is_some() && self.door.queue().has_relief();
        if relief {
            self.link.reactor.tell(Word::new(&self.door.owner, Topic::Writable));
        }
    }

    /// The host gets back what was not delivered, also where it has closed the link meanwhile.
    pub fn give_back(&self, item: Item, status: u16) {
        let mut word = self.word(state::RETURNED);
        let Item { number, channel, parts } = item;
        let texts = [&*channel, &parts.kind, &parts.from, &parts.event, &parts.key].map(str::as_bytes);
        word.letter = Some(Letter::new(texts, parts.data));
        word.number = number;
        word.status = status.into();
        word.last = true;
        self.link.reactor.tell(word);
    }

    fn request(&self, item: &Item) -> Vec<u8> {
        let parts = &item.parts;
        let mut request = Vec::with_capacity(parts.data.len() + 320);
        let mut add = |bytes: &[u8]| request.extend_from_slice(bytes);
        add(b"POST ");
        add(location::of(&self.link.url.prefix, &item.channel).as_bytes());
        add(b" HTTP/1.1\r\nHost: ");
        add(self.link.url.authority.as_bytes());
        add(b"\r\nUser-Agent: encke\r\n");
        add(&self.link.authorization(&parts.from));
        // The original refuses messages without a type.
        let kind = if parts.kind.trim().is_empty() { "application/octet-stream" } else { &parts.kind };
        for (name, value) in [("Content-Type", kind), ("Encke-Event", &*parts.event), ("Encke-Key", &*parts.key)] {
            if !value.is_empty() {
                add(name.as_bytes());
                add(b": ");
                add(value.as_bytes());
                add(b"\r\n");
            }
        }
        add(format!("Content-Length: {}\r\n\r\n", parts.data.len()).as_bytes());
        add(&parts.data);
        request
    }
}

/// Gives back everything that the queue of a link that ends still has.
pub fn give_back_all(publisher: &Publisher, queue: &mut Queue) {
    for item in queue.close() {
        publisher.give_back(item, 0);
    }
}
