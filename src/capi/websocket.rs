//! Section 11: WebSockets.

use std::ffi::{c_char, c_int, c_void};

use super::channels::built_in;
use super::guard::any_thread;
use super::input;
use super::types::{encke_field, encke_id, encke_sender};
use crate::engine::id::Id;
use crate::engine::lease::{Settled, Socket};
use crate::engine::mailbox::Submission;
use crate::engine::Error;
use crate::http1::response::{Place, Seen};
use crate::ws::{code, frame, is_sendable, BINARY, PING, TEXT};

/// A WebSocket message of text, which is UTF-8.
pub const ENCKE_WS_TEXT: u32 = 1;
/// A WebSocket message of bytes.
pub const ENCKE_WS_BINARY: u32 = 2;
/// Asks the client for a sign of life; at most 125 bytes.
pub const ENCKE_WS_PING: u32 = 9;

/// Makes a WebSocket of a request with ENCKE_HEAD_WEBSOCKET: 101 with these fields (Sec-WebSocket-Protocol is yours, the
/// other Sec-WebSocket- fields are the library's; it takes permessage-deflate where it is offered). Settles: the head is
/// over, the id lives on as the socket's until ENCKE_EV_CLOSED, which comes instead of ENCKE_EV_DONE and always. Messages
/// come as ENCKE_EV_MESSAGE, up to ENCKE_OPT_MAX_BODY; pings and closes are answered by the library; encke_abort cuts it.
/// Who says nothing is asked and cut, see ENCKE_OPT_WS_HEARTBEAT_MS. A page of another origin (ENCKE_OPT_ORIGINS) is answered
/// 403, and ENCKE_EV_CLOSED says 1006. Any thread.
/// ENCKE_E_STATE: no WebSocket handshake, or the answer was begun; ENCKE_E_GONE: the id is over, or the peer is gone;
/// ENCKE_E_INVAL: a bad field; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 6455, 4.2.2; RFC 7692.
#[no_mangle]
pub unsafe extern "C" fn encke_ws_accept(
    sender: *mut encke_sender,
    request: encke_id,
    fields: *const encke_field,
    n: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and `n` fields with readable texts.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let id = Id(request);
            let mut lines = Vec::new();
            input::field_lines(fields, n, Place::Answer, &mut lines, &mut Seen::default())?;
            refuse_ours(&lines)?;
            if sender.open().is_err() {
                return Err(sender.settle_closed(id));
            }
            match sender.leases.settle_into_second(id, Socket::Must)? {
                Settled::Gone => Err(sender.settled_gone(id)),
                Settled::Answer => {
                    sender.say(Submission::Accept { id, lines }).inspect_err(|_| sender.drop_head(id)).map(|()| 0)
                }
            }
        })
    }
}

/// Fields of the handshake that are the library's.
fn refuse_ours(lines: &[u8]) -> Result<(), Error> {
    for line in lines.split(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        if name.starts_with(b"sec-websocket-") && name != b"sec-websocket-protocol" {
            return Err(Error::invalid(format!("{} is set by the library", String::from_utf8_lossy(&name))));
        }
    }
    Ok(())
}

/// Sends a message: ENCKE_WS_TEXT (checked to be UTF-8), ENCKE_WS_BINARY, or ENCKE_WS_PING; all or nothing, copied. As
/// encke_write: ENCKE_E_AGAIN while ENCKE_OPT_HIGH_WATER or more bytes are queued, then one ENCKE_EV_WRITABLE (F3). Any
/// thread.
/// ENCKE_E_AGAIN; ENCKE_E_GONE: the id is over or no socket's, or it is being closed; ENCKE_E_INVAL: another opcode, text
/// that is not UTF-8, a ping of more than 125 bytes; ENCKE_E_NOMEM; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC
/// 6455, 5.6.
#[no_mangle]
pub unsafe extern "C" fn encke_ws_send(
    sender: *mut encke_sender,
    id: encke_id,
    opcode: u32,
    data: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and `len` readable bytes.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let data = input::bytes(data, len, "data")?;
            let opcode = match opcode {
                ENCKE_WS_TEXT if std::str::from_utf8(data).is_err() => {
                    return Err(Error::invalid("data: a text that is not UTF-8"))
                }
                ENCKE_WS_TEXT => TEXT,
                ENCKE_WS_BINARY => BINARY,
                ENCKE_WS_PING if data.len() > 125 => return Err(Error::invalid("data: a ping of more than 125 bytes")),
                ENCKE_WS_PING => PING,
                other => return Err(Error::invalid(format!("opcode {other}: 1, 2 and 9 can be sent"))),
            };
            sender.open()?;
            let mut frames = Vec::new();
            frames.try_reserve_exact(data.len() + 10).map_err(|_| Error::NoMemory)?;
            frame::append_head(&mut frames, opcode, data.len());
            frames.extend_from_slice(data);
            let id = Id(id);
            let pin = sender.leases.reserve_second(id, frames.len() as u64)?;
            let said = sender.say(Submission::Frames { id, frames });
            drop(pin);
            said.map(|()| 0)
        })
    }
}

/// Closes a socket: what is queued goes out, then the close with this code and reason (UTF-8, cut to 123 bytes; NULL: none);
/// ENCKE_EV_CLOSED follows. Any thread.
/// ENCKE_E_GONE: the id is over or no socket's, or it is being closed; ENCKE_E_INVAL: a code that must not be sent (allowed
/// are 1000 to 1003, 1007 to 1014, 3000 to 4999), a reason that is not UTF-8; ENCKE_E_CLOSED: the encke was freed. Since
/// 0.1. RFC 6455, 7.4.
#[no_mangle]
pub unsafe extern "C" fn encke_ws_close(
    sender: *mut encke_sender,
    id: encke_id,
    code: u32,
    reason: *const c_char,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and NULL or NUL-terminated text.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let reason = match reason.is_null() {
                true => "",
                false => std::str::from_utf8(input::c_text(reason, "reason")?)
                    .map_err(|_| Error::invalid("reason is not UTF-8"))?,
            };
            let code = u16::try_from(code).ok().filter(|code| is_sendable(*code) && *code != code::NONE);
            let Some(code) = code else { return Err(Error::invalid("code: it must not be sent")) };
            sender.open()?;
            drop(sender.leases.second_of_socket(Id(id))?);
            sender.say(Submission::Close { id: Id(id), code, reason: reason.into() }).map(|()| 0)
        })
    }
}
