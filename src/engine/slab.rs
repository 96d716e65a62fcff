//! Owns values under (slot, generation). Rule: a slot that is used again has a higher generation, and one whose
//! generations are used up is never used again.

use super::id::{MAX_GENERATION, MAX_SLOTS};

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: u32,
    first_generation: u32,
    last_generation: u32,
}

impl<T> Slab<T> {
    /// An empty slab whose generations begin after `used`.
    pub fn new(used: u32) -> Slab<T> {
        Slab { entries: Vec::new(), free: NONE, len: 0, first_generation: used + 1, last_generation: used }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest generation given out so far.
    pub fn last_generation(&self) -> u32 {
        self.last_generation
    }

    /// Slots ever used; every slot below is valid for [`Slab::at`].
    pub fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Stores a value: its slot, or `None` when the slots are used up.
    pub fn insert(&mut self, value: T) -> Option<u32> {
        let slot = self.reserve()?;
        self.fill(slot, || value);
        Some(slot)
    }

    /// A slot for [`Slab::fill`], which must follow.
    #[inline]
    pub fn reserve(&mut self) -> Option<u32> {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.entries[slot as usize].next_free;
            return Some(slot);
        }
        let slot = self.entries.len() as u32;
        if slot >= MAX_SLOTS {
            return None;
        }
        if self.entries.len() == self.entries.capacity() {
            // By a quarter: a slab of very many is not to be half empty.
            self.entries.reserve_exact(self.entries.len() / 4 + 64);
        }
        self.entries.push(Entry { generation: self.first_generation, next_free: NONE, value: None });
        Some(slot)
    }

    /// Makes the value where it stays: it is too large to be moved for nothing.
    #[inline]
    pub fn fill(&mut self, slot: u32, make: impl FnOnce() -> T) {
        let entry = &mut self.entries[slot as usize];
        debug_assert!(entry.value.is_none());
        entry.value = Some(make());
        self.len += 1;
        self.last_generation = self.last_generation.max(entry.generation);
    }

    /// Takes the value out; the slot may be given out again at once.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.retire(slot)?;
        self.reuse(slot);
        Some(value)
    }

    /// Takes the value out and ends its generation, but keeps the slot back until [`Slab::reuse`].
    pub fn retire(&mut self, slot: u32) -> Option<T> {
        let entry = self.entries.get_mut(slot as usize)?;
        let value = entry.value.take()?;
        entry.generation += 1;
        self.len -= 1;
        Some(value)
    }

    /// [`Slab::remove`], or [`Slab::retire`] if the slot is not to be given out `again` yet, for a value that is not needed
    /// any more.
    #[inline(always)]
    pub fn clear(&mut self, slot: u32, again: bool) {
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        if entry.value.take().is_some() {
            entry.generation += 1;
            self.len -= 1;
            if again && entry.generation <= MAX_GENERATION {
                entry.next_free = self.free;
                self.free = slot;
            }
        }
    }

    /// Gives out a slot again that was kept back.
    #[inline]
    pub fn reuse(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        debug_assert!(entry.value.is_none());
        if entry.generation <= MAX_GENERATION {
            entry.next_free = self.free;
            self.free = slot;
        }
    }

    pub fn generation(&self, slot: u32) -> u32 {
        self.entries[slot as usize].generation
    }

    #[inline]
    pub fn at(&self, slot: u32) -> Option<&T> {
        self.entries.get(slot as usize)?.value.as_ref()
    }

    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.value.as_mut()
    }

    /// The value under exactly this generation.
    #[inline]
    pub fn get_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        let entry = self.entries.get_mut(slot as usize)?;
        if entry.generation == generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    #[inline]
    pub fn holds(&self, slot: u32, generation: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| entry.generation == generation && entry.value.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_has_a_new_generation() {
        let mut slab = Slab::new(7);
        let a = slab.insert('a').unwrap();
        assert_eq!(slab.generation(a), 8);
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let b = slab.insert('b').unwrap();
        assert_eq!((a, slab.generation(b), slab.last_generation()), (b, 9, 9));
        assert!(!slab.holds(b, 8) && slab.holds(b, 9));
        assert_eq!(slab.get_mut(b, 8), None);
    }

    #[test]
    fn a_slot_kept_back_waits_for_reuse() {
        let mut slab = Slab::new(0);
        let a = slab.insert(1).unwrap();
        assert_eq!(slab.retire(a), Some(1));
        let b = slab.insert(2).unwrap();
        assert_ne!(a, b);
        slab.reuse(a);
        assert_eq!(slab.insert(3), Some(a));
    }

    #[test]
    fn a_slot_without_generations_left_is_never_used_again() {
        let mut slab = Slab::new(MAX_GENERATION - 1);
        let a = slab.insert(1).unwrap();
        slab.remove(a);
        assert_ne!(slab.insert(2), Some(a));
    }
}
