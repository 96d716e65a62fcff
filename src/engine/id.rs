//! Owns the shape of an id. Rule: an id is never given out twice in the life of a process, not even by two enckes.
//!
//! `tag (12) | kind (2) | slot (22) | generation (28)`. The tag is the encke's; a slot whose generations are used up is
//! retired; a tag that comes back after its encke was freed continues behind the generations that were used under it.

use std::sync::Mutex;

const TAG_BITS: u32 = 12;
const KIND_BITS: u32 = 2;
const SLOT_BITS: u32 = 22;
const GENERATION_BITS: u32 = 28;
const _: () = assert!(TAG_BITS + KIND_BITS + SLOT_BITS + GENERATION_BITS == 64);

/// The most slots one kind can have at a time.
pub const MAX_SLOTS: u32 = 1 << SLOT_BITS;
/// The last generation of a slot.
pub const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
const MAX_TAGS: usize = 1 << TAG_BITS;

/// What an id names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Request,
    Connection,
    Listener,
    Other,
}

impl Kind {
    fn of(bits: u64) -> Kind {
        match bits {
            0 => Kind::Request,
            1 => Kind::Connection,
            2 => Kind::Listener,
            _ => Kind::Other,
        }
    }
}

/// A 64-bit id; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Id(pub u64);

impl Id {
    pub const NONE: Id = Id(0);

    pub fn new(tag: u16, kind: Kind, slot: u32, generation: u32) -> Id {
        debug_assert!(slot < MAX_SLOTS && generation <= MAX_GENERATION);
        Id(((tag as u64) << (64 - TAG_BITS))
            | ((kind as u64) << (SLOT_BITS + GENERATION_BITS))
            | ((slot as u64) << GENERATION_BITS)
            | generation as u64)
    }

    pub fn tag(self) -> u16 {
        (self.0 >> (64 - TAG_BITS)) as u16
    }

    pub fn kind(self) -> Kind {
        Kind::of((self.0 >> (SLOT_BITS + GENERATION_BITS)) & ((1 << KIND_BITS) - 1))
    }

    pub fn slot(self) -> u32 {
        ((self.0 >> GENERATION_BITS) as u32) & (MAX_SLOTS - 1)
    }

    pub fn generation(self) -> u32 {
        (self.0 as u32) & MAX_GENERATION
    }
}

/// One encke's part of the id space. Given back by [`Tag::release`].
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    pub number: u16,
    /// Generations up to this one were used under this tag before.
    pub used: u32,
}

struct Registry {
    next: u16,
    /// Tags of freed enckes, oldest first, with the last generation used under each.
    free: std::collections::VecDeque<Tag>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 1, free: std::collections::VecDeque::new() });

impl Tag {
    /// A tag that no living encke has; `None` when 4,095 enckes live or the id space is used up.
    pub fn take() -> Option<Tag> {
        let mut registry = REGISTRY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if (registry.next as usize) < MAX_TAGS {
            let number = registry.next;
            registry.next += 1;
            return Some(Tag { number, used: 0 });
        }
        registry.free.pop_front()
    }

    /// Gives the tag back; `used` is the last generation that an id carried under it.
    pub fn release(self, used: u32) {
        let used = used.max(self.used);
        if used < MAX_GENERATION / 2 {
            let mut registry = REGISTRY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            registry.free.push_back(Tag { number: self.number, used });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let id = Id::new(4095, Kind::Listener, MAX_SLOTS - 1, MAX_GENERATION);
        assert_eq!(
            (id.tag(), id.kind(), id.slot(), id.generation()),
            (4095, Kind::Listener, MAX_SLOTS - 1, MAX_GENERATION)
        );
        let id = Id::new(1, Kind::Request, 0, 1);
        assert_eq!((id.tag(), id.kind(), id.slot(), id.generation()), (1, Kind::Request, 0, 1));
        assert_ne!(id, Id::NONE);
    }

    #[test]
    fn a_tag_continues_behind_its_generations() {
        let mut seen = vec![None; MAX_TAGS];
        for round in 0..MAX_TAGS + 2 * MAX_TAGS / crate::every(40) {
            let tag = Tag::take().expect("tags come back");
            if let Some(used) = seen[tag.number as usize].replace(tag.used + 10) {
                assert!(tag.used >= used, "round {round}");
            }
            tag.release(tag.used + 10);
        }
    }
}
