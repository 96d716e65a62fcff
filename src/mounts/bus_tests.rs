use super::super::authorization::Guard;
use super::super::tests::{head, mount, options};
use super::super::Options;
use super::*;

const DATE: &[u8; 29] = b"Fri, 20 Nov 2026 08:40:23 GMT";

fn act(options: Options, request: &str) -> Action {
    act_for(options, request, Page::Own)
}

fn act_for(options: Options, request: &str, page: Page<'_>) -> Action {
    let (mount, head) = (mount(options), head(request));
    Bus::new(&mount, &head, DATE, page).act(&head)
}

fn text(answer: Answer<'static>) -> String {
    let Body::Owned(body) = &answer.body else { panic!() };
    String::from_utf8([&answer.lines, &b"\r\n"[..], body].concat()).unwrap()
}

fn answered(options: Options, request: &str) -> String {
    match act(options, request) {
        Action::Answer(answer) => text(answer),
        other => panic!("{other:?}"),
    }
}

fn publication(request: &str) -> Publication {
    match act(options("/msgbus/"), request) {
        Action::Publish(publication) => publication,
        other => panic!("{other:?}"),
    }
}

fn subscription(request: &str) -> Subscription {
    match act(options("/msgbus/"), request) {
        Action::Subscribe(subscribed) => subscribed.subscription,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_post_is_a_message() {
    let p = publication(
        "POST /msgbus/foo/bar?x=1 HTTP/1.1\r\nHost: l\r\nContent-Type: text/plain; charset=utf-8\r\nAuthorization: Basic YWxpY2U6cHc=\r\nEncke-Event: tick\r\nEncke-Key: k\r\n\r\n",
    );
    assert_eq!(&*p.channel, "foo/bar");
    let Parts { kind, from, event, key, .. } = &p.parts;
    assert_eq!([&kind[..], from, event, key], ["text/plain; charset=utf-8", "alice", "tick", "k"]);
    let p = publication("POST /msgbus/ HTTP/1.0\r\nContent-Type: a/b\r\n\r\n");
    assert_eq!((&*p.channel, &p.parts.from[..]), ("", ""));
}

#[test]
fn what_cannot_be_a_message() {
    let bad = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\nDate: Fri, 20 Nov 2026 08:40:23 GMT\r\nContent-Length: 94\r\n\r\n<HTML><HEAD>\n<TITLE>400 Bad Request</TITLE>\n</HEAD><BODY>\n<H1>Bad Request</H1>\n</BODY></HTML>\n";
    let post =
        |fields: &str| answered(options("/msgbus/"), &format!("POST /msgbus/a HTTP/1.1\r\nHost: l\r\n{fields}\r\n"));
    assert_eq!(post(""), bad);
    assert_eq!(post("Content-Type: \r\n"), bad);
    // A user who would add a field: "a\r\nX: y:".
    assert_eq!(post("Content-Type: a/b\r\nAuthorization: Basic YQ0KWDogeTo=\r\n"), bad);
    assert_eq!(post(&format!("Content-Type: {}\r\n", "x".repeat(1025))), bad);
    let long = answered(options("/msgbus/"), &format!("GET /msgbus/{} HTTP/1.1\r\nHost: l\r\n\r\n", "x".repeat(256)));
    assert!(long.starts_with("HTTP/1.1 414 URI Too Long\r\n"), "{long}");
}

#[test]
fn other_methods() {
    for method in ["PUT", "DELETE", "OPTIONS", "get"] {
        let got = answered(options("/msgbus/"), &format!("{method} /msgbus/foo HTTP/1.1\r\nHost: l\r\n\r\n"));
        assert_eq!(got, "HTTP/1.1 501 Not Implemented\r\nServer: msgbus\r\nDate: Fri, 20 Nov 2026 08:40:23 GMT\r\nContent-Length: 0\r\nContent-Type: text/html; charset=ISO-8859-1\r\n\r\n");
    }
    let got = answered(options("/msgbus/"), "HEAD /msgbus/foo HTTP/1.1\r\nHost: l\r\n\r\n");
    assert_eq!(got, "HTTP/1.1 501 Not Implemented\r\nServer: msgbus\r\nDate: Fri, 20 Nov 2026 08:40:23 GMT\r\n\r\n");
}

#[test]
fn a_get_is_a_subscription() {
    let s = subscription("GET /msgbus/foo?type=text%2F*,!text/html&sender=al*&type=x HTTP/1.1\r\nHost: l\r\n\r\n");
    assert_eq!(s.patterns, ["foo".into()]);
    assert_eq!(s.transport, Some(Transport::Bus));
    let filter = s.filter.unwrap();
    assert_eq!((&*filter.types, &*filter.from, filter.anonymous), ("text/*,!text/html", "al*", true));
    assert_eq!(
        String::from_utf8(s.lines).unwrap(),
        "HTTP/1.1 200 OK\r\nServer: msgbus\r\nContent-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\nTransfer-Encoding: chunked\r\nDate: Fri, 20 Nov 2026 08:40:23 GMT\r\n"
    );
    let s = subscription("GET /msgbus/?type=*&sender=%2A HTTP/1.0\r\n\r\n");
    assert_eq!((s.patterns, s.filter), (vec!["*".into()], None));
    assert_eq!(
        String::from_utf8(s.lines).unwrap(),
        "HTTP/1.0 200 OK\r\nServer: msgbus\r\nContent-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\n"
    );
    let s = subscription("GET /msgbus/* HTTP/1.0\r\n\r\n");
    assert_eq!(s.patterns, ["%2A".into()]);
}

#[test]
fn who_asks_for_another_transport_gets_it() {
    for accept in ["text/event-stream", "application/json", "multipart/x-mixed-replace"] {
        let s = subscription(&format!("GET /msgbus/a HTTP/1.1\r\nHost: l\r\nAccept: {accept}\r\n\r\n"));
        assert_eq!((s.transport, s.lines.len()), (None, 0), "{accept}");
    }
    let s = subscription("GET /msgbus/a HTTP/1.1\r\nHost: l\r\nAccept: image/*,*/*\r\n\r\n");
    assert_eq!(s.transport, Some(Transport::Bus));
}

#[test]
fn a_secret_is_asked_first() {
    let guarded = || Options { guard: Some(Guard::new(b"s3cret", "msgbus")), ..options("/msgbus/") };
    let refused = "HTTP/1.1 401 Unauthorized\r\nServer: msgbus\r\nWWW-Authenticate: Basic realm=\"msgbus\"\r\nDate: Fri, 20 Nov 2026 08:40:23 GMT\r\nContent-Length: 21\r\nContent-Type: text/html; charset=ISO-8859-1\r\n\r\n<h1>Unauthorized</h1>";
    for request in ["GET /msgbus/foo", "POST /msgbus/foo", "PUT /msgbus/foo"] {
        assert_eq!(answered(guarded(), &format!("{request} HTTP/1.1\r\nHost: l\r\n\r\n")), refused);
        let wrong = "Authorization: Basic Ym9iOndyb25n\r\n";
        assert_eq!(answered(guarded(), &format!("{request} HTTP/1.1\r\nHost: l\r\n{wrong}\r\n")), refused);
    }
    let right = "GET /msgbus/foo HTTP/1.1\r\nHost: l\r\nAuthorization: Basic Ym9iOnMzY3JldA==\r\n\r\n";
    assert!(matches!(act(guarded(), right), Action::Subscribe(_)));
}

#[test]
fn queries_are_decoded() {
    for (value, expected) in [("a+b%2c", "a b,"), ("%", "%"), ("%4", "%4"), ("%g1", "%g1"), ("", "")] {
        assert_eq!(decoded(value.as_bytes()), expected.as_bytes());
    }
    let got = answered(options("/msgbus/"), &format!("GET /msgbus/a?type={} HTTP/1.0\r\n\r\n", "x".repeat(4097)));
    assert!(got.starts_with("HTTP/1.0 400 "), "{got}");
}

#[test]
fn pages_of_other_origins() {
    let post = "POST /msgbus/a HTTP/1.1\r\nHost: l\r\nContent-Type: a/b\r\n\r\n";
    let Action::Answer(answer) = act_for(options("/msgbus/"), post, Page::Foreign) else { panic!() };
    assert_eq!(answer.status, 403);
    let listed = Page::Listed("http://o");
    let Action::Publish(publication) = act_for(options("/msgbus/"), post, listed) else { panic!() };
    assert_eq!(publication.origin.as_deref(), Some("http://o"));
    let ask = "OPTIONS /msgbus/a HTTP/1.1\r\nHost: l\r\n\r\n";
    let Action::Answer(answer) = act_for(options("/msgbus/"), ask, listed) else { panic!() };
    let got = text(answer);
    assert!(got.contains("Access-Control-Allow-Origin: http://o\r\nVary: Origin\r\n"), "{got}");
    let open = || Options { cors: true, ..options("/msgbus/") };
    let got = answered(open(), "OPTIONS /msgbus/a HTTP/1.1\r\nHost: l\r\nOrigin: http://o\r\n\r\n");
    assert!(
        got.contains("Access-Control-Allow-Methods: GET, POST\r\n")
            && got.contains("Access-Control-Allow-Origin: *\r\n"),
        "{got}"
    );
}
