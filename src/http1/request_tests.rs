//! Every rule of a request head, each as bytes.

use super::super::grammar::is_tchar;
use super::*;
use crate::every;

pub(super) const LIMITS: Limits = Limits { max_head: 8192, max_fields: 100, allow_connect: false };
pub(super) const WITH_CONNECT: Limits = Limits { allow_connect: true, ..LIMITS };

fn parse_with(bytes: &[u8], limits: &Limits) -> Result<RequestHead, Fault> {
    let mut head = RequestHead::default();
    match parse(bytes, limits, &mut head)? {
        Parsed::Complete => {
            check_invariants(bytes, &head);
            Ok(head)
        }
        Parsed::Partial => panic!("partial: {:?}", String::from_utf8_lossy(bytes)),
    }
}

#[track_caller]
fn ok(text: &str) -> RequestHead {
    parse_with(text.as_bytes(), &LIMITS).unwrap_or_else(|fault| panic!("{text:?}: {fault:?}"))
}

#[track_caller]
fn fault(text: &str) -> Fault {
    parse_with(text.as_bytes(), &LIMITS).expect_err(text)
}

/// The request with this field, besides Host.
#[track_caller]
fn with(field: &str) -> RequestHead {
    ok(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"))
}

/// A fault that names `what`, in a request with this field besides Host.
#[track_caller]
fn field_fault(field: &str, status: u16, what: &str) {
    named(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"), status, what);
}

#[track_caller]
fn named(text: &str, status: u16, what: &str) {
    let fault = fault(text);
    assert_eq!((fault.status, fault.text.contains(what)), (status, true), "{text:?}: {fault:?}");
}

/// What the engine builds on.
pub(super) fn check_invariants(bytes: &[u8], head: &RequestHead) {
    let all = &bytes[..head.len];
    assert!(all.ends_with(b"\r\n\r\n"));
    assert_eq!(all[head.method.end()], b' ');
    assert_eq!(all[head.target.end()], b' ');
    assert!(head.method.len > 0 && head.target.len > 0);
    for part in [head.path, head.query, head.host] {
        assert!(part.end() < head.len);
        assert_eq!(part.of(bytes).len(), part.len as usize);
    }
    for part in [head.path, head.query].iter().filter(|part| part.len > 0) {
        assert!(part.start >= head.target.start && part.end() <= head.target.end());
    }
    for field in &head.fields {
        assert!(field.name.len > 0);
        assert!(is_token(field.name.of(bytes)));
        assert_eq!(all[field.name.end()], b':');
        assert!(matches!(all[field.value.end()], b'\r' | b' ' | b'\t'));
        assert!(field.value.start as usize > field.name.end());
        let value = field.value.of(bytes);
        assert_eq!(trim_ows(value), value);
        assert!(!value.iter().any(|&b| (b < 0x20 && b != b'\t') || b == 0x7f));
    }
    assert_eq!(head.is_connect, head.method.of(bytes) == b"CONNECT");
    assert_eq!(head.is_head, head.method.of(bytes) == b"HEAD");
    if head.minor == 1 {
        assert!(head.host.len > 0);
    }
}

#[test]
fn parts_of_a_head() {
    let text = "POST /p/q?r=s HTTP/1.1\r\nhOST: h:1\r\nX-A:\t b c \t\r\nX-B:\r\ncontent-LENGTH: 042\r\n\r\nrest";
    let head = ok(text);
    let bytes = text.as_bytes();
    assert_eq!(head.len, text.len() - 4);
    assert_eq!(head.method.of(bytes), b"POST");
    assert_eq!(head.target.of(bytes), b"/p/q?r=s");
    assert_eq!(head.path.of(bytes), b"/p/q");
    assert_eq!(head.query.of(bytes), b"r=s");
    assert_eq!(head.host.of(bytes), b"h:1");
    assert_eq!((head.minor, head.framing, head.keep_alive), (1, Framing::Length(42), true));
    let fields: Vec<(&[u8], &[u8])> = head.fields.iter().map(|f| (f.name.of(bytes), f.value.of(bytes))).collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"hOST", b"h:1"), (b"X-A", b"b c"), (b"X-B", b""), (b"content-LENGTH", b"042")];
    assert_eq!(fields, expected);
    assert!(!head.is_safe && !head.is_head && !head.upgrade && !head.websocket && !head.expect_continue);
    assert_eq!(Span { start: 90, len: 4 }.of(b"short"), b"");
}

#[test]
fn a_head_is_reused() {
    let mut head = RequestHead::default();
    let first = b"CONNECT a:1 HTTP/1.0\r\nX: y\r\nConnection: keep-alive, upgrade\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(parse(first, &WITH_CONNECT, &mut head), Ok(Parsed::Complete));
    let second = b"GET * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(second, &WITH_CONNECT, &mut head).unwrap_err().status, 400);
    let third = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(third, &WITH_CONNECT, &mut head), Ok(Parsed::Complete));
    let fresh = parse_with(third, &WITH_CONNECT).unwrap();
    assert_eq!(format!("{head:?}"), format!("{fresh:?}"));
}

#[test]
fn methods() {
    for (method, safe) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("POST", false),
        ("get", false),
        ("M-SEARCH", false),
        ("!#$%&'*+-.^_`|~09", false),
    ] {
        let head = ok(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((head.is_safe, head.is_head), (safe, method == "HEAD"), "{method}");
    }
    for b in (0..=255u8).filter(|&b| !is_tchar(b) && b != b' ') {
        let mut bytes = b"GET".to_vec();
        bytes.push(b);
        bytes.extend_from_slice(b"X / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(parse_with(&bytes, &LIMITS).unwrap_err().status, 400, "{b:#x}");
    }
}

#[test]
fn request_lines() {
    named("GET  / HTTP/1.1\r\n", 400, "more than one space");
    named("GET /  HTTP/1.1\r\n", 400, "more than one space");
    named(" GET / HTTP/1.1\r\n", 400, "before the method");
    named("\tGET / HTTP/1.1\r\n", 400, "before the method");
    named("GET\t/ HTTP/1.1\r\n", 400, "method");
    named("GET /\tHTTP/1.1\r\n", 400, "control character in the request target");
    named("GET / HTTP/1.1 \r\n", 400, "behind the HTTP version");
    named("GET /a b HTTP/1.1\r\n", 400, "malformed HTTP version");
    named("GET /\r\nHost: a\r\n\r\n", 400, "without a version");
    named("GET / \r\nHost: a\r\n\r\n", 400, "without a version");
    named("GET\r\nHost: a\r\n\r\n", 400, "without a target");
    named("GET \r\nHost: a\r\n\r\n", 400, "without a target");
    named("GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "bare CR");
    named("GET / HTTP/1.1\r\rHost: a\r\n\r\n", 400, "bare CR");
    named("\x16\x03\x01\x02\x00\x01", 400, "method");
}

#[test]
fn versions() {
    assert_eq!(ok("GET / HTTP/1.0\r\n\r\n").minor, 0);
    for minor in 1..=9 {
        let text = format!("GET /x HTTP/1.{minor}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5");
        let head = ok(&text);
        assert_eq!((head.minor, head.framing, head.len), (1, Framing::Chunked, text.len() - 1));
        assert_eq!(head.target.of(text.as_bytes()), b"/x");
    }
    named("GET / HTTP/1.2\r\n\r\n", 400, "Host missing");
    named("GET / HTTP/1.2\nHost: a\n\n", 400, "bare LF");
    named("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version");
    named("GET / HTTP/0.9\r\n\r\n", 505, "version");
    named("GET / HTTP/3.1\r\n\r\n", 505, "version");
    for version in
        ["HTTP/1", "HTTP/2", "HTTP/1.", "HTTP/11.1", "HTTP/1.10", "HTTP/1.1a", "HTTP/1.2a", "HTTP/1,1", "HTTP/a.1"]
    {
        named(&format!("GET / {version}\r\nHost: a\r\n\r\n"), 400, "malformed HTTP version");
    }
    for version in ["http/1.1", "HTTP1.1", "HTTPS/1.1", "ICE/1.0", "/1.1", "HTTP /1.1", "HTTP/ 1.1", "HTTP/+1.1"] {
        named(&format!("GET / {version}\r\nHost: a\r\n\r\n"), 400, "malformed HTTP version");
    }
}

#[test]
fn line_ends() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\nY: z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y \n\r\n",
        "GET / HTTP/1.0\n\r\n",
        "GET / HTTP/1.0\r\n\n",
        "GET / HTTP/1.1\nHost: a\n\n",
    ] {
        named(text, 400, "bare LF");
    }
    for text in [
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
    ] {
        named(text, 400, "bare CR");
    }
}

#[test]
fn empty_lines_before() {
    for count in 0..=8 {
        let text = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\nnext", "\r\n".repeat(count));
        let head = ok(&text);
        assert_eq!(head.len, text.len() - 4);
        assert_eq!(head.method.of(text.as_bytes()), b"GET");
    }
    named(&format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(9)), 400, "too many empty lines");
    named("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare LF");
    named("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare LF");
    named("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare CR");
    named("\r\n\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare CR");
}

#[test]
fn field_syntax() {
    field_fault("X : y", 400, "before the colon");
    field_fault("X\t: y", 400, "before the colon");
    field_fault("X", 400, "without a colon");
    field_fault(": y", 400, "without a name");
    field_fault("X(: y", 400, "field name");
    field_fault("X: y\r\n z", 400, "line folding");
    field_fault("X: y\r\n\tz: a", 400, "line folding");
    field_fault("X: y\r\n ", 400, "line folding");
    named("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "before the first field");
    field_fault("X: a\0b", 400, "NUL");
    field_fault("X: a\x0bb", 400, "control character");
    field_fault("X: a\x7fb", 400, "control character");
    with("X: \u{e9} \"'(){}<>@,;:\\/[]?=");
}

/// httparse picks its code by the processor and by what is left of the input, so bytes are tried at several places.
#[test]
fn every_byte_in_every_place() {
    let filler = "abcdefgh".repeat(9);
    for b in (0..=255u8).step_by(every(51)) {
        for at in [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 71] {
            let mut piece = filler.clone().into_bytes();
            piece[at] = b;
            let build = |before: &str, after: &str| [before.as_bytes(), &piece, after.as_bytes()].concat();
            let tail = " HTTP/1.1\r\nHost: a\r\n\r\n";
            let in_target = parse_with(&build("GET /", tail), &LIMITS).is_ok();
            assert_eq!(in_target, (0x21..0x7f).contains(&b) && b != b'#', "target {b:#x} at {at}");
            let in_name = parse_with(&build("GET / HTTP/1.1\r\nHost: a\r\n", ": x\r\n\r\n"), &LIMITS);
            // A colon ends the name earlier; at the start there is none then.
            let named = is_tchar(b) || (b == b':' && at > 0);
            assert_eq!(in_name.is_ok(), named, "name {b:#x} at {at}");
            let in_value = parse_with(&build("GET / HTTP/1.1\r\nHost: a\r\nX:", "\r\n\r\n"), &LIMITS);
            assert_eq!(in_value.is_ok(), b == b'\t' || (b >= 0x20 && b != 0x7f), "value {b:#x} at {at}");
        }
    }
}

#[test]
fn targets() {
    let head = ok("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.path.len, head.target.len), (1, 1));
    named("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "OPTIONS");
    named("GET a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor");
    named("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment");
    named("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "non-ASCII");

    let text = "GET http://b:81?q HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = ok(text);
    assert_eq!(head.host.of(text.as_bytes()), b"b:81");
    assert_eq!((head.path.len, head.query.of(text.as_bytes())), (0, &b"q"[..]));
    named("GET http://b/ HTTP/1.1\r\n\r\n", 400, "Host missing");
    named("GET http://b/ HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "in the host");
    named("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "user information");
    let text = "GET http://b/ HTTP/1.0\r\n\r\n";
    assert_eq!(ok(text).host.of(text.as_bytes()), b"b");
}

#[test]
fn connect() {
    let text = "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n";
    named(text, 501, "CONNECT");
    let head = parse_with(text.as_bytes(), &WITH_CONNECT).unwrap();
    assert!(head.is_connect && head.upgrade && !head.is_safe && !head.websocket);
    assert_eq!((head.path.len, head.query.len), (0, 0));
    assert_eq!(head.host.of(text.as_bytes()), b"b:443");
    for target in ["b", "b:", "/", "*", "http://b:443", "u@b:443", "b:443/"] {
        let text = format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(parse_with(text.as_bytes(), &WITH_CONNECT).unwrap_err().status, 400, "{target}");
    }
}

#[test]
fn hosts() {
    for host in ["a", "a:", "a:80", "[::1]:80", "a_b", "%41"] {
        let text = format!("GET / HTTP/1.1\r\nHost:  {host} \r\n\r\n");
        assert_eq!(ok(&text).host.of(text.as_bytes()), host.as_bytes());
    }
    named("GET / HTTP/1.1\r\nX: y\r\n\r\n", 400, "Host missing");
    named("GET / HTTP/1.1\r\n\r\n", 400, "Host missing");
    named("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host is empty");
    named("GET / HTTP/1.1\r\nHost: \t\r\n\r\n", 400, "host is empty");
    field_fault("Host: a", 400, "Host repeated");
    field_fault("HOST: b", 400, "Host repeated");
    for (host, what) in [
        ("u@a", "user information"),
        ("a/b", "path"),
        ("a b", "invalid character"),
        ("a, b", "invalid character"),
        ("a:x", "not a number"),
        ("a:65536", "out of range"),
        ("[::g]", "IP literal"),
        ("[::1", "not closed"),
        (":80", "empty"),
        ("a%", "percent"),
        ("http://a", "not a number"),
    ] {
        named(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, what);
        named(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"), 400, what);
    }
    assert_eq!(ok("GET / HTTP/1.0\r\n\r\n").host, Span::default());
}

#[test]
fn content_lengths() {
    for (value, length) in [("0", 0), ("00", 0), ("7", 7), ("18446744073709551615", u64::MAX)] {
        assert_eq!(with(&format!("Content-Length: {value}")).framing, Framing::Length(length));
    }
    for (value, what) in [
        ("", "empty"),
        ("+5", "sign"),
        ("-5", "sign"),
        ("5,5", "list"),
        ("5, 5", "list"),
        ("5 5", "not a number"),
        ("0x5", "not a number"),
        ("5a", "not a number"),
        ("5.0", "not a number"),
        ("1_0", "not a number"),
        ("\u{665}", "not a number"),
        ("18446744073709551616", "out of range"),
        ("99999999999999999999999", "out of range"),
    ] {
        field_fault(&format!("Content-Length: {value}"), 400, what);
    }
    field_fault("Content-Length: 5\r\nContent-Length: 5", 400, "repeated");
    field_fault("Content-Length: 5\r\ncontent-length: 6", 400, "repeated");
}

#[test]
fn transfer_encodings() {
    for value in ["chunked", "CHUNKED", " \tchunked\t"] {
        assert_eq!(with(&format!("Transfer-Encoding: {value}")).framing, Framing::Chunked);
    }
    for (value, status) in [
        ("gzip", 501),
        ("gzip, chunked", 501),
        ("identity", 501),
        ("xchunked", 501),
        ("gzip;a=b", 501),
        ("chunked, gzip", 400),
        ("chunked, chunked", 400),
        ("chunked, identity", 400),
        ("chunked;q=1", 400),
        ("chunked ;q=1", 400),
        ("chunked;", 400),
        ("chunked,", 400),
        (",chunked", 400),
        ("chunked gzip", 400),
        ("\"chunked\"", 400),
        ("chun\u{e9}ked", 400),
        ("", 400),
        (",", 400),
    ] {
        field_fault(&format!("Transfer-Encoding: {value}"), status, "");
    }
    field_fault("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400, "repeated");
    field_fault("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501, "coding");
    field_fault("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", 400, "final");
    field_fault("Transfer-Encoding: chunked\r\nTransfer-Encoding:", 400, "empty");
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: gzip",
        "Content-Length: 5\r\nTransfer-Encoding:",
    ] {
        field_fault(fields, 400, "beside");
    }
    named("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0");
    // Not these fields, whatever they look like.
    assert_eq!(with("Transfer_Encoding: chunked\r\nContent_Length: 5").framing, Framing::None);
    assert_eq!(with("Transfer-Encodinh: chunked\r\nContent-Lengti: 5").framing, Framing::None);
}

#[test]
fn persistence() {
    let on = |minor: u8, fields: &str| ok(&format!("GET / HTTP/1.{minor}\r\nHost: a\r\n{fields}\r\n")).keep_alive;
    for (fields, on_1_0, on_1_1) in [
        ("", false, true),
        ("Connection:\r\n", false, true),
        ("Connection: close\r\n", false, false),
        ("Connection: CLOSE\r\n", false, false),
        ("Connection: keep-alive\r\n", true, true),
        ("connection: Keep-Alive\r\n", true, true),
        ("Connection: keep-alive, close\r\n", false, false),
        ("Connection: close\r\nConnection: keep-alive\r\n", false, false),
        ("Connection: keep-alive\r\nConnection: x ,\tclose\r\n", false, false),
        ("Connection: ,, keep-alive ,\r\n", true, true),
        ("Connection: closed\r\n", false, true),
        ("Keep-Alive: timeout=5\r\n", false, true),
    ] {
        assert_eq!((on(0, fields), on(1, fields)), (on_1_0, on_1_1), "{fields:?}");
    }
}

#[test]
fn expectations() {
    assert!(with("Expect: 100-continue").expect_continue);
    assert!(with("Expect: 100-Continue, 100-continue").expect_continue);
    assert!(!with("Expect:").expect_continue);
    field_fault("Expect: 200-ok", 417, "expectation");
    field_fault("Expect: 100-continue, x", 417, "expectation");
    field_fault("Expect: x\r\nExpect: 100-continue", 417, "expectation");
    field_fault("Expect: x\r\nContent-Length: x", 400, "Content-Length");
    for value in ["100-continue", "x"] {
        let head = ok(&format!("GET / HTTP/1.0\r\nExpect: {value}\r\n\r\n"));
        assert!(!head.expect_continue);
    }
}

#[test]
fn upgrades() {
    assert!(with("Connection: upgrade\r\nUpgrade: h2c").upgrade);
    assert!(with("Connection: keep-alive, Upgrade\r\nUpgrade: a/1, b/2\r\nUpgrade: c").upgrade);
    for fields in [
        "Upgrade: h2c",
        "Connection: upgrade",
        "Connection: upgrade\r\nUpgrade:",
        "Connection: upgrade\r\nUpgrade: a b",
        "Connection: upgrade\r\nUpgrade: a/",
        "Connection: upgrade\r\nUpgrade: a/b/c",
        "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: @",
    ] {
        assert!(!with(fields).upgrade, "{fields:?}");
    }
    assert!(!ok("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n").upgrade);
}

#[test]
fn websocket_handshakes() {
    let good = "Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let head = with(good);
    assert!(head.websocket && head.upgrade);
    assert!(with(&good.replace("WebSocket\r\n", "h2c, websocket\r\n")).websocket);
    for (from, to) in [
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Upgrade: WebSocket", "Upgrade: websockets"),
        ("Upgrade: WebSocket", "Upgrade: websocket/13"),
        ("Version: 13", "Version: 8"),
        ("Version: 13", "Version: 013"),
        ("Version: 13", "Version: 13, 8"),
        ("Version: 13", "Version:"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
        ("Sec-WebSocket-Key: d", "X: d"),
        ("dGhlIHNhbXBsZSBub25jZQ==", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=A"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ-=="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQAA"),
        ("ZQ==", "ZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ("ZQ==", "ZQ==\r\nSec-WebSocket-Key: x"),
    ] {
        let fields = good.replacen(from, to, 1);
        assert_ne!(fields, good, "{from}");
        assert!(!with(&fields).websocket, "{fields:?}");
    }
    assert!(!ok(&format!("POST / HTTP/1.1\r\nHost: a\r\n{good}\r\n\r\n")).websocket);
    assert!(!ok(&format!("GET / HTTP/1.0\r\nHost: a\r\n{good}\r\n\r\n")).websocket);
}

#[test]
fn limits_of_size() {
    let text = "GET /0123456789 HTTP/1.1\r\nHost: a\r\nX: 0123456789\r\n\r\n";
    let line = text.find('\n').unwrap() + 1;
    for max_head in (0..text.len() + 9).step_by(every(13)) {
        let limits = Limits { max_head, ..LIMITS };
        // The bytes behind the head do not count, and the verdict does not wait for them.
        for bytes in [text.to_owned(), format!("{text}GET / HTTP/1.1\r\n")] {
            let mut head = RequestHead::default();
            let result = parse(bytes.as_bytes(), &limits, &mut head);
            match max_head {
                _ if max_head >= text.len() => assert_eq!(result, Ok(Parsed::Complete)),
                _ if max_head >= line => assert_eq!(result.unwrap_err().status, 431),
                _ => assert_eq!(result.unwrap_err().status, 414),
            }
        }
        let mut head = RequestHead::default();
        for end in 0..text.len() {
            let result = parse(&text.as_bytes()[..end], &limits, &mut head);
            assert_eq!(result.is_err(), end >= max_head, "{end} of {max_head}");
        }
    }
    // Empty lines count; they do not make the target look shorter than it is.
    let limits = Limits { max_head: 20, ..LIMITS };
    let padded = format!("\r\n\r\n{text}");
    assert_eq!(parse_with(padded.as_bytes(), &limits).unwrap_err().status, 414);
    let version = "GET /abcdefg HTTP/1.3\r\nHost: a\r\n\r\n";
    assert_eq!(parse_with(version.as_bytes(), &limits).unwrap_err().status, 414);
    let limits = Limits { max_head: 25, ..LIMITS };
    assert_eq!(parse_with(version.as_bytes(), &limits).unwrap_err().status, 431);
}

#[test]
fn limits_of_fields() {
    for max_fields in [0, 1, 2, 63, 64, 65, 100, 1023, 1024, 5000].into_iter().step_by(every(4)) {
        let limits = Limits { max_head: 1 << 20, max_fields, ..LIMITS };
        for count in [0, 1, 2, 3, 63, 64, 65, 66, 99, 100, 101, 1023, 1024, 1025, 4000].into_iter().step_by(every(3)) {
            let text = format!("GET / HTTP/1.0\r\n{}\r\n", "X: y\r\n".repeat(count));
            let result = parse_with(text.as_bytes(), &limits);
            if count <= max_fields.min(1024) {
                assert_eq!(result.unwrap().fields.len(), count);
            } else {
                let fault = result.unwrap_err();
                assert_eq!((fault.status, fault.text), (431, "too many fields"));
            }
        }
    }
    // Beyond the usual number the strictness is the same.
    let many = "X: y\r\n".repeat(90);
    named(&format!("GET / HTTP/1.0\r\n{many}X : y\r\n\r\n"), 400, "before the colon");
    named(&format!("GET / HTTP/1.0\r\n{many}X: y\n\r\n"), 400, "bare LF");
    named(&format!("GET / HTTP/1.0\r\n{many}Host:\r\n\r\n"), 400, "host is empty");
}
