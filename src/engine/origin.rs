//! Owns the answer to one question: whether the page that a browser says a request comes from may subscribe, or open a
//! WebSocket (RFC 6455, 10.2). Rule: pages of the server itself may, clients that name no page may, others where the host
//! lists them; who is refused is told.

use crate::push::globs;

/// The origin, in lower case, where it is not that of the server's own pages.
pub fn foreign(origin: &[u8], host: &[u8]) -> Option<Box<str>> {
    let origin = String::from_utf8_lossy(origin).to_ascii_lowercase();
    let own = origin.split_once("://").is_some_and(|(scheme, authority)| {
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        !host.is_empty() && without_port(scheme, authority) == without_port(scheme, &host)
    });
    (!own).then(|| origin.into())
}

/// The port that a scheme has anyway may be written or not.
fn without_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

/// Whether a list of patterns, in lower case, has a foreign origin; an empty one has none.
pub fn is_listed(list: &str, origin: &str) -> bool {
    !list.is_empty() && globs::wanted(list, origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_pages() {
        for (origin, host, expected) in [
            ("http://a", "a", None),
            ("https://A.example:8443", "a.example:8443", None),
            ("http://a", "a:80", None),
            ("https://a:443", "a", None),
            ("http://[::1]:80", "[::1]", None),
            ("http://a:443", "a", Some("http://a:443")),
            ("http://a", "a:8080", Some("http://a")),
            ("http://a.evil", "a", Some("http://a.evil")),
            ("http://evil/a", "a", Some("http://evil/a")),
            ("null", "null", Some("null")),
            ("", "a", Some("")),
            ("http://", "", Some("http://")),
        ] {
            assert_eq!(foreign(origin.as_bytes(), host.as_bytes()).as_deref(), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn listed() {
        for (list, origin, expected) in [
            ("", "http://b", false),
            ("*", "http://b", true),
            ("*", "null", true),
            ("http://b,https://*.c", "http://b", true),
            ("http://b,https://*.c", "https://x.c", true),
            ("http://b,https://*.c", "https://c", false),
            ("*,!null", "null", false),
        ] {
            assert_eq!(is_listed(list, origin), expected, "{origin} in {list}");
        }
    }
}
