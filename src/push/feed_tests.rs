//! Walks: everybody gets everything that it wants, once and in order, whoever comes and goes meanwhile.

use super::*;
use crate::every;
use crate::push::message::{Account, Parts};
use crate::push::policy::Policies;
use crate::push::position::Position;

fn message(channel: &str, n: u64) -> Arc<Message> {
    let parts = Parts { data: vec![b'x'; 10], ..Parts::default() };
    Arc::new(Message::new(channel.into(), Position { epoch: 1, n }, 0, parts, Account::default()))
}

struct Room {
    feeds: Feeds,
    policies: Policies,
    n: u64,
    /// What each has got.
    got: HashMap<u32, Vec<u64>>,
    heard: Vec<(String, u64)>,
    /// What was pending under a name.
    named: Vec<(Pending, Vec<u64>)>,
}

impl Room {
    fn new() -> Room {
        let (policies, got) = (Policies::default(), HashMap::new());
        Room { feeds: Feeds::new(), policies, n: 0, got, heard: Vec::new(), named: Vec::new() }
    }

    fn come(&mut self, slot: u32, patterns: &[&str]) {
        let mut subscriber = Subscriber::new(Transport::Sse, Form::Sse, None);
        subscriber.position = self.n;
        self.feeds.add(slot, subscriber);
        for pattern in patterns {
            assert!(self.feeds.join(slot, pattern, &self.policies.policy(pattern), self.n, 0));
        }
        self.got.insert(slot, Vec::new());
    }

    fn say(&mut self, channel: &str) {
        self.n += 1;
        self.heard.push((channel.to_owned(), self.n));
        self.feeds.hear(&message(channel, self.n));
    }

    /// One turn; false: none was due.
    fn turn(&mut self) -> bool {
        let mut looks = u32::MAX;
        let Some(turn) = self.feeds.next(&mut looks) else { return false };
        let (mut taken, mut named) = (Vec::new(), Vec::new());
        let pending = self.feeds.pending(turn.slot);
        assert!(pending.is_none_or(|pending| self.feeds.look_up(pending, &mut named)));
        assert!(!self.feeds.take(turn.slot, &mut taken));
        if let Some(pending) = pending {
            let numbers: Vec<u64> = named.iter().map(|message| message.position.n).collect();
            assert!(numbers.iter().copied().eq(taken.iter().map(|message| message.position.n)));
            // Another with the same name has the same pending.
            assert!(self.named.iter().all(|(other, had)| *other != pending || *had == numbers));
            self.named.push((pending, numbers));
            let from = self.named.len().saturating_sub(50);
            self.named.drain(..from);
        }
        self.got.get_mut(&turn.slot).unwrap().extend(taken.iter().map(|message| message.position.n));
        true
    }

    fn all_turns(&mut self) {
        while self.turn() {}
        assert!(!self.feeds.is_active());
        assert!(self.feeds.feeds.iter().flatten().all(|feed| feed.log.is_empty()), "what was offered is forgotten");
    }
}

#[test]
fn a_message_during_a_walk_extends_it() {
    let mut room = Room::new();
    for slot in 0..10 {
        room.come(slot, &["a"]);
    }
    room.say("a");
    for _ in 0..4 {
        assert!(room.turn());
    }
    room.say("a");
    let mut turns = 4;
    while room.turn() {
        turns += 1;
    }
    assert_eq!(turns, 14, "six got both at once");
    assert!(room.got.values().all(|got| *got == [1, 2]));
    room.all_turns();
}

#[test]
fn looks_are_bounded_and_the_walk_goes_on_where_it_stopped() {
    let mut room = Room::new();
    for slot in 0..10 {
        room.come(slot, &["a"]);
    }
    room.say("a");
    let mut looks = 3;
    let mut slots = Vec::new();
    while let Some(turn) = room.feeds.next(&mut looks) {
        room.feeds.take(turn.slot, &mut Vec::new());
        slots.push(turn.slot);
    }
    assert_eq!(slots, [0, 1, 2]);
    assert!(room.feeds.is_active());
    let mut looks = 100;
    assert_eq!(room.feeds.next(&mut looks), Some(Turn { slot: 3, beat: false }));
}

#[test]
fn who_is_too_far_behind_is_told() {
    let mut room = Room::new();
    room.policies.set("a", Choice::Backlog, 25);
    room.come(1, &["a"]);
    for _ in 0..43 {
        room.say("a"); // of ten bytes, where 25 * 16 may wait
    }
    let mut taken = Vec::new();
    assert!(room.feeds.take(1, &mut taken));
    assert_eq!(taken.iter().map(|message| message.position.n).collect::<Vec<_>>(), (4..=43).collect::<Vec<_>>());
    room.say("a");
    taken.clear();
    assert!(!room.feeds.take(1, &mut taken));
}

#[test]
fn signs_of_life_come_round() {
    let mut room = Room::new();
    for slot in 0..3 {
        room.come(slot, &["a"]);
    }
    let due = room.feeds.next_beat().unwrap();
    assert!((30_000..31_100).contains(&due));
    room.feeds.beat(due - 1);
    assert!(!room.feeds.is_active());
    room.feeds.beat(due);
    let mut looks = 100;
    let turns: Vec<_> = std::iter::from_fn(|| room.feeds.next(&mut looks)).collect();
    assert_eq!(turns.len(), 3);
    assert!(turns.iter().all(|turn| turn.beat));
    assert!(room.feeds.next_beat().unwrap() > due);
}

/// Against a plain account of who is to get what.
#[test]
fn anything_in_any_order() {
    for seed in 1..=199 / every(199) as u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let names = ["a", "b/1", "b/2", "c"];
        let wishes: [&[&str]; 6] = [&["a"], &["b/*"], &["a", "c"], &["b/1", "b/*"], &["*"], &["c"]];
        let mut room = Room::new();
        // Who is there: what it wants and since when.
        let mut there: HashMap<u32, (usize, u64)> = HashMap::new();
        for step in 0..400 {
            match below(10) {
                0..=2 => {
                    let slot = below(150) as u32;
                    if there.remove(&slot).is_some() {
                        room.feeds.remove(slot);
                    }
                    let wish = below(wishes.len() as u64) as usize;
                    there.insert(slot, (wish, room.n));
                    room.come(slot, wishes[wish]);
                }
                3 => {
                    let slot = below(150) as u32;
                    if there.remove(&slot).is_some() {
                        room.feeds.remove(slot);
                    }
                }
                4..=5 => room.say(names[below(4) as usize]),
                _ => {
                    for _ in 0..below(60) {
                        room.turn();
                    }
                }
            }
            if step % 100 == 99 {
                room.all_turns();
            }
        }
        room.all_turns();
        for (slot, (wish, since)) in &there {
            let wants = |channel: &str| {
                wishes[*wish].iter().any(|pattern| match prefix_of(pattern) {
                    Some(prefix) => channel.starts_with(prefix),
                    None => channel == *pattern,
                })
            };
            let expected: Vec<u64> =
                room.heard.iter().filter(|(channel, n)| n > since && wants(channel)).map(|(_, n)| *n).collect();
            assert_eq!(room.got[slot], expected, "seed {seed}, slot {slot}, {:?}", wishes[*wish]);
        }
        assert_eq!(room.feeds.len(), there.len() as u64);
    }
}

#[test]
fn a_heartbeat_that_is_set_holds_at_once() {
    let mut room = Room::new();
    room.policies.set("a", Choice::Heartbeat, 0);
    let policy = room.policies.policy("a");
    room.feeds.add(1, Subscriber::new(Transport::Sse, Form::Sse, None));
    assert!(room.feeds.join(1, "a", &policy, 0, 0));
    assert_eq!(room.feeds.next_beat(), None);
    for (every, expected) in
        [(5_000, Some(beat_after(7_000, 5_000))), (1_000, Some(beat_after(7_000, 1_000))), (0, None)]
    {
        room.policies.set("a", Choice::Heartbeat, every);
        room.policies.update("a", &policy);
        room.feeds.plan_beats(7_000);
        assert_eq!(room.feeds.next_beat(), expected);
    }
}

#[test]
fn who_may_have_missed_something_is_told() {
    let mut room = Room::new();
    room.come(1, &["a"]);
    room.come(2, &["x/*", "a"]);
    room.say("a");
    room.n = 9;
    room.feeds.lose(9);
    let mut taken = Vec::new();
    for slot in [1, 2] {
        let turn = room.feeds.next(&mut 100).unwrap();
        assert_eq!(turn.slot, slot);
        assert!(room.feeds.take(slot, &mut taken), "{slot} has lost something");
        assert!(!room.feeds.take(slot, &mut taken), "once");
    }
    room.feeds.hear(&message("a", 8));
    room.all_turns();
    room.come(3, &["a"]);
    room.say("a");
    room.all_turns();
    assert_eq!(room.got[&3], [10]);
}

#[test]
fn many_prefixes_are_found_by_their_length() {
    let mut room = Room::new();
    let patterns: Vec<String> = (0..1000).map(|n| format!("{n:03}/*")).collect();
    for (slot, pattern) in patterns.iter().enumerate() {
        room.come(slot as u32, &[pattern]);
    }
    room.come(1000, &["*", "00*", "007/a"]);
    room.say("007/a");
    room.all_turns();
    assert_eq!((room.got[&7].len(), room.got[&8].len(), room.got[&1000].len()), (1, 0, 1));
    assert!(room.feeds.leave(1000, "00*") && !room.feeds.leave(1000, "00*"));
    room.feeds.remove(7);
    room.say("007/b");
    room.all_turns();
    assert_eq!((room.got[&7].len(), room.got[&1000].len()), (1, 2));
}

#[test]
fn who_joins_more_channels_still_gets_what_it_has_not_heard_of() {
    let mut room = Room::new();
    room.come(1, &["a"]);
    // Two messages have their numbers, and are on their way here when it joins another channel.
    assert!(room.feeds.join(1, "b", &room.policies.policy("b"), 2, 0));
    for channel in ["a", "b", "b"] {
        room.say(channel);
    }
    room.all_turns();
    assert_eq!(room.got[&1], [1, 3]);
}
