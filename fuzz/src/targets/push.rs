//! WebSocket frames, and positions, patterns and extensions: what a subscriber's client can say; and the forms of messages:
//! what it can be told.
//!
//! An input is two characters and what is read. The first: `0` frames, `1` frames with permessage-deflate, `2` a position,
//! `3` a list of patterns and a text behind a NUL, `4` an offer of extensions, `f` a message (see [`super::forms`]). The second:
//! how the bytes are cut.
//!
//! What must hold: cuts change nothing, a verdict neither; no message is larger than the limit or no text where it says so;
//! what is a position reads the same when it is written down; the work is bounded; what was published is what is read.

use encke::push::globs;
use encke::push::position::Position;
use encke::ws::decoder::{Decoder, Failure, Item};
use encke::ws::{handshake, is_sendable};

use crate::bytes::{pieces, Bytes};

const MOST: u64 = 5000;

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let (what, manner) = (input.u8(), input.u8());
    let rest = input.rest();
    match what.wrapping_sub(b'0') % 5 {
        _ if what == b'f' => super::forms::run(rest, manner),
        0 => frames(rest, manner, false),
        1 => frames(rest, manner, true),
        2 => position(rest),
        3 => patterns(rest),
        _ => {
            handshake::offers_deflate(rest);
            handshake::offers(rest, "encke.json");
        }
    }
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, deflate: bool) -> (Vec<Item>, Option<Failure>) {
    let (mut decoder, mut items) = (Decoder::new(deflate), Vec::new());
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() {
            match decoder.decode(&piece[at..], MOST, u64::MAX) {
                Ok((n, item)) => {
                    assert!(n > 0 && (item.is_some() || at + n == piece.len()), "no progress");
                    at += n;
                    items.extend(item);
                }
                Err(failure) => return (items, Some(failure)),
            }
            assert!(decoder.memory() as u64 <= MOST + 125 + 14, "too much is kept");
        }
    }
    (items, None)
}

fn frames(data: &[u8], manner: u8, deflate: bool) {
    let whole = decode([data], deflate);
    let cut = pieces(data, manner);
    assert_eq!(decode(cut.iter().copied(), deflate), whole, "cuts change what is read");
    for item in &whole.0 {
        match item {
            Item::Message { opcode: 1, data } => {
                assert!(data.len() as u64 <= MOST && std::str::from_utf8(data).is_ok());
            }
            Item::Message { opcode, data } => assert!(*opcode == 2 && data.len() as u64 <= MOST),
            Item::Close { code, reason } => {
                assert!(*code == 1005 || is_sendable(*code));
                assert!(std::str::from_utf8(reason).is_ok());
            }
            Item::Ping(data) => assert!(data.len() <= 125),
            Item::Pong => {}
        }
    }
    if let Some(failure) = whole.1 {
        assert!(matches!(failure.code, 1002 | 1007 | 1009));
    }
}

fn position(data: &[u8]) {
    if let Some(position) = Position::parse(data) {
        assert_eq!(position.to_string().as_bytes(), data);
    }
}

fn patterns(data: &[u8]) {
    let mut halves = data.splitn(2, |byte| *byte == 0);
    let (list, text) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    if let (Ok(list), Ok(text)) = (std::str::from_utf8(list), std::str::from_utf8(text)) {
        let wanted = globs::wanted(list, text);
        assert!(!wanted || !globs::wanted(&format!("{list},!*"), text), "what nothing is wanted of");
        assert!(list.is_empty() || list.contains('!') || globs::wanted(&format!("{list},*"), text));
    }
}
