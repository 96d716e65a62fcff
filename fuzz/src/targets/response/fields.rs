//! The host's fields: taken or refused, each for the right reason.

use encke::http1::response::{append_field, Place, Seen};

use crate::bytes::Bytes;
use crate::reference::{is_token, is_value, trim};

/// Refused everywhere, but Upgrade in a 101 (docs/http.md, "What is sent").
const MANAGED: [&str; 5] = ["connection", "keep-alive", "content-length", "transfer-encoding", "trailer"];
/// RFC 9110, 6.5.1, for trailers.
const NAMES: [&str; 43] = [
    "Connection",
    "Keep-Alive",
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Upgrade",
    "Date",
    "Server",
    "Content-Type",
    "age",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "cookie",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "vary",
    "warning",
    "www-authenticate",
    "X",
    "ETag",
    "Digest",
    "content-lengt",
    "transfer_encoding",
];

fn is_forbidden(name: &str, place: Place) -> bool {
    let name = name.to_ascii_lowercase();
    let in_trailers = place == Place::Trailer
        && NAMES[6..38].iter().any(|known| *known != "Server" && known.eq_ignore_ascii_case(&name));
    MANAGED.contains(&&name[..]) || name == "upgrade" && place != Place::Switching || in_trailers
}

pub type Given = Vec<(String, Vec<u8>)>;

/// A field of the input: taken or refused, for the right reason.
pub fn add_field(input: &mut Bytes<'_>, place: Place, lines: &mut Vec<u8>, seen: &mut Seen, given: &mut Given) {
    let choice = input.u8();
    let name = if choice < 128 { NAMES[choice as usize % NAMES.len()].as_bytes() } else { input.text() };
    let value = input.text();
    let before = (lines.clone(), *seen);
    let fine = is_token(name) && is_value(value);
    match append_field(lines, name, value, place, seen) {
        Ok(()) => {
            assert!(fine, "taken: {name:?} {value:?}");
            let name = String::from_utf8(name.to_vec()).expect("a token");
            assert!(!is_forbidden(&name, place), "taken: {name} in {place:?}");
            assert!(lines.starts_with(&before.0));
            assert_eq!(&lines[before.0.len()..], [name.as_bytes(), b": ", trim(value), b"\r\n"].concat());
            let now = |field: &str, was: bool| was || name.eq_ignore_ascii_case(field);
            let (date, server) = (now("date", before.1.date), now("server", before.1.server));
            assert_eq!(*seen, Seen { date, server, content_type: now("content-type", before.1.content_type) });
            given.push((name, trim(value).to_vec()));
        }
        Err(text) => {
            // Blanks around a value are dropped before it is looked at.
            let fine = is_token(name) && is_value(trim(value));
            let forbidden = std::str::from_utf8(name).is_ok_and(|name| is_forbidden(name, place));
            assert!(!fine || forbidden, "refused: {text}: {:?}", String::from_utf8_lossy(name));
            assert!(!text.is_empty());
            assert_eq!((&*lines, *seen), (&before.0, before.1), "refused, but something changed");
        }
    }
}

pub fn run(input: &mut Bytes<'_>) {
    let place = input.pick(&[Place::Answer, Place::Inform, Place::Switching, Place::Trailer]);
    let (mut lines, mut seen, mut given) = (Vec::new(), Seen::default(), Vec::new());
    while !input.is_empty() && given.len() < 100 {
        add_field(input, place, &mut lines, &mut seen, &mut given);
    }
    lines.extend_from_slice(b"\r\n");
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let Ok(httparse::Status::Complete((n, parsed))) = httparse::parse_headers(&lines, &mut slots) else {
        panic!("not the fields that were given: {:?}", String::from_utf8_lossy(&lines));
    };
    assert_eq!(n, lines.len());
    let parsed: Given = parsed.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    assert_eq!(parsed, given);
}
