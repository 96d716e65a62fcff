//! The forms in which a message goes out, one for each transport and framing. Rule: each is whole in itself, so that any
//! number of them behind one another is right on the wire; the chunked ones bring their chunk with them.

use super::json;
use super::location;
use super::message::Message;
use crate::ws::deflate::deflate;
use crate::ws::frame::{frame, COMPRESSED};
use crate::ws::{BINARY, TEXT};

/// The multipart boundary: constant, as clients of message buses expect.
pub const BOUNDARY: &str = "encke-part";
/// The line before and behind every part of the msgbus protocol.
pub const BUS_DELIMITER: &[u8] = b"--00MsgBus00\n";
/// The type of what was published without one, in a part that must have one.
const UNKNOWN_TYPE: &str = "application/octet-stream";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// multipart/x-mixed-replace until the connection closes.
    Multipart,
    MultipartChunked,
    /// text/event-stream until the connection closes.
    Sse,
    SseChunked,
    /// The data alone, until the connection closes.
    Plain,
    PlainChunked,
    /// The parts of the msgbus protocol, for subscribers of a channel and for those of everything, to whom they name it below
    /// the path with this number.
    Bus,
    BusChunked,
    BusRoot(u8),
    BusRootChunked(u8),
    /// An object of JSON, for the batch of a long poll.
    Json,
    /// A WebSocket message that is the data: text if it is UTF-8, binary otherwise.
    WebSocket,
    WebSocketDeflated,
    /// A WebSocket message that is an object of JSON.
    WebSocketJson,
    WebSocketJsonDeflated,
}

pub const FORMS: usize = 15;

impl Form {
    /// Where a message keeps it. `None`: it is one of few, of a bus below a second path.
    pub fn slot(self) -> Option<usize> {
        Some(match self {
            Form::Multipart => 0,
            Form::MultipartChunked => 1,
            Form::Sse => 2,
            Form::SseChunked => 3,
            Form::Plain => 4,
            Form::PlainChunked => 5,
            Form::Bus => 6,
            Form::BusChunked => 7,
            Form::BusRoot(0) => 8,
            Form::BusRootChunked(0) => 9,
            Form::Json => 10,
            Form::WebSocket => 11,
            Form::WebSocketDeflated => 12,
            Form::WebSocketJson => 13,
            Form::WebSocketJsonDeflated => 14,
            Form::BusRoot(_) | Form::BusRootChunked(_) => return None,
        })
    }
}

pub fn encode(message: &Message, form: Form) -> Vec<u8> {
    match form {
        Form::Multipart => multipart(message),
        Form::MultipartChunked => chunk(&multipart(message)),
        Form::Sse => sse(message),
        Form::SseChunked => chunk(&sse(message)),
        Form::Plain => message.parts.data.clone(),
        Form::PlainChunked => chunk(&message.parts.data),
        Form::Bus => bus(message, None, true),
        Form::BusChunked => chunk(&bus(message, None, false)),
        Form::BusRoot(path) => bus(message, Some(path), true),
        Form::BusRootChunked(path) => chunk(&bus(message, Some(path), false)),
        Form::Json => json::object(message),
        Form::WebSocket => frame(opcode(message), &message.parts.data),
        Form::WebSocketDeflated => deflated(opcode(message), &message.parts.data),
        Form::WebSocketJson => frame(TEXT, &json::object(message)),
        Form::WebSocketJsonDeflated => deflated(TEXT, &json::object(message)),
    }
}

fn opcode(message: &Message) -> u8 {
    match std::str::from_utf8(&message.parts.data) {
        Ok(_) => TEXT,
        Err(_) => BINARY,
    }
}

/// Compressed, where that is shorter.
fn deflated(opcode: u8, data: &[u8]) -> Vec<u8> {
    match deflate(data) {
        Some(small) => frame(COMPRESSED | opcode, &small),
        None => frame(opcode, data),
    }
}

/// As one chunk (RFC 9112, 7.1). Nothing stays nothing: an empty chunk would be the end.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
    out.reserve_exact(bytes.len() + 2);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

/// What stands before the first part.
pub fn multipart_start() -> Vec<u8> {
    format!("--{BOUNDARY}\r\n").into_bytes()
}

/// A part and the delimiter behind it: clients show a part when they see that it is over.
fn multipart(message: &Message) -> Vec<u8> {
    let parts = &message.parts;
    let mut out = Vec::with_capacity(parts.data.len() + 160);
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    };
    field("Content-Type", &parts.kind);
    field("Content-Length", &parts.data.len().to_string());
    field("From", &parts.from);
    field("Encke-Channel", &message.channel);
    field("Encke-Position", &message.position.to_string());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&parts.data);
    out.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
    out
}

/// A part of the msgbus protocol, and the delimiter behind it. Its lines end in LF, nothing stands between the data and the
/// delimiter, and where there are no chunks to tell the length a field does.
fn bus(message: &Message, root: Option<u8>, length: bool) -> Vec<u8> {
    let parts = &message.parts;
    let mut out = Vec::with_capacity(parts.data.len() + 160);
    let mut field = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    if !parts.from.is_empty() {
        field("From: ", &parts.from);
    }
    if let Some(path) = root {
        field("Content-Location: ", &location::of(&message.bus(path), &message.channel));
    }
    field("Content-Type: ", if parts.kind.is_empty() { UNKNOWN_TYPE } else { &parts.kind });
    if length {
        field("Content-Length: ", &parts.data.len().to_string());
    }
    out.push(b'\n');
    out.extend_from_slice(&parts.data);
    out.extend_from_slice(BUS_DELIMITER);
    out
}

/// An event of text/event-stream: https://html.spec.whatwg.org/multipage/server-sent-events.html. What is no text comes
/// as a data URL.
fn sse(message: &Message) -> Vec<u8> {
    let parts = &message.parts;
    let mut out = Vec::with_capacity(parts.data.len() + 64);
    out.extend_from_slice(format!("id: {}\n", message.position).as_bytes());
    if !parts.event.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(parts.event.as_bytes());
        out.push(b'\n');
    }
    let url;
    let text = match std::str::from_utf8(&parts.data) {
        Ok(text) => text,
        Err(_) => {
            url = format!("data:{};base64,{}", parts.kind, json::base64(&parts.data));
            &url
        }
    };
    // Line ends of all three kinds; an empty text is one empty line.
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest.as_bytes()[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let skip = if rest.as_bytes()[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + skip..];
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::super::message::Parts;
    use super::*;

    fn text(form: Form, parts: Parts) -> String {
        String::from_utf8(encode(&message(7, parts), form)).unwrap()
    }

    fn data(data: &[u8]) -> Parts {
        Parts { data: data.to_vec(), ..Parts::default() }
    }

    const ID: &str = "id: 000000000000000a:7\n";

    #[test]
    fn server_sent_events() {
        for (given, lines) in [
            ("hello", "data: hello\n\n"),
            ("", "data: \n\n"),
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"),
            (" lead", "data:  lead\n\n"),
            ("id: 9\nevent: x", "data: id: 9\ndata: event: x\n\n"),
        ] {
            assert_eq!(text(Form::Sse, data(given.as_bytes())), format!("{ID}{lines}"));
        }
        let named = Parts { event: "tick".into(), ..data(b"1") };
        assert_eq!(text(Form::Sse, named), format!("{ID}event: tick\ndata: 1\n\n"));
        let image = Parts { kind: "image/png".into(), ..data(b"\xff\xfe\0") };
        assert_eq!(text(Form::Sse, image), format!("{ID}data: data:image/png;base64,//4A\n\n"));
    }

    #[test]
    fn parts_end_with_the_delimiter() {
        let parts = Parts { kind: "text/plain".into(), from: "zoe".into(), ..data(b"hello") };
        let expected = "Content-Type: text/plain\r\nContent-Length: 5\r\nFrom: zoe\r\nEncke-Channel: news\r\n\
                        Encke-Position: 000000000000000a:7\r\n\r\nhello\r\n--encke-part\r\n";
        assert_eq!(text(Form::Multipart, parts.clone()), expected);
        let chunked = text(Form::MultipartChunked, parts);
        assert_eq!(chunked, format!("{:x}\r\n{expected}\r\n", expected.len()));
    }

    /// What the original daemon was seen to send.
    #[test]
    fn parts_of_the_bus() {
        let parts = Parts { kind: "text/html".into(), from: "alice".into(), ..data(b"<b>hi</b>") };
        let (with, without) =
            ("From: alice\n", "Content-Type: text/html\nContent-Length: 9\n\n<b>hi</b>--00MsgBus00\n");
        assert_eq!(text(Form::Bus, parts.clone()), format!("{with}{without}"));
        let location = "Content-Location: /msgbus/news\n";
        assert_eq!(text(Form::BusRoot(0), parts.clone()), format!("{with}{location}{without}"));
        let chunk = "3b\r\nFrom: alice\nContent-Type: text/html\n\n<b>hi</b>--00MsgBus00\n\r\n";
        assert_eq!(text(Form::BusChunked, parts), chunk);
        assert_eq!(
            text(Form::BusRootChunked(0), data(b"")),
            "54\r\nContent-Location: /msgbus/news\nContent-Type: application/octet-stream\n\n--00MsgBus00\n\r\n"
        );
    }

    #[test]
    fn an_empty_chunk_is_nothing() {
        assert_eq!(text(Form::PlainChunked, data(b"")), "");
        assert_eq!(text(Form::PlainChunked, data(b"0123456789abcdef")), "10\r\n0123456789abcdef\r\n");
    }

    #[test]
    fn websocket_messages() {
        assert_eq!(encode(&message(1, data(b"\xff")), Form::WebSocket), [0x82, 1, 0xff]);
        assert_eq!(encode(&message(1, data(b"a")), Form::WebSocket), [0x81, 1, b'a']);
        let long = message(1, data(&[b'a'; 1000]));
        assert_eq!(encode(&long, Form::WebSocketDeflated)[0], 0xc1);
        assert_eq!(encode(&message(1, data(b"a")), Form::WebSocketDeflated), [0x81, 1, b'a']);
    }
}
