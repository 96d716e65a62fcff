//! Owns things of one kind that nobody uses now, for the next who needs one. Rule: what lay here for a whole period goes,
//! but for some; so what one bad moment needed is not kept for ever.

/// So many are always kept.
const FEW: usize = 16;

#[derive(Debug)]
pub struct Unused<T> {
    /// The one that was used last is used next.
    list: Vec<T>,
    /// At the bottom: nobody needed them since the period began.
    idle: usize,
}

impl<T> Default for Unused<T> {
    fn default() -> Unused<T> {
        Unused { list: Vec::new(), idle: 0 }
    }
}

impl<T> Unused<T> {
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let taken = self.list.pop();
        self.idle = self.idle.min(self.list.len());
        taken
    }

    #[inline]
    pub fn give(&mut self, item: T) {
        self.list.push(item);
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// A period is over: those that nobody needed in it, but for some.
    pub fn thin(&mut self) -> impl Iterator<Item = T> + '_ {
        let gone = self.idle.saturating_sub(FEW);
        self.idle = self.list.len() - gone;
        self.list.drain(..gone)
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_needs_for_a_period_goes_but_for_some() {
        let mut unused = Unused::default();
        (0..100).for_each(|item| unused.give(item));
        assert_eq!(unused.thin().count(), 0, "they have just come");
        // 40 are needed at a time in the next period, again and again.
        for _ in 0..3 {
            let taken: Vec<i32> = (0..40).filter_map(|_| unused.take()).collect();
            taken.into_iter().for_each(|item| unused.give(item));
        }
        let gone: Vec<i32> = unused.thin().collect();
        assert_eq!(gone, (0..60 - FEW as i32).collect::<Vec<_>>(), "the oldest go");
        assert_eq!(unused.len(), 40 + FEW);
        // Nobody comes any more.
        assert_eq!(unused.thin().count(), 40);
        assert_eq!(unused.thin().count(), 0);
        assert_eq!(unused.len(), FEW);
    }
}
