//! Response heads: the bytes as they go out, and the fields that may not.

use super::*;
use crate::every;

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

const PLAIN: ResponseHead<'_> = ResponseHead {
    status: 200,
    lines: b"",
    date: None,
    server: None,
    content_type: None,
    length: Length::None,
    persistence: Persistence::Default,
};

fn head(head: &ResponseHead<'_>) -> String {
    let mut out = b"before".to_vec();
    append_head(&mut out, head);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

fn field(name: &str, value: &str, place: Place) -> Result<(String, Seen), &'static str> {
    let mut out = Vec::new();
    let mut seen = Seen::default();
    let result = append_field(&mut out, name.as_bytes(), value.as_bytes(), place, &mut seen);
    if result.is_err() {
        assert!(out.is_empty() && seen == Seen::default(), "{name}");
    }
    result.map(|()| (String::from_utf8(out).unwrap(), seen))
}

#[test]
fn heads() {
    assert_eq!(head(&PLAIN), "HTTP/1.1 200 OK\r\n\r\n");
    let full = ResponseHead {
        lines: b"etag: \"1\"\r\nvary: a\r\n",
        date: Some(DATE),
        server: Some(b"encke"),
        content_type: Some(b"text/plain"),
        length: Length::Exact(1234),
        persistence: Persistence::KeepAlive,
        ..PLAIN
    };
    assert_eq!(
        head(&full),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: encke\r\nContent-Type: text/plain\r\n\
         etag: \"1\"\r\nvary: a\r\nContent-Length: 1234\r\nConnection: keep-alive\r\n\r\n"
    );
    let chunked = ResponseHead { length: Length::Chunked, persistence: Persistence::Close, ..PLAIN };
    assert_eq!(head(&chunked), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    let switching = ResponseHead { status: 101, persistence: Persistence::Upgrade, ..PLAIN };
    assert_eq!(head(&switching), "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n");
    for length in [0, 9, 10, 99, 100, 65_535, u64::MAX] {
        let text = head(&ResponseHead { length: Length::Exact(length), ..PLAIN });
        assert_eq!(text, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
    }
}

#[test]
fn status_lines() {
    for status in 100..=999 {
        assert_eq!(head(&ResponseHead { status, ..PLAIN }), format!("HTTP/1.1 {status} {}\r\n\r\n", reason(status)));
    }
    assert_eq!(head(&ResponseHead { status: 299, ..PLAIN }), "HTTP/1.1 299 \r\n\r\n");
    for (status, phrase) in
        [(103, "Early Hints"), (207, "Multi-Status"), (425, "Too Early"), (451, "Unavailable For Legal Reasons")]
    {
        assert_eq!(reason(status), phrase);
    }
    assert_eq!((reason(0), reason(99), reason(418), reason(600)), ("", "", "", ""));
}

/// What is remembered of the head before never shows in another one.
#[test]
fn a_remembered_head_is_only_repeated_for_equal_parts() {
    const OTHER: &[u8; 29] = b"Mon, 07 Nov 1994 08:49:37 GMT";
    let mut heads = Vec::new();
    for status in [200, 404, 299] {
        for date in [None, Some(DATE), Some(OTHER)] {
            for name in [None, Some(&b""[..]), Some(b"a"), Some(b"b")] {
                for length in [Length::None, Length::Exact(1), Length::Exact(2), Length::Chunked] {
                    for persistence in [Persistence::Default, Persistence::Close] {
                        let named = status == 404;
                        let lines = if named { &b""[..] } else { b"x: y\r\n" };
                        let (server, content_type) = if named { (name, None) } else { (None, name) };
                        heads.push(ResponseHead { status, lines, date, server, content_type, length, persistence });
                    }
                }
            }
        }
    }
    let mut frame = Frame::default();
    for (i, first) in heads.iter().enumerate().step_by(every(11)) {
        for second in [first, &heads[(i + 1) % heads.len()], &heads[(i * 7 + 3) % heads.len()]] {
            let mut out = Vec::new();
            frame.append_head(&mut out, second);
            assert_eq!(String::from_utf8(out).unwrap(), head(second));
        }
    }
}

/// Eight bytes are looked at together: every byte is found at every place.
#[test]
fn every_byte_of_a_value_at_every_place() {
    for len in 1..20 {
        for at in 0..len {
            for byte in (0..=255).step_by(every(51)) {
                let mut value = vec![b'a'; len];
                value[at] = byte;
                let valid = byte == b'\t' || byte >= b' ' && byte != 0x7f;
                assert_eq!(valid_value(&value).is_ok(), valid, "{byte:#x} at {at} of {len}");
            }
        }
    }
}

#[test]
fn fields() {
    assert_eq!(field("ETag", "\"1\"", Place::Answer).unwrap().0, "ETag: \"1\"\r\n");
    assert_eq!(field("a", " \tb c\t ", Place::Answer).unwrap().0, "a: b c\r\n");
    assert_eq!(field("a", "", Place::Answer).unwrap().0, "a: \r\n");
    assert_eq!(field("a", "\u{e9}\tb", Place::Answer).unwrap().0, "a: \u{e9}\tb\r\n");
    let seen = |name| field(name, "x", Place::Answer).unwrap().1;
    assert_eq!(seen("DATE"), Seen { date: true, ..Seen::default() });
    assert_eq!(seen("Server"), Seen { server: true, ..Seen::default() });
    assert_eq!(seen("content-type"), Seen { content_type: true, ..Seen::default() });
    assert_eq!(seen("x-date"), Seen::default());
}

#[test]
fn names_and_values_are_checked() {
    for (name, what) in [
        ("", "empty"),
        ("a b", "space"),
        (" a", "space"),
        ("a\t", "space"),
        ("a:", "colon"),
        ("a\r", "line end"),
        ("a\nb", "line end"),
        ("a\0", "control"),
        ("a\x7f", "control"),
        ("a(", "not of a token"),
        ("\u{e9}", "not of a token"),
    ] {
        let text = field(name, "x", Place::Answer).unwrap_err();
        assert!(text.contains(what), "{name:?}: {text}");
    }
    for (value, what) in [
        ("a\rb", "CR"),
        ("a\nb", "LF"),
        ("a\r\nb: c", "CR"),
        ("a\r\n", "CR"),
        ("\n", "LF"),
        ("a\0", "NUL"),
        ("\x01", "control"),
        ("a\x7f", "control"),
        ("\x0b", "control"),
    ] {
        let text = field("a", value, Place::Answer).unwrap_err();
        assert!(text.contains(what), "{value:?}: {text}");
        assert_eq!(valid_content_type(value.as_bytes()), Err(text));
    }
    for b in 0..=255u8 {
        let mut out = Vec::new();
        let taken = append_field(&mut out, &[b], b"x", Place::Answer, &mut Seen::default()).is_ok();
        assert_eq!(taken, is_tchar(b), "{b:#x}");
        let taken = append_field(&mut out, b"x", &[b'a', b, b'a'], Place::Answer, &mut Seen::default()).is_ok();
        assert_eq!(taken, b == b'\t' || (b >= 0x20 && b != 0x7f), "{b:#x}");
    }
    assert!(valid_content_type(b"text/html; charset=utf-8").is_ok());
    assert!(valid_content_type(b"").is_err() && valid_content_type(b" ").is_err());
}

#[test]
fn the_library_keeps_its_own_fields() {
    for place in [Place::Answer, Place::Inform, Place::Switching, Place::Trailer] {
        for name in ["Content-Length", "transfer-encoding", "CONNECTION", "Keep-Alive", "Trailer", "Upgrade"] {
            let result = field(name, "x", place);
            if place == Place::Switching && name == "Upgrade" {
                assert!(result.is_ok());
            } else {
                let text = result.unwrap_err();
                assert!(text.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase()), "{name}: {text}");
            }
        }
    }
}

#[test]
fn trailers_carry_no_control_data() {
    let own = ["date", "content-type"];
    for name in own.iter().chain(NOT_IN_TRAILERS) {
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(field(name, "x", Place::Answer).is_ok(), "{name}");
        for spelling in [name.to_string(), name.to_ascii_uppercase()] {
            assert!(field(&spelling, "x", Place::Trailer).unwrap_err().contains("trailer"), "{name}");
        }
    }
    for name in ["etag", "server-timing", "content-digest", "x-checksum", "grpc-status"] {
        assert!(field(name, "x", Place::Trailer).is_ok(), "{name}");
    }
}

#[test]
fn chunk_sizes() {
    for n in [1, 9, 10, 15, 16, 255, 256, 500, 65_536, usize::MAX] {
        let mut out = Vec::new();
        append_chunk_size(&mut out, n);
        assert_eq!(out, format!("{n:x}\r\n").as_bytes());
    }
    assert_eq!(LAST_CHUNK, b"0\r\n\r\n");
}

#[test]
fn statuses_without_content() {
    let without: Vec<u16> = (100..=999).filter(|&status| bodiless(status)).collect();
    let expected: Vec<u16> = (100..=199).chain([204, 304]).collect();
    assert_eq!(without, expected);
}
