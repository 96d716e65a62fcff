//! Owns the text by which a host names a bus, or one source of any server. Rule: what is not understood is refused with a sentence that names it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What stands behind the host where the text has no path.
const PREFIX: &str = "/msgbus/";
const PORT: u16 = 8888;
const TLS_PORT: u16 = 4444;
/// Of sources, as RFC 9110, 4.2 and RFC 6455, 3 have it.
const WEB_PORT: u16 = 80;
const WEB_TLS_PORT: u16 = 443;
const MAX_URL: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Address(SocketAddr),
    /// To be looked up.
    Name(Box<str>, u16),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub place: Place,
    /// The name that the server's certificate must have.
    pub tls: Option<Box<str>>,
    /// The Host field.
    pub authority: Box<str>,
    /// What stands before the names of channels, with '/' at both ends.
    pub prefix: Box<str>,
    /// Of a source: what is asked for, path and query.
    pub target: Option<Box<str>>,
    pub websocket: bool,
}

/// A bus: "http://127.0.0.1:8888/msgbus/", "https://bus.example.com/", "unix:/run/x.sock:/msgbus/"; empty: that of this machine.
/// A source: any path and query, and always "ws://" and "wss://".
pub fn parse(text: &str, source: bool) -> Result<Url, String> {
    let text = if text.is_empty() { "http://127.0.0.1" } else { text };
    let fault = |why: &str| Err(format!("URL \"{text}\": {why}"));
    if text.len() > MAX_URL {
        return Err(format!("the URL is longer than {MAX_URL} bytes"));
    }
    if let Some(byte) = text.bytes().find(|byte| *byte <= b' ' || *byte >= 0x7f) {
        return fault(&format!("the byte {byte:#04x} cannot stand in a URL"));
    }
    if let Some(rest) = text.strip_prefix("unix:") {
        // The query of a source may be a URL itself.
        let colon = if source { rest.find(":/") } else { rest.rfind(":/") };
        let (path, prefix) = match colon {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None if source => (rest, "/"),
            None => (rest, PREFIX),
        };
        if path.is_empty() {
            return fault("\"unix:\" needs the path of a socket behind it");
        }
        let (prefix, target) = match asked(prefix, source) {
            Ok(asked) => asked,
            Err(why) => return fault(&why),
        };
        return Ok(Url {
            place: Place::Unix(path.into()),
            tls: None,
            authority: "localhost".into(),
            prefix,
            target,
            websocket: false,
        });
    }
    let schemes = "it begins with http://, https://, unix:, ws:// or wss://";
    let Some((scheme, rest)) = text.split_once("://") else {
        return fault(schemes);
    };
    let (secure, websocket) = match scheme {
        "http" => (false, false),
        "https" => (true, false),
        "ws" => (false, true),
        "wss" => (true, true),
        _ => return fault(schemes),
    };
    let source = source || websocket;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return fault("user and password belong into the options");
    }
    let (prefix, target) = match asked(if path.is_empty() && !source { PREFIX } else { path }, source) {
        Ok(asked) => asked,
        Err(why) => return fault(&why),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return fault("behind ']' comes ':' and the port"),
            },
            None => return fault("the ']' of the IPv6 address is missing"),
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return fault("the host is missing");
    }
    let number = match port {
        None => match (source, secure) {
            (false, false) => PORT,
            (false, true) => TLS_PORT,
            (true, false) => WEB_PORT,
            (true, true) => WEB_TLS_PORT,
        },
        Some(port) => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            match port.parse::<u16>() {
                Ok(number) if digits && number > 0 => number,
                _ => return fault(&format!("\"{port}\" is no port from 1 to 65535")),
            }
        }
    };
    let place = if authority.starts_with('[') {
        match host.parse::<Ipv6Addr>() {
            Ok(ip) => Place::Address(SocketAddr::new(ip.into(), number)),
            Err(_) => return fault(&format!("\"{host}\" is no IPv6 address")),
        }
    } else if let Ok(ip) = host.parse::<IpAddr>() {
        Place::Address(SocketAddr::new(ip, number))
    } else if let Err(why) = check_name(host) {
        return fault(&why);
    } else {
        Place::Name(host.to_ascii_lowercase().into(), number)
    };
    let tls = secure.then(|| host.into());
    Ok(Url { place, tls, authority: authority.into(), prefix, target, websocket })
}

/// The prefix, and of a source what it is asked for.
type Asked = (Box<str>, Option<Box<str>>);

/// What the path means.
fn asked(path: &str, source: bool) -> Result<Asked, String> {
    if !source {
        check_prefix(path)?;
        return Ok((path.into(), None));
    }
    if path.contains('#') {
        return Err("a fragment is never sent".into());
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(("/".into(), Some(format!("{slash}{path}").into())))
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    if prefix.contains(['?', '#']) {
        return Err("a bus has no query and no fragment".into());
    }
    if !prefix.ends_with('/') {
        return Err(format!("the path \"{prefix}\" does not end in '/': channels stand behind it"));
    }
    Ok(())
}

/// Letters, digits and hyphens between dots.
fn check_name(name: &str) -> Result<(), String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return Err("the name of the host is longer than 253 bytes".into());
    }
    for label in name.split('.') {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(fits) {
            return Err(format!("\"{name}\" is no address and no name of a host"));
        }
    }
    if name.split('.').next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("\"{name}\" is no IPv4 address"));
    }
    Ok(())
}

/// Appends a value of a query.
pub fn append_value(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => append_encoded(byte, out),
        }
    }
}

fn append_encoded(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, place, tls, authority, prefix) in [
            ("", "127.0.0.1:8888", None, "127.0.0.1", "/msgbus/"),
            ("http://127.0.0.1:1/", "127.0.0.1:1", None, "127.0.0.1:1", "/"),
            ("https://127.0.0.1", "127.0.0.1:4444", Some("127.0.0.1"), "127.0.0.1", "/msgbus/"),
            ("https://[::1]:5/a/b/", "[::1]:5", Some("::1"), "[::1]:5", "/a/b/"),
            ("http://[::1]", "[::1]:8888", None, "[::1]", "/msgbus/"),
        ] {
            let url = parse(text, false).unwrap();
            assert_eq!(url.place, Place::Address(place.parse().unwrap()), "{text}");
            assert_eq!((url.tls.as_deref(), &*url.authority, &*url.prefix), (tls, authority, prefix), "{text}");
        }
        let url = parse("http://Bus.Example.com/x/", false).unwrap();
        assert_eq!(url.place, Place::Name("bus.example.com".into(), 8888));
        for (text, path, prefix) in [
            ("unix:/run/x", "/run/x", "/msgbus/"),
            ("unix:/run/a:b:/bus/", "/run/a:b", "/bus/"),
            ("unix:x:/", "x", "/"),
        ] {
            let url = parse(text, false).unwrap();
            assert_eq!((url.place, &*url.prefix), (Place::Unix(path.into()), prefix), "{text}");
        }
    }

    #[test]
    fn sources() {
        for (text, place, tls, target, websocket) in [
            ("http://127.0.0.1/events?a=b&c=http://d/", "127.0.0.1:80", false, "/events?a=b&c=http://d/", false),
            ("https://[::1]", "[::1]:443", true, "/", false),
            ("https://[::1]:5?q", "[::1]:5", true, "/?q", false),
            ("ws://127.0.0.1/", "127.0.0.1:80", false, "/", true),
            ("wss://127.0.0.1:1/a/b", "127.0.0.1:1", true, "/a/b", true),
        ] {
            let url = parse(text, true).unwrap();
            assert_eq!(url.place, Place::Address(place.parse().unwrap()), "{text}");
            assert_eq!(
                (url.tls.is_some(), url.target.as_deref(), url.websocket),
                (tls, Some(target), websocket),
                "{text}"
            );
            assert_eq!(&*url.prefix, "/");
        }
        assert_eq!(parse("ws://127.0.0.1/a", false), parse("ws://127.0.0.1/a", true));
        let url = parse("unix:/run/x:/events?u=http://a/", true).unwrap();
        assert_eq!((url.place, url.target.as_deref()), (Place::Unix("/run/x".into()), Some("/events?u=http://a/")));
        assert_eq!(parse("unix:/run/x", true).unwrap().target.as_deref(), Some("/"));
        for (text, what) in [
            ("http://a/b#c", "fragment"),
            ("ws://u:p@a/", "options"),
            ("wss://", "host is missing"),
            ("ws://a b/", "0x20"),
        ] {
            let why = parse(text, true).expect_err(text);
            assert!(why.contains(what), "{text:?}: {why}");
        }
    }

    #[test]
    fn faults_are_named() {
        for (text, what) in [
            ("127.0.0.1:8888", "begins with"),
            ("ftp://a/", "begins with"),
            ("HTTP://a/", "begins with"),
            ("http://", "host is missing"),
            ("http://:80/", "host is missing"),
            ("http://a:b@c/", "options"),
            ("http://a/x", "does not end in '/'"),
            ("http://a/?x/", "no query"),
            ("http://a?x", "no query"),
            ("http://a/#/", "no query"),
            ("http://a:0/", "no port"),
            ("http://a:+1/", "no port"),
            ("http://a:/", "no port"),
            ("http://a:65536/", "no port"),
            ("http://[::1/", "']'"),
            ("http://[::1]x/", "':' and the port"),
            ("http://[1.2.3.4]/", "no IPv6"),
            ("http://1.2.3.4.5/", "no IPv4"),
            ("http://1.2.3/", "no IPv4"),
            ("http://a..b/", "no name"),
            ("http://a b/", "0x20"),
            ("http://a\r\nX: y/", "0x0d"),
            ("unix:", "path of a socket"),
            ("unix::/a/", "path of a socket"),
            ("unix:/run/x:/a", "does not end"),
        ] {
            let why = parse(text, false).expect_err(text);
            assert!(why.contains(what), "{text:?}: {why}");
        }
        assert!(parse(&format!("http://{}/", "a".repeat(5000)), false).is_err());
    }

    #[test]
    fn values_of_a_query() {
        let mut value = Vec::new();
        append_value("text/*,!a&b=c", &mut value);
        assert_eq!(value, b"text%2F%2A%2C%21a%26b%3Dc");
    }
}
