//! Owns the calls of the C API, made as a C program makes them. Rule: the type says the thread, as in the header.

use std::ffi::{c_int, CStr, CString};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;
use std::slice;
use std::sync::Arc;

use ::encke::capi::answering::{encke_abort, encke_begin, encke_end, encke_reply, encke_respond, encke_write};
use ::encke::capi::config::{encke_config_free, encke_config_new, encke_config_set};
use ::encke::capi::driving::{encke_fd, encke_run};
use ::encke::capi::event::*;
use ::encke::capi::info::{encke_info, ENCKE_INFO_LOCAL};
use ::encke::capi::response::{encke_response, ENCKE_BORROW, ENCKE_LENGTH};
use ::encke::capi::result::encke_last_error;
use ::encke::capi::sender::{encke_body_ack, encke_get_sender, encke_sender_ref, encke_sender_unref, encke_wake};
use ::encke::capi::server::{encke, encke_adopt, encke_free, encke_listen, encke_new};
use ::encke::capi::tls::*;
use ::encke::capi::types::*;

use super::pki::{Authority, Identity};

fn ok(code: c_int, what: &str) {
    assert_eq!(code, 0, "{what}: {}", last_error());
}

/// Why this thread's last call failed.
pub fn last_error() -> String {
    // SAFETY: static, or this thread's until its next failure.
    unsafe { CStr::from_ptr(encke_last_error()) }.to_string_lossy().into_owned()
}

// ---- certificates ----------------------------------------------------------------------------------------------------

struct RawTls(*mut encke_tls);

// SAFETY: one thread at a time, except for the swap: the tests add before they share, and share by Arc.
unsafe impl Send for RawTls {}
// SAFETY: as above.
unsafe impl Sync for RawTls {}

impl Drop for RawTls {
    fn drop(&mut self) {
        // SAFETY: freed once.
        unsafe { encke_tls_free(self.0) };
    }
}

/// A set of certificates.
#[derive(Clone)]
pub struct Tls(Arc<RawTls>);

impl Tls {
    pub fn new(identities: &[&Identity]) -> Tls {
        let tls = Tls(Arc::new(RawTls(encke_tls_new())));
        for identity in identities {
            ok(tls.add(&identity.chain, &identity.key), "encke_tls_add");
        }
        tls
    }

    pub fn add(&self, chain: &str, key: &str) -> c_int {
        // SAFETY: a living set, and bytes with their lengths.
        unsafe { encke_tls_add(self.0 .0, chain.as_ptr().cast(), chain.len(), key.as_ptr().cast(), key.len()) }
    }

    /// Clients' certificates come from here.
    pub fn with_client_root(self, root: &Authority) -> Tls {
        let pem = &root.pem;
        // SAFETY: a living set, bytes with their length, and no key.
        ok(unsafe { encke_tls_add(self.0 .0, pem.as_ptr().cast(), pem.len(), ptr::null(), 0) }, "encke_tls_add");
        self
    }

    pub fn with_client_certificates(self, mode: u64) -> Tls {
        // SAFETY: a living set.
        ok(unsafe { encke_tls_set(self.0 .0, ENCKE_TLS_CLIENT_CERT, mode) }, "encke_tls_set");
        self
    }

    pub fn swap(&self, fresh: &Tls) -> c_int {
        // SAFETY: two living sets; any thread.
        unsafe { encke_tls_swap(self.0 .0, fresh.0 .0) }
    }
}

// ---- any thread ------------------------------------------------------------------------------------------------------

/// A reference to the any-thread half.
pub struct Sender(*mut encke_sender);

// SAFETY: every call with an encke_sender is for any thread.
unsafe impl Send for Sender {}
// SAFETY: as above.
unsafe impl Sync for Sender {}

impl Clone for Sender {
    fn clone(&self) -> Sender {
        // SAFETY: a living sender.
        Sender(unsafe { encke_sender_ref(self.0) })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // SAFETY: its own reference, given up once.
        unsafe { encke_sender_unref(self.0) };
    }
}

fn response(length: Option<u64>) -> encke_response {
    // SAFETY: an all-zero response is a valid one.
    let mut response: encke_response = unsafe { std::mem::zeroed() };
    response.status = 200;
    if let Some(length) = length {
        response.flags = ENCKE_LENGTH;
        response.length = length;
    }
    response
}

impl Sender {
    pub fn wake(&self) {
        // SAFETY: a living sender.
        unsafe { encke_wake(self.0) };
    }

    pub fn reply(&self, id: encke_id, status: u32, body: &[u8]) -> c_int {
        // SAFETY: a living sender; the body is copied.
        unsafe { encke_reply(self.0, id, status, c"text/plain".as_ptr(), body.as_ptr().cast(), body.len()) }
    }

    /// The body is not copied: ENCKE_EV_RELEASED tells when it is over.
    pub fn lend(&self, id: encke_id, body: &'static [u8]) -> c_int {
        let mut response = response(None);
        response.flags = ENCKE_BORROW;
        response.body = body.as_ptr().cast();
        response.body_len = body.len();
        // SAFETY: a living sender; the body lives for ever.
        unsafe { encke_respond(self.0, id, &response, size_of::<encke_response>()) }
    }

    /// Without a length it is chunked.
    pub fn begin(&self, id: encke_id, length: Option<u64>) -> c_int {
        // SAFETY: a living sender.
        unsafe { encke_begin(self.0, id, &response(length), size_of::<encke_response>()) }
    }

    pub fn write(&self, id: encke_id, data: &[u8]) -> c_int {
        // SAFETY: a living sender; the data is copied.
        unsafe { encke_write(self.0, id, data.as_ptr().cast(), data.len()) }
    }

    pub fn end(&self, id: encke_id) -> c_int {
        // SAFETY: a living sender.
        unsafe { encke_end(self.0, id, ptr::null(), 0) }
    }

    pub fn abort(&self, id: encke_id) -> c_int {
        // SAFETY: a living sender.
        unsafe { encke_abort(self.0, id) }
    }

    pub fn ack(&self, id: encke_id, n: usize) -> c_int {
        // SAFETY: a living sender.
        unsafe { encke_body_ack(self.0, id, n) }
    }
}

// ---- the loop thread -------------------------------------------------------------------------------------------------

#[derive(Debug)]
pub struct Request {
    pub id: encke_id,
    pub target: String,
    pub body: Vec<u8>,
    /// None: chunked.
    pub length: Option<u64>,
    /// The body comes in pieces.
    pub follows: bool,
    pub tls: bool,
}

/// What encke_next brought, copied.
#[derive(Debug)]
pub enum Event {
    Request(Request),
    Body { id: encke_id, data: Vec<u8>, more: bool },
    Writable(encke_id),
    HalfClosed,
    Aborted(encke_id),
    Done { code: c_int },
    Released,
    Connection { open: bool },
}

/// Belongs to the thread that made it.
pub struct Encke(*mut encke);

impl Encke {
    pub fn new(options: &[(c_int, u64)]) -> Encke {
        // SAFETY: the calls get what their documentation asks for.
        unsafe {
            let config = encke_config_new();
            for (option, value) in options {
                ok(encke_config_set(config, *option, *value), "encke_config_set");
            }
            let mut encke = ptr::null_mut();
            ok(encke_new(config, &mut encke), "encke_new");
            encke_config_free(config);
            Encke(encke)
        }
    }

    /// The port.
    pub fn listen(&self, tls: &Tls) -> u16 {
        let address = CString::new("127.0.0.1:0").unwrap();
        let mut listener = 0;
        // SAFETY: the encke is of this thread; the listener takes a reference to the set.
        ok(unsafe { encke_listen(self.0, address.as_ptr(), tls.0 .0, &mut listener) }, "encke_listen");
        let local = String::from_utf8(self.info(listener, ENCKE_INFO_LOCAL)).unwrap();
        local.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address with a port")
    }

    pub fn adopt(&self, socket: OwnedFd, tls: &Tls) {
        // SAFETY: the socket is open, and the library's from now on.
        ok(unsafe { encke_adopt(self.0, socket.into_raw_fd(), tls.0 .0, ptr::null_mut()) }, "encke_adopt");
    }

    pub fn sender(&self) -> Sender {
        // SAFETY: the borrowed sender becomes a reference.
        Sender(unsafe { encke_sender_ref(encke_get_sender(self.0)) })
    }

    pub fn fd(&self) -> c_int {
        // SAFETY: the encke is of this thread.
        unsafe { encke_fd(self.0) }
    }

    /// Without its last NUL.
    pub fn info(&self, id: encke_id, what: c_int) -> Vec<u8> {
        let mut value = vec![0; 4096];
        let mut need = 0;
        // SAFETY: the encke is of this thread, and the buffer has that size.
        ok(unsafe { encke_info(self.0, id, what, value.as_mut_ptr().cast(), value.len(), &mut need) }, "encke_info");
        value.truncate(if what == ::encke::capi::info::ENCKE_INFO_CLIENT_CERT { need } else { need - 1 });
        value
    }

    /// Whether there is more to run.
    pub fn run(&self) -> bool {
        // SAFETY: the encke is of this thread.
        let more = unsafe { encke_run(self.0, 0) };
        assert!(more >= 0, "encke_run: {}", last_error());
        more > 0
    }

    pub fn next(&self) -> Option<Event> {
        // SAFETY: an all-zero event is valid; what it points to is copied before the next call.
        unsafe {
            let mut event: encke_event = std::mem::zeroed();
            let code = encke_next(self.0, &mut event, size_of::<encke_event>());
            assert!(code >= 0, "encke_next: {}", last_error());
            if code == 0 {
                return None;
            }
            let id = event.id;
            Some(match event.kind {
                ENCKE_EV_REQUEST => Event::Request(request(&*event.head)),
                ENCKE_EV_BODY => {
                    Event::Body { id, data: bytes(event.data.cast(), event.len).to_vec(), more: event.more != 0 }
                }
                ENCKE_EV_WRITABLE => Event::Writable(id),
                ENCKE_EV_HALF_CLOSED => Event::HalfClosed,
                ENCKE_EV_ABORTED => Event::Aborted(id),
                ENCKE_EV_DONE => Event::Done { code: event.code },
                ENCKE_EV_RELEASED => Event::Released,
                ENCKE_EV_CONNECTION => Event::Connection { open: event.code == 1 },
                kind => panic!("an event of kind {kind}, code {}", event.code),
            })
        }
    }
}

impl Drop for Encke {
    fn drop(&mut self) {
        // SAFETY: freed once.
        unsafe { encke_free(self.0) };
    }
}

/// # Safety
/// The library's bytes, alive for as long as they are looked at.
unsafe fn bytes<'a>(p: *const u8, n: usize) -> &'a [u8] {
    if n == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(p, n) }
}

/// # Safety
/// A head whose request is not settled.
unsafe fn request(head: &encke_head) -> Request {
    // SAFETY: the caller's promise.
    let (target, body) =
        unsafe { (bytes(head.target.p.cast(), head.target.n), bytes(head.body.cast(), head.body_len)) };
    Request {
        id: head.id,
        target: String::from_utf8_lossy(target).into_owned(),
        body: body.to_vec(),
        length: (head.content_length != ENCKE_UNKNOWN).then_some(head.content_length),
        follows: head.flags & ENCKE_HEAD_BODY_FOLLOWS != 0,
        tls: head.flags & ENCKE_HEAD_TLS != 0,
    }
}
