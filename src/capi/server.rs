//! Section 5: an encke and its listeners.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex};

use super::config::{encke_config, set_live};
use super::guard::{guard, guard_value, hush, on_loop, this_thread};
use super::held::Held;
use super::input;
use super::place::Place;
use super::result::{code_of, ENCKE_E_FORKED};
use super::tls::encke_tls;
use super::types::{encke_fd_t, encke_id, encke_message, encke_sender};
use crate::engine::id::{Id, Kind, Tag};
use crate::engine::word::Word;
use crate::engine::Error;
use crate::io::address;
use crate::io::driver::Driver;
use crate::io::fork;
use crate::io::listener::Manner;
use crate::link::door::Doors;
use crate::link::Links;
use crate::push::hub::Hub;

/// One loop's worth of listeners and connections: LOOP THREAD ONLY.
pub struct encke {
    sender: Arc<encke_sender>,
    inner: UnsafeCell<Inner>,
}

impl std::fmt::Debug for encke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("encke")
    }
}

impl encke {
    pub(super) fn sender(&self) -> &Arc<encke_sender> {
        &self.sender
    }

    pub(super) fn inner(&self) -> *mut Inner {
        self.inner.get()
    }
}

/// What the loop thread alone touches.
pub struct Inner {
    pub(super) driver: Driver,
    pub(super) manner: Manner,
    /// Heads in the host's hands, by slot of their request.
    pub(super) heads: Vec<Option<Place<Held>>>,
    pub(super) spare: Vec<Place<Held>>,
    /// The bytes of the last BODY event.
    pub(super) body: Vec<u8>,
    /// The channel of the last SUBSCRIBER event.
    pub(super) channel: Vec<u8>,
    /// The last event that came over a link, and the view on its message.
    pub(super) word: Option<Box<Word>>,
    pub(super) message: Place<encke_message>,
    /// For field lines.
    pub(super) lines: Vec<u8>,
    pub(super) links: Links,
    tag: Tag,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("driver", &self.driver).finish_non_exhaustive()
    }
}

impl Inner {
    /// What the last events pointed to ends here, as L3 and L4 say.
    pub(super) fn let_go(&mut self) {
        while let Some(slot) = self.driver.engine.take_retired() {
            if let Some(mut held) = self.heads.get_mut(slot as usize).and_then(Option::take) {
                if let Some(head) = held.take() {
                    self.driver.engine.recycle_head(head);
                }
                if self.spare.len() < 256 {
                    self.spare.push(held);
                }
            }
        }
        self.word = None;
        if self.body.capacity() > 0 {
            let body = std::mem::take(&mut self.body);
            self.driver.engine.recycle_buffer(body);
        }
    }
}

/// Makes an encke with these settings (NULL: the defaults), which are copied. The calling thread becomes its loop thread.
/// Nothing is printed, no thread is started, no signal disposition is changed.
/// ENCKE_E_INVAL: out is NULL, or two settings contradict each other; ENCKE_E_SYS: no fds are left; ENCKE_E_NOMEM: 4,095
/// enckes live already. On a failure *out is NULL. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_new(config: *const encke_config, out: *mut *mut encke) -> c_int {
    guard(|| {
        if out.is_null() {
            return Err(Error::invalid("out is NULL"));
        }
        // SAFETY: out is writable, config is NULL or readable.
        let config = unsafe {
            *out = std::ptr::null_mut();
            config.as_ref().cloned().unwrap_or_default()
        };
        config.whole()?;
        fork::watch();
        hush();
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)
            .map_err(|error| Error::System(error.raw_os_error().unwrap_or(0), "no random numbers".into()))?;
        let tag = Tag::take().ok_or(Error::NoMemory)?;
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch)
            .map_err(|error| Error::System(error.raw_os_error().unwrap_or(0), "no random numbers".into()))?;
        let hub = Arc::new(Hub::new(u64::from_ne_bytes(epoch) | 1));
        let mut driver = match Driver::new(config.settings, tag, config.watch_each) {
            Ok(driver) => driver,
            Err(error) => {
                tag.release(tag.used);
                return Err(error);
            }
        };
        driver.enter(hub.clone());
        let doors = Arc::new(Doors::default());
        let sender = Arc::new(encke_sender {
            leases: driver.engine.leases().clone(),
            mailbox: driver.mailbox().clone(),
            waker: driver.waker().clone(),
            stats: driver.stats().clone(),
            thread: AtomicU64::new(this_thread()),
            forks: fork::generation(),
            poisoned: AtomicBool::new(false),
            referenced: AtomicBool::new(false),
            inside: AtomicBool::new(false),
            inner: AtomicPtr::new(std::ptr::null_mut()),
            left: Default::default(),
            secret,
            hub: Mutex::new(hub),
            mounts: Mutex::default(),
            doors: doors.clone(),
        });
        let inner = Inner {
            driver,
            manner: config.manner,
            heads: Vec::new(),
            spare: Vec::new(),
            body: Vec::new(),
            channel: Vec::new(),
            word: None,
            message: Place::new(encke_message::EMPTY),
            lines: Vec::new(),
            links: Links::new(tag, doors),
            tag,
        };
        let encke = Box::new(encke { sender, inner: UnsafeCell::new(inner) });
        let raw = Box::into_raw(encke);
        // SAFETY: the box was just given up, so `raw` is valid; out is writable.
        unsafe {
            let encke = &*raw;
            encke.sender.inner.store(encke.inner(), SeqCst);
            *out = raw;
        }
        Ok(0)
    })
}

/// Changes an option marked live while the encke runs. [loop thread]
/// ENCKE_E_STATE: an option that is not live; ENCKE_E_INVAL: out of range; ENCKE_E_NOTSUP: not known. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_set(e: *mut encke, option: c_int, value: u64) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe { on_loop(e, |inner| set_live(inner, option, value).map(|()| 0)) }
}

/// Makes the calling thread the loop thread; the host sees to it that no other thread is inside a call with this encke
/// (T2). Ids, heads, senders and the fd stay as they are.
/// ENCKE_E_INVAL: e is NULL. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_move_here(e: *mut encke) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    let Some(encke) = (unsafe { e.as_ref() }) else {
        return code_of(Error::invalid("the encke is NULL"));
    };
    if let Some(code) = encke.sender.refuses() {
        return code;
    }
    encke.sender.thread.store(this_thread(), SeqCst);
    encke.sender.wait_until_left();
    // What this thread said as another one comes before what it says from now on.
    // SAFETY: as above; this is the loop thread now.
    unsafe {
        on_loop(e, |inner| {
            inner.driver.hear_all();
            Ok(0)
        })
    }
}

/// Ends an encke, at any moment: answers given so far are written as far as the sockets take them, what is open is
/// aborted without events, borrowed buffers and files are released before it returns (L8), ids go GONE and senders
/// CLOSED. Heads that are not settled live on as L3 says. NULL is fine. From any thread, under T2; in a child of fork it
/// closes fds and nothing else. What links have not delivered is lost without an event: encke_close them first and wait for
/// ENCKE_LINK_CLOSED. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_free(e: *mut encke) {
    if e.is_null() {
        return;
    }
    guard_value((), || {
        // SAFETY: it came from encke_new, and no other thread is inside a call with it (T2).
        let encke = unsafe { Box::from_raw(e) };
        let sender = encke.sender.clone();
        sender.inner.store(std::ptr::null_mut(), SeqCst);
        if sender.refuses() != Some(ENCKE_E_FORKED) {
            sender.wait_until_left();
        }
        let child = sender.refuses() == Some(ENCKE_E_FORKED);
        let mut inner = encke.inner.into_inner();
        if child {
            // The epoll set and the sockets are the parent's: only this process's fds close.
            return;
        }
        sender.mailbox.close();
        sender.doors.close();
        if !sender.poisoned.load(SeqCst) {
            inner.driver.shut_down();
        }
        inner.driver.leave_hub();
        inner.let_go();
        for held in inner.heads.drain(..).flatten() {
            sender.keep_head(held);
        }
        inner.tag.release(inner.driver.last_generation().max(inner.links.last_generation()));
    })
}

/// Listens: "127.0.0.1:8080", "[::1]:8080", ":8080" (any address, IPv6 and IPv4), "localhost:8080" (127.0.0.1),
/// "unix:/run/x.sock"; port 0 lets the system choose, see ENCKE_INFO_LOCAL. A UNIX socket's file that nobody listens on
/// any more is replaced, and removed at the end. tls: the certificates for HTTPS, which the listener keeps a reference to;
/// NULL: HTTP. out may be NULL, else it gets the listener's id. [loop thread]
/// ENCKE_E_INVAL: the address is not understood; ENCKE_E_SYS: it cannot be had (in use, not permitted);
/// ENCKE_E_TLS: tls has no certificate; ENCKE_E_NOTSUP: tls is not NULL and this build has no TLS; ENCKE_E_STATE: the encke
/// drains. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_listen(
    e: *mut encke,
    address: *const c_char,
    tls: *mut encke_tls,
    out: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke, NUL-terminated text, and NULL or a writable id.
    unsafe {
        on_loop(e, |inner| {
            let text = input::c_text(address, "address")?;
            let text = std::str::from_utf8(text).map_err(|_| Error::invalid("the address is not UTF-8"))?;
            let certificates = super::tls::given(tls)?;
            if inner.driver.engine.is_draining() {
                return Err(Error::State);
            }
            let id = inner.driver.listen(&address::parse(text)?, inner.manner, certificates)?;
            if !out.is_null() {
                *out = id.0;
            }
            Ok(0)
        })
    }
}

/// Takes a stream socket that is bound and listening (socket activation, pre-fork), or connected (accepted elsewhere, a
/// socketpair): the library asks the socket which, and makes it non-blocking. It is taken on ENCKE_OK only, then the
/// library closes it; tls as encke_listen; out (may be NULL) gets the id of the listener or of the connection. [loop thread]
/// ENCKE_E_INVAL: no stream socket; ENCKE_E_SYS: the socket cannot be used, or is neither listening nor connected;
/// ENCKE_E_STATE: the encke drains, or ENCKE_OPT_MAX_CONNECTIONS is reached; ENCKE_E_TLS,
/// ENCKE_E_NOTSUP: as encke_listen. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_adopt(e: *mut encke, fd: encke_fd_t, tls: *mut encke_tls, out: *mut encke_id) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or a writable id.
    unsafe {
        on_loop(e, |inner| {
            let certificates = super::tls::given(tls)?;
            if fd < 0 {
                return Err(Error::invalid("the fd is negative"));
            }
            if inner.driver.engine.is_draining() {
                return Err(Error::State);
            }
            // SAFETY: the host gives an open fd; it is given back below unless it is taken.
            match inner.driver.adopt(OwnedFd::from_raw_fd(fd), certificates) {
                Ok(id) => {
                    if !out.is_null() {
                        *out = id.0;
                    }
                    Ok(0)
                }
                Err((fd, error)) => {
                    let _ = fd.into_raw_fd();
                    Err(error)
                }
            }
        })
    }
}

/// Ends what an id names. A listener: stops accepting there (the file of a UNIX socket is removed), open connections go
/// on. A connection: is cut, its requests get ENCKE_EV_ABORTED. A mount: takes no further requests, what it is at goes on.
/// Requests: encke_abort. A link, with all its subscriptions, or one subscription of encke_link_subscribe: what was
/// published and is not acknowledged comes back, ENCKE_LINK_CLOSED is the last event. [loop thread]
/// ENCKE_E_GONE: the id is over or not of this encke; ENCKE_E_INVAL: it is a request's. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_close(e: *mut encke, id: encke_id) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        let sender = e.as_ref().map(|encke| encke.sender().clone());
        on_loop(e, |inner| match Id(id).kind() {
            Kind::Other if inner.driver.unmount(Id(id)) => {
                if let Some(sender) = sender {
                    sender.mounts().retain(|mount| *mount != id);
                }
                Ok(0)
            }
            Kind::Listener => inner.driver.close_listener(Id(id)).map(|()| 0),
            Kind::Connection => inner.driver.close_connection(Id(id)).map(|()| 0),
            Kind::Request if id != 0 && inner.driver.engine.connection_of(Id(id)).is_some() => {
                Err(Error::invalid("the id is a request's: encke_abort"))
            }
            Kind::Other if Links::may_be(Id(id)) => {
                let Inner { links, driver, .. } = inner;
                links.close(driver, Id(id)).map(|()| 0)
            }
            _ => Err(Error::Gone),
        })
    }
}

/// Begins the end: stops accepting, closes idle connections now, takes no further requests, ends subscriptions (with what
/// was published before) and WebSockets (1001) now, waits for held requests, streams and tunnels, cuts them after grace
/// milliseconds; then ENCKE_EV_DRAINED comes, once. Calling again moves the
/// deadline. Unsettled leases of peers that left do not hold it up. [loop thread] Fails only as every loop-thread call
/// does. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_drain(e: *mut encke, grace_ms: u64) -> c_int {
    // SAFETY: the host gives NULL or a living encke.
    unsafe {
        on_loop(e, |inner| {
            inner.driver.drain(grace_ms);
            Ok(0)
        })
    }
}
