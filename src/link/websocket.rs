//! Owns the client's side of a WebSocket that is listened to (RFC 6455): the fields of the handshake, and messages out of
//! frames. Rules: a server has proved that it understood before it is heard; what a client must answer (pings, closes) is
//! answered, never more than one pong at a time; every frame that goes out is masked by new chance.

use base64::Engine as _;

use super::event_stream::KIND as TEXT_KIND;
use super::parts::{Part, Terms};
use super::response::{Fault, Head};
use crate::engine::word::Letter;
use crate::ws::decoder::{Decoder, Item};
use crate::ws::{code, frame, handshake, CLOSE, PONG, TEXT};

const BINARY_KIND: &[u8] = b"application/octet-stream";
/// The subprotocol of an encke: each message is JSON.
const JSON_PROTOCOL: &str = "encke.json";
const JSON_KIND: &[u8] = b"application/json";

/// What is asked of a server, and what it must answer.
#[derive(Debug)]
pub struct Handshake {
    key: String,
}

impl Handshake {
    pub fn new() -> Result<Handshake, Fault> {
        Ok(Handshake { key: base64::prelude::BASE64_STANDARD.encode(chance::<16>()?) })
    }

    /// The fields of the request (RFC 6455, 4.1).
    pub fn fields(&self, protocol: &str) -> String {
        let protocol = match protocol.is_empty() {
            true => String::new(),
            false => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
        };
        let key = &self.key;
        format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{protocol}")
    }

    /// Whether this 101 is the answer (RFC 6455, 4.1).
    pub fn check(&self, head: &Head, protocol: &str) -> Result<(), Fault> {
        let upgrade = &head.upgrade;
        if !upgrade.to_websocket || !upgrade.connection {
            return Err("WebSocket: the server changes to another protocol".into());
        }
        if upgrade.accept != handshake::accept(self.key.as_bytes()).as_bytes() {
            return Err("WebSocket: the server did not understand the handshake: Sec-WebSocket-Accept is wrong".into());
        }
        if upgrade.extensions {
            return Err("WebSocket: the server has an extension that nobody asked for".into());
        }
        // One that was asked for may be left out.
        if !upgrade.protocol.is_empty()
            && !handshake::offers(protocol.as_bytes(), &String::from_utf8_lossy(&upgrade.protocol))
        {
            return Err("WebSocket: the server has a subprotocol that nobody asked for".into());
        }
        Ok(())
    }
}

fn chance<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| "no random numbers")?;
    Ok(bytes)
}

/// Reads what comes behind the handshake.
#[derive(Debug)]
pub struct Socket {
    decoder: Decoder,
    json: bool,
    /// A frame that is to be sent: a pong, or the last word.
    pub answer: Vec<u8>,
    /// The last word was said.
    over: bool,
}

impl Socket {
    pub fn new(protocol: &[u8]) -> Socket {
        Socket {
            decoder: Decoder::of_server(),
            json: protocol == JSON_PROTOCOL.as_bytes(),
            answer: Vec::new(),
            over: false,
        }
    }

    /// Bytes kept for a message that is not complete.
    pub fn kept(&self) -> usize {
        self.decoder.memory()
    }

    /// Tells each message that is complete. The error: how it ended, with the answer to be sent.
    pub fn receive(&mut self, mut input: &[u8], terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<(), Fault> {
        while !input.is_empty() {
            let (n, item) = match self.decoder.decode(input, terms.max_message, u64::MAX) {
                Ok(step) => step,
                Err(failure) => {
                    self.say_close(failure.code)?;
                    return Err(format!("WebSocket: {}", failure.text).into());
                }
            };
            input = &input[n..];
            match item {
                Some(Item::Message { opcode, data }) => {
                    let kind = match opcode {
                        TEXT if self.json => JSON_KIND,
                        TEXT => TEXT_KIND,
                        _ => BINARY_KIND,
                    };
                    let letter = Letter::new([terms.channel.as_bytes(), kind, b"", b"", b""], data);
                    tell(Part { letter, position: Vec::new() });
                }
                // The newest alone has to be answered (RFC 6455, 5.5.3).
                Some(Item::Ping(data)) => self.answer = frame::masked(PONG, &data, chance()?),
                Some(Item::Pong) => {}
                Some(Item::Close { code, reason }) => {
                    self.say_close(code)?;
                    return Err(closed(code, &reason).into());
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The connection is given up from this side.
    pub fn leave(&mut self) -> Result<(), Fault> {
        match self.over {
            true => Ok(()),
            false => self.say_close(code::GOING_AWAY),
        }
    }

    fn say_close(&mut self, code: u16) -> Result<(), Fault> {
        self.over = true;
        let code = if code == code::NONE { code::NORMAL } else { code };
        self.answer = frame::masked(CLOSE, &code.to_be_bytes(), chance()?);
        Ok(())
    }
}

/// In one line.
fn closed(code: u16, reason: &[u8]) -> String {
    let reason = String::from_utf8_lossy(reason).replace(char::is_control, ".");
    match (code, &*reason) {
        (code::NONE, _) => "the server closed the WebSocket without a code".into(),
        (_, "") => format!("the server closed the WebSocket: {code}"),
        _ => format!("the server closed the WebSocket: {code} {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::word::Text;
    use crate::link::response::parse;

    fn answer(fields: &str) -> Head {
        let text =
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n");
        parse(text.as_bytes(), true).unwrap().unwrap().0
    }

    #[test]
    fn the_handshake() {
        // RFC 6455, 1.3.
        let handshake = Handshake { key: "dGhlIHNhbXBsZSBub25jZQ==".into() };
        let good = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(handshake.check(&answer(good), "p"), Ok(()));
        assert_eq!(handshake.check(&answer(&format!("{good}Sec-WebSocket-Protocol: p\r\n")), "p"), Ok(()));
        for (bad, protocol, why) in [
            ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n", "", "Accept is wrong"),
            ("", "", "Accept is wrong"),
            (&format!("{good}Sec-WebSocket-Protocol: p\r\n"), "", "subprotocol"),
            (&format!("{good}Sec-WebSocket-Extensions: permessage-deflate\r\n"), "", "extension"),
        ] {
            assert!(handshake.check(&answer(bad), protocol).unwrap_err().contains(why), "{bad}");
        }
        let mut other = answer(good);
        other.upgrade.to_websocket = false;
        assert!(handshake.check(&other, "").is_err());
        assert!(handshake
            .fields("p")
            .ends_with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: p\r\n"));
        assert_ne!(Handshake::new().unwrap().key, Handshake::new().unwrap().key);
    }

    type Told = Vec<(Vec<u8>, Vec<u8>)>;

    fn read(pieces: &[&[u8]]) -> (Told, Vec<u8>, Option<String>) {
        let terms = Terms { channel: "c", prefix: "/", max_message: 100 };
        let (mut socket, mut told, mut answers) = (Socket::new(b""), Vec::new(), Vec::new());
        for piece in pieces {
            let mut tell = |part: Part| told.push((part.letter.text(Text::Kind).to_vec(), part.letter.data));
            let end = socket.receive(piece, &terms, &mut tell);
            let answer = std::mem::take(&mut socket.answer);
            // Without the mask, which is chance.
            answers.extend(answer.iter().take(2).copied());
            answers.extend(
                answer
                    .iter()
                    .skip(6)
                    .zip(answer[2.min(answer.len())..].iter().cycle().take(4).cycle())
                    .map(|(a, b)| a ^ b),
            );
            if let Err(why) = end {
                return (told, answers, Some(why.into()));
            }
        }
        (told, answers, None)
    }

    #[test]
    fn messages_pings_and_the_end() {
        let stream = b"\x01\x02he\x89\x02hi\x80\x03llo\x82\x01\xff\x88\x05\x03\xe9b\x1be";
        let whole = read(&[stream]);
        assert_eq!(whole.0, [(TEXT_KIND.to_vec(), b"hello".to_vec()), (BINARY_KIND.to_vec(), b"\xff".to_vec())]);
        assert_eq!(whole.1, b"\x88\x82\x03\xe9", "the close alone: it comes behind the ping");
        assert_eq!(whole.2.as_deref(), Some("the server closed the WebSocket: 1001 b.e"));
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&single).1, b"\x8a\x82hi\x88\x82\x03\xe9");
        for cut in 0..=stream.len() {
            let found = read(&[&stream[..cut], &stream[cut..]]);
            assert_eq!((found.0, found.2), (whole.0.clone(), whole.2.clone()), "{cut}");
        }
    }

    #[test]
    fn what_a_server_must_not_do() {
        for (bytes, code, why) in [
            (&b"\x81\x85\0\0\0\0Hello"[..], b"\x88\x82\x03\xea", "mask"),
            (b"\x82\x7e\x00\xff", b"\x88\x82\x03\xf1", "larger"),
            (b"\x81\x01\xff", b"\x88\x82\x03\xef", "UTF-8"),
            (b"\x88\x00", b"\x88\x82\x03\xe8", "without a code"),
        ] {
            let (told, answers, end) = read(&[bytes]);
            assert!(told.is_empty() && end.unwrap().contains(why), "{why}");
            assert_eq!(answers, code, "{why}");
        }
    }
}
