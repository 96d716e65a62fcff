//! Owns the model of how other threads wake the loop. Rule: the code under test is the library's own (see build.rs); what
//! is modelled here is the kernel alone: an eventfd in an epoll set, by edges, nested in the host's poll.
//!
//! A wake-up that is lost leaves the loop asleep when every sender is done, which loom reports as a deadlock. The protocol
//! must pass every scene, and each of its mutants must fail one. A scene is a process of its own: loom cannot go on after
//! a failure.
//!
//!   encke-wake-model                    all of them
//!   encke-wake-model PROTOCOL SCENE     one, with what loom has to say
//!
//! LOOM_MAX_PREEMPTIONS bounds how often a thread is interrupted where it need not be (default here: 2).

#![allow(dead_code)] // no protocol uses all of the mailbox

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

/// What one run takes from the mailbox: less than there may be, so that something is left over.
const SUBMISSIONS: usize = 1;

/// What a mailbox knows of messages of a hub.
mod push {
    pub mod message {
        #[derive(Debug)]
        pub struct Position {
            pub n: u64,
        }

        #[derive(Debug)]
        pub struct Message {
            pub position: Position,
        }

        impl Message {
            pub fn size(&self) -> u64 {
                1
            }
        }
    }
}

mod parts {
    use loom::sync::atomic::Ordering;
    use loom::sync::{Condvar, Mutex};

    /// The eventfd and the epoll set: a write makes an edge, epoll_wait collects it, poll(2) on the set sees it until then.
    /// The kernel orders its own calls, so a mutex is a faithful model.
    #[derive(Debug)]
    pub struct Waker {
        edge: Mutex<bool>,
        changed: Condvar,
    }

    impl Waker {
        pub fn new() -> Waker {
            Waker { edge: Mutex::new(false), changed: Condvar::new() }
        }

        pub fn wake(&self) {
            *self.edge.lock().unwrap() = true;
            self.changed.notify_one();
        }

        /// The host sleeps until the fd is readable.
        pub fn sleep(&self) {
            let mut edge = self.edge.lock().unwrap();
            while !*edge {
                edge = self.changed.wait(edge).unwrap();
            }
        }

        /// What encke_run does first.
        pub fn collect(&self) {
            *self.edge.lock().unwrap() = false;
        }
    }

    impl Default for Waker {
        fn default() -> Waker {
            Waker::new()
        }
    }

    /// A flag whose operations all have one order.
    #[derive(Debug)]
    pub struct AtomicBool(Mutex<bool>);

    impl AtomicBool {
        pub fn new(value: bool) -> AtomicBool {
            AtomicBool(Mutex::new(value))
        }

        pub fn swap(&self, value: bool, _: Ordering) -> bool {
            std::mem::replace(&mut *self.0.lock().unwrap(), value)
        }

        pub fn store(&self, value: bool, _: Ordering) {
            *self.0.lock().unwrap() = value;
        }

        pub fn load(&self, _: Ordering) -> bool {
            *self.0.lock().unwrap()
        }
    }

    /// Counts what was said.
    #[derive(Debug, Default)]
    pub struct Engine {
        pub heard: usize,
    }

    impl Engine {
        pub fn apply<T>(&mut self, submission: T) {
            drop(submission);
            self.heard += 1;
        }
    }
}

/// The scenes, for the protocol and for each of its mutants.
macro_rules! scenes {
    (list WEAK) => {
        pub const WEAK: &[crate::Scene] = &[
            ("one thread says two things", || all_is_heard(1, 2)),
            ("two threads say one thing each", || all_is_heard(2, 1)),
            ("freed while one thread speaks", || none_is_lost_at_the_end(1)),
            ("freed while two threads speak", || none_is_lost_at_the_end(2)),
        ];
    };
    (list ORDERED) => {
        pub const ORDERED: &[crate::Scene] = &[
            ("two threads say two things each", || all_is_heard(2, 2)),
            ("three threads say one thing each", || all_is_heard(3, 1)),
        ];
    };
    ($scenes:ident) => {
        /// Everything that `senders` threads say, `each` times, is heard by a loop that sleeps whenever its fd is quiet.
        pub fn all_is_heard(senders: usize, each: usize) {
            let mailbox = Arc::new(Mailbox::default());
            let waker = Arc::new(Waker::new());
            let threads: Vec<_> = (0..senders)
                .map(|n| {
                    let sender = Sender { mailbox: mailbox.clone(), waker: waker.clone() };
                    loom::thread::spawn(move || {
                        for i in 0..each {
                            let id = id::Id((n * each + i) as u64);
                            assert!(sender.pass(Submission::Abort { id }).is_ok());
                        }
                    })
                })
                .collect();
            let mut driver = Driver { mailbox, engine: Engine::default() };
            let mut left_over = false;
            while driver.engine.heard < senders * each {
                if !left_over {
                    waker.sleep();
                }
                waker.collect();
                left_over = driver.hear();
            }
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(!driver.hear());
        }

        /// What is said while the encke is freed was either heard or comes back to who said it.
        #[allow(dead_code)]
        pub fn none_is_lost_at_the_end(senders: usize) {
            let mailbox = Arc::new(Mailbox::default());
            let waker = Arc::new(Waker::new());
            let threads: Vec<_> = (0..senders)
                .map(|n| {
                    let sender = Sender { mailbox: mailbox.clone(), waker: waker.clone() };
                    loom::thread::spawn(move || usize::from(sender.pass(Submission::Abort { id: id::Id(n as u64) }).is_err()))
                })
                .collect();
            let mut driver = Driver { mailbox, engine: Engine::default() };
            driver.mailbox.close();
            while driver.hear() {}
            let refused: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(driver.engine.heard + refused, senders);
        }

        crate::scenes!(list $scenes);
    };
}
use scenes;

type Scene = (&'static str, fn());

include!(concat!(env!("OUT_DIR"), "/protocols.rs"));

fn find(protocol: &str, scene: &str) -> Option<fn()> {
    let (_, kinds) = PROTOCOLS.iter().find(|(name, _)| *name == protocol)?;
    kinds.iter().copied().flatten().find(|(name, _)| *name == scene).map(|(_, play)| *play)
}

/// How many executions loom tried, or nothing if one of them failed.
fn tried(protocol: &str, scene: &str) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program).args([protocol, scene]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| said.trim().parse().ok())?
}

fn every_protocol() -> bool {
    let (mut right, mut found) = (true, 0);
    for (protocol, kinds) in PROTOCOLS {
        let is_mutant = *protocol != "protocol";
        let mut failed = None;
        for (scene, _) in kinds.iter().copied().flatten() {
            match tried(protocol, scene) {
                Some(n) if !is_mutant => println!("{protocol}: {scene}: {n} executions, all right"),
                Some(_) => {}
                None => {
                    failed = Some(scene);
                    break;
                }
            }
        }
        match failed {
            Some(scene) if is_mutant => {
                found += 1;
                println!("mutant {protocol}: found by \"{scene}\"");
            }
            Some(scene) => {
                right = false;
                println!("FAILED: {protocol}: {scene}");
            }
            None if is_mutant => {
                right = false;
                println!("FAILED: mutant {protocol} is not found");
            }
            None => {}
        }
    }
    println!(
        "wake model: {found} of {} mutants found, {}",
        PROTOCOLS.len() - 1,
        if right { "passed" } else { "failed" }
    );
    right
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => return if every_protocol() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        [protocol, scene] => {
            let Some(play) = find(protocol, scene) else { return ExitCode::from(2) };
            let mut builder = loom::model::Builder::new();
            builder.preemption_bound = builder.preemption_bound.or(Some(2));
            let executions = Arc::new(AtomicU64::new(0));
            let count = executions.clone();
            builder.check(move || {
                count.fetch_add(1, Relaxed);
                play();
            });
            println!("{}", executions.load(Relaxed));
        }
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}
