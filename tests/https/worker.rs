//! Owns the thread that answers beside the loop. Rule: it waits for nothing but its jobs; in which order it answers is
//! fixed.

use std::ffi::c_int;
use std::sync::mpsc::{channel, Receiver, Sender as Jobs};
use std::thread::JoinHandle;

use ::encke::capi::result::{ENCKE_E_GONE, ENCKE_OK};

use super::api::Sender;
use super::server::pattern;

#[derive(Debug)]
pub enum Job {
    /// One of `of` requests that are answered when all of them are here, not in their order.
    Batch {
        id: u64,
        of: usize,
        n: usize,
    },
    /// To be answered on release.
    Hold(u64),
    /// Its head and 1,000 bytes of its body go out now, the rest on release.
    Begin(u64),
    /// It was aborted.
    Forget(u64),
    Release,
    /// Everything is given up.
    Break,
    Stop,
}

/// The body of the n-th answer of a batch: long and short ones.
pub fn batch_body(n: usize) -> Vec<u8> {
    let mut body = format!("number {n} ").into_bytes();
    body.extend_from_slice(&pattern()[n..n + n % 5 * 9000]);
    body
}

pub struct Worker {
    pub jobs: Jobs<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn start(sender: Sender) -> Worker {
        let (jobs, todo) = channel();
        Worker { jobs, thread: Some(std::thread::spawn(move || work(&sender, &todo))) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Stop);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the worker panicked");
    }
}

fn settled(code: c_int) {
    assert!(matches!(code, ENCKE_OK | ENCKE_E_GONE), "{code}");
}

fn work(sender: &Sender, todo: &Receiver<Job>) {
    let (mut batch, mut held, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    for job in todo {
        match job {
            Job::Batch { id, of, n } => {
                batch.push((n, id));
                if batch.len() == of {
                    batch.sort_unstable_by_key(|(n, _)| (n * 7 + 3) % of);
                    for (n, id) in batch.drain(..) {
                        settled(sender.reply(id, 200, &batch_body(n)));
                    }
                }
            }
            Job::Hold(id) => held.push(id),
            Job::Begin(id) => {
                settled(sender.begin(id, None));
                settled(sender.write(id, &pattern()[..1000]));
                begun.push(id);
            }
            Job::Forget(id) => {
                batch.retain(|(_, other)| *other != id);
                held.retain(|other| *other != id);
                begun.retain(|other| *other != id);
                settled(sender.abort(id));
            }
            Job::Release => {
                for id in held.drain(..) {
                    settled(sender.reply(id, 200, b"released"));
                }
                for id in begun.drain(..) {
                    settled(sender.write(id, &pattern()[1000..3000]));
                    settled(sender.end(id));
                }
            }
            Job::Break => held.drain(..).chain(begun.drain(..)).for_each(|id| settled(sender.abort(id))),
            Job::Stop => return,
        }
    }
}
