//! Section 4: configuration. Rule: one setter per value type; every limit is finite by default and stays finite.

use std::ffi::{c_char, c_int};

use super::guard::{guard, guard_value};
use super::input;
use crate::engine::settings::Settings;
use crate::engine::Error;
use crate::http1::response::{append_field, Place, Seen};
use crate::io::listener::Manner;
use crate::push::globs::MAX_LIST;

/// ENCKE_WATCH_ONE (default) or ENCKE_WATCH_EACH.
pub const ENCKE_OPT_WATCH: c_int = 1;
/// Live. ENCKE_WANT(kind) bits of the optional kinds of events that are wanted; default none.
pub const ENCKE_OPT_EVENTS: c_int = 2;
/// Live. Connections at a time, default 100,000; beyond, nothing is accepted until one ends.
pub const ENCKE_OPT_MAX_CONNECTIONS: c_int = 3;
/// Requests of one connection in the host's hands, or answered behind one that is, default 128; beyond, the connection is
/// not read.
pub const ENCKE_OPT_MAX_PIPELINE: c_int = 4;
/// Bytes of request line and fields, default 32 KiB: 431 or 414 beyond.
pub const ENCKE_OPT_MAX_HEAD: c_int = 5;
/// Bytes of a body, default 64 MiB: 413 beyond.
pub const ENCKE_OPT_MAX_BODY: c_int = 6;
/// Bytes, default 64 KiB: a body up to this size arrives whole inside ENCKE_EV_REQUEST, a larger one in ENCKE_EV_BODY
/// events.
pub const ENCKE_OPT_BUFFER_BODY: c_int = 7;
/// For a request head, from its first byte, default 15,000: 408.
pub const ENCKE_OPT_HEAD_TIMEOUT_MS: c_int = 8;
/// For the next bytes of a body, default 30,000: 408; see F5.
pub const ENCKE_OPT_BODY_TIMEOUT_MS: c_int = 9;
/// For a connection without a request, default 60,000: it closes.
pub const ENCKE_OPT_IDLE_TIMEOUT_MS: c_int = 10;
/// For a peer that takes nothing of a pending answer, default 30,000: it is cut.
pub const ENCKE_OPT_WRITE_TIMEOUT_MS: c_int = 11;
/// For the host, from the delivery to the settle or begin: 503 and ENCKE_EV_ABORTED; the id stays yours until settled.
/// 0 (default): never.
pub const ENCKE_OPT_ANSWER_TIMEOUT_MS: c_int = 12;
/// Unsent body bytes of one answer before ENCKE_E_AGAIN, default 256 KiB; less while ENCKE_OPT_MAX_MEMORY runs short.
pub const ENCKE_OPT_HIGH_WATER: c_int = 13;
/// Unsent body bytes of one answer below which ENCKE_EV_WRITABLE comes, default 64 KiB.
pub const ENCKE_OPT_LOW_WATER: c_int = 14;
/// Bytes of buffers over all connections, default 256 MiB; the more is used, the less is taken on, and who waited too
/// long gets 503, as do the largest that are not finished where others wait. The last eighth is for connections that hold
/// nothing. As many again for the messages of channels, with their histories: see encke_share.
pub const ENCKE_OPT_MAX_MEMORY: c_int = 15;
/// Live. Requests in the host's hands over all connections, default 65,536; 0: pause, see F4.
pub const ENCKE_OPT_MAX_HELD: c_int = 16;
/// Bytes of one large body or tunnel with the host that it has not acknowledged, default 256 KiB. A chunked
/// body that turns out larger than ENCKE_OPT_BUFFER_BODY begins with what was collected of it, whatever the window.
pub const ENCKE_OPT_BODY_WINDOW: c_int = 17;
/// Fields of a request, default 100: 431 beyond.
pub const ENCKE_OPT_MAX_FIELDS: c_int = 18;
/// 100-continue: 0 (default): it goes out when the drain that delivered the request ends without a settle or begin; 1: only
/// by encke_inform. Any final answer refuses it; after an encke_begin the refused body ends with an empty ENCKE_EV_BODY.
pub const ENCKE_OPT_EXPECT: c_int = 19;
/// 0 (default): all pipelined requests are handed over beside each other, the host minds their order. 1: only GET, HEAD,
/// OPTIONS and TRACE are (RFC 9110, 9.2.1; RFC 9112, 9.3.2), others wait for those before them.
pub const ENCKE_OPT_PIPELINE_SAFE: c_int = 20;
/// Live. 1: SO_REUSEPORT for the next encke_listen; default 0.
pub const ENCKE_OPT_REUSE_PORT: c_int = 21;
/// Live. The backlog of the next encke_listen, default 4,096; the kernel may have a lower limit.
pub const ENCKE_OPT_BACKLOG: c_int = 22;
/// 0 (default): CONNECT is answered 501. 1: it is handed over, see encke_begin.
pub const ENCKE_OPT_CONNECT: c_int = 23;
/// Live. Permission bits of the file of the next UNIX socket, such as 0660; 0 (default): as umask has it.
pub const ENCKE_OPT_UNIX_MODE: c_int = 24;
/// For a TLS handshake, from the connection on, default 10,000: it closes.
pub const ENCKE_OPT_HANDSHAKE_TIMEOUT_MS: c_int = 25;
/// For a WebSocket that says nothing, default 30,000: a ping, and 1006 where nothing comes within as long again; 0: neither.
pub const ENCKE_OPT_WS_HEARTBEAT_MS: c_int = 26;
/// Text: the Server field; "" (default): none.
pub const ENCKE_OPT_SERVER_NAME: c_int = 1000;
/// Text: origins whose pages may subscribe and open WebSockets beside those of this server's host: a list of patterns as in
/// encke_subscription, "https://example.org,https://?*.example.org"; "*": all; "" (default): none. Others are answered 403;
/// clients that send no Origin are no pages. Subscriptions with ENCKE_SUBSCRIBE_CORS are open to all.
pub const ENCKE_OPT_ORIGINS: c_int = 1001;

/// One fd carries everything.
pub const ENCKE_WATCH_ONE: u32 = 0;
/// The host watches every socket itself: see encke_next_watch.
pub const ENCKE_WATCH_EACH: u32 = 1;

/// Settings; copied at encke_new, so one may serve many enckes. One thread at a time.
#[derive(Clone)]
pub struct encke_config {
    pub(super) settings: Settings,
    pub(super) manner: Manner,
    pub(super) watch_each: bool,
}

impl std::fmt::Debug for encke_config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("encke_config")
    }
}

impl Default for encke_config {
    fn default() -> encke_config {
        encke_config {
            settings: Settings::default(),
            manner: Manner { reuse_port: false, backlog: 4096, unix_mode: 0 },
            watch_each: false,
        }
    }
}

const GIB: u64 = 1 << 30;
/// Longer than any wait that means something, short enough for sums.
const MAX_MS: u64 = 1 << 40;

/// Name and legal values of an option with a number.
fn range(option: c_int) -> Option<(&'static str, u64, u64)> {
    Some(match option {
        ENCKE_OPT_WATCH => ("ENCKE_OPT_WATCH", 0, 1),
        ENCKE_OPT_EVENTS => ("ENCKE_OPT_EVENTS", 0, u64::MAX),
        ENCKE_OPT_MAX_CONNECTIONS => ("ENCKE_OPT_MAX_CONNECTIONS", 1, 4_000_000),
        ENCKE_OPT_MAX_PIPELINE => ("ENCKE_OPT_MAX_PIPELINE", 1, 1_000_000),
        ENCKE_OPT_MAX_HEAD => ("ENCKE_OPT_MAX_HEAD", 64, 16 << 20),
        ENCKE_OPT_MAX_BODY => ("ENCKE_OPT_MAX_BODY", 0, u64::MAX - 1),
        ENCKE_OPT_BUFFER_BODY => ("ENCKE_OPT_BUFFER_BODY", 0, GIB),
        ENCKE_OPT_HEAD_TIMEOUT_MS => ("ENCKE_OPT_HEAD_TIMEOUT_MS", 1, MAX_MS),
        ENCKE_OPT_BODY_TIMEOUT_MS => ("ENCKE_OPT_BODY_TIMEOUT_MS", 1, MAX_MS),
        ENCKE_OPT_IDLE_TIMEOUT_MS => ("ENCKE_OPT_IDLE_TIMEOUT_MS", 1, MAX_MS),
        ENCKE_OPT_WRITE_TIMEOUT_MS => ("ENCKE_OPT_WRITE_TIMEOUT_MS", 1, MAX_MS),
        ENCKE_OPT_ANSWER_TIMEOUT_MS => ("ENCKE_OPT_ANSWER_TIMEOUT_MS", 0, MAX_MS),
        ENCKE_OPT_HIGH_WATER => ("ENCKE_OPT_HIGH_WATER", 1, GIB),
        ENCKE_OPT_LOW_WATER => ("ENCKE_OPT_LOW_WATER", 0, GIB),
        ENCKE_OPT_MAX_MEMORY => ("ENCKE_OPT_MAX_MEMORY", 4096, 1 << 60),
        ENCKE_OPT_MAX_HELD => ("ENCKE_OPT_MAX_HELD", 0, 4_000_000),
        ENCKE_OPT_BODY_WINDOW => ("ENCKE_OPT_BODY_WINDOW", 1, GIB),
        ENCKE_OPT_MAX_FIELDS => ("ENCKE_OPT_MAX_FIELDS", 1, 1024),
        ENCKE_OPT_EXPECT => ("ENCKE_OPT_EXPECT", 0, 1),
        ENCKE_OPT_PIPELINE_SAFE => ("ENCKE_OPT_PIPELINE_SAFE", 0, 1),
        ENCKE_OPT_REUSE_PORT => ("ENCKE_OPT_REUSE_PORT", 0, 1),
        ENCKE_OPT_BACKLOG => ("ENCKE_OPT_BACKLOG", 1, i32::MAX as u64),
        ENCKE_OPT_CONNECT => ("ENCKE_OPT_CONNECT", 0, 1),
        ENCKE_OPT_UNIX_MODE => ("ENCKE_OPT_UNIX_MODE", 0, 0o777),
        ENCKE_OPT_HANDSHAKE_TIMEOUT_MS => ("ENCKE_OPT_HANDSHAKE_TIMEOUT_MS", 1, MAX_MS),
        ENCKE_OPT_WS_HEARTBEAT_MS => ("ENCKE_OPT_WS_HEARTBEAT_MS", 0, MAX_MS),
        _ => return None,
    })
}

fn check(option: c_int, value: u64) -> Result<(), Error> {
    match range(option) {
        None if option == ENCKE_OPT_SERVER_NAME => {
            Err(Error::invalid("ENCKE_OPT_SERVER_NAME takes text: encke_config_set_str"))
        }
        None if option == ENCKE_OPT_ORIGINS => {
            Err(Error::invalid("ENCKE_OPT_ORIGINS takes text: encke_config_set_str"))
        }
        None => Err(Error::NotSupported(format!("option {option} is not known to this library").into())),
        Some((name, least, most)) if value < least || value > most => {
            Err(Error::invalid(format!("{name}: {value} is not within {least} to {most}")))
        }
        Some(_) => Ok(()),
    }
}

impl encke_config {
    fn set(&mut self, option: c_int, value: u64) -> Result<(), Error> {
        check(option, value)?;
        let settings = &mut self.settings;
        match option {
            ENCKE_OPT_WATCH => self.watch_each = value != 0,
            ENCKE_OPT_EVENTS => settings.events = value,
            ENCKE_OPT_MAX_CONNECTIONS => settings.max_connections = value,
            ENCKE_OPT_MAX_PIPELINE => settings.max_pipeline = value as u32,
            ENCKE_OPT_MAX_HEAD => settings.max_head = value as usize,
            ENCKE_OPT_MAX_BODY => settings.max_body = value,
            ENCKE_OPT_BUFFER_BODY => settings.buffer_body = value as usize,
            ENCKE_OPT_HEAD_TIMEOUT_MS => settings.head_timeout = value,
            ENCKE_OPT_BODY_TIMEOUT_MS => settings.body_timeout = value,
            ENCKE_OPT_IDLE_TIMEOUT_MS => settings.idle_timeout = value,
            ENCKE_OPT_WRITE_TIMEOUT_MS => settings.write_timeout = value,
            ENCKE_OPT_ANSWER_TIMEOUT_MS => settings.answer_timeout = value,
            ENCKE_OPT_HIGH_WATER => settings.high_water = value,
            ENCKE_OPT_LOW_WATER => settings.low_water = value,
            ENCKE_OPT_MAX_MEMORY => settings.max_memory = value,
            ENCKE_OPT_MAX_HELD => settings.max_held = value,
            ENCKE_OPT_BODY_WINDOW => settings.body_window = value,
            ENCKE_OPT_MAX_FIELDS => settings.max_fields = value as usize,
            ENCKE_OPT_EXPECT => settings.manual_continue = value != 0,
            ENCKE_OPT_PIPELINE_SAFE => settings.pipeline_safe = value != 0,
            ENCKE_OPT_CONNECT => settings.connect = value != 0,
            ENCKE_OPT_HANDSHAKE_TIMEOUT_MS => settings.handshake_timeout = value,
            ENCKE_OPT_WS_HEARTBEAT_MS => settings.websocket_heartbeat = value,
            _ => set_manner(&mut self.manner, option, value),
        }
        Ok(())
    }

    /// What two options say together.
    pub(super) fn whole(&self) -> Result<(), Error> {
        let (low, high) = (self.settings.low_water, self.settings.high_water);
        if low > high {
            return Err(Error::invalid(format!("ENCKE_OPT_LOW_WATER ({low}) is above ENCKE_OPT_HIGH_WATER ({high})")));
        }
        Ok(())
    }
}

fn set_manner(manner: &mut Manner, option: c_int, value: u64) {
    match option {
        ENCKE_OPT_REUSE_PORT => manner.reuse_port = value != 0,
        ENCKE_OPT_BACKLOG => manner.backlog = value as u32,
        ENCKE_OPT_UNIX_MODE => manner.unix_mode = value as u32,
        _ => {}
    }
}

/// A list of origins, in lower case: what could never fit is a mistake.
fn origins(value: &[u8]) -> Result<Box<str>, Error> {
    let list = std::str::from_utf8(value).map_err(|_| Error::invalid("ENCKE_OPT_ORIGINS: not UTF-8"))?;
    if list.len() > MAX_LIST {
        return Err(Error::invalid(format!("ENCKE_OPT_ORIGINS: longer than {MAX_LIST} bytes")));
    }
    for pattern in list.split(',').filter(|_| !list.is_empty()) {
        let name = pattern.strip_prefix('!').unwrap_or(pattern);
        let may_fit = name.contains(['*', '?']) || name == "null" || name.contains("://") && !name.ends_with('/');
        if !may_fit || name.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(Error::invalid(format!(
                "ENCKE_OPT_ORIGINS: \"{pattern}\" fits no origin, such as http://example.org"
            )));
        }
    }
    Ok(list.to_ascii_lowercase().into())
}

/// The live options, for encke_set.
pub(super) fn set_live(inner: &mut super::server::Inner, option: c_int, value: u64) -> Result<(), Error> {
    check(option, value)?;
    let engine = &mut inner.driver.engine;
    match option {
        ENCKE_OPT_EVENTS => engine.settings.events = value,
        ENCKE_OPT_MAX_CONNECTIONS => {
            engine.settings.max_connections = value;
            inner.driver.limits_changed();
        }
        ENCKE_OPT_MAX_HELD => {
            engine.set_max_held(value);
            inner.driver.limits_changed();
        }
        ENCKE_OPT_REUSE_PORT | ENCKE_OPT_BACKLOG | ENCKE_OPT_UNIX_MODE => set_manner(&mut inner.manner, option, value),
        _ => return Err(Error::State),
    }
    Ok(())
}

/// New settings, each at its default. NULL only for want of memory. Free it with encke_config_free. Any thread. Since 0.1.
#[no_mangle]
pub extern "C" fn encke_config_new() -> *mut encke_config {
    guard_value(std::ptr::null_mut(), || Box::into_raw(Box::default()))
}

/// Sets an option that takes a number. Times are milliseconds, sizes are bytes. One thread at a time.
/// ENCKE_E_INVAL: config is NULL, or the value is out of range, with the range in encke_last_error(); ENCKE_E_NOTSUP: an
/// option that this library does not know. On a failure nothing changes. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_config_set(config: *mut encke_config, option: c_int, value: u64) -> c_int {
    guard(|| {
        // SAFETY: the host gives NULL or a config that no other thread uses now.
        let Some(config) = (unsafe { config.as_mut() }) else {
            return Err(Error::invalid("the config is NULL"));
        };
        config.set(option, value).map(|()| 0)
    })
}

/// Sets an option that takes text; it is copied. One thread at a time.
/// ENCKE_E_INVAL: config or value is NULL, or the text is no field value; ENCKE_E_NOTSUP: an option that this library does
/// not know. On a failure nothing changes. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_config_set_str(config: *mut encke_config, option: c_int, value: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: as in encke_config_set, and the text is NUL-terminated.
        let (config, value) = unsafe { (config.as_mut(), input::c_text(value, "value")?) };
        let Some(config) = config else { return Err(Error::invalid("the config is NULL")) };
        match option {
            ENCKE_OPT_SERVER_NAME => {
                append_field(&mut Vec::new(), b"server", value, Place::Answer, &mut Seen::default())
                    .map_err(|fault| Error::invalid(format!("ENCKE_OPT_SERVER_NAME: {fault}")))?;
                config.settings.server = value.to_vec();
            }
            ENCKE_OPT_ORIGINS => config.settings.origins = origins(value)?,
            _ => {
                return Err(match range(option) {
                    Some((name, ..)) => Error::invalid(format!("{name} takes a number: encke_config_set")),
                    None => Error::NotSupported(format!("option {option} is not known to this library").into()),
                })
            }
        }
        Ok(0)
    })
}

/// Frees settings; enckes made with them keep their copies. NULL is fine. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_config_free(config: *mut encke_config) {
    guard_value((), || {
        if !config.is_null() {
            // SAFETY: it came from encke_config_new and is not used any more.
            drop(unsafe { Box::from_raw(config) });
        }
    })
}
