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
mod tests {
    use super::*;

    fn one() -> (Leases, Id) {
        let leases = Leases::new(3, 100);
        leases.open(70, 5, false, false);
        (leases, Id::new(3, Kind::Request, 70, 5))
    }

    #[test]
    fn places_are_dense() {
        let mut last = (0, usize::MAX);
        for slot in 0..100_000 {
            let (chunk, index) = place(slot);
            if chunk == last.0 {
                assert_eq!(index, last.1.wrapping_add(1));
            } else {
                assert_eq!((chunk, index), (last.0 + 1, 0));
            }
            assert!(index < (FIRST_CHUNK as usize) << chunk);
            last = (chunk, index);
        }
        assert!(place(super::super::id::MAX_SLOTS - 1).0 < CHUNKS);
    }

    #[test]
    fn settles_once() {
        let (leases, id) = one();
        assert_eq!(leases.settle(id, Settle::End), Err(Error::State));
        assert_eq!(leases.settle(id, Settle::Whole), Ok(Settled::Answer));
        for how in [Settle::Whole, Settle::End, Settle::Abort] {
            assert_eq!(leases.settle(id, how), Err(Error::Gone));
        }
        assert!(leases.reserve(id, 0).is_err());
    }

    #[test]
    fn foreign_and_stale_ids_are_gone() {
        let (leases, id) = one();
        for other in [
            Id::NONE,
            Id(u64::MAX),
            Id::new(4, Kind::Request, 70, 5),
            Id::new(3, Kind::Connection, 70, 5),
            Id::new(3, Kind::Request, 70, 4),
            Id::new(3, Kind::Request, 71, 5),
            Id::new(3, Kind::Request, 1 << 20, 5),
        ] {
            assert_eq!(leases.settle(other, Settle::Abort), Err(Error::Gone));
        }
        assert!(leases.close(70));
        assert_eq!(leases.settle(id, Settle::Abort), Err(Error::Gone));
    }

    #[test]
    fn a_gone_peer_still_wants_a_settle() {
        let (leases, id) = one();
        assert!(leases.mark_gone(70));
        assert_eq!(leases.begin(id, None, 0, false).err(), Some(Error::Gone));
        assert_eq!(leases.reserve(id, 0).err(), Some(Error::Gone));
        assert_eq!(leases.settle(id, Settle::Whole), Ok(Settled::Gone));
        assert!(!leases.mark_gone(70));
    }

    #[test]
    fn begin_once_then_write_within_the_length() {
        let (leases, id) = one();
        assert_eq!(leases.reserve(id, 1).err(), Some(Error::State));
        {
            let pin = leases.begin(id, Some(10), 4, false).unwrap();
            assert_eq!(leases.begin(id, None, 0, false).err(), Some(Error::State));
            assert_eq!(leases.settle(id, Settle::Whole), Err(Error::State));
            assert_eq!(leases.reserve(id, 1).err(), Some(Error::State), "not passed on yet");
            leases.begun(&pin);
        }
        drop(leases.reserve(id, 6).unwrap());
        assert!(matches!(leases.reserve(id, 1), Err(Error::Invalid(_))));
        assert_eq!(leases.settle(id, Settle::End), Ok(Settled::Answer));
    }

    #[test]
    fn one_writable_after_any_number_of_agains() {
        let (leases, id) = one();
        let pin = leases.begin(id, None, 0, false).unwrap();
        leases.begun(&pin);
        drop(pin);
        drop(leases.reserve(id, 500).unwrap());
        assert_eq!(leases.reserve(id, 1).err(), Some(Error::Again));
        assert_eq!(leases.reserve(id, 0).err(), Some(Error::Again));
        assert!(!leases.drained(70, 400, 50));
        assert!(leases.drained(70, 60, 50));
        assert!(!leases.drained(70, 40, 50));
        drop(leases.reserve(id, 1).unwrap());
    }

    /// A begun answer with this much unsent; high water is 100, low water is to be 50.
    fn begun_with(n: u64) -> (Leases, Id) {
        let (leases, id) = one();
        let pin = leases.begin(id, None, 0, false).unwrap();
        leases.begun(&pin);
        drop(pin);
        drop(leases.reserve(id, n).unwrap());
        (leases, id)
    }

    #[test]
    fn a_promise_outlives_a_write_that_finds_room() {
        let (leases, id) = begun_with(150);
        assert_eq!(leases.reserve(id, 1).err(), Some(Error::Again));
        assert!(!leases.drained(70, 70, 50), "below high water, not below low water");
        drop(leases.reserve(id, 1).unwrap());
        assert!(leases.drained(70, 40, 50));
        drop(leases.reserve(id, 1).unwrap());
        assert!(!leases.drained(70, 42, 50), "kept once");
    }

    /// Two threads ask while the loop thread sends: who was told to come again hears of room, and nobody else does.
    #[test]
    fn promises_are_kept_whoever_writes_in_between() {
        use std::sync::atomic::AtomicUsize;
        const ROUNDS: usize = 5_000;
        struct Round {
            leases: Leases,
            id: Id,
            agains: AtomicUsize,
        }
        // Each step is as many arrivals as there are threads: a barrier that spins, or the threads would hardly meet.
        let arrived = AtomicUsize::new(0);
        let meet = |step: &mut usize| {
            *step += 3;
            arrived.fetch_add(1, SeqCst);
            while arrived.load(SeqCst) < *step {
                std::thread::yield_now();
            }
        };
        let rounds: Vec<Round> = (0..ROUNDS)
            .map(|_| {
                let leases = Leases::new(3, 100);
                leases.open(0, 5, false, false);
                Round { leases, id: Id::new(3, Kind::Request, 0, 5), agains: AtomicUsize::new(0) }
            })
            .collect();
        let ask = |round: &Round| {
            while round.leases.reserve(round.id, 0).is_err() {
                round.agains.fetch_add(1, SeqCst);
                std::hint::spin_loop();
            }
        };
        let mut results = Vec::new();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut step = 0;
                    for round in &rounds {
                        meet(&mut step);
                        ask(round);
                        meet(&mut step);
                    }
                });
            }
            let mut step = 0;
            for (i, round) in rounds.iter().enumerate() {
                let leases = &round.leases;
                leases.begun(&leases.begin(round.id, None, 0, false).unwrap());
                drop(leases.reserve(round.id, 150).unwrap());
                let promised = i % 2 == 0 && leases.reserve(round.id, 1).is_err();
                meet(&mut step);
                for _ in 0..i % 64 {
                    std::hint::spin_loop();
                }
                let early = leases.drained(0, 70, 50);
                meet(&mut step);
                let told = leases.drained(0, 80, 50);
                let asked = promised || round.agains.load(SeqCst) > 0;
                results.push((early, told, asked));
            }
        });
        for (i, (early, told, asked)) in results.into_iter().enumerate() {
            assert!(!early, "round {i}: below high water, not below low water");
            assert_eq!(told, asked, "round {i}");
        }
    }

    #[test]
    fn a_pinned_slot_is_not_idle() {
        let (leases, id) = one();
        let pin = leases.present(id).unwrap();
        assert!(!leases.close(70));
        assert!(!leases.idle(70));
        drop(pin);
        assert!(leases.idle(70));
    }
}
