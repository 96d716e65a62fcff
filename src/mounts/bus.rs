//! The msgbus protocol: what a request to a bus means, and what it is answered, byte for byte as clients know it. Rule: a
//! POST is a message and a GET a subscription, both of the channel that the path names; who says nothing of how it wants to
//! be pushed to gets the parts of the protocol, all others one of the transports that channels have anyway.

use crate::engine::answer::{Answer, Body};
use crate::engine::head::Head;
use crate::engine::socket::JSON_PROTOCOL;
use crate::engine::subscription::Subscription;
use crate::engine::wishes::Wishes;
use crate::http1::response::Seen;
use crate::push::feed::{Filter, Transport};
use crate::push::globs::MAX_LIST;
use crate::push::location;
use crate::push::message::{Parts, MAX_NAME};
use crate::ws::handshake::offers;
use crate::ws::TEXT;

use super::authorization::Credentials;
use super::Mount;

/// What an old server calls its texts.
const HTML: &str = "text/html; charset=ISO-8859-1";

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    Answer(Answer<'static>),
    /// The body is its data; then [`Bus::published`].
    Publish(Publication),
    Subscribe(Subscribed),
}

/// A subscription, and what a WebSocket that comes of it publishes: its messages are data of that channel.
#[derive(Debug)]
pub struct Subscribed {
    pub subscription: Subscription,
    pub publication: Publication,
    /// The client speaks JSON.
    pub json: bool,
}

impl Subscribed {
    /// A message of the WebSocket.
    pub fn message(publication: &Publication, json: bool, opcode: u8, data: Vec<u8>) -> Parts {
        let kind = match opcode {
            TEXT if json => "application/json",
            TEXT => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        };
        Parts { kind: kind.into(), data, ..publication.parts.clone() }
    }
}

/// A message whose data is still to come.
#[derive(Debug, Clone)]
pub struct Publication {
    pub channel: Box<str>,
    pub parts: Parts,
    /// Of the page that has sent it, if it is another server's.
    pub origin: Option<Box<str>>,
}

/// The page that a browser says a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page<'a> {
    /// None, or one of this server.
    Own,
    /// Of another origin, which the host has listed.
    Listed(&'a str),
    Foreign,
}

/// One request, and what its answer needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Bus<'a> {
    mount: &'a Mount,
    /// 10 or 11.
    version: u32,
    is_head: bool,
    date: &'a [u8; 29],
    page: Page<'a>,
}

impl<'a> Bus<'a> {
    pub fn new(mount: &'a Mount, head: &Head, date: &'a [u8; 29], page: Page<'a>) -> Bus<'a> {
        Bus { mount, version: head.version, is_head: head.text(head.method) == b"HEAD", date, page }
    }

    /// For a POST whose head is not at hand.
    pub fn of_post(mount: &'a Mount, version: u32, date: &'a [u8; 29], origin: Option<&'a str>) -> Bus<'a> {
        Bus { mount, version, is_head: false, date, page: origin.map_or(Page::Own, Page::Listed) }
    }

    /// What a request means.
    pub fn act(&self, head: &Head) -> Action {
        let method = head.text(head.method);
        let listed = matches!(self.page, Page::Listed(_));
        if method == b"OPTIONS" && (self.mount.options.cors || listed) {
            return Action::Answer(self.preflight());
        }
        let credentials = Credentials::of(head);
        if let Some(guard) = &self.mount.options.guard {
            if !guard.admits(credentials.as_ref()) {
                return Action::Answer(self.unauthorized(&guard.realm));
            }
        }
        let Some(path) = self.mount.rest(head) else { return Action::Answer(self.not_found()) };
        let result = match method {
            // Subscriptions are judged where they begin.
            b"POST" if self.page == Page::Foreign && !self.mount.options.cors => {
                Ok(Action::Answer(self.page(403, "Forbidden", "<h1>Forbidden</h1>")))
            }
            b"POST" => self.publish(head, path, credentials),
            b"GET" => self.subscribe(head, path, credentials),
            _ => Ok(Action::Answer(self.page(501, "Not Implemented", ""))),
        };
        result.unwrap_or_else(Action::Answer)
    }

    fn channel(&self, path: &[u8]) -> Result<String, Answer<'static>> {
        let channel = location::channel(path).ok_or_else(|| self.bad_request())?;
        if channel.len() > MAX_NAME {
            return Err(self.page(414, "URI Too Long", "<h1>URI Too Long</h1>"));
        }
        Ok(channel)
    }

    fn publish(&self, head: &Head, path: &[u8], credentials: Option<Credentials>) -> Result<Action, Answer<'static>> {
        let kind = head.field("content-type").filter(|kind| !kind.is_empty()).ok_or_else(|| self.bad_request())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| self.bad_request());
        let parts = Parts {
            kind: text(kind)?,
            from: text(&credentials.unwrap_or_default().user)?,
            event: text(head.field("encke-event").unwrap_or_default())?,
            key: text(head.field("encke-key").unwrap_or_default())?,
            data: Vec::new(),
        };
        // What would break the lines of a part, or a field of another transport.
        parts.check().map_err(|_| self.bad_request())?;
        let origin = match self.page {
            Page::Listed(origin) => Some(origin.into()),
            _ => None,
        };
        Ok(Action::Publish(Publication { channel: self.channel(path)?.into(), parts, origin }))
    }

    fn subscribe(&self, head: &Head, path: &[u8], credentials: Option<Credentials>) -> Result<Action, Answer<'static>> {
        let channel = self.channel(path)?;
        let from = String::from_utf8(credentials.unwrap_or_default().user).map_err(|_| self.bad_request())?;
        let parts = Parts { from, ..Parts::default() };
        parts.check().map_err(|_| self.bad_request())?;
        let publication = Publication { channel: channel.clone().into(), parts, origin: None };
        let wishes = Wishes::of(head);
        let offered = wishes.as_ref().and_then(|wishes| wishes.handshake.as_ref());
        let json = offered.is_some_and(|handshake| offers(&handshake.protocols, JSON_PROTOCOL));
        let old = Wishes::is_plain(wishes.as_ref());
        let query = head.text(head.query);
        let filter = Filter { types: self.list(query, "type")?, from: self.list(query, "sender")?, anonymous: true };
        let filters = !filter.types.is_empty() || !filter.from.is_empty();
        let mut lines = if old { self.stream() } else { Vec::new() };
        lines.extend_from_slice(&self.mount.options.lines);
        if old && self.mount.options.cors {
            lines.extend_from_slice(ANY_ORIGIN);
        }
        let subscription = Subscription {
            patterns: vec![if channel.is_empty() { "*".into() } else { channel.into() }],
            transport: old.then_some(Transport::Bus),
            filter: filters.then(|| Box::new(filter)),
            cors: self.mount.options.cors,
            lines,
            seen: self.mount.options.seen,
            ..Subscription::default()
        };
        Ok(Action::Subscribe(Subscribed { subscription, publication, json }))
    }

    /// A list of patterns in the query; the first of the name counts, and "*" is all.
    fn list(&self, query: &[u8], name: &str) -> Result<Box<str>, Answer<'static>> {
        let value = query
            .split(|byte| *byte == b'&')
            .find_map(|parameter| parameter.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        let list = decoded(value.unwrap_or_default());
        match String::from_utf8(list) {
            Ok(list) if list == "*" => Ok("".into()),
            Ok(list) if list.len() <= MAX_LIST => Ok(list.into()),
            _ => Err(self.bad_request()),
        }
    }

    // ---- what is answered ------------------------------------------------------------------------------------------

    /// A message is with its subscribers.
    pub fn published(&self) -> Answer<'static> {
        let mut lines = self.beginning(204, "OK");
        self.dated(&mut lines);
        self.ended(204, lines, Vec::new(), false)
    }

    /// No memory for a message.
    pub fn too_large(&self) -> Answer<'static> {
        self.page(413, "Content Too Large", "<h1>Content Too Large</h1>")
    }

    /// No memory now.
    pub fn busy(&self) -> Answer<'static> {
        self.page(503, "Service Unavailable", "<h1>Service Unavailable</h1>")
    }

    pub fn not_found(&self) -> Answer<'static> {
        self.page(404, "Not Found", "<h1>Not Found</h1>")
    }

    fn unauthorized(&self, realm: &str) -> Answer<'static> {
        let mut lines = self.beginning(401, "Unauthorized");
        lines.extend_from_slice(format!("WWW-Authenticate: Basic realm=\"{realm}\"\r\n").as_bytes());
        self.with_page(401, lines, "<h1>Unauthorized</h1>")
    }

    fn page(&self, status: u16, reason: &str, html: &'static str) -> Answer<'static> {
        self.with_page(status, self.beginning(status, reason), html)
    }

    fn with_page(&self, status: u16, mut lines: Vec<u8>, html: &'static str) -> Answer<'static> {
        self.dated(&mut lines);
        if !self.is_head {
            lines.extend_from_slice(format!("Content-Length: {}\r\nContent-Type: {HTML}\r\n", html.len()).as_bytes());
        }
        self.ended(status, lines, html.into(), false)
    }

    /// The one answer that its server's library gives, and closes behind.
    fn bad_request(&self) -> Answer<'static> {
        let html =
            "<HTML><HEAD>\n<TITLE>400 Bad Request</TITLE>\n</HEAD><BODY>\n<H1>Bad Request</H1>\n</BODY></HTML>\n";
        let mut lines = self.status_line(400, "Bad Request");
        lines.extend_from_slice(b"Content-Type: text/html\r\nConnection: close\r\n");
        self.dated(&mut lines);
        lines.extend_from_slice(format!("Content-Length: {}\r\n", html.len()).as_bytes());
        self.ended(400, lines, html.into(), true)
    }

    /// A page of another origin asks what it may do.
    fn preflight(&self) -> Answer<'static> {
        let mut lines = self.beginning(204, "No Content");
        self.dated(&mut lines);
        lines.extend_from_slice(
            b"Access-Control-Allow-Methods: GET, POST\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, \
              Last-Event-ID, Encke-Event, Encke-Key\r\nAccess-Control-Max-Age: 86400\r\n",
        );
        self.ended(204, lines, Vec::new(), false)
    }

    /// The head of a subscription in the parts of the protocol.
    fn stream(&self) -> Vec<u8> {
        let mut lines = self.beginning(200, "OK");
        lines.extend_from_slice(b"Content-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\n");
        if self.version > 10 {
            lines.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        self.dated(&mut lines);
        lines
    }

    fn status_line(&self, status: u16, reason: &str) -> Vec<u8> {
        format!("HTTP/1.{} {status} {reason}\r\n", self.version - 10).into_bytes()
    }

    fn beginning(&self, status: u16, reason: &str) -> Vec<u8> {
        let mut lines = self.status_line(status, reason);
        if !self.mount.options.seen.server {
            lines.extend_from_slice(b"Server: msgbus\r\n");
        }
        lines
    }

    /// To HTTP/1.0 no Date is sent.
    fn dated(&self, lines: &mut Vec<u8>) {
        if self.version > 10 && !self.mount.options.seen.date {
            lines.extend_from_slice(b"Date: ");
            lines.extend_from_slice(self.date);
            lines.extend_from_slice(b"\r\n");
        }
    }

    fn ended(&self, status: u16, mut lines: Vec<u8>, body: Vec<u8>, close: bool) -> Answer<'static> {
        lines.extend_from_slice(&self.mount.options.lines);
        match self.page {
            _ if self.mount.options.cors => lines.extend_from_slice(ANY_ORIGIN),
            Page::Listed(origin) => {
                let line = format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n");
                lines.extend_from_slice(line.as_bytes());
            }
            _ => {}
        }
        Answer {
            status,
            close,
            length: None,
            lines: lines.into(),
            seen: Seen::default(),
            content_type: None,
            body: Body::Owned(body),
        }
    }
}

const ANY_ORIGIN: &[u8] = b"Access-Control-Allow-Origin: *\r\n";

/// A value of a query, as a form has it; what is no escape stays.
fn decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    while let Some(byte) = value.get(at) {
        let escape = (*byte == b'%').then(|| Some((digit(value.get(at + 1))?, digit(value.get(at + 2))?)));
        match (byte, escape.flatten()) {
            (_, Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
