//! Owns whose turn it is and how much may wait for the host at a time. Rules: connections that hold nothing and those that
//! do have every second turn each, so that whoever keeps the server busy does not make the others wait; nobody hands over
//! more than some requests in a turn while others wait for theirs; no more events wait for the host than it gets through in
//! some milliseconds, for what comes meanwhile waits behind them.

use std::collections::VecDeque;

/// How long a host may take over what waits for it, in microseconds.
const DRAIN: u64 = 4_000;
/// So few events are never too many, and a host that is fast gets so many more each time.
pub const FEW: usize = 16;

/// Connections that may go on.
#[derive(Debug, Default)]
pub struct Turns {
    /// Those that held nothing when it became so: what they say is likely a request, and the only one.
    idle: VecDeque<u32>,
    busy: VecDeque<u32>,
    /// The next turn is a busy one's.
    alternate: bool,
}

impl Turns {
    #[inline]
    pub fn push(&mut self, connection: u32, idle: bool) {
        if idle {
            self.idle.push_back(connection);
        } else {
            self.busy.push_back(connection);
        }
    }

    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        self.alternate = !self.alternate;
        if self.alternate {
            self.idle.pop_front().or_else(|| self.busy.pop_front())
        } else {
            self.busy.pop_front().or_else(|| self.idle.pop_front())
        }
    }

    /// All of these are busy.
    pub fn append(&mut self, connections: &mut VecDeque<u32>) {
        self.busy.append(connections);
    }

    pub fn len(&self) -> usize {
        self.idle.len() + self.busy.len()
    }
}

/// Requests that a connection hands over in one turn while others wait for theirs, where so many events may wait.
pub fn share(may_wait: usize) -> u32 {
    (may_wait / 8) as u32
}

/// How many events may wait, now that the host took so many microseconds over so many.
pub fn paced(may_wait: usize, events: usize, taken: u64, most: usize) -> usize {
    if taken > DRAIN {
        (events as u64 * DRAIN / taken).clamp(FEW as u64, may_wait as u64) as usize
    } else if taken <= DRAIN / 4 {
        (may_wait + FEW).min(most)
    } else {
        may_wait
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::What;
    use super::super::id::{Id, Tag};
    use super::super::peer::Peer;
    use super::super::settings::Settings;
    use super::super::Engine;
    use super::*;

    fn engine(connections: u32) -> Engine {
        let mut engine = Engine::new(Settings::default(), Tag { number: 1, used: 0 }, 0, 1_000_000_000);
        for _ in 0..connections {
            engine.accept(Id::NONE, Peer::unknown(), false).expect("there is room");
        }
        engine.pace(16, 0);
        engine.pace(16, 0); // more than one turn's requests may wait
        engine
    }

    fn requests(engine: &mut Engine) -> usize {
        std::iter::from_fn(|| engine.next_event()).filter(|event| matches!(event.what, What::Request(_))).count()
    }

    #[test]
    fn a_long_pipeline_leaves_others_their_turn() {
        let mut engine = engine(2);
        let share = share(engine.enough_events()) as usize;
        let pipeline = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(share + 5);
        engine.make_ready(1);
        engine.receive(0, &pipeline);
        assert_eq!(requests(&mut engine), share);
        assert!(!engine.wants_input(0), "what came is not dealt with yet");
        assert_eq!((engine.next_ready(), engine.next_ready(), engine.next_ready()), (Some(1), Some(0), None));
        engine.resume(0);
        assert_eq!(requests(&mut engine), 5);
        assert!(engine.wants_input(0));
    }

    #[test]
    fn a_long_pipeline_goes_on_where_nobody_waits() {
        let mut engine = engine(1);
        engine.receive(0, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40));
        assert_eq!(requests(&mut engine), 40);
    }

    fn all(turns: &mut Turns) -> Vec<u32> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn whoever_holds_nothing_waits_for_one_that_does_at_most() {
        let mut turns = Turns::default();
        (0..100).for_each(|connection| turns.push(connection, false));
        assert_eq!((0..10).filter_map(|_| turns.pop()).count(), 10);
        turns.push(1000, true);
        assert!([turns.pop(), turns.pop()].contains(&Some(1000)));
        assert_eq!(turns.len(), 89);
        assert_eq!(all(&mut turns), (11..100).collect::<Vec<_>>());
    }

    #[test]
    fn many_that_hold_nothing_leave_every_second_turn() {
        let mut turns = Turns::default();
        (0..100).for_each(|connection| turns.push(connection, true));
        (100..110).for_each(|connection| turns.push(connection, false));
        let order = all(&mut turns);
        assert!(order[..20].iter().filter(|connection| **connection >= 100).count() == 10, "{order:?}");
        assert_eq!(order.len(), 110);
    }

    #[test]
    fn as_much_waits_as_the_host_gets_through() {
        const MOST: usize = 256;
        assert_eq!(paced(MOST, 256, 0, MOST), MOST);
        // 256 events in 32 ms: 32 in 4.
        assert_eq!(paced(MOST, 256, 32_000, MOST), 32);
        assert_eq!(paced(32, 32, 4_000, MOST), 32);
        assert_eq!(paced(32, 32, 1_000, MOST), 48);
        assert_eq!(paced(250, 250, 100, MOST), MOST);
        // Whatever it takes, some may wait; and who is slow gets no more.
        assert_eq!(paced(MOST, 17, 100_000_000, MOST), FEW);
        assert_eq!(paced(MOST, 0, u64::MAX, MOST), FEW);
        assert_eq!(paced(FEW, 250, 4_001, MOST), FEW);
        assert_eq!(paced(FEW, FEW, 900, MOST), 2 * FEW);
    }
}
