//! Owns one published message, shared by everything that still has to send it. Rule: it is stored once, and made ready
//! for a transport once, by whoever needs that first.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::form::{encode, Form, FORMS};
use super::position::Position;

/// Bytes of a channel's name, and of a key, at the most.
pub const MAX_NAME: usize = 255;
/// Bytes of a type, a sender or an event's name at the most.
pub const MAX_TEXT: usize = 1024;

/// What the publisher says of a message.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Content type.
    pub kind: String,
    pub from: String,
    /// Name of the event (SSE).
    pub event: String,
    /// Of several messages with one key the newest may stand for all.
    pub key: String,
    pub data: Vec<u8>,
}

impl Parts {
    /// What cannot be sent in every transport is refused: the text says what.
    pub fn check(&self) -> Result<(), &'static str> {
        let line = |text: &str| text.bytes().all(|byte| byte >= b' ' && byte != 0x7f);
        match () {
            () if self.kind.len() > MAX_TEXT => Err("type is longer than 1024 bytes"),
            () if !line(&self.kind) => Err("type contains a control character"),
            () if self.from.len() > MAX_TEXT => Err("from is longer than 1024 bytes"),
            () if !line(&self.from) => Err("from contains a control character"),
            () if self.event.len() > MAX_TEXT => Err("event is longer than 1024 bytes"),
            () if !line(&self.event) => Err("event contains a control character"),
            () if self.key.len() > MAX_NAME => Err("key is longer than 255 bytes"),
            () => Ok(()),
        }
    }
}

/// Whether a channel can have this name.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    match () {
        () if name.is_empty() => Err("the channel's name is empty"),
        () if name.len() > MAX_NAME => Err("the channel's name is longer than 255 bytes"),
        () if name.bytes().any(|byte| byte < b' ' || byte == 0x7f) => {
            Err("the channel's name contains a control character")
        }
        () => Ok(()),
    }
}

/// What all messages of a hub have in common.
#[derive(Debug, Default)]
pub struct Common {
    /// Their bytes, with all their forms.
    pub bytes: AtomicU64,
    /// The paths under which buses show their channels, by number.
    buses: Mutex<Vec<Arc<str>>>,
}

impl Common {
    /// The number of a path. There are a few; beyond 256 all others are taken for the first.
    pub fn bus(&self, path: &str) -> u8 {
        let mut buses = self.buses.lock().unwrap_or_else(PoisonError::into_inner);
        let known = buses.iter().position(|known| **known == *path);
        let number = known.unwrap_or(buses.len());
        match u8::try_from(number) {
            Ok(number) => {
                if known.is_none() {
                    buses.push(path.into());
                }
                number
            }
            Err(_) => 0,
        }
    }
}

pub type Account = Arc<Common>;

#[derive(Debug)]
pub struct Message {
    pub channel: Arc<str>,
    pub position: Position,
    /// When it was published.
    pub at: u64,
    pub parts: Parts,
    forms: [OnceLock<Box<[u8]>>; FORMS],
    /// Those of buses below other paths than the first.
    others: OnceLock<Box<Other>>,
    account: Account,
}

/// A form that few messages have, and the next one.
#[derive(Debug)]
struct Other {
    form: Form,
    bytes: OnceLock<Box<[u8]>>,
    next: OnceLock<Box<Other>>,
}

/// What a message occupies beside its texts.
const OVERHEAD: u64 = size_of::<Message>() as u64 + 16;

impl Message {
    pub fn new(channel: Arc<str>, position: Position, at: u64, parts: Parts, account: Account) -> Message {
        let message =
            Message { channel, position, at, parts, forms: Default::default(), others: OnceLock::new(), account };
        message.account.bytes.fetch_add(message.size() + OVERHEAD, Relaxed);
        message
    }

    /// The path of the bus with this number, before the channel's name.
    pub fn bus(&self, number: u8) -> Arc<str> {
        let buses = self.account.buses.lock().unwrap_or_else(PoisonError::into_inner);
        buses.get(usize::from(number)).cloned().unwrap_or_else(|| "/msgbus/".into())
    }

    /// Bytes of what was published.
    pub fn size(&self) -> u64 {
        let Parts { kind, from, event, key, data } = &self.parts;
        (kind.len() + from.len() + event.len() + key.len() + data.len()) as u64
    }

    /// As this transport has it on the wire.
    #[inline]
    pub fn form(&self, form: Form) -> &[u8] {
        let place = match form.slot() {
            Some(slot) => &self.forms[slot],
            None => self.other(form),
        };
        place.get_or_init(|| {
            let bytes = encode(self, form).into_boxed_slice();
            self.account.bytes.fetch_add(bytes.len() as u64, Relaxed);
            bytes
        })
    }

    #[cold]
    fn other(&self, form: Form) -> &OnceLock<Box<[u8]>> {
        let mut place = &self.others;
        loop {
            let other = place.get_or_init(|| Box::new(Other { form, bytes: OnceLock::new(), next: OnceLock::new() }));
            if other.form == form {
                return &other.bytes;
            }
            place = &other.next;
        }
    }

    fn forms(&self) -> impl Iterator<Item = &OnceLock<Box<[u8]>>> {
        let others = std::iter::successors(self.others.get(), |other| other.next.get());
        self.forms.iter().chain(others.map(|other| &other.bytes))
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let forms: usize = self.forms().filter_map(|form| form.get()).map(|bytes| bytes.len()).sum();
        self.account.bytes.fetch_sub(self.size() + OVERHEAD + forms as u64, Relaxed);
    }
}

/// Several messages in one form, one behind the other: what a walk found pending for one subscriber is mostly pending for
/// the next too.
#[derive(Debug)]
pub struct Bundle {
    messages: Vec<Arc<Message>>,
    form: Form,
    bytes: Box<[u8]>,
}

impl Bundle {
    /// `None`: there is no message.
    pub fn new(messages: &[Arc<Message>], form: Form) -> Option<Bundle> {
        let account = &messages.first()?.account;
        let mut bytes = Vec::with_capacity(messages.iter().map(|message| message.form(form).len()).sum());
        for message in messages {
            bytes.extend_from_slice(message.form(form));
        }
        account.bytes.fetch_add(bytes.len() as u64, Relaxed);
        Some(Bundle { messages: messages.to_vec(), form, bytes: bytes.into() })
    }

    pub fn is(&self, messages: &[Arc<Message>], form: Form) -> bool {
        self.form == form
            && self.messages.len() == messages.len()
            && self.messages.iter().zip(messages).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Some(first) = self.messages.first() {
            first.account.bytes.fetch_sub(self.bytes.len() as u64, Relaxed);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn message(n: u64, parts: Parts) -> Message {
        Message::new("news".into(), Position { epoch: 10, n }, 0, parts, Account::default())
    }

    #[test]
    fn the_account_returns_to_nothing() {
        let account = Account::default();
        let parts = Parts { kind: "text/plain".into(), data: b"hello".to_vec(), ..Parts::default() };
        let message = Message::new("news".into(), Position::default(), 0, parts, account.clone());
        assert_eq!(account.bytes.load(Relaxed), 15 + OVERHEAD);
        let n = message.form(Form::Sse).len() as u64;
        message.form(Form::Sse);
        assert_eq!(account.bytes.load(Relaxed), 15 + OVERHEAD + n);
        drop(message);
        assert_eq!(account.bytes.load(Relaxed), 0);
    }

    #[test]
    fn each_bus_names_channels_below_its_own_path() {
        let account = Account::default();
        let numbers = ["/a/", "/b/", "/c/", "/b/"].map(|path| account.bus(path));
        assert_eq!(numbers, [0, 1, 2, 1]);
        let message = Message::new("news".into(), Position::default(), 0, Parts::default(), account.clone());
        for (number, path) in [(2, "/c/"), (0, "/a/"), (1, "/b/"), (2, "/c/")] {
            let location = format!("Content-Location: {path}news\n");
            for form in [Form::BusRoot(number), Form::BusRootChunked(number)] {
                let text = String::from_utf8(message.form(form).to_vec()).unwrap();
                assert!(text.contains(&location), "{text}");
            }
        }
        drop(message);
        assert_eq!(account.bytes.load(Relaxed), 0);
        for n in 0..300 {
            account.bus(&format!("/{n}/"));
        }
        assert_eq!((account.bus("/a/"), account.bus("/252/"), account.bus("/299/")), (0, 255, 0));
    }

    #[test]
    fn what_breaks_a_line_is_refused() {
        for part in 0..3 {
            for bad in ["a\nb", "a\rb", "a\0b", "\x7f", &"x".repeat(1025)] {
                let mut parts = Parts::default();
                *[&mut parts.kind, &mut parts.from, &mut parts.event][part] = bad.to_owned();
                assert!(parts.check().is_err(), "{part} {bad:?}");
            }
        }
        let parts = Parts { kind: "text/plain; charset=utf-8".into(), from: "Zoë".into(), ..Parts::default() };
        assert_eq!(parts.check(), Ok(()));
        assert_eq!(check_name("news/Zoë"), Ok(()));
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
