//! Owns the library under test, through its C API, and the thread that answers beside the loop.

use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread::JoinHandle;

use ::encke::capi::answering::{encke_abort, encke_begin, encke_end, encke_reply, encke_respond, encke_write};
use ::encke::capi::config::*;
use ::encke::capi::driving::{encke_fd, encke_run};
use ::encke::capi::event::*;
use ::encke::capi::info::{encke_info, ENCKE_INFO_LOCAL};
use ::encke::capi::response::encke_response;
use ::encke::capi::sender::{encke_body_ack, encke_get_sender, encke_sender_ref, encke_sender_unref, encke_wake};
use ::encke::capi::server::{encke, encke_adopt, encke_free, encke_listen, encke_new, encke_set};
use ::encke::capi::stats::{encke_stats, encke_stats_get};
use ::encke::capi::types::encke_sender;

use super::peer::Peer;

#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1))
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) * n) >> 32
    }
}

/// What run and next did, as far as they said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    Nothing,
    Something,
    /// Nothing, but a drain was open before.
    EndedDrain,
}

/// A request in the host's hands.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: u64,
    begun: bool,
    aborted: bool,
}

/// One way to say something of a request.
#[derive(Debug, Clone, Copy)]
enum Say {
    Reply(usize),
    Large,
    Begin,
    Write(usize),
    End,
    Abort,
    Ack,
}

struct Worker {
    jobs: Sender<(u64, Say)>,
    done: Receiver<i32>,
    thread: JoinHandle<()>,
}

/// May go to another thread, as encke_sender says.
struct Handle(*mut encke_sender);
// SAFETY: every call with an encke_sender is for any thread.
unsafe impl Send for Handle {}

pub struct Server {
    encke: *mut encke,
    sender: *mut encke_sender,
    fd: i32,
    pub port: u16,
    pub path: String,
    held: Vec<Held>,
    worker: Option<Worker>,
    pub timers: bool,
    /// encke_next said 1, and neither 0 nor encke_run came since.
    pub drain_is_open: bool,
    trace: bool,
}

/// Everything that shows from outside.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    stats: [u64; 10],
    peers: Vec<(i32, i16)>,
}

static BYTES: [u8; 400_000] = [b'x'; 400_000];

/// Says it, on whatever thread this is.
fn say(sender: *mut encke_sender, id: u64, what: Say) -> i32 {
    // SAFETY: an all-zero response is a valid one; the sender lives, and the bytes are constant.
    unsafe {
        let mut response: encke_response = std::mem::zeroed();
        response.status = 200;
        let size = size_of::<encke_response>();
        match what {
            Say::Reply(n) => encke_reply(sender, id, 200, ptr::null(), BYTES.as_ptr().cast(), n),
            Say::Large => {
                response.body = BYTES.as_ptr().cast();
                response.body_len = BYTES.len();
                encke_respond(sender, id, &response, size)
            }
            Say::Begin => encke_begin(sender, id, &response, size),
            Say::Write(n) => encke_write(sender, id, BYTES.as_ptr().cast(), n),
            Say::End => encke_end(sender, id, ptr::null(), 0),
            Say::Abort => encke_abort(sender, id),
            Say::Ack => encke_body_ack(sender, id, 100),
        }
    }
}

impl Server {
    pub fn new(rng: &mut Rng, timers: bool, trace: bool) -> Server {
        // SAFETY: the calls get what their documentation asks for.
        unsafe {
            let config = encke_config_new();
            let set = |option, value| assert_eq!(encke_config_set(config, option, value), 0);
            let optional = [ENCKE_EV_DONE, ENCKE_EV_HALF_CLOSED, ENCKE_EV_CONNECTION];
            let wanted = optional.into_iter().filter(|_| rng.below(2) == 0).fold(0, |bits, kind| bits | 1u64 << kind);
            set(ENCKE_OPT_EVENTS, wanted);
            set(ENCKE_OPT_MAX_PIPELINE, [1, 2, 100][rng.below(3) as usize]);
            set(ENCKE_OPT_MAX_HELD, [1, 3, 1000][rng.below(3) as usize]);
            set(ENCKE_OPT_BUFFER_BODY, [0, 10, 1000][rng.below(3) as usize]);
            set(ENCKE_OPT_BODY_WINDOW, [10, 1000][rng.below(2) as usize]);
            set(ENCKE_OPT_LOW_WATER, 10);
            set(ENCKE_OPT_HIGH_WATER, [100, 100_000][rng.below(2) as usize]);
            set(ENCKE_OPT_MAX_MEMORY, [4096, 1 << 30][rng.below(2) as usize]);
            set(ENCKE_OPT_MAX_CONNECTIONS, [3, 1000][rng.below(2) as usize]);
            if timers {
                for option in [ENCKE_OPT_HEAD_TIMEOUT_MS, ENCKE_OPT_BODY_TIMEOUT_MS, ENCKE_OPT_IDLE_TIMEOUT_MS] {
                    set(option, 20 + rng.below(60));
                }
                set(ENCKE_OPT_WRITE_TIMEOUT_MS, 20 + rng.below(60));
                set(ENCKE_OPT_ANSWER_TIMEOUT_MS, [0, 50][rng.below(2) as usize]);
            }
            let mut encke = ptr::null_mut();
            assert_eq!(encke_new(config, &mut encke), 0);
            encke_config_free(config);
            let address = CString::new("127.0.0.1:0").unwrap();
            let mut listener = 0;
            assert_eq!(encke_listen(encke, address.as_ptr(), ptr::null_mut(), &mut listener), 0);
            let mut text = [0u8; 64];
            let code = encke_info(encke, listener, ENCKE_INFO_LOCAL, text.as_mut_ptr().cast(), 64, ptr::null_mut());
            assert_eq!(code, 0);
            let text = String::from_utf8_lossy(&text);
            let port = text.trim_end_matches('\0').rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
            let path = std::env::temp_dir().join(format!("encke-truth-{}-{}", std::process::id(), rng.below(1 << 32)));
            let path = path.to_str().expect("a path in UTF-8").to_owned();
            let address = CString::new(format!("unix:{path}")).unwrap();
            assert_eq!(encke_listen(encke, address.as_ptr(), ptr::null_mut(), ptr::null_mut()), 0);
            let sender = encke_get_sender(encke);
            let worker = Some(Worker::start(sender));
            let (held, drain_is_open) = (Vec::new(), false);
            Server { encke, sender, fd: encke_fd(encke), port, path, held, worker, timers, drain_is_open, trace }
        }
    }

    pub fn adopt(&mut self, fd: OwnedFd) -> bool {
        let fd = fd.into_raw_fd();
        // SAFETY: the fd is open; on a failure it is still ours.
        unsafe {
            let taken = encke_adopt(self.encke, fd, ptr::null_mut(), ptr::null_mut()) == 0;
            if !taken {
                libc::close(fd);
            }
            taken
        }
    }

    // ---- what is seen -------------------------------------------------------------------------------------------------

    /// Whether the fd is readable now, or within `patience` milliseconds: the kernel may still be carrying bytes.
    pub fn readable(&self, patience: i32) -> bool {
        let mut poll = libc::pollfd { fd: self.fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&raw mut poll, 1, patience) == 1 }
    }

    /// The library's deadlines come in ticks of this clock.
    pub fn tick(&self) -> i64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: one valid timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        (now.tv_sec * 1000 + now.tv_nsec / 1_000_000) / 32
    }

    pub fn snapshot(&self, peers: &[Peer]) -> Snapshot {
        // SAFETY: an all-zero encke_stats is valid, and the sender lives.
        let now = unsafe {
            let mut now: encke_stats = std::mem::zeroed();
            assert_eq!(encke_stats_get(self.sender, &mut now, size_of::<encke_stats>()), 0);
            now
        };
        let stats = [
            now.connections,
            now.accepted,
            now.requests,
            now.held,
            now.aborted,
            now.refused,
            now.bytes_in,
            now.bytes_out,
            now.queued_bytes,
            now.memory,
        ];
        Snapshot { stats, peers: peers.iter().map(Peer::waiting).collect() }
    }

    // ---- what is done -------------------------------------------------------------------------------------------------

    pub fn run(&mut self, budget: u32) -> i32 {
        self.drain_is_open = false;
        // SAFETY: the encke lives, and this is its thread.
        let more = unsafe { encke_run(self.encke, budget) };
        assert!(more >= 0, "encke_run: {more}");
        more
    }

    /// The kind of the next event.
    pub fn next(&mut self) -> Option<u32> {
        // SAFETY: an all-zero event is valid, and the encke lives.
        let (code, event) = unsafe {
            let mut event: encke_event = std::mem::zeroed();
            (encke_next(self.encke, &mut event, size_of::<encke_event>()), event)
        };
        assert!(code >= 0, "encke_next: {code}");
        self.drain_is_open = code == 1;
        if code == 0 {
            return None;
        }
        if self.trace {
            println!("  event {} of {:x}, code {}", event.kind, event.id, event.code);
        }
        match event.kind {
            ENCKE_EV_REQUEST => self.held.push(Held { id: event.id, begun: false, aborted: false }),
            ENCKE_EV_ABORTED => {
                if let Some(held) = self.held.iter_mut().find(|held| held.id == event.id) {
                    held.aborted = true;
                }
            }
            _ => {}
        }
        Some(event.kind)
    }

    pub fn run_and_drain(&mut self) -> Did {
        let open = self.drain_is_open;
        let more = self.run(0);
        let mut events = 0;
        while self.next().is_some() {
            events += 1;
            assert!(events < 10_000, "a drain without end");
        }
        match () {
            () if events > 0 || more > 0 => Did::Something,
            () if open => Did::EndedDrain,
            () => Did::Nothing,
        }
    }

    /// F1: run said that calling it again now would do nothing.
    pub fn assert_idle_run(&mut self, peers: &[Peer]) {
        let (before, tick) = (self.snapshot(peers), self.tick());
        let more = self.run(0);
        let same = self.snapshot(peers) == before && more == 0;
        assert!(same || self.timers && self.tick() != tick, "encke_run said 0, but had more to do");
    }

    pub fn set_max_held(&mut self, n: u64) {
        // SAFETY: the encke lives.
        assert_eq!(unsafe { encke_set(self.encke, ENCKE_OPT_MAX_HELD, n) }, 0);
    }

    pub fn wake(&mut self) {
        // SAFETY: the sender lives.
        assert_eq!(unsafe { encke_wake(self.sender) }, 0);
    }

    /// Waits until the fd is readable, for a short while: the time-outs are short.
    pub fn wait_for_timer(&mut self) {
        if self.timers {
            self.readable(100);
        }
    }

    pub fn connections(&self) -> u64 {
        self.snapshot(&[]).stats[0]
    }

    pub fn abort_all(&mut self) {
        for held in self.held.drain(..) {
            assert!(matches!(say(self.sender, held.id, Say::Abort), 0 | -3));
        }
    }

    /// Says something of one of the held requests, here or on the other thread.
    pub fn answer(&mut self, rng: &mut Rng, elsewhere: bool) -> String {
        if self.held.is_empty() {
            return "nothing to answer".to_owned();
        }
        let at = rng.below(self.held.len() as u64) as usize;
        let held = self.held[at];
        let what = match (held.begun, rng.below(10)) {
            _ if held.aborted => Say::Abort,
            (true, 0..=3) => Say::End,
            (true, 4) => Say::Abort,
            (true, n) => Say::Write([10, 1000, 300_000][n as usize % 3]),
            (false, 0) => Say::Abort,
            (false, 1 | 2) => Say::Begin,
            (false, 3) => Say::Large,
            (false, 4 | 5) => Say::Ack,
            (false, n) => Say::Reply(n as usize * 10),
        };
        let code = if elsewhere {
            let worker = self.worker.as_ref().expect("it runs until drop");
            worker.jobs.send((held.id, what)).expect("the worker runs");
            worker.done.recv().expect("the worker answers")
        } else {
            say(self.sender, held.id, what)
        };
        assert!(matches!(code, 0 | -3 | -4), "{what:?}: {code}");
        match what {
            Say::Begin if code == 0 => self.held[at].begun = true,
            Say::Begin | Say::Write(_) | Say::Ack => {}
            _ => drop(self.held.swap_remove(at)),
        }
        format!("{what:?} for {:x}, elsewhere {elsewhere}: {code}", held.id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            drop(worker.jobs);
            let _ = worker.thread.join();
        }
        // SAFETY: it is freed once, and the worker has ended.
        unsafe { encke_free(self.encke) };
    }
}

impl Worker {
    fn start(sender: *mut encke_sender) -> Worker {
        // SAFETY: the sender is borrowed from a living encke.
        let handle = Handle(unsafe { encke_sender_ref(sender) });
        let (jobs, todo) = channel();
        let (tell, done) = channel();
        let thread = std::thread::spawn(move || {
            let handle = handle;
            for (id, what) in todo {
                if tell.send(say(handle.0, id, what)).is_err() {
                    break;
                }
            }
            // SAFETY: its own reference, given up once.
            unsafe { encke_sender_unref(handle.0) };
        });
        Worker { jobs, done, thread }
    }
}
