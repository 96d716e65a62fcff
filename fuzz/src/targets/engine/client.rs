//! Owns what a client has said and got. Rule: what it has said is read by `reference.rs`, what it got by `answers.rs`, and
//! the two must fit together.

use encke::engine::event::End;
use encke::engine::head;

use crate::answers::{self, Asked};
use crate::driver::Driver;
use crate::pipe::Ended;
use crate::reference::{self, Framing, Head, Limits, Reading};

use super::host::Host;
use super::record::Record;

#[derive(Debug)]
pub struct Client {
    pub pipe: usize,
    pub sent: Vec<u8>,
    pub got: Vec<u8>,
    pub fin: bool,
    /// It is gone, or it has seen the server's end.
    pub left: bool,
    saw_end: bool,
    /// Records of the host, in the order of delivery; and what each was by the reference.
    pub asked: Vec<usize>,
    heads: Vec<(Head, usize)>,
}

/// What the library answers by itself, but for 500.
const FAULTS: [u16; 9] = [400, 408, 413, 414, 417, 431, 501, 503, 505];

impl Client {
    pub fn new(pipe: usize) -> Client {
        let (sent, got, asked, heads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Client { pipe, sent, got, fin: false, left: false, saw_end: false, asked, heads }
    }

    pub fn read(&mut self, driver: &mut Driver, most: usize) -> bool {
        if self.left {
            return false;
        }
        let n = driver.client_reads(self.pipe, most, &mut self.got);
        let pipe = &driver.pipes[self.pipe];
        if pipe.down.is_empty() && (pipe.shut || pipe.ended.is_some()) {
            if pipe.ended.is_none() {
                driver.client_leaves(self.pipe);
            }
            (self.saw_end, self.left) = (true, true);
            return true;
        }
        n > 0
    }

    // ---- what it has said ------------------------------------------------------------------------------------------

    /// The next request was handed over: it must be the next by the reference. Returns where its body begins.
    pub fn delivered(&mut self, record: usize, head: &head::Head, limits: &Limits) -> usize {
        let start = match self.heads.last() {
            Some((_, start)) => self.end_of_body(self.heads.len() - 1).unwrap_or_else(|| {
                panic!("a request before the end of the body at {start}");
            }),
            None => 0,
        };
        let Reading::Whole(expected) = reference::head(&self.sent[start..], limits) else {
            panic!("no request by the reference: {:?}", String::from_utf8_lossy(&self.sent[start..]));
        };
        let text = |span| {
            let text: &[u8] = head.text(span);
            assert_eq!(head.bytes[span.end()], 0, "a text without its NUL");
            assert!(!text.contains(&0));
            text
        };
        assert_eq!(text(head.method), expected.method);
        assert_eq!(text(head.target), expected.target);
        assert_eq!(text(head.query), expected.query);
        assert_eq!(text(head.host), expected.host);
        let path = match &expected.path[..] {
            b"" if expected.method != b"CONNECT" => b"/",
            path => path,
        };
        assert_eq!(text(head.path), path);
        assert_eq!(head.version, 10 + expected.minor as u32);
        let fields = head.fields.iter().map(|field| (text(field.name).to_vec(), text(field.value).to_vec()));
        assert_eq!(fields.collect::<Vec<_>>(), expected.fields);
        assert_eq!(head.flags & head::UPGRADE != 0, expected.upgrade);
        assert_eq!(head.flags & head::WEBSOCKET != 0, expected.websocket);
        match expected.framing {
            Framing::None => assert_eq!(head.content_length, 0),
            Framing::Length(length) => assert_eq!(head.content_length, length),
            Framing::Chunked => assert_eq!(head.content_length, head::UNKNOWN),
        }
        let body = start + expected.len;
        self.heads.push((expected, body));
        self.asked.push(record);
        if head.flags & head::BODY_FOLLOWS == 0 {
            assert!(self.end_of_body(self.heads.len() - 1).is_some(), "handed over whole, but its body is not there");
            assert_eq!(head.body(), self.body(self.heads.len() - 1));
        }
        body
    }

    /// The n-th request's body as far as it was sent.
    pub fn body(&self, n: usize) -> Vec<u8> {
        let (head, start) = &self.heads[n];
        let rest = &self.sent[*start..];
        match head.framing {
            Framing::None => Vec::new(),
            Framing::Length(length) => rest[..usize::try_from(length).unwrap_or(usize::MAX).min(rest.len())].to_vec(),
            Framing::Chunked => reference::chunked(rest).data,
        }
    }

    pub fn end_of_body(&self, n: usize) -> Option<usize> {
        let (head, start) = &self.heads[n];
        end_of(head.framing, &self.sent[*start..]).map(|n| start + n)
    }

    /// How many final answers it may expect, if that can be said.
    pub fn expects(&self, host: &Host) -> Option<usize> {
        if self.asked.iter().any(|record| host.records[*record].ends_connection()) {
            return None;
        }
        let mut at = 0;
        let mut n = 0;
        loop {
            let head = match reference::head(&self.sent[at..], &host.limits) {
                Reading::Whole(head) => head,
                // It is refused at the latest when its end is there.
                Reading::Refused => return None,
                Reading::Incomplete => return Some(n),
            };
            let known = head.framing != Framing::Chunked;
            if head.upgrade || head.expect || !known {
                return None;
            }
            at += head.len;
            at += end_of(head.framing, &self.sent[at..])?;
            if matches!(head.framing, Framing::Length(n) if n > 1) {
                return None; // limits of bodies are tested elsewhere
            }
            n += 1;
            if !head.keep_alive {
                return Some(n);
            }
        }
    }

    // ---- what it got -----------------------------------------------------------------------------------------------

    /// Judges every byte; returns how many final answers there were, also one that is not whole.
    pub fn judge(&self, host: &Host, driver: &Driver) -> usize {
        let ended = driver.pipes[self.pipe].ended;
        let mut at = 0;
        let mut n = 0;
        let mut informs = 0;
        let mut continued = false;
        loop {
            let rest = &self.got[at..];
            let record = self.asked.get(n).map(|record| &host.records[*record]);
            let asked = record.map_or(Asked::default(), |record| record.asked);
            let Some(answer) = answers::next(rest, asked) else {
                let whole = !self.saw_end || ended != Some(Ended::Closed) || rest.is_empty();
                assert!(whole, "closed in the middle of a head");
                return n;
            };
            if answer.is_informational() {
                at += answer.head;
                match record.and_then(|record| record.informs.get(informs)) {
                    Some(status)
                        if *status == answer.status
                            && !(answer.status == 100 && !continued && answer.fields.is_empty()) =>
                    {
                        informs += 1;
                        assert_eq!(answer.field("X-Inform"), Some(&b"1"[..]));
                    }
                    _ => {
                        assert_eq!(answer.status, 100, "an informational answer of nobody");
                        assert!(!continued, "100 twice");
                        assert!(answer.fields.is_empty());
                        assert!(self.may_expect(n, &host.limits), "100 without Expect");
                        continued = true;
                    }
                }
                continue;
            }
            n += 1;
            if record.is_some_and(|record| record.refused) {
                assert!(
                    !continued && answer.closes(),
                    "a body was refused that was asked for, or its connection goes on"
                );
            }
            let whole = self.judge_final(&answer, rest, record, host, ended);
            let Some(len) = answer.len.filter(|_| whole) else { return n };
            at += len;
            (informs, continued) = (0, false);
            if answer.closes() {
                assert_eq!(at, self.got.len(), "bytes behind the last answer");
                return n;
            }
        }
    }

    /// Whether the n-th request waits for 100-continue; it may be one that was not handed over.
    fn may_expect(&self, n: usize, limits: &Limits) -> bool {
        if let Some((head, _)) = self.heads.get(n) {
            return head.expect;
        }
        let start = match n.checked_sub(1) {
            Some(before) => self.end_of_body(before),
            None => Some(0),
        };
        let head = start.map(|start| reference::head(&self.sent[start..], limits));
        matches!(head, Some(Reading::Whole(head)) if head.expect)
    }

    /// False: nothing of HTTP comes behind it.
    fn judge_final(
        &self,
        answer: &answers::Answer,
        rest: &[u8],
        record: Option<&Record>,
        host: &Host,
        ended: Option<Ended>,
    ) -> bool {
        assert!(answer.field("Date").is_some());
        let Some(tag) = answer.field("X-Id") else {
            self.judge_own(answer, rest, record);
            return true;
        };
        let record = record.expect("an answer to what was never handed over");
        let own = host.records.iter().position(|other| other.id == record.id).unwrap_or_default();
        assert_eq!(tag, own.to_string().as_bytes(), "the answer to another request");
        let said = record.said.as_ref().expect("an answer that the host did not give");
        assert_eq!(answer.status, said.status);
        assert_eq!(answer.reason, encke::http1::response::reason(said.status));
        if said.tunnel && said.begun {
            assert!(said.body.starts_with(&rest[answer.head..]), "other bytes than the host gave");
            if self.saw_end && ended == Some(Ended::Closed) && record.aborted.is_none() {
                assert_eq!(rest.len() - answer.head, said.body.len(), "the end of a tunnel is missing");
            }
            return false;
        }
        let until_close = answer.field("Content-Length").or(answer.field("Transfer-Encoding")).is_none();
        if said.close || !record.keep_alive || until_close && answer.len.is_none() {
            assert!(answer.closes(), "Connection: close is missing");
        }
        let bodiless = record.asked.head || matches!(said.status, 204 | 304) || said.tunnel;
        let body = if bodiless { &[][..] } else { &said.body };
        assert!(body.starts_with(&answer.body), "other bytes than the host gave");
        if answer.len.is_some() {
            let all = said.whole || said.length == Some(said.body.len() as u64);
            assert!(bodiless || all, "it looks whole, but the host has not ended it");
            assert_eq!(answer.body.len(), body.len(), "some of the body is missing");
            let trailers = said.trailers && !bodiless && answer.field("Transfer-Encoding").is_some();
            assert_eq!(!answer.trailers.is_empty(), trailers);
        } else if self.saw_end && ended == Some(Ended::Closed) {
            assert!(until_close, "an answer was cut, and the connection closed as if it were whole");
            assert!(said.whole && answer.body.len() == body.len(), "some of the body is missing");
        }
        true
    }

    /// An answer of the library's own.
    fn judge_own(&self, answer: &answers::Answer, rest: &[u8], record: Option<&Record>) {
        let status = answer.status.to_string();
        assert!(answer.body.starts_with(&status.as_bytes()[..status.len().min(answer.body.len())]));
        if answer.status == 500 {
            let record = record.expect("a 500 for nobody");
            assert!(record.given_up, "a 500 for an answer that the host gave");
            return;
        }
        assert!(FAULTS.contains(&answer.status), "{} is nobody's", answer.status);
        assert!(answer.closes());
        if let Some(len) = answer.len {
            assert_eq!(len, rest.len(), "bytes behind the last answer");
        }
        if let Some(record) = record {
            let crossed = record.threaded && record.done.is_none_or(|done| done.0 != End::Ok);
            assert!(record.aborted.is_some() || record.settled_gone || crossed, "a fault without a reason");
        }
    }
}

fn end_of(framing: Framing, rest: &[u8]) -> Option<usize> {
    match framing {
        Framing::None => Some(0),
        Framing::Length(length) => usize::try_from(length).ok().filter(|n| *n <= rest.len()),
        Framing::Chunked => match reference::chunked(rest).end {
            Reading::Whole(end) => Some(end),
            _ => None,
        },
    }
}
