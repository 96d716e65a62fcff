//! Owns the pauses between attempts to connect. Rule: they double up to a limit, vary by chance so that thousands of
//! clients do not come back in one moment, and begin anew after a connection that held.

/// The first pause, in milliseconds.
const FIRST: u64 = 100;
/// The longest, unless the host says otherwise.
pub const LONGEST: u64 = 30_000;

#[derive(Debug)]
pub struct Backoff {
    first: u64,
    most: u64,
    next: u64,
}

impl Backoff {
    pub fn new(most: u64) -> Backoff {
        let most = if most == 0 { LONGEST } else { most };
        let first = FIRST.min(most);
        Backoff { first, most, next: first }
    }

    /// The server wishes that its clients wait so long: as far as the host lets it.
    pub fn begin_with(&mut self, milliseconds: u64) {
        self.first = milliseconds.clamp(FIRST.min(self.most), self.most);
        self.next = self.next.max(self.first);
    }

    /// The pause before the next attempt: a half of it is certain, the other is chance.
    pub fn pause(&mut self, random: u64) -> u64 {
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(self.most);
        vary(pause, random)
    }

    /// The longest pause: the other end has said no.
    pub fn longest(&mut self, random: u64) -> u64 {
        self.next = self.most;
        vary(self.most, random)
    }

    /// A connection ended that had held for so long.
    pub fn held(&mut self, milliseconds: u64) {
        if milliseconds >= self.next {
            self.succeeded();
        }
    }

    /// It does what it is for.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

fn vary(pause: u64, random: u64) -> u64 {
    let half = pause / 2;
    pause - half + random % (half + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_begins_anew() {
        let mut backoff = Backoff::new(1_000);
        for most in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause(u64::MAX / 3);
            assert!((most / 2..=most).contains(&pause), "{pause} of {most}");
        }
        backoff.held(10);
        assert!(backoff.pause(0) >= 500, "a short life changes nothing");
        backoff.held(1_000);
        assert!(backoff.pause(0) <= 100);
        assert!(backoff.longest(0) >= 500);
        backoff.succeeded();
        assert!(backoff.pause(0) <= 100);
    }

    #[test]
    fn a_server_may_wish_for_longer_pauses() {
        let mut backoff = Backoff::new(5_000);
        backoff.begin_with(3_000);
        assert!((1_500..=3_000).contains(&backoff.pause(7)));
        assert!(backoff.pause(0) >= 2_500);
        backoff.succeeded();
        assert!(backoff.pause(0) >= 1_500);
        backoff.begin_with(u64::MAX);
        assert!(backoff.pause(u64::MAX) <= 5_000);
        backoff.begin_with(0);
        backoff.succeeded();
        assert!((50..=100).contains(&backoff.pause(1)));
    }

    #[test]
    fn any_limit() {
        for most in [1, 7, u64::MAX] {
            let mut backoff = Backoff::new(most);
            for _ in 0..100 {
                assert!(backoff.pause(u64::MAX) <= most);
            }
        }
        assert!(Backoff::new(0).longest(u64::MAX) <= LONGEST);
    }

    #[test]
    fn chance_spreads() {
        let pauses: std::collections::BTreeSet<u64> =
            (0..1_000).map(|random| Backoff::new(0).longest(random * 7919)).collect();
        assert!(pauses.len() > 900, "{}", pauses.len());
    }
}
