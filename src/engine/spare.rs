//! Owns buffers that nobody uses now, for the next pieces. Rule: the small ones are kept in number, those that once held
//! much only up to a sum; neither for ever.

use super::unused::Unused;

#[derive(Debug, Default)]
pub struct Spare {
    small: Unused<Vec<u8>>,
    large: Unused<Vec<u8>>,
    /// The capacity of the large ones.
    bytes: usize,
}

impl Spare {
    const SMALL: usize = 4 << 10;
    const MOST_SMALL: usize = 256;
    const MOST_BYTES: usize = 512 << 10;

    /// For something that may stay small.
    #[inline]
    pub fn take(&mut self) -> Vec<u8> {
        self.small.take().unwrap_or_else(|| self.take_large())
    }

    /// For something that is likely large.
    pub fn take_large(&mut self) -> Vec<u8> {
        let buffer = self.large.take().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    #[inline]
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        match buffer.capacity() {
            0 => {}
            n if n <= Spare::SMALL && self.small.len() < Spare::MOST_SMALL => self.small.give(buffer),
            n if n > Spare::SMALL && self.bytes + n <= Spare::MOST_BYTES => {
                self.bytes += n;
                self.large.give(buffer);
            }
            _ => {}
        }
    }

    /// A period is over.
    pub fn thin(&mut self) {
        drop(self.small.thin());
        for buffer in self.large.thin() {
            self.bytes -= buffer.capacity();
        }
    }

    #[cfg(test)]
    pub fn buffers(&self) -> usize {
        self.small.len() + self.large.len()
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.small.iter().map(Vec::capacity).sum::<usize>() + self.bytes
    }
}
