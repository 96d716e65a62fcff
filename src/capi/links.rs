//! Section 14: links: the client's side of a bus.

use std::ffi::{c_char, c_int};

use super::channels::encke_subscription;
use super::guard::on_loop;
use super::server::encke;
use super::types::{encke_id, encke_str};
use crate::engine::Error;

/// encke_link_options: each acknowledged message is told by ENCKE_LINK_ACKED.
pub const ENCKE_LINK_REPORT: u32 = 1;
/// encke_link_options: no message is sent twice: what was on its way when the connection was lost comes back as
/// ENCKE_LINK_RETURNED.
pub const ENCKE_LINK_ONCE: u32 = 2;

/// ENCKE_EV_LINK: connected, and the other end agreed. After it was down: it goes on without loss unless ENCKE_LINK_GAP says
/// otherwise.
pub const ENCKE_LINK_UP: i32 = 1;
/// ENCKE_EV_LINK: lost, or it could not be reached; data is one line that says why. It is tried again.
pub const ENCKE_LINK_DOWN: i32 = 2;
/// ENCKE_EV_LINK: the server answered a subscription with another status than 200: it is in `more`. It is tried again after the
/// longest pause.
pub const ENCKE_LINK_REFUSED: i32 = 3;
/// ENCKE_EV_LINK: of a subscription that came back: messages may have been missed.
pub const ENCKE_LINK_GAP: i32 = 4;
/// ENCKE_EV_LINK, with ENCKE_LINK_REPORT: of the messages that encke_publish took for this link, numbered from 1, all up to
/// `cookie` were acknowledged or have come back.
pub const ENCKE_LINK_ACKED: i32 = 5;
/// ENCKE_EV_LINK: the message with the number `cookie`, in channel and message, was not delivered and is not tried again. `more`
/// is the status of the server that refused it; 0: nobody knows whether it arrived (ENCKE_LINK_ONCE), or the link was closed.
pub const ENCKE_LINK_RETURNED: i32 = 6;
/// ENCKE_EV_LINK: the last event of this id, after encke_close.
pub const ENCKE_LINK_CLOSED: i32 = 7;

/// How a link behaves. Zero it first. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_link_options {
    /// For HTTP Basic authentication; the user is the sender of what is published.
    pub user: encke_str,
    pub password: encke_str,
    /// https: the certificates in PEM that the server's must come from; empty: those of the system.
    pub ca_pem: encke_str,
    /// The longest pause between two attempts to connect; 0: 30,000. Pauses begin at 100 ms, double, and vary by chance.
    pub retry_ms_max: u64,
    /// What encke_publish takes before ENCKE_E_AGAIN: bytes of messages not acknowledged, and their number; 0: 1 MiB, 10,000.
    pub queue_bytes: u64,
    pub queue_messages: u64,
    /// Bytes of a message from the bus at the most; a larger one ends its connection. 0: 16 MiB.
    pub max_message: u64,
    /// ENCKE_LINK_REPORT, ENCKE_LINK_ONCE
    pub flags: u32,
    /// Messages on their way at the same time; 0: 64; 1: one after the other.
    pub window: u32,
}

/// Opens a link to a bus: "http://127.0.0.1:8888/msgbus/", "https://[::1]:4444/bus/", "unix:/run/x.sock:/msgbus/". Without a
/// port 8888 (https: 4444), without a path "/msgbus/"; NULL: http://127.0.0.1:8888/msgbus/. A path ends in '/': the names of
/// channels stand behind it. Connections are made when something is published or subscribed, kept, and made anew when they are
/// lost, all inside encke_run. *link gets its id, for encke_publish, encke_subscribe, encke_unsubscribe, encke_set_user and
/// encke_close. What happens is told by ENCKE_EV_LINK and ENCKE_EV_MESSAGE. Pass sizeof(encke_link_options); options may be NULL
/// with 0. [loop thread]
/// ENCKE_E_INVAL: the URL or an option is not understood, encke_last_error() says what is wrong with it; ENCKE_E_TLS: ca_pem, or
/// the system, has no usable certificate; ENCKE_E_NOTSUP: this build has no links (encke_has_feature("links")), or https and no
/// TLS, or a flag or field newer than this library; ENCKE_E_SYS: no random numbers; ENCKE_E_NOMEM. Since 0.1. RFC 7617.
#[no_mangle]
pub unsafe extern "C" fn encke_link_open(
    e: *mut encke,
    url: *const c_char,
    options: *const encke_link_options,
    sizeof_options: usize,
    link: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        on_loop(e, |_| {
            let _ = (url, options, sizeof_options, link);
            Err(Error::NotSupported("links are not in this build".into()))
        })
    }
}

/// Subscribes one channel of a link under an id of its own: what comes for it carries this id and its encke_set_user, and
/// encke_close ends it alone. "": every channel. Of `how` types, from and since are looked at; NULL with 0: everything. Pass
/// sizeof(encke_subscription). [loop thread]
/// ENCKE_E_GONE: no such link; ENCKE_E_INVAL: bad name, list or position, or out is NULL; ENCKE_E_NOTSUP: a flag or field newer
/// than this library, or one that a link has no use for. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_link_subscribe(
    e: *mut encke,
    link: encke_id,
    channel: *const c_char,
    how: *const encke_subscription,
    sizeof_subscription: usize,
    out: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        on_loop(e, |_| {
            let _ = (link, channel, how, sizeof_subscription, out);
            Err(Error::NotSupported("links are not in this build".into()))
        })
    }
}
