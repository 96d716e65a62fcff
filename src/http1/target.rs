//! The request target and the authority inside it or in Host: RFC 9112 3.2, RFC 3986 3.2.
//!
//! The authority is held to RFC 3986 to the letter, because it selects whom the request is for. Path and query are
//! held only to "printable ASCII without space and '#'": browsers do send `|`, `{`, `"` and stray percent signs
//! unescaped, and none of these can be mistaken for a delimiter of HTTP.

use super::grammar::classes;
use super::Fault;
use std::net::Ipv6Addr;

/// Where the parts of a target are, as (start, length) within it. A part that is not there has length 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    pub form: Form,
    pub authority: (usize, usize),
    /// Before '?'. Empty in authority-form, and in absolute-form when the URI has none.
    pub path: (usize, usize),
    /// After '?'.
    pub query: (usize, usize),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Origin,
    Absolute,
    Authority,
    Asterisk,
}

/// Splits a target into its parts, by the form that its method allows.
#[inline]
pub fn split(target: &[u8], method: &[u8]) -> Result<Parts, Fault> {
    if target.first() == Some(&b'/') && method != b"CONNECT" {
        let mut parts = Parts::default();
        path_and_query(target, 0, &mut parts)?;
        return Ok(parts);
    }
    split_rare(target, method)
}

#[inline(never)]
fn split_rare(target: &[u8], method: &[u8]) -> Result<Parts, Fault> {
    let mut parts = Parts::default();
    if classes(&TARGET, target) & REFUSED != 0 {
        return Err(first_refused(target));
    }
    if method == b"CONNECT" {
        parts.form = Form::Authority;
        parts.authority = (0, target.len());
        return match authority(target) {
            Err(text) => Err(Fault::bad(text)),
            Ok(None | Some(0)) => Err(Fault::bad("CONNECT without a port")),
            Ok(Some(_)) => Ok(parts),
        };
    }
    if target == b"*" {
        if method != b"OPTIONS" {
            return Err(Fault::bad("request target * with a method other than OPTIONS"));
        }
        parts.form = Form::Asterisk;
        parts.path = (0, 1);
        return Ok(parts);
    }
    let Some(start) = after_scheme(target) else {
        return Err(Fault::bad("request target is neither a path nor an http or https URI"));
    };
    let rest = &target[start..];
    let len = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
    authority(&rest[..len]).map_err(Fault::bad)?;
    parts.form = Form::Absolute;
    parts.authority = (start, len);
    path_and_query(target, start + len, &mut parts)?;
    Ok(parts)
}

/// Where the authority of an http or https URI starts.
fn after_scheme(target: &[u8]) -> Option<usize> {
    let is = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
    if is(b"http://") {
        Some(7)
    } else if is(b"https://") {
        Some(8)
    } else {
        None
    }
}

/// The path from `start` on, and what is behind its mark. Every byte of the target is looked at.
#[inline]
fn path_and_query(target: &[u8], start: usize, parts: &mut Parts) -> Result<(), Fault> {
    let found = classes(&TARGET, target);
    parts.path = (start, target.len() - start);
    if found == PLAIN {
        return Ok(());
    }
    if found & REFUSED != 0 {
        return Err(first_refused(target));
    }
    if let Some(len) = target[start..].iter().position(|&b| b == b'?') {
        let mark = start + len;
        parts.path = (start, len);
        parts.query = (mark + 1, target.len() - mark - 1);
    }
    Ok(())
}

#[cold]
fn first_refused(target: &[u8]) -> Fault {
    let first = target.iter().copied().find(|&b| !is_target_byte(b));
    target_byte_fault(first.unwrap_or_default())
}

const PLAIN: u8 = 0;
const QUERY: u8 = 1;
const REFUSED: u8 = 2;

static TARGET: [u8; 256] = {
    let mut table = [REFUSED; 256];
    let mut b = 0x21;
    while b < 0x7f {
        table[b] = PLAIN;
        b += 1;
    }
    table[b'?' as usize] = QUERY;
    table[b'#' as usize] = REFUSED;
    table
};

#[inline]
pub(super) fn is_target_byte(b: u8) -> bool {
    TARGET[b as usize] != REFUSED
}

#[cold]
pub(super) fn target_byte_fault(b: u8) -> Fault {
    Fault::bad(match b {
        b'#' => "fragment in the request target",
        0x80.. => "non-ASCII byte in the request target",
        _ => "control character in the request target",
    })
}

/// uri-host [ ":" port ]: the Host field, the authority of an http URI, and the target of CONNECT. Returns the port, if
/// there is one; RFC 3986 lets the digits after the colon be none.
#[inline]
pub fn authority(bytes: &[u8]) -> Result<Option<u16>, &'static str> {
    // A port has few digits: what stands before its colon is the rest.
    let digits = bytes.iter().rev().take(6).take_while(|b| b.is_ascii_digit()).count();
    let (host, digits) = match bytes.split_at(bytes.len() - digits) {
        ([host @ .., b':'], digits) => (host, digits),
        _ => (bytes, &[][..]),
    };
    if !host.is_empty() && classes(&REG_NAME, host) == 0 {
        return port(digits);
    }
    authority_rare(bytes)
}

#[inline(never)]
fn authority_rare(bytes: &[u8]) -> Result<Option<u16>, &'static str> {
    if bytes.is_empty() {
        return Err("host is empty");
    }
    if let Some(literal) = bytes.strip_prefix(b"[") {
        let Some(len) = literal.iter().position(|&b| b == b']') else {
            return Err("IP literal of the host is not closed");
        };
        if !is_ip_literal(&literal[..len]) {
            return Err("host has a malformed IP literal");
        }
        return match &literal[len + 1..] {
            [] => Ok(None),
            [b':', digits @ ..] => port(digits),
            _ => Err("characters between the IP literal of the host and its port"),
        };
    }
    if bytes.contains(&b'@') {
        return Err("user information in the host");
    }
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        match b {
            b'%' => {
                if !bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                    return Err("malformed percent encoding in the host");
                }
                i += 3;
            }
            b':' if i == 0 => return Err("host is empty"),
            b':' => return port(&bytes[i + 1..]),
            b'/' | b'?' | b'#' => return Err("path, query or fragment in the host"),
            _ if is_reg_name_byte(b) => i += 1,
            _ => return Err("invalid character in the host"),
        }
    }
    Ok(None)
}

#[inline]
fn port(digits: &[u8]) -> Result<Option<u16>, &'static str> {
    if digits.is_empty() {
        return Ok(None);
    }
    let mut value = 0u32;
    for &b in digits {
        if !b.is_ascii_digit() {
            return Err("port of the host is not a number");
        }
        value = value * 10 + u32::from(b - b'0');
        if value > 65535 {
            return Err("port of the host is out of range");
        }
    }
    Ok(u16::try_from(value).ok())
}

fn is_ip_literal(inside: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = inside {
        let Some(dot) = rest.iter().position(|&b| b == b'.') else {
            return false;
        };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&b| b == b':' || is_reg_name_byte(b));
    }
    std::str::from_utf8(inside).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_reg_name_byte(b: u8) -> bool {
    REG_NAME[b as usize] == 0
}

/// 0 for unreserved and sub-delims: a reg-name but for its percent encodings. An IPv4 address is such a name too.
static REG_NAME: [u8; 256] = {
    let mut table = [1; 256];
    let marks = b"-._~!$&'()*+,;=";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = 0;
        i += 1;
    }
    let mut b = 0;
    while b < 128 {
        if (b as u8).is_ascii_alphanumeric() {
            table[b] = 0;
        }
        b += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, method: &str) -> Result<(Form, String, String, String), Fault> {
        let parts = split(target.as_bytes(), method.as_bytes())?;
        let of = |(start, len): (usize, usize)| target[start..start + len].to_owned();
        Ok((parts.form, of(parts.authority), of(parts.path), of(parts.query)))
    }

    fn ok(target: &str, method: &str, form: Form, authority: &str, path: &str, query: &str) {
        let expected = (form, authority.to_owned(), path.to_owned(), query.to_owned());
        assert_eq!(parts(target, method), Ok(expected), "{method} {target}");
    }

    #[test]
    fn forms() {
        ok("/", "GET", Form::Origin, "", "/", "");
        ok("/a/b?c=d?e", "GET", Form::Origin, "", "/a/b", "c=d?e");
        ok("/?", "GET", Form::Origin, "", "/", "");
        ok("//x/y", "GET", Form::Origin, "", "//x/y", "");
        ok("/%zz|{\"}`^<>\\", "GET", Form::Origin, "", "/%zz|{\"}`^<>\\", "");
        ok("*", "OPTIONS", Form::Asterisk, "", "*", "");
        ok("http://a.b", "GET", Form::Absolute, "a.b", "", "");
        ok("HTTP://a.b:80/", "GET", Form::Absolute, "a.b:80", "/", "");
        ok("https://[::1]:8443/x?y", "GET", Form::Absolute, "[::1]:8443", "/x", "y");
        ok("http://a?q=/", "GET", Form::Absolute, "a", "", "q=/");
        ok("http://a/b?c/d:e@f", "GET", Form::Absolute, "a", "/b", "c/d:e@f");
        ok("a.b:443", "CONNECT", Form::Authority, "a.b:443", "", "");
        ok("[::1]:443", "CONNECT", Form::Authority, "[::1]:443", "", "");
    }

    #[test]
    fn refused_targets() {
        for (target, method) in [
            ("*", "GET"),
            ("**", "OPTIONS"),
            ("*?a", "OPTIONS"),
            ("a/b", "GET"),
            ("a.b:443", "GET"),
            ("?a", "GET"),
            ("ftp://a/", "GET"),
            ("http:/a", "GET"),
            ("http:a", "GET"),
            ("http://", "GET"),
            ("http:///x", "GET"),
            ("http://?x", "GET"),
            ("http://:80/", "GET"),
            ("http://u@a/", "GET"),
            ("http://a:b/", "GET"),
            ("http://a:70000/", "GET"),
            ("http://a b/", "GET"),
            ("http://[::1/", "GET"),
            ("ws://a/", "GET"),
            ("/", "CONNECT"),
            ("a.b", "CONNECT"),
            ("a.b:", "CONNECT"),
            ("a.b:0", "CONNECT"),
            ("a.b:443/", "CONNECT"),
            ("http://a.b:443", "CONNECT"),
            ("*", "CONNECT"),
            ("/a#b", "GET"),
            ("/?a#b", "GET"),
            ("http://a#b", "GET"),
            ("http://a/#", "GET"),
            ("#", "GET"),
            ("", "GET"),
        ] {
            let fault = parts(target, method).expect_err(target);
            assert_eq!(fault.status, 400, "{method} {target}");
            assert!(!fault.text.is_empty());
        }
    }

    #[test]
    fn every_byte_of_a_target() {
        for b in 0..=255u8 {
            let allowed = (0x21..=0x7e).contains(&b) && b != b'#';
            for target in [[b'/', b, b'x'], [b'/', b'?', b]] {
                assert_eq!(split(&target, b"GET").is_ok(), allowed, "{b:#x}");
            }
            let mut absolute = b"http://h/".to_vec();
            absolute.push(b);
            assert_eq!(split(&absolute, b"GET").is_ok(), allowed, "{b:#x}");
        }
    }

    #[test]
    fn authorities() {
        for (text, port) in [
            ("a", None),
            ("A-b_c~d.e", None),
            ("a.", None),
            ("!$&'()*+,;=", None),
            ("%41bc", None),
            ("a%20b:8", Some(8)),
            ("127.0.0.1:8080", Some(8080)),
            ("999.1.1.1", None), // not IPv4, and so a reg-name
            ("a:", None),
            ("a:0", Some(0)),
            ("a:65535", Some(65535)),
            ("a:00080", Some(80)),
            ("[::]", None),
            ("[::1]:", None),
            ("[2001:db8::1]:443", Some(443)),
            ("[::ffff:1.2.3.4]", None),
            ("[1:2:3:4:5:6:7:8]", None),
            ("[v1.a:b]", None),
            ("[VF.~]:1", Some(1)),
        ] {
            assert_eq!(authority(text.as_bytes()), Ok(port), "{text}");
        }
        for text in [
            "",
            ":",
            ":80",
            "a:b",
            "a:+1",
            "a:-1",
            "a: 1",
            "a:1 ",
            "a:65536",
            "a:99999999999999999999",
            "a:1:2",
            "::1",
            "a/",
            "a/b",
            "a?",
            "a#",
            "u@a",
            "u:p@a",
            "@",
            "a b",
            "a\tb",
            "a\"",
            "a<",
            "a\\b",
            "a^",
            "a`",
            "a{",
            "a|",
            "a%",
            "a%4",
            "a%4g",
            "%zz:1",
            "[",
            "[]",
            "[]:80",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]80",
            "[::1]:x",
            "[:::1]",
            "[1:2:3:4:5:6:7]",
            "[1:2:3:4:5:6:7:8:9]",
            "[12345::]",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "[::1.2.3.256]",
            "[v1]",
            "[v.a]",
            "[vg.a]",
            "[v1.]",
            "[v1.a/b]",
            "a[::1]",
            "[[::1]]",
        ] {
            assert!(authority(text.as_bytes()).is_err(), "{text}");
        }
        for b in (0..=0x20u8).chain(0x7f..=0xff) {
            assert!(authority(&[b'a', b]).is_err(), "{b:#x}");
            assert!(authority(&[b]).is_err(), "{b:#x}");
        }
    }
}
