//! Section 5, continued: facts about what an id names.

use std::ffi::{c_int, c_void};

use super::guard::on_loop;
use super::input;
use super::server::encke;
use super::types::encke_id;
use crate::engine::id::Id;
use crate::engine::Error;

/// The local address: "127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock"; the real port after ":0".
pub const ENCKE_INFO_LOCAL: c_int = 1;
/// The other end's address in the same form; "unix:" for a UNIX client; "" for a listener.
pub const ENCKE_INFO_PEER: c_int = 2;
/// The server name that the TLS client asked for; "" without TLS.
pub const ENCKE_INFO_SNI: c_int = 3;
/// TLS version and cipher suite, "TLSv1.3 TLS13_AES_128_GCM_SHA256"; "" without TLS.
pub const ENCKE_INFO_TLS: c_int = 4;
/// The protocol agreed by ALPN; "" without.
pub const ENCKE_INFO_ALPN: c_int = 5;
/// DER of the verified client certificate, not NUL-terminated; need 0 without.
pub const ENCKE_INFO_CLIENT_CERT: c_int = 6;
/// The fd in decimal digits; for getsockopt and setsockopt only.
pub const ENCKE_INFO_FD: c_int = 7;

/// Tells a fact (ENCKE_INFO_) about a listener, a connection or a request, as NUL-terminated text. need (may be NULL) gets
/// the size, the NUL counted; an absent fact is "" with need 1. buf may be NULL with cap 0 to learn the size.
/// [loop thread]
/// ENCKE_E_GONE: the id is over, or its connection is; ENCKE_E_RANGE: cap is too small, need tells; ENCKE_E_INVAL: no such
/// fact; ENCKE_E_SYS: the system does not tell. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_info(
    e: *mut encke,
    id: encke_id,
    what: c_int,
    buf: *mut c_void,
    cap: usize,
    need: *mut usize,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke, `cap` writable bytes, and NULL or a writable size.
    unsafe {
        on_loop(e, |inner| {
            let driver = &mut inner.driver;
            let value = match what {
                ENCKE_INFO_LOCAL => driver.local_address(Id(id))?,
                ENCKE_INFO_PEER => driver.peer_address(Id(id))?,
                ENCKE_INFO_FD => driver.raw_fd(Id(id))?.to_string().into_bytes(),
                ENCKE_INFO_SNI => driver.tls_server_name(Id(id))?,
                ENCKE_INFO_TLS => driver.tls_version_and_suite(Id(id))?,
                ENCKE_INFO_ALPN => driver.tls_protocol(Id(id))?,
                ENCKE_INFO_CLIENT_CERT => driver.tls_client_certificate(Id(id))?,
                _ => return Err(Error::invalid(format!("{what} is no ENCKE_INFO_ fact"))),
            };
            input::give_bytes(&value, what != ENCKE_INFO_CLIENT_CERT, buf, cap, need).map(|()| 0)
        })
    }
}
