//! Section 7: events. Rule: what an event points to lives until the next encke_next or encke_run (a head: L3).

use std::ffi::{c_char, c_int, c_void, CStr};

use super::guard::{guard_value, on_loop};
use super::held::Held;
use super::input;
use super::server::{encke, Inner};
use super::types::{encke_head, encke_id, encke_message, encke_str};
use crate::engine::answer::{Answer, Body};
use crate::engine::event::{Event, What};
use crate::engine::id::Id;
use crate::engine::lease::{Settle, Settled};
use crate::engine::word::{Text, Topic, Word};
use crate::http1::response::Seen;

/// ev.id is now yours: settle it exactly once, see L1.
pub const ENCKE_EV_REQUEST: u32 = 1;
/// A piece of a large body or tunnel: data, len, more (0: the last, may be empty); credit it back with encke_body_ack.
pub const ENCKE_EV_BODY: u32 = 2;
/// Below ENCKE_OPT_LOW_WATER after an ENCKE_E_AGAIN.
pub const ENCKE_EV_WRITABLE: u32 = 3;
/// Optional. The last event of a request: code is ENCKE_END_, len the body bytes sent.
pub const ENCKE_EV_DONE: u32 = 4;
/// It cannot be answered any more: code is ENCKE_END_; still settle it: that frees, and returns ENCKE_E_GONE.
pub const ENCKE_EV_ABORTED: u32 = 5;
/// A borrowed buffer (ev.cookie) is no longer referenced: once for each ENCKE_OK with ENCKE_BORROW.
pub const ENCKE_EV_RELEASED: u32 = 6;
/// From a WebSocket: code is ENCKE_WS_TEXT or ENCKE_WS_BINARY; data, len. From a link: channel, message, and its data in data,
/// len too; ev.id is the subscription's, or the link's where encke_subscribe was used. Optional is that of a WebSocket that was
/// passed on (encke_pass).
pub const ENCKE_EV_MESSAGE: u32 = 7;
/// The last event of a WebSocket: code is the close code; 1005: it came without one, 1006: the connection was lost.
pub const ENCKE_EV_CLOSED: u32 = 8;
/// Optional. The subscriber ev.id joined (code 1) or left (code 0) ev.channel; before its ENCKE_EV_DONE.
pub const ENCKE_EV_SUBSCRIBER: u32 = 9;
/// Accept trouble of the listener ev.id, such as EMFILE: code is errno; once until it is over, and accepting begins again
/// by itself.
pub const ENCKE_EV_LISTENER: u32 = 10;
/// encke_drain is through.
pub const ENCKE_EV_DRAINED: u32 = 11;
/// Optional. data is one line, code 1 error, 2 warning, 3 information, 4 debug; not yet in this version.
pub const ENCKE_EV_LOG: u32 = 12;
/// Optional. The peer of a held request has closed its sending side: see F8.
pub const ENCKE_EV_HALF_CLOSED: u32 = 13;
/// Optional. Code 1: accepted; 0: over, the last event of a connection.
pub const ENCKE_EV_CONNECTION: u32 = 14;
/// Of a link or one of its subscriptions: code is ENCKE_LINK_. channel is the subscription's; p is NULL where it is about what
/// is published.
pub const ENCKE_EV_LINK: u32 = 15;

/// All of it was handed to the kernel.
pub const ENCKE_END_OK: c_int = 0;
/// Reset, or gone before it had everything.
pub const ENCKE_END_PEER: c_int = 1;
/// Body, write or answer time-out.
pub const ENCKE_END_TIMEOUT: c_int = 2;
/// Body too large, or no room.
pub const ENCKE_END_LIMIT: c_int = 3;
/// Malformed framing of the body.
pub const ENCKE_END_PROTOCOL: c_int = 4;
/// encke_abort, encke_close; a body shorter than its ENCKE_LENGTH; a file that shrank; an answer before it closed the
/// connection.
pub const ENCKE_END_HOST: c_int = 5;
/// The grace of encke_drain was over.
pub const ENCKE_END_DRAIN: c_int = 6;

/// What happened. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_event {
    /// ENCKE_EV_
    pub kind: u32,
    pub code: i32,
    pub id: encke_id,
    /// What encke_set_user gave this id, else 0.
    pub user: u64,
    /// RELEASED, LINK
    pub cookie: u64,
    /// REQUEST, ABORTED
    pub head: *const encke_head,
    /// BODY, MESSAGE, LINK: see L4
    pub data: *const c_void,
    pub len: usize,
    pub more: u32,
    /// SUBSCRIBER, MESSAGE and LINK of a link, as is message: see L4
    pub channel: encke_str,
    pub message: *const encke_message,
}

/// Without kind, code and id nothing can be told.
const LEAST_SIZE: usize = 16;

impl encke_event {
    const NOTHING: encke_event = encke_event {
        kind: 0,
        code: 0,
        id: 0,
        user: 0,
        cookie: 0,
        head: std::ptr::null(),
        data: std::ptr::null(),
        len: 0,
        more: 0,
        channel: encke_str::EMPTY,
        message: std::ptr::null(),
    };
}

impl Inner {
    /// The head of a request in the host's hands.
    fn view(&self, id: Id) -> *const encke_head {
        match self.heads.get(id.slot() as usize) {
            Some(Some(held)) if held.view.id == id.0 => &held.view,
            _ => std::ptr::null(),
        }
    }

    /// Fills in the host's struct, where it is: it is too large to be moved for nothing.
    #[inline(always)]
    fn show(&mut self, event: Event, out: &mut encke_event) {
        let id = event.id;
        *out = encke_event::NOTHING;
        out.id = id.0;
        out.user = event.user;
        match event.what {
            What::Request(head) => {
                out.kind = ENCKE_EV_REQUEST;
                let mut held = self.spare.pop().unwrap_or_else(Held::new);
                held.show(head);
                let slot = id.slot() as usize;
                if self.heads.len() <= slot {
                    self.heads.resize_with(slot + 1, || None);
                }
                out.head = &self.heads[slot].insert(held).view;
            }
            What::Body { data, more } => {
                out.kind = ENCKE_EV_BODY;
                out.more = u32::from(more);
                self.body = data;
                out.data = self.body.as_ptr().cast();
                out.len = self.body.len();
            }
            What::Writable => out.kind = ENCKE_EV_WRITABLE,
            What::Done { code, len } => {
                out.kind = ENCKE_EV_DONE;
                out.code = code as i32;
                out.len = usize::try_from(len).unwrap_or(usize::MAX);
            }
            What::Aborted(code) => {
                out.kind = ENCKE_EV_ABORTED;
                out.code = code as i32;
                out.head = self.view(id);
            }
            What::Released { cookie } => {
                out.kind = ENCKE_EV_RELEASED;
                out.cookie = cookie;
            }
            What::Listener(errno) => {
                out.kind = ENCKE_EV_LISTENER;
                out.code = errno;
            }
            What::Drained => out.kind = ENCKE_EV_DRAINED,
            What::HalfClosed => out.kind = ENCKE_EV_HALF_CLOSED,
            What::Message { opcode, data } => {
                out.kind = ENCKE_EV_MESSAGE;
                out.code = i32::from(opcode);
                self.body = data;
                out.data = self.body.as_ptr().cast();
                out.len = self.body.len();
            }
            What::Closed(code) => {
                out.kind = ENCKE_EV_CLOSED;
                out.code = i32::from(code);
            }
            What::Subscriber { channel, joined } => {
                out.kind = ENCKE_EV_SUBSCRIBER;
                out.code = i32::from(joined);
                self.channel.clear();
                self.channel.extend_from_slice(channel.as_bytes());
                self.channel.push(0);
                out.channel = encke_str { p: self.channel.as_ptr().cast(), n: channel.len() };
            }
            What::Word(word) => self.show_word(word, out),
            What::Connection(accepted) => {
                out.kind = ENCKE_EV_CONNECTION;
                out.code = i32::from(accepted);
            }
        }
    }
}

impl Inner {
    #[cold]
    fn show_word(&mut self, word: Box<Word>, out: &mut encke_event) {
        // It is kept until the next event, and does not move.
        let word = &**self.word.insert(word);
        (out.kind, out.code) = match word.topic {
            Topic::Message => (ENCKE_EV_MESSAGE, 0),
            Topic::Writable => (ENCKE_EV_WRITABLE, 0),
            Topic::State(code) => (ENCKE_EV_LINK, code),
        };
        out.more = word.status;
        out.cookie = word.number;
        if let Some(channel) = &word.channel {
            self.channel.clear();
            self.channel.extend_from_slice(channel.as_bytes());
            self.channel.push(0);
            out.channel = encke_str { p: self.channel.as_ptr().cast(), n: channel.len() };
        }
        if !word.text.is_empty() {
            // As all text it has a NUL behind it.
            self.body.clear();
            self.body.extend_from_slice(word.text.as_bytes());
            self.body.push(0);
            (out.data, out.len) = (self.body.as_ptr().cast(), word.text.len());
        }
        if let Some(letter) = &word.letter {
            let view = |which| {
                let text = letter.terminated(which);
                encke_str { p: text.as_ptr().cast(), n: text.len() - 1 }
            };
            out.channel = view(Text::Channel);
            *self.message = encke_message {
                r#type: view(Text::Kind),
                from: view(Text::From),
                event: view(Text::Event),
                key: view(Text::Key),
                data: letter.data.as_ptr().cast(),
                len: letter.data.len(),
            };
            out.message = &*self.message;
            if word.topic == Topic::Message {
                (out.data, out.len) = (self.message.data, self.message.len);
            }
        }
    }
}

/// The next event: 1, or 0: there is none, and the answers given so far are written (F2). Pass sizeof(encke_event). What
/// the event before pointed to is over. [loop thread]
/// ENCKE_E_INVAL: out is NULL, or sizeof_event has no room for kind, code and id; no event is lost. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_next(e: *mut encke, out: *mut encke_event, sizeof_event: usize) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or `sizeof_event` writable bytes.
    unsafe {
        on_loop(e, |inner| {
            input::takes(out, sizeof_event, LEAST_SIZE, "the event")?;
            inner.let_go();
            inner.serve_passed();
            match inner.driver.next_event() {
                Some(event) if sizeof_event == size_of::<encke_event>() && out.is_aligned() => {
                    inner.show(event, &mut *out);
                    Ok(1)
                }
                Some(event) => {
                    let mut whole = encke_event::NOTHING;
                    inner.show(event, &mut whole);
                    input::give(&whole, out, sizeof_event, LEAST_SIZE, "the event")?;
                    Ok(1)
                }
                None => {
                    input::give(&encke_event::NOTHING, out, sizeof_event, LEAST_SIZE, "the event")?;
                    Ok(0)
                }
            }
        })
    }
}

/// For the simple host: the next request: 1, or 0 as encke_next. Other events are consumed unseen, and a request whose
/// body is larger than ENCKE_OPT_BUFFER_BODY is answered 413 by the library. Not to be used beside borrowed bodies,
/// streams that meet ENCKE_E_AGAIN or drain: those need encke_next. id and head may be NULL. [loop thread] Fails only as
/// every loop-thread call does. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_next_request(e: *mut encke, id: *mut encke_id, head: *mut *const encke_head) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or writable places.
    unsafe {
        on_loop(e, |inner| loop {
            inner.let_go();
            inner.serve_passed();
            let Some(event) = inner.driver.next_event() else { return Ok(0) };
            let What::Request(request) = &event.what else { continue };
            let follows = request.flags & crate::engine::head::BODY_FOLLOWS != 0;
            let mut shown = encke_event::NOTHING;
            inner.show(event, &mut shown);
            let event = shown;
            if follows {
                refuse_body(inner, Id(event.id));
                continue;
            }
            if !id.is_null() {
                *id = event.id;
            }
            if !head.is_null() {
                *head = event.head;
            }
            return Ok(1);
        })
    }
}

fn refuse_body(inner: &mut Inner, id: Id) {
    if inner.driver.engine.leases().settle(id, Settle::Whole) != Ok(Settled::Answer) {
        return;
    }
    inner.driver.engine.respond(
        id,
        Answer {
            status: 413,
            close: false,
            length: None,
            lines: Default::default(),
            seen: Seen::default(),
            content_type: Some(b"text/plain; charset=utf-8"),
            body: Body::Copy(b"413 the body is larger than this server takes\n"),
        },
    );
}

/// The value of the first field of that name, which is given in lower case; p == NULL: there is none. Lives as long as
/// the head. Any thread; reads nothing but the head. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_head_get(head: *const encke_head, lower_case_name: *const c_char) -> encke_str {
    guard_value(encke_str::EMPTY, || {
        // SAFETY: the host gives NULL or a head that L3 keeps, and NULL or NUL-terminated text.
        unsafe {
            let Some(head) = head.as_ref() else { return encke_str::EMPTY };
            if lower_case_name.is_null() || head.fields.is_null() {
                return encke_str::EMPTY;
            }
            let name = CStr::from_ptr(lower_case_name).to_bytes();
            for i in 0..head.nfields {
                let field = &*head.fields.add(i);
                if input::text(&field.name, "name").is_ok_and(|found| found == name) {
                    return field.value;
                }
            }
            encke_str::EMPTY
        }
    })
}
