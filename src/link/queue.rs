//! Owns what is to be published over a link: what waits, what is on its way, what may be taken. Rule: a message leaves in
//! one of two ways, acknowledged or given back; in the order in which they came, but for what is sent again.

use std::collections::VecDeque;

use crate::push::message::Parts;

/// What a message occupies beside its texts.
const OVERHEAD: u64 = 256;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: u64,
    pub messages: u64,
    /// On their way at the same time.
    pub window: usize,
    /// Nothing is sent twice.
    pub once: bool,
}

#[derive(Debug)]
pub struct Item {
    /// From 1.
    pub number: u64,
    pub channel: Box<str>,
    pub parts: Parts,
}

impl Item {
    fn cost(&self) -> u64 {
        let Parts { kind, from, event, key, data } = &self.parts;
        let texts = self.channel.len() + kind.len() + from.len() + event.len() + key.len();
        texts as u64 + data.len() as u64 + OVERHEAD
    }
}

#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    items: VecDeque<Item>,
    /// The first of them are on their way.
    sent: usize,
    bytes: u64,
    taken: u64,
    /// Somebody was turned away and is to be told when there is room.
    refused: bool,
    closed: bool,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Now,
    ForEver,
}

impl Queue {
    pub fn new(limits: Limits) -> Queue {
        Queue { limits, items: VecDeque::new(), sent: 0, bytes: 0, taken: 0, refused: false, closed: false }
    }

    fn has_room(&self) -> bool {
        self.bytes < self.limits.bytes && (self.items.len() as u64) < self.limits.messages
    }

    pub fn push(&mut self, channel: &str, make: impl FnOnce() -> Parts) -> Result<(), Full> {
        if self.closed {
            return Err(Full::ForEver);
        }
        if !self.has_room() {
            self.refused = true;
            return Err(Full::Now);
        }
        self.taken += 1;
        let item = Item { number: self.taken, channel: channel.into(), parts: make() };
        self.bytes += item.cost();
        self.items.push_back(item);
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many are on their way.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// The next one to go out; it is on its way from now on.
    pub fn send(&mut self) -> Option<&Item> {
        if self.sent >= self.limits.window {
            return None;
        }
        let item = self.items.get(self.sent)?;
        self.sent += 1;
        Some(item)
    }

    /// The oldest one on its way was answered: it leaves. `None`: none is.
    pub fn answered(&mut self) -> Option<Item> {
        if self.sent == 0 {
            return None;
        }
        self.sent -= 1;
        self.remove()
    }

    fn remove(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.cost();
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// The connection is gone: what was on its way waits again, or comes back where nothing may be sent twice.
    pub fn lost(&mut self) -> Vec<Item> {
        let sent = std::mem::take(&mut self.sent);
        if !self.limits.once {
            return Vec::new();
        }
        (0..sent).filter_map(|_| self.remove()).collect()
    }

    /// Somebody was turned away and there is room again: half of it.
    pub fn has_relief(&mut self) -> bool {
        let room = self.bytes <= self.limits.bytes / 2 && self.items.len() as u64 <= self.limits.messages / 2;
        room && !self.closed && std::mem::take(&mut self.refused)
    }

    /// Nothing more is taken; what is left comes back.
    pub fn close(&mut self) -> Vec<Item> {
        self.closed = true;
        self.sent = 0;
        std::iter::from_fn(|| self.remove()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(once: bool) -> Queue {
        Queue::new(Limits { bytes: 10_000, messages: 8, window: 3, once })
    }

    fn push(queue: &mut Queue, n: usize) -> Result<(), Full> {
        queue.push("c", || Parts { data: vec![b'x'; n], ..Parts::default() })
    }

    fn numbers(items: &[Item]) -> Vec<u64> {
        items.iter().map(|item| item.number).collect()
    }

    fn sent(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.send().map(|item| item.number)).collect()
    }

    #[test]
    fn in_order_within_the_window() {
        let mut queue = queue(false);
        for _ in 0..5 {
            push(&mut queue, 1).unwrap();
        }
        assert_eq!(sent(&mut queue), [1, 2, 3]);
        assert_eq!(queue.answered().unwrap().number, 1);
        assert_eq!(sent(&mut queue), [4]);
        assert!(queue.lost().is_empty());
        assert_eq!(sent(&mut queue), [2, 3, 4], "again, in order");
        for n in 2..=4 {
            assert_eq!(queue.answered().unwrap().number, n);
        }
        assert!(queue.answered().is_none(), "nobody asked");
        assert_eq!(sent(&mut queue), [5]);
        queue.answered();
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn nothing_is_sent_twice_where_it_must_not() {
        let mut queue = queue(true);
        for _ in 0..5 {
            push(&mut queue, 1).unwrap();
        }
        sent(&mut queue);
        queue.answered();
        assert_eq!(numbers(&queue.lost()), [2, 3]);
        assert_eq!(sent(&mut queue), [4, 5]);
    }

    #[test]
    fn full_then_relief_once() {
        let mut queue = queue(false);
        for _ in 0..8 {
            push(&mut queue, 1).unwrap();
        }
        assert!(!queue.has_relief(), "nobody was turned away");
        assert_eq!(push(&mut queue, 1), Err(Full::Now));
        assert_eq!(push(&mut queue, 1), Err(Full::Now));
        for n in 0..8 {
            sent(&mut queue);
            queue.answered();
            assert_eq!(queue.has_relief(), n == 3, "{n}");
        }
        // One message may be larger than the limit, but only behind room.
        push(&mut queue, 100_000).unwrap();
        assert_eq!(push(&mut queue, 1), Err(Full::Now));
    }

    #[test]
    fn the_end_gives_back() {
        let mut queue = queue(false);
        for _ in 0..4 {
            push(&mut queue, 1).unwrap();
        }
        sent(&mut queue);
        queue.answered();
        assert_eq!(numbers(&queue.close()), [2, 3, 4]);
        assert_eq!(push(&mut queue, 1), Err(Full::ForEver));
        assert!(!queue.has_relief());
        assert_eq!(queue.bytes(), 0);
    }
}
