//! Section 8: answering, from any thread. Rule: what was passed in is checked first, then the lease is asked, then it is
//! said to the engine: directly on the loop thread, through the mailbox from any other.

use std::borrow::Cow;
use std::ffi::{c_char, c_int, c_void};
use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd};
use std::sync::atomic::Ordering::*;
use std::sync::Arc;

use super::guard::{any_thread, guard_value, on_loop};
use super::held::Held;
use super::input;
use super::server::{encke, Inner};
use super::types::{encke_fd_t, encke_field, encke_id, encke_sender, ENCKE_UNKNOWN};
use crate::engine::answer::{Answer, Body};
use crate::engine::id::Id;
use crate::engine::lease::{Settle, Settled};
use crate::engine::mailbox::Submission;
use crate::engine::output::{Lent, COPY_LIMIT};
use crate::engine::Error;
use crate::http1::response::{valid_content_type, Place, Seen};

/// encke_respond: the body is not copied: keep it unchanged until ENCKE_EV_RELEASED brings your cookie.
pub const ENCKE_BORROW: u32 = 1;
/// encke_begin: exactly `length` bytes will be written (more: ENCKE_E_INVAL, fewer: the connection is cut). encke_respond
/// to HEAD or with 304: announce `length` as the Content-Length.
pub const ENCKE_LENGTH: u32 = 2;
/// Close the connection after this answer.
pub const ENCKE_CLOSE: u32 = 4;
/// encke_respond: the body is `length` bytes (ENCKE_UNKNOWN: to its end) of `file` from `offset`; the library closes it.
/// Read on the loop thread: a cold disk stalls the loop.
pub const ENCKE_FILE: u32 = 8;

/// An answer, or its head and the first piece of its body. Zero it first. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_response {
    /// 200 to 999; encke_begin: also 101.
    pub status: u32,
    /// ENCKE_BORROW, ENCKE_LENGTH, ENCKE_CLOSE, ENCKE_FILE
    pub flags: u32,
    /// Repeats are allowed and sent in order. Date and Server of yours win. Content-Length, Transfer-Encoding, Connection,
    /// Keep-Alive, Trailer and Upgrade (but in a 101) are the library's: ENCKE_E_INVAL.
    pub fields: *const encke_field,
    pub nfields: usize,
    /// encke_begin: the first piece, copied.
    pub body: *const c_void,
    pub body_len: usize,
    /// With ENCKE_BORROW: comes back with ENCKE_EV_RELEASED.
    pub cookie: u64,
    /// With ENCKE_LENGTH or ENCKE_FILE.
    pub length: u64,
    /// With ENCKE_FILE.
    pub offset: u64,
    /// With ENCKE_FILE; open for reading, a regular file.
    pub file: encke_fd_t,
}

/// A body of the host that is not copied.
struct Borrowed(*const u8, usize);

// SAFETY: the host keeps the bytes readable and unchanged until they are released (ENCKE_BORROW).
unsafe impl Send for Borrowed {}

impl Lent for Borrowed {
    fn bytes(&self) -> &[u8] {
        // SAFETY: as above; NULL and sizes beyond isize were ruled out.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

/// What an encke_response says, checked.
struct Checked<'a> {
    status: u16,
    close: bool,
    length: Option<u64>,
    seen: Seen,
    body: Source<'a>,
}

enum Source<'a> {
    Copy(&'a [u8]),
    Borrow(Borrowed, u64),
    File { fd: encke_fd_t, offset: u64, len: u64 },
}

const LEAST_RESPONSE: usize = 8;

/// # Safety
/// `response` is NULL or has `size` readable bytes, and what it points to is readable.
unsafe fn check<'a>(
    response: *const encke_response,
    size: usize,
    begins: bool,
    lines: &mut Vec<u8>,
) -> Result<Checked<'a>, Error> {
    // SAFETY: the caller's promise; every bit pattern is an encke_response.
    let r = unsafe { input::grown(response, size, LEAST_RESPONSE, "the response")? };
    let switching = begins && r.status == 101;
    if !switching && !(200..1000).contains(&r.status) {
        return Err(Error::invalid(format!("status {}: a final status is 200 to 999", r.status)));
    }
    let known =
        if begins { ENCKE_LENGTH | ENCKE_CLOSE } else { ENCKE_BORROW | ENCKE_LENGTH | ENCKE_CLOSE | ENCKE_FILE };
    if r.flags & !(ENCKE_BORROW | ENCKE_LENGTH | ENCKE_CLOSE | ENCKE_FILE) != 0 {
        return Err(Error::NotSupported(format!("flags {:#x}: unknown bits", r.flags).into()));
    }
    if r.flags & !known != 0 {
        return Err(Error::invalid("flags: encke_begin takes neither ENCKE_BORROW nor ENCKE_FILE"));
    }
    if r.flags & ENCKE_BORROW != 0 && r.flags & ENCKE_FILE != 0 {
        return Err(Error::invalid("flags: ENCKE_BORROW and ENCKE_FILE exclude each other"));
    }
    lines.clear();
    let mut seen = Seen::default();
    let place = if switching { Place::Switching } else { Place::Answer };
    // SAFETY: the caller's promise.
    let bytes = unsafe {
        input::field_lines(r.fields, r.nfields, place, lines, &mut seen)?;
        input::bytes(r.body, r.body_len, "body")?
    };
    let length = (r.flags & ENCKE_LENGTH != 0).then_some(r.length);
    if length == Some(ENCKE_UNKNOWN) {
        return Err(Error::invalid("ENCKE_LENGTH with a length of ENCKE_UNKNOWN"));
    }
    if begins && length.is_some_and(|length| (bytes.len() as u64) > length) {
        return Err(Error::invalid("the first piece is longer than the length"));
    }
    let body = if r.flags & ENCKE_FILE != 0 {
        let len = file_length(r.file, r.offset, r.length)?;
        Source::File { fd: r.file, offset: r.offset, len }
    } else if r.flags & ENCKE_BORROW != 0 {
        Source::Borrow(Borrowed(bytes.as_ptr(), bytes.len()), r.cookie)
    } else {
        Source::Copy(bytes)
    };
    let close = r.flags & ENCKE_CLOSE != 0;
    Ok(Checked { status: r.status as u16, close, length, seen, body })
}

/// How many bytes of the file the answer has.
fn file_length(fd: encke_fd_t, offset: u64, length: u64) -> Result<u64, Error> {
    if fd < 0 {
        return Err(Error::invalid("file: the fd is negative"));
    }
    // SAFETY: the host gives an open fd.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let stat = rustix::fs::fstat(fd)
        .map_err(|errno| Error::System(errno.raw_os_error(), "file: its size cannot be asked for".into()))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::invalid("file: not a regular file"));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let Some(left) = size.checked_sub(offset) else {
        return Err(Error::invalid(format!("file: the offset {offset} is behind its end ({size})")));
    };
    match length {
        ENCKE_UNKNOWN => Ok(left),
        length if length > left => {
            Err(Error::invalid(format!("file: {length} bytes from {offset} where it has {size}")))
        }
        length => Ok(length),
    }
}

impl<'a> Source<'a> {
    /// The body as the engine takes it. Ownership of a file begins here.
    fn take(self) -> Body<'a> {
        match self {
            Source::Copy(bytes) => Body::Copy(bytes),
            Source::Borrow(bytes, cookie) => Body::Lent { bytes: Box::new(bytes), cookie },
            // SAFETY: the host gave the fd away; the lease was won, so it is taken exactly once.
            Source::File { fd, offset, len } => Body::File { file: unsafe { File::from_raw_fd(fd) }, offset, len },
        }
    }

    /// A copy that outlives the call, made before anything is promised.
    fn keep(self) -> Result<Source2, Error> {
        Ok(match self {
            Source::Copy(bytes) => Source2::Owned(input::copy(bytes)?),
            Source::Borrow(bytes, cookie) => Source2::Borrow(bytes, cookie),
            Source::File { fd, offset, len } => Source2::File { fd, offset, len },
        })
    }
}

enum Source2 {
    Owned(Vec<u8>),
    Borrow(Borrowed, u64),
    File { fd: encke_fd_t, offset: u64, len: u64 },
}

impl Source2 {
    fn take(self) -> Body<'static> {
        match self {
            Source2::Owned(bytes) => Body::Owned(bytes),
            Source2::Borrow(bytes, cookie) => Source::Borrow(bytes, cookie).take(),
            Source2::File { fd, offset, len } => Source::File { fd, offset, len }.take(),
        }
    }
}

impl encke_sender {
    /// CLOSED once the encke was freed.
    pub(super) fn open(&self) -> Result<(), Error> {
        if self.mailbox.is_closed() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// The loop thread's half, if this is the loop thread.
    fn on_loop(&self) -> Option<&mut Inner> {
        if !self.is_loop_thread() {
            return None;
        }
        // SAFETY: on the loop thread no other call of this encke is under way (there are no callbacks), and `inner` is
        // NULL once the encke is freed.
        unsafe { self.inner.load(Acquire).as_mut() }
    }

    fn pass(&self, submission: Submission) -> Result<(), Submission> {
        if self.mailbox.push(submission)? {
            self.waker.wake();
        }
        Ok(())
    }

    /// Says something of a request whose lease was asked.
    fn say(&self, submission: Submission) -> Result<(), Error> {
        match self.on_loop() {
            Some(inner) => {
                inner.driver.before_answer();
                inner.driver.engine.apply(submission);
                inner.driver.after_answer();
                Ok(())
            }
            None => self.pass(submission).map_err(take_back),
        }
    }

    /// A settle of a request whose peer is gone: it only frees.
    fn settled_gone(&self, id: Id) -> Error {
        match self.say(Submission::Settled { id }) {
            Ok(()) => Error::Gone,
            Err(error) => {
                self.drop_head(id);
                error
            }
        }
    }

    /// A settling call on a sender whose encke was freed.
    fn settle_closed(&self, id: Id) -> Error {
        let _ = self.leases.settle(id, Settle::Abort);
        self.drop_head(id);
        Error::Closed
    }

    /// A head outlives its encke until it is settled.
    pub(super) fn keep_head(&self, held: Box<Held>) {
        let mut left = self.left.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A settle that won its lease but came too late for the encke has nobody else to free the head.
        if self.leases.alive(Id(held.view.id)) {
            left.insert(held.view.id, held);
        }
    }

    fn drop_head(&self, id: Id) {
        self.left.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&id.0);
    }

    fn abort(&self, id: Id) -> Result<(), Error> {
        if self.open().is_err() {
            return Err(self.settle_closed(id));
        }
        match self.leases.settle(id, Settle::Abort)? {
            Settled::Gone => Err(self.settled_gone(id)),
            Settled::Answer => self.say(Submission::Abort { id }).map_err(|error| {
                self.drop_head(id);
                error
            }),
        }
    }

    fn respond(&self, id: Id, checked: Checked<'_>, lines: &[u8], content_type: Option<&[u8]>) -> Result<(), Error> {
        let Checked { status, close, length, seen, body } = checked;
        if self.open().is_err() {
            return Err(self.settle_closed(id));
        }
        if let Some(inner) = self.on_loop() {
            if self.leases.settle(id, Settle::Whole)? == Settled::Gone {
                return Err(self.settled_gone(id));
            }
            let lines = Cow::Borrowed(lines);
            let answer = Answer { status, close, length, lines, seen, content_type, body: body.take() };
            inner.driver.before_answer();
            inner.driver.engine.respond(id, answer);
            inner.driver.after_answer();
            return Ok(());
        }
        // Copies are made before the settle: where there is no memory for them the request stays the caller's.
        let body = body.keep()?;
        let mut all = Vec::new();
        if let Some(content_type) = content_type {
            all.extend_from_slice(b"Content-Type: ");
            all.extend_from_slice(content_type);
            all.extend_from_slice(b"\r\n");
        }
        all.extend_from_slice(lines);
        if self.leases.settle(id, Settle::Whole)? == Settled::Gone {
            return Err(self.settled_gone(id));
        }
        let answer =
            Answer { status, close, length, lines: Cow::Owned(all), seen, content_type: None, body: body.take() };
        self.pass(Submission::Respond { id, answer: Box::new(answer) }).map_err(|submission| {
            self.drop_head(id);
            take_back(submission)
        })
    }

    fn begin(&self, id: Id, checked: Checked<'_>, lines: &[u8]) -> Result<(), Error> {
        let Checked { status, close, length, seen, body } = checked;
        self.open()?;
        let first = match &body {
            Source::Copy(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let switching = status == 101;
        if let Some(inner) = self.on_loop() {
            let pin = self.leases.begin(id, length, first, switching)?;
            let lines = Cow::Borrowed(lines);
            let answer = Answer { status, close, length, lines, seen, content_type: None, body: body.take() };
            inner.driver.before_answer();
            inner.driver.engine.begin(id, answer);
            self.leases.begun(&pin);
            drop(pin);
            inner.driver.after_answer();
            return Ok(());
        }
        let body = body.keep()?;
        let pin = self.leases.begin(id, length, first, switching)?;
        let lines = Cow::Owned(lines.to_vec());
        let answer = Answer { status, close, length, lines, seen, content_type: None, body: body.take() };
        self.pass(Submission::Begin { id, answer: Box::new(answer) }).map_err(take_back)?;
        self.leases.begun(&pin);
        Ok(())
    }

    fn write(&self, id: Id, data: &[u8]) -> Result<(), Error> {
        self.open()?;
        let pin = self.leases.reserve(id, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        let on_loop = self.on_loop();
        let body = if on_loop.is_some() && data.len() <= COPY_LIMIT {
            Body::Copy(data)
        } else {
            match input::copy(data) {
                Ok(copy) => Body::Owned(copy),
                Err(error) => {
                    self.leases.unreserve(&pin, data.len() as u64);
                    return Err(error);
                }
            }
        };
        match (on_loop, body) {
            (Some(inner), body) => {
                inner.driver.before_answer();
                inner.driver.engine.write(id, body);
                drop(pin);
                inner.driver.after_answer();
                Ok(())
            }
            (None, Body::Owned(data)) => self.pass(Submission::Write { id, data }).map_err(take_back),
            (None, _) => Ok(()),
        }
    }
}

/// What the mailbox did not take is the caller's again: a file must not be closed with it.
fn take_back(submission: Submission) -> Error {
    if let Submission::Respond { answer, .. } = submission {
        if let Body::File { file, .. } = answer.body {
            use std::os::fd::IntoRawFd;
            let _ = file.into_raw_fd();
        }
    }
    Error::Closed
}

/// The any-thread half: borrowed for the encke's life; take a reference (encke_sender_ref) for another thread. NULL on a
/// failure: NULL, another thread, a child of fork. [loop thread] Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_get_sender(e: *mut encke) -> *mut encke_sender {
    guard_value(std::ptr::null_mut(), || {
        // SAFETY: the host gives NULL or a living encke.
        unsafe {
            if on_loop(e, |_| Ok(0)) < 0 {
                return std::ptr::null_mut();
            }
            e.as_ref().map_or(std::ptr::null_mut(), |encke| Arc::as_ptr(encke.sender()).cast_mut())
        }
    })
}

/// Takes a reference, which lives on after encke_free; returns the sender. NULL is fine. Any thread. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_sender_ref(sender: *mut encke_sender) -> *mut encke_sender {
    if !sender.is_null() {
        // SAFETY: the host holds a reference, or borrows the encke's.
        unsafe { Arc::increment_strong_count(sender.cast_const()) };
    }
    sender
}

/// Gives a reference up. With the last one, heads that were never settled are freed. NULL is fine. Any thread. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_sender_unref(sender: *mut encke_sender) {
    guard_value((), || {
        if !sender.is_null() {
            // SAFETY: the host gives up a reference of its own.
            unsafe { Arc::decrement_strong_count(sender.cast_const()) };
        }
    })
}

/// Makes encke_fd readable once, and lets encke_wait return; brings no event. Async-signal-safe, keeps errno. Any thread.
/// ENCKE_E_CLOSED: the encke was freed; ENCKE_E_INVAL: sender is NULL. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_wake(sender: *mut encke_sender) -> c_int {
    // No guard: nothing here panics, allocates or locks, and errno is left alone.
    // SAFETY: the host gives NULL or a sender with a reference.
    let Some(sender) = (unsafe { sender.as_ref() }) else { return super::result::ENCKE_E_INVAL };
    if sender.forks != crate::io::fork::generation() {
        return super::result::ENCKE_E_FORKED;
    }
    if sender.mailbox.is_closed() {
        return super::result::ENCKE_E_CLOSED;
    }
    if sender.mailbox.wake() {
        sender.waker.wake();
    }
    0
}

/// Gives a request a value that comes back as ev.user in every later event of it; see L5 for when to free what it points
/// to. Any thread.
/// ENCKE_E_GONE: the id is over; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_set_user(sender: *mut encke_sender, id: encke_id, user: u64) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference.
    unsafe {
        any_thread(sender, |sender| {
            sender.open()?;
            sender.leases.set_user(Id(id), user).map(|()| 0)
        })
    }
}

/// n bytes of ENCKE_EV_BODY data of a request or tunnel are dealt with: as many more may come (F5). Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_body_ack(sender: *mut encke_sender, id: encke_id, n: usize) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference.
    unsafe {
        any_thread(sender, |sender| {
            sender.open()?;
            let pin = sender.leases.present(Id(id))?;
            drop(pin);
            if n > 0 {
                sender.say(Submission::Ack { id: Id(id), n: n as u64 })?;
            }
            Ok(0)
        })
    }
}

/// The short answer: status, content type (NULL: none) and body, which is copied. Always settles, whatever it returns (L1).
/// Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_INVAL: the status, the content type or the body cannot be
/// sent: 500 was; ENCKE_E_NOMEM, ENCKE_E_STATE (the answer was begun): it acted as encke_abort; ENCKE_E_CLOSED: the encke
/// was freed. Since 0.1. RFC 9110, 15; RFC 9112, 6.
#[no_mangle]
pub unsafe extern "C" fn encke_reply(
    sender: *mut encke_sender,
    id: encke_id,
    status: u32,
    content_type: *const c_char,
    body: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, NULL or NUL-terminated text, and `len` readable bytes.
    unsafe {
        any_thread(sender, |sender| {
            let checked = || {
                if !(200..1000).contains(&status) {
                    return Err(Error::invalid(format!("status {status}: a final status is 200 to 999")));
                }
                let content_type = match content_type.is_null() {
                    true => None,
                    false => Some(input::c_text(content_type, "content type")?),
                };
                if let Some(value) = content_type {
                    valid_content_type(value).map_err(|fault| Error::invalid(format!("content type: {fault}")))?;
                }
                Ok((content_type, input::bytes(body, len, "body")?))
            };
            let result = checked().and_then(|(content_type, body)| {
                let (length, seen) = (None, Seen::default());
                let body = Source::Copy(body);
                let checked = Checked { status: status as u16, close: false, length, seen, body };
                sender.respond(Id(id), checked, b"", content_type)
            });
            match result {
                Ok(()) => Ok(0),
                Err(error @ (Error::Gone | Error::Closed)) => Err(error),
                Err(error) => match sender.abort(Id(id)) {
                    Err(late @ (Error::Gone | Error::Closed)) => Err(late),
                    _ => Err(error),
                },
            }
        })
    }
}

/// A whole answer in one call; settles on ENCKE_OK, ENCKE_E_GONE and ENCKE_E_CLOSED. Pass sizeof(encke_response). To HEAD,
/// and with 204 and 304, the body is not sent. What it points to is copied, but for a body with ENCKE_BORROW and a file
/// with ENCKE_FILE, which are taken on ENCKE_OK only. Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun; ENCKE_E_INVAL: bad status, field,
/// body or file, encke_last_error() says which; ENCKE_E_NOTSUP: a flag or field newer than this library; ENCKE_E_NOMEM;
/// ENCKE_E_SYS: the file cannot be asked for its size; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 9112, 6.
#[no_mangle]
pub unsafe extern "C" fn encke_respond(
    sender: *mut encke_sender,
    id: encke_id,
    response: *const encke_response,
    sizeof_response: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and NULL or a readable response of that size.
    unsafe {
        any_thread(sender, |sender| {
            with_lines(sender, |lines| {
                let checked = check(response, sizeof_response, false, lines)?;
                sender.respond(Id(id), checked, lines, None).map(|()| 0)
            })
        })
    }
}

/// Lends the loop thread's buffer for field lines, so that an answer with fields allocates nothing.
fn with_lines<T>(sender: &encke_sender, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut lines = sender.on_loop().map(|inner| std::mem::take(&mut inner.lines)).unwrap_or_default();
    let result = f(&mut lines);
    if let Some(inner) = sender.on_loop() {
        if lines.capacity() <= COPY_LIMIT {
            inner.lines = lines;
        }
    }
    result
}

/// The head of an answer goes out; its body follows by encke_write, and encke_end settles. Without ENCKE_LENGTH it is sent
/// chunked, to HTTP/1.0 until the connection closes. Status 101 to a request with ENCKE_HEAD_UPGRADE, or 2xx to CONNECT,
/// opens a tunnel: from then on ENCKE_EV_BODY and encke_write carry raw bytes, and encke_end sends what is queued and
/// closes. Never settles: after ENCKE_E_GONE you still owe a settle. Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: begun before; ENCKE_E_INVAL: bad status, field or
/// flags, a 101 to a request without Upgrade, a first piece longer than the length; ENCKE_E_NOTSUP, ENCKE_E_NOMEM,
/// ENCKE_E_CLOSED as encke_respond. Since 0.1. RFC 9112, 7.1; RFC 9110, 7.8 and 9.3.6.
#[no_mangle]
pub unsafe extern "C" fn encke_begin(
    sender: *mut encke_sender,
    id: encke_id,
    response: *const encke_response,
    sizeof_response: usize,
) -> c_int {
    // SAFETY: as encke_respond.
    unsafe {
        any_thread(sender, |sender| {
            with_lines(sender, |lines| {
                let checked = check(response, sizeof_response, true, lines)?;
                sender.begin(Id(id), checked, lines).map(|()| 0)
            })
        })
    }
}

/// A piece of the body of a begun answer: all or nothing, however long, copied. ENCKE_E_AGAIN while ENCKE_OPT_HIGH_WATER or
/// more bytes are queued; then exactly one ENCKE_EV_WRITABLE or ENCKE_EV_ABORTED follows unless you settle first (F3). len
/// 0 writes nothing and asks, also before begin. To HEAD: taken, not sent. Never settles. Any thread.
/// ENCKE_E_AGAIN; ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: before begin; ENCKE_E_INVAL: more than
/// ENCKE_LENGTH promised; ENCKE_E_NOMEM: nothing was taken; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_write(
    sender: *mut encke_sender,
    id: encke_id,
    data: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and `len` readable bytes.
    unsafe {
        any_thread(sender, |sender| {
            let data = input::bytes(data, len, "data")?;
            sender.write(Id(id), data).map(|()| 0)
        })
    }
}

/// The end of a begun answer; settles on ENCKE_OK, ENCKE_E_GONE and ENCKE_E_CLOSED. Trailer fields go out where the answer
/// is chunked and are dropped elsewhere. With fewer bytes than ENCKE_LENGTH promised it acts as encke_abort. Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: before begin; ENCKE_E_INVAL: a bad trailer field, or
/// one that RFC 9110, 6.5.1 forbids; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 9112, 7.1.2.
#[no_mangle]
pub unsafe extern "C" fn encke_end(
    sender: *mut encke_sender,
    id: encke_id,
    trailers: *const encke_field,
    n: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and `n` fields with readable texts.
    unsafe {
        any_thread(sender, |sender| {
            let id = Id(id);
            let mut lines = Vec::new();
            input::field_lines(trailers, n, Place::Trailer, &mut lines, &mut Seen::default())?;
            if sender.open().is_err() {
                return Err(sender.settle_closed(id));
            }
            match sender.leases.settle(id, Settle::End)? {
                Settled::Gone => Err(sender.settled_gone(id)),
                Settled::Answer => match sender.say(Submission::End { id, trailers: lines }) {
                    Ok(()) => Ok(0),
                    Err(error) => {
                        sender.drop_head(id);
                        Err(error)
                    }
                },
            }
        })
    }
}

/// Gives up; always settles. 500 if nothing of the answer went out yet, else the connection is cut, so that the client
/// does not take what it has for the whole. Any thread.
/// ENCKE_E_GONE: the id was over, or the peer is gone; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_abort(sender: *mut encke_sender, id: encke_id) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference.
    unsafe { any_thread(sender, |sender| sender.abort(Id(id)).map(|()| 0)) }
}

/// An informational answer before the final one: 100, 102 or 103, with fields. ENCKE_OK and not sent to HTTP/1.0. Never
/// settles. Any thread.
/// ENCKE_E_INVAL: another status, or a bad field; ENCKE_E_STATE: the answer was begun; ENCKE_E_GONE: the id is over, or the
/// peer is gone; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 9110, 15.2; RFC 8297.
#[no_mangle]
pub unsafe extern "C" fn encke_inform(
    sender: *mut encke_sender,
    id: encke_id,
    status: u32,
    fields: *const encke_field,
    n: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and `n` fields with readable texts.
    unsafe {
        any_thread(sender, |sender| {
            if !matches!(status, 100 | 102 | 103) {
                return Err(Error::invalid(format!("status {status}: an informational status is 100, 102 or 103")));
            }
            let mut lines = Vec::new();
            input::field_lines(fields, n, Place::Inform, &mut lines, &mut Seen::default())?;
            sender.open()?;
            let pin = sender.leases.inform(Id(id))?;
            drop(pin);
            sender.say(Submission::Inform { id: Id(id), status: status as u16, lines }).map(|()| 0)
        })
    }
}
