//! What a request for a file means, and what it is answered once the file is open. Rule: the decision is made from the
//! request and the file's facts alone; whoever drives it opens files and nothing else.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::engine::head::Head;
use crate::http1::response::reason;

use super::authorization::Credentials;
use super::conditions::{Validators, Verdict};
use super::path::{self, Path, Refusal};
use super::ranges::{self, Range, Ranges};
use super::types;
use super::Mount;

/// The file that stands for a directory.
pub const INDEX: &str = "index.html";
const METHODS: &str = "Allow: GET, HEAD\r\n";
/// Seconds within which a file may have changed twice and look the same.
const YOUNG: u64 = 2;

/// How a mount of files is set up.
#[derive(Debug, Default)]
pub struct Files {
    pub dotfiles: bool,
    pub precompressed: bool,
    boundaries: RandomState,
}

impl Files {
    pub fn new(dotfiles: bool, precompressed: bool) -> Files {
        Files { dotfiles, precompressed, boundaries: RandomState::new() }
    }
}

/// A form in which a file may lie beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Brotli => ".br",
            Encoding::Gzip => ".gz",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }
}

/// What the system says of an open file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    pub size: u64,
    /// Since 1970.
    pub seconds: u64,
    pub nanoseconds: u32,
    pub inode: u64,
}

/// An answer but for the file in it.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub lines: Vec<u8>,
    pub content_type: Option<String>,
    pub content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    Text(String),
    Range(Range),
    /// Each behind some text, and what stands at the end.
    Ranges(Vec<(Vec<u8>, Range)>, Vec<u8>),
}

#[derive(Debug)]
pub enum Step {
    Reply(Reply),
    Open(Path),
}

/// What a request to a mount of files means.
pub fn begin(mount: &Mount, files: &Files, head: &Head) -> Step {
    if let Some(guard) = &mount.options.guard {
        if !guard.admits(Credentials::of(head).as_ref()) {
            let line = format!("WWW-Authenticate: Basic realm=\"{}\", charset=\"UTF-8\"\r\n", guard.realm);
            return Step::Reply(text(mount, 401, &line));
        }
    }
    if !matches!(head.text(head.method), b"GET" | b"HEAD") {
        return Step::Reply(text(mount, 405, METHODS));
    }
    let Some(rest) = mount.rest(head) else { return Step::Reply(text(mount, 404, "")) };
    match path::parse(rest, files.dotfiles) {
        Ok(path) => Step::Open(path),
        Err(Refusal::Malformed) => Step::Reply(text(mount, 400, "")),
        Err(Refusal::Nowhere) => Step::Reply(text(mount, 404, "")),
    }
}

/// An answer of the library's own words.
pub fn text(mount: &Mount, status: u16, lines: &str) -> Reply {
    let mut all = lines.as_bytes().to_vec();
    all.extend_from_slice(&mount.options.lines);
    Reply {
        status,
        lines: all,
        content_type: Some("text/plain; charset=utf-8".into()),
        content: Content::Text(format!("{status} {}\n", reason(status))),
    }
}

/// The path of a directory ends in '/', or links relative to it would lead elsewhere. What the client sent is shown it
/// again, so its bytes are fit for a field; it cannot begin with "//", which would be another server.
pub fn redirect(mount: &Mount, head: &Head) -> Reply {
    let mut lines = b"Location: ".to_vec();
    lines.extend_from_slice(head.text(head.path));
    lines.push(b'/');
    if !head.text(head.query).is_empty() {
        lines.push(b'?');
        lines.extend_from_slice(head.text(head.query));
    }
    lines.extend_from_slice(b"\r\n");
    let mut reply = text(mount, 301, "");
    lines.extend_from_slice(&reply.lines);
    reply.lines = lines;
    reply
}

/// The encodings that a client takes, the best first (RFC 9110, 12.5.3).
pub fn accepted(head: &Head) -> Vec<Encoding> {
    let (mut brotli, mut gzip, mut other) = (None, None, None);
    for field in head.fields.iter().filter(|field| head.text(field.name) == b"accept-encoding") {
        for item in head.text(field.value).split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let Some(name) = parts.next() else { continue };
            let mut quality = 1000;
            for parameter in parts {
                if let Some((b"q=" | b"Q=", value)) = parameter.split_at_checked(2) {
                    quality = thousandths(value);
                }
            }
            let place = match name.to_ascii_lowercase().as_slice() {
                b"br" => &mut brotli,
                b"gzip" | b"x-gzip" => &mut gzip,
                b"*" => &mut other,
                _ => continue,
            };
            *place = Some(quality);
        }
    }
    let all = [(Encoding::Brotli, brotli), (Encoding::Gzip, gzip)];
    let mut wanted: Vec<(Encoding, u32)> =
        all.iter().map(|(encoding, quality)| (*encoding, quality.or(other).unwrap_or(0))).collect();
    wanted.retain(|(_, quality)| *quality > 0);
    wanted.sort_by_key(|(_, quality)| std::cmp::Reverse(*quality));
    wanted.into_iter().map(|(encoding, _)| encoding).collect()
}

/// "0.5" is 500; what is none is 0.
fn thousandths(value: &[u8]) -> u32 {
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    if !matches!(whole, b"0" | b"1") || fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let mut thousandths = u32::from(whole[0] - b'0');
    for at in 0..3 {
        thousandths = thousandths * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    }
    thousandths.min(1000)
}

/// What the name of a file says of its content.
pub fn content_type(name: &[u8]) -> String {
    let ending = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let ending = std::str::from_utf8(ending).ok().and_then(|name| Some(name.rsplit_once('.')?.1));
    match ending.and_then(types::of) {
        Some(kind) if kind.starts_with("text/") => format!("{kind}; charset=utf-8"),
        Some(kind) => kind.to_owned(),
        None => "application/octet-stream".to_owned(),
    }
}

/// A tag changes with every change of the file that the system's clock can tell.
pub fn validators(facts: &Facts, now: u64) -> Validators {
    let Facts { size, seconds, nanoseconds, inode } = facts;
    Validators {
        tag: format!("\"{seconds:x}.{nanoseconds:x}-{size:x}-{inode:x}\""),
        weak: now < seconds + YOUNG,
        modified: (*seconds).min(now),
    }
}

/// The answer once the file is open: `kind` is its type, `encoding` how it lies there, `now` seconds since 1970.
pub fn respond(
    mount: &Mount,
    files: &Files,
    head: &Head,
    (facts, encoding): (&Facts, Option<Encoding>),
    kind: String,
    now: u64,
) -> Reply {
    let validators = validators(facts, now);
    let mut lines =
        format!("ETag: {}\r\nLast-Modified: {}\r\n", validators.etag(), validators.last_modified()).into_bytes();
    if files.precompressed {
        lines.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    let own = |mut lines: Vec<u8>| {
        lines.extend_from_slice(&mount.options.lines);
        lines
    };
    match validators.judge(head) {
        Verdict::NotModified => {
            let content = Content::Text(String::new());
            return Reply { status: 304, lines: own(lines), content_type: None, content };
        }
        Verdict::Failed => return text(mount, 412, ""),
        Verdict::Go => {}
    }
    lines.extend_from_slice(b"Accept-Ranges: bytes\r\n");
    if let Some(encoding) = encoding {
        lines.extend_from_slice(format!("Content-Encoding: {}\r\n", encoding.name()).as_bytes());
    }
    let size = facts.size;
    let asked = match head.field("range") {
        Some(value) if head.text(head.method) == b"GET" && validators.fits_if_range(head) => ranges::parse(value, size),
        _ => Ranges::Whole,
    };
    let parts = match asked {
        // A type of the host's has no boundary: several parts could not be told from each other.
        Ranges::Parts(parts) if parts.len() > 1 && mount.options.seen.content_type => Ranges::Whole,
        asked => asked,
    };
    let parts = match parts {
        Ranges::Whole => {
            let content = Content::Range(Range { start: 0, len: size });
            return Reply { status: 200, lines: own(lines), content_type: Some(kind), content };
        }
        Ranges::Unsatisfiable => return text(mount, 416, &format!("Content-Range: bytes */{size}\r\n")),
        Ranges::Parts(parts) => parts,
    };
    let content_range =
        |range: &Range| format!("Content-Range: bytes {}-{}/{size}\r\n", range.start, range.start + range.len - 1);
    if let [range] = parts[..] {
        lines.extend_from_slice(content_range(&range).as_bytes());
        return Reply { status: 206, lines: own(lines), content_type: Some(kind), content: Content::Range(range) };
    }
    // Nobody who wrote the file knows it.
    let boundary =
        format!("{:016x}{:016x}", files.boundaries.hash_one((facts.inode, now)), files.boundaries.hash_one(size));
    let parts = parts.into_iter().enumerate().map(|(n, range)| {
        let start = if n == 0 { "--" } else { "\r\n--" };
        let before = format!("{start}{boundary}\r\nContent-Type: {kind}\r\n{}\r\n", content_range(&range));
        (before.into_bytes(), range)
    });
    let content = Content::Ranges(parts.collect(), format!("\r\n--{boundary}--\r\n").into_bytes());
    let content_type = Some(format!("multipart/byteranges; boundary={boundary}"));
    Reply { status: 206, lines: own(lines), content_type, content }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
