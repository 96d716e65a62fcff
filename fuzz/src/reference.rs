//! Owns a second reading of requests: slow, of whole heads and bodies only, written from the tables of docs/http.md and
//! from nothing in src/http1. Rule: what it accepts and the library refuses, or the other way round, is a finding.

use std::net::Ipv6Addr;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_head: usize,
    pub max_fields: usize,
    pub connect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub len: usize,
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Vec<u8>,
    pub host: Vec<u8>,
    pub minor: u8,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect: bool,
    pub upgrade: bool,
    pub websocket: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// Nothing wrong in the lines that are whole.
    Incomplete,
    Refused,
    Whole(T),
}
use Reading::{Incomplete, Refused, Whole};

/// One line without its CRLF, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Reading<(&[u8], usize)> {
    let rest = &bytes[at..];
    let end = rest.iter().position(|b| *b == b'\n');
    let text = &rest[..end.unwrap_or(rest.len())];
    let cr = text.iter().position(|b| *b == b'\r');
    match (cr, end) {
        (Some(cr), _) if cr + 1 < text.len() => Refused,
        (Some(cr), Some(end)) => Whole((&text[..cr], at + end + 1)),
        (None, Some(_)) => Refused,
        (_, None) => Incomplete,
    }
}

fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_tchar(*b))
}

pub fn is_value(text: &[u8]) -> bool {
    text.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e | 0x80..))
}

pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The name and the value of a field line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = split_at_byte(line, b':')?;
    (is_token(name) && is_value(value)).then(|| (name, trim(value)))
}

pub fn head(bytes: &[u8], limits: &Limits) -> Reading<Head> {
    let window = &bytes[..bytes.len().min(limits.max_head)];
    match head_in(window, limits) {
        Incomplete if window.len() == limits.max_head => Refused,
        reading => reading,
    }
}

fn head_in(bytes: &[u8], limits: &Limits) -> Reading<Head> {
    let mut at = 0;
    let mut empty = 0;
    let request_line = loop {
        match line(bytes, at) {
            Whole((b"", next)) => {
                at = next;
                empty += 1;
                if empty > 8 {
                    return Refused;
                }
            }
            Whole((text, next)) => {
                at = next;
                break text;
            }
            Incomplete => return Incomplete,
            Refused => return Refused,
        }
    };
    let parts: Vec<&[u8]> = request_line.split(|b| *b == b' ').collect();
    let [method, target, version] = parts[..] else { return Refused };
    let minor = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => (minor - b'0').min(1),
        _ => return Refused,
    };
    if !is_token(method) || method == b"CONNECT" && !limits.connect {
        return Refused;
    }
    let Some((authority, path, query)) = target_parts(target, method) else { return Refused };
    let mut fields = Vec::new();
    let len = loop {
        match line(bytes, at) {
            Whole((b"", next)) => break next,
            Whole((text, next)) => {
                at = next;
                let Some((name, value)) = field(text) else { return Refused };
                fields.push((name.to_ascii_lowercase(), value.to_vec()));
                if fields.len() > limits.max_fields.min(1024) {
                    return Refused;
                }
            }
            Incomplete => return Incomplete,
            Refused => return Refused,
        }
    };
    let all = |name: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(n, _)| n == name.as_bytes()).map(|(_, value)| &value[..]).collect()
    };
    let listed = |name: &str| -> Vec<Vec<u8>> {
        let values = all(name);
        let elements = values.iter().flat_map(|value| value.split(|b| *b == b',')).map(trim);
        elements.filter(|element| !element.is_empty()).map(|element| element.to_ascii_lowercase()).collect()
    };
    let hosts = all("host");
    let host = match hosts[..] {
        [host] if is_authority(host) => host,
        [] if minor == 0 => b"",
        _ => return Refused,
    };
    let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Framing::None,
        ([length], []) => match length_of(length) {
            Some(length) => Framing::Length(length),
            None => return Refused,
        },
        ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return Refused,
    };
    let expectations = listed("expect");
    if minor == 1 && expectations.iter().any(|expectation| expectation != b"100-continue") {
        return Refused;
    }
    let options = listed("connection");
    let has = |option: &[u8]| options.iter().any(|o| o == option);
    let protocols = listed("upgrade");
    let is_protocol = |text: &Vec<u8>| match split_at_byte(text, b'/') {
        Some((name, version)) => is_token(name) && is_token(version),
        None => is_token(text),
    };
    let upgrade = minor == 1 && has(b"upgrade") && !protocols.is_empty() && protocols.iter().all(is_protocol);
    let key = match all("sec-websocket-key")[..] {
        [key] => is_websocket_key(key),
        _ => false,
    };
    let websocket = upgrade
        && method == b"GET"
        && key
        && all("sec-websocket-version") == [b"13"]
        && protocols.iter().any(|protocol| protocol == b"websocket");
    Whole(Head {
        len,
        method: method.to_vec(),
        target: target.to_vec(),
        path: path.to_vec(),
        query: query.to_vec(),
        host: authority.unwrap_or(host).to_vec(),
        minor,
        framing,
        keep_alive: !has(b"close") && (minor == 1 || has(b"keep-alive")),
        expect: minor == 1 && !expectations.is_empty(),
        upgrade: upgrade || method == b"CONNECT",
        websocket,
        fields,
    })
}

fn length_of(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_websocket_key(key: &[u8]) -> bool {
    let (text, padding) = key.split_at(key.len().saturating_sub(2));
    text.len() == 22 && padding == b"==" && text.iter().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(b))
}

type Parts<'a> = (Option<&'a [u8]>, &'a [u8], &'a [u8]);

/// Authority, path and query.
pub fn target_parts<'a>(target: &'a [u8], method: &[u8]) -> Option<Parts<'a>> {
    if target.is_empty() || !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#') {
        return None;
    }
    if method == b"CONNECT" {
        let port = authority_port(target)??;
        return (port > 0).then_some((Some(target), b"", b""));
    }
    if target == b"*" {
        return (method == b"OPTIONS").then_some((None, target, b""));
    }
    let lower = target.to_ascii_lowercase();
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let (authority, rest) = match scheme {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return None;
            }
            (Some(&rest[..end]), &rest[end..])
        }
        None if target[0] == b'/' => (None, target),
        None => return None,
    };
    let (path, query) = split_at_byte(rest, b'?').unwrap_or((rest, b""));
    Some((authority, path, query))
}

pub fn is_authority(text: &[u8]) -> bool {
    authority_port(text).is_some()
}

/// The port, if the text is a host with or without one.
pub fn authority_port(text: &[u8]) -> Option<Option<u16>> {
    let text = std::str::from_utf8(text).ok()?;
    let colon = match text.rfind(']') {
        Some(end) if text.starts_with('[') => text[end..].find(':').map(|at| at + end),
        _ => text.rfind(':'),
    };
    let (host, port) = match colon {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) || !is_host(host) {
        return None;
    }
    match port.trim_start_matches('0') {
        "" if port.is_empty() => Some(None),
        "" => Some(Some(0)),
        digits => digits.parse().ok().map(Some),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        if let Some(future) = literal.strip_prefix(['v', 'V']) {
            let Some((version, address)) = future.split_once('.') else { return false };
            return !version.is_empty()
                && version.bytes().all(|b| b.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|b| b == b':' || is_name_byte(b));
        }
        return literal.parse::<Ipv6Addr>().is_ok();
    }
    let mut rest = host.as_bytes();
    while !rest.is_empty() {
        rest = match rest {
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [b, rest @ ..] if is_name_byte(*b) => rest,
            _ => return false,
        }
    }
    !host.is_empty()
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b)
}

// ---- bodies ----------------------------------------------------------------------------------------------------------

/// A chunked body as far as it is there: its data, and how it ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    pub data: Vec<u8>,
    /// Whole: behind the last byte of the body.
    pub end: Reading<usize>,
}

pub fn chunked(bytes: &[u8]) -> Body {
    let mut data = Vec::new();
    let end = chunked_into(bytes, &mut data);
    Body { data, end }
}

fn chunked_into(bytes: &[u8], data: &mut Vec<u8>) -> Reading<usize> {
    let mut at = 0;
    let mut extensions = 0;
    loop {
        let (size_line, next) = match line(bytes, at) {
            Whole(found) => found,
            Incomplete => return Incomplete,
            Refused => return Refused,
        };
        at = next;
        let digits = size_line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, rest) = size_line.split_at(digits);
        if !(1..=16).contains(&digits) || !are_extensions(rest) {
            return Refused;
        }
        extensions += rest.len();
        if extensions > 4096 {
            return Refused;
        }
        let size = size.iter().fold(0u64, |size, digit| size << 4 | (*digit as char).to_digit(16).unwrap_or(0) as u64);
        if size == 0 {
            return trailers(bytes, at);
        }
        let left = &bytes[at..];
        let there = usize::try_from(size).unwrap_or(usize::MAX).min(left.len());
        data.extend_from_slice(&left[..there]);
        if (there as u64) < size {
            return Incomplete;
        }
        match left[there..] {
            [b'\r', b'\n', ..] => at += there + 2,
            [] | [b'\r'] => return Incomplete,
            _ => return Refused,
        }
    }
}

fn trailers(bytes: &[u8], start: usize) -> Reading<usize> {
    let mut at = start;
    loop {
        // The LF of the empty line is not counted.
        let (text, next) = match line(bytes, at) {
            Whole(found) => found,
            Incomplete if bytes.len() - start > 8192 => return Refused,
            Incomplete => return Incomplete,
            Refused => return Refused,
        };
        if next - start - usize::from(text.is_empty()) > 8192 {
            return Refused;
        }
        at = next;
        if text.is_empty() {
            return Whole(at);
        }
        if field(text).is_none() {
            return Refused;
        }
    }
}

/// *( ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] BWS ), where no white space stands last.
fn are_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(rest) = text.strip_prefix(b";") else { return false };
        let Some(rest) = after_token(skip_ows(rest)) else { return false };
        let spaced = skip_ows(rest);
        let rest = match spaced.strip_prefix(b"=") {
            Some(value) => match after_value(skip_ows(value)) {
                Some(rest) => rest,
                None => return false,
            },
            None => rest,
        };
        text = skip_ows(rest);
        if text.is_empty() && !rest.is_empty() {
            return false;
        }
    }
    true
}

fn skip_ows(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| b" \t".contains(b)).count()..]
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let n = text.iter().take_while(|b| is_tchar(**b)).count();
    (n > 0).then_some(&text[n..])
}

fn after_value(text: &[u8]) -> Option<&[u8]> {
    let Some(mut rest) = text.strip_prefix(b"\"") else { return after_token(text) };
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b, rest @ ..] if is_value(&[*b]) => rest,
            [b, rest @ ..] if *b != b'\\' && is_value(&[*b]) => rest,
            _ => return None,
        }
    }
}
