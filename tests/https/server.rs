//! Owns an encke and what it serves. Rule: everything happens in `turn`, on one thread, until there is nothing left to do;
//! what happened stands in the log.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_int;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use ::encke::capi::config::{ENCKE_OPT_EVENTS, ENCKE_OPT_HANDSHAKE_TIMEOUT_MS};
use ::encke::capi::event::{ENCKE_EV_CONNECTION, ENCKE_EV_DONE, ENCKE_EV_HALF_CLOSED};
use ::encke::capi::info::{ENCKE_INFO_ALPN, ENCKE_INFO_CLIENT_CERT, ENCKE_INFO_SNI, ENCKE_INFO_TLS};
use ::encke::capi::result::{ENCKE_E_AGAIN, ENCKE_E_GONE, ENCKE_OK};

use super::api::{Encke, Event, Request, Sender};
use super::worker::{Job, Worker};

pub const MIB: usize = 1 << 20;
const PIECE: usize = 48 << 10;

/// 20 MiB in which no two places look alike.
pub fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let words = (0..20 * MIB as u64 / 8).map(|n| n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        words.flat_map(u64::to_le_bytes).collect()
    })
}

/// What has happened.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// The targets, in the order of arrival.
    pub requests: Vec<String>,
    /// Bodies in pieces of which the last one came.
    pub whole_bodies: usize,
    pub half_closed: usize,
    pub aborted: usize,
    /// ENCKE_END_ codes.
    pub done: Vec<c_int>,
    pub lent: usize,
    pub released: usize,
    pub opened: usize,
    pub closed: usize,
}

/// The log, and who waits for it.
#[derive(Debug, Default)]
pub struct Watched {
    pub log: Mutex<Log>,
    pub changed: Condvar,
}

/// An answer under way.
enum Stream {
    Pattern {
        at: usize,
        end: usize,
    },
    /// Begins with the first piece: to begin before 100 (Continue) went out would refuse the body.
    Echo {
        pieces: VecDeque<Vec<u8>>,
        more: bool,
        begun: bool,
        length: Option<u64>,
    },
}

pub struct Server {
    // In the order of their ends: the worker stops before the encke is freed.
    worker: Worker,
    pub encke: Encke,
    sender: Sender,
    streams: HashMap<u64, Stream>,
    watched: Arc<Watched>,
}

impl Server {
    pub fn new(options: &[(c_int, u64)]) -> Server {
        let kinds = [ENCKE_EV_DONE, ENCKE_EV_HALF_CLOSED, ENCKE_EV_CONNECTION];
        // Those who test time-outs give their own.
        let mut all = vec![
            (ENCKE_OPT_EVENTS, kinds.iter().fold(0, |bits, kind| bits | 1 << kind)),
            (ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, 60_000),
        ];
        all.extend_from_slice(options);
        let encke = Encke::new(&all);
        let sender = encke.sender();
        let worker = Worker::start(sender.clone());
        Server { worker, encke, sender, streams: HashMap::new(), watched: Arc::default() }
    }

    pub fn watched(&self) -> Arc<Watched> {
        self.watched.clone()
    }

    pub fn jobs(&self) -> std::sync::mpsc::Sender<Job> {
        self.worker.jobs.clone()
    }

    /// The loop of the header.
    pub fn turn(&mut self) {
        loop {
            let more = self.encke.run();
            let mut got = false;
            while let Some(event) = self.encke.next() {
                got = true;
                self.handle(event);
            }
            if !more && !got {
                return;
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Log)) {
        change(&mut self.watched.log.lock().unwrap());
        self.watched.changed.notify_all();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request(request) => {
                let target = request.target.clone();
                self.answer(request);
                // Only now: who reads this finds it with the worker.
                self.note(|log| log.requests.push(target));
            }
            Event::Body { id, data, more: still } => {
                if let Some(Stream::Echo { pieces, more, begun, length }) = self.streams.get_mut(&id) {
                    pieces.push_back(data);
                    *more = still;
                    if !std::mem::replace(begun, true) {
                        assert!(matches!(self.sender.begin(id, *length), ENCKE_OK | ENCKE_E_GONE));
                    }
                }
                if !still {
                    self.note(|log| log.whole_bodies += 1);
                }
                self.pump(id);
            }
            Event::Writable(id) => self.pump(id),
            Event::HalfClosed => self.note(|log| log.half_closed += 1),
            Event::Aborted(id) => {
                if self.streams.remove(&id).is_some() {
                    self.sender.abort(id);
                } else {
                    self.tell(Job::Forget(id));
                }
                self.note(|log| log.aborted += 1);
            }
            Event::Done { code } => self.note(|log| log.done.push(code)),
            Event::Released => self.note(|log| log.released += 1),
            Event::Connection { open: true } => self.note(|log| log.opened += 1),
            Event::Connection { open: false } => self.note(|log| log.closed += 1),
        }
    }

    fn tell(&self, job: Job) {
        self.worker.jobs.send(job).expect("the worker runs");
    }

    fn answer(&mut self, request: Request) {
        assert!(request.tls, "ENCKE_HEAD_TLS is not set");
        let id = request.id;
        let number = |text: &str| text.parse::<usize>().expect("a number in the target");
        match request.target.split('/').skip(1).collect::<Vec<_>>()[..] {
            ["small"] => assert_eq!(self.sender.reply(id, 200, b"hello"), ENCKE_OK),
            ["facts"] => assert_eq!(self.sender.reply(id, 200, self.facts(id).as_bytes()), ENCKE_OK),
            ["lent", n] => {
                assert_eq!(self.sender.lend(id, &pattern()[..number(n)]), ENCKE_OK);
                self.note(|log| log.lent += 1);
            }
            ["stream", n] => {
                assert_eq!(self.sender.begin(id, None), ENCKE_OK);
                self.streams.insert(id, Stream::Pattern { at: 0, end: number(n) });
                self.pump(id);
            }
            ["echo"] if request.follows => {
                let (pieces, length) = (VecDeque::new(), request.length);
                self.streams.insert(id, Stream::Echo { pieces, more: true, begun: false, length });
            }
            ["echo"] => assert_eq!(self.sender.reply(id, 200, &request.body), ENCKE_OK),
            ["batch", of, n] => self.tell(Job::Batch { id, of: number(of), n: number(n) }),
            ["held"] => self.tell(Job::Hold(id)),
            ["begun"] => self.tell(Job::Begin(id)),
            _ => assert_eq!(self.sender.reply(id, 404, b"no such thing"), ENCKE_OK),
        }
    }

    /// What encke_info knows of the request: SNI, version and suite, ALPN, the client's certificate in hexadecimal.
    fn facts(&self, id: u64) -> String {
        let text = |what| String::from_utf8(self.encke.info(id, what)).expect("text");
        let certificate = self.encke.info(id, ENCKE_INFO_CLIENT_CERT);
        format!("{}\n{}\n{}\n{}", text(ENCKE_INFO_SNI), text(ENCKE_INFO_TLS), text(ENCKE_INFO_ALPN), hex(&certificate))
    }

    /// Goes on with an answer, as far as it is taken.
    fn pump(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let over = loop {
            let piece = match stream {
                Stream::Pattern { at, end } if at == end => break true,
                Stream::Pattern { at, end } => &pattern()[*at..*end.min(&mut (*at + PIECE))],
                Stream::Echo { pieces, more, .. } => match pieces.front() {
                    Some(piece) => piece,
                    None => break !*more,
                },
            };
            let n = piece.len();
            match self.sender.write(id, piece) {
                ENCKE_OK => {}
                // WRITABLE or ABORTED follows.
                ENCKE_E_AGAIN | ENCKE_E_GONE => break false,
                code => panic!("encke_write: {code}"),
            }
            match stream {
                Stream::Pattern { at, .. } => *at += n,
                Stream::Echo { pieces, .. } => {
                    pieces.pop_front();
                    self.sender.ack(id, n);
                }
            }
        };
        if over {
            self.streams.remove(&id);
            assert!(matches!(self.sender.end(id), ENCKE_OK | ENCKE_E_GONE));
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
