//! Section 13: mounts: requests under a path that the library answers itself.

use std::ffi::{c_char, c_int};

use super::guard::{any_thread, on_loop};
use super::input;
use super::server::{encke, Inner};
use super::types::{encke_field, encke_id, encke_sender, encke_str};
use crate::engine::id::Id;
use crate::engine::lease::Settled;
use crate::engine::mailbox::Submission;
use crate::engine::Error;
use crate::http1::response::{Place, Seen};
use crate::io::files::Root;
use crate::mounts::authorization::Guard;
use crate::mounts::files::Files;
use crate::mounts::{check_prefix, usual_realm, Options, Service};
use crate::push::message::MAX_TEXT;
use crate::MOUNTS;

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
    /// Not empty: requests need HTTP Basic authentication with this password; any user will do. Else 401. It guards this
    /// mount's paths as they are spelled, not the files: another mount over the same directory shows them without it.
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
    // SAFETY: the host gives NULL or a living encke, NULL or NUL-terminated text, NULL or readable options, and NULL or a
    // writable id.
    unsafe {
        let Some(sender) = e.as_ref().map(|encke| encke.sender().clone()) else {
            return on_loop(e, |_| Ok(0));
        };
        on_loop(e, |inner| {
            if !MOUNTS {
                return Err(Error::NotSupported("this build has no mounts".into()));
            }
            let (options, files) = check(kind, prefix, options, sizeof_options)?;
            if out.is_null() && (options.pass_only || options.prefix.is_none()) {
                return Err(Error::invalid("out is NULL: nobody could pass anything to this mount"));
            }
            let id = inner.driver.mount(options, files)?;
            sender.mounts().push(id.0);
            if !out.is_null() {
                *out = id.0;
            }
            Ok(0)
        })
    }
}

const LEAST_OPTIONS: usize = size_of::<encke_str>();
const FLAGS_OF_ALL: u32 = ENCKE_MOUNT_PASS;
const FLAGS_OF_BUS: u32 = ENCKE_MOUNT_CORS;
const FLAGS_OF_FILES: u32 = ENCKE_MOUNT_SYMLINKS | ENCKE_MOUNT_DOTFILES | ENCKE_MOUNT_PRECOMPRESSED;

/// # Safety
/// As [`encke_mount`].
unsafe fn check(
    kind: c_int,
    prefix: *const c_char,
    options: *const encke_mount_options,
    size: usize,
) -> Result<(Options, Option<(Files, Root)>), Error> {
    // SAFETY: the caller's promise; every bit pattern is an encke_mount_options.
    unsafe {
        let service = match kind {
            ENCKE_MOUNT_BUS => Service::Bus,
            ENCKE_MOUNT_FILES => Service::Files,
            other => return Err(Error::invalid(format!("kind {other}: there is no such mount"))),
        };
        let prefix = match prefix.is_null() {
            true => None,
            false => Some(check_prefix(input::c_text(prefix, "the prefix")?).map_err(Error::invalid)?.into()),
        };
        let o = match options.is_null() && size == 0 {
            true => encke_mount_options::NOTHING,
            false => input::grown(options, size, LEAST_OPTIONS, "the options")?,
        };
        let (fitting, others) = match service {
            Service::Bus => (FLAGS_OF_BUS, FLAGS_OF_FILES),
            Service::Files => (FLAGS_OF_FILES, FLAGS_OF_BUS),
        };
        if o.flags & !(FLAGS_OF_ALL | fitting | others) != 0 {
            return Err(Error::NotSupported(format!("flags {:#x}: unknown bits", o.flags).into()));
        }
        if o.flags & others != 0 {
            return Err(Error::invalid(format!("flags {:#x}: not of this kind of mount", o.flags & others)));
        }
        let realm =
            std::str::from_utf8(input::text(&o.realm, "realm")?).map_err(|_| Error::invalid("realm is not UTF-8"))?;
        if realm.bytes().any(|byte| byte < b' ' || byte == 0x7f) || realm.len() > MAX_TEXT {
            return Err(Error::invalid("realm contains a control character, or is longer than 1024 bytes"));
        }
        let realm = if realm.is_empty() { usual_realm(service) } else { realm };
        let secret = input::text(&o.secret, "secret")?;
        let (mut lines, mut seen) = (Vec::new(), Seen::default());
        input::field_lines(o.fields, o.nfields, Place::Answer, &mut lines, &mut seen)?;
        let directory = input::text(&o.directory, "directory")?;
        let files = match service {
            Service::Bus if directory.is_empty() => None,
            Service::Bus => return Err(Error::invalid("directory: a bus has none")),
            Service::Files if directory.is_empty() => return Err(Error::invalid("directory: there is none")),
            Service::Files if directory.contains(&0) => return Err(Error::invalid("directory: contains a NUL")),
            Service::Files => {
                let has = |flag| o.flags & flag != 0;
                let files = Files::new(has(ENCKE_MOUNT_DOTFILES), has(ENCKE_MOUNT_PRECOMPRESSED));
                Some((files, Root::open(directory, has(ENCKE_MOUNT_SYMLINKS))?))
            }
        };
        let options = Options {
            service,
            prefix,
            pass_only: o.flags & ENCKE_MOUNT_PASS != 0,
            guard: (!secret.is_empty()).then(|| Guard::new(secret, realm)),
            lines,
            seen,
            cors: o.flags & ENCKE_MOUNT_CORS != 0,
        };
        Ok((options, files))
    }
}

impl encke_mount_options {
    const NOTHING: encke_mount_options = encke_mount_options {
        directory: encke_str::EMPTY,
        secret: encke_str::EMPTY,
        flags: 0,
        realm: encke_str::EMPTY,
        fields: std::ptr::null(),
        nfields: 0,
    };
}

/// Lets a mount answer a request of the host, so that the host's own authorisation comes first. Settles; a path that does
/// not begin with the mount's prefix is answered 404. DONE comes as after encke_respond; where it became a subscription the
/// id lives on as the subscriber's, as after encke_subscribe. What a WebSocket says to a bus is published there; with
/// ENCKE_WANT(ENCKE_EV_MESSAGE) among ENCKE_OPT_EVENTS it is shown as well. Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun, or a piece of the body was shown;
/// ENCKE_E_INVAL: no mount of this encke; ENCKE_E_NOTSUP: this build has no mounts; ENCKE_E_CLOSED: the encke was freed.
/// Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_pass(sender: *mut encke_sender, request: encke_id, mount: encke_id) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference.
    unsafe { any_thread(sender, |sender| sender.pass_on(Id(request), Id(mount)).map(|()| 0)) }
}

impl Inner {
    /// What other threads have passed on.
    pub(super) fn serve_passed(&mut self) {
        while let Some((id, mount)) = self.driver.engine.next_passed() {
            self.serve_one(id, mount);
        }
    }

    fn serve_one(&mut self, id: Id, mount: Id) {
        let held = self.heads.get(id.slot() as usize).and_then(Option::as_ref);
        let head = held.filter(|held| held.view.id == id.0).and_then(|held| held.head());
        self.driver.serve_passed(id, mount, head);
    }
}

impl encke_sender {
    pub(super) fn mounts(&self) -> std::sync::MutexGuard<'_, Vec<encke_id>> {
        self.mounts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn pass_on(&self, id: Id, mount: Id) -> Result<(), Error> {
        if !MOUNTS {
            return Err(Error::NotSupported("this build has no mounts".into()));
        }
        if self.open().is_err() {
            return Err(self.settle_closed(id));
        }
        if !self.mounts().contains(&mount.0) {
            return Err(Error::invalid("no mount of this encke has this id"));
        }
        if self.leases.settle_by_passing(id)? == Settled::Gone {
            return Err(self.settled_gone(id));
        }
        match self.on_loop() {
            Some(mut inner) => {
                inner.driver.before_answer();
                inner.serve_one(id, mount);
                inner.driver.after_answer();
                Ok(())
            }
            None => self.hand_over(Submission::Pass { id, mount }).inspect_err(|_| self.drop_head(id)),
        }
    }
}
