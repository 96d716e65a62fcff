//! Owns the thread with the host's loop: poll on the one fd, then a turn of the server. Rule: the thread ends with the
//! value, and its panic is the test's.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{channel, Sender as Jobs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::api::{Sender, Tls};
use super::server::{Log, Server, Watched};
use super::worker::Job;

/// For everything that a test waits for: long enough for the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Host {
    pub port: u16,
    sender: Sender,
    jobs: Jobs<Job>,
    watched: Arc<Watched>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Waits until the fd is readable.
fn poll(fd: c_int) {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, -1) };
}

impl Host {
    pub fn start(tls: &Tls) -> Host {
        Host::with(tls, &[])
    }

    pub fn with(tls: &Tls, options: &[(c_int, u64)]) -> Host {
        let (tls, options, stop) = (tls.clone(), options.to_vec(), Arc::new(AtomicBool::new(false)));
        let (tell, told) = channel();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut server = Server::new(&options);
            let port = server.encke.listen(&tls);
            drop(tls);
            let fd = server.encke.fd();
            tell.send((port, server.encke.sender(), server.jobs(), server.watched())).expect("the test waits");
            while !stopped.load(SeqCst) {
                poll(fd);
                server.turn();
            }
        });
        let (port, sender, jobs, watched) = told.recv().expect("the host listens");
        Host { port, sender, jobs, watched, stop, thread: Some(thread) }
    }

    /// What the worker holds is answered, after what it was told before.
    pub fn release(&self) {
        self.jobs.send(Job::Release).expect("the worker runs");
    }

    /// What the worker holds is given up.
    pub fn give_up(&self) {
        self.jobs.send(Job::Break).expect("the worker runs");
    }

    pub fn log(&self) -> Log {
        self.watched.log.lock().unwrap().clone()
    }

    /// Waits until the log says so.
    pub fn wait_for(&self, what: &str, is: impl Fn(&Log) -> bool) -> Log {
        let log = self.watched.log.lock().unwrap();
        let (log, _) = self.watched.changed.wait_timeout_while(log, DEADLINE, |log| !is(log)).unwrap();
        assert!(is(&log), "{what}: not within {DEADLINE:?}; {log:?}");
        log.clone()
    }

    /// Waits until a request for that target was handed over.
    pub fn wait_for_request(&self, target: &str) -> Log {
        self.wait_for(target, |log| log.requests.iter().any(|other| other == target))
    }

    /// Waits until `n` connections have come and gone; then nothing may be left of them.
    pub fn wait_for_end_of(&self, n: usize) -> Log {
        let log = self.wait_for("the end of the connections", |log| {
            log.opened == n && log.closed == n && log.done.len() == log.requests.len() && log.released == log.lent
        });
        assert_eq!((log.opened, log.closed), (n, n));
        log
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.sender.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        if let (Some(Err(panic)), false) = (ended, std::thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}
