//! Owns the guards of every export: NULL, panic, fork, thread. Rule: behind them the code is ordinary Rust.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::Once;

use super::result::{code_of, remember, ENCKE_E_FORKED, ENCKE_E_PANIC};
use super::server::{encke, Inner};
use super::types::encke_sender;
use crate::engine::Error;
use crate::io::fork;

/// What is kept of each thread, in one place: a shared library finds it by a call.
struct Thread {
    /// A number that no other thread of the process ever has.
    number: Cell<u64>,
    guarded: Cell<bool>,
}

thread_local! {
    static THREAD: Thread = const { Thread { number: Cell::new(0), guarded: Cell::new(false) } };
}

impl Thread {
    #[inline]
    fn number(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self.number.get() == 0 {
            self.number.set(NEXT.fetch_add(1, Relaxed));
        }
        self.number.get()
    }

    /// Runs `f`; `None`: it panicked.
    #[inline]
    fn caught<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        let before = self.guarded.replace(true);
        let result = catch_unwind(AssertUnwindSafe(f)).ok();
        self.guarded.set(before);
        result
    }
}

/// The number of this thread.
#[inline]
pub fn this_thread() -> u64 {
    THREAD.with(Thread::number)
}

/// Keeps the panic hook quiet for panics inside the library: nothing is printed into the host's terminal.
pub fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |information| {
            if THREAD.with(|thread| thread.guarded.get()) {
                let text = match information.location() {
                    Some(at) => format!("bug in the library at {}:{}", at.file(), at.line()),
                    None => "bug in the library".to_owned(),
                };
                remember(&text, 0);
            } else {
                before(information);
            }
        }));
    });
}

/// Runs `f`; `None`: it panicked.
fn caught<T>(f: impl FnOnce() -> T) -> Option<T> {
    THREAD.with(|thread| thread.caught(f))
}

/// For calls that belong to no encke.
pub fn guard(f: impl FnOnce() -> Result<c_int, Error>) -> c_int {
    caught(|| f().unwrap_or_else(code_of)).unwrap_or(ENCKE_E_PANIC)
}

/// For exports that return no code: `otherwise` after a panic.
pub fn guard_value<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    caught(f).unwrap_or(otherwise)
}

/// For loop-thread calls.
///
/// # Safety
/// `e` is NULL or an encke that was not freed.
#[inline]
pub unsafe fn on_loop(e: *mut encke, f: impl FnOnce(&mut Inner) -> Result<c_int, Error>) -> c_int {
    // SAFETY: the caller's promise; only a shared reference is made.
    let Some(encke) = (unsafe { e.as_ref() }) else {
        return code_of(Error::invalid("the encke is NULL"));
    };
    let sender = encke.sender();
    if let Some(code) = sender.refuses() {
        return code;
    }
    THREAD.with(|thread| {
        if sender.thread.load(Acquire) != thread.number() {
            return code_of(Error::Thread);
        }
        // SAFETY: this is the loop thread, no call of this encke is under way on it (there are no callbacks), and the host
        // orders a change of the loop thread (rule T2).
        let inner = unsafe { &mut *encke.inner() };
        thread.caught(|| f(inner).unwrap_or_else(code_of)).unwrap_or_else(|| poison(sender))
    })
}

/// For calls from any thread.
///
/// # Safety
/// `sender` is NULL or a sender with a reference of the caller.
#[inline]
pub unsafe fn any_thread(sender: *mut encke_sender, f: impl FnOnce(&encke_sender) -> Result<c_int, Error>) -> c_int {
    // SAFETY: the caller's promise.
    let Some(sender) = (unsafe { sender.as_ref() }) else {
        return code_of(Error::invalid("the sender is NULL"));
    };
    if let Some(code) = sender.refuses() {
        return code;
    }
    caught(|| f(sender).unwrap_or_else(code_of)).unwrap_or_else(|| poison(sender))
}

/// From now on this encke answers ENCKE_E_PANIC only, and its fd stays readable so that the host finds out.
#[cold]
fn poison(sender: &encke_sender) -> c_int {
    sender.poisoned.store(true, SeqCst);
    sender.mailbox.close(); // nothing that is published waits for it, and it leaves the hub
    sender.waker.wake();
    ENCKE_E_PANIC
}

impl encke_sender {
    pub(super) fn is_loop_thread(&self) -> bool {
        self.thread.load(Acquire) == this_thread()
    }

    /// The code that every call gets from an encke of the parent process, or from one with a bug.
    #[inline]
    pub(super) fn refuses(&self) -> Option<c_int> {
        if self.forks != fork::generation() {
            remember("this encke belongs to the parent process", 0);
            return Some(ENCKE_E_FORKED);
        }
        if self.poisoned.load(Relaxed) {
            self.waker.wake(); // the fd stays readable
            return Some(ENCKE_E_PANIC);
        }
        None
    }
}
