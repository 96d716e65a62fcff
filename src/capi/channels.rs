//! Section 12: channels: publish once, every subscriber gets it in its own transport.

use std::ffi::{c_char, c_int};

use super::guard::{any_thread, on_loop};
use super::input;
use super::links::{channel_of_link, wish};
use super::server::encke;
use super::types::{encke_field, encke_id, encke_message, encke_sender, encke_str};
use crate::engine::id::Id;
use crate::engine::lease::{Settled, Socket};
use crate::engine::mailbox::Submission;
use crate::engine::subscription::Subscription;
use crate::engine::Error;
use crate::http1::response::{Place, Seen};
use crate::io::clock;
use crate::link::Links;
use crate::push::feed::{Filter, Transport};
use crate::push::globs::MAX_LIST;
use crate::push::message::{check_name, Parts};
use crate::push::policy::{prefix_of, Choice};
use crate::push::position::Position;
use crate::PUSH;

/// By Upgrade and Accept: WebSocket, text/event-stream, multipart/x-mixed-replace, application/json for a long poll;
/// multipart for a client that asks for nothing of these.
pub const ENCKE_TRANSPORT_AUTO: u32 = 0;
/// multipart/x-mixed-replace: a part for each message; an image that changes.
pub const ENCKE_TRANSPORT_MULTIPART: u32 = 1;
/// text/event-stream, for EventSource: the id is the position, and Last-Event-ID resumes. What is not UTF-8 comes as a
/// data: URL.
pub const ENCKE_TRANSPORT_SSE: u32 = 2;
/// One batch as an object of JSON, then the answer ends: "position" to come back with, "recovered" where it came back,
/// "messages". 204 where nothing came in time. The position is in the field Encke-Position too.
pub const ENCKE_TRANSPORT_LONGPOLL: u32 = 3;
/// A WebSocket message for each message.
pub const ENCKE_TRANSPORT_WEBSOCKET: u32 = 4;
/// The data of the messages and nothing else, one behind the other.
pub const ENCKE_TRANSPORT_PLAIN: u32 = 5;

/// encke_subscription: pages of every origin may read the answer (CORS).
pub const ENCKE_SUBSCRIBE_CORS: u32 = 1;

/// How a client is subscribed. Zero it first. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_subscription {
    /// ENCKE_TRANSPORT_
    pub transport: u32,
    /// ENCKE_SUBSCRIBE_CORS
    pub flags: u32,
    /// Lists of patterns, "text/plain,image/?ng,!*html*": '*' fits any text, '?' any one byte, '!' decides against; empty: all.
    pub types: encke_str,
    pub from: encke_str,
    /// Resume after this position; empty: after that of the client, in Last-Event-ID or in the query as "since".
    pub since: encke_str,
    /// Of a long poll: 204 after so long without a message; 0: 30 s.
    pub timeout_ms: u64,
    /// Of the answer: CORS, cookies, caching. A Cache-Control of yours wins.
    pub fields: *const encke_field,
    pub nfields: usize,
}

/// Messages kept for those who come back; default 100.
pub const ENCKE_CHANNEL_HISTORY: c_int = 1;
/// ... and bytes of them; default 1 MiB.
pub const ENCKE_CHANNEL_BYTES: c_int = 2;
/// ... and for how long, in milliseconds; default 60,000. It is looked at when the channel is used, or once due.
pub const ENCKE_CHANNEL_TTL_MS: c_int = 3;
/// What a subscriber gets that does not keep up: one of ENCKE_SLOW_.
pub const ENCKE_CHANNEL_SLOW: c_int = 4;
/// Unsent bytes with which a subscriber does not keep up; default 1 MiB.
pub const ENCKE_CHANNEL_BACKLOG: c_int = 5;
/// Time between signs of life (a comment of SSE, a ping of WebSocket); default 30,000; 0: none.
pub const ENCKE_CHANNEL_HEARTBEAT_MS: c_int = 6;

/// Default. Its stream ends well behind the last whole message; it may come back and gets what the history has.
pub const ENCKE_SLOW_CLOSE: u64 = 0;
/// It does not get the new message.
pub const ENCKE_SLOW_DROP_NEW: u64 = 1;
/// It does not get the oldest ones that have not begun to go out.
pub const ENCKE_SLOW_DROP_OLD: u64 = 2;
/// As ENCKE_SLOW_DROP_OLD; besides, a message takes the place of an unsent one with its key.
pub const ENCKE_SLOW_LATEST: u64 = 3;

/// What is known of a channel. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_channel_facts {
    /// Of this channel itself, of all enckes that share it; not those of a prefix.
    pub subscribers: u64,
    /// Kept for those who come back.
    pub messages: u64,
    pub bytes: u64,
    /// Since the channel came to be.
    pub published: u64,
}

const LEAST_MESSAGE: usize = size_of::<encke_str>();
pub(super) const LEAST_SUBSCRIPTION: usize = 8;

/// # Safety
/// The text is readable.
pub(super) unsafe fn utf8<'a>(text: &encke_str, what: &'static str) -> Result<&'a str, Error> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { input::text(text, what)? };
    std::str::from_utf8(bytes).map_err(|_| Error::invalid(format!("{what} is not UTF-8")))
}

/// # Safety
/// NULL or NUL-terminated text.
unsafe fn pattern<'a>(text: *const c_char, may_be_prefix: bool) -> Result<&'a str, Error> {
    // SAFETY: the caller's promise.
    let text = unsafe { input::c_text(text, "the channel")? };
    let text = std::str::from_utf8(text).map_err(|_| Error::invalid("the channel's name is not UTF-8"))?;
    match prefix_of(text) {
        Some(_) if !may_be_prefix => Err(Error::invalid("the channel's name ends in '*', which means a prefix")),
        _ => check_name(text).map(|()| text).map_err(Error::invalid),
    }
}

/// Publishes a message in a channel: everybody who subscribes it gets it, in the order of publishing, and its history
/// keeps it. A name is UTF-8 of up to 255 bytes without control characters and does not end in '*'; a channel comes to be
/// with its first use and goes with its last subscriber and its history. Copied before it returns. link: 0.
/// With the id of a link (encke_link_open) it goes to the bus at the other end, in order, again until it is acknowledged; it may
/// arrive twice. The channel may be "" there, from (where it is not empty) is sent as the user instead of the link's, and
/// ENCKE_LINK_RETURNED tells what was not delivered. Pass sizeof(encke_message). Any thread.
/// ENCKE_E_INVAL: bad name or message, encke_last_error() says which and why; ENCKE_E_GONE: link is not 0 and no link's id;
/// ENCKE_E_AGAIN: the queue of the link is full, one ENCKE_EV_WRITABLE with its id follows; ENCKE_E_NOTSUP: a field newer than this library, or a source (ENCKE_LINK_SOURCE); ENCKE_E_NOMEM: it is larger than ENCKE_OPT_MAX_MEMORY, or there is no
/// memory for the copy; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_publish(
    sender: *mut encke_sender,
    link: encke_id,
    channel: *const c_char,
    message: *const encke_message,
    sizeof_message: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, NUL-terminated text, and a readable message of that size.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let channel = if link == 0 { pattern(channel, false)? } else { channel_of_link(channel)? };
            let m = input::grown(message, sizeof_message, LEAST_MESSAGE, "the message")?;
            let data = input::bytes(m.data, m.len, "data")?;
            sender.open()?;
            let parts = Parts {
                kind: utf8(&m.r#type, "type")?.to_owned(),
                from: utf8(&m.from, "from")?.to_owned(),
                event: utf8(&m.event, "event")?.to_owned(),
                key: utf8(&m.key, "key")?.to_owned(),
                data: input::copy(data)?,
            };
            if link != 0 {
                return sender.publish_over(Id(link), channel, parts).map(|()| 0);
            }
            parts.check().map_err(Error::invalid)?;
            sender.publish(channel, parts).map(|()| 0)
        })
    }
}

/// Subscribes the client of a request to channels, and to prefixes ("news/" and a star: every channel whose name begins so;
/// "*" alone: all). Settles: the answer is the library's from now on, the id lives on as the subscriber's until
/// ENCKE_EV_DONE, and encke_abort cuts it. The client that comes back with its position gets what it missed, or is told that
/// it cannot: the field Encke-Recovered says yes or no, as do the event "recovered" of SSE and the member of a long poll.
/// The library answers 403 to a page of another origin (ENCKE_OPT_ORIGINS), 426 or 400 to a handshake that is none.
/// A subscriber's id: joins more channels, and of `how` nothing may be set; not as a long poll. A link's id: the host itself
/// follows these channels of the other end ("": all of them), of `how` types, from and since are looked at, and messages come
/// as ENCKE_EV_MESSAGE with the link's id. Pass sizeof(encke_subscription); how may be NULL with 0. Any thread.
/// ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun; ENCKE_E_INVAL: bad name, list,
/// position, transport or field; ENCKE_E_NOTSUP: a flag or field newer than this library; ENCKE_E_CLOSED: the encke was
/// freed. Since 0.1. https://html.spec.whatwg.org/multipage/server-sent-events.html; RFC 2046, 5.1; RFC 6455.
#[no_mangle]
pub unsafe extern "C" fn encke_subscribe(
    sender: *mut encke_sender,
    id: encke_id,
    channels: *const *const c_char,
    n: usize,
    how: *const encke_subscription,
    sizeof_subscription: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, `n` texts, and NULL or a readable subscription.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            if Links::may_be(Id(id)) {
                return follow(sender, Id(id), channels, n, how, sizeof_subscription).map(|()| 0);
            }
            let mut subscription = match how.is_null() && sizeof_subscription == 0 {
                true => Subscription::default(),
                false => check(how, sizeof_subscription)?,
            };
            some(channels, n)?;
            for i in 0..n {
                let name = pattern(*channels.add(i), true)?;
                if !subscription.patterns.iter().any(|other| **other == *name) {
                    subscription.patterns.push(name.into());
                }
            }
            sender.subscribe(Id(id), subscription).map(|()| 0)
        })
    }
}

fn some(channels: *const *const c_char, n: usize) -> Result<(), Error> {
    if n == 0 {
        return Err(Error::invalid("channels: there is none"));
    }
    if channels.is_null() {
        return Err(Error::invalid(format!("channels: NULL with a count of {n}")));
    }
    Ok(())
}

/// [`encke_subscribe`] with the id of a link.
///
/// # Safety
/// As there.
unsafe fn follow(
    sender: &encke_sender,
    link: Id,
    channels: *const *const c_char,
    n: usize,
    how: *const encke_subscription,
    size: usize,
) -> Result<(), Error> {
    sender.open()?;
    if !sender.doors.is_link(link) {
        return Err(Error::Gone);
    }
    some(channels, n)?;
    let mut wishes = Vec::new();
    for i in 0..n {
        // SAFETY: the caller's promise.
        unsafe {
            wishes.push(wish(channel_of_link(*channels.add(i))?, how, size)?);
        }
    }
    sender.follow(link, wishes)
}

/// # Safety
/// As [`encke_subscribe`].
unsafe fn check(how: *const encke_subscription, size: usize) -> Result<Subscription, Error> {
    // SAFETY: the caller's promise; every bit pattern is an encke_subscription.
    unsafe {
        let how = input::grown(how, size, LEAST_SUBSCRIPTION, "the subscription")?;
        let transport = match how.transport {
            ENCKE_TRANSPORT_AUTO => None,
            ENCKE_TRANSPORT_MULTIPART => Some(Transport::Multipart),
            ENCKE_TRANSPORT_SSE => Some(Transport::Sse),
            ENCKE_TRANSPORT_LONGPOLL => Some(Transport::LongPoll),
            ENCKE_TRANSPORT_WEBSOCKET => Some(Transport::WebSocket),
            ENCKE_TRANSPORT_PLAIN => Some(Transport::Plain),
            other => return Err(Error::invalid(format!("transport {other}: there is no such"))),
        };
        if how.flags & !ENCKE_SUBSCRIBE_CORS != 0 {
            return Err(Error::NotSupported(format!("flags {:#x}: unknown bits", how.flags).into()));
        }
        let list = |text: &encke_str, what| {
            let list = utf8(text, what)?;
            match list.len() > MAX_LIST {
                true => Err(Error::invalid(format!("{what} is longer than {MAX_LIST} bytes"))),
                false => Ok(Box::<str>::from(list)),
            }
        };
        let filter = Filter { types: list(&how.types, "types")?, from: list(&how.from, "from")?, anonymous: false };
        let since = match input::text(&how.since, "since")? {
            b"" => None,
            // What is no position of this hub is answered as one that is too old.
            text => Some(Position::parse(text).unwrap_or_default()),
        };
        let mut lines = Vec::new();
        let mut seen = Seen::default();
        input::field_lines(how.fields, how.nfields, Place::Answer, &mut lines, &mut seen)?;
        Ok(Subscription {
            patterns: Vec::new(),
            transport,
            filter: (filter != Filter::default()).then(|| Box::new(filter)),
            since,
            timeout: how.timeout_ms,
            cors: how.flags & ENCKE_SUBSCRIBE_CORS != 0,
            lines,
            seen,
            bus: 0,
        })
    }
}

/// A subscriber leaves a channel or prefix, as it was subscribed; it stays a subscriber, also of nothing. A link's id: ends what
/// encke_subscribe began there for this channel. Any thread.
/// ENCKE_E_GONE: the id is over, or no subscriber's; ENCKE_E_INVAL: bad name; ENCKE_E_CLOSED: the encke was freed. Since
/// 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_unsubscribe(sender: *mut encke_sender, id: encke_id, channel: *const c_char) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and NUL-terminated text.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            if Links::may_be(Id(id)) {
                let channel = channel_of_link(channel)?;
                sender.open()?;
                return sender.unfollow(Id(id), channel).map(|()| 0);
            }
            let pattern = pattern(channel, true)?;
            sender.open()?;
            drop(sender.leases.second(Id(id))?);
            sender.say(Submission::Leave { id: Id(id), pattern: pattern.into() }).map(|()| 0)
        })
    }
}

/// From now on this encke has the channels, histories and positions of another: one encke per thread, and a message that
/// is published in any reaches the subscribers of all. Before it has published, subscribed or set anything: options of
/// channels are set after it, and hold for all. What the messages may occupy is ENCKE_OPT_MAX_MEMORY of the encke whose
/// channels they were first. `other` keeps nothing of e, and may be freed before it. [loop thread]
/// ENCKE_E_STATE: e has channels of its own already, or options of channels; ENCKE_E_INVAL: other is NULL; ENCKE_E_CLOSED: the encke of other was
/// freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_share(e: *mut encke, other: *mut encke_sender) -> c_int {
    // SAFETY: the host gives NULL or a living encke, and NULL or a sender with a reference.
    unsafe {
        let Some(sender) = e.as_ref().map(|encke| encke.sender().clone()) else {
            return on_loop(e, |_| Ok(0));
        };
        on_loop(e, |inner| {
            built_in()?;
            let Some(other) = other.as_ref() else { return Err(Error::invalid("the other encke's sender is NULL")) };
            other.open()?;
            let hub = other.hub();
            let ours = sender.hub();
            if std::sync::Arc::ptr_eq(&hub, &ours) {
                return Ok(0);
            }
            if !ours.is_fresh() {
                return Err(Error::State);
            }
            inner.driver.enter(hub.clone());
            sender.set_hub(hub);
            Ok(0)
        })
    }
}

/// Sets an option of a channel, or of a prefix ("news/" and a star). The name decides before a prefix, a longer prefix
/// before a shorter one. Holds at once, and for channels that come to be later. Any thread.
/// ENCKE_E_INVAL: bad name, or the value is out of range; ENCKE_E_NOTSUP: an option that this library does not know;
/// ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_channel_set(
    sender: *mut encke_sender,
    channel: *const c_char,
    option: c_int,
    value: u64,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and NUL-terminated text.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let pattern = pattern(channel, true)?;
            let (choice, least, most) = match option {
                ENCKE_CHANNEL_HISTORY => (Choice::History, 0, u64::MAX),
                ENCKE_CHANNEL_BYTES => (Choice::Bytes, 0, u64::MAX),
                ENCKE_CHANNEL_TTL_MS => (Choice::Ttl, 0, u64::MAX >> 1),
                ENCKE_CHANNEL_SLOW => (Choice::Slow, 0, ENCKE_SLOW_LATEST),
                ENCKE_CHANNEL_BACKLOG => (Choice::Backlog, 1, u64::MAX >> 1),
                ENCKE_CHANNEL_HEARTBEAT_MS => (Choice::Heartbeat, 0, u64::MAX >> 1),
                other => return Err(Error::NotSupported(format!("option {other}: not known").into())),
            };
            if !(least..=most).contains(&value) {
                return Err(Error::invalid(format!("value {value}: from {least} to {most}")));
            }
            sender.open()?;
            sender.hub().set(pattern, choice, value, clock::monotonic());
            Ok(0)
        })
    }
}

/// What is known of a channel. Pass sizeof(encke_channel_facts). Any thread: 1, or 0: there is no such channel now.
/// ENCKE_E_INVAL: bad name, or out is NULL or too small; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_channel_get(
    sender: *mut encke_sender,
    channel: *const c_char,
    out: *mut encke_channel_facts,
    sizeof_facts: usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, NUL-terminated text, and writable bytes.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let channel = pattern(channel, false)?;
            sender.open()?;
            let facts = sender.hub().facts(channel);
            let found = c_int::from(facts.is_some());
            let facts = facts.unwrap_or_default();
            let facts = encke_channel_facts {
                subscribers: facts.subscribers,
                messages: facts.messages,
                bytes: facts.bytes,
                published: facts.published,
            };
            input::give(&facts, out, sizeof_facts, 8, "the facts").map(|()| found)
        })
    }
}

/// The name of the first channel behind `after` in the order of bytes, NUL-terminated: 1, or 0: there is none. "" begins.
/// Channels that come and go meanwhile are met or not; none is met twice. need may be NULL and counts the NUL. Any thread.
/// ENCKE_E_RANGE: name has no room, *need bytes are needed; ENCKE_E_INVAL: after is NULL or not UTF-8; ENCKE_E_CLOSED: the
/// encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_channel_next(
    sender: *mut encke_sender,
    after: *const c_char,
    name: *mut c_char,
    cap: usize,
    need: *mut usize,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, NUL-terminated text, and NULL or writable places.
    unsafe {
        any_thread(sender, |sender| {
            built_in()?;
            let after = std::str::from_utf8(input::c_text(after, "after")?)
                .map_err(|_| Error::invalid("after is not UTF-8"))?;
            sender.open()?;
            match sender.hub().next_after(after) {
                Some(next) => input::give_bytes(next.as_bytes(), true, name.cast(), cap, need).map(|()| 1),
                None => Ok(0),
            }
        })
    }
}

/// Before anything else in sections 11 and 12.
pub(super) fn built_in() -> Result<(), Error> {
    match PUSH {
        true => Ok(()),
        false => Err(Error::NotSupported("this build has no channels and WebSockets".into())),
    }
}

impl encke_sender {
    pub(super) fn hub(&self) -> std::sync::Arc<crate::push::hub::Hub> {
        self.hub.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn set_hub(&self, hub: std::sync::Arc<crate::push::hub::Hub>) {
        *self.hub.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = hub;
    }

    fn publish(&self, channel: &str, parts: Parts) -> Result<(), Error> {
        let hub = self.hub();
        if !hub.has_room(parts.data.len() as u64) {
            return Err(Error::NoMemory);
        }
        let now = clock::monotonic();
        match self.on_loop() {
            Some(mut inner) => {
                inner.driver.before_answer();
                let awake = inner.driver.engine.hub().map(|(_, member)| *member);
                hub.publish(channel, parts, now, awake);
                inner.driver.after_publish();
            }
            None => hub.publish(channel, parts, now, None),
        }
        Ok(())
    }

    fn subscribe(&self, id: Id, subscription: Subscription) -> Result<(), Error> {
        if self.leases.is_second(id) {
            self.open()?;
            return self.say(Submission::Join { id, patterns: subscription.patterns });
        }
        if self.open().is_err() {
            return Err(self.settle_closed(id));
        }
        let socket = match subscription.transport {
            None | Some(Transport::WebSocket) => Socket::May,
            Some(_) => Socket::Never,
        };
        match self.leases.settle_into_second(id, socket)? {
            Settled::Gone => Err(self.settled_gone(id)),
            Settled::Answer => {
                let subscription = Box::new(subscription);
                self.say(Submission::Subscribe { id, subscription }).inspect_err(|_| self.drop_head(id))
            }
        }
    }
}
