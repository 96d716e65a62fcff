//! Owns the judgement of push: what each subscriber got beside what it was to get, while it goes on and when all is over.

use crate::engine::connection::NONE;
use crate::engine::exchange;
use crate::engine::Engine;
use crate::push::feed::Transport;
use crate::push::policy::Choice;

use super::super::driver::Driver;
use super::client::{Book, Client};
use super::host::Host;
use super::model::{Model, CHANNELS};
use super::plan::Kind;
use super::session::Session;
use super::wire::Got;

/// Bytes beside the messages: beginnings, signs of life.
const SLACK: u64 = 300;

/// Whether a subscriber of this session may have missed something, or be ended, because it did not keep up.
fn may_lag(session: &Session, got: &Got, host: &Host) -> bool {
    let talks = session.plan.is_socket() && (session.frames > 0 || !got.pongs.is_empty());
    session.moved_on || host.tight || talks || session.bytes + SLACK > session.backlog || session.floods()
}

/// What came so far is what had to come, in order, and nothing of it twice.
pub fn received(session: &Session, got: &Got, model: &Model, host: &Host) {
    let name = || session.name();
    let mut want = session.expected.iter();
    let (mut missing, mut before) = (Vec::new(), 0);
    for n in &got.received {
        loop {
            match want.next() {
                Some(other) if other == n => break,
                Some(other) => missing.push((*other, before)),
                None => panic!(
                    "{}: message {n} is not for it, or not now: got {:?}, expected {:?}",
                    name(),
                    got.received,
                    session.expected
                ),
            }
        }
        before += session.length(*n, model);
    }
    if missing.is_empty() {
        return;
    }
    if session.slow == 3 {
        // A newer one took its place.
        let replaced = |n: &u64| {
            let of = |n: u64| model.message(n).map(|message| (message.channel, message.key));
            of(*n).is_some_and(|of| !of.1.is_empty())
                && session.expected.iter().any(|other| other > n && of(*other) == of(*n))
        };
        missing.retain(|(n, _)| !replaced(n));
        if missing.is_empty() {
            return;
        }
    }
    let exact = session.slow == 0 && !session.moved_on || !may_lag(session, got, host);
    assert!(!exact, "{}: {missing:?} were left out of {:?}: got {:?}", name(), session.expected, got.received);
    if session.slow == 1 && !session.moved_on && !host.tight && !session.plan.is_socket() {
        // It misses the new: what was queued before it fills the backlog.
        for (n, before) in missing {
            let full = before + session.length(n, model) + SLACK > session.backlog;
            assert!(full || session.floods(), "{}: {n} was dropped with room for it", name());
        }
    }
}

/// The fd is quiet: whoever has read everything has everything.
pub fn quiet(driver: &Driver, e: usize, host: &Host, clients: &[Client], book: &Book, model: &Model) {
    let engine = &driver.engine;
    for session in host.sessions.iter().filter(|session| session.engine == e && session.live && !session.is_over()) {
        let Some(exchange) = of(engine, session) else { continue };
        if exchange.connection == NONE || !exchange.is(exchange::SUBSCRIBED | exchange::SOCKET) || exchange.closed > 0 {
            continue;
        }
        assert!(!engine.is_draining(), "{}: it outlives the drain", session.name());
        assert!(!session.kicked, "{}: it outlives the kick", session.name());
        if exchange.is(exchange::SUBSCRIBED) {
            let unheard = session.owed(model).find(|n| !host.delivered[e].contains(n));
            assert_eq!(unheard, None, "{}: its engine has not heard of it", session.name());
        }
        let (got, talk) = (&book.got[&session.key], &book.talk[&session.key]);
        if exchange.is(exchange::SUBSCRIBED) {
            if engine.settings.wants(crate::engine::event::SUBSCRIBER) {
                let mut seats: Vec<&str> = session.seats().collect();
                let mut patterns: Vec<&str> = session.patterns().collect();
                seats.sort_unstable();
                patterns.sort_unstable();
                assert_eq!(seats, patterns, "{:?}: its channels, by the events and by the calls", session.key);
            }
            if session.plan.transport == Transport::LongPoll {
                assert_eq!(session.expected, [], "{:?}: a poll waits although there is something", session.key);
                let most = if session.plan.timeout > 0 { session.plan.timeout } else { 30_000 };
                assert!(driver.now <= session.started_at + most + 128, "{:?}: a poll without end", session.key);
            }
        }
        let pipe = &driver.pipes[talk.pipe];
        let reads = clients[session.key.0].at == Some((e, talk.pipe))
            && clients[session.key.0].asked.front() == Some(&session.key.1)
            && pipe.down.is_empty();
        if !reads || !exchange.is(exchange::IN_TURN) || exchange.unsent > 0 {
            continue;
        }
        received(session, got, model, host);
        let last = (got.received.last(), session.expected.last());
        match session.slow {
            _ if session.moved_on || session.plan.transport == Transport::LongPoll => {}
            1 if may_lag(session, got, host) => {}
            2 | 3 if session.floods() => {}
            2 | 3 => assert_eq!(last.0, last.1, "{}: the newest message is missing", session.name()),
            _ => assert_eq!(got.received, session.expected, "{}: messages are missing", session.name()),
        }
        if exchange.is(exchange::SOCKET) {
            let frames: Vec<u64> = (0..session.frames).collect();
            assert_eq!(got.frames, frames, "{:?}: frames of the host", session.key);
            assert!(!session.waits_for_room() || session.unheard() > 0, "{:?}: WRITABLE is missing", session.key);
        }
        let beats = matches!(session.plan.transport, Transport::Sse | Transport::WebSocket);
        let mut every = session.patterns().map(|pattern| model.rule(pattern, Choice::Heartbeat));
        let first = every.next().unwrap_or(0);
        let every = if first > 0 { first } else { every.filter(|every| *every > 0).min().unwrap_or(0) };
        if beats && exchange.is(exchange::SUBSCRIBED) && every > 0 {
            // Who talks is not asked whether it is there.
            let spoke = if session.plan.is_socket() { talk.spoke_at } else { 0 };
            let silent = driver.now - got.heard_at.max(session.started_at).max(session.changed_at).max(spoke);
            let most = 2 * every + 2200;
            assert!(silent <= most, "{}: no sign of life for {silent} ms", session.name());
        }
    }
    for connection in 0..engine.connections.slots() {
        let Some(c) = engine.connections.at(connection) else { continue };
        let Some(Some(socket)) = driver.sockets.get(connection as usize) else { continue };
        let pipe = &driver.pipes[socket.pipe];
        assert!(c.unsent() == 0 || pipe.down.len() * 3 > pipe.room * 2, "unsent, and nobody is in the way");
    }
}

/// Whatever is due next, somebody will be there: what concerns the hub alone is one engine's matter.
pub fn timers(host: &Host, drivers: &[Driver]) {
    let all = || drivers.iter().enumerate().filter(|(e, _)| !host.freed[*e]).map(|(_, driver)| driver);
    let due = all().filter_map(|driver| driver.engine.next_deadline()).min();
    let timer = all().filter_map(|driver| driver.next_timer()).min();
    let Some(due) = due else { return };
    assert!(timer.is_some_and(|at| at <= due.max(drivers[0].now) + 64), "due at {due}, and the timer is at {timer:?}");
}

fn of<'a>(engine: &'a Engine, session: &Session) -> Option<&'a exchange::Exchange> {
    engine.exchanges.at(session.id.slot()).filter(|exchange| exchange.id == session.id)
}

/// Who is subscribed, by the hub's count.
pub fn seats(host: &Host, drivers: &[Driver], model: &mut Model, now: u64) {
    for name in CHANNELS {
        let sessions = host.sessions.iter().filter(|session| !host.freed[session.engine]);
        let count: usize = sessions.map(|session| session.seats().filter(|seat| *seat == name).count()).sum();
        let facts = host.hub.facts(name).unwrap_or_default();
        assert_eq!(facts.subscribers, count as u64, "subscribers of {name}");
        let length = model.length(name, now);
        let least = if host.tight { 0 } else { length };
        assert!(facts.messages >= least, "{name} has {} messages, {least} are to be kept", facts.messages);
        assert!(facts.messages <= model.rule(name, Choice::History), "a history beyond its length");
        assert!(facts.bytes <= model.rule(name, Choice::Bytes), "a history beyond its bytes");
    }
    for (e, driver) in drivers.iter().enumerate().filter(|(e, _)| !host.freed[*e]) {
        let engine = &driver.engine;
        let seated = (0..engine.exchanges.slots()).filter_map(|slot| engine.exchanges.at(slot));
        let seated = seated.filter(|exchange| exchange.is(exchange::SUBSCRIBED)).count() as u64;
        assert_eq!((engine.counters().subscribers, engine.push.feeds.len()), (seated, seated), "subscribers of {e}");
    }
}

/// After every step: what is unsent is within the backlog, and counted by the lease of a WebSocket.
pub fn now(driver: &Driver, e: usize, host: &Host, model: &Model) {
    let engine = &driver.engine;
    for session in host.sessions.iter().filter(|session| session.engine == e && session.live && !session.is_over()) {
        let Some(exchange) = of(engine, session) else { continue };
        if exchange.connection == NONE || exchange.closed > 0 || exchange.is(exchange::ABORTED) {
            continue;
        }
        if exchange.is(exchange::SOCKET) {
            let queued = engine.leases.queued(session.id.slot());
            let said = session.unheard();
            assert_eq!(queued, exchange.unsent + said, "{:?}: the lease counts something else", session.key);
            continue;
        }
        if !exchange.is(exchange::SUBSCRIBED) || session.moved_on || session.plan.transport == Transport::LongPoll {
            continue;
        }
        let unsent = exchange.unsent;
        if unsent <= session.backlog {
            continue;
        }
        let lengths = || session.expected.iter().map(|n| session.length(*n, model));
        let largest = lengths().max().unwrap_or(0);
        let beside = 2 * largest + 1000 + SLACK;
        let most = session.backlog + if session.slow < 2 { 400_000 } else { beside };
        assert!(unsent <= most, "{:?}: {unsent} bytes are unsent, {} are the most", session.key, session.backlog);
    }
}

/// Of two messages with one key a slow subscriber has the newer one queued.
pub fn latest(driver: &Driver, e: usize, host: &Host, model: &Model) {
    for session in host.sessions.iter().filter(|session| session.engine == e && session.live && session.slow == 3) {
        let Some(exchange) = of(&driver.engine, session).filter(|exchange| exchange.is(exchange::SUBSCRIBED)) else {
            continue;
        };
        if session.moved_on || session.plan.is_socket() || session.plan.transport == Transport::LongPoll {
            continue;
        }
        let (mut most, mut largest) = (1000 + SLACK, 0);
        let mut keys: Vec<(&str, &str, u64)> = Vec::new();
        for n in &session.expected {
            let (message, len) = (&model.messages[*n as usize - 1], session.length(*n, model));
            largest = len.max(largest);
            match keys.iter_mut().find(|key| (key.0, key.1) == (message.channel, message.key)) {
                _ if message.key.is_empty() || *n <= session.last => most += len,
                Some(key) => key.2 = key.2.max(len),
                None => keys.push((message.channel, message.key, len)),
            }
        }
        most += 2 * largest + keys.iter().map(|key| key.2).sum::<u64>();
        assert!(
            exchange.unsent <= most,
            "{:?}: {} bytes unsent, {most} with one of each key",
            session.key,
            exchange.unsent
        );
    }
}

/// When all is over.
pub fn all(host: &Host, book: &Book, model: &Model, calm: bool, clients: usize) {
    for session in host.sessions.iter().filter(|session| session.plan.kind != Kind::Plain) {
        let (got, talk) = (&book.got[&session.key], &book.talk[&session.key]);
        let name = || format!("{} {got:?}", session.name());
        received(session, got, model, host);
        if session.plan.kind == Kind::Subscribe && matches!(got.status, 101 | 200 | 204) && !session.plan.head {
            assert!(session.heard(), "{}: subscribed by nobody", name());
            let blind = session.plan.is_socket() && !session.plan.json;
            match (&session.told, got.told) {
                _ if blind || session.plan.is_socket() && got.position.is_none() => {}
                (None, None) => {}
                (Some(may), Some(told)) if may.contains(&told) => {}
                (may, told) => panic!("{}: recovered {told:?}, {may:?} is true", name()),
            }
        }
        if session.plan.is_socket() {
            assert!(got.frames.iter().copied().eq(0..got.frames.len() as u64), "{}: frames of the host", name());
            assert!(got.frames.len() as u64 <= session.frames, "{}: frames that nobody sent", name());
            assert!(talk.pings.starts_with(&got.pongs), "{}: pongs to {:?}", name(), talk.pings);
            if let (Some(said), Some(told)) = (got.close, session.closed) {
                assert!(said == told || told == 1006, "{}: closed with {said}, the host was told {told}", name());
            }
        }
        let polled = got.position.filter(|_| session.plan.transport == Transport::LongPoll && got.over);
        if let (Some(position), None) = (got.position, polled) {
            let again = got.received.iter().any(|n| *n <= position);
            assert!(!again, "{}: it begins behind what it is given", name());
        }
        if let Some(position) = polled {
            let again = got.received.iter().any(|n| *n > position);
            assert!(!again, "{}: who comes back with its position gets something twice", name());
            for n in session.expected.iter().filter(|n| **n <= position) {
                assert!(got.received.contains(n), "{}: {n} is passed over, of {:?}", name(), session.expected);
            }
            let reasons = session.ended_by_host() || talk.gone || got.drained;
            let most = if session.plan.timeout > 0 { session.plan.timeout } else { 30_000 };
            let early = got.status == 204 && got.over_at < session.started_at + most;
            assert!(
                !early || reasons || !calm || may_lag(session, got, host),
                "{}: a poll ended before its time",
                name()
            );
        }
        let streams = !matches!(session.plan.transport, Transport::LongPoll)
            && matches!(got.status, 101 | 200)
            && !session.plan.head;
        let ended = (got.over || got.lost || session.closed == Some(1006)) && streams && session.heard();
        let reason = session.ended_by_host()
            || talk.gone
            || talk.mute
            || talk.late && session.plan.is_socket()
            || talk.closes.or(talk.breaks).is_some()
            || got.drained
            || host.tight
            || (session.slow == 0 || session.moved_on) && may_lag(session, got, host);
        assert!(!ended || reason || !calm, "{}: ended for no reason", name());
    }
    // Who comes back with the position that it has last has nothing untold between.
    for client in 0..clients {
        let mut before: Option<&Session> = None;
        for n in 0.. {
            let Some(plan) = book.plans.get(&(client, n)) else { break };
            let session = host.by_key.get(&(client, n)).map(|at| &host.sessions[*at]);
            if let (Some(before), Some((epoch, since))) = (before, plan.since) {
                let got = &book.got[&before.key];
                if epoch == model.epoch && before.slow == 0 && !before.moved_on && since <= model.last() {
                    let whole = before.plan.transport != Transport::LongPoll || got.over;
                    let own = got.received.last().copied().or(got.position.filter(|_| whole));
                    for n in before.expected.iter().filter(|n| **n <= since && own == Some(since)) {
                        assert!(
                            got.received.contains(n),
                            "client {client}: {n} was never got, and {since} says that it was: {:?} {:?}",
                            before.key,
                            before.plan
                        );
                    }
                }
            }
            if plan.kind != Kind::Plain {
                before = session;
            }
        }
    }
}
