//! Section 1: version.

use std::ffi::{c_char, c_int};

use super::guard::guard_value;
use super::input;
use crate::PUSH;

/// The number before the first dot.
pub const ENCKE_VERSION_MAJOR: u32 = 0;
/// The number between the dots.
pub const ENCKE_VERSION_MINOR: u32 = 1;
/// The number behind the last dot.
pub const ENCKE_VERSION_PATCH: u32 = 0;

/// The version of the library the program runs on, as ENCKE_VERSION_NUM has it for the header it was compiled with.
/// Any thread. Never fails. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_version_num() -> u32 {
    (ENCKE_VERSION_MAJOR << 16) | (ENCKE_VERSION_MINOR << 8) | ENCKE_VERSION_PATCH
}

/// The same as text, "0.1.0"; static. Any thread. Never fails. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Whether this build has a feature: 1 or 0. "one-fd": ENCKE_WATCH_ONE works on this system; "sendfile": ENCKE_FILE moves
/// in the kernel; "tls": encke_tls_add and encke_listen with certificates work; "mounts": encke_mount works; "links":
/// encke_link_open works; "push": encke_subscribe and encke_publish do; "websocket": encke_ws_accept does. Names that are
/// not known, and NULL, are 0. Any thread. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_has_feature(name: *const c_char) -> c_int {
    guard_value(0, || {
        // SAFETY: the host gives NULL or NUL-terminated text.
        let Ok(name) = (unsafe { input::c_text(name, "name") }) else { return 0 };
        let sendfile = cfg!(any(target_os = "linux", target_os = "android"));
        let tls = cfg!(feature = "tls");
        c_int::from(match name {
            b"one-fd" => true,
            b"sendfile" => sendfile,
            b"tls" => tls,
            b"push" | b"websocket" => PUSH,
            b"mounts" => cfg!(feature = "mounts"),
            b"links" => cfg!(feature = "links"),
            _ => false,
        })
    })
}
