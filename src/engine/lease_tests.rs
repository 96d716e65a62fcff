//! Small tests of leases, two threads at a time among them.

use super::*;
use crate::every;

fn one() -> (Leases, Id) {
    let leases = Leases::new(3, 100);
    leases.open(70, 5, false, false);
    (leases, Id::new(3, Kind::Request, 70, 5))
}

#[test]
fn places_are_dense() {
    let mut last = (0, usize::MAX);
    for slot in 0..100_000 / every(20) as u32 {
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
    const ROUNDS: usize = 5_000 / every(200);
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
