//! Section 13: mounts: requests under a path that the library answers itself.

use std::ffi::{c_char, c_int};

use super::guard::{any_thread, on_loop};
use super::server::encke;
use super::types::{encke_field, encke_id, encke_sender, encke_str};
use crate::engine::Error;

/// A message bus that speaks the msgbus protocol: POST publishes in the channel that the path names behind the prefix, GET
/// subscribes it ("": everything), with types and senders in the query (`type`, `sender`). Clients that ask for it get the
/// same channels as Server-Sent Events, WebSocket, long poll or encke's own multipart; all of them are the channels of
/// section 12. docs/bus.md is the protocol.
pub const ENCKE_MOUNT_BUS: c_int = 1;
/// The files of a directory, by GET and HEAD: conditional requests, ranges, index.html, types by the name's ending.
pub const ENCKE_MOUNT_FILES: c_int = 2;

/// encke_mount_options: requests come by encke_pass only; the prefix is still what is cut off their paths.
pub const ENCKE_MOUNT_PASS: u32 = 1;
/// encke_mount_options: FILES: symbolic links are followed as long as they stay inside the directory. Without it they are
/// not there.
pub const ENCKE_MOUNT_SYMLINKS: u32 = 2;
/// encke_mount_options: FILES: names that begin with a dot are served too.
pub const ENCKE_MOUNT_DOTFILES: u32 = 4;
/// encke_mount_options: FILES: who accepts it gets name.br or name.gz, if it is beside the file and not older.
pub const ENCKE_MOUNT_PRECOMPRESSED: u32 = 8;
/// encke_mount_options: BUS: pages of every origin may read and publish (CORS).
pub const ENCKE_MOUNT_CORS: u32 = 16;

/// How a mount behaves. Zero it first. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_mount_options {
    /// FILES: its path. It is opened now: renamed later, it is still the same.
    pub directory: encke_str,
    /// Not empty: requests need HTTP Basic authentication with this password; any user will do. Else 401.
    pub secret: encke_str,
    /// ENCKE_MOUNT_PASS, ENCKE_MOUNT_SYMLINKS, ENCKE_MOUNT_DOTFILES, ENCKE_MOUNT_PRECOMPRESSED, ENCKE_MOUNT_CORS
    pub flags: u32,
    /// With secret: the realm that the 401 names; empty: "msgbus" for BUS, "files" for FILES.
    pub realm: encke_str,
    /// Of every answer: caching, security policies. Copied.
    pub fields: *const encke_field,
    pub nfields: usize,
}

/// Answers requests whose path begins with this prefix, from now on: they are no events of the host any more, but count in
/// the statistics. A prefix begins and ends with '/': "/msgbus/", or "/" for everything; it is compared with the path as it
/// came, not decoded. Of several the longest wins; what none fits is the host's. NULL: reached by encke_pass only, nothing is
/// cut off. *out (may be NULL without ENCKE_MOUNT_PASS) gets the id, for encke_pass and encke_close, which ends the mount:
/// answers and subscriptions under way go on. Pass sizeof(encke_mount_options); options may be NULL with 0 for BUS.
/// [loop thread]
/// ENCKE_E_INVAL: bad kind, prefix, directory or field, a prefix that another mount has, or a flag of the other kind,
/// encke_last_error() says which; ENCKE_E_SYS: the directory cannot be opened; ENCKE_E_NOTSUP: this build has no mounts
/// (encke_has_feature("mounts")), or a flag or field newer than this library; ENCKE_E_NOMEM: too many. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_mount(
    e: *mut encke,
    kind: c_int,
    prefix: *const c_char,
    options: *const encke_mount_options,
    sizeof_options: usize,
    out: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        on_loop(e, |_| {
            let _ = (kind, prefix, options, sizeof_options, out);
            Err(Error::NotSupported("mounts are not in this build".into()))
        })
    }
}

/// Lets a mount answer a request of the host, so that the host's own authorisation comes first. Settles; a path that does
/// not begin with the mount's prefix is answered 404. DONE comes as after encke_respond; where it became a subscription the
/// id lives on as the subscriber's, as after encke_subscribe. Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun, or a piece of the body was shown;
/// ENCKE_E_INVAL: no mount of this encke; ENCKE_E_NOTSUP: this build has no mounts; ENCKE_E_CLOSED: the encke was freed.
/// Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_pass(sender: *mut encke_sender, request: encke_id, mount: encke_id) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference.
    unsafe {
        any_thread(sender, |_| {
            let _ = (request, mount);
            Err(Error::NotSupported("mounts are not in this build".into()))
        })
    }
}
