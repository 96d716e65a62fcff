//! Owns the mounts of one encke and carries out what they make of requests. Rule: a request that is a mount's never
//! becomes an event of the host, unless the host has passed it on; then the host hears its end and nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::Errno;

use super::clock;
use super::driver::Driver;
use super::files::{Found, Root};
use crate::engine::answer::{Answer, Body, Part};
use crate::engine::event::{self, Event, What};
use crate::engine::head::{self, Head};
use crate::engine::id::{Id, Tag};
use crate::engine::wishes::Wishes;
use crate::engine::Error;
use crate::mounts::bus::{Action, Bus, Page, Publication, Subscribed};
use crate::mounts::files::{self, Content, Facts, Files, Reply, Step};
use crate::mounts::ranges::Range;
use crate::mounts::{Mount, Options, Service, Table};
use crate::push::message::Parts;
use crate::MOUNTS;

/// What a driver keeps beside a mount: of files, how they are served, and where they are.
pub type Beside = Option<(Files, Root)>;

#[derive(Debug)]
pub struct Serving {
    pub(super) mounts: Table<Beside>,
    /// There was a mount once.
    used: bool,
    /// Messages whose data is still coming.
    gathering: HashMap<u64, Gathering>,
    sockets: HashMap<u64, Socket>,
    /// Something was published and is to be heard.
    published: bool,
}

/// The body of a request so far.
#[derive(Debug, Default)]
struct Gathering {
    data: Vec<u8>,
    whole: bool,
    /// What is to become of it; not known while the word of who passed the request on is under way.
    publication: Option<(Arc<Mount>, u32, Publication)>,
}

/// A WebSocket whose messages are published.
#[derive(Debug)]
struct Socket {
    publication: Publication,
    json: bool,
    /// The host knows its id.
    shown: bool,
}

impl Serving {
    pub fn new(tag: Tag) -> Serving {
        Serving {
            mounts: Table::new(tag),
            used: false,
            gathering: HashMap::new(),
            sockets: HashMap::new(),
            published: false,
        }
    }
}

impl Driver {
    pub fn mount(&mut self, options: Options, files: Beside) -> Result<Id, Error> {
        let id = self.serving.mounts.add(options, files)?;
        self.serving.used = true;
        Ok(id)
    }

    /// What it is at goes on. False: there is none.
    pub fn unmount(&mut self, id: Id) -> bool {
        self.serving.mounts.remove(id)
    }

    /// Whether an event may be a mount's. A piece of a body is looked at in any case: that it was shown is remembered for
    /// mounts to come.
    #[inline]
    pub(super) fn concerns_mounts(&self, what: &What) -> bool {
        MOUNTS
            && match what {
                What::Request(_) => !self.serving.mounts.is_empty(),
                What::Body { .. } => true,
                What::Done { .. } | What::Subscriber { .. } | What::Connection(_) | What::Released { .. } => false,
                _ => self.serving.used,
            }
    }

    /// An event that is the host's. `None`: it was a mount's, and was dealt with.
    #[inline(never)]
    pub(super) fn sort_out(&mut self, event: Event) -> Option<Event> {
        let Event { id, user, what } = event;
        let what = match what {
            What::Request(head) => match self.serving.mounts.find(&head).cloned() {
                Some((mount, beside)) if self.engine.keep_from_host(id) => {
                    self.serve(id, &mount, &beside, &head);
                    self.engine.recycle_head(head);
                    self.hear_published();
                    return None;
                }
                _ => What::Request(head),
            },
            What::Body { data, more } => {
                if !self.engine.leases().show_piece(id.slot()) {
                    self.take_piece(id, data, more);
                    self.hear_published();
                    return None;
                }
                What::Body { data, more }
            }
            What::Message { opcode, data } => match self.serving.sockets.get(&id.0) {
                Some(socket) => {
                    // Who passed it on may look on, too.
                    let shown = (socket.shown && self.engine.settings.wants(event::MESSAGE)).then(|| data.clone());
                    let parts = Subscribed::message(&socket.publication, socket.json, opcode, data);
                    let channel = socket.publication.channel.clone();
                    let taken = self.publish(&channel, parts);
                    self.hear_published();
                    What::Message { opcode, data: shown.filter(|_| taken)? }
                }
                None => What::Message { opcode, data },
            },
            What::Closed(code) => match self.serving.sockets.remove(&id.0) {
                Some(Socket { shown: false, .. }) => return None,
                // It ended before it was one of ours, such as a handshake with the end of the stream behind it.
                _ if code == 0 => return None,
                _ => What::Closed(code),
            },
            What::Aborted(_) if self.engine.is_served(id) => {
                self.serving.gathering.remove(&id.0);
                self.engine.give_up(id);
                return None;
            }
            What::HalfClosed | What::Writable if self.engine.is_served(id) && !self.engine.is_socket(id) => {
                return None
            }
            other => other,
        };
        Some(Event { id, user, what })
    }

    /// A request that the host has passed on; its lease was won.
    pub fn serve_passed(&mut self, id: Id, mount: Id, head: Option<&Head>) {
        if !MOUNTS || !self.engine.take_passed(id) {
            self.serving.gathering.remove(&id.0);
            return;
        }
        match (self.serving.mounts.get(mount).cloned(), head) {
            (Some((mount, beside)), Some(head)) => self.serve(id, &mount, &beside, head),
            _ => {
                self.serving.gathering.remove(&id.0);
                self.engine.give_up(id); // the mount was closed at the same time
            }
        }
        self.hear_published();
    }

    fn serve(&mut self, id: Id, mount: &Arc<Mount>, beside: &Beside, head: &Head) {
        match (mount.options.service, beside) {
            (Service::Files, Some((files, root))) => {
                let (reply, file) = file_of(mount, files, root, head);
                self.answer_file(id, mount, reply, file);
            }
            _ => self.serve_bus(id, mount, head),
        }
    }

    /// The answer of a mount to a request, whose body is nobody's from here on.
    fn answer(&mut self, id: Id, answer: Answer<'_>) {
        if !self.serving.gathering.is_empty() {
            self.serving.gathering.remove(&id.0);
        }
        self.engine.answer_served(id, answer);
    }

    // ---- files -------------------------------------------------------------------------------------------------------

    fn answer_file(&mut self, id: Id, mount: &Mount, mut reply: Reply, file: Option<File>) {
        let body = match (&mut reply.content, file) {
            (Content::Range(range), Some(file)) => match read_small(&file, range) {
                Some(bytes) => Body::Owned(bytes),
                None => Body::File { file, offset: range.start, len: range.len },
            },
            (Content::Ranges(parts, end), Some(file)) => {
                let parts = parts.drain(..).map(|(mut before, range)| {
                    if let Some(bytes) = read_small(&file, &range) {
                        before.extend_from_slice(&bytes);
                        return Ok(Part { before, file: None });
                    }
                    file.try_clone().map(|file| Part { before, file: Some((file, range.start, range.len)) })
                });
                match parts.collect::<Result<Vec<_>, _>>() {
                    Ok(mut parts) => {
                        parts.push(Part { before: std::mem::take(end), file: None });
                        Body::Parts(parts)
                    }
                    Err(_) => {
                        reply = files::text(mount, 503, RETRY);
                        Body::Copy(b"")
                    }
                }
            }
            _ => Body::Copy(b""),
        };
        let body = match (&reply.content, body) {
            (Content::Text(text), _) => Body::Copy(text.as_bytes()),
            (_, body) => body,
        };
        let answer = Answer {
            status: reply.status,
            close: false,
            length: None,
            lines: reply.lines.into(),
            seen: mount.options.seen,
            content_type: reply.content_type.as_deref().filter(|_| !mount.options.seen.content_type).map(str::as_bytes),
            body,
        };
        self.answer(id, answer);
    }

    // ---- the bus -----------------------------------------------------------------------------------------------------

    fn serve_bus(&mut self, id: Id, mount: &Arc<Mount>, head: &Head) {
        let date = *self.engine.date();
        let origin = head.field("origin").and_then(|_| Wishes::of(head)?.origin);
        let page = match &origin {
            None => Page::Own,
            Some(origin) if self.engine.may_come(origin) => Page::Listed(origin),
            Some(_) => Page::Foreign,
        };
        match Bus::new(mount, head, &date, page).act(head) {
            Action::Answer(answer) => self.answer(id, answer),
            Action::Publish(_) if head.content_length != head::UNKNOWN && !self.has_room(head.content_length) => {
                self.answer(id, Bus::of_post(mount, head.version, &date, None).too_large())
            }
            Action::Publish(publication) if head.flags & head::BODY_FOLLOWS != 0 => {
                self.gather(id, mount, head.version, publication)
            }
            Action::Publish(publication) => {
                let mut data = Vec::new();
                if data.try_reserve_exact(head.body().len()).is_err() {
                    return self.answer(id, Bus::of_post(mount, head.version, &date, None).too_large());
                }
                data.extend_from_slice(head.body());
                self.publish_for(id, mount, head.version, publication, data);
            }
            Action::Subscribe(Subscribed { mut subscription, publication, json }) => {
                if let Some((hub, _)) = self.engine.hub() {
                    subscription.bus = hub.show_under(&mount.prefix);
                }
                // What came of its body while it was passed on is nobody's.
                self.serving.gathering.remove(&id.0);
                let shown = !self.engine.is_unshown(id);
                self.engine.subscribe(id, subscription);
                if self.engine.is_socket(id) {
                    self.serving.sockets.insert(id.0, Socket { publication, json, shown });
                }
            }
        }
    }

    /// Publishes the message of a POST and says so.
    fn publish_for(&mut self, id: Id, mount: &Mount, version: u32, publication: Publication, data: Vec<u8>) {
        let Publication { channel, parts, origin } = publication;
        let done = self.publish(&channel, Parts { data, ..parts });
        let date = *self.engine.date();
        let bus = Bus::of_post(mount, version, &date, origin.as_deref());
        self.answer(id, if done { bus.published() } else { bus.too_large() });
    }

    /// False: no room for a message of this size.
    fn publish(&mut self, channel: &str, parts: Parts) -> bool {
        let Some((hub, member)) = self.engine.hub().cloned() else { return false };
        if !self.has_room(parts.data.len() as u64) {
            return false;
        }
        hub.publish(channel, parts, clock::monotonic(), Some(member));
        self.serving.published = true;
        true
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.engine.hub().is_some_and(|(hub, _)| hub.has_room(bytes))
    }

    /// What was published here is heard here, before anything else is said.
    fn hear_published(&mut self) {
        if std::mem::take(&mut self.serving.published) {
            self.hear_now();
        }
    }

    /// A body comes in pieces: the message is published when it is whole.
    fn gather(&mut self, id: Id, mount: &Arc<Mount>, version: u32, publication: Publication) {
        let gathering = self.serving.gathering.entry(id.0).or_default();
        gathering.publication = Some((mount.clone(), version, publication));
        if gathering.whole {
            self.finish_gathering(id);
        } else {
            self.engine.ask_for_body(id);
        }
    }

    fn take_piece(&mut self, id: Id, data: Vec<u8>, more: bool) {
        let n = data.len();
        let short = self.engine.is_short_of_memory();
        let gathering = self.serving.gathering.entry(id.0).or_default();
        if short || gathering.data.try_reserve(n).is_err() {
            let date = *self.engine.date();
            return match self.serving.gathering.remove(&id.0).and_then(|gathering| gathering.publication) {
                Some((mount, version, Publication { origin, .. })) => {
                    self.answer(id, Bus::of_post(&mount, version, &date, origin.as_deref()).busy())
                }
                None => self.engine.give_up(id),
            };
        }
        gathering.data.extend_from_slice(&data);
        gathering.whole = !more;
        self.engine.recycle_buffer(data);
        self.engine.keep_piece(id, n);
        self.engine.body_ack(id, n as u64);
        if !more {
            self.finish_gathering(id);
        }
    }

    fn finish_gathering(&mut self, id: Id) {
        if self.serving.gathering.get(&id.0).is_none_or(|gathering| gathering.publication.is_none()) {
            return;
        }
        let Some(Gathering { data, publication: Some((mount, version, publication)), .. }) =
            self.serving.gathering.remove(&id.0)
        else {
            return;
        };
        self.publish_for(id, &mount, version, publication, data);
    }
}

const RETRY: &str = "Retry-After: 1\r\n";
/// Of so few bytes no open file waits for the client, but the bytes: who asks for many and reads none has few files.
const SMALL: u64 = 16 << 10;

/// A part of a file that is small. `None`: it is not, or cannot be read now.
fn read_small(file: &File, range: &Range) -> Option<Vec<u8>> {
    let n = usize::try_from(range.len).ok().filter(|_| range.len <= SMALL)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(n).ok()?;
    bytes.resize(n, 0);
    file.read_exact_at(&mut bytes, range.start).ok()?;
    Some(bytes)
}

/// The answer to a request for a file, and the file.
fn file_of(mount: &Mount, files: &Files, root: &Root, head: &Head) -> (Reply, Option<File>) {
    let mut path = match files::begin(mount, files, head) {
        Step::Open(path) => path,
        Step::Reply(reply) => return (reply, None),
    };
    if path.directory {
        if !path.relative.is_empty() {
            path.relative.push(b'/');
        }
        path.relative.extend_from_slice(files::INDEX.as_bytes());
    }
    let (mut file, mut facts) = match root.find(&path.relative) {
        Ok(Found::File(file, facts)) => (file, facts),
        Ok(Found::Directory) if !path.directory => return (files::redirect(mount, head), None),
        Ok(_) => return (files::text(mount, 404, ""), None),
        Err(errno) => return (refusal(mount, errno), None),
    };
    let mut encoding = None;
    if files.precompressed {
        for wanted in files::accepted(head) {
            if let Some((smaller, of_smaller)) = beside(root, &path.relative, wanted.suffix(), &facts) {
                (file, facts, encoding) = (smaller, of_smaller, Some(wanted));
                break;
            }
        }
    }
    let kind = files::content_type(&path.relative);
    (files::respond(mount, files, head, (&facts, encoding), kind, clock::unix()), Some(file))
}

/// The compressed form of a file; one that is older is of what the file was.
fn beside(root: &Root, relative: &[u8], suffix: &str, facts: &Facts) -> Option<(File, Facts)> {
    match root.find(&[relative, suffix.as_bytes()].concat()) {
        Ok(Found::File(file, other)) if (other.seconds, other.nanoseconds) >= (facts.seconds, facts.nanoseconds) => {
            Some((file, other))
        }
        _ => None,
    }
}

fn refusal(mount: &Mount, errno: Errno) -> Reply {
    match errno {
        Errno::ACCESS | Errno::PERM => files::text(mount, 403, ""),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => files::text(mount, 503, RETRY),
        Errno::IO => files::text(mount, 500, ""),
        _ => files::text(mount, 404, ""),
    }
}
