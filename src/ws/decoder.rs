//! Frames of the other side to messages (RFC 6455, 5): of a client, masked, or of a server, never masked. Rule: every byte is looked at once, whatever the packets; what the RFC
//! forbids ends the connection with the code it names, at the first byte that shows it; a message is bounded.

use super::deflate::{self, inflate};
use super::{code, is_sendable, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};

/// Why the connection fails: its close code, and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub code: u16,
    pub text: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Message { opcode: u8, data: Vec<u8> },
    Ping(Vec<u8>),
    Pong,
    Close { code: u16, reason: Vec<u8> },
}

/// The head of a frame being read.
#[derive(Debug, Clone, Copy)]
struct Head {
    first: u8,
    left: u64,
    mask: [u8; 4],
    /// Payload bytes unmasked so far, modulo 4.
    phase: usize,
}

#[derive(Debug, Default)]
pub struct Decoder {
    deflate: bool,
    /// The other side is the server.
    of_server: bool,
    /// Of a head that has not come whole.
    partial: Vec<u8>,
    frame: Option<Head>,
    /// The message so far, of how many fragments soever; its opcode, 0: none is under way.
    message: Vec<u8>,
    opcode: u8,
    compressed: bool,
    /// Bytes of a text known to be whole characters.
    checked: usize,
    control: Vec<u8>,
}

const fn protocol(text: &'static str) -> Failure {
    Failure { code: code::PROTOCOL, text }
}

impl Decoder {
    pub fn new(deflate: bool) -> Decoder {
        Decoder { deflate, ..Decoder::default() }
    }

    /// Of what a server sends.
    pub fn of_server() -> Decoder {
        Decoder { of_server: true, ..Decoder::default() }
    }

    /// Bytes that it keeps.
    pub fn memory(&self) -> usize {
        self.message.len() + self.control.len() + self.partial.len()
    }

    /// Deals with the beginning of `data`: how many bytes that were, and what is complete with them. Without an item all
    /// of them were taken. A message has `most` bytes at the most, and one that is inflated no more than `room`.
    pub fn decode(&mut self, data: &[u8], most: u64, room: u64) -> Result<(usize, Option<Item>), Failure> {
        let mut at = 0;
        while at < data.len() || self.frame.is_some_and(|head| head.left == 0) {
            let Some(mut head) = self.frame else {
                at += self.read_head(&data[at..], most)?;
                continue;
            };
            let n = head.left.min((data.len() - at) as u64) as usize;
            self.take(&mut head, &data[at..at + n])?;
            at += n;
            if head.left > 0 {
                self.frame = Some(head);
                continue;
            }
            self.frame = None;
            if let Some(item) = self.end_of_frame(head, most, room)? {
                return Ok((at, Some(item)));
            }
        }
        Ok((at, None))
    }

    /// A head, or more of one.
    fn read_head(&mut self, data: &[u8], most: u64) -> Result<usize, Failure> {
        let mut n = 0;
        while n < data.len() {
            self.partial.push(data[n]);
            n += 1;
            match self.partial.len() {
                1 => self.check_first(self.partial[0])?,
                2 => self.check_second(self.partial[0], self.partial[1])?,
                _ => {}
            }
            // The head of a server's frame may be of two bytes.
            if self.partial.len() >= 2 && self.partial.len() == head_size(self.partial[1]) {
                self.frame = Some(self.finish_head(most)?);
                self.partial.clear();
                return Ok(n);
            }
        }
        Ok(n)
    }

    fn check_first(&self, first: u8) -> Result<(), Failure> {
        let (fin, opcode) = (first & 0x80 != 0, first & 15);
        let rsv1 = first & 0x40 != 0;
        if first & 0x30 != 0 || rsv1 && !(self.deflate && matches!(opcode, TEXT | BINARY)) {
            return Err(protocol("a reserved bit is set"));
        }
        match opcode {
            CONTINUATION if self.opcode == 0 => Err(protocol("a continuation of nothing")),
            TEXT | BINARY if self.opcode != 0 => Err(protocol("a message within a message")),
            CLOSE | PING | PONG if !fin => Err(protocol("a control frame in fragments")),
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => Ok(()),
            _ => Err(protocol("an opcode that is not known")),
        }
    }

    fn check_second(&self, first: u8, second: u8) -> Result<(), Failure> {
        match (self.of_server, second & 0x80) {
            (false, 0) => return Err(protocol("a frame without a mask")),
            (true, 0x80) => return Err(protocol("a server's frame with a mask")),
            _ => {}
        }
        if first & 8 != 0 && second & 0x7f > 125 {
            return Err(protocol("a control frame of more than 125 bytes"));
        }
        Ok(())
    }

    fn finish_head(&self, most: u64) -> Result<Head, Failure> {
        let head = &self.partial;
        let lengths = &head[2..2 + length_size(head[1])];
        let mask = head[2 + lengths.len()..].first_chunk().copied().unwrap_or_default();
        let left = match lengths.len() {
            0 => u64::from(head[1] & 0x7f),
            _ => lengths.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        match lengths.len() {
            2 if left < 126 => return Err(protocol("a length in more bytes than it needs")),
            8 if left <= 0xffff => return Err(protocol("a length in more bytes than it needs")),
            8 if left >> 63 != 0 => return Err(protocol("a length beyond 63 bits")),
            _ => {}
        }
        if head[0] & 8 == 0 && left > most.saturating_sub(self.message.len() as u64) {
            return Err(Failure { code: code::TOO_BIG, text: "the message is larger than the limit" });
        }
        Ok(Head { first: head[0], left, mask, phase: 0 })
    }

    /// Payload: unmasked into its place.
    fn take(&mut self, head: &mut Head, data: &[u8]) -> Result<(), Failure> {
        if head.first & 8 == 0 && self.opcode == 0 {
            self.opcode = head.first & 15;
            self.compressed = head.first & 0x40 != 0;
            self.checked = 0;
        }
        let into = if head.first & 8 != 0 { &mut self.control } else { &mut self.message };
        let start = into.len();
        into.extend_from_slice(data);
        if !self.of_server {
            unmask(&mut into[start..], head.mask, head.phase);
            head.phase = (head.phase + data.len()) % 4;
        }
        head.left -= data.len() as u64;
        if head.first & 8 == 0 && self.opcode == TEXT && !self.compressed {
            self.check_text()?;
        }
        Ok(())
    }

    fn check_text(&mut self) -> Result<(), Failure> {
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(NOT_TEXT),
        }
        Ok(())
    }

    fn end_of_frame(&mut self, head: Head, most: u64, room: u64) -> Result<Option<Item>, Failure> {
        match head.first & 15 {
            PING => Ok(Some(Item::Ping(std::mem::take(&mut self.control)))),
            PONG => {
                self.control.clear();
                Ok(Some(Item::Pong))
            }
            CLOSE => close(std::mem::take(&mut self.control)).map(Some),
            _ if head.first & 0x80 == 0 => Ok(None),
            _ => {
                let (opcode, mut data) = (std::mem::take(&mut self.opcode), std::mem::take(&mut self.message));
                if self.compressed {
                    let limit = most.min(room).min(usize::MAX as u64) as usize;
                    data = inflate(&data, limit).map_err(|fault| match fault {
                        deflate::Fault::TooBig if room < most => {
                            Failure { code: code::TOO_BIG, text: "the server has no memory for the message" }
                        }
                        deflate::Fault::TooBig => {
                            Failure { code: code::TOO_BIG, text: "the message is larger than the limit" }
                        }
                        deflate::Fault::Broken => {
                            Failure { code: code::NOT_TEXT, text: "the message cannot be inflated" }
                        }
                    })?;
                    if opcode == TEXT && std::str::from_utf8(&data).is_err() {
                        return Err(NOT_TEXT);
                    }
                } else if opcode == TEXT && self.checked < data.len() {
                    return Err(NOT_TEXT); // it ends within a character
                }
                Ok(Some(Item::Message { opcode, data }))
            }
        }
    }
}

const NOT_TEXT: Failure = Failure { code: code::NOT_TEXT, text: "a text that is not UTF-8" };

fn head_size(second: u8) -> usize {
    2 + length_size(second) + if second & 0x80 != 0 { 4 } else { 0 }
}

/// Bytes of a longer length, behind the second byte.
fn length_size(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// RFC 6455, 5.5.1 and 7.4.
fn close(payload: Vec<u8>) -> Result<Item, Failure> {
    match payload.len() {
        0 => Ok(Item::Close { code: code::NONE, reason: Vec::new() }),
        1 => Err(protocol("a close of one byte")),
        _ => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            if !is_sendable(code) {
                return Err(protocol("a close code that must not be sent"));
            }
            if std::str::from_utf8(&payload[2..]).is_err() {
                return Err(NOT_TEXT);
            }
            Ok(Item::Close { code, reason: payload[2..].to_vec() })
        }
    }
}

/// Eight bytes at a time; `phase` bytes of the payload came before.
fn unmask(data: &mut [u8], mask: [u8; 4], phase: usize) {
    let mut turned = mask;
    turned.rotate_left(phase);
    let word =
        u64::from_ne_bytes([turned[0], turned[1], turned[2], turned[3], turned[0], turned[1], turned[2], turned[3]]);
    let mut words = data.chunks_exact_mut(8);
    for bytes in &mut words {
        let value =
            u64::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
        bytes.copy_from_slice(&(value ^ word).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::every;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut out = vec![first];
        match payload.len() {
            n @ ..=125 => out.push(0x80 | n as u8),
            n @ ..=0xffff => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    /// Everything that comes of these pieces, and how it ended.
    fn decode(pieces: &[&[u8]], deflate: bool, most: u64) -> (Vec<Item>, Option<u16>) {
        let (mut decoder, mut items) = (Decoder::new(deflate), Vec::new());
        for piece in pieces {
            let mut at = 0;
            while at < piece.len() {
                match decoder.decode(&piece[at..], most, u64::MAX) {
                    Ok((n, item)) => {
                        assert!(n > 0, "no progress");
                        assert!(item.is_some() || at + n == piece.len(), "all is taken");
                        at += n;
                        items.extend(item);
                    }
                    Err(failure) => return (items, Some(failure.code)),
                }
            }
        }
        (items, None)
    }

    /// RFC 6455, 5.7.
    #[test]
    fn the_example() {
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame(0x81, b"Hello"), bytes);
        let (items, end) = decode(&[&bytes], false, 100);
        assert_eq!(items, [Item::Message { opcode: TEXT, data: b"Hello".to_vec() }]);
        assert_eq!(end, None);
    }

    /// Every kind of frame, and every cut of them into two and three pieces.
    #[test]
    fn any_cut_gives_the_same() {
        let mut stream = Vec::new();
        for (first, payload) in [
            (0x81, &b"Hello"[..]),
            (0x01, b"a\xc3"),
            (0x89, b"ping"),
            (0x00, b""),
            (0x80, b"\xabz"),
            (0x82, &[7; 130]),
            (0x8a, b""),
            (0x82, b""),
            (0x88, b"\x03\xe8bye"),
        ] {
            stream.extend(frame(first, payload));
        }
        let (whole, end) = decode(&[&stream], false, 1000);
        assert_eq!(end, None);
        assert_eq!(whole.len(), 7);
        assert_eq!(whole[2], Item::Message { opcode: TEXT, data: "aëz".into() });
        assert_eq!(whole[6], Item::Close { code: 1000, reason: b"bye".to_vec() });
        for first in (0..=stream.len()).step_by(every(41)) {
            assert_eq!(decode(&[&stream[..first], &stream[first..]], false, 1000).0, whole, "cut at {first}");
            for second in (first..=(first + 17).min(stream.len())).step_by(every(7)) {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(decode(&pieces, false, 1000).0, whole, "cut at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&bytes, false, 1000).0, whole);
    }

    /// What is refused is refused at its first byte that shows it.
    #[test]
    fn refused_early() {
        for (bytes, code) in [
            (&b"\x83"[..], 1002),
            (b"\xc1", 1002),
            (b"\x80", 1002),
            (b"\x09", 1002),
            (b"\x81\x01", 1002),
            (b"\x89\xfe", 1002),
            (b"\x82\xfe\x03\xe9\0\0\0\0", 1009),
            (b"\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 1002),
            (b"\x81\x85\0\0\0\0a\xff", 1007),
        ] {
            assert_eq!(decode(&[bytes], false, 1000).1, Some(code), "{bytes:x?}");
            assert_eq!(decode(&[&bytes[..bytes.len() - 1]], false, 1000).1, None, "{bytes:x?} but its last byte");
        }
    }

    #[test]
    fn the_limit_is_of_the_message() {
        let stream = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat();
        assert_eq!(decode(&[&stream], false, 1000).1, Some(1009));
        assert_eq!(decode(&[&stream], false, 1001).1, None);
        let bomb = deflate::deflate(&vec![0; 100_000]).unwrap();
        let stream = frame(0xc2, &bomb);
        assert_eq!(decode(&[&stream], true, 99_999).1, Some(1009));
        assert_eq!(decode(&[&stream], true, 100_000).1, None);
        assert_eq!(decode(&[&stream], false, 100_000).1, Some(1002));
    }

    #[test]
    fn compressed_fragments() {
        let text = "a text that is long enough to be worth the work of compressing it, again and again and again";
        let small = deflate::deflate(text.as_bytes()).unwrap();
        let (a, b) = small.split_at(7);
        let stream = [frame(0x41, a), frame(0x89, b"x"), frame(0x80, b), frame(0x81, b"plain")].concat();
        let (items, end) = decode(&[&stream], true, 1000);
        assert_eq!(end, None);
        assert_eq!(items[1], Item::Message { opcode: TEXT, data: text.into() });
        assert_eq!(items[2], Item::Message { opcode: TEXT, data: "plain".into() });
        let not_text = deflate::deflate(&[0xff; 100]).unwrap();
        assert_eq!(decode(&[&frame(0xc1, &not_text)], true, 1000).1, Some(1007));
        assert_eq!(decode(&[&frame(0xc0, b"")], true, 1000).1, Some(1002));
    }

    /// RFC 6455, 5.7, and what a server must not do.
    #[test]
    fn a_server_does_not_mask() {
        let mut stream = b"\x81\x05Hello\x01\x03Hel\x89\x02hi\x80\x02lo\x82\x7e\x00\x80".to_vec();
        stream.extend_from_slice(&[7; 128]);
        stream.extend_from_slice(b"\x82\x00\x88\x02\x03\xe9");
        for cut in (0..=stream.len()).step_by(every(23)) {
            let (mut decoder, mut items) = (Decoder::of_server(), Vec::new());
            for mut piece in [&stream[..cut], &stream[cut..]] {
                while !piece.is_empty() {
                    let (n, item) = decoder.decode(piece, 1000, u64::MAX).unwrap();
                    items.extend(item);
                    piece = &piece[n..];
                }
            }
            assert_eq!(items.len(), 6, "cut at {cut}");
            assert_eq!(items[0], Item::Message { opcode: TEXT, data: b"Hello".to_vec() });
            assert_eq!(items[1], Item::Ping(b"hi".to_vec()));
            assert_eq!(items[2], Item::Message { opcode: TEXT, data: b"Hello".to_vec() });
            assert_eq!(items[3], Item::Message { opcode: BINARY, data: vec![7; 128] });
            assert_eq!(items[4], Item::Message { opcode: BINARY, data: Vec::new() });
            assert_eq!(items[5], Item::Close { code: 1001, reason: Vec::new() });
        }
        let masked = frame(0x81, b"Hello");
        assert_eq!(Decoder::of_server().decode(&masked, 1000, u64::MAX).unwrap_err().code, code::PROTOCOL);
    }

    #[test]
    fn unmasking_is_bytewise() {
        let mask = [1, 2, 3, 4];
        for phase in 0..4 {
            for n in 0..40 {
                let mut data: Vec<u8> = (0..n as u8).collect();
                let expected: Vec<u8> = data.iter().enumerate().map(|(i, byte)| byte ^ mask[(i + phase) % 4]).collect();
                unmask(&mut data, mask, phase);
                assert_eq!(data, expected);
            }
        }
    }
}
