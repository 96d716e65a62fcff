//! Requests to mounts: paths of files, ranges, conditions, authorization, names of channels.
//!
//! An input is two characters and what is read. The first: `0` a request for a file, `1` a request to a bus, `2` the path of
//! a channel, `3` the name of a channel, `4` a Range field and its file's size. The second: what the mount is set up with.
//! A request is its method, its path behind the prefix and its fields, one line each.
//!
//! What must hold: no path leads out of the directory, or to a name that is not served; parts lie inside their file, do not
//! overlap, and are those that a second reader of the field finds; conditions are met or not by the fields that ask for them;
//! no line of an answer ends early; a name is found again by its path, and a path by its name; only the password lets in.

use std::sync::Arc;

use encke::engine::answer::Body;
use encke::engine::head::Head;
use encke::engine::id::{Id, Tag};
use encke::engine::peer::Peer;
use encke::http1::date::imf_fixdate;
use encke::http1::request::{parse, Limits, Parsed, RequestHead};
use encke::http1::response::Seen;
use encke::mounts::authorization::{Credentials, Guard};
use encke::mounts::bus::{Action, Bus, Page};
use encke::mounts::files::{self, Content, Facts, Files, Step};
use encke::mounts::ranges::{self, Range, Ranges};
use encke::mounts::{Mount, Options, Service, Table};
use encke::push::location;
use encke::push::message::{check_name, MAX_NAME};

use crate::bytes::Bytes;

const PREFIX: &str = "/m/";
const SECRET: &[u8] = b"pw";
const NOW: u64 = 1_795_164_023;

pub fn run(data: &[u8]) {
    let mut input = Bytes::new(data);
    let (what, manner) = (input.u8(), input.u8());
    match what & 7 {
        0 => file(input.rest(), manner),
        1 => bus(input.rest(), manner),
        2 => path_of_channel(input.rest()),
        3 => name_of_channel(input.rest()),
        _ => {
            let size = u64::from(input.u16()) << (manner % 49);
            range_field(input.rest(), size);
        }
    }
}

fn mount(service: Service, manner: u8) -> Arc<Mount> {
    let mut table = Table::new(Tag { number: 1, used: 0 });
    let options = Options {
        service,
        prefix: Some(PREFIX.into()),
        pass_only: false,
        guard: (manner & 4 != 0).then(|| Guard::new(SECRET, "a \"realm\"")),
        lines: if manner & 8 != 0 { b"Cache-Control: no-cache\r\n".to_vec() } else { Vec::new() },
        seen: Seen::default(),
        cors: manner & 16 != 0,
    };
    let id = table.add(options, ()).expect("a good mount");
    table.get(id).expect("it was added").0.clone()
}

/// The head of a request that a client could send, if this is one.
fn head(text: &[u8]) -> Option<Head> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let (method, rest) = (lines.next()?, lines.next()?);
    let mut source = [method, b" ", PREFIX.as_bytes(), rest, b" HTTP/1.1\r\nHost: a\r\n"].concat();
    for line in lines {
        source.extend_from_slice(line);
        source.extend_from_slice(b"\r\n");
    }
    source.extend_from_slice(b"\r\n");
    let mut parsed = RequestHead::default();
    let limits = Limits { max_head: 65536, max_fields: 100, allow_connect: false };
    if parse(&source, &limits, &mut parsed) != Ok(Parsed::Complete) || parsed.len != source.len() {
        return None;
    }
    let (mut pattern, mut head) = (Head::default(), Head::default());
    pattern.fill(&source, &parsed, 1);
    head.repeat(&pattern, Id::NONE, &Peer::unknown());
    Some(head)
}

/// Every line has its end, and nothing that ends it before.
fn are_lines(text: &[u8]) {
    if !text.is_empty() {
        let text = text.strip_suffix(b"\r\n").expect("a last line with its end");
        for line in
            text.split(|byte| *byte == b'\n').enumerate().map(|(n, line)| (n, line.strip_suffix(b"\r").unwrap_or(line)))
        {
            assert!(!line.1.iter().any(|byte| matches!(byte, b'\r' | 0)), "line {} ends early", line.0);
        }
        let feeds = text.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(feeds, text.windows(2).filter(|two| two == b"\r\n").count(), "a bare LF");
    }
}

/// Without the password nobody comes in; with it everybody does.
fn admitted(mount: &Mount, head: &Head) -> bool {
    let credentials = Credentials::of(head);
    if let Some(credentials) = &credentials {
        assert!(!credentials.user.contains(&b':'));
    }
    mount.options.guard.is_none() || credentials.is_some_and(|credentials| credentials.password == SECRET)
}

// ---- files ---------------------------------------------------------------------------------------------------------------

fn file(data: &[u8], manner: u8) {
    let Some(head) = head(data) else { return };
    let (mount, files) = (mount(Service::Files, manner), Files::new(manner & 1 != 0, manner & 2 != 0));
    let accepted = files::accepted(&head);
    assert!(accepted.len() < 2 || accepted.len() == 2 && accepted[0] != accepted[1], "an encoding twice");
    let path = match files::begin(&mount, &files, &head) {
        Step::Reply(reply) => {
            assert!(matches!(reply.status, 400 | 401 | 404 | 405));
            assert_eq!(reply.status == 401, !admitted(&mount, &head));
            return are_lines(&reply.lines);
        }
        Step::Open(path) => path,
    };
    assert!(admitted(&mount, &head) && matches!(head.text(head.method), b"GET" | b"HEAD"));
    let names = path.relative.split(|byte| *byte == b'/');
    for name in names.filter(|_| !path.relative.is_empty()) {
        assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&0), "{name:?}");
        assert!(files.dotfiles || name[0] != b'.', "{name:?}");
    }
    let rest = mount.rest(&head).expect("it is below the prefix");
    if !rest.contains(&b'%') {
        assert_eq!([&path.relative[..], if path.directory && !rest.is_empty() { b"/" } else { b"" }].concat(), rest);
    }
    let redirect = files::redirect(&mount, &head);
    are_lines(&redirect.lines);
    assert!(redirect.lines.starts_with(b"Location: /") && redirect.lines[11] != b'/', "another server");

    let facts = Facts { size: 1 << (manner >> 3), seconds: NOW - u64::from(manner & 64), nanoseconds: 5, inode: 7 };
    let kind = files::content_type(&path.relative);
    let reply = files::respond(&mount, &files, &head, (&facts, accepted.first().copied()), kind, NOW);
    are_lines(&reply.lines);
    let asks = |names: [&str; 2]| names.iter().any(|name| head.field(name).is_some());
    match reply.status {
        200 => assert_eq!(reply.content, Content::Range(Range { start: 0, len: facts.size })),
        206 => {
            assert!(head.field("range").is_some() && head.text(head.method) == b"GET");
            match reply.content {
                Content::Range(range) => inside(&[range], facts.size),
                Content::Ranges(parts, _) => inside(&parts.iter().map(|part| part.1).collect::<Vec<_>>(), facts.size),
                Content::Text(text) => panic!("206 with {text}"),
            }
        }
        304 => assert!(asks(["if-none-match", "if-modified-since"])),
        412 => assert!(asks(["if-match", "if-unmodified-since"])),
        416 => assert!(head.field("range").is_some()),
        status => panic!("{status}"),
    }
}

fn inside(parts: &[Range], size: u64) {
    assert!(!parts.is_empty() && parts.len() <= 16);
    for (n, part) in parts.iter().enumerate() {
        assert!(part.len > 0 && part.start < size && part.len <= size - part.start, "{part:?} of {size}");
        for other in &parts[..n] {
            let apart = other.start + other.len <= part.start || part.start + part.len <= other.start;
            assert!(apart, "{other:?} and {part:?}");
        }
    }
}

/// RFC 9110, 14.1.2, read once more: what the field asks for, first and last byte; `None`: it is not in the grammar.
fn ranges_of(value: &[u8], size: u64) -> Option<Vec<(u128, u128)>> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Numbers beyond 64 bits are all the same: behind every end.
    let number = |digits: &str| match digits.trim_start_matches('0') {
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => None,
        "" => Some(0),
        digits => Some(digits.parse::<u64>().map_or(u128::from(u64::MAX), u128::from)),
    };
    let size = u128::from(size);
    let mut found = Vec::new();
    for spec in set.split(',').map(str::trim_ascii).filter(|spec| !spec.is_empty()) {
        let (first, last) = spec.split_once('-')?;
        found.push(match (first, last) {
            ("", "") => return None,
            ("", suffix) => (size - number(suffix)?.min(size), size),
            (first, "") => (number(first)?, size),
            (first, last) if number(first)? > number(last)? => return None,
            (first, last) => (number(first)?, (number(last)? + 1).min(size)),
        });
    }
    (!found.is_empty()).then_some(found)
}

fn range_field(value: &[u8], size: u64) {
    match (ranges::parse(value, size), ranges_of(value, size)) {
        (Ranges::Whole, _) => {}
        (Ranges::Unsatisfiable, Some(asked)) => assert!(asked.iter().all(|(start, end)| start >= end)),
        (Ranges::Parts(parts), Some(asked)) => {
            inside(&parts, size);
            let asked: Vec<_> = asked.into_iter().filter(|(start, end)| start < end).collect();
            let parts: Vec<_> = parts.iter().map(|part| (part.start.into(), (part.start + part.len).into())).collect();
            assert_eq!(parts, asked);
        }
        (read, None) => panic!("{read:?} of what is no range"),
    }
}

// ---- the bus -------------------------------------------------------------------------------------------------------------

fn bus(data: &[u8], manner: u8) {
    let Some(head) = head(data) else { return };
    let (mount, date) = (mount(Service::Bus, manner), imf_fixdate(NOW));
    let page = match manner & 3 {
        0 | 1 => Page::Own,
        2 => Page::Listed("https://a.example"),
        _ => Page::Foreign,
    };
    let channel = match Bus::new(&mount, &head, &date, page).act(&head) {
        Action::Answer(answer) => {
            assert!((200..600).contains(&answer.status));
            are_lines(&answer.lines);
            return assert!(matches!(answer.body, Body::Copy(_) | Body::Owned(_)));
        }
        Action::Publish(publication) => {
            assert_eq!(head.text(head.method), b"POST");
            assert!(publication.parts.check().is_ok());
            publication.channel
        }
        Action::Subscribe(subscribed) => {
            assert_eq!(head.text(head.method), b"GET");
            are_lines(&subscribed.subscription.lines);
            assert_eq!(subscribed.subscription.patterns.len(), 1);
            subscribed.publication.channel
        }
    };
    assert!(admitted(&mount, &head));
    assert!(channel.len() <= MAX_NAME && !channel.ends_with('*'));
    assert!(channel.is_empty() || check_name(&channel).is_ok(), "{channel:?}");
}

/// A name leads back to itself, by a path that any request can hold.
fn leads_back(name: &str) {
    let path = location::of(PREFIX, name);
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte)), "{path}");
    let rest = path.strip_prefix(PREFIX).expect("it is below the prefix");
    assert_eq!(location::channel(rest.as_bytes()).as_deref(), Some(name), "by {path}");
}

fn path_of_channel(path: &[u8]) {
    let Some(name) = location::channel(path) else { return };
    assert!(!name.ends_with('*'));
    if check_name(&name).is_ok() {
        leads_back(&name);
    }
}

fn name_of_channel(name: &[u8]) {
    if let Ok(name) = std::str::from_utf8(name) {
        if check_name(name).is_ok() && !name.ends_with('*') {
            leads_back(name);
        }
    }
}
