//! Owns one request head as the host sees it: every text NUL-terminated, field names in lower case, the body behind it.
//! Rule: all of it lies in one buffer that does not move once the head is handed over.

use crate::http1::request::{Field, RequestHead, Span};

use super::id::Id;
use super::peer::Peer;

/// A length that nobody knows yet.
pub const UNKNOWN: u64 = u64::MAX;

pub const TLS: u32 = 1;
pub const BODY_FOLLOWS: u32 = 2;
pub const EXPECT: u32 = 4;
pub const UPGRADE: u32 = 8;
pub const WEBSOCKET: u32 = 16;

#[derive(Debug, Default)]
pub struct Head {
    pub id: Id,
    pub connection: Id,
    pub listener: Id,
    pub bytes: Vec<u8>,
    pub fields: Vec<Field>,
    pub method: Span,
    pub target: Span,
    pub path: Span,
    pub query: Span,
    pub host: Span,
    pub peer: Span,
    /// Where the body begins in `bytes`; it ends with them.
    pub body: u32,
    /// [`UNKNOWN`]: chunked.
    pub content_length: u64,
    /// 10 or 11.
    pub version: u32,
    pub flags: u32,
    /// The number of the pattern it was made from; 0: none.
    pub pattern: u64,
}

impl Head {
    /// Takes over a parsed head, all but its origin: `source` are the bytes it was parsed from. No other pattern has
    /// this number.
    pub fn fill(&mut self, source: &[u8], parsed: &RequestHead, number: u64) {
        self.pattern = number;
        self.flags = if parsed.upgrade || parsed.is_connect { UPGRADE } else { 0 };
        if parsed.websocket {
            self.flags |= WEBSOCKET;
        }
        self.bytes.clear();
        self.fields.clear();
        self.bytes.extend_from_slice(&source[..parsed.len]);
        self.fields.extend_from_slice(&parsed.fields);
        self.method = parsed.method;
        self.target = parsed.target;
        self.query = parsed.query;
        self.version = 10 + parsed.minor as u32;
        let bytes = &mut self.bytes;
        for field in &self.fields {
            let (start, end) = (field.name.start as usize, field.name.end());
            bytes[start..end].make_ascii_lowercase();
            bytes[end] = 0;
            bytes[field.value.end()] = 0;
        }
        bytes[self.method.end()] = 0;
        bytes[self.target.end()] = 0;
        self.path = match parsed.path {
            Span { len: 0, .. } if parsed.is_connect => Span { start: parsed.target.end() as u32, len: 0 },
            Span { len: 0, .. } => append(bytes, b"/"),
            path if path.end() == parsed.target.end() => path,
            path => copy(bytes, path),
        };
        if self.query.len == 0 {
            self.query = Span { start: parsed.target.end() as u32, len: 0 };
        }
        self.host = match parsed.host {
            Span { len: 0, .. } => Span { start: parsed.target.end() as u32, len: 0 },
            host if bytes[host.end()] == 0 => host,
            host => copy(bytes, host),
        };
    }

    /// The same head again, for a request of this connection, without a body so far. A head that came from the same
    /// pattern and connection before has its texts already.
    #[inline]
    pub fn repeat(&mut self, pattern: &Head, connection: Id, peer: &Peer) {
        if self.pattern == pattern.pattern && self.connection == connection {
            self.bytes.truncate(self.body as usize);
        } else {
            self.copy(pattern, connection, peer);
        }
        self.content_length = 0;
        self.flags = pattern.flags;
    }

    #[inline(never)]
    fn copy(&mut self, pattern: &Head, connection: Id, peer: &Peer) {
        self.pattern = pattern.pattern;
        self.connection = connection;
        self.bytes.clear();
        self.bytes.extend_from_slice(&pattern.bytes);
        self.fields.clear();
        self.fields.extend_from_slice(&pattern.fields);
        self.method = pattern.method;
        self.target = pattern.target;
        self.path = pattern.path;
        self.query = pattern.query;
        self.host = pattern.host;
        self.version = pattern.version;
        self.peer = append(&mut self.bytes, peer.text());
        self.body = self.bytes.len() as u32;
    }

    /// The bytes that a head from this pattern has without its body.
    #[inline]
    pub fn size_for(&self, peer: &Peer) -> u32 {
        (self.bytes.len() + peer.text().len() + 1) as u32
    }

    pub fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end()]
    }

    /// The value of the first field of that name, which is in lower case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|field| self.text(field.name) == name.as_bytes())?;
        Some(self.text(field.value))
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body as usize..]
    }
}

fn append(bytes: &mut Vec<u8>, text: &[u8]) -> Span {
    let start = bytes.len() as u32;
    bytes.extend_from_slice(text);
    bytes.push(0);
    Span { start, len: text.len() as u32 }
}

fn copy(bytes: &mut Vec<u8>, span: Span) -> Span {
    let start = bytes.len() as u32;
    bytes.extend_from_within(span.start as usize..span.end());
    bytes.push(0);
    Span { start, len: span.len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::request::{parse, Limits, Parsed};

    fn head(source: &[u8]) -> Head {
        let mut parsed = RequestHead::default();
        let limits = Limits { max_head: 4096, max_fields: 10, allow_connect: true };
        assert_eq!(parse(source, &limits, &mut parsed), Ok(Parsed::Complete));
        let (mut pattern, mut head) = (Head::default(), Head::default());
        pattern.fill(source, &parsed, 1);
        head.repeat(&pattern, Id::NONE, &Peer::tcp("127.0.0.1:4711".parse().unwrap()));
        head
    }

    fn terminated(head: &Head, span: Span) -> &str {
        assert_eq!(head.bytes[span.end()], 0, "{span:?}");
        std::str::from_utf8(head.text(span)).unwrap()
    }

    #[test]
    fn every_text_is_terminated() {
        let h = head(b"GET /a/b?x=1 HTTP/1.1\r\nHost: h:1\r\nX-One:  two \t\r\nEmpty:\r\n\r\n");
        assert_eq!(terminated(&h, h.method), "GET");
        assert_eq!(terminated(&h, h.target), "/a/b?x=1");
        assert_eq!(terminated(&h, h.path), "/a/b");
        assert_eq!(terminated(&h, h.query), "x=1");
        assert_eq!(terminated(&h, h.host), "h:1");
        assert_eq!(terminated(&h, h.peer), "127.0.0.1:4711");
        let fields: Vec<_> = h.fields.iter().map(|f| (terminated(&h, f.name), terminated(&h, f.value))).collect();
        assert_eq!(fields, [("host", "h:1"), ("x-one", "two"), ("empty", "")]);
    }

    #[test]
    fn other_target_forms() {
        let h = head(b"GET http://example.com?q HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!(
            (terminated(&h, h.path), terminated(&h, h.query), terminated(&h, h.host)),
            ("/", "q", "example.com")
        );
        let h = head(b"GET http://example.com:80/p HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!((terminated(&h, h.path), terminated(&h, h.host)), ("/p", "example.com:80"));
        let h = head(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(terminated(&h, h.path), "*");
        let h = head(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
        assert_eq!((terminated(&h, h.path), terminated(&h, h.target)), ("", "a:1"));
        let h = head(b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!((terminated(&h, h.path), terminated(&h, h.host)), ("/", ""));
    }
}
