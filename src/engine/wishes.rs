//! Owns what a request says of how it wants to be pushed to: looked for once for each different head, kept only where
//! there is something. Rule: it is what the client asked; what it gets is decided by whoever subscribes it.

use crate::push::feed::Transport;
use crate::push::position::Position;

use super::head::{self, Head};
use super::origin;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wishes {
    event_stream: bool,
    multipart: bool,
    json: bool,
    websocket: bool,
    /// It wants a WebSocket and does not say so as it should: the status that is due.
    refused: Option<u16>,
    /// Of what page it comes, if that is none of this server's.
    pub origin: Option<Box<str>>,
    /// Where it left; a position of nobody where it says something that is none.
    pub since: Option<Position>,
    /// Sec-WebSocket-Key, Sec-WebSocket-Protocol and Sec-WebSocket-Extensions of a handshake.
    pub handshake: Option<Handshake>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Handshake {
    pub key: Vec<u8>,
    pub protocols: Vec<u8>,
    pub extensions: Vec<u8>,
}

/// Names of the query's parameter that says where a client left: ours, and that of libraries which cannot set a field.
const SINCE: [&[u8]; 2] = [b"since", b"lastEventId"];

impl Wishes {
    /// `None`: it is a request like any other.
    pub fn of(head: &Head) -> Option<Wishes> {
        let mut wishes = Wishes::default();
        let websocket = head.flags & head::WEBSOCKET != 0;
        let (mut upgrade, mut versions) = (false, Vec::new());
        for field in &head.fields {
            let value = head.text(field.value);
            match head.text(field.name) {
                b"accept" => wishes.accept(value),
                // Two of them are those of two pages.
                b"origin" if wishes.origin.is_none() => wishes.origin = origin::foreign(value, head.text(head.host)),
                b"last-event-id" => wishes.since = Some(position(value)),
                b"sec-websocket-key" if websocket => wishes.handshake().key = value.to_vec(),
                b"sec-websocket-protocol" if websocket => join(&mut wishes.handshake().protocols, value),
                b"sec-websocket-extensions" if websocket => join(&mut wishes.handshake().extensions, value),
                b"sec-websocket-version" => join(&mut versions, value),
                b"upgrade" => upgrade = value.split(|byte| *byte == b',').any(is_websocket),
                _ => {}
            }
        }
        wishes.websocket = websocket;
        if upgrade && !websocket && head.flags & head::UPGRADE != 0 {
            wishes.refused = Some(if versions == b"13" { 400 } else { 426 });
        }
        for parameter in head.text(head.query).split(|byte| *byte == b'&') {
            let mut parts = parameter.splitn(2, |byte| *byte == b'=');
            if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                if SINCE.contains(&name) && wishes.since.is_none() {
                    wishes.since = Some(position(value));
                }
            }
        }
        (wishes != Wishes::default()).then_some(wishes)
    }

    /// Whether it says nothing of how it wants to be pushed to.
    pub fn is_plain(wishes: Option<&Wishes>) -> bool {
        wishes.is_none_or(|wishes| !wishes.websocket && !wishes.event_stream && !wishes.multipart && !wishes.json)
    }

    fn handshake(&mut self) -> &mut Handshake {
        self.handshake.get_or_insert_default()
    }

    fn accept(&mut self, value: &[u8]) {
        for range in value.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let Some(kind) = parts.next() else { continue };
            let refused = parts.any(|parameter| {
                parameter.split_at_checked(2).is_some_and(|(q, value)| {
                    q.eq_ignore_ascii_case(b"q=") && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
                })
            });
            let is = |name: &str| !refused && kind.eq_ignore_ascii_case(name.as_bytes());
            self.event_stream |= is("text/event-stream");
            self.multipart |= is("multipart/x-mixed-replace");
            self.json |= is("application/json");
        }
    }

    /// What is due to who asks for a WebSocket in a way that is not that of RFC 6455, 4.2.1.
    pub fn refused(wishes: Option<&Wishes>) -> Option<u16> {
        wishes.and_then(|wishes| wishes.refused)
    }

    /// The transport that fits best what was asked.
    pub fn transport(wishes: Option<&Wishes>) -> Transport {
        match wishes {
            Some(wishes) if wishes.websocket => Transport::WebSocket,
            // Who names both reads parts too, which say more than events can.
            Some(wishes) if wishes.multipart => Transport::Multipart,
            Some(wishes) if wishes.event_stream => Transport::Sse,
            Some(wishes) if wishes.json => Transport::LongPoll,
            _ => Transport::Multipart,
        }
    }
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.trim_ascii().eq_ignore_ascii_case(b"websocket")
}

/// What is no position is one of a hub that is not this.
fn position(value: &[u8]) -> Position {
    let decoded;
    let value = match value.windows(3).position(|three| three.eq_ignore_ascii_case(b"%3a")) {
        Some(at) => {
            decoded = [&value[..at], b":", &value[at + 3..]].concat();
            &decoded
        }
        None => value,
    };
    Position::parse(value).unwrap_or_default()
}

fn join(list: &mut Vec<u8>, value: &[u8]) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::request::{parse, Limits, RequestHead};

    fn wishes(fields: &str, query: &str) -> Option<Wishes> {
        let source = format!("GET /x{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut parsed = RequestHead::default();
        let limits = Limits { max_head: 4096, max_fields: 20, allow_connect: false };
        parse(source.as_bytes(), &limits, &mut parsed).unwrap();
        let mut head = Head::default();
        head.fill(source.as_bytes(), &parsed, 1);
        Wishes::of(&head)
    }

    #[test]
    fn what_is_accepted_decides() {
        for (accept, transport) in [
            ("text/event-stream", Transport::Sse),
            ("text/html, Text/Event-Stream;q=0.5", Transport::Sse),
            ("text/event-stream;q=0, application/json", Transport::LongPoll),
            ("text/event-stream;q=0.000", Transport::Multipart),
            ("multipart/x-mixed-replace", Transport::Multipart),
            ("text/event-stream, multipart/x-mixed-replace", Transport::Multipart),
            ("multipart/x-mixed-replace;q=0, text/event-stream", Transport::Sse),
            ("*/*", Transport::Multipart),
        ] {
            let wishes = wishes(&format!("Accept: {accept}\r\n"), "");
            assert_eq!(Wishes::transport(wishes.as_ref()), transport, "{accept}");
        }
        assert_eq!(wishes("Accept: */*\r\n", ""), None);
        let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n";
        let wishes = wishes(handshake, "");
        assert_eq!(Wishes::transport(wishes.as_ref()), Transport::WebSocket);
        let handshake = wishes.unwrap().handshake.unwrap();
        assert_eq!((&handshake.key[..], &handshake.protocols[..]), (&b"dGhlIHNhbXBsZSBub25jZQ=="[..], &b"a, b"[..]));
    }

    #[test]
    fn handshakes_that_are_none() {
        let due = |fields: &str| {
            let fields = format!("Upgrade: websocket\r\n{fields}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
            Wishes::refused(wishes(&fields, "").as_ref())
        };
        assert_eq!(due("Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n"), None);
        assert_eq!(due("Connection: upgrade\r\nSec-WebSocket-Version: 8\r\n"), Some(426));
        assert_eq!(due("Connection: upgrade\r\nSec-WebSocket-Version: 13, 8\r\n"), Some(426));
        assert_eq!(due("Connection: upgrade\r\n"), Some(426));
        assert_eq!(due("Connection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n"), Some(400));
        assert_eq!(due(""), None, "nobody offers to leave HTTP");
    }

    #[test]
    fn pages() {
        let of = |fields: &str| wishes(fields, "").and_then(|wishes| wishes.origin);
        assert_eq!(of(""), None);
        assert_eq!(of("Origin: http://a\r\n"), None, "its own");
        assert_eq!(of("Origin: http://b\r\n").as_deref(), Some("http://b"));
        assert_eq!(of("Origin: http://a\r\nOrigin: http://b\r\n").as_deref(), Some("http://b"));
        assert_eq!(of("Origin: http://b\r\nOrigin: http://a\r\n").as_deref(), Some("http://b"));
    }

    #[test]
    fn where_it_left() {
        let position = Position { epoch: 10, n: 7 };
        let since = |fields: &str, query: &str| wishes(fields, query).and_then(|wishes| wishes.since);
        assert_eq!(since("", "?a=1"), None);
        assert_eq!(since("Last-Event-ID: 000000000000000a:7\r\n", ""), Some(position));
        assert_eq!(since("", "?a=1&since=000000000000000a:7"), Some(position));
        assert_eq!(since("", "?lastEventId=000000000000000a%3A7"), Some(position));
        assert_eq!(since("Last-Event-ID: 17\r\n", "?since=000000000000000a:7"), Some(Position::default()));
    }
}
