//! Owns what the virtual host knows of one request: how it means to answer, what it has said, what it has seen.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::event::End;
use crate::engine::id::Id;
use crate::engine::mailbox::Submission;
use crate::engine::output::Lent;

use super::rng::{pattern, Rng};

/// What the engine was told of one request, in order.
#[derive(Debug, Clone)]
pub enum Said {
    Inform { status: u16, lines: String },
    Whole { status: u16, close: bool, length: Option<u64>, lines: String, body: Vec<u8> },
    Begin { status: u16, close: bool, length: Option<u64>, lines: String, first: Vec<u8> },
    Write(Vec<u8>),
    End { trailers: String },
    Abort,
}

impl Said {
    pub fn body_len(&self) -> usize {
        match self {
            Said::Whole { body, .. } => body.len(),
            Said::Begin { first, .. } => first.len(),
            Said::Write(data) => data.len(),
            Said::Inform { .. } | Said::End { .. } | Said::Abort => 0,
        }
    }
}

#[derive(Debug, Clone)]
pub enum Step {
    /// Goes on when the whole body is there.
    WaitForBody,
    Inform(u16),
    Whole(Giving),
    Begin {
        length: Option<u64>,
        first: usize,
    },
    Write(usize),
    Ask,
    End {
        trailers: bool,
    },
    Abort,
}

#[derive(Debug, Clone, Copy)]
pub enum Giving {
    Copy,
    Owned,
    Lent,
    File,
}

/// One request in the host's hands.
#[derive(Debug)]
pub struct Record {
    pub id: Id,
    pub client: usize,
    pub n: usize,
    pub steps: VecDeque<Step>,
    pub due: u64,
    pub safe: bool,
    /// The client waits for 100-continue.
    pub expects: bool,
    pub threaded: bool,
    pub status: u16,
    pub close: bool,
    pub length: Option<u64>,
    /// Said by a thread and not heard yet, each with what it is to be recorded as.
    pub outbox: VecDeque<(u64, Submission, Option<Said>)>,
    pub in_mailbox: VecDeque<Option<Said>>,
    pub told: Vec<(Said, [u8; 29])>,
    pub key: u64,
    pub written: usize,
    pub upgrade: bool,
    pub connect: bool,
    pub tunnel: bool,
    pub body_follows: bool,
    pub got: Vec<u8>,
    pub body_over: bool,
    pub half_closed: bool,
    pub unacked: u64,
    pub acks: Vec<(u64, u64)>,
    pub again: bool,
    pub settled: bool,
    pub settle_heard: bool,
    pub aborted: Option<End>,
    pub done: Option<(End, u64)>,
    pub loan: Option<(u64, Arc<Vec<u8>>)>,
    pub user: u64,
}

#[derive(Debug)]
pub struct Loan(pub Arc<Vec<u8>>);

impl Lent for Loan {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Record {
    /// How it will be answered.
    pub fn plan(&mut self, rng: &mut Rng, manual_continue: bool) {
        if self.expects && manual_continue && rng.chance(80) {
            self.steps.push_back(Step::Inform(100));
        }
        if self.body_follows && rng.chance(60) {
            self.steps.push_back(Step::WaitForBody);
        }
        for _ in 0..2 {
            if rng.chance(8) {
                self.steps.push_back(Step::Inform(rng.pick(&[100, 102, 103])));
            }
        }
        if rng.chance(5) {
            self.steps.push_back(Step::Ask);
        }
        if self.upgrade && rng.chance(60) {
            self.tunnel = true;
            if self.connect {
                self.status = 200;
            }
            self.close = false;
            self.steps.push_back(Step::Begin { length: None, first: 0 });
            for _ in 0..rng.below(4) {
                self.steps.push_back(Step::Write(rng.size().max(1)));
            }
            self.steps.push_back(Step::End { trailers: false });
            return;
        }
        match rng.below(20) {
            0 => self.steps.push_back(Step::Abort),
            1..=6 => {
                if self.connect {
                    self.status = 404; // with 2xx it were a tunnel
                } else if self.status == 304 {
                    self.status = 200;
                }
                let pieces: Vec<usize> = (0..rng.below(5)).map(|_| rng.size().max(1)).collect();
                let first = if rng.chance(30) { rng.size() } else { 0 };
                let total = first + pieces.iter().sum::<usize>();
                let length = rng.chance(40).then_some(total as u64 + u64::from(rng.chance(4)));
                self.steps.push_back(Step::Begin { length, first });
                self.steps.extend(pieces.into_iter().map(Step::Write));
                let end = if rng.chance(4) { Step::Abort } else { Step::End { trailers: rng.chance(20) } };
                self.steps.push_back(end);
            }
            _ => self.steps.push_back(Step::Whole(match rng.below(8) {
                0..=3 => Giving::Copy,
                4 => Giving::Owned,
                5 => Giving::File,
                _ => Giving::Lent,
            })),
        }
    }

    pub fn has_begun(&self) -> bool {
        self.told.iter().any(|(said, _)| matches!(said, Said::Begin { .. }))
    }

    pub fn piece(&mut self, len: usize) -> Vec<u8> {
        self.written += len;
        pattern(self.key + self.written as u64, len)
    }

    /// Bytes of body in what was said and not heard yet.
    pub fn unheard(&self) -> impl Iterator<Item = u64> + '_ {
        let said = self.outbox.iter().filter_map(|entry| entry.2.as_ref());
        said.chain(self.in_mailbox.iter().flatten()).map(|said| match said {
            Said::Write(_) | Said::Begin { .. } => said.body_len() as u64,
            _ => 0,
        })
    }

    /// Its settle was heard.
    pub fn in_effect_settled(&self) -> bool {
        self.settle_heard
    }
}
