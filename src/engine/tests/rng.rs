//! Owns the randomness of the simulation. Rule: one seed, one run.

#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Mostly small, at times large.
    pub fn size(&mut self) -> usize {
        match self.below(20) {
            0 => 0,
            1 => self.range(10_000, 70_000) as usize,
            2..=5 => self.range(200, 4000) as usize,
            _ => self.range(1, 200) as usize,
        }
    }
}

/// `len` bytes that differ from place to place and from key to key.
pub fn pattern(key: u64, len: usize) -> Vec<u8> {
    part(key, 0, len)
}

/// `len` bytes of a pattern, from `at` on.
pub fn part(key: u64, at: usize, len: usize) -> Vec<u8> {
    let byte = |i: u64| (i.wrapping_mul(7).wrapping_add(key.wrapping_mul(31)) ^ (i >> 8)) as u8;
    (at as u64..(at + len) as u64).map(byte).collect()
}
