//! Section 8, continued: answers. Rule: what was passed in is checked first; nothing happens on a failure but what the
//! function says.

use std::ffi::{c_char, c_int, c_void, CStr};

use super::guard::any_thread;
use super::input;
use super::response::{check, encke_response, Checked, Source};
use super::types::{encke_field, encke_id, encke_sender};
use crate::engine::id::Id;
use crate::engine::lease::{Settle, Settled};
use crate::engine::mailbox::Submission;
use crate::engine::output::COPY_LIMIT;
use crate::engine::Error;
use crate::http1::response::{valid_content_type, Place, Seen};

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
            let body = match input::bytes(body, len, "body") {
                Ok(body) => body,
                Err(error) => return Err(sender.settle_with(Id(id), error)),
            };
            let content_type = match content_type.is_null() {
                true => None,
                false => Some(CStr::from_ptr(content_type).to_bytes()),
            };
            if let Err(error) = check_reply(status, content_type) {
                return Err(sender.settle_with(Id(id), error));
            }
            let (id, status) = (Id(id), status as u16);
            let checked =
                Checked { status, close: false, length: None, seen: Seen::default(), body: Source::Copy(body) };
            match sender.respond(id, checked, b"", content_type) {
                Ok(()) => Ok(0),
                Err(error @ (Error::Gone | Error::Closed)) => Err(error),
                Err(error) => Err(sender.settle_with(id, error)),
            }
        })
    }
}

fn check_reply(status: u32, content_type: Option<&[u8]>) -> Result<(), Error> {
    if !(200..1000).contains(&status) {
        return Err(Error::invalid(format!("status {status}: a final status is 200 to 999")));
    }
    match content_type.map(valid_content_type) {
        Some(Err(fault)) => Err(Error::invalid(format!("content type: {fault}"))),
        _ => Ok(()),
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
    let mut lines = sender.on_loop().map(|mut inner| std::mem::take(&mut inner.lines)).unwrap_or_default();
    let result = f(&mut lines);
    if let Some(mut inner) = sender.on_loop() {
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
/// is chunked and are dropped elsewhere. With fewer bytes than ENCKE_LENGTH promised it acts as encke_abort. Of a subscriber:
/// its stream ends well behind what was published so far, a WebSocket with 1000; a long poll is answered. Any thread.
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
            if sender.leases.is_second(id) {
                return sender.say(Submission::End { id, trailers: Vec::new() }).map(|()| 0);
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
