//! Section 2: results. Rule: a negative code says what kind of failure, the text says what was wrong and where.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, CString};

use super::guard::guard_value;
use crate::engine::Error;

/// Done.
pub const ENCKE_OK: c_int = 0;
/// Bad argument: NULL, a malformed field, CR or LF in a value, a field that is the library's. Nothing happened.
pub const ENCKE_E_INVAL: c_int = -1;
/// A held request, but the wrong moment: see L2; or not possible in this mode.
pub const ENCKE_E_STATE: c_int = -2;
/// That id is over or not of this encke: the normal answer to a late call.
pub const ENCKE_E_GONE: c_int = -3;
/// ENCKE_OPT_HIGH_WATER is reached, nothing was taken; wait for ENCKE_EV_WRITABLE.
pub const ENCKE_E_AGAIN: c_int = -4;
/// The encke behind this sender was freed.
pub const ENCKE_E_CLOSED: c_int = -5;
/// No memory for a copy of what was passed in.
pub const ENCKE_E_NOMEM: c_int = -6;
/// A system call failed: encke_last_errno() says how, encke_last_error() which.
pub const ENCKE_E_SYS: c_int = -7;
/// Certificate or key not usable: encke_last_error() says which and why.
pub const ENCKE_E_TLS: c_int = -8;
/// Not in this build, or an option or field newer than this library.
pub const ENCKE_E_NOTSUP: c_int = -9;
/// Your buffer is too small; the size needed was stored.
pub const ENCKE_E_RANGE: c_int = -10;
/// A loop-thread call made from another thread.
pub const ENCKE_E_THREAD: c_int = -11;
/// Belongs to the parent process; only encke_free and encke_sender_unref work here.
pub const ENCKE_E_FORKED: c_int = -12;
/// A bug in the library; this encke answers only this from now on and its fd stays readable: free it.
pub const ENCKE_E_PANIC: c_int = -13;

struct Last {
    text: Option<CString>,
    errno: c_int,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { text: None, errno: 0 }) };
}

/// Stores the detail of this thread's failure.
pub fn remember(text: &str, errno: c_int) {
    let bytes: Vec<u8> = text.bytes().map(|b| if b == 0 { b' ' } else { b }).collect();
    let text = CString::new(bytes).ok();
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = Last { text, errno };
        }
    });
}

/// The code of an error; its detail is stored.
#[cold]
pub fn code_of(error: Error) -> c_int {
    let (code, text, errno) = match error {
        Error::Gone => return quiet(ENCKE_E_GONE),
        Error::Again => return quiet(ENCKE_E_AGAIN),
        Error::Closed => return quiet(ENCKE_E_CLOSED),
        Error::Invalid(text) => (ENCKE_E_INVAL, text, 0),
        Error::System(errno, text) => (ENCKE_E_SYS, text, errno),
        Error::Tls(text) => (ENCKE_E_TLS, text, 0),
        Error::NotSupported(text) => (ENCKE_E_NOTSUP, text, 0),
        Error::State => return quiet(ENCKE_E_STATE),
        Error::NoMemory => return quiet(ENCKE_E_NOMEM),
        Error::Range => return quiet(ENCKE_E_RANGE),
        Error::Thread => return quiet(ENCKE_E_THREAD),
    };
    remember(&text, errno);
    code
}

/// Codes that say it all.
fn quiet(code: c_int) -> c_int {
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            // No allocation for what may come often.
            *last = Last { text: None, errno: code };
        }
    });
    code
}

fn text_of(code: c_int) -> &'static [u8] {
    match code {
        ENCKE_OK => b"done\0",
        ENCKE_E_INVAL => b"bad argument\0",
        ENCKE_E_STATE => b"not at this moment, or not in this mode\0",
        ENCKE_E_GONE => b"that id is over\0",
        ENCKE_E_AGAIN => b"high water reached: wait for ENCKE_EV_WRITABLE\0",
        ENCKE_E_CLOSED => b"the encke was freed\0",
        ENCKE_E_NOMEM => b"no memory\0",
        ENCKE_E_SYS => b"a system call failed\0",
        ENCKE_E_TLS => b"certificate or key not usable\0",
        ENCKE_E_NOTSUP => b"not supported by this library\0",
        ENCKE_E_RANGE => b"the buffer is too small\0",
        ENCKE_E_THREAD => b"a loop-thread call from another thread\0",
        ENCKE_E_FORKED => b"this encke belongs to the parent process\0",
        ENCKE_E_PANIC => b"a bug in the library: free this encke\0",
        code if code > 0 => b"success\0",
        _ => b"unknown error\0",
    }
}

/// What a code means, as static text, for unknown codes too. Any thread. Never fails. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_strerror(code: c_int) -> *const c_char {
    text_of(code).as_ptr().cast()
}

/// The detail of this thread's last failing call, such as "field 3: name contains a space"; "" before the first one. The
/// text lives until this thread's next failing call. Any thread. Never fails. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_last_error() -> *const c_char {
    const NONE: &[u8] = b"\0";
    guard_value(NONE.as_ptr().cast(), || {
        LAST.try_with(|last| match last.try_borrow() {
            Ok(last) => match &last.text {
                Some(text) => text.as_ptr(),
                None if last.errno < 0 => text_of(last.errno).as_ptr().cast(),
                None => NONE.as_ptr().cast(),
            },
            Err(_) => NONE.as_ptr().cast(),
        })
        .unwrap_or(NONE.as_ptr().cast())
    })
}

/// errno behind this thread's last failing call, if that was ENCKE_E_SYS, else 0. Any thread. Never fails. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_last_errno() -> c_int {
    guard_value(0, || LAST.try_with(|last| last.try_borrow().map_or(0, |last| last.errno.max(0))).unwrap_or(0))
}
