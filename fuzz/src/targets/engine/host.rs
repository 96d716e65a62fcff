//! Owns the host: what it holds, what it said, and the contract of every event (L1 to L6, F3, F5 in encke.h). Rule: every
//! event and every result is checked the moment it comes.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, OnceLock};

use encke::engine::answer::{Answer, Body};
use encke::engine::event::{self, Event, What};
use encke::engine::head;
use encke::engine::id::Id;
use encke::engine::lease::{Leases, Settle, Settled};
use encke::engine::mailbox::Submission;
use encke::engine::settings::Settings;
use encke::engine::Error;
use encke::http1::response::Seen;

use crate::answers::Asked;
use crate::bytes::{pattern, Bytes};
use crate::driver::Driver;
use crate::engine::Engine;
use crate::reference::Limits;

use super::client::Client;
use super::record::{Loan, Record, Said};
use super::say;

/// Bytes that the host gives in all to one answer, and at once.
const MOST_GIVEN: usize = 200_000;
const MOST_AT_ONCE: usize = 40_000;

pub struct Host {
    pub records: Vec<Record>,
    by_id: HashMap<Id, usize>,
    leases: Arc<Leases>,
    pub limits: Limits,
    pub held: u64,
    pub max_held: u64,
    pub drained: bool,
    open_connections: i64,
    /// Everything is answered as soon as it can be.
    pub hurry: bool,
    /// It has done something that keeps a request from its answer.
    pub unruly: bool,
    /// Said by threads, not heard yet.
    in_mailbox: VecDeque<Id>,
    cookies: u64,
}

fn a_file() -> (File, &'static [u8]) {
    static FILE: OnceLock<(File, Vec<u8>)> = OnceLock::new();
    let (file, content) = FILE.get_or_init(|| {
        // It has no name, so nobody can change it.
        let path = std::env::temp_dir().join(format!("encke-fuzz-{}", std::process::id()));
        let content = pattern(3, 30_000);
        std::fs::write(&path, &content).expect("a temporary file");
        let file = File::open(&path).expect("the file just written");
        std::fs::remove_file(&path).expect("removing it");
        (file, content)
    });
    (file.try_clone().expect("another fd"), content)
}

impl Host {
    pub fn new(leases: Arc<Leases>, max_held: u64, limits: Limits) -> Host {
        Host {
            records: Vec::new(),
            by_id: HashMap::new(),
            leases,
            limits,
            held: 0,
            max_held,
            drained: false,
            open_connections: 0,
            hurry: false,
            unruly: false,
            in_mailbox: VecDeque::new(),
            cookies: 0,
        }
    }

    pub fn unsettled(&self) -> usize {
        self.records.iter().filter(|record| !record.settled).count()
    }

    /// Bytes of the heads that the host still has.
    pub fn heads(&self) -> u64 {
        self.records.iter().filter(|record| !record.settle_heard).map(|record| record.head_size).sum()
    }

    // ---- events ----------------------------------------------------------------------------------------------------

    pub fn event(&mut self, event: Event, driver: &mut Driver, clients: &mut [Client]) {
        let id = event.id;
        say!("event of {:x}: {:.200}", id.0, format!("{:?}", event.what));
        let at = match event.what {
            What::Request(head) => return self.request(*head, driver, clients),
            What::Drained => {
                assert!(!std::mem::replace(&mut self.drained, true), "DRAINED twice");
                assert_eq!(driver.engine.connections(), 0, "DRAINED with open connections");
                return;
            }
            What::Connection(open) => {
                self.open_connections += if open { 1 } else { -1 };
                assert!(self.open_connections >= 0, "a connection is over that never was");
                return;
            }
            What::Listener(_) => panic!("no listener was in trouble"),
            _ => *self.by_id.get(&id).unwrap_or_else(|| panic!("an event of {id:?}, which was never handed over")),
        };
        let record = &mut self.records[at];
        assert!(record.done.is_none(), "an event after DONE");
        assert_eq!(event.user, record.user, "ev.user");
        match event.what {
            What::Body { data, more } => {
                assert!(!record.settled && record.aborted.is_none(), "BODY of a request that is over");
                record.unacked += data.len() as u64;
                let settings = &driver.engine.settings;
                let most = settings.body_window.max(settings.buffer_body as u64 + (64 << 10));
                assert!(record.unacked <= most, "{} un-acked bytes, {most} are the most", record.unacked);
                record.got.extend_from_slice(&data);
                record.check_body(&clients[record.client], more);
                driver.engine.recycle_buffer(data);
            }
            What::Writable => {
                assert!(!record.settled && record.aborted.is_none(), "WRITABLE of a request that is over");
                assert!(record.writables > 0, "WRITABLE without AGAIN");
                record.writables -= 1;
                record.again = false;
            }
            What::HalfClosed => {
                assert!(!record.settled, "HALF_CLOSED after the settle");
                assert!(!std::mem::replace(&mut record.half_closed, true), "HALF_CLOSED twice");
            }
            What::Aborted(end) => {
                assert!(record.aborted.is_none(), "ABORTED twice");
                assert!(!record.settled, "ABORTED after the settle");
                record.aborted = Some(end);
                record.again = false;
            }
            What::Released { cookie } => {
                let (lent, bytes) = record.loan.take().expect("RELEASED without a loan");
                assert_eq!(lent, cookie);
                assert_eq!(Arc::strong_count(&bytes), 1, "RELEASED while the library still holds the buffer");
            }
            What::Done { code, len } => {
                assert!(record.settled, "DONE before the settle");
                assert!(record.loan.is_none(), "DONE before RELEASED");
                let given = record.said.as_ref().map_or(30, |said| said.body.len() as u64).max(30);
                assert!(len <= given, "DONE counts {len} of {given} bytes");
                record.done = Some((code, len));
            }
            _ => unreachable!("handled above"),
        }
    }

    fn request(&mut self, head: head::Head, driver: &mut Driver, clients: &mut [Client]) {
        let id = head.id;
        assert!(self.held < self.max_held, "a request beyond MAX_HELD");
        assert!(self.leases.alive(id));
        let slot = head.connection.slot();
        assert_eq!(driver.engine.connection_id(slot), head.connection);
        assert_eq!(head.listener, driver.listener);
        let client = clients.iter().position(|client| driver.connection_of(client.pipe) == Some(slot));
        let client = client.expect("a connection of somebody");
        let at = self.records.len();
        let n = clients[client].asked.len();
        clients[client].delivered(at, &head, &self.limits);
        let follows = head.flags & head::BODY_FOLLOWS != 0;
        let settings = &driver.engine.settings;
        if !follows {
            assert!(head.body().len() <= settings.buffer_body && head.body().len() as u64 <= settings.max_body);
        }
        let method = head.text(head.method);
        let says = |option: &[u8]| {
            let values = head.fields.iter().filter(|field| head.text(field.name) == b"connection");
            let mut options = values.flat_map(|field| head.text(field.value).split(|b| *b == b','));
            options.any(|o| crate::reference::trim(o).eq_ignore_ascii_case(option))
        };
        let http10 = head.version == 10;
        self.held += 1;
        let again = self.by_id.insert(id, at);
        assert_eq!(again, None, "{id:?} was handed over twice");
        self.records.push(Record {
            id,
            client,
            n,
            asked: Asked { head: method == b"HEAD", connect: method == b"CONNECT" },
            http10,
            upgrade: head.flags & head::UPGRADE != 0 && method != b"CONNECT",
            keep_alive: !says(b"close") && (!http10 || says(b"keep-alive")),
            head_size: head.bytes.len() as u64,
            threaded: false,
            follows,
            body_over: !follows,
            expects: head.flags & head::EXPECT != 0,
            refused: false,
            tunnel_over: false,
            got: Vec::new(),
            unacked: 0,
            informs: Vec::new(),
            said: None,
            given_up: false,
            again: false,
            writables: 0,
            half_closed: false,
            settled: false,
            settle_heard: false,
            settled_gone: false,
            aborted: None,
            done: None,
            loan: None,
            user: 0,
        });
        driver.engine.recycle_head(Box::new(head));
    }

    // ---- what it says ----------------------------------------------------------------------------------------------

    /// Says something to the engine whose lease was asked.
    fn say(&mut self, at: usize, driver: &mut Driver, submission: Submission) {
        if self.records[at].threaded {
            self.in_mailbox.push_back(self.records[at].id);
            driver.submit(submission).expect("the engine lives");
            return;
        }
        self.speak(driver);
        self.apply(&mut driver.engine, submission);
        driver.after_answer();
    }

    /// The loop thread is about to say something: what threads said before takes effect before.
    pub fn speak(&mut self, driver: &mut Driver) {
        for submission in driver.before_answer() {
            self.heard(&mut driver.engine, submission);
        }
    }

    /// A submission of a thread takes effect.
    pub fn heard(&mut self, engine: &mut Engine, submission: Submission) {
        assert_eq!(self.in_mailbox.pop_front(), Some(id_of(&submission)));
        self.apply(engine, submission);
    }

    fn apply(&mut self, engine: &mut Engine, submission: Submission) {
        let settles = matches!(
            submission,
            Submission::Respond { .. } | Submission::End { .. } | Submission::Abort { .. } | Submission::Settled { .. }
        );
        if settles {
            self.settle_heard(id_of(&submission));
        }
        say!("engine hears {:.200}", format!("{submission:?}"));
        engine.apply(submission);
    }

    fn settle_heard(&mut self, id: Id) {
        self.held -= 1;
        self.records[self.by_id[&id]].settle_heard = true;
    }

    /// One call of the host, on a request that the input chooses.
    pub fn act(&mut self, verb: u8, input: &mut Bytes<'_>, driver: &mut Driver) {
        if self.records.is_empty() {
            return;
        }
        let back = input.u8() as usize;
        // Counted from the newest, mostly among those that it holds.
        let held: Vec<usize> = (0..self.records.len()).filter(|at| !self.records[*at].settled).collect();
        let at = match held.len() {
            n if n > 0 && back < 224 => held[n - 1 - back % n],
            _ => self.records.len() - 1 - back % self.records.len(),
        };
        if verb & 128 != 0 {
            self.records[at].threaded = true;
        }
        match verb % 16 {
            0..=4 => self.whole(at, verb % 16, input, driver),
            5..=7 => self.begin(at, input, driver),
            8 | 9 => self.write(at, a_size(input), driver),
            10 => self.end(at, input.flag(), driver),
            11 => self.abort(at, driver),
            12 => self.inform(at, input.pick(&[100, 102, 103]), driver),
            13 => self.ack(at, input.u16() as u64, driver),
            14 => self.write(at, 0, driver),
            _ => self.set_user(at, input.u8() as u64),
        }
    }

    /// Whether the peer may be gone although ABORTED was not seen yet.
    fn may_be_gone(&self, at: usize, driver: &Driver) -> bool {
        self.records[at].aborted.is_some() || driver.engine.has_events()
    }

    fn is_begun(&self, at: usize) -> bool {
        self.records[at].said.as_ref().is_some_and(|said| said.begun)
    }

    /// Asks the lease. True: there is somebody to answer.
    fn settle(&mut self, at: usize, how: Settle, driver: &mut Driver) -> bool {
        let id = self.records[at].id;
        let result = self.leases.settle(id, how);
        let begun = self.is_begun(at);
        if self.records[at].settled {
            assert_eq!(result, Err(Error::Gone), "a second settle");
            return false;
        }
        let wrong = match how {
            Settle::Whole => begun,
            Settle::End => !begun,
            Settle::Abort => false,
        };
        if result == Err(Error::State) {
            assert!(wrong && self.records[at].aborted.is_none(), "STATE");
            return false;
        }
        let settled = result.expect("the first settle");
        let record = &mut self.records[at];
        record.settled = true;
        record.again = false;
        for how in [Settle::Whole, Settle::End, Settle::Abort] {
            assert_eq!(self.leases.settle(id, how), Err(Error::Gone), "a second settle");
        }
        assert_eq!(self.leases.reserve(id, 0).err(), Some(Error::Gone));
        assert!(!self.leases.alive(id));
        match settled {
            Settled::Answer => {
                assert!(!wrong, "taken in the wrong state");
                assert!(self.records[at].aborted.is_none(), "ABORTED, but there is somebody to answer");
                true
            }
            Settled::Gone => {
                assert!(self.may_be_gone(at, driver), "gone without ABORTED");
                self.records[at].settled_gone = true;
                self.say(at, driver, Submission::Settled { id });
                false
            }
        }
    }

    fn lines(at: usize) -> Vec<u8> {
        format!("X-Id: {at}\r\n").into_bytes()
    }

    fn whole(&mut self, at: usize, giving: u8, input: &mut Bytes<'_>, driver: &mut Driver) {
        let choice = input.u8();
        let status = [200, 200, 404, 204, 304, 299][choice as usize % 6];
        let close = choice >= 224;
        let bytes = pattern(at as u64, a_size(input));
        self.answer(at, giving, status, close, bytes, driver);
    }

    fn answer(&mut self, at: usize, giving: u8, status: u16, close: bool, mut bytes: Vec<u8>, driver: &mut Driver) {
        if !self.settle(at, Settle::Whole, driver) {
            return;
        }
        self.cookies += 1;
        let cookie = self.cookies;
        let record = &mut self.records[at];
        let id = record.id;
        let mut whole = true;
        let body = match giving {
            1 => Body::Owned(bytes.clone()),
            2 => {
                let shared = Arc::new(bytes.clone());
                record.loan = Some((cookie, shared.clone()));
                Body::Lent { bytes: Box::new(Loan(shared)), cookie }
            }
            3 => {
                let (file, content) = a_file();
                let offset = bytes.len() % content.len();
                let left = (content.len() - offset).min(bytes.len());
                bytes = content[offset..offset + left].to_vec();
                // At times it has become shorter since its size was asked for.
                let missing = u64::from(status == 404);
                whole = missing == 0;
                self.unruly |= !whole;
                Body::File {
                    file,
                    offset: if whole { offset } else { content.len() - left } as u64,
                    len: left as u64 + missing,
                }
            }
            _ => Body::Owned(bytes.clone()),
        };
        if let (Body::File { offset, len, .. }, false) = (&body, whole) {
            bytes = a_file().1[*offset as usize..].to_vec();
            assert_eq!(bytes.len() as u64 + 1, *len);
        }
        let tunnel = record.asked.connect && (200..300).contains(&status);
        record.said = Some(Said {
            status,
            body: bytes.clone(),
            begun: false,
            length: None,
            whole,
            trailers: false,
            tunnel,
            close,
        });
        let (length, seen, content_type) = (None, Seen::default(), None);
        let lines = Self::lines(at);
        if giving != 0 && giving != 4 || record.threaded {
            let lines = Cow::Owned(lines);
            let answer = Box::new(Answer { status, close, length, lines, seen, content_type, body });
            return self.say(at, driver, Submission::Respond { id, answer });
        }
        self.speak(driver);
        self.settle_heard(id);
        let (lines, body) = (Cow::Borrowed(&lines[..]), Body::Copy(&bytes));
        say!("engine hears of {:x}: {status}, {} bytes", id.0, bytes.len());
        driver.engine.respond(id, Answer { status, close, length, lines, seen, content_type, body });
        driver.after_answer();
    }

    fn begin(&mut self, at: usize, input: &mut Bytes<'_>, driver: &mut Driver) {
        let choice = input.u8();
        let mut status = [200, 200, 404, 204, 304, 101][choice as usize % 6];
        if self.records[at].asked.connect && choice & 64 != 0 {
            status = 200;
        }
        let close = choice >= 224;
        let first = pattern(at as u64, if choice & 8 != 0 { a_size(input) } else { 0 });
        let length = (choice & 16 != 0).then(|| first.len() as u64 + u64::from(input.u8()));
        let leases = self.leases.clone();
        let id = self.records[at].id;
        let record = &self.records[at];
        let tunnel = status == 101 || record.asked.connect && (200..300).contains(&status);
        let pin = match leases.begin(id, length, first.len() as u64, status == 101) {
            Ok(pin) => {
                assert!(!record.settled && record.aborted.is_none() && !self.is_begun(at));
                pin
            }
            Err(Error::State) => return assert!(self.is_begun(at)),
            Err(Error::Gone) => return assert!(record.settled || self.may_be_gone(at, driver)),
            Err(Error::Invalid(_)) => return assert!(status == 101 && !record.upgrade),
            Err(other) => panic!("begin: {other:?}"),
        };
        let body = Body::Owned(first.clone());
        let (seen, content_type) = (Seen::default(), None);
        let lines = Cow::Owned(Self::lines(at));
        let answer = Box::new(Answer { status, close, length, lines, seen, content_type, body });
        let record = &mut self.records[at];
        record.said =
            Some(Said { status, body: first, begun: true, length, whole: false, trailers: false, tunnel, close });
        self.say(at, driver, Submission::Begin { id, answer });
        leases.begun(&pin);
    }

    fn write(&mut self, at: usize, n: usize, driver: &mut Driver) {
        let record = &self.records[at];
        let (id, begun) = (record.id, self.is_begun(at));
        if record.said.as_ref().is_some_and(|said| said.body.len() + n > MOST_GIVEN) {
            return;
        }
        match self.leases.reserve(id, n as u64).map(drop) {
            Ok(()) => {
                assert!(!record.settled && record.aborted.is_none() && (begun || n == 0));
                self.records[at].again = false;
            }
            Err(Error::Again) => {
                assert!(!record.settled && record.aborted.is_none());
                let record = &mut self.records[at];
                record.writables += u32::from(!record.again);
                record.again = true;
                return;
            }
            Err(Error::State) => return assert!(n > 0 && !begun),
            Err(Error::Gone) => return assert!(record.settled || self.may_be_gone(at, driver)),
            Err(Error::Invalid(_)) => {
                let said = record.said.as_ref().expect("begun");
                return assert!(said.length.is_some_and(|length| (said.body.len() + n) as u64 > length));
            }
            Err(other) => panic!("write: {other:?}"),
        }
        let Some(said) = self.records[at].said.as_mut().filter(|_| n > 0) else { return };
        let data = pattern(said.body.len() as u64, n);
        said.body.extend_from_slice(&data);
        self.say(at, driver, Submission::Write { id, data });
    }

    fn end(&mut self, at: usize, trailers: bool, driver: &mut Driver) {
        if !self.settle(at, Settle::End, driver) {
            return;
        }
        let record = &mut self.records[at];
        let said = record.said.as_mut().expect("begun");
        let bodiless = record.asked.head || matches!(said.status, 204 | 304) || said.tunnel;
        let short = said.length.is_some_and(|length| (said.body.len() as u64) < length) && !bodiless;
        said.whole = !short;
        said.trailers = trailers;
        record.given_up |= short;
        self.unruly |= short;
        let trailers = if trailers { b"X-Sum: 1\r\n".to_vec() } else { Vec::new() };
        let id = self.records[at].id;
        self.say(at, driver, Submission::End { id, trailers });
    }

    fn abort(&mut self, at: usize, driver: &mut Driver) {
        if self.settle(at, Settle::Abort, driver) {
            self.records[at].given_up = true;
            self.unruly = true;
            let id = self.records[at].id;
            self.say(at, driver, Submission::Abort { id });
        }
    }

    fn inform(&mut self, at: usize, status: u16, driver: &mut Driver) {
        let record = &self.records[at];
        let id = record.id;
        match self.leases.inform(id).map(drop) {
            Ok(()) => assert!(!record.settled && record.aborted.is_none() && !self.is_begun(at)),
            Err(Error::State) => return assert!(self.is_begun(at)),
            Err(Error::Gone) => return assert!(record.settled || self.may_be_gone(at, driver)),
            Err(other) => panic!("inform: {other:?}"),
        }
        if !record.http10 {
            self.records[at].informs.push(status);
        }
        self.say(at, driver, Submission::Inform { id, status, lines: b"X-Inform: 1\r\n".to_vec() });
    }

    fn ack(&mut self, at: usize, n: u64, driver: &mut Driver) {
        let record = &mut self.records[at];
        let id = record.id;
        match self.leases.present(id).map(drop) {
            Ok(()) => assert!(!record.settled && record.aborted.is_none()),
            Err(Error::Gone) => {
                let settled = record.settled;
                return assert!(settled || self.may_be_gone(at, driver));
            }
            Err(other) => panic!("ack: {other:?}"),
        }
        // Not more than it got: that is for the host to keep.
        let n = n.min(record.unacked);
        record.unacked -= n;
        if n > 0 {
            self.say(at, driver, Submission::Ack { id, n });
        }
    }

    fn set_user(&mut self, at: usize, user: u64) {
        let record = &mut self.records[at];
        match self.leases.set_user(record.id, user) {
            Ok(()) => {
                assert!(!record.settled);
                record.user = user;
            }
            Err(error) => assert!(error == Error::Gone && record.settled),
        }
    }

    /// Answers everything that can be answered. True: something was done.
    pub fn hurry_on(&mut self, driver: &mut Driver) -> bool {
        let mut moved = false;
        for at in 0..self.records.len() {
            let record = &self.records[at];
            if record.settled {
                continue;
            }
            if record.unacked > 0 && record.aborted.is_none() {
                moved = true;
                self.ack(at, u64::MAX, driver);
            }
            let record = &self.records[at];
            if record.aborted.is_some() {
                self.abort(at, driver);
                moved = true;
                continue;
            }
            match &record.said {
                None => {
                    moved = true;
                    self.answer(at, 0, 200, false, b"late".to_vec(), driver);
                }
                Some(said) => {
                    let given = said.body.len() as u64;
                    let left = said.length.map_or(0, |length| length - given);
                    if left > 0 && given < MOST_GIVEN as u64 && !record.again {
                        self.write(at, left as usize, driver);
                    }
                    if !self.records[at].again {
                        moved = true;
                        self.end(at, false, driver);
                    }
                }
            }
        }
        moved
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// After everything: every request settled and done, nothing owed.
    pub fn check_end(&self, settings: &Settings) {
        assert_eq!(self.held, 0);
        assert!(self.in_mailbox.is_empty());
        for record in &self.records {
            assert!(record.settled && record.settle_heard, "{:?} was never settled", record.id);
            assert!(record.loan.is_none(), "{:?}: RELEASED is missing", record.id);
            assert!(!record.again, "{:?}: AGAIN without WRITABLE or ABORTED", record.id);
            assert_eq!(record.done.is_some(), settings.wants(event::DONE), "{:?}: DONE", record.id);
        }
        if settings.wants(event::CONNECTION) {
            assert_eq!(self.open_connections, 0, "CONNECTION events");
        }
    }
}

fn a_size(input: &mut Bytes<'_>) -> usize {
    match input.u8() {
        n @ 0..200 => n as usize,
        n => (n as usize - 199) * 700 % MOST_AT_ONCE,
    }
}

fn id_of(submission: &Submission) -> Id {
    match submission {
        Submission::Respond { id, .. }
        | Submission::Begin { id, .. }
        | Submission::Write { id, .. }
        | Submission::End { id, .. }
        | Submission::Abort { id }
        | Submission::Inform { id, .. }
        | Submission::Ack { id, .. }
        | Submission::Settled { id }
        | Submission::Subscribe { id, .. }
        | Submission::Join { id, .. }
        | Submission::Leave { id, .. }
        | Submission::Accept { id, .. }
        | Submission::Frames { id, .. }
        | Submission::Close { id, .. }
        | Submission::Pass { id, .. }
        | Submission::Kick { id } => *id,
        Submission::Deliver(_) | Submission::Missed(_) => Id::NONE,
    }
}
