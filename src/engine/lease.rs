//! Owns what any thread may know of a request: whether its id is still to be settled, and how much of its answer is
//! unsent. Rule: every question is answered by one atomic word, so exactly one of two settles wins, a late call learns
//! that it is late, and no call waits.
//!
//! The loop thread opens a lease when the request is handed to the host and closes it when the settle was carried out.
//! A thread that works on a lease pins it; a pinned slot is not opened again.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::OnceLock;

use super::id::{Id, Kind, MAX_GENERATION};
use super::Error;

const PIN: u64 = 1 << 28;
const PINS: u64 = 0xfff << 28;
const HELD: u64 = 1 << 40;
const SETTLED: u64 = 1 << 41;
const GONE: u64 = 1 << 42;
const BEGINNING: u64 = 1 << 43;
const BEGUN: u64 = 1 << 44;
const LENGTH: u64 = 1 << 45;
const UPGRADE: u64 = 1 << 47;
/// Settled, and the id lives on as a subscriber's.
const SECOND: u64 = 1 << 48;
const WEBSOCKET: u64 = 1 << 49;
/// Settled by giving it to a mount: what comes of the request is the mount's.
const PASSED: u64 = 1 << 50;
/// A piece of its body was shown to the host.
const PIECE: u64 = 1 << 51;

/// In [`Lease::queued`]: somebody was told to come again, and is promised to hear of room. It lies in one word with the
/// number it depends on, so no promise is lost, and none is kept that was not made.
const WAITING: u64 = 1 << 63;

const FIRST_CHUNK: u32 = 64;
const CHUNKS: usize = 17;

#[derive(Debug, Default)]
struct Lease {
    state: AtomicU64,
    user: AtomicU64,
    /// Bytes of body accepted from the host and not yet handed to the kernel; and [`WAITING`].
    queued: AtomicU64,
    /// Bytes still to come when the answer was begun with a length.
    left: AtomicU64,
}

/// How a settling call ended for the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The request is yours to answer with what you have.
    Answer,
    /// Settled, but the peer is gone: there is nobody to answer.
    Gone,
}

/// What a settling call does to an answer that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// A whole answer: refused once the answer was begun.
    Whole,
    /// The end of a begun answer: refused before it was begun.
    End,
    /// Legal at any moment.
    Abort,
}

/// Whether a second life is a WebSocket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    Must,
    /// Where the request is a handshake.
    May,
    Never,
}

/// The leases of one encke; grows, never shrinks, never moves.
#[derive(Debug)]
pub struct Leases {
    tag: u16,
    /// What an answer may have unsent: high water, or less while memory is scarce.
    allowed: AtomicU64,
    chunks: [OnceLock<Box<[Lease]>>; CHUNKS],
}

/// Keeps a lease's slot from being opened again while a thread works on it.
#[derive(Debug)]
pub struct Pin<'a>(&'a Lease);

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_sub(PIN, Release);
    }
}

#[inline]
fn place(slot: u32) -> (usize, usize) {
    // Chunk k holds FIRST_CHUNK << k leases.
    let n = slot / FIRST_CHUNK + 1;
    let chunk = n.ilog2();
    let first = ((1 << chunk) - 1) * FIRST_CHUNK;
    (chunk as usize, (slot - first) as usize)
}

impl Leases {
    pub fn new(tag: u16, high_water: u64) -> Leases {
        Leases { tag, allowed: AtomicU64::new(high_water), chunks: Default::default() }
    }

    #[inline]
    fn at(&self, slot: u32) -> Option<&Lease> {
        let (chunk, index) = place(slot);
        self.chunks.get(chunk)?.get()?.get(index)
    }

    fn of(&self, id: Id) -> Result<&Lease, Error> {
        if id.tag() != self.tag || id.kind() != Kind::Request {
            return Err(Error::Gone);
        }
        self.at(id.slot()).ok_or(Error::Gone)
    }

    // ---- the loop thread's side ----

    /// The request is handed to the host.
    pub(super) fn open(&self, slot: u32, generation: u32, upgrade: bool, websocket: bool) {
        let (chunk, index) = place(slot);
        let chunk = self.chunks[chunk].get_or_init(|| {
            let mut leases = Vec::new();
            leases.resize_with((FIRST_CHUNK as usize) << chunk, Lease::default);
            leases.into_boxed_slice()
        });
        let lease = &chunk[index];
        lease.user.store(0, Relaxed);
        lease.queued.store(0, Relaxed);
        lease.left.store(0, Relaxed);
        let upgrade = if upgrade { UPGRADE } else { 0 } | if websocket { WEBSOCKET } else { 0 };
        lease.state.store(HELD | upgrade | generation as u64, Release);
    }

    /// The id is over. False: a thread still works on the slot, ask [`Leases::idle`] before it is opened again.
    #[inline]
    pub(super) fn close(&self, slot: u32) -> bool {
        match self.at(slot) {
            None => true,
            // Settled leases are not pinned any more, so what is read here stays true.
            Some(lease) if lease.state.load(Acquire) & (PINS | SETTLED | SECOND) == SETTLED => {
                lease.state.store(0, Release);
                true
            }
            Some(lease) => lease.state.fetch_and(PINS, AcqRel) & PINS == 0,
        }
    }

    /// [`Leases::close`], settled or not, where this is the only thread that has the leases.
    #[inline]
    pub(super) fn close_alone(&self, slot: u32) {
        if let Some(lease) = self.at(slot) {
            debug_assert_eq!(lease.state.load(Relaxed) & PINS, 0);
            lease.state.store(0, Relaxed);
        }
    }

    /// How much an answer may have unsent from now on; never nothing.
    pub(super) fn allow(&self, bytes: u64) {
        self.allowed.store(bytes, Relaxed);
    }

    pub(super) fn idle(&self, slot: u32) -> bool {
        self.at(slot).is_none_or(|lease| lease.state.load(Acquire) & PINS == 0)
    }

    /// The peer is gone or was answered by the library: calls get GONE from now on. True: the host still owes a settle.
    pub(super) fn mark_gone(&self, slot: u32) -> bool {
        self.at(slot).is_some_and(|lease| lease.state.fetch_or(GONE, AcqRel) & SETTLED == 0)
    }

    pub(super) fn is_settled(&self, slot: u32) -> bool {
        self.at(slot).is_some_and(|lease| lease.state.load(Acquire) & SETTLED != 0)
    }

    /// Settled, and not by giving it to a mount: nobody wants to hear of the request any more.
    pub(super) fn is_over(&self, slot: u32) -> bool {
        self.at(slot).is_some_and(|lease| lease.state.load(Acquire) & (SETTLED | PASSED) == SETTLED)
    }

    /// Whether the request was given to a mount.
    pub fn is_passed(&self, slot: u32) -> bool {
        self.at(slot).is_some_and(|lease| lease.state.load(Acquire) & PASSED != 0)
    }

    /// A piece of the body is about to be shown. False: it is a mount's.
    pub fn show_piece(&self, slot: u32) -> bool {
        self.at(slot).is_none_or(|lease| lease.state.fetch_or(PIECE, AcqRel) & PASSED == 0)
    }

    pub(super) fn user(&self, slot: u32) -> u64 {
        self.at(slot).map_or(0, |lease| lease.user.load(Acquire))
    }

    /// `n` accepted bytes left for the kernel. True: the host waits for room and there is room now; asked once.
    pub(super) fn drained(&self, slot: u32, n: u64, low_water: u64) -> bool {
        let Some(lease) = self.at(slot) else { return false };
        let mut word = lease.queued.load(Acquire);
        loop {
            debug_assert!(word & !WAITING >= n);
            let now = (word & !WAITING).saturating_sub(n);
            let due = word & WAITING != 0 && (now == 0 || now < low_water);
            let next = if due { now } else { now | word & WAITING };
            match lease.queued.compare_exchange_weak(word, next, AcqRel, Acquire) {
                Ok(_) => return due && lease.state.load(Acquire) & (SETTLED | SECOND) != SETTLED,
                Err(other) => word = other,
            }
        }
    }

    // ---- any thread's side ----

    fn change(&self, id: Id, f: impl Fn(u64) -> Result<u64, Error>) -> Result<&Lease, Error> {
        let lease = self.of(id)?;
        let mut state = lease.state.load(Acquire);
        loop {
            if state & MAX_GENERATION as u64 != id.generation() as u64 || state & (HELD | SETTLED) != HELD {
                return Err(Error::Gone);
            }
            let next = f(state)?;
            match lease.state.compare_exchange_weak(state, next, AcqRel, Acquire) {
                Ok(_) => return Ok(lease),
                Err(now) => state = now,
            }
        }
    }

    /// Pins a lease that is still to be settled, also when its peer is gone.
    fn pin(&self, id: Id) -> Result<Pin<'_>, Error> {
        self.change(id, |state| if state & PINS == PINS { Err(Error::State) } else { Ok(state + PIN) }).map(Pin)
    }

    fn pin_present(&self, id: Id) -> Result<Pin<'_>, Error> {
        let pin = self.pin(id)?;
        if pin.0.state.load(Acquire) & GONE != 0 {
            return Err(Error::Gone);
        }
        Ok(pin)
    }

    /// Settles: of all threads and all times, once.
    pub fn settle(&self, id: Id, how: Settle) -> Result<Settled, Error> {
        let gone = std::cell::Cell::new(false);
        self.change(id, |state| {
            gone.set(state & GONE != 0);
            let begun = state & (BEGINNING | BEGUN) != 0;
            match how {
                _ if gone.get() => {}
                Settle::Whole if begun => return Err(Error::State),
                Settle::End if state & BEGUN == 0 => return Err(Error::State),
                _ => {}
            }
            Ok(state | SETTLED)
        })?;
        Ok(if gone.get() { Settled::Gone } else { Settled::Answer })
    }

    /// [`Leases::settle`] for a whole answer where this is the only thread that has the leases: without a locked operation.
    #[inline]
    pub fn settle_alone(&self, id: Id) -> Result<Settled, Error> {
        let lease = self.of(id)?;
        let state = lease.state.load(Relaxed);
        if state & MAX_GENERATION as u64 != id.generation() as u64 || state & (HELD | SETTLED) != HELD {
            return Err(Error::Gone);
        }
        let gone = state & GONE != 0;
        if !gone && state & (BEGINNING | BEGUN) != 0 {
            return Err(Error::State);
        }
        lease.state.store(state | SETTLED, Relaxed);
        Ok(if gone { Settled::Gone } else { Settled::Answer })
    }

    /// Settles, and keeps the id alive for its second life: a subscriber's.
    pub fn settle_into_second(&self, id: Id, socket: Socket) -> Result<Settled, Error> {
        let gone = std::cell::Cell::new(false);
        self.change(id, |state| {
            gone.set(state & GONE != 0);
            match state & (BEGINNING | BEGUN) {
                0 if socket == Socket::Must && state & WEBSOCKET == 0 => Err(Error::State),
                0 if gone.get() => Ok(state | SETTLED),
                0 if socket == Socket::Never => Ok((state | SETTLED | SECOND) & !WEBSOCKET),
                0 => Ok(state | SETTLED | SECOND),
                _ if gone.get() => Ok(state | SETTLED),
                _ => Err(Error::State),
            }
        })?;
        Ok(if gone.get() { Settled::Gone } else { Settled::Answer })
    }

    /// Settles by giving the request to a mount; the id lives on for what may come of it.
    pub fn settle_by_passing(&self, id: Id) -> Result<Settled, Error> {
        let gone = std::cell::Cell::new(false);
        self.change(id, |state| {
            gone.set(state & GONE != 0);
            match state & (BEGINNING | BEGUN | PIECE) {
                _ if gone.get() => Ok(state | SETTLED),
                0 => Ok(state | SETTLED | SECOND | PASSED),
                _ => Err(Error::State),
            }
        })?;
        Ok(if gone.get() { Settled::Gone } else { Settled::Answer })
    }

    /// Pins an id in its second life.
    pub fn second(&self, id: Id) -> Result<Pin<'_>, Error> {
        let lease = self.of(id)?;
        let mut state = lease.state.load(Acquire);
        loop {
            let ours = state & MAX_GENERATION as u64 == id.generation() as u64;
            if !ours || state & (HELD | SECOND) != HELD | SECOND {
                return Err(Error::Gone);
            }
            if state & PINS == PINS {
                return Err(Error::State);
            }
            match lease.state.compare_exchange_weak(state, state + PIN, AcqRel, Acquire) {
                Ok(_) => return Ok(Pin(lease)),
                Err(other) => state = other,
            }
        }
    }

    /// [`Leases::second`] of a WebSocket.
    pub fn second_of_socket(&self, id: Id) -> Result<Pin<'_>, Error> {
        let pin = self.second(id)?;
        if pin.0.state.load(Acquire) & WEBSOCKET == 0 {
            return Err(Error::Gone);
        }
        Ok(pin)
    }

    /// Room for `n` bytes of a WebSocket, as [`Leases::reserve`].
    pub fn reserve_second(&self, id: Id, n: u64) -> Result<Pin<'_>, Error> {
        let pin = self.second_of_socket(id)?;
        self.wait_for_room(pin.0)?;
        pin.0.queued.fetch_add(n, SeqCst);
        Ok(pin)
    }

    /// Bytes that the library adds to a WebSocket by itself.
    pub(super) fn charge(&self, slot: u32, n: u64) {
        if let Some(lease) = self.at(slot) {
            lease.queued.fetch_add(n, SeqCst);
        }
    }

    /// Whether the id is in its second life.
    pub fn is_second(&self, id: Id) -> bool {
        self.second(id).is_ok()
    }

    /// The second life is over.
    pub(super) fn end_second(&self, slot: u32) {
        if let Some(lease) = self.at(slot) {
            lease.state.fetch_and(!SECOND, AcqRel);
        }
    }

    /// First half of a begin: from here a second begin is refused. `first` bytes come with it.
    pub fn begin(&self, id: Id, length: Option<u64>, first: u64, switching: bool) -> Result<Pin<'_>, Error> {
        let lease = self.change(id, |state| {
            if state & GONE != 0 {
                Err(Error::Gone)
            } else if switching && state & UPGRADE == 0 {
                Err(Error::invalid("status 101 needs a request with Upgrade"))
            } else if state & (BEGINNING | BEGUN) != 0 || state & PINS == PINS {
                Err(Error::State)
            } else {
                Ok((state + PIN) | BEGINNING)
            }
        })?;
        if let Some(length) = length {
            lease.left.store(length.saturating_sub(first), Relaxed);
            lease.state.fetch_or(LENGTH, AcqRel);
        }
        lease.queued.fetch_add(first, SeqCst);
        Ok(Pin(lease))
    }

    /// Second half, after the begin was passed on: from here writes are taken.
    pub fn begun(&self, pin: &Pin<'_>) {
        pin.0.state.fetch_or(BEGUN, AcqRel);
    }

    /// `Again` at high water, with the promise that the loop will tell.
    fn wait_for_room(&self, lease: &Lease) -> Result<(), Error> {
        let mut word = lease.queued.load(Acquire);
        while word & !WAITING >= self.allowed.load(Relaxed) {
            match lease.queued.compare_exchange_weak(word, word | WAITING, AcqRel, Acquire) {
                Ok(_) => return Err(Error::Again),
                Err(other) => word = other,
            }
        }
        Ok(())
    }

    /// Room for `n` bytes of body: `Again` at high water, with the promise that the loop will tell.
    pub fn reserve(&self, id: Id, n: u64) -> Result<Pin<'_>, Error> {
        let pin = self.pin_present(id)?;
        let lease = pin.0;
        let state = lease.state.load(Acquire);
        if n > 0 && state & BEGUN == 0 {
            return Err(Error::State);
        }
        self.wait_for_room(lease)?;
        if n > 0 && state & LENGTH != 0 {
            lease
                .left
                .fetch_update(AcqRel, Acquire, |left| left.checked_sub(n))
                .map_err(|left| Error::invalid(format!("{n} bytes written where {left} are left of the length")))?;
        }
        lease.queued.fetch_add(n, SeqCst);
        Ok(pin)
    }

    /// An informational answer: before begin.
    pub fn inform(&self, id: Id) -> Result<Pin<'_>, Error> {
        let pin = self.pin_present(id)?;
        if pin.0.state.load(Acquire) & (BEGINNING | BEGUN) != 0 {
            return Err(Error::State);
        }
        Ok(pin)
    }

    /// Any call that only needs the id to be alive and its peer there.
    pub fn present(&self, id: Id) -> Result<Pin<'_>, Error> {
        self.pin_present(id)
    }

    /// In either life.
    pub fn set_user(&self, id: Id, user: u64) -> Result<(), Error> {
        let pin = self.pin(id).or_else(|_| self.second(id))?;
        pin.0.user.store(user, Release);
        Ok(())
    }

    /// Whether the id is alive, i.e. still to be settled.
    pub fn alive(&self, id: Id) -> bool {
        self.pin(id).is_ok()
    }

    /// Whether the id is alive, as a request's or in its second life.
    pub fn lives(&self, id: Id) -> bool {
        self.alive(id) || self.is_second(id)
    }

    /// As a thread that is in the middle of a call, until [`Leases::let_go`].
    #[cfg(test)]
    pub(super) fn hold(&self, id: Id) -> bool {
        self.pin(id).map(std::mem::forget).is_ok()
    }

    #[cfg(test)]
    pub(super) fn let_go(&self, slot: u32) {
        drop(self.at(slot).map(Pin));
    }

    /// Bytes accepted and not yet handed to the kernel.
    #[cfg(test)]
    pub(super) fn queued(&self, slot: u32) -> u64 {
        self.at(slot).map_or(0, |lease| lease.queued.load(Acquire) & !WAITING)
    }

    /// Whether this id was settled already; for the heads that outlive their encke.
    pub fn settled(&self, id: Id) -> bool {
        !self.alive(id)
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
