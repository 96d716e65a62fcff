//! Section 14: links: the client's side of a bus.

use std::ffi::{c_char, c_int};

use super::channels::{encke_subscription, utf8, LEAST_SUBSCRIPTION};
use super::guard::on_loop;
use super::input;
use super::server::{encke, Inner};
use super::types::{encke_id, encke_sender, encke_str};
use crate::engine::id::Id;
use crate::engine::Error;
use crate::link::{Options, Wish};
use crate::push::globs::MAX_LIST;
use crate::push::message::{check_name, Parts};

/// encke_link_options: each acknowledged message is told by ENCKE_LINK_ACKED.
pub const ENCKE_LINK_REPORT: u32 = 1;
/// encke_link_options: no message is sent twice: what was on its way when the connection was lost comes back as
/// ENCKE_LINK_RETURNED.
pub const ENCKE_LINK_ONCE: u32 = 2;
/// encke_link_options: the URL is one source of any server, whole, with its query: text/event-stream, or
/// multipart/x-mixed-replace. Without a port 80 (https: 443), without a path "/".
pub const ENCKE_LINK_SOURCE: u32 = 4;

/// ENCKE_EV_LINK: connected, and the other end agreed. After it was down: it goes on without loss unless ENCKE_LINK_GAP says
/// otherwise.
pub const ENCKE_LINK_UP: i32 = 1;
/// ENCKE_EV_LINK: lost, or it could not be reached; data is one line that says why. It is tried again.
pub const ENCKE_LINK_DOWN: i32 = 2;
/// ENCKE_EV_LINK: the server answered a subscription with another status than 200: it is in `more`. It is tried again after the
/// longest pause; after 408, 425, 429, 500 and 502 to 504 as after a lost connection. After 204 of a source it is over. data is
/// where a redirect points to: it is not followed.
pub const ENCKE_LINK_REFUSED: i32 = 3;
/// ENCKE_EV_LINK: of a subscription that came back: messages may have been missed. Of a source of events also: one was larger than
/// max_message and left out.
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
    /// ENCKE_LINK_REPORT, ENCKE_LINK_ONCE, ENCKE_LINK_SOURCE
    pub flags: u32,
    /// Messages on their way at the same time; 0: 64; 1: one after the other.
    pub window: u32,
    /// ws and wss: the subprotocol that is asked for; a server may do without it.
    pub protocol: encke_str,
}

/// Opens a link to a bus: "http://127.0.0.1:8888/msgbus/", "https://[::1]:4444/bus/", "unix:/run/x.sock:/msgbus/". Without a
/// port 8888 (https: 4444), without a path "/msgbus/"; NULL: http://127.0.0.1:8888/msgbus/. A path ends in '/': the names of
/// channels stand behind it. Connections are made when something is published or subscribed, kept, and made anew when they are
/// lost, all inside encke_run.
/// "ws://127.0.0.1/path?query" and "wss://..." are a WebSocket that is listened to, and with ENCKE_LINK_SOURCE any http, https or
/// unix URL is one stream of any server: each is a source, of which encke_link_subscribe makes a connection, whatever name the
/// channel has there; nothing is published to it. *link gets its id, for encke_publish, encke_subscribe, encke_unsubscribe, encke_set_user and
/// encke_close. What happens is told by ENCKE_EV_LINK and ENCKE_EV_MESSAGE. Pass sizeof(encke_link_options); options may be NULL
/// with 0. [loop thread]
/// ENCKE_E_INVAL: the URL or an option is not understood, encke_last_error() says what is wrong with it; ENCKE_E_TLS: ca_pem, or
/// the system, has no usable certificate; ENCKE_E_NOTSUP: this build has no links (encke_has_feature("links")), or https and no
/// TLS, or a flag or field newer than this library; ENCKE_E_SYS: no random numbers; ENCKE_E_NOMEM. Since 0.1. RFC 7617; RFC 6455, 4.1.
#[no_mangle]
pub unsafe extern "C" fn encke_link_open(
    e: *mut encke,
    url: *const c_char,
    options: *const encke_link_options,
    sizeof_options: usize,
    link: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke, NULL or NUL-terminated text, NULL or readable options, and a writable id.
    unsafe {
        on_loop(e, |inner| {
            if link.is_null() {
                return Err(Error::invalid("link is NULL"));
            }
            let url = match url.is_null() {
                true => "",
                false => std::str::from_utf8(input::c_text(url, "the URL")?)
                    .map_err(|_| Error::invalid("the URL is not UTF-8"))?,
            };
            let options = match options.is_null() && sizeof_options == 0 {
                true => Options::default(),
                false => check(options, sizeof_options)?,
            };
            let Inner { links, driver, .. } = inner;
            *link = links.open(driver, url, options)?.0;
            Ok(0)
        })
    }
}

const LEAST_OPTIONS: usize = size_of::<encke_str>();

/// # Safety
/// As [`encke_link_open`].
unsafe fn check(options: *const encke_link_options, size: usize) -> Result<Options, Error> {
    // SAFETY: the caller's promise; every bit pattern is an encke_link_options.
    unsafe {
        let options = input::grown(options, size, LEAST_OPTIONS, "the options")?;
        let unknown = options.flags & !(ENCKE_LINK_REPORT | ENCKE_LINK_ONCE | ENCKE_LINK_SOURCE);
        if unknown != 0 {
            return Err(Error::NotSupported(format!("flags {:#x}: unknown bits", unknown).into()));
        }
        Ok(Options {
            user: utf8(&options.user, "user")?.into(),
            password: utf8(&options.password, "password")?.into(),
            ca_pem: input::copy(input::text(&options.ca_pem, "ca_pem")?)?,
            retry_max: options.retry_ms_max,
            queue_bytes: options.queue_bytes,
            queue_messages: options.queue_messages,
            max_message: options.max_message,
            window: options.window,
            reports: options.flags & ENCKE_LINK_REPORT != 0,
            once: options.flags & ENCKE_LINK_ONCE != 0,
            source: options.flags & ENCKE_LINK_SOURCE != 0,
            protocol: utf8(&options.protocol, "protocol")?.into(),
        })
    }
}

/// Subscribes one channel of a link under an id of its own: what comes for it carries this id and its encke_set_user, and
/// encke_close ends it alone. "": every channel. Of `how` types, from and since are looked at; NULL with 0: everything. Pass
/// sizeof(encke_subscription). [loop thread]
/// ENCKE_E_GONE: no such link; ENCKE_E_INVAL: bad name, list or position, or out is NULL; ENCKE_E_NOTSUP: a flag or field newer
/// than this library, or one that a link has no use for, or types and from of a source. Since 0.1.
/// https://html.spec.whatwg.org/multipage/server-sent-events.html
#[no_mangle]
pub unsafe extern "C" fn encke_link_subscribe(
    e: *mut encke,
    link: encke_id,
    channel: *const c_char,
    how: *const encke_subscription,
    sizeof_subscription: usize,
    out: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a living encke, NUL-terminated text, NULL or a readable subscription, and a writable id.
    unsafe {
        on_loop(e, |inner| {
            if out.is_null() {
                return Err(Error::invalid("out is NULL"));
            }
            let name = channel_of_link(channel)?;
            let wish = wish(name, how, sizeof_subscription)?;
            let Inner { links, driver, .. } = inner;
            *out = links.subscribe(driver, Id(link), wish)?.0;
            Ok(0)
        })
    }
}

/// Positions are short; anything else would only be carried around.
const MAX_POSITION: usize = 255;

/// The name of a channel at the other end; "": all of them.
///
/// # Safety
/// NULL or NUL-terminated text.
pub(super) unsafe fn channel_of_link<'a>(text: *const c_char) -> Result<&'a str, Error> {
    // SAFETY: the caller's promise.
    let text = unsafe { input::c_text(text, "the channel")? };
    let name = std::str::from_utf8(text).map_err(|_| Error::invalid("the channel's name is not UTF-8"))?;
    if !name.is_empty() {
        check_name(name).map_err(Error::invalid)?;
    }
    Ok(name)
}

/// # Safety
/// `how` is NULL or has `size` readable bytes.
pub(super) unsafe fn wish(channel: &str, how: *const encke_subscription, size: usize) -> Result<Wish, Error> {
    let mut wish = Wish { channel: channel.into(), types: Box::default(), from: Box::default(), since: Vec::new() };
    if how.is_null() && size == 0 {
        return Ok(wish);
    }
    // SAFETY: the caller's promise; every bit pattern is an encke_subscription.
    unsafe {
        let how = input::grown(how, size, LEAST_SUBSCRIPTION, "the subscription")?;
        if how.transport != 0 || how.flags != 0 || how.timeout_ms != 0 || how.nfields != 0 {
            let what = "a link has no use for transport, flags, timeout_ms and fields";
            return Err(Error::NotSupported(what.into()));
        }
        for (list, text, what) in [(&mut wish.types, &how.types, "types"), (&mut wish.from, &how.from, "from")] {
            let text = utf8(text, what)?;
            if text.len() > MAX_LIST {
                return Err(Error::invalid(format!("{what} is longer than {MAX_LIST} bytes")));
            }
            *list = text.into();
        }
        let since = input::text(&how.since, "since")?;
        if since.len() > MAX_POSITION || !since.iter().all(u8::is_ascii_graphic) {
            return Err(Error::invalid("since is no position"));
        }
        wish.since = since.to_vec();
    }
    Ok(wish)
}

impl Inner {
    /// What was asked of links takes effect; true: there was something.
    #[inline]
    pub(super) fn hear_links(&mut self) -> bool {
        let Inner { links, driver, .. } = self;
        links.has_commands() && links.hear(driver)
    }
}

impl encke_sender {
    /// The loop thread is to look at the links.
    fn tell_links(&self) {
        match self.on_loop() {
            Some(mut inner) => {
                inner.hear_links();
            }
            None if self.mailbox.wake() => self.waker.wake(),
            None => {}
        }
    }

    pub(super) fn publish_over(&self, link: Id, channel: &str, parts: Parts) -> Result<(), Error> {
        parts.check().map_err(Error::invalid)?;
        if parts.from.contains(':') {
            return Err(Error::invalid("from contains ':', which ends a user's name"));
        }
        // Elsewhere a key may be anything; here it is a field of the request.
        if parts.key.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(Error::invalid("key contains a control character"));
        }
        if self.doors.publish(link, channel, || parts)? {
            self.tell_links();
        }
        Ok(())
    }

    pub(super) fn follow(&self, link: Id, wishes: Vec<Wish>) -> Result<(), Error> {
        for wish in wishes {
            self.doors.follow(link, wish)?;
        }
        self.tell_links();
        Ok(())
    }

    pub(super) fn unfollow(&self, link: Id, channel: &str) -> Result<(), Error> {
        self.doors.leave(link, channel)?;
        self.tell_links();
        Ok(())
    }
}
