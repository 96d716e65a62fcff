//! Owns the reading of text/event-stream as its specification says: https://html.spec.whatwg.org/multipage/server-sent-events.html.
//! Rules: any cut of the bytes gives the same; what is kept of an event is bounded, and one that is too large is left out
//! alone; an event that has not come to its end is none.

use super::parts::{Part, Terms};
use super::response::Fault;
use crate::engine::word::Letter;

/// Bytes of the name of a field, its colon and a space: what a line may have beside its value.
const BESIDE: u64 = 16;
/// Bytes of an id at the most: it is sent with each attempt to come back.
const MAX_ID: usize = 4096;
const MAX_EVENT: usize = 1024;

/// What data of an event is.
pub const KIND: &[u8] = b"text/plain; charset=utf-8";

#[derive(Debug, Default)]
pub struct Events {
    /// The line that is being read.
    line: Vec<u8>,
    /// What is left of the line belongs to nobody.
    passing: bool,
    /// The last line ended in CR: an LF is a part of its end.
    after_cr: bool,
    /// A line has come: what looks like a byte order mark is none.
    begun: bool,
    data: Vec<u8>,
    event: Vec<u8>,
    /// Of the event being read, where it says one.
    id: Option<Vec<u8>>,
    /// The first event may be one that an encke says to those who see no fields: whether it gave everything.
    says_recovered: bool,
    /// The event is larger than may be.
    too_large: bool,
    /// Where it goes on after the last event.
    pub last_id: Vec<u8>,
    /// Milliseconds before an attempt to come back.
    pub retry: Option<u64>,
    /// Events were left out for their size since somebody looked.
    pub left_out: bool,
}

impl Events {
    /// `last_id`: where it goes on, if it is known. `says_recovered`: the head has said it already.
    pub fn new(last_id: Vec<u8>, says_recovered: bool) -> Events {
        Events { last_id, says_recovered, ..Events::default() }
    }

    /// Bytes kept for an event that is not complete.
    pub fn kept(&self) -> usize {
        self.line.capacity() + self.data.capacity()
    }

    /// Tells each event that is complete.
    pub fn receive(&mut self, mut input: &[u8], terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<(), Fault> {
        while !input.is_empty() {
            if std::mem::take(&mut self.after_cr) && input[0] == b'\n' {
                input = &input[1..];
                continue;
            }
            let end = input.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let piece = &input[..end.unwrap_or(input.len())];
            if !self.passing && self.line.is_empty() && end.is_some() {
                self.take(piece, terms, tell)?;
            } else {
                self.keep(piece, terms)?;
                if end.is_some() {
                    let line = std::mem::take(&mut self.line);
                    if !std::mem::take(&mut self.passing) {
                        self.take(&line, terms, tell)?;
                    }
                }
            }
            let Some(end) = end else { break };
            self.after_cr = input[end] == b'\r';
            input = &input[end + 1..];
        }
        Ok(())
    }

    /// More of a line whose end has not come. Comments are not kept, nor what is too long to mean anything.
    fn keep(&mut self, piece: &[u8], terms: &Terms<'_>) -> Result<(), Fault> {
        if self.passing || piece.is_empty() {
            return Ok(());
        }
        if self.line.is_empty() && piece[0] == b':' {
            (self.passing, self.begun) = (true, true);
            return Ok(());
        }
        let most = (terms.max_message.saturating_sub(self.data.len() as u64)).max(MAX_ID as u64) + BESIDE;
        if self.line.len() as u64 + piece.len() as u64 > most {
            self.passing = true;
            let line = std::mem::take(&mut self.line);
            return self.pass_over(&line, piece);
        }
        self.line.try_reserve(piece.len()).map_err(|_| "no memory for an event")?;
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// A line is too long to be kept; it begins so.
    fn pass_over(&mut self, line: &[u8], piece: &[u8]) -> Result<(), Fault> {
        let start: Vec<u8> = line.iter().chain(piece).take(BESIDE as usize).copied().collect();
        let start = if self.begun { &start[..] } else { start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start) };
        self.begun = true;
        if start.starts_with(b"event:") {
            return Err(BAD_EVENT.into());
        }
        if start.starts_with(b"data:") {
            self.too_large = true;
            self.data = Vec::new();
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8], terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) -> Result<(), Fault> {
        let line = match self.begun {
            true => line,
            false => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
        };
        self.begun = true;
        if line.is_empty() {
            self.end(terms, tell);
            return Ok(());
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" if self.too_large => {}
            b"data" if self.data.len() as u64 + value.len() as u64 > terms.max_message => {
                self.too_large = true;
                self.data = Vec::new();
            }
            b"data" => {
                self.data.try_reserve(value.len() + 1).map_err(|_| "no memory for an event")?;
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" if value.len() > MAX_EVENT || has_control(value) => {
                return Err(BAD_EVENT.into());
            }
            b"event" => self.event = value.to_vec(),
            // What could not be said again in a field is passed over.
            b"id" if value.len() <= MAX_ID && !has_control(value) => self.id = Some(value.to_vec()),
            b"retry" if !value.is_empty() && value.len() <= 10 && value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            // Comments, and what is not known.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, terms: &Terms<'_>, tell: &mut dyn FnMut(Part)) {
        if let Some(id) = self.id.take() {
            self.last_id = id;
        }
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.too_large) {
            self.left_out = true;
            return;
        }
        // An empty line of data is a line; none is no event.
        if data.pop().is_none() || std::mem::take(&mut self.says_recovered) && event == b"recovered" {
            return;
        }
        // What is no UTF-8 is decoded as the specification has it.
        let data = String::from_utf8(data).map_or_else(
            |wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned().into_bytes(),
            String::into_bytes,
        );
        let letter = Letter::new([terms.channel.as_bytes(), KIND, b"", &event, b""], data);
        tell(Part { letter, position: Vec::new() });
    }
}

const BAD_EVENT: &str = "the name of an event is too long, or has a control character";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn has_control(value: &[u8]) -> bool {
    value.iter().any(|byte| *byte < b' ' || *byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::word::Text;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Read {
        events: Vec<(String, String)>,
        last_id: String,
        retry: Option<u64>,
        left_out: bool,
    }

    fn read(pieces: &[&[u8]], max_message: u64) -> Read {
        let terms = Terms { channel: "c", prefix: "/", max_message };
        let (mut reader, mut events) = (Events::new(b"before".to_vec(), false), Vec::new());
        for piece in pieces {
            let mut tell = |part: Part| {
                assert_eq!(part.letter.text(Text::Channel), b"c");
                assert_eq!(part.letter.text(Text::Kind), KIND);
                let event = String::from_utf8(part.letter.text(Text::Event).to_vec()).unwrap();
                events.push((event, String::from_utf8(part.letter.data).unwrap()));
            };
            reader.receive(piece, &terms, &mut tell).unwrap();
        }
        let last_id = String::from_utf8(reader.last_id).unwrap();
        Read { events, last_id, retry: reader.retry, left_out: reader.left_out }
    }

    fn data_of(text: &str) -> Vec<String> {
        read(&[text.as_bytes()], 1000).events.into_iter().map(|(_, data)| data).collect()
    }

    /// Those of the specification, 9.2.6.
    #[test]
    fn the_examples() {
        assert_eq!(data_of("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        let four = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let found = read(&[four.as_bytes()], 1000);
        assert_eq!(found.last_id, "", "an id without a value resets it");
        assert_eq!(data_of(four), ["first event", "second event", " third event"]);
        assert_eq!(data_of("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data_of("data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    const STREAM: &str =
        "\u{feff}retry: 250\r\nid: 7\r\n\r\nevent: tick\rdata: a\rdata: b\r\r: comment\nid: 8\ndata: c\n\n\
        event: lost\n\nid: 9\nretry: x\nother: y\ndata: d\u{eb}\r\n\r\nid: 10\ndata: cut";

    #[test]
    fn at_every_cut() {
        let bytes = STREAM.as_bytes();
        let whole = read(&[bytes], 1000);
        let expected = [("tick", "a\nb"), ("", "c"), ("", "d\u{eb}")].map(|(event, data)| (event.into(), data.into()));
        assert_eq!(whole.events, expected);
        assert_eq!((&*whole.last_id, whole.retry, whole.left_out), ("9", Some(250), false));
        for cut in 0..=bytes.len() {
            assert_eq!(read(&[&bytes[..cut], &bytes[cut..]], 1000), whole, "{cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single, 1000), whole);
    }

    #[test]
    fn too_large_is_left_out_alone() {
        let long = "x".repeat(5000);
        for line in [format!("data: {long}"), format!("data: {0}\ndata: {0}", &long[..600])] {
            let stream = format!("id: 1\ndata: a\n\nid: 2\n{line}\n\nid: 3\ndata: b\n\n");
            let found = read(&[stream.as_bytes()], 1000);
            assert_eq!(found.events.len(), 2);
            assert_eq!((&*found.last_id, found.left_out), ("3", true));
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(100).collect();
            assert_eq!(read(&pieces, 1000), found);
        }
        // Comments and what is not known have no limit, and are not kept.
        let terms = Terms { channel: "c", prefix: "/", max_message: 1000 };
        let mut reader = Events::default();
        for start in [&b":"[..], b"other:", b"id:"] {
            reader.receive(start, &terms, &mut |_| panic!("an event")).unwrap();
            for _ in 0..100 {
                reader.receive(&[b'x'; 1000], &terms, &mut |_| panic!("an event")).unwrap();
                assert!(reader.kept() < 20_000);
            }
            reader.receive(b"\n", &terms, &mut |_| panic!("an event")).unwrap();
        }
        reader.receive(b"\n", &terms, &mut |_| panic!("an event")).unwrap();
        assert_eq!((reader.last_id.len(), reader.kept(), reader.left_out), (0, 0, false));
        reader.receive(b"event:", &terms, &mut |_| ()).unwrap();
        assert!((0..100).any(|_| reader.receive(&[b'x'; 1000], &terms, &mut |_| ()).is_err()));
    }

    #[test]
    fn what_an_encke_says_first() {
        let terms = Terms { channel: "c", prefix: "/", max_message: 100 };
        let stream = b"id: 5\nevent: recovered\ndata: yes\n\nid: 6\nevent: recovered\ndata: my own\n\n";
        for (says_recovered, expected) in [(true, &[&b"my own"[..]][..]), (false, &[b"yes", b"my own"])] {
            let mut found = Vec::new();
            let mut events = Events::new(Vec::new(), says_recovered);
            events.receive(stream, &terms, &mut |part| found.push(part.letter.data)).unwrap();
            assert_eq!(found, expected);
            assert_eq!(events.last_id, b"6");
        }
    }

    #[test]
    fn what_is_no_text() {
        assert_eq!(read(&[b"data: \xff!\nid: a\0b\n\n"], 100).events, [(String::new(), "\u{fffd}!".into())]);
        assert_eq!(read(&[b"id: a\0b\ndata\n\n"], 100).last_id, "before");
        let terms = Terms { channel: "c", prefix: "/", max_message: 100 };
        assert!(Events::default().receive(b"event: a\x1bb\n", &terms, &mut |_| ()).is_err());
    }
}
