//! Section 8, continued: the any-thread half. Rule: the lease is asked first; then what was said goes to the engine,
//! directly on the loop thread, through the mailbox from any other.

use std::borrow::Cow;
use std::ffi::c_int;
use std::sync::atomic::Ordering::*;
use std::sync::Arc;

use super::guard::{any_thread, guard_value, on_loop};
use super::held::Held;
use super::place::Place;
use super::response::{Checked, Source};
use super::server::{encke, Inner};
use super::types::{encke_id, encke_sender};
use crate::engine::answer::{Answer, Body};
use crate::engine::id::Id;
use crate::engine::lease::{Settle, Settled};
use crate::engine::mailbox::Submission;
use crate::engine::output::COPY_LIMIT;
use crate::engine::short::Short;
use crate::engine::Error;
use crate::link::Links;

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
        unsafe {
            Arc::increment_strong_count(sender.cast_const());
            (*sender).referenced.store(true, SeqCst);
        }
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

/// Gives a request, subscriber, WebSocket, link or subscription of a link a value that comes back as ev.user in every later
/// event of it; see L5 for when to free what it points to, of a link with ENCKE_LINK_CLOSED. Any thread.
/// ENCKE_E_GONE: the id is over; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_set_user(sender: *mut encke_sender, id: encke_id, user: u64) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference.
    unsafe {
        any_thread(sender, |sender| {
            sender.open()?;
            if Links::may_be(Id(id)) {
                return if sender.doors.set_user(Id(id), user) { Ok(0) } else { Err(Error::Gone) };
            }
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

/// The loop thread is inside: what belongs to it may be touched.
pub(super) struct Inside<'a>(&'a encke_sender, *mut Inner);

impl std::ops::Deref for Inside<'_> {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        // SAFETY: `inside` is up and was down before, so no other reference exists on this thread (there are no
        // callbacks); other threads have none; and who takes the encke away waits for the flag, or cannot meet a call
        // here because nobody took a reference (T2).
        unsafe { &*self.1 }
    }
}

impl std::ops::DerefMut for Inside<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        // SAFETY: as above.
        unsafe { &mut *self.1 }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.store(false, Release);
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

    /// Nobody took a reference: the loop thread is the only one that uses the sender.
    #[inline]
    fn is_alone(&self) -> bool {
        !self.referenced.load(Relaxed)
    }

    /// The loop thread's half, if this is the loop thread. While it is held, nobody frees the encke or moves it to
    /// another thread; it is never waited for here: a second one is simply not given.
    pub(super) fn on_loop(&self) -> Option<Inside<'_>> {
        if !self.is_loop_thread() {
            return None;
        }
        if self.is_alone() {
            // A borrowed sender is used on the loop thread for the encke's life only: nobody takes the encke away during
            // a call, and the flag needs no lock.
            if self.inside.load(Relaxed) {
                return None;
            }
            let inner = self.inner.load(Acquire);
            if inner.is_null() {
                return None;
            }
            self.inside.store(true, Relaxed);
            return Some(Inside(self, inner));
        }
        if self.inside.swap(true, SeqCst) {
            return None;
        }
        let inside = Inside(self, self.inner.load(SeqCst));
        // Looked at again: it may have been freed, or have moved, before the flag was up.
        (self.is_loop_thread() && !inside.1.is_null()).then_some(inside)
    }

    /// For who takes the encke away from the loop thread, after it did: until a call under way there is over.
    pub(super) fn wait_until_left(&self) {
        while self.inside.load(SeqCst) {
            std::thread::yield_now();
        }
    }

    fn pass(&self, submission: Submission) -> Result<(), Submission> {
        if self.mailbox.push(submission)? {
            self.waker.wake();
        }
        Ok(())
    }

    /// Tells the loop from another thread.
    pub(super) fn hand_over(&self, submission: Submission) -> Result<(), Error> {
        self.pass(submission).map_err(take_back)
    }

    /// Says something of a request whose lease was asked.
    pub(super) fn say(&self, submission: Submission) -> Result<(), Error> {
        match self.on_loop() {
            Some(mut inner) => {
                inner.driver.before_answer();
                inner.driver.engine.apply(submission);
                inner.driver.after_answer();
                Ok(())
            }
            None => self.pass(submission).map_err(take_back),
        }
    }

    /// A settle of a request whose peer is gone: it only frees.
    pub(super) fn settled_gone(&self, id: Id) -> Error {
        match self.say(Submission::Settled { id }) {
            Ok(()) => Error::Gone,
            Err(error) => {
                self.drop_head(id);
                error
            }
        }
    }

    /// A settling call on a sender whose encke was freed.
    pub(super) fn settle_closed(&self, id: Id) -> Error {
        let _ = self.leases.settle(id, Settle::Abort);
        self.drop_head(id);
        Error::Closed
    }

    /// A head outlives its encke until it is settled.
    pub(super) fn keep_head(&self, held: Place<Held>) {
        let mut left = self.left.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A settle that won its lease but came too late for the encke has nobody else to free the head.
        if self.leases.alive(Id(held.view.id)) {
            left.insert(held.view.id, held);
        }
    }

    pub(super) fn drop_head(&self, id: Id) {
        self.left.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&id.0);
    }

    /// For a call that settles whatever it returns: acts as abort, and says what was wrong unless it is too late.
    #[cold]
    pub(super) fn settle_with(&self, id: Id, error: Error) -> Error {
        match self.abort(id) {
            Err(late @ (Error::Gone | Error::Closed)) => late,
            _ => error,
        }
    }

    pub(super) fn abort(&self, id: Id) -> Result<(), Error> {
        if self.open().is_err() {
            return Err(self.settle_closed(id));
        }
        if self.leases.is_second(id) {
            return self.say(Submission::Kick { id });
        }
        match self.leases.settle(id, Settle::Abort)? {
            Settled::Gone => Err(self.settled_gone(id)),
            Settled::Answer => self.say(Submission::Abort { id }).inspect_err(|_| self.drop_head(id)),
        }
    }

    /// An answer of the loop thread: nothing is copied on the way. A body is taken once the lease is won. `short`: the
    /// same answer, if it has that form.
    #[inline]
    pub(super) fn respond_here<'a>(
        &self,
        mut inner: Inside<'_>,
        id: Id,
        short: Option<&Short<'_>>,
        answer: impl FnOnce() -> Answer<'a>,
    ) -> Result<(), Error> {
        let alone = self.is_alone();
        if let (true, Some(short)) = (alone, short) {
            inner.driver.before_answer();
            if inner.driver.engine.respond_alone(id, short) {
                inner.driver.after_answer();
                return Ok(());
            }
        }
        let settled = if alone { self.leases.settle_alone(id) } else { self.leases.settle(id, Settle::Whole) };
        if settled? == Settled::Gone {
            drop(inner);
            return Err(self.settled_gone(id));
        }
        inner.driver.before_answer();
        inner.driver.engine.respond(id, answer());
        inner.driver.after_answer();
        Ok(())
    }

    #[inline]
    pub(super) fn respond(
        &self,
        id: Id,
        checked: Checked<'_>,
        lines: &[u8],
        content_type: Option<&[u8]>,
    ) -> Result<(), Error> {
        let Checked { status, close, length, seen, body } = checked;
        if let Some(inner) = self.on_loop() {
            let short = match body {
                Source::Copy(body) if !close => Some(Short { status, lines, seen, content_type, body }),
                _ => None,
            };
            let body = body.copy_if_large()?;
            let lines = Cow::Borrowed(lines);
            return self.respond_here(inner, id, short.as_ref(), || Answer {
                status,
                close,
                length,
                lines,
                seen,
                content_type,
                body: body.take(),
            });
        }
        if self.open().is_err() {
            return Err(self.settle_closed(id));
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

    pub(super) fn begin(&self, id: Id, checked: Checked<'_>, lines: &[u8]) -> Result<(), Error> {
        let Checked { status, close, length, seen, body } = checked;
        self.open()?;
        let first = match &body {
            Source::Copy(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let switching = status == 101;
        if let Some(mut inner) = self.on_loop() {
            let body = body.copy_if_large()?;
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

    pub(super) fn write(&self, id: Id, data: &[u8]) -> Result<(), Error> {
        self.open()?;
        let on_loop = self.on_loop();
        let direct = on_loop.is_some() && data.len() <= COPY_LIMIT;
        // The memory first: once the lease has counted the bytes, nothing can fail any more.
        let mut copy = Vec::new();
        if !direct {
            copy.try_reserve_exact(data.len()).map_err(|_| Error::NoMemory)?;
        }
        let pin = self.leases.reserve(id, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        if !direct {
            copy.extend_from_slice(data);
        }
        match on_loop {
            Some(mut inner) => {
                inner.driver.before_answer();
                inner.driver.engine.write(id, if direct { Body::Copy(data) } else { Body::Owned(copy) });
                drop(pin);
                inner.driver.after_answer();
                Ok(())
            }
            None => self.pass(Submission::Write { id, data: copy }).map_err(take_back),
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
