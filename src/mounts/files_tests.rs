use super::super::tests::{head, mount, options};
use super::super::Options;
use super::*;

const NOW: u64 = 1_795_164_023;
const FACTS: Facts = Facts { size: 100, seconds: NOW - 10, nanoseconds: 1, inode: 7 };

fn responded(fields: &str, facts: Facts) -> Reply {
    let (mount, head) = (mount(options("/")), head(&format!("GET /a HTTP/1.1\r\nHost: l\r\n{fields}\r\n")));
    respond(&mount, &Files::new(false, true), &head, (&facts, None), "text/plain".into(), NOW)
}

fn has(reply: &Reply, line: &str) -> bool {
    String::from_utf8(reply.lines.clone()).unwrap().split("\r\n").any(|other| other == line)
}

#[test]
fn the_whole_file() {
    let reply = responded("", FACTS);
    assert_eq!((reply.status, reply.content_type.as_deref()), (200, Some("text/plain")));
    assert_eq!(reply.content, Content::Range(Range { start: 0, len: 100 }));
    for line in ["ETag: \"6b00076d.1-64-7\"", "Accept-Ranges: bytes", "Vary: Accept-Encoding"] {
        assert!(has(&reply, line), "{line} {:?}", String::from_utf8(reply.lines.clone()));
    }
}

#[test]
fn conditions_and_ranges() {
    let tag = "If-None-Match: \"6b00076d.1-64-7\"\r\n";
    assert_eq!(responded(tag, FACTS).status, 304);
    assert_eq!(responded(&format!("{tag}Range: bytes=0-1\r\n"), FACTS).status, 304);
    assert_eq!(responded("If-Match: \"x\"\r\n", FACTS).status, 412);
    let one = responded("Range: bytes=90-\r\n", FACTS);
    assert_eq!((one.status, has(&one, "Content-Range: bytes 90-99/100")), (206, true));
    assert_eq!(one.content, Content::Range(Range { start: 90, len: 10 }));
    let none = responded("Range: bytes=100-\r\n", FACTS);
    assert_eq!((none.status, has(&none, "Content-Range: bytes */100")), (416, true));
    assert_eq!(responded("Range: bytes=0-1\r\nIf-Range: \"x\"\r\n", FACTS).status, 200);
}

#[test]
fn several_ranges() {
    let reply = responded("Range: bytes=0-1,5-6\r\n", FACTS);
    assert_eq!(reply.status, 206);
    let kind = reply.content_type.unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let Content::Ranges(parts, end) = reply.content else { panic!() };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        text(&parts[0].0),
        format!("--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/100\r\n\r\n")
    );
    assert_eq!(
        text(&parts[1].0),
        format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-6/100\r\n\r\n")
    );
    assert_eq!(parts[1].1, Range { start: 5, len: 2 });
    assert_eq!(text(&end), format!("\r\n--{boundary}--\r\n"));
    let other = responded("Range: bytes=0-1,5-6\r\n", Facts { inode: 8, ..FACTS });
    assert_ne!(other.content_type.unwrap(), kind);
}

/// The host's type stands in every answer, and it has no boundary.
#[test]
fn a_type_of_the_host_knows_no_parts() {
    let seen = crate::http1::response::Seen { content_type: true, ..Default::default() };
    let mount = mount(Options { seen, ..options("/") });
    let head = head("GET /a HTTP/1.1\r\nHost: l\r\nRange: bytes=0-1,5-6\r\n\r\n");
    let reply = respond(&mount, &Files::new(false, true), &head, (&FACTS, None), "text/plain".into(), NOW);
    assert_eq!((reply.status, reply.content), (200, Content::Range(Range { start: 0, len: 100 })));
}

#[test]
fn a_file_that_is_still_written_has_a_weak_tag() {
    let young = Facts { seconds: NOW - 1, ..FACTS };
    assert!(validators(&young, NOW).weak && !validators(&FACTS, NOW).weak);
    assert_eq!(validators(&Facts { seconds: NOW + 100, ..FACTS }, NOW).modified, NOW);
}

#[test]
fn encodings() {
    use Encoding::*;
    for (field, expected) in [
        ("", &[][..]),
        ("gzip, deflate, br", &[Brotli, Gzip]),
        ("gzip", &[Gzip]),
        ("GZip;q=1, br;q=0.5", &[Gzip, Brotli]),
        ("br;q=0, *", &[Gzip]),
        ("*;q=0", &[]),
        ("x-gzip; q=0.001", &[Gzip]),
        ("gzip;q=0.000", &[]),
        ("gzip;q=2", &[]),
        ("identity", &[]),
    ] {
        let head = head(&format!("GET / HTTP/1.0\r\nAccept-Encoding: {field}\r\n\r\n"));
        assert_eq!(accepted(&head), expected, "{field}");
    }
}

#[test]
fn types() {
    for (name, expected) in [
        ("a/index.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.min.json", "application/json"),
        ("a.png", "image/png"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("dir.png/file", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("a.", "application/octet-stream"),
    ] {
        assert_eq!(content_type(name.as_bytes()), expected, "{name}");
    }
    assert_eq!(content_type(b"\xff.txt"), "application/octet-stream");
}

#[test]
fn what_is_no_file() {
    let files = Files::new(false, false);
    let step = |options: Options, request: &str| {
        begin(&mount(options), &files, &head(&format!("{request} HTTP/1.1\r\nHost: l\r\n\r\n")))
    };
    for (request, status) in
        [("POST /a", 405), ("OPTIONS /a", 405), ("GET /%zz", 400), ("GET /..%2f", 404), ("GET /.git", 404)]
    {
        let Step::Reply(reply) = step(options("/"), request) else { panic!("{request}") };
        assert_eq!(reply.status, status, "{request}");
        assert_eq!(has(&reply, "Allow: GET, HEAD"), status == 405);
    }
    assert!(matches!(step(options("/"), "HEAD /a"), Step::Open(_)));
    let guard = Some(super::super::authorization::Guard::new(b"x", "files"));
    let Step::Reply(reply) = step(Options { guard, ..options("/") }, "GET /a") else { panic!() };
    assert_eq!(reply.status, 401);
}

#[test]
fn directories() {
    let reply = redirect(&mount(options("/")), &head("GET /a%20b?c=d HTTP/1.0\r\n\r\n"));
    assert_eq!((reply.status, has(&reply, "Location: /a%20b/?c=d")), (301, true));
}
