//! Owns the virtual host of push: it subscribes, publishes, joins, leaves, kicks, talks, from its loops or as other threads
//! would, and keeps account of every subscriber. Rule: what a subscriber is to get is written down when the engine hears
//! of it, from the model alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::engine::answer::{Answer, Body};
use crate::engine::event::{self, Event, What};
use crate::engine::id::Id;
use crate::engine::lease::{Settle, Settled, Socket};
use crate::engine::mailbox::Submission;
use crate::engine::subscription::Subscription;
use crate::engine::{Engine, Error};
use crate::http1::response::Seen;
use crate::push::feed::{Filter, Transport};
use crate::push::hub::Hub;
use crate::push::message::Parts;
use crate::push::position::Position;

use super::super::driver::Driver;
use super::super::rng::{pattern, Rng};
use super::client::Book;
use super::model::{Message, Model, CHANNELS, PATTERNS};
use super::plan::Kind;
use super::session::Session;

#[derive(Debug)]
pub struct Host {
    pub sessions: Vec<Session>,
    pub by_id: HashMap<Id, usize>,
    pub by_key: HashMap<(usize, usize), usize>,
    pub hub: Arc<Hub>,
    /// What each engine has heard of the hub: the last number, and all.
    pub heard: Vec<u64>,
    pub delivered: Vec<BTreeSet<u64>>,
    pub drained: Vec<bool>,
    pub hurry: bool,
    pub publishes: u32,
    publish_at: u64,
    /// Memory is scarce: history goes before its time.
    pub tight: bool,
    /// Most of what is published is for one channel.
    pub crowd: bool,
    /// Most clients poll, and those polls often leave a channel.
    pub polls: bool,
    pub freed: Vec<bool>,
    pub trace: bool,
}

impl Host {
    pub fn new(
        hub: Arc<Hub>,
        engines: usize,
        publishes: u32,
        (tight, crowd, polls): (bool, bool, bool),
        now: u64,
        trace: bool,
    ) -> Host {
        Host {
            sessions: Vec::new(),
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            hub,
            heard: vec![0; engines],
            delivered: vec![BTreeSet::new(); engines],
            drained: vec![false; engines],
            hurry: false,
            publishes,
            publish_at: now,
            tight,
            crowd,
            polls,
            freed: vec![false; engines],
            trace,
        }
    }

    // ---- events ----------------------------------------------------------------------------------------------------

    pub fn event(&mut self, e: usize, event: Event, drivers: &mut [Driver], book: &Book, rng: &mut Rng) {
        let (id, driver) = (event.id, &mut drivers[e]);
        if self.trace {
            let what = match &event.what {
                What::Request(head) => format!("Request {}", String::from_utf8_lossy(head.text(head.target))),
                other => format!("{other:?}"),
            };
            println!("{:8} engine {e} event {:x} {what:.200}", driver.now, id.0);
        }
        let at = match event.what {
            What::Request(head) => {
                let target = std::str::from_utf8(head.text(head.target)).expect("our own target");
                let mut numbers = target.split('/').filter_map(|text| text.split('?').next()?.parse().ok());
                let key: (usize, usize) = numbers.next().zip(numbers.next()).expect("our own target");
                self.request(e, id, key, driver, book, rng);
                driver.engine.recycle_head(head);
                return;
            }
            What::Drained => {
                assert!(!std::mem::replace(&mut self.drained[e], true), "DRAINED twice");
                return;
            }
            What::Connection(_) => return,
            _ => *self.by_id.get(&id).unwrap_or_else(|| panic!("an event of {id:?}, which was never handed over")),
        };
        let subscribers = driver.engine.settings.wants(event::SUBSCRIBER);
        let session = &mut self.sessions[at];
        assert!(session.done.is_none() && session.closed.is_none(), "an event after the last: {:?}", event.what);
        assert_eq!(event.user, session.user, "ev.user of {:?}", event.what);
        let talk = &book.talk[&session.key];
        match event.what {
            What::Subscriber { channel, joined } => {
                assert!(subscribers && session.heard, "SUBSCRIBER of nobody");
                let known = session.joined.iter().position(|other| **other == *channel);
                match (joined, known) {
                    (true, None) => session.joined.push((&*channel).into()),
                    (false, Some(at)) => drop(session.joined.remove(at)),
                    _ => panic!("{channel}: joined {joined}, and before {:?}", session.joined),
                }
            }
            What::Message { opcode, data } => {
                assert!(session.heard && session.plan.is_socket(), "MESSAGE of no WebSocket");
                let sent = talk.sent.get(session.messages).expect("MESSAGE of nothing");
                assert!((opcode, &data) == (sent.0, &sent.1), "message {} arrived changed", session.messages);
                session.messages += 1;
            }
            What::Writable => {
                assert!(std::mem::take(&mut session.again), "WRITABLE without AGAIN");
                session.due = driver.now;
            }
            What::Closed(code) => {
                assert!(session.plan.is_socket() && session.settled, "CLOSED of no WebSocket");
                assert!(session.joined.is_empty(), "CLOSED before {:?} were left", session.joined);
                let drains = driver.engine.is_draining();
                let expected = match code {
                    _ if session.closes.contains(&code) => true,
                    _ if talk.closes == Some(code) || talk.breaks == Some(code) => true,
                    1001 => drains,
                    1006 => true,
                    1013 => session.heard,
                    1008 => driver.engine.settings.body_timeout < 1 << 20,
                    1009 => {
                        // Where memory is scarce nothing is inflated beyond it.
                        let settings = &driver.engine.settings;
                        let room =
                            if self.tight && session.plan.deflates { settings.max_memory / 32 } else { u64::MAX };
                        talk.sent.iter().any(|sent| sent.1.len() as u64 > settings.max_body.min(room))
                    }
                    _ => false,
                };
                assert!(expected, "CLOSED with {code}: {talk:?} {:?}", session.closes);
                (session.closed, session.again) = (Some(code), false);
            }
            What::Aborted(_) => {
                assert!(!session.settled, "ABORTED after the settle");
                session.aborted = true;
                session.due = driver.now;
            }
            What::HalfClosed => assert!(!session.settled, "HALF_CLOSED after the settle"),
            What::Done { code, .. } => {
                assert!(session.settled, "DONE before the settle");
                assert!(session.joined.is_empty(), "DONE before {:?} were left", session.joined);
                assert!(!session.is_open_socket(), "DONE of a WebSocket");
                session.done = Some(code);
            }
            other => panic!("{other:?}"),
        }
    }

    fn request(&mut self, e: usize, id: Id, key: (usize, usize), driver: &mut Driver, book: &Book, rng: &mut Rng) {
        let plan = book.plans[&key].clone();
        let mut session = Session::new(id, key, plan, e);
        session.due = driver.now + if self.hurry || rng.chance(50) { 0 } else { rng.below(800) };
        session.acts = if rng.chance(50) { rng.range(1, 10) as u32 } else { 0 };
        session.threaded = rng.chance(40);
        if rng.chance(50) {
            session.user = id.0 ^ 3;
            driver.engine.leases().set_user(id, session.user).expect("a fresh id");
        }
        assert_eq!(self.by_id.insert(id, self.sessions.len()), None, "an id was given out twice");
        assert_eq!(self.by_key.insert(key, self.sessions.len()), None, "a request was handed over twice");
        self.sessions.push(session);
    }

    // ---- what takes effect -----------------------------------------------------------------------------------------

    /// A submission takes effect.
    pub fn heard(&mut self, e: usize, engine: &mut Engine, submission: Submission, model: &mut Model) {
        if self.trace {
            let what = match &submission {
                Submission::Deliver(message) => format!("{} in {}", message.position.n, message.channel),
                other => format!("{other:?}"),
            };
            println!("{:8} engine {e} hears {what:.300}", engine.now());
        }
        match &submission {
            Submission::Deliver(message) => {
                let n = message.position.n;
                assert!(n > self.heard[e], "engine {e} hears {n} after {}", self.heard[e]);
                self.heard[e] = n;
                self.delivered[e].insert(n);
                let known = model.message(n).expect("published");
                assert!(known.data == message.parts.data && *known.channel == *message.channel);
                for session in self.sessions.iter_mut().filter(|session| session.live && session.engine == e) {
                    session.offer(n, model);
                }
            }
            Submission::Missed(n) => {
                assert!(self.tight && *n > self.heard[e], "{n} is missed, there was room for it");
                self.heard[e] = *n;
                for session in self.sessions.iter_mut().filter(|session| session.live && session.engine == e) {
                    session.missed = true;
                }
            }
            Submission::Subscribe { id, subscription } => {
                let at = self.by_id[id];
                if self.tight {
                    for name in CHANNELS {
                        let n = self.hub.facts(name).map_or(0, |facts| facts.messages);
                        model.shorten(name, n);
                    }
                }
                self.start(at, subscription, engine, model);
            }
            Submission::Accept { id, .. } => {
                let session = &mut self.sessions[self.by_id[id]];
                (session.heard, session.live, session.started_at) = (true, true, engine.now());
                session.last = model.last();
            }
            Submission::Join { id, patterns } => {
                let session = &mut self.sessions[self.by_id[id]];
                session.changed_at = engine.now();
                for pattern in patterns {
                    if !session.seats.iter().any(|seat| seat.0 == *pattern) {
                        if session.seats.is_empty() {
                            session.adopt(pattern, model);
                        }
                        session.sits(pattern, model);
                        session.seats.push((pattern.clone(), model.last()));
                    }
                }
            }
            Submission::Leave { id, pattern } => {
                let session = &mut self.sessions[self.by_id[id]];
                session.changed_at = engine.now();
                session.moved_on |= session.seats.first().is_some_and(|seat| seat.0 == *pattern);
                session.seats.retain(|seat| seat.0 != *pattern);
            }
            Submission::Kick { id } | Submission::Abort { id } => self.sessions[self.by_id[id]].kicked = true,
            Submission::Close { id, code, .. } => self.sessions[self.by_id[id]].closes.push(*code),
            Submission::Frames { id, .. } => {
                let session = &mut self.sessions[self.by_id[id]];
                session.unheard.pop_front();
                session.frames += 1;
            }
            _ => {}
        }
        engine.apply(submission);
    }

    fn start(&mut self, at: usize, subscription: &Subscription, engine: &Engine, model: &mut Model) {
        let session = &mut self.sessions[at];
        let since = session.plan.since;
        assert_eq!(subscription.since.is_some(), since.is_some() && session.plan.says == 3);
        let start = model.start(&subscription.patterns, since, engine.now());
        (session.heard, session.live, session.started_at) = (true, true, engine.now());
        session.last = start.last;
        for pattern in &subscription.patterns {
            if session.seats.is_empty() {
                session.adopt(pattern, model);
            }
            session.sits(pattern, model);
            session.seats.push((pattern.clone(), start.last));
        }
        let mut missed: Vec<u64> =
            start.missed.into_iter().filter(|n| session.plan.wants(&model.messages[*n as usize - 1])).collect();
        // The newest of it, within the backlog: one at least.
        let (mut bytes, mut kept) = (0, 0);
        for n in missed.iter().rev() {
            bytes += session.length(*n, model);
            kept += usize::from(bytes <= session.backlog);
        }
        let mut may = vec![start.whole];
        if session.plan.transport != Transport::LongPoll && kept.max(1) < missed.len() {
            missed.drain(..missed.len() - kept.max(1));
            may = vec![false];
        } else if start.doubtful {
            may.push(false);
        }
        session.told = since.map(|_| may);
        session.bytes = missed.iter().map(|n| session.length(*n, model)).sum();
        session.expected = missed;
    }

    // ---- doing -----------------------------------------------------------------------------------------------------

    pub fn next_due(&self) -> Option<u64> {
        let due = |session: &Session| {
            let may_act = session.live && session.acts > 0 && !session.is_over() && !session.again;
            let acts = (!session.settled || may_act).then_some(session.due);
            [acts, session.outbox.front().map(|entry| entry.0)].into_iter().flatten().min()
        };
        let sessions = self.sessions.iter().filter(|session| !self.freed[session.engine]).filter_map(due).min();
        let publish = (self.publishes > 0).then_some(self.publish_at);
        [sessions, publish].into_iter().flatten().min()
    }

    /// Nothing is kept back any more.
    pub fn finish(&mut self, now: u64) {
        (self.hurry, self.publishes) = (true, 0);
        for session in &mut self.sessions {
            session.due = session.due.min(now);
            session.acts = 0;
            for entry in &mut session.outbox {
                entry.0 = now;
            }
        }
    }

    pub fn step(&mut self, drivers: &mut [Driver], model: &mut Model, rng: &mut Rng) -> bool {
        let mut moved = false;
        let now = drivers[0].now;
        let early = rng.chance(50);
        if early {
            moved |= self.publish_some(drivers, model, rng);
        }
        for at in 0..self.sessions.len() {
            let session = &mut self.sessions[at];
            if self.freed[session.engine] {
                continue;
            }
            let mut crosses = false;
            while self.sessions[at].outbox.front().is_some_and(|entry| entry.0 <= now) && (self.hurry || rng.chance(80))
            {
                let session = &mut self.sessions[at];
                let Some((_, submission)) = session.outbox.pop_front() else { break };
                let e = session.engine;
                if self.publishes > 0 && rng.chance(20) {
                    // A message is on its way to the loop before it.
                    self.publishes -= 1;
                    self.publish(drivers, model, rng);
                }
                drivers[e].submit(submission).expect("the engine lives");
                moved = true;
                crosses |= self.publishes > 0 && rng.chance(20);
            }
            moved |= self.sessions[at].outbox.front().is_some_and(|entry| entry.0 <= now);
            if crosses && self.publishes > 0 {
                // A thread publishes before the loop has heard that.
                self.publishes -= 1;
                self.publish(drivers, model, rng);
            }
            let session = &mut self.sessions[at];
            if session.due <= now && !session.again {
                if !session.settled {
                    moved = true;
                    self.answer(at, drivers, model, rng);
                } else if session.live && session.acts > 0 && !session.is_over() {
                    moved = true;
                    self.act(at, drivers, model, rng);
                }
            }
        }
        if !early {
            moved |= self.publish_some(drivers, model, rng);
        }
        moved
    }

    fn publish_some(&mut self, drivers: &mut [Driver], model: &mut Model, rng: &mut Rng) -> bool {
        let now = drivers[0].now;
        if self.publishes == 0 || self.publish_at > now {
            return false;
        }
        let burst = if rng.chance(80) { 1 } else { rng.range(2, 20) as u32 };
        for _ in 0..burst.min(self.publishes) {
            self.publishes -= 1;
            self.publish(drivers, model, rng);
        }
        self.publish_at = now + if rng.chance(40) { 0 } else { rng.below(1500) };
        true
    }

    pub fn publish(&mut self, drivers: &mut [Driver], model: &mut Model, rng: &mut Rng) {
        let (n, at) = (model.last() + 1, drivers[0].now);
        let mut data = format!("{n}|").into_bytes();
        let filler = match rng.below(8) {
            0 => 0,
            1 => rng.below(6000) as usize,
            _ => rng.below(300) as usize,
        };
        match rng.below(6) {
            0 => data.extend(pattern(n, filler)),
            1 => data.extend("line\r\n\"q\" \\ ë\u{2028}\n\rend\t".bytes().cycle().take(25 * (filler / 25))),
            _ => data.extend((0..filler).map(|i| b'a' + ((i as u64 + n) % 26) as u8)),
        }
        let message = Message {
            n,
            channel: if self.crowd && rng.chance(70) { "a/1" } else { rng.pick(&CHANNELS) },
            at,
            kind: rng.pick(&["", "text/plain", "text/html", "image/png"]),
            from: rng.pick(&["", "zoe", "al"]),
            event: rng.pick(&["", "", "tick"]),
            key: rng.pick(&["", "k1", "k2"]),
            data,
        };
        let parts = Parts {
            kind: message.kind.into(),
            from: message.from.into(),
            event: message.event.into(),
            key: message.key.into(),
            data: message.data.clone(),
        };
        let channel = message.channel;
        if self.trace {
            println!("{at:8} publish {n} in {channel}, {} bytes", message.data.len());
        }
        let e = rng.below(drivers.len() as u64) as usize;
        if rng.chance(50) || self.freed[e] {
            model.publish(message);
            self.hub.publish(channel, parts, at, None);
            return;
        }
        self.speak(e, &mut drivers[e], model);
        model.publish(message);
        let awake = drivers[e].engine.hub().map(|(_, member)| *member);
        self.hub.publish(channel, parts, at, awake);
        drivers[e].after_publish(&mut |engine, submission| self.heard(e, engine, submission, model));
    }

    /// The loop thread is about to say something: what threads said before takes effect before.
    pub fn speak(&mut self, e: usize, driver: &mut Driver, model: &mut Model) {
        for submission in driver.before_answer() {
            self.heard(e, &mut driver.engine, submission, model);
        }
    }

    fn say(&mut self, at: usize, drivers: &mut [Driver], model: &mut Model, rng: &mut Rng, submission: Submission) {
        let session = &mut self.sessions[at];
        let e = session.engine;
        if session.threaded {
            let before = session.outbox.back().map_or(drivers[e].now, |entry| entry.0.max(drivers[e].now));
            let delay = if self.hurry || rng.chance(60) { 0 } else { rng.below(100) };
            // Another thread may be faster.
            if matches!(submission, Submission::Kick { .. }) && rng.chance(50) {
                drivers[e].submit(submission).expect("the engine lives");
            } else {
                session.outbox.push_back((before + delay, submission));
            }
            return;
        }
        self.speak(e, &mut drivers[e], model);
        self.heard(e, &mut drivers[e].engine, submission, model);
        drivers[e].after_answer();
    }

    fn answer(&mut self, at: usize, drivers: &mut [Driver], model: &mut Model, rng: &mut Rng) {
        let session = &mut self.sessions[at];
        let (id, plan) = (session.id, session.plan.clone());
        let leases = drivers[session.engine].engine.leases().clone();
        session.settled = true;
        session.due += if self.hurry { 0 } else { rng.below(1000) };
        let gives_up = rng.chance(3);
        let socket = match (plan.kind, plan.explicit && plan.transport != Transport::WebSocket) {
            (Kind::Socket, _) => Socket::Must,
            (_, true) => Socket::Never,
            _ => Socket::May,
        };
        let result = match plan.kind {
            _ if gives_up => leases.settle(id, Settle::Abort),
            Kind::Plain => leases.settle(id, Settle::Whole),
            _ => leases.settle_into_second(id, socket),
        };
        match result.expect("the first settle") {
            Settled::Gone => {
                assert!(session.aborted || drivers[session.engine].engine.has_events(), "gone without ABORTED");
                return self.say(at, drivers, model, rng, Submission::Settled { id });
            }
            Settled::Answer => assert!(!session.aborted, "ABORTED, but there is somebody to answer"),
        }
        for how in [Settle::Whole, Settle::End, Settle::Abort] {
            assert_eq!(leases.settle(id, how), Err(Error::Gone), "a second settle");
        }
        let submission = match plan.kind {
            _ if gives_up => Submission::Abort { id },
            Kind::Plain => {
                let body = Body::Owned(format!("plain {}/{}", plan.client, plan.n).into_bytes());
                let (lines, seen) = (Default::default(), Seen::default());
                let answer = Answer { status: 200, close: false, length: None, lines, seen, content_type: None, body };
                Submission::Respond { id, answer: Box::new(answer) }
            }
            Kind::Socket => Submission::Accept { id, lines: Vec::new() },
            Kind::Subscribe => {
                let filter = Filter { types: plan.types.into(), from: plan.from.into(), ..Filter::default() };
                let subscription = Subscription {
                    patterns: plan.patterns.clone(),
                    transport: (plan.explicit).then_some(plan.transport),
                    filter: (filter != Filter::default()).then(|| Box::new(filter)),
                    since: plan.since.filter(|_| plan.says == 3).map(|(epoch, n)| Position { epoch, n }),
                    timeout: plan.timeout,
                    cors: rng.chance(20),
                    lines: Vec::new(),
                    seen: Seen::default(),
                    bus: 0,
                };
                Submission::Subscribe { id, subscription: Box::new(subscription) }
            }
        };
        let threaded = session.threaded;
        self.say(at, drivers, model, rng, submission);
        if threaded && rng.chance(8) && leases.second(id).is_ok() {
            // Another thread kicks it before the loop has heard that it is one.
            self.say(at, drivers, model, rng, Submission::Kick { id });
        }
    }

    /// Something with a subscriber or a WebSocket.
    fn act(&mut self, at: usize, drivers: &mut [Driver], model: &mut Model, rng: &mut Rng) {
        let session = &mut self.sessions[at];
        session.acts -= 1;
        session.due = drivers[0].now + if rng.chance(30) { 0 } else { rng.below(1500) };
        let (id, driver) = (session.id, &mut drivers[session.engine]);
        let leases = driver.engine.leases().clone();
        let seated = driver.engine.is_subscribed(id) || driver.engine.is_socket(id);
        if leases.second(id).is_err() {
            assert!(!seated, "alive, and its id is over");
            session.acts = 0;
            return;
        }
        let socket = session.plan.is_socket();
        let polls = self.polls && session.plan.transport == Transport::LongPoll;
        match rng.below(20) {
            0 => self.say(at, drivers, model, rng, Submission::Kick { id }),
            1..=4 if session.plan.transport != Transport::LongPoll => {
                let patterns = vec![rng.pick(&PATTERNS).into()];
                self.say(at, drivers, model, rng, Submission::Join { id, patterns });
            }
            n if n == 5 || n == 6 || polls && n > 10 => {
                let pattern = match session.seats.is_empty() || rng.chance(20) {
                    true => rng.pick(&PATTERNS).into(),
                    false => session.seats[rng.below(session.seats.len() as u64) as usize].0.clone(),
                };
                self.say(at, drivers, model, rng, Submission::Leave { id, pattern });
            }
            7 if socket => {
                let code = rng.pick(&[1000, 1001, 3000]);
                match leases.second_of_socket(id).map(drop) {
                    Ok(()) => {
                        self.say(at, drivers, model, rng, Submission::Close { id, code, reason: "enough".into() })
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            8..=19 if socket => {
                let mut data = format!("h{}|", session.said).into_bytes();
                data.extend((0..rng.size() / 8).map(|i| b'a' + (i % 26) as u8));
                let frames = super::plan::frame(1, &data);
                let high = driver.engine.allowance;
                match leases.reserve_second(id, frames.len() as u64).map(drop) {
                    Ok(()) => {
                        session.said += 1;
                        session.unheard.push_back(frames.len() as u64);
                        self.say(at, drivers, model, rng, Submission::Frames { id, frames });
                    }
                    Err(Error::Again) => {
                        assert!(leases.queued(id.slot()) >= high, "AGAIN too early");
                        session.again = true;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            _ => {}
        }
    }
}
