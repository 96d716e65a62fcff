//! Owns the knowledge of fork. Rule: whoever was made before a fork is a stranger in the child, found out without a
//! system call.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Once;

static FORKS: AtomicU32 = AtomicU32::new(0);
static WATCHED: Once = Once::new();

extern "C" fn in_child() {
    FORKS.fetch_add(1, Relaxed);
}

/// Counts the forks between the first process and this one, since the first call.
pub fn generation() -> u32 {
    FORKS.load(Relaxed)
}

/// From now on forks are counted.
pub fn watch() {
    if cfg!(miri) {
        return; // there is no fork
    }
    WATCHED.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is legal in a child of a threaded process.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
