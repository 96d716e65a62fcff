//! Owns deadlines: one coarse wheel over all connections. Rule: a deadline that moves later costs nothing; the wheel
//! wakes at the old time, is told the new one and waits again. Nothing fires early, nothing later than one tick and the
//! horizon allows.

/// Milliseconds of a tick.
const TICK: u64 = 32;
const SLOTS: usize = 2048;
pub const NONE: u32 = u32::MAX;

/// Embedded in whatever has a deadline; `NONE` links outside.
#[derive(Debug, Clone, Copy)]
pub struct Links {
    next: u32,
    previous: u32,
    /// The tick it waits for; 0: not in the wheel.
    tick: u64,
}

impl Default for Links {
    fn default() -> Links {
        Links { next: NONE, previous: NONE, tick: 0 }
    }
}

/// Where the links of an item are found.
pub trait Items {
    fn links(&mut self, item: u32) -> &mut Links;
}

#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    occupied: [u64; SLOTS / 64],
    /// All ticks up to here have fired.
    done: u64,
    /// No item waits for an earlier tick; `u64::MAX`: none waits.
    earliest: u64,
}

impl Wheel {
    pub fn new(now: u64) -> Wheel {
        Wheel { heads: vec![NONE; SLOTS].into(), occupied: [0; SLOTS / 64], done: now / TICK + 1, earliest: u64::MAX }
    }

    /// Makes sure that `item` is woken at `deadline` or before.
    #[inline]
    pub fn schedule(&mut self, items: &mut impl Items, item: u32, deadline: u64) {
        // Rounded up: the tick has passed when its first millisecond after the deadline has.
        let tick = (deadline / TICK + 1).clamp(self.done + 1, self.done + SLOTS as u64 - 1);
        let links = items.links(item);
        if links.tick != 0 {
            if links.tick <= tick {
                return;
            }
            self.cancel(items, item);
        }
        let slot = tick as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[slot], item);
        *items.links(item) = Links { next: head, previous: NONE, tick };
        if head != NONE {
            items.links(head).previous = item;
        }
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.earliest = self.earliest.min(tick);
    }

    pub fn cancel(&mut self, items: &mut impl Items, item: u32) {
        let links = std::mem::take(items.links(item));
        if links.tick == 0 {
            return;
        }
        let slot = links.tick as usize % SLOTS;
        if links.previous == NONE {
            self.heads[slot] = links.next;
            if links.next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
                if links.tick == self.earliest {
                    self.earliest = self.next_tick().unwrap_or(u64::MAX);
                }
            }
        } else {
            items.links(links.previous).next = links.next;
        }
        if links.next != NONE {
            items.links(links.next).previous = links.previous;
        }
    }

    /// One item whose time has come, taken out of the wheel.
    pub fn expired(&mut self, items: &mut impl Items, now: u64) -> Option<u32> {
        let until = now / TICK;
        while self.done < until {
            let tick = self.done + 1;
            let head = self.heads[tick as usize % SLOTS];
            if head != NONE {
                self.cancel(items, head);
                return Some(head);
            }
            // Over empty slots in one step.
            self.done = match self.next_tick() {
                Some(next) => until.min(next - 1).max(tick),
                None => until,
            };
        }
        None
    }

    fn next_tick(&self) -> Option<u64> {
        let first = (self.done + 1) as usize % SLOTS;
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (first / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= !0 << (first % 64);
            } else if step == words {
                bits &= !(!0 << (first % 64));
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(self.done + 1 + ((slot + SLOTS - first) % SLOTS) as u64);
            }
        }
        None
    }

    /// When [`Wheel::expired`] will have something.
    pub fn next(&self) -> Option<u64> {
        (self.earliest != u64::MAX).then(|| self.earliest * TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deadlines(Vec<Links>);
    impl Items for Deadlines {
        fn links(&mut self, item: u32) -> &mut Links {
            &mut self.0[item as usize]
        }
    }

    #[test]
    fn fires_in_time_and_never_early() {
        let mut random = 7u64;
        let mut step = || {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            random >> 33
        };
        let start = 1_000_000;
        let mut wheel = Wheel::new(start);
        let mut items = Deadlines(vec![Links::default(); 500]);
        let mut deadlines: Vec<u64> = (0..500).map(|_| start + step() % 200_000).collect();
        for (item, deadline) in deadlines.iter().enumerate() {
            wheel.schedule(&mut items, item as u32, *deadline);
        }
        let mut fired = vec![None; 500];
        let mut left = 500;
        while left > 0 {
            let now = wheel.next().expect("some are left");
            while let Some(item) = wheel.expired(&mut items, now) {
                let item = item as usize;
                if deadlines[item] > now {
                    wheel.schedule(&mut items, item as u32, deadlines[item]); // the horizon
                } else if fired[item].is_none() && step() % 4 == 0 {
                    deadlines[item] = now + step() % 100_000; // moved later in the meantime
                    wheel.schedule(&mut items, item as u32, deadlines[item]);
                } else {
                    assert!(now <= deadlines[item] + 2 * TICK, "{} late", now - deadlines[item]);
                    fired[item] = Some(now);
                    left -= 1;
                }
            }
        }
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn earlier_wins_later_waits_cancel_forgets() {
        let mut wheel = Wheel::new(0);
        let mut items = Deadlines(vec![Links::default(); 3]);
        wheel.schedule(&mut items, 0, 5_000);
        wheel.schedule(&mut items, 0, 9_000);
        let at = wheel.next().unwrap();
        assert!((5_000..5_000 + 2 * TICK).contains(&at));
        wheel.schedule(&mut items, 0, 1_000);
        assert!(wheel.next().unwrap() < 1_000 + 2 * TICK);
        wheel.schedule(&mut items, 1, 1_000);
        wheel.schedule(&mut items, 2, 1_000);
        wheel.cancel(&mut items, 1);
        let mut fired = Vec::new();
        while let Some(item) = wheel.expired(&mut items, 2_000) {
            fired.push(item);
        }
        fired.sort();
        assert_eq!(fired, [0, 2]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_long_sleep_is_one_step() {
        let mut wheel = Wheel::new(0);
        let mut items = Deadlines(vec![Links::default(); 1]);
        assert_eq!(wheel.expired(&mut items, 1 << 50), None);
        wheel.schedule(&mut items, 0, (1 << 50) + 10);
        assert_eq!(wheel.expired(&mut items, (1 << 50) + 1), None);
        assert_eq!(wheel.expired(&mut items, (1 << 50) + 100), Some(0));
    }
}
