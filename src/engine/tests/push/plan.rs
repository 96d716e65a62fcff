//! Owns what a request of a virtual client asks for, and what the host will make of it.

use crate::push::feed::Transport;
use crate::push::form::Form;
use crate::ws::deflate::deflate;

use super::super::rng::Rng;
use super::model::{wanted, Message, PATTERNS};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An answer and nothing else.
    Plain,
    /// The host subscribes it.
    Subscribe,
    /// The host takes the WebSocket; it may join channels later.
    Socket,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Plan {
    pub client: usize,
    pub n: usize,
    pub kind: Kind,
    pub transport: Transport,
    /// The host names the transport; otherwise the client's fields say it.
    pub explicit: bool,
    pub http10: bool,
    pub keep_alive: bool,
    pub head: bool,
    pub json: bool,
    pub deflates: bool,
    /// A WebSocket is what the host wants, but the client asked for none.
    pub mistaken: bool,
    pub patterns: Vec<Box<str>>,
    pub types: &'static str,
    pub from: &'static str,
    /// Where it left: epoch and number; said by the client in a field or in the query, or by the host.
    pub since: Option<(u64, u64)>,
    pub says: u64,
    pub timeout: u64,
}

impl Plan {
    pub fn random(rng: &mut Rng, client: usize, n: usize, transport: Transport) -> Plan {
        let kind = match transport {
            Transport::WebSocket if rng.chance(40) => Kind::Socket,
            _ => Kind::Subscribe,
        };
        let http10 = transport != Transport::WebSocket && rng.chance(25);
        let mut patterns: Vec<Box<str>> = Vec::new();
        for _ in 0..rng.range(1, 3) {
            let pattern = rng.pick(&PATTERNS);
            if !patterns.iter().any(|other| **other == *pattern) {
                patterns.push(pattern.into());
            }
        }
        Plan {
            client,
            n,
            kind,
            transport,
            explicit: transport == Transport::Plain || rng.chance(30),
            http10,
            keep_alive: rng.chance(80),
            head: false,
            json: rng.chance(50),
            deflates: rng.chance(40),
            mistaken: false,
            patterns,
            types: rng.pick(&["", "", "", "text/*", "!text/html,*", "image/?ng"]),
            from: rng.pick(&["", "", "", "zoe", "!al,*"]),
            since: None,
            says: rng.below(4),
            timeout: rng.pick(&[0, 200, 5000]),
        }
    }

    pub fn plain(client: usize, n: usize) -> Plan {
        let mut plan = Plan::random(&mut Rng::new(0), client, n, Transport::Sse);
        (plan.kind, plan.http10, plan.keep_alive) = (Kind::Plain, false, true);
        plan
    }

    pub fn is_socket(&self) -> bool {
        self.transport == Transport::WebSocket && !self.mistaken
    }

    pub fn wants(&self, message: &Message) -> bool {
        wanted(self.types, message.kind) && wanted(self.from, message.from)
    }

    /// As its messages are on the wire, without chunks.
    pub fn form(&self) -> Form {
        match self.transport {
            Transport::Sse => Form::Sse,
            Transport::Multipart => Form::Multipart,
            Transport::Plain => Form::Plain,
            Transport::LongPoll => Form::Json,
            Transport::WebSocket if self.json && self.kind == Kind::Subscribe => Form::WebSocketJson,
            Transport::WebSocket | Transport::Bus => Form::WebSocket,
        }
    }

    pub fn is_chunked(&self) -> bool {
        matches!(self.transport, Transport::Sse | Transport::Multipart | Transport::Plain) && !self.http10
    }

    fn position(&self) -> Option<String> {
        self.since.map(|(epoch, n)| format!("{epoch:016x}:{n}"))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (client, n) = (self.client, self.n);
        let said = self.position().filter(|_| self.says < 3);
        let query = match &said {
            Some(position) if self.says == 1 => format!("?x=1&since={position}"),
            Some(position) if self.says == 2 => format!("?lastEventId={}", position.replace(':', "%3A")),
            _ => "?q".to_owned(),
        };
        let (method, minor) = (if self.head { "HEAD" } else { "GET" }, u8::from(!self.http10));
        let mut text = format!("{method} /{client}/{n}{query} HTTP/1.{minor}\r\n");
        if !self.http10 {
            text.push_str("Host: example.com\r\n");
        }
        if let Some(position) = said.filter(|_| self.says == 0) {
            text.push_str(&format!("Last-Event-ID: {position}\r\n"));
        }
        if self.is_socket() {
            text.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
            text.push_str("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
            if self.json {
                text.push_str("Sec-WebSocket-Protocol: chat, encke.json\r\n");
            }
            if self.deflates {
                text.push_str("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
            }
        } else {
            match self.transport {
                _ if self.explicit || self.kind == Kind::Plain => {}
                Transport::Sse => text.push_str("Accept: text/event-stream\r\n"),
                Transport::LongPoll => text.push_str("Accept: application/json\r\n"),
                Transport::Multipart => text.push_str("Accept: multipart/x-mixed-replace, text/event-stream;q=0\r\n"),
                _ => {}
            }
            match (self.http10, self.keep_alive) {
                (true, true) => text.push_str("Connection: keep-alive\r\n"),
                (false, false) => text.push_str("Connection: close\r\n"),
                _ => {}
            }
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

// ---- messages on the wire ----------------------------------------------------------------------------------------------

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= three.len() { letter } else { '=' });
        }
    }
    out
}

fn json_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 32 || matches!(c as u32, 127 | 0x2028 | 0x2029) => {
                out.push_str(&format!("\\u{:04x}", c as u32))
            }
            c => out.push(c),
        }
    }
    out + "\""
}

pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | first];
    match payload.len() {
        n if n < 126 => out.push(n as u8),
        n if n < 65_536 => {
            out.push(126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// A message of a channel in a form without chunks.
pub fn encode(message: &Message, epoch: u64, form: Form, deflates: bool) -> Vec<u8> {
    let position = format!("{epoch:016x}:{}", message.n);
    let text = std::str::from_utf8(&message.data);
    let squeezed = |opcode: u8, data: &[u8]| match deflate(data).filter(|_| deflates) {
        Some(small) => frame(0x40 | opcode, &small),
        None => frame(opcode, data),
    };
    match form {
        Form::Sse => {
            let data = match text {
                Ok(text) => text.replace("\r\n", "\n").replace('\r', "\n"),
                Err(_) => format!("data:{};base64,{}", message.kind, base64(&message.data)),
            };
            let event = if message.event.is_empty() { String::new() } else { format!("event: {}\n", message.event) };
            let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
            format!("id: {position}\n{event}{lines}\n").into_bytes()
        }
        Form::Multipart => {
            let line =
                |name: &str, value: &str| if value.is_empty() { String::new() } else { format!("{name}: {value}\r\n") };
            let mut out = line("Content-Type", message.kind);
            out += &line("Content-Length", &message.data.len().to_string());
            out += &line("From", message.from);
            out += &line("Encke-Channel", message.channel);
            out += &line("Encke-Position", &position);
            let mut out = (out + "\r\n").into_bytes();
            out.extend(&message.data);
            out.extend(b"\r\n--encke-part\r\n");
            out
        }
        Form::Json => {
            let mut out = format!("{{\"position\":\"{position}\",\"channel\":{}", json_text(message.channel));
            for (name, value) in [("type", message.kind), ("from", message.from), ("event", message.event)] {
                if !value.is_empty() {
                    out += &format!(",\"{name}\":{}", json_text(value));
                }
            }
            out += &match text {
                Ok(text) => format!(",\"data\":{}}}", json_text(text)),
                Err(_) => format!(",\"base64\":\"{}\"}}", base64(&message.data)),
            };
            out.into_bytes()
        }
        Form::WebSocketJson => squeezed(1, &encode(message, epoch, Form::Json, false)),
        Form::WebSocket => squeezed(if text.is_ok() { 1 } else { 2 }, &message.data),
        _ => message.data.clone(),
    }
}
