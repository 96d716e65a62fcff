//! What a hub promises: one order for all, a bounded history, and no false promise to who comes back.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::Mutex;

use super::*;
use crate::every;

#[derive(Default)]
struct Inbox {
    got: Mutex<Vec<(String, u64)>>,
    woken: AtomicU64,
    nudged: AtomicU64,
}

impl Outlet for Inbox {
    fn deliver(&self, message: Arc<Message>) -> bool {
        self.got.lock().unwrap().push((message.channel.to_string(), message.position.n));
        true
    }

    fn wake(&self) {
        self.woken.fetch_add(1, SeqCst);
    }

    fn nudge(&self) {
        self.nudged.fetch_add(1, SeqCst);
    }
}

fn hub() -> (Hub, Arc<Inbox>, Member) {
    let hub = Hub::new(7);
    let inbox = Arc::new(Inbox::default());
    let member = hub.attach(inbox.clone());
    (hub, inbox, member)
}

fn say(hub: &Hub, channel: &str, text: &str, now: u64) {
    hub.publish(channel, Parts { data: text.into(), ..Parts::default() }, now, None);
}

fn patterns(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn texts(start: &Start) -> Vec<String> {
    start.missed.iter().map(|m| String::from_utf8(m.parts.data.clone()).unwrap()).collect()
}

#[test]
fn only_who_wants_it_gets_it_once() {
    let (hub, inbox, member) = hub();
    let other = Arc::new(Inbox::default());
    let second = hub.attach(other.clone());
    hub.join(member, &patterns(&["a", "b/*", "b/1"]), None, 0);
    hub.join(second, &patterns(&["*"]), None, 0);
    for channel in ["a", "b/1", "c"] {
        say(&hub, channel, "x", 0);
    }
    assert_eq!(*inbox.got.lock().unwrap(), [("a".into(), 1), ("b/1".into(), 2)]);
    assert_eq!(*other.got.lock().unwrap(), [("a".into(), 1), ("b/1".into(), 2), ("c".into(), 3)]);
    assert_eq!(other.woken.load(SeqCst), 3);
    hub.leave(second, "*");
    hub.leave(member, "b/1");
    say(&hub, "b/1", "x", 0);
    assert_eq!(inbox.got.lock().unwrap().len(), 3, "by the prefix still");
    assert_eq!(other.got.lock().unwrap().len(), 3);
    hub.detach(member);
    say(&hub, "a", "x", 0);
    assert_eq!(inbox.got.lock().unwrap().len(), 3);
}

#[test]
fn who_comes_back_gets_what_it_missed_of_all_its_channels() {
    let (hub, _, member) = hub();
    let first = hub.join(member, &patterns(&["a"]), None, 0);
    assert_eq!((first.recovered, first.missed.len()), (None, 0));
    for (channel, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("ab", "4")] {
        say(&hub, channel, text, 0);
    }
    let since = Some(Position { n: 1, ..first.position });
    assert_eq!(texts(&hub.join(member, &patterns(&["a", "b"]), since, 0)), ["2", "3"]);
    let start = hub.join(member, &patterns(&["a*", "a"]), since, 0);
    assert_eq!((texts(&start), start.recovered), (vec!["3".into(), "4".into()], Some(true)));
    assert_eq!(start.position.n, 4);
    for since in [Position { epoch: 8, n: 1 }, Position { n: 5, ..first.position }] {
        let start = hub.join(member, &patterns(&["a"]), Some(since), 0);
        assert_eq!((start.recovered, start.missed.len()), (Some(false), 0));
    }
}

#[test]
fn a_history_is_bounded_by_messages_bytes_and_age() {
    let (hub, _, member) = hub();
    let since = |n| Some(Position { epoch: 7, n });
    hub.set("a", Choice::History, 3, 0);
    hub.set("a", Choice::Ttl, 1000, 0);
    for text in ["1", "2", "3", "4", "5"] {
        say(&hub, "a", text, 10);
    }
    assert_eq!(hub.facts("a").unwrap().messages, 3);
    let start = hub.join(member, &patterns(&["a"]), since(2), 10);
    assert_eq!((texts(&start), start.recovered), (vec!["3".into(), "4".into(), "5".into()], Some(true)));
    assert_eq!(hub.join(member, &patterns(&["a"]), since(1), 10).recovered, Some(false));
    hub.set("a", Choice::Bytes, 2, 10);
    assert_eq!(hub.facts("a").unwrap().messages, 2);
    assert_eq!(hub.next_expiry(), Some(1010));
    hub.sweep(1009);
    assert_eq!(hub.facts("a").unwrap().messages, 2);
    hub.sweep(1010);
    assert_eq!(hub.facts("a").unwrap().messages, 0);
    assert_eq!(hub.next_expiry(), None);
    assert_eq!(hub.join(member, &patterns(&["a"]), since(4), 2000).recovered, Some(false));
    assert_eq!(hub.join(member, &patterns(&["a"]), since(5), 2000).recovered, Some(true));
}

#[test]
fn a_channel_goes_with_its_last_subscriber_and_its_history_and_promises_nothing_after() {
    let (hub, _, member) = hub();
    hub.set("a", Choice::History, 0, 0);
    hub.join(member, &patterns(&["a"]), None, 0);
    say(&hub, "a", "1", 0);
    say(&hub, "a", "2", 0);
    assert_eq!(hub.channels(), 1);
    hub.leave(member, "a");
    assert_eq!(hub.channels(), 0);
    assert_eq!(hub.memory(), 0);
    let since = |n| Some(Position { epoch: 7, n });
    assert_eq!(hub.join(member, &patterns(&["a"]), since(1), 0).recovered, Some(false));
    assert_eq!(hub.join(member, &patterns(&["a"]), since(2), 0).recovered, Some(true));
    assert_eq!(hub.join(member, &patterns(&["*"]), since(1), 0).recovered, Some(false));
}

#[test]
fn memory_is_bounded_whatever_is_published() {
    let (hub, _, _) = hub();
    hub.set_limit(1 << 20);
    let text = "x".repeat(10_000);
    for n in 0..2000 / every(4) as u64 {
        say(&hub, &format!("channel {}", n % 300), &text, n);
        assert!(hub.memory() < (1 << 20) + 20_000, "{}", hub.memory());
    }
    assert!(!hub.has_room(2 << 20));
    hub.sweep(1 << 40);
    assert_eq!((hub.memory(), hub.channels()), (0, 0));
}

#[test]
fn names_are_listed_in_order() {
    let (hub, _, _) = hub();
    for name in ["b", "a", "c"] {
        say(&hub, name, "x", 0);
    }
    let mut names = Vec::new();
    let mut at: Arc<str> = "".into();
    while let Some(next) = hub.next_after(&at) {
        names.push(next.to_string());
        at = next;
    }
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_time_that_nobody_waits_for_is_told() {
    let (hub, inbox, member) = hub();
    say(&hub, "a", "x", 0);
    assert_eq!(inbox.nudged.load(SeqCst), 1, "its history ends before anything else does");
    say(&hub, "a", "x", 1);
    say(&hub, "b", "x", 2);
    assert_eq!(inbox.nudged.load(SeqCst), 1, "later ones are found in time");
    hub.set("b", Choice::Ttl, 10, 3);
    assert_eq!(inbox.nudged.load(SeqCst), 2);
    hub.set("b", Choice::History, 10, 3);
    assert_eq!(inbox.nudged.load(SeqCst), 2);
    let before = hub.heartbeats();
    hub.set("c", Choice::Heartbeat, 10, 3);
    assert_eq!(inbox.nudged.load(SeqCst), 3);
    assert_ne!(hub.heartbeats(), before);
    hub.publish("d", Parts::default(), 0, Some(member));
    assert_eq!(inbox.nudged.load(SeqCst), 3, "who publishes it looks by itself");
}

/// An encke that ended without a word.
struct Over;

impl Outlet for Over {
    fn deliver(&self, _: Arc<Message>) -> bool {
        false
    }
    fn wake(&self) {}
    fn is_over(&self) -> bool {
        true
    }
}

#[test]
fn who_is_over_is_forgotten() {
    let (hub, inbox, member) = hub();
    let over = hub.attach(Arc::new(Over));
    hub.join(over, &patterns(&["a", "*"]), None, 0);
    hub.join(member, &patterns(&["a"]), None, 0);
    assert_eq!(hub.facts("a").unwrap().subscribers, 2);
    say(&hub, "a", "x", 0);
    assert_eq!(hub.facts("a").unwrap().subscribers, 1);
    let next = hub.attach(inbox);
    hub.detach(over);
    hub.join(next, &patterns(&["a"]), None, 0);
    hub.detach(over);
    assert_eq!(hub.facts("a").unwrap().subscribers, 2, "its number is nobody else's");
}

#[test]
fn a_prefix_of_many_channels_is_resumed_within_bounds() {
    let (hub, _, member) = hub();
    say(&hub, "first", "x", 0);
    let since = hub.join(member, &patterns(&["*"]), None, 0).position;
    for n in 0..AT_A_TIME * 3 + 5 {
        say(&hub, &format!("a/{n}"), "x", 0);
    }
    let start = hub.join(member, &patterns(&["a/*", "first"]), Some(since), 0);
    assert_eq!((start.missed.len(), start.recovered), (AT_A_TIME * 3 + 5, Some(true)));
    assert!(start.missed.windows(2).all(|two| two[0].position.n < two[1].position.n));
    for n in 0..MOST_LOOKED_AT {
        say(&hub, &format!("b/{n}"), "x", 0);
    }
    let start = hub.join(member, &patterns(&["b/*"]), Some(since), 0);
    assert_eq!(start.recovered, Some(false), "what was not looked at is not known");
    assert_eq!(start.missed.len(), MOST_LOOKED_AT);
    let start = hub.join(member, &patterns(&["a/*"]), Some(since), 0);
    assert_eq!((start.missed.len(), start.recovered), (AT_A_TIME * 3 + 5, Some(true)));
}

#[test]
fn options_make_it_another_than_it_was() {
    let (hub, ..) = hub();
    assert!(hub.is_fresh());
    hub.set("a/*", Choice::History, 1, 0);
    assert!(!hub.is_fresh());
}
