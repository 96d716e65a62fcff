//! Owns the steps of the virtual host's answers: each call of the contract, with the result that it must have. Rule: what
//! was said is written down before it takes effect.

use std::borrow::Cow;
use std::sync::Arc;

use crate::engine::answer::{Answer, Body};
use crate::engine::lease::{Settle, Settled};
use crate::engine::mailbox::Submission;
use crate::engine::Error;
use crate::http1::response::Seen;

use super::driver::Driver;
use super::host::{Host, FOREVER};
use super::record::{Giving, Loan, Said, Step};
use super::rng::Rng;

impl Host {
    /// The next step of one request.
    pub fn act(&mut self, at: usize, driver: &mut Driver, rng: &mut Rng) {
        let record = &mut self.records[at];
        let Some(step) = record.steps.pop_front() else { return };
        if !self.hurry && rng.chance(40) {
            record.due = driver.now + rng.below(200);
        }
        let id = record.id;
        let tag = format!("X-Answer: {}/{}\r\n", record.client, record.n);
        let told_gone = record.aborted.is_some();
        // A peer may be gone without the host having seen ABORTED yet.
        let may_be_gone = told_gone || driver.engine.has_events();
        match step {
            Step::WaitForBody if !record.body_over => {
                record.steps.push_front(step);
                record.due = FOREVER;
            }
            Step::WaitForBody => {}
            Step::Inform(status) => match self.leases.inform(id).map(drop) {
                Ok(_) => {
                    let lines = format!("Link: </{}>\r\n", record.n);
                    let submission = Submission::Inform { id, status, lines: lines.clone().into_bytes() };
                    self.say(at, driver, rng, submission, Some(Said::Inform { status, lines }));
                }
                Err(error) => assert!(error == Error::Gone && may_be_gone, "inform: {error:?}"),
            },
            Step::Whole(giving) => {
                let (settled, status, close) = (self.leases.settle(id, Settle::Whole), record.status, record.close);
                match self.settle(at, driver, rng, settled) {
                    None => {}
                    Some(()) => self.whole(at, driver, rng, giving, status, close, tag),
                }
            }
            Step::Begin { length, first } => {
                let status = if record.tunnel && !record.connect { 101 } else { record.status };
                let pin = match self.leases.begin(id, length, first as u64, status == 101) {
                    Ok(pin) => pin,
                    Err(error) => {
                        assert!(error == Error::Gone && may_be_gone, "begin: {error:?}");
                        record.steps = [Step::Abort].into();
                        return;
                    }
                };
                self.leases.begun(&pin);
                drop(pin);
                assert_eq!(self.leases.begin(id, None, 0, false).err(), Some(Error::State), "a second begin");
                record.length = length;
                let lines = format!("{tag}{}", if status == 101 { "Upgrade: raw\r\n" } else { "" });
                let body = record.piece(first);
                let close = record.close;
                let answer = Answer {
                    status,
                    close,
                    length,
                    lines: Cow::Owned(lines.clone().into_bytes()),
                    seen: Seen::default(),
                    content_type: None,
                    body: Body::Owned(body.clone()),
                };
                let said = Said::Begin { status, close, length, lines, first: body };
                let submission = Submission::Begin { id, answer: Box::new(answer) };
                self.say(at, driver, rng, submission, Some(said));
            }
            Step::Ask => match self.leases.reserve(id, 0).map(drop) {
                Ok(()) => assert!(self.leases.queued(id.slot()) < driver.engine.settings.high_water),
                Err(Error::Again) => {
                    assert!(self.leases.queued(id.slot()) >= driver.engine.allowance, "AGAIN too early");
                    record.again = true;
                }
                Err(error) => assert!(error == Error::Gone && may_be_gone, "asking: {error:?}"),
            },
            Step::Write(n) => match self.leases.reserve(id, n as u64).map(drop) {
                Ok(()) => {
                    let before = self.leases.queued(id.slot()) - n as u64;
                    assert!(before < driver.engine.settings.high_water, "taken beyond high water");
                    let data = record.piece(n);
                    self.say(at, driver, rng, Submission::Write { id, data: data.clone() }, Some(Said::Write(data)));
                }
                Err(Error::Again) => {
                    assert!(self.leases.queued(id.slot()) >= driver.engine.allowance, "AGAIN too early");
                    record.again = true;
                    record.steps.push_front(step);
                }
                Err(error) => {
                    assert!(error == Error::Gone && may_be_gone, "write: {error:?}");
                    record.steps = [Step::Abort].into();
                }
            },
            Step::End { trailers } => {
                if record.tunnel && !record.body_over && !self.hurry && record.aborted.is_none() && rng.chance(90) {
                    record.steps.push_front(step);
                    record.due = driver.now + 50;
                    return;
                }
                let settled = self.leases.settle(id, Settle::End);
                if self.settle(at, driver, rng, settled).is_some() {
                    let trailers = if trailers { "X-Sum: 1\r\n".to_owned() } else { String::new() };
                    let submission = Submission::End { id, trailers: trailers.clone().into_bytes() };
                    self.say(at, driver, rng, submission, Some(Said::End { trailers }));
                }
            }
            Step::Abort => {
                let settled = self.leases.settle(id, Settle::Abort);
                if self.settle(at, driver, rng, settled).is_some() {
                    self.say(at, driver, rng, Submission::Abort { id }, Some(Said::Abort));
                }
            }
        }
    }

    /// A settling call. `Some`: there is somebody to answer.
    fn settle(&mut self, at: usize, driver: &mut Driver, rng: &mut Rng, result: Result<Settled, Error>) -> Option<()> {
        let record = &mut self.records[at];
        let id = record.id;
        assert!(!std::mem::replace(&mut record.settled, true));
        record.again = false;
        record.steps.clear();
        for how in [Settle::Whole, Settle::End, Settle::Abort] {
            assert_eq!(self.leases.settle(id, how), Err(Error::Gone), "a second settle");
        }
        assert_eq!(self.leases.reserve(id, 0).err(), Some(Error::Gone));
        match result {
            Ok(Settled::Answer) => {
                assert!(record.aborted.is_none(), "ABORTED, but there is somebody to answer");
                Some(())
            }
            Ok(Settled::Gone) => {
                assert!(record.aborted.is_some() || driver.engine.has_events(), "gone without ABORTED");
                self.say(at, driver, rng, Submission::Settled { id }, None);
                None
            }
            Err(error) => panic!("the first settle: {error:?}"),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn whole(
        &mut self,
        at: usize,
        driver: &mut Driver,
        rng: &mut Rng,
        giving: Giving,
        status: u16,
        close: bool,
        lines: String,
    ) {
        let record = &mut self.records[at];
        let id = record.id;
        let mut bytes = record.piece(rng.size());
        let length = (status == 304 && rng.chance(50)).then_some(77);
        let (seen, content_type) = (Seen::default(), None);
        if matches!(giving, Giving::Copy) && !record.threaded {
            self.speak(driver);
            let record = &mut self.records[at];
            let said = Said::Whole { status, close, length, lines: lines.clone(), body: bytes.clone() };
            record.told.push((said, driver.engine.date));
            self.held -= 1;
            self.records[at].settle_heard = true;
            let (lines, body) = (Cow::Borrowed(lines.as_bytes()), Body::Copy(&bytes));
            driver.engine.respond(id, Answer { status, close, length, lines, seen, content_type, body });
            driver.after_answer();
            return;
        }
        let body = match giving {
            Giving::Copy | Giving::Owned => Body::Owned(bytes.clone()),
            Giving::Lent => {
                self.cookies += 1;
                let shared = Arc::new(bytes.clone());
                record.loan = Some((self.cookies, shared.clone()));
                Body::Lent { bytes: Box::new(Loan(shared)), cookie: self.cookies }
            }
            Giving::File => {
                let offset = rng.below(self.file.1.len() as u64);
                let len = rng.below(self.file.1.len() as u64 - offset + 1);
                bytes = self.file.1[offset as usize..(offset + len) as usize].to_vec();
                Body::File { file: self.file.0.try_clone().expect("another fd"), offset, len }
            }
        };
        let said = Said::Whole { status, close, length, lines: lines.clone(), body: bytes };
        let lines = Cow::Owned(lines.into_bytes());
        let answer = Box::new(Answer { status, close, length, lines, seen, content_type, body });
        self.say(at, driver, rng, Submission::Respond { id, answer }, Some(said));
    }
}
