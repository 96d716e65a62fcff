//! Owns what any thread may touch of links: which there are, what is to be published, and what is asked of the loop thread.
//! Rule: locks are held for moments and never while another is taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::queue::{Full, Item, Queue};
use super::Wish;
use crate::engine::id::Id;
use crate::engine::word::Owner;
use crate::engine::Error;
use crate::push::message::Parts;

/// The publishing side of one link.
#[derive(Debug)]
pub struct Door {
    pub owner: Arc<Owner>,
    /// There is nothing but something to be listened to.
    source: bool,
    queue: Mutex<Queue>,
    /// The loop thread was told and has not looked yet.
    announced: AtomicBool,
}

impl Door {
    pub fn new(owner: Arc<Owner>, queue: Queue, source: bool) -> Door {
        Door { owner, source, queue: Mutex::new(queue), announced: AtomicBool::new(false) }
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Whether this can be subscribed: what a source sends is not chosen by patterns.
    pub fn check(&self, wish: &Wish) -> Result<(), Error> {
        if self.source && !(wish.types.is_empty() && wish.from.is_empty()) {
            return Err(Error::NotSupported("the link is a source: it knows no types and from".into()));
        }
        Ok(())
    }

    /// To be called before looking at the queue, so that what comes in the meantime is announced again.
    pub fn look(&self) {
        self.announced.store(false, SeqCst);
    }
}

/// What is asked of the loop thread.
#[derive(Debug)]
pub enum Command {
    Published(Arc<Door>),
    Follow { link: Id, wish: Wish },
    Leave { link: Id, channel: Box<str> },
}

#[derive(Debug)]
enum Entry {
    Link(Arc<Door>),
    Subscription(Arc<AtomicU64>),
}

#[derive(Debug, Default)]
pub struct Doors {
    entries: Mutex<HashMap<u64, Entry>>,
    commands: Mutex<Vec<Command>>,
    any: AtomicBool,
}

impl Doors {
    pub(super) fn add(&self, door: Arc<Door>) {
        lock(&self.entries).insert(door.owner.id.0, Entry::Link(door));
    }

    pub(super) fn add_subscription(&self, owner: &Owner) {
        lock(&self.entries).insert(owner.id.0, Entry::Subscription(owner.user.clone()));
    }

    pub(super) fn remove(&self, id: Id) {
        lock(&self.entries).remove(&id.0);
    }

    fn door(&self, id: Id) -> Result<Arc<Door>, Error> {
        match lock(&self.entries).get(&id.0) {
            Some(Entry::Link(door)) => Ok(door.clone()),
            _ => Err(Error::Gone),
        }
    }

    /// Whether this is a link.
    pub fn is_link(&self, id: Id) -> bool {
        self.door(id).is_ok()
    }

    /// True: it is a link's or a subscription's.
    pub fn set_user(&self, id: Id, user: u64) -> bool {
        match lock(&self.entries).get(&id.0) {
            Some(Entry::Link(door)) => door.owner.user.store(user, Relaxed),
            Some(Entry::Subscription(cell)) => cell.store(user, Relaxed),
            None => return false,
        }
        true
    }

    /// Takes a message; true: the loop thread is to be told.
    pub fn publish(&self, id: Id, channel: &str, make: impl FnOnce() -> Parts) -> Result<bool, Error> {
        let door = self.door(id)?;
        if door.source {
            return Err(Error::NotSupported("the link is a source: nothing is published there".into()));
        }
        door.queue().push(channel, make).map_err(|full| match full {
            Full::Now => Error::Again,
            Full::ForEver => Error::Gone,
        })?;
        if door.announced.swap(true, SeqCst) {
            return Ok(false);
        }
        self.say(Command::Published(door));
        Ok(true)
    }

    pub fn follow(&self, link: Id, wish: Wish) -> Result<(), Error> {
        self.door(link)?.check(&wish)?;
        self.say(Command::Follow { link, wish });
        Ok(())
    }

    pub fn leave(&self, link: Id, channel: &str) -> Result<(), Error> {
        self.door(link)?;
        self.say(Command::Leave { link, channel: channel.into() });
        Ok(())
    }

    fn say(&self, command: Command) {
        lock(&self.commands).push(command);
        self.any.store(true, SeqCst);
    }

    pub fn has_commands(&self) -> bool {
        self.any.load(SeqCst)
    }

    pub(super) fn take_commands(&self) -> Vec<Command> {
        self.any.store(false, SeqCst);
        std::mem::take(&mut lock(&self.commands))
    }

    /// The encke is over, and all links with it.
    pub fn close(&self) {
        let entries = std::mem::take(&mut *lock(&self.entries));
        self.take_commands();
        let close = |entry| match entry {
            Entry::Link(door) => door.queue().close(),
            Entry::Subscription(_) => Vec::new(),
        };
        let _: Vec<Vec<Item>> = entries.into_values().map(close).collect();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
