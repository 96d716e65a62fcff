//! Streams as they were recorded from the original daemon, as an encke sends them, and broken ones; at every cut.

use super::*;
use crate::engine::word::Text;
use crate::link::response::Framing;

/// Channel, type, sender, data, position of each message.
type Seen = Vec<(String, String, String, Vec<u8>, String)>;

fn read_as(framing: Framing, boundary: &str, pieces: &[&[u8]]) -> Result<(Seen, bool), Fault> {
    let terms = Terms { channel: "foo", prefix: "/msgbus/", max_message: 1000 };
    let mut parts = Parts::new(Body::new(framing), boundary.as_bytes());
    let (mut seen, mut over) = (Vec::new(), false);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for piece in pieces {
        over |= parts.receive(piece, &terms, &mut |part| {
            let Part { letter, position } = part;
            let [channel, kind, from] = [Text::Channel, Text::Kind, Text::From].map(|which| text(letter.text(which)));
            seen.push((channel, kind, from, letter.data, text(&position)));
        })?;
    }
    Ok((seen, over))
}

fn message(
    channel: &str,
    kind: &str,
    from: &str,
    data: &[u8],
    position: &str,
) -> (String, String, String, Vec<u8>, String) {
    (channel.into(), kind.into(), from.into(), data.into(), position.into())
}

/// Whole, cut in two at every place, and byte by byte.
fn at_every_cut(framing: Framing, boundary: &str, bytes: &[u8], expected: &Seen, over: bool) {
    let expected = (expected.clone(), over);
    assert_eq!(read_as(framing, boundary, &[bytes]).unwrap(), expected);
    for cut in 0..bytes.len() {
        assert_eq!(read_as(framing, boundary, &[&bytes[..cut], &bytes[cut..]]).unwrap(), expected, "{cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_as(framing, boundary, &single).unwrap(), expected);
}

/// The root subscription of the original over HTTP/1.1: a chunk for each message, no length.
#[test]
fn the_original_in_chunks() {
    let mut bytes = b"d\r\n--00MsgBus00\n\r\n\
        4b\r\nContent-Location: /msgbus/foo\nContent-Type: text/plain\n\nhello\n--00MsgBus00\n\r\n"
        .to_vec();
    bytes.extend_from_slice(
        b"49\r\nContent-Location: /msgbus/foo\nContent-Type: image/jpeg\n\n\xff\xd8\xff\xe0--00MsgBus00\n\r\n",
    );
    bytes.extend_from_slice(
        b"59\r\nFrom: alice\nContent-Location: /msgbus/a/b\nContent-Type: text/html\n\n<b>hi</b>--00MsgBus00\n\r\n",
    );
    bytes.extend_from_slice(b"27\r\nContent-Type: text/plain\n\n--00MsgBus00\n\r\n");
    let expected = vec![
        message("foo", "text/plain", "", b"hello\n", ""),
        message("foo", "image/jpeg", "", b"\xff\xd8\xff\xe0", ""),
        message("a/b", "text/html", "alice", b"<b>hi</b>", ""),
        message("foo", "text/plain", "", b"", ""),
    ];
    at_every_cut(Framing::Chunked, "00MsgBus00", &bytes, &expected, false);
}

/// The chunk decides, whatever the data looks like.
#[test]
fn data_that_looks_like_a_delimiter() {
    let data = b"a\n--00MsgBus00\nb--00MsgBus00\n\n";
    let part = [b"Content-Type: x\n\n", &data[..], b"--00MsgBus00\n"].concat();
    let bytes = [b"d\r\n--00MsgBus00\n\r\n", format!("{:x}\r\n", part.len()).as_bytes(), &part, b"\r\n"].concat();
    at_every_cut(Framing::Chunked, "00MsgBus00", &bytes, &vec![message("foo", "x", "", data, "")], false);
}

/// HTTP/1.0 of the original: a length, and the delimiter directly behind the data.
#[test]
fn the_original_until_the_connection_closes() {
    let bytes = b"--00MsgBus00\nContent-Type: text/plain\nContent-Length: 6\n\nhello\n--00MsgBus00\n\
        From: bob\nContent-Type: text/plain\nContent-Length: 0\n\n--00MsgBus00\n\
        Content-Type: text/plain\nContent-Length: 14\n\n--00MsgBus00\nx--00MsgBus00\n";
    let expected = vec![
        message("foo", "text/plain", "", b"hello\n", ""),
        message("foo", "text/plain", "bob", b"", ""),
        message("foo", "text/plain", "", b"--00MsgBus00\nx", ""),
    ];
    at_every_cut(Framing::Close, "00MsgBus00", bytes, &expected, false);
}

/// As an encke sends it: CRLF, lengths, channels, positions, and an end.
#[test]
fn ours() {
    let part = |n: u32, data: &str| {
        let part = format!(
            "Content-Type: text/plain\r\nContent-Length: {}\r\nFrom: zoe\r\nEncke-Channel: news\r\n\
             Encke-Position: 000000000000000a:{n}\r\n\r\n{data}\r\n--encke-part\r\n",
            data.len()
        );
        format!("{:x}\r\n{part}\r\n", part.len())
    };
    let bytes = format!("e\r\n--encke-part\r\n\r\n{}{}0\r\n\r\n", part(7, "hello"), part(8, "--encke-part\r\n\r\n"));
    let expected = vec![
        message("news", "text/plain", "zoe", b"hello", "000000000000000a:7"),
        message("news", "text/plain", "zoe", b"--encke-part\r\n\r\n", "000000000000000a:8"),
    ];
    at_every_cut(Framing::Chunked, "encke-part", bytes.as_bytes(), &expected, true);
}

/// What a proxy may make of the original: no chunks, no lengths, and an end that is said.
#[test]
fn delimiters_alone() {
    let bytes = b"ignored\r\n--b\r\nContent-Type: t\r\n\r\none\ntwo--b\n\nthree--b--\r\nrest";
    let expected = vec![message("foo", "t", "", b"one\ntwo", ""), message("foo", "", "", b"three", "")];
    at_every_cut(Framing::Close, "b", bytes, &expected, true);
}

/// A message in several chunks is put together again.
#[test]
fn chunks_that_were_cut() {
    let bytes = b"d\r\n--00MsgBus00\n\r\n10\r\nContent-Type: x\n\r\n3\r\n\nab\r\n10\r\ncd--00MsgBus00\n\n\r\n";
    // The last chunk ends behind a byte that is no delimiter: the message goes on.
    let (seen, _) = read_as(Framing::Chunked, "00MsgBus00", &[bytes]).unwrap();
    assert_eq!(seen, vec![]);
    let bytes = b"d\r\n--00MsgBus00\n\r\n10\r\nContent-Type: x\n\r\n3\r\n\nab\r\nf\r\ncd--00MsgBus00\n\r\n";
    at_every_cut(Framing::Chunked, "00MsgBus00", bytes, &vec![message("foo", "x", "", b"abcd", "")], false);
}

#[test]
fn broken_streams_end() {
    let close = |bytes: &str| read_as(Framing::Close, "b", &[bytes.as_bytes()]).err().unwrap_or_default().into_owned();
    for (bytes, why) in [
        ("--b\nContent-Length: 2\n\nabxx\n", "missing"),
        (&format!("--b\nContent-Length: 2\n\nab{}", "x".repeat(100)), "delimiter between messages is missing"),
        ("--b\nContent-Length: -2\n\n", "no number"),
        ("--b\nContent-Length: 99999999999999999999\n\n", "no number"),
        ("--b\nContent-Length: 2\nContent-Length: 2\n\n", "no number"),
        ("--b\nContent-Length: 1001\n\n", "larger than 1000"),
        ("--b\nno field\n\n", "no colon"),
        ("--b\nFrom: a\u{1}b\n\n", "control character"),
        (&format!("--b\nA: {}", "x".repeat(MAX_FIELDS)), "fields of a message are too large"),
        (&"x".repeat(MAX_FIELDS + 1), "missing"),
        (&"x\n".repeat(MAX_FIELDS), "missing"),
        (&format!("--b\nContent-Length: 1\n\nx{}", "\n".repeat(2 * MAX_FIELDS)), "missing"),
        (&format!("--b\nA: b\n\n{}", "x".repeat(2000)), "larger than 1000"),
    ] {
        assert!(close(bytes).contains(why), "{bytes:?}: {:?}", close(bytes));
    }
    let chunked = |bytes: &str| read_as(Framing::Chunked, "b", &[bytes.as_bytes()]);
    assert!(chunked("xyz\r\n").is_err());
    assert!(chunked("fffffffffffffffff\r\n").is_err());
    assert!(chunked("4\r\n--b\n\r\nffff\r\nA: b\n\nxxxxx").is_ok());
}

/// A promise of much takes no memory before it is kept.
#[test]
fn a_length_is_no_memory() {
    let terms = Terms { channel: "foo", prefix: "/", max_message: u64::MAX };
    let mut parts = Parts::new(Body::Close, b"b");
    parts.receive(b"--b\nContent-Length: 9999999999999999999\n\nx", &terms, &mut |_| ()).unwrap();
    assert!(parts.kept() <= MOST_AT_ONCE);
    parts.receive(b"--b\n", &terms, &mut |_| ()).unwrap();
    let mut parts = Parts::new(Body::Close, b"b");
    parts.receive(format!("--b\nA: b\n\n{}", "x".repeat(500)).as_bytes(), &terms, &mut |_| ()).unwrap();
}
