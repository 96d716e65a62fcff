//! Links: the client's side of a bus. Tasks over the encke's own set of sockets: one for what is published over a link, one
//! for each subscription.
//!
//! Rule: a task waits for the other end, the host never does. What happens is told as events; nothing that was acknowledged
//! is lost, and nothing that was not is lost unsaid.

mod backoff;
mod connection;
pub mod dns;
pub mod door;
pub mod event_stream;
mod names;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod options;
pub mod parts;
mod publisher;
mod queue;
pub mod reader;
pub mod response;
mod stream;
mod subscriber;
mod system_names;
pub mod url;
pub mod websocket;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;

use base64::Engine as _;

use crate::engine::id::{Id, Kind, Tag};
use crate::engine::slab::Slab;
use crate::engine::word::{Owner, Topic, Word};
use crate::engine::Error;
use crate::io::driver::Driver;
use crate::io::tasks::{Job, Reactor, Signal};

use door::{Command, Door, Doors};
use names::Names;
pub use options::{Options, Wish};
use publisher::{give_back_all, Publisher};
use queue::{Limits, Queue};
use stream::Trust;
use subscriber::Subscriber;
use url::Url;

/// Links share their kind of ids with others: theirs have the upper half of the slots.
const FIRST_SLOT: u32 = 1 << 21;

/// What is told of links, as the header numbers it.
pub mod state {
    pub const UP: i32 = 1;
    pub const DOWN: i32 = 2;
    pub const REFUSED: i32 = 3;
    pub const GAP: i32 = 4;
    pub const ACKED: i32 = 5;
    pub const RETURNED: i32 = 6;
    pub const CLOSED: i32 = 7;
}

/// What all tasks of a link share.
#[derive(Debug)]
pub struct Link {
    reactor: Rc<Reactor>,
    url: Url,
    /// The subprotocol that a WebSocket is asked for.
    protocol: Box<str>,
    names: Rc<Names>,
    trust: Option<Trust>,
    user: Box<str>,
    password: Box<str>,
    retry_max: u64,
    max_message: u64,
    reports: bool,
    once: bool,
    /// Something waits to be published.
    published: Signal,
    random: Cell<u64>,
}

impl Link {
    /// Chance, from a seed of the system's (splitmix64).
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The field by which the bus knows who it is (RFC 7617); `user`, if any, instead of the link's.
    fn authorization(&self, user: &str) -> Vec<u8> {
        let user = if user.is_empty() { &self.user } else { user };
        if user.is_empty() && self.password.is_empty() {
            return Vec::new();
        }
        let credentials = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{}", self.password));
        format!("Authorization: Basic {credentials}\r\n").into_bytes()
    }
}

/// An answer that another attempt may change.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// A link, and who follows channels under its id.
#[derive(Debug)]
struct Opened {
    link: Rc<Link>,
    door: Arc<Door>,
    publisher: Option<Job>,
    followed: Vec<Followed>,
}

#[derive(Debug)]
struct Followed {
    wish: Wish,
    owner: Arc<Owner>,
    _job: Job,
}

/// A subscription with an id of its own.
#[derive(Debug)]
struct Single {
    link: Id,
    channel: Arc<str>,
    owner: Arc<Owner>,
    _job: Job,
}

/// All links of an encke: for its loop thread.
#[derive(Debug)]
pub struct Links {
    doors: Arc<Doors>,
    tag: Tag,
    ids: Slab<()>,
    names: Rc<Names>,
    links: HashMap<u64, Opened>,
    singles: HashMap<u64, Single>,
}

impl Links {
    pub fn new(tag: Tag, doors: Arc<Doors>) -> Links {
        Links::with_names(tag, doors, Names::default())
    }

    fn with_names(tag: Tag, doors: Arc<Doors>, names: Names) -> Links {
        let names = Rc::new(names);
        Links { doors, tag, ids: Slab::new(tag.used), names, links: HashMap::new(), singles: HashMap::new() }
    }

    pub fn last_generation(&self) -> u32 {
        self.ids.last_generation()
    }

    /// Whether an id is of the kind that links have.
    pub fn may_be(id: Id) -> bool {
        id.kind() == Kind::Other && id.slot() >= FIRST_SLOT
    }

    fn make_id(&mut self) -> Result<Id, Error> {
        let slot = self.ids.insert(()).ok_or(Error::NoMemory)?;
        if slot >= FIRST_SLOT {
            self.ids.remove(slot);
            return Err(Error::NoMemory);
        }
        Ok(Id::new(self.tag.number, Kind::Other, FIRST_SLOT + slot, self.ids.generation(slot)))
    }

    fn end_id(&mut self, id: Id) {
        self.doors.remove(id);
        self.ids.remove(id.slot() - FIRST_SLOT);
    }

    pub fn open(&mut self, driver: &mut Driver, url: &str, options: Options) -> Result<Id, Error> {
        let url = url::parse(url, options.source).map_err(Error::invalid)?;
        if options.user.contains(':') {
            return Err(Error::invalid("user contains ':', which ends it"));
        }
        for (text, what) in [(&options.user, "user"), (&options.password, "password")] {
            if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
                return Err(Error::invalid(format!("{what} contains a control character")));
            }
        }
        if !options.protocol.is_empty() && !url.websocket {
            return Err(Error::invalid("protocol: the URL is no WebSocket"));
        }
        if !options.protocol.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)) {
            return Err(Error::invalid("protocol is no token"));
        }
        let trust = trust(&url, &options.ca_pem)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|error| Error::System(error.raw_os_error().unwrap_or(0), "no random numbers".into()))?;
        let or = |value: u64, usual: u64| if value == 0 { usual } else { value };
        let queue = Queue::new(Limits {
            bytes: or(options.queue_bytes, 1 << 20),
            messages: or(options.queue_messages, 10_000),
            window: or(options.window.into(), 64) as usize,
            once: options.once,
        });
        let id = self.make_id()?;
        let owner = Owner::new(id, Arc::new(AtomicU64::new(0)));
        let door = Arc::new(Door::new(owner, queue, url.target.is_some()));
        let link = Rc::new(Link {
            reactor: driver.tasks().reactor().clone(),
            url,
            protocol: options.protocol,
            names: self.names.clone(),
            trust,
            user: options.user,
            password: options.password,
            retry_max: options.retry_max,
            max_message: or(options.max_message, 16 << 20),
            reports: options.reports,
            once: options.once,
            published: Signal::default(),
            random: Cell::new(u64::from_ne_bytes(seed)),
        });
        self.doors.add(door.clone());
        self.links.insert(id.0, Opened { link, door, publisher: None, followed: Vec::new() });
        Ok(id)
    }

    /// A subscription under an id of its own.
    pub fn subscribe(&mut self, driver: &mut Driver, link: Id, wish: Wish) -> Result<Id, Error> {
        let opened = self.links.get(&link.0).ok_or(Error::Gone)?;
        opened.door.check(&wish)?;
        let shared = opened.link.clone();
        let id = self.make_id()?;
        let owner = Owner::new(id, Arc::new(AtomicU64::new(0)));
        self.doors.add_subscription(&owner);
        let channel = wish.channel.clone();
        let job = begin(driver, &shared, &owner, wish);
        self.singles.insert(id.0, Single { link, channel, owner, _job: job });
        driver.after_tasks();
        Ok(id)
    }

    #[inline]
    pub fn has_commands(&self) -> bool {
        self.doors.has_commands()
    }

    /// What was asked by others, or by this thread. True: there was something.
    pub fn hear(&mut self, driver: &mut Driver) -> bool {
        if !self.doors.has_commands() {
            return false;
        }
        for command in self.doors.take_commands() {
            match command {
                Command::Published(door) => self.published(driver, &door),
                Command::Follow { link, wish } => self.follow(driver, link, wish),
                Command::Leave { link, channel } => {
                    let Some(opened) = self.links.get_mut(&link.0) else { continue };
                    opened.followed.retain(|followed| {
                        let stays = *followed.wish.channel != *channel;
                        if !stays {
                            followed.owner.end();
                        }
                        stays
                    });
                }
            }
        }
        driver.after_tasks();
        true
    }

    fn published(&mut self, driver: &mut Driver, door: &Arc<Door>) {
        let Some(opened) = self.links.get_mut(&door.owner.id.0) else { return };
        opened.link.published.raise(&opened.link.reactor);
        if opened.publisher.is_none() {
            let publisher = Publisher { link: opened.link.clone(), door: door.clone() };
            opened.publisher = Some(driver.tasks().spawn(publisher.run()));
        }
    }

    /// A subscription whose messages come under the link's id.
    fn follow(&mut self, driver: &mut Driver, link: Id, wish: Wish) {
        let Some(opened) = self.links.get_mut(&link.0) else { return };
        if opened.followed.iter().any(|followed| followed.wish == wish) {
            return;
        }
        let owner = Owner::new(link, opened.door.owner.user.clone());
        let job = begin(driver, &opened.link, &owner, wish.clone());
        opened.followed.push(Followed { wish, owner, _job: job });
    }

    /// Ends a link with everything of it, or a subscription.
    pub fn close(&mut self, driver: &mut Driver, id: Id) -> Result<(), Error> {
        self.hear(driver);
        if let Some(single) = self.singles.remove(&id.0) {
            let reactor = driver.tasks().reactor().clone();
            self.end_single(&reactor, single);
            driver.after_tasks();
            return Ok(());
        }
        let opened = self.links.remove(&id.0).ok_or(Error::Gone)?;
        let Opened { link, door, publisher, followed } = opened;
        drop(publisher);
        for followed in followed {
            followed.owner.end();
        }
        let theirs: Vec<u64> =
            self.singles.iter().filter(|(_, single)| single.link == id).map(|(single, _)| *single).collect();
        for single in theirs.into_iter().filter_map(|single| self.singles.remove(&single)).collect::<Vec<_>>() {
            self.end_single(&link.reactor, single);
        }
        door.owner.end();
        give_back_all(&Publisher { link: link.clone(), door: door.clone() }, &mut door.queue());
        link.reactor.tell(last_word(&door.owner));
        self.end_id(id);
        driver.after_tasks();
        Ok(())
    }

    fn end_single(&mut self, reactor: &Reactor, single: Single) {
        single.owner.end();
        let mut word = last_word(&single.owner);
        word.channel = Some(single.channel.clone());
        reactor.tell(word);
        self.end_id(single.owner.id);
    }
}

fn last_word(owner: &Arc<Owner>) -> Box<Word> {
    let mut word = Word::new(owner, Topic::State(state::CLOSED));
    word.last = true;
    word
}

fn begin(driver: &mut Driver, link: &Rc<Link>, owner: &Arc<Owner>, wish: Wish) -> Job {
    let subscriber = Subscriber::new(link.clone(), owner.clone(), wish);
    driver.tasks().spawn(subscriber.run())
}

#[cfg(feature = "tls")]
fn trust(url: &Url, ca_pem: &[u8]) -> Result<Option<Trust>, Error> {
    let Some(name) = &url.tls else {
        return match ca_pem.is_empty() {
            true => Ok(None),
            false => Err(Error::invalid("ca_pem: the URL is neither https nor wss")),
        };
    };
    if !crate::tls::is_name(name) {
        return Err(Error::invalid(format!("\"{name}\" can be no name in a certificate")));
    }
    let trust = match ca_pem.is_empty() {
        false => Trust::these(ca_pem),
        true => Trust::system(
            &crate::io::roots::read()
                .ok_or_else(|| Error::Tls("the system's file of certificates was not found: pass ca_pem".into()))?,
        ),
    };
    trust.map(Some).map_err(|unusable| Error::Tls(unusable.0.into()))
}

#[cfg(not(feature = "tls"))]
fn trust(url: &Url, _: &[u8]) -> Result<Option<Trust>, Error> {
    match url.tls {
        Some(_) => Err(Error::NotSupported("https: this build has no TLS".into())),
        None => Ok(None),
    }
}
