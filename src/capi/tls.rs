//! Section 9: TLS. This build has none: every function is there and says so.

use std::ffi::{c_int, c_void};

use super::guard::{guard, guard_value};
use crate::engine::Error;

/// Certificates; shared by listeners, swapped while they serve.
pub struct encke_tls {
    _later: (),
}

impl std::fmt::Debug for encke_tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("encke_tls")
    }
}

fn unsupported() -> Error {
    Error::NotSupported("this build has no TLS".into())
}

/// Only plain listeners in this build.
pub(super) fn none(tls: *mut encke_tls) -> Result<(), Error> {
    if tls.is_null() {
        Ok(())
    } else {
        Err(unsupported())
    }
}

/// An empty set of certificates; free it with encke_tls_free. NULL only for want of memory. Any thread. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_tls_new() -> *mut encke_tls {
    guard_value(std::ptr::null_mut(), || Box::into_raw(Box::new(encke_tls { _later: () })))
}

/// Adds a certificate chain and its key, both PEM. One thread at a time.
/// ENCKE_E_NOTSUP: this build has no TLS (encke_has_feature("tls")). Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_add(
    tls: *mut encke_tls,
    chain_pem: *const c_void,
    chain_len: usize,
    key_pem: *const c_void,
    key_len: usize,
) -> c_int {
    let _ = (tls, chain_pem, chain_len, key_pem, key_len);
    guard(|| Err(unsupported()))
}

/// Reload: in one step live gets all of fresh, and fresh becomes empty. Any thread.
/// ENCKE_E_NOTSUP: this build has no TLS. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_swap(live: *mut encke_tls, fresh: *mut encke_tls) -> c_int {
    let _ = (live, fresh);
    guard(|| Err(unsupported()))
}

/// Gives up your reference; NULL is fine. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_tls_free(tls: *mut encke_tls) {
    guard_value((), || {
        if !tls.is_null() {
            // SAFETY: it came from encke_tls_new and is not used any more.
            drop(unsafe { Box::from_raw(tls) });
        }
    })
}
