//! Section 6: driving it. Rule: nothing here waits but encke_wait.

use std::ffi::c_int;
use std::os::fd::AsRawFd;

use super::guard::{guard_value, on_loop};
use super::server::{encke, Inner};
use super::types::encke_fd_t;
use crate::engine::Error;

/// Watch for reading. As got: also for error and hang-up (set both).
pub const ENCKE_READ: u32 = 1;
/// Watch for writing.
pub const ENCKE_WRITE: u32 = 2;

/// One fd of ENCKE_WATCH_EACH: what it is to be watched for, and what was seen. Frozen.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_watch {
    pub fd: encke_fd_t,
    /// ENCKE_READ, ENCKE_WRITE, both; 0: forget it.
    pub want: u32,
    /// ENCKE_READ, ENCKE_WRITE, both: for encke_feed.
    pub got: u32,
}

/// The one fd. Watch it for readability, level-triggered: it is readable whenever encke_run or encke_next would do or
/// return something. It never changes, and it is not to be read, written or closed. It may lie above FD_SETSIZE: hosts
/// with select call encke_new early. -1 (ENCKE_NO_FD) with ENCKE_WATCH_EACH, where the build lacks "one-fd", and on an
/// error: NULL, another thread, a child of fork. [loop thread] Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_fd(e: *mut encke) -> encke_fd_t {
    guard_value(-1, || {
        let mut fd = -1;
        // SAFETY: the host gives NULL or a living encke.
        let code = unsafe {
            on_loop(e, |inner| {
                fd = inner.driver.fd().map_or(-1, |fd| fd.as_raw_fd());
                Ok(0)
            })
        };
        if code < 0 {
            -1
        } else {
            fd
        }
    })
}

/// Does what is ready and never blocks: accepts, reads, writes, deadlines, what other threads said. budget is the most
/// connections that are served, 0: the default (256). 1: calling again now, before encke_next, would do more; 0: it would
/// not, also where the event queue is full (F1). [loop thread]
/// ENCKE_E_SYS: the kernel's queue failed, which only a bug or closed fds can cause. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_run(e: *mut encke, budget: u32) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        on_loop(e, |inner| {
            inner.let_go();
            inner.run(budget)
        })
    }
}

/// For a program without a loop of its own: blocks until there is something to do or to show, or timeout_ms milliseconds
/// have passed (-1: for ever), or a signal or encke_wake came; then does what encke_run does and returns what it returns.
/// 0 also where nothing happened. [loop thread]
/// ENCKE_E_STATE: with ENCKE_WATCH_EACH; ENCKE_E_SYS: as encke_run. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_wait(e: *mut encke, timeout_ms: i64) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        on_loop(e, |inner| {
            if inner.driver.watches().is_some() {
                return Err(Error::State);
            }
            inner.let_go();
            inner.driver.wait(timeout_ms)?;
            inner.run(0)
        })
    }
}

impl Inner {
    fn run(&mut self, budget: u32) -> Result<c_int, Error> {
        self.hear_links();
        let mut more = self.driver.run(budget)?;
        // Said after the first look, it may have woken a loop that was about to look at all the rest.
        more |= self.hear_links();
        Ok(more.into())
    }
}

/// With ENCKE_WATCH_EACH: 1 and the milliseconds after which encke_run is to be called at the latest (0: now), or 0: no
/// deadline. Ask before every wait, after encke_next_watch. [loop thread]
/// ENCKE_E_INVAL: ms is NULL; ENCKE_E_STATE: not with ENCKE_WATCH_EACH. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_timeout(e: *mut encke, ms: *mut u64) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or a writable number.
    unsafe {
        on_loop(e, |inner| {
            if ms.is_null() {
                return Err(Error::invalid("ms is NULL"));
            }
            if inner.driver.watches().is_none() {
                return Err(Error::State);
            }
            match inner.driver.timeout() {
                Some(timeout) => {
                    *ms = timeout;
                    Ok(1)
                }
                None => Ok(0),
            }
        })
    }
}

/// With ENCKE_WATCH_EACH: the next change. 1: from now on watch out->fd for out->want, 0 meaning forget it; 0: no more
/// changes. Call it until 0 before every wait. A forgotten fd is closed only at the next call here. [loop thread]
/// ENCKE_E_INVAL: out is NULL; ENCKE_E_STATE: not with ENCKE_WATCH_EACH. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_next_watch(e: *mut encke, out: *mut encke_watch) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or a writable struct.
    unsafe {
        on_loop(e, |inner| {
            let Some(out) = out.as_mut() else { return Err(Error::invalid("out is NULL")) };
            let Some(watches) = inner.driver.watches() else { return Err(Error::State) };
            match watches.next_change() {
                Some((fd, want)) => {
                    *out = encke_watch { fd, want, got: 0 };
                    Ok(1)
                }
                None => Ok(0),
            }
        })
    }
}

/// With ENCKE_WATCH_EACH: notes what the host saw on n fds (fd and got); encke_run does the work. What is stale, spurious
/// or unknown is ignored. [loop thread]
/// ENCKE_E_INVAL: ready is NULL and n is not 0; ENCKE_E_STATE: not with ENCKE_WATCH_EACH. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_feed(e: *mut encke, ready: *const encke_watch, n: usize) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or `n` readable structs.
    unsafe {
        on_loop(e, |inner| {
            if ready.is_null() && n > 0 {
                return Err(Error::invalid(format!("ready: NULL with a count of {n}")));
            }
            let Some(watches) = inner.driver.watches() else { return Err(Error::State) };
            for i in 0..n {
                let watch = &*ready.add(i);
                watches.feed(watch.fd, watch.got);
            }
            Ok(0)
        })
    }
}
