//! Messages as subscribers get them: what was published comes out of every form again, read by the readers of links, by those
//! of WebSockets and by `serde_json`, also where several stand behind one another and however they are cut.
//!
//! An input is channel, type, sender, name of the event and data, each but the last with a line end behind it.

use std::sync::Arc;

use encke::engine::word::Text;
use encke::link::parts::{Part, Terms};
use encke::link::reader::Reader;
use encke::link::response::parse;
use encke::push::form::{multipart_start, Form, BOUNDARY, BUS_DELIMITER};
use encke::push::message::{check_name, Account, Message, Parts};
use encke::push::position::Position;
use encke::ws::decoder::{Decoder, Item};
use encke::ws::deflate::inflate;

use crate::bytes::pieces;

const PREFIX: &str = "/m/";
const TERMS: Terms<'_> = Terms { channel: "its own", prefix: PREFIX, max_message: 1 << 20 };
const KIND_OF_TEXT: &str = "text/plain; charset=utf-8";
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Channel, type, sender, event, data, position.
type Read = (String, String, String, String, Vec<u8>, String);

pub fn run(input: &[u8], manner: u8) {
    let mut rest = input;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        String::from_utf8(line.to_vec()).ok()
    };
    let (Some(channel), Some(kind), Some(from), Some(event)) = (line(), line(), line(), line()) else { return };
    let parts = Parts { kind, from, event, key: String::new(), data: rest.to_vec() };
    if check_name(&channel).is_err() || channel.ends_with('*') || parts.check().is_err() {
        return;
    }
    let account = Account::default();
    assert_eq!(account.bus(PREFIX), 0);
    let message = |n, parts: &Parts| {
        Message::new(channel.as_str().into(), Position { epoch: 10, n }, 0, parts.clone(), account.clone())
    };
    // The second has other data, so that what is left of the first would show.
    let other = Parts { data: parts.data.iter().rev().copied().collect(), ..parts.clone() };
    let messages = [message(1, &parts), message(2, &other), message(3, &parts)].map(Arc::new);
    streams(&messages, manner);
    for message in &messages {
        sockets(message);
        object(message.form(Form::Json), message);
    }
    drop(messages);
    assert_eq!(account.bytes.load(std::sync::atomic::Ordering::Relaxed), 0, "bytes of nobody");
}

/// As an event has it: lines are lines, whatever ended them; what is no text is a data URL.
fn text_of(parts: &Parts) -> String {
    match std::str::from_utf8(&parts.data) {
        Ok(text) => text.replace("\r\n", "\n").replace('\r', "\n"),
        Err(_) => format!("data:{};base64,{}", parts.kind, encke::push::json::base64(&parts.data)),
    }
}

fn streams(messages: &[Arc<Message>], manner: u8) {
    let multipart = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    let bus = "multipart/x-mixed-replace; boundary=00MsgBus00";
    let (start, of_bus) = (multipart_start(), BUS_DELIMITER.to_vec());
    for (form, chunked, kind, start) in [
        (Form::Sse, false, "text/event-stream", &Vec::new()),
        (Form::SseChunked, true, "text/event-stream", &Vec::new()),
        (Form::Multipart, false, &multipart, &start),
        (Form::MultipartChunked, true, &multipart, &start),
        (Form::BusRoot(0), false, bus, &of_bus),
        (Form::BusRootChunked(0), true, bus, &of_bus),
        (Form::Bus, false, bus, &of_bus),
        (Form::BusChunked, true, bus, &of_bus),
    ] {
        let coding = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        let mut stream = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{coding}\r\n").into_bytes();
        let head = stream.len();
        stream.extend(if chunked { encke::push::form::chunk(start) } else { start.clone() });
        messages.iter().for_each(|message| stream.extend_from_slice(message.form(form)));
        let expected: Vec<Read> = messages.iter().map(|message| as_read(message, form)).collect();
        assert_eq!(read(&stream, &[&stream[head..]]), expected, "{form:?}");
        assert_eq!(read(&stream, &pieces(&stream[head..], manner)), expected, "{form:?} in pieces");
    }
}

/// What a reader is to tell.
fn as_read(message: &Message, form: Form) -> Read {
    let (parts, channel) = (&message.parts, message.channel.to_string());
    let (kind, from) = (parts.kind.trim_ascii(), parts.from.trim_ascii().to_owned());
    let of_bus = if parts.kind.is_empty() { UNKNOWN_TYPE } else { kind }.to_owned();
    let own = TERMS.channel.to_owned();
    match form {
        Form::Sse | Form::SseChunked => {
            let (event, text) = (parts.event.clone(), text_of(parts));
            (own, KIND_OF_TEXT.to_owned(), String::new(), event, text.into_bytes(), String::new())
        }
        Form::Bus | Form::BusChunked => (own, of_bus, from, String::new(), parts.data.clone(), String::new()),
        Form::BusRoot(_) | Form::BusRootChunked(_) => {
            (channel, of_bus, from, String::new(), parts.data.clone(), String::new())
        }
        _ => {
            let position = message.position.to_string();
            (channel.trim_ascii().to_owned(), kind.to_owned(), from, String::new(), parts.data.clone(), position)
        }
    }
}

fn read(stream: &[u8], body: &[&[u8]]) -> Vec<Read> {
    let (head, _) = parse(stream, false).expect("a head").expect("a whole one");
    let mut reader = Reader::of(&head, b"").expect("a stream of messages");
    let mut told = Vec::new();
    for piece in body {
        let over = reader.receive(piece, &TERMS, &mut |part: Part| {
            let text = |which| String::from_utf8(part.letter.text(which).to_vec()).expect("UTF-8, as it was published");
            let texts = (text(Text::Channel), text(Text::Kind), text(Text::From), text(Text::Event));
            let position = String::from_utf8(part.position.clone()).expect("a position");
            told.push((texts.0, texts.1, texts.2, texts.3, part.letter.data.clone(), position));
        });
        assert_eq!(over.expect("what encke says"), false, "there may be more");
    }
    told
}

fn sockets(message: &Message) {
    let whole = |bytes: &[u8]| {
        let (n, item) = Decoder::of_server().decode(bytes, 1 << 20, u64::MAX).expect("what encke says");
        assert_eq!(n, bytes.len());
        match item {
            Some(Item::Message { opcode, data }) => (opcode, data),
            other => panic!("{other:?}"),
        }
    };
    let (opcode, data) = whole(message.form(Form::WebSocket));
    assert_eq!((opcode == 1, &data), (std::str::from_utf8(&message.parts.data).is_ok(), &message.parts.data));
    object(&whole(message.form(Form::WebSocketJson)).1, message);
    for (plain, small) in
        [(Form::WebSocket, Form::WebSocketDeflated), (Form::WebSocketJson, Form::WebSocketJsonDeflated)]
    {
        let (plain, small) = (message.form(plain), message.form(small));
        assert!(small.len() <= plain.len());
        if small[0] & 0x40 == 0 {
            assert_eq!(plain, small);
        } else {
            let start = match small[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            assert_eq!(inflate(&small[start..], 1 << 20).as_ref(), Ok(&whole(plain).1));
        }
    }
}

/// An object of JSON, read by another reader.
fn object(bytes: &[u8], message: &Message) {
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    let parts = &message.parts;
    let member = |name: &str| value.get(name).map_or("", |value| value.as_str().expect("a string"));
    assert_eq!(member("position"), message.position.to_string());
    assert_eq!((member("channel"), member("type")), (&*message.channel, &*parts.kind));
    assert_eq!((member("from"), member("event")), (&*parts.from, &*parts.event));
    match std::str::from_utf8(&parts.data) {
        Ok(text) => assert_eq!((member("data"), value.get("base64")), (text, None)),
        Err(_) => assert_eq!(member("base64"), encke::push::json::base64(&parts.data)),
    }
    // A page may put it into a script.
    assert!(!bytes.windows(3).any(|three| three == b"\xe2\x80\xa8" || three == b"\xe2\x80\xa9"));
}
