//! Owns the way of events to the host. Rule: what the host has no room for is kept in order; a request is made when it is
//! taken, and what is taken is the host's until it is settled.

use super::connection::SECURE;
use super::event::{self, Due, Event, What};
use super::exchange;
use super::head::{self, Head};
use super::id::Id;
use super::{turns, word, Engine};

impl Engine {
    /// What is told of something that is no request.
    pub fn bring(&mut self, word: Box<word::Word>) {
        self.counters.memory += word.size();
        self.events.push(word.owner.id, What::Word(word));
    }

    /// Whether there is an event that the host may have now.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub fn events_full(&self) -> bool {
        self.events.is_full()
    }

    /// Events that wait for the host, if they are so many that its time for them matters.
    pub fn many_events(&self) -> Option<usize> {
        Some(self.events.len()).filter(|n| *n >= turns::FEW)
    }

    /// Events that wait for the host, of any kind.
    #[inline]
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// So many of those that carry what peers said may wait at present, and whether any event waits or is kept for later.
    pub fn may_wait(&self) -> (usize, bool) {
        (self.events.may_wait, !self.events.is_empty() || self.events.has_parked())
    }

    /// With so many waiting, a run has found enough for the host to do.
    pub fn enough_events(&self) -> usize {
        self.events.len() + self.events.may_wait
    }

    /// The host took so many microseconds over so many events.
    pub fn pace(&mut self, events: usize, taken: u64) {
        self.events.may_wait = turns::paced(self.events.may_wait, events, taken, event::MAX_QUEUED);
    }

    fn may_deliver(&self) -> bool {
        self.counters.held < self.settings.max_held
    }

    /// Sets events aside that the host does not want now, or brings them back.
    #[inline]
    pub(super) fn sort_events(&mut self) {
        if !self.may_deliver() {
            self.park_events();
        } else if self.events.has_parked() {
            self.events.unpark();
        }
    }

    #[cold]
    fn park_events(&mut self) {
        while let Some(due) = self.events.front() {
            let wait = match due {
                Due::Request { .. } | Due::Event(Event { what: What::Request(_), .. }) => true,
                Due::Event(Event { id, what: What::Body { .. } | What::HalfClosed, .. }) => self
                    .exchanges
                    .get_mut(id.slot(), id.generation())
                    .is_some_and(|exchange| !exchange.is(exchange::DELIVERED)),
                _ => false,
            };
            if !wait {
                break;
            }
            self.events.park_front();
        }
    }

    /// The next event for the host.
    #[inline(always)]
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            self.sort_events();
            let mut event = match self.events.pop()? {
                Due::Event(Event { id, user, what: What::Request(head) }) => {
                    if self.deliver(id).is_some() {
                        return Some(Event { id, user, what: What::Request(head) });
                    }
                    self.counters.memory -= head.bytes.len() as u64;
                    self.pool.give_head(head);
                    continue;
                }
                Due::Event(event) => event,
                Due::Request { id, pattern, size } => match self.deliver_from(id, pattern) {
                    Some(head) => return Some(Event { id, user: 0, what: What::Request(head) }),
                    None => {
                        self.counters.memory -= size as u64;
                        continue;
                    }
                },
            };
            let id = event.id;
            match &mut event.what {
                What::Body { data, .. } => {
                    self.counters.memory -= data.len() as u64;
                    if !self.shows(id) {
                        let data = std::mem::take(data);
                        self.pool.give_buffer(data);
                        continue;
                    }
                    event.user = self.leases.user(id.slot());
                }
                What::Message { data, .. } => {
                    self.counters.memory -= data.len() as u64;
                    event.user = self.leases.user(id.slot());
                }
                What::Word(word) => {
                    self.counters.memory -= word.size();
                    if !word.is_shown() {
                        continue;
                    }
                    event.user = word.owner.user.load(std::sync::atomic::Ordering::Relaxed);
                }
                What::Writable | What::HalfClosed | What::Aborted(_) => {
                    if !self.shows(id) && !self.is_socket(id) {
                        continue;
                    }
                    event.user = self.leases.user(id.slot());
                }
                _ => {}
            }
            return Some(event);
        }
    }

    /// A request that was queued is the host's now: its connection. `None`: it is over.
    #[inline]
    fn deliver(&mut self, id: Id) -> Option<u32> {
        self.undelivered -= 1;
        let (slot, generation) = (id.slot(), id.generation());
        let exchange = self.exchanges.get_mut(slot, generation).filter(|e| !e.is(exchange::HIDDEN))?;
        exchange.flags |= exchange::DELIVERED;
        exchange.received = self.now;
        let connection = exchange.connection;
        let follows = exchange.is(exchange::BODY_FOLLOWS);
        if exchange.is(exchange::EXPECT) {
            self.expecting.push(id);
        }
        self.counters.held += 1;
        self.counters.requests += 1;
        self.leases.open(
            slot,
            generation,
            exchange.is(exchange::UPGRADE) && !exchange.is(exchange::CONNECT),
            exchange.wishes.as_ref().is_some_and(|wishes| wishes.handshake.is_some()),
        );
        if self.settings.answer_timeout > 0 {
            self.schedule(connection);
        }
        if follows {
            self.wake_connection(connection); // its body may have waited with it
        }
        Some(connection)
    }

    /// [`Engine::deliver`] for a request whose head is made now. Not before: heads in the queue would fill the
    /// processor's cache, and one that comes back from the host has most of what the next one needs.
    #[inline]
    fn deliver_from(&mut self, id: Id, pattern: u32) -> Option<Box<Head>> {
        let head = self.deliver(id).and_then(|connection| self.make_head(id, connection, pattern));
        self.patterns.release(pattern);
        head
    }

    #[inline]
    pub(super) fn make_head(&mut self, id: Id, connection: u32, pattern: u32) -> Option<Box<Head>> {
        let connection_id = self.connection_id(connection);
        let c = self.connections.at(connection)?;
        let mut head = self.pool.head();
        head.repeat(self.patterns.held(pattern), connection_id, &c.peer);
        head.id = id;
        head.listener = c.listener;
        if c.is(SECURE) {
            head.flags |= head::TLS;
        }
        Some(head)
    }

    /// Whether events of this request are shown: not where its REQUEST was not, and not after its settle.
    fn shows(&mut self, id: Id) -> bool {
        let open = exchange::DELIVERED;
        let closed = exchange::SETTLED;
        let exchange = self.exchanges.get_mut(id.slot(), id.generation());
        exchange.is_some_and(|e| e.flags & (open | closed) == open) && !self.leases.is_over(id.slot())
    }

    /// A head that was handed over and is done with comes back for reuse.
    #[inline]
    pub fn recycle_head(&mut self, head: Box<Head>) {
        self.pool.give_head(head);
    }

    pub fn recycle_buffer(&mut self, buffer: Vec<u8>) {
        self.pool.give_buffer(buffer);
    }

    /// Slots of requests whose heads may be recycled.
    #[inline]
    pub fn take_retired(&mut self) -> Option<u32> {
        self.retired.pop()
    }
}
