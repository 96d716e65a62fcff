//! What a server can say to a link: answers, one behind the other, streams of parts and of events, frames of a WebSocket; what a
//! name server can say; and the URL that a host may give it.
//!
//! An input is two characters and what the server sends. The first: `0` answers to what was published, `1` the answer to a
//! subscription and its stream, `2` frames, `n` the answer of a name server behind its head and question, `u` a URL. The second:
//! how the bytes are cut; of a name server, which kind of address was asked for.
//!
//! What must hold: cuts change nothing, neither what is told nor how it ends; a message is not larger than the limit; what is
//! kept is bounded; texts have no control characters, and what is called text is UTF-8; what is no answer to the question is
//! none; nothing of a URL breaks a line of a request.

use encke::engine::word::Text;
use encke::link::dns;
use encke::link::parts::{Part, Terms};
use encke::link::reader::Reader;
use encke::link::response::{parse, Answers, MAX_HEAD};
use encke::link::url;
use encke::link::websocket::Socket;

use crate::bytes::{pieces, Bytes};

const MOST: u64 = 600;
const TERMS: Terms<'_> = Terms { channel: "c", prefix: "/msgbus/", max_message: MOST };

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let (what, manner) = (input.u8(), input.u8());
    let rest = input.rest();
    match what {
        b'n' => return name_server(rest, manner),
        b'u' => return url(rest),
        _ => {}
    }
    let read = match what % 3 {
        0 => answers,
        1 => stream,
        _ => frames,
    };
    let whole = read(&[rest]);
    assert_eq!(read(&pieces(rest, manner)), whole, "cuts change what is read");
}

/// What was told, where it goes on, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    statuses: Vec<u16>,
    messages: Vec<(Vec<Vec<u8>>, Vec<u8>, Vec<u8>)>,
    goes_on: Vec<u8>,
    retry: Option<u64>,
    left_out: bool,
    end: Option<Result<(), String>>,
}

impl Read {
    /// Whether nothing comes behind this.
    fn ends(&mut self, result: Result<bool, impl Into<String>>) -> bool {
        match result {
            Ok(false) => {}
            Ok(true) => self.end = Some(Ok(())),
            Err(why) => self.end = Some(Err(why.into())),
        }
        self.end.is_some()
    }

    fn tell(&mut self, part: Part) {
        let texts = [Text::Channel, Text::Kind, Text::From, Text::Event, Text::Key];
        let texts = texts.map(|which| part.letter.text(which).to_vec()).to_vec();
        for text in &texts[1..] {
            assert!(!text.iter().any(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7f), "a control character");
        }
        if texts[1] == b"text/plain; charset=utf-8" && texts[2].is_empty() && self.statuses.is_empty() {
            assert!(std::str::from_utf8(&part.letter.data).is_ok(), "no text");
        }
        // Text that is no UTF-8 grows when it is decoded.
        assert!(part.letter.data.len() as u64 <= 3 * MOST, "a message of {} bytes", part.letter.data.len());
        self.messages.push((texts, part.letter.data, part.position));
    }
}

fn answers(pieces: &[&[u8]]) -> Read {
    let (mut answers, mut read) = (Answers::default(), Read::default());
    for piece in pieces {
        let statuses = &mut read.statuses;
        let result = answers.receive(piece, &mut |status| {
            statuses.push(status);
            Ok(())
        });
        if read.ends(result) {
            return read;
        }
    }
    read.statuses.extend(answers.end());
    read
}

fn stream(pieces: &[&[u8]]) -> Read {
    let (mut read, mut kept, mut reader) = (Read::default(), Vec::new(), None);
    for piece in pieces {
        let mut piece = *piece;
        if reader.is_none() {
            kept.extend_from_slice(piece);
            assert!(kept.len() <= MAX_HEAD + piece.len());
            match parse(&kept, false) {
                Ok(None) => continue,
                Ok(Some((head, n))) => {
                    read.statuses.push(head.status);
                    reader = Reader::of(&head, b"");
                    kept.drain(..n);
                    piece = &kept;
                }
                Err(why) => {
                    read.end = Some(Err(why.into()));
                    return read;
                }
            }
        }
        let Some(reader) = &mut reader else { return read };
        let result = reader.receive(piece, &TERMS, &mut |part| read.tell(part));
        assert!(reader.kept() <= 32 << 10, "{} bytes are kept", reader.kept());
        match reader {
            Reader::Parts(parts) => read.goes_on.clone_from(&parts.refused),
            Reader::Events(both) => {
                read.goes_on.clone_from(&both.1.last_id);
                (read.retry, read.left_out) = (both.1.retry, both.1.left_out);
            }
            Reader::Socket(_) => unreachable!("nobody asked for one"),
        }
        if read.ends(result) {
            return read;
        }
    }
    read
}

fn frames(pieces: &[&[u8]]) -> Read {
    let (mut read, mut socket) = (Read::default(), Socket::new(b""));
    for piece in pieces {
        let result = socket.receive(piece, &TERMS, &mut |part| read.tell(part));
        let answer = std::mem::take(&mut socket.answer);
        assert!(answer.len() <= 2 + 4 + 125, "an answer of {} bytes", answer.len());
        assert!(answer.is_empty() || answer[1] & 0x80 != 0, "a client masks");
        assert!(socket.kept() as u64 <= MOST + 125 + 14);
        if let Err(why) = result {
            read.end = Some(Err(why.into()));
            return read;
        }
    }
    read
}

/// Flags and the number of records, then records.
fn name_server(data: &[u8], kind: u8) {
    let (kind, other) = if kind & 1 == 0 { (dns::Kind::A, dns::Kind::Aaaa) } else { (dns::Kind::Aaaa, dns::Kind::A) };
    let question = dns::question(7, "bus.example.com", kind).expect("a good name");
    let (Some(head), records) = (data.get(..4), data.get(4..).unwrap_or_default()) else { return };
    let mut message = [&question[..], records].concat();
    (message[2], message[3], message[6], message[7]) = (head[0] | 0x80, head[1], head[2], head[3]);
    if let Ok(Some(dns::Answer::Addresses(found))) = dns::read(&question, &message) {
        assert!(found.len() <= 8 && found.iter().all(|ip| ip.is_ipv4() == (kind == dns::Kind::A)), "{found:?}");
    }
    let elsewhere = dns::question(7, "bus.example.com", other).expect("a good name");
    assert!(matches!(dns::read(&elsewhere, &message), Ok(None)), "the answer to another question");
    assert!(matches!(dns::read(&question, &data[..data.len().min(11)]), Ok(None)), "no head");
}

fn url(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    for source in [false, true] {
        let url = match url::parse(text, source) {
            Ok(url) => url,
            Err(why) => {
                assert!(!why.is_empty() && !why.contains(['\r', '\n', '\0']), "{why:?}");
                continue;
            }
        };
        let fit = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        assert!(fit(&url.authority) && !url.authority.is_empty(), "{:?}", url.authority);
        assert!(fit(&url.prefix) && url.prefix.starts_with('/') && url.prefix.ends_with('/'), "{:?}", url.prefix);
        assert!(url
            .target
            .as_deref()
            .is_none_or(|target| fit(target) && target.starts_with('/') && !target.contains('#')));
        assert!(source || url.target.is_none() || url.websocket);
    }
}
