//! Requests under a path that the library answers itself. Owns which mount a path belongs to and what each kind of mount
//! makes of a request, as values: what is to be sent, published, subscribed or opened. No socket, no file, no clock; a
//! driver carries it out.

pub mod authorization;
pub mod bus;
pub mod conditions;
pub mod files;
pub mod path;
pub mod ranges;
pub mod types;

use std::sync::Arc;

use crate::engine::head::Head;
use crate::engine::id::{Id, Kind, Tag};
use crate::engine::Error;
use crate::http1::response::Seen;

use authorization::Guard;

/// Bytes of a prefix at the most.
const MAX_PREFIX: usize = 1024;
/// Mounts of one encke at a time: each request is compared with all of them.
const MOST: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Bus,
    Files,
}

/// The realm that is named where the host names none.
pub fn usual_realm(service: Service) -> &'static str {
    match service {
        Service::Bus => "msgbus",
        Service::Files => "files",
    }
}

/// What a host says of a mount, checked.
#[derive(Debug)]
pub struct Options {
    pub service: Service,
    /// `None`: requests are passed on by the host, and nothing is cut off their paths.
    pub prefix: Option<Box<str>>,
    /// Requests are passed on by the host only.
    pub pass_only: bool,
    pub guard: Option<Guard>,
    /// Field lines of every answer.
    pub lines: Vec<u8>,
    pub seen: Seen,
    /// Pages of every origin may use it.
    pub cors: bool,
}

#[derive(Debug)]
pub struct Mount {
    pub id: Id,
    pub prefix: Box<str>,
    listed: bool,
    pub options: Options,
}

impl Mount {
    /// The path behind the prefix; `None`: it is not below it.
    pub fn rest<'a>(&self, head: &'a Head) -> Option<&'a [u8]> {
        head.text(head.path).strip_prefix(self.prefix.as_bytes())
    }
}

/// Whether a path can be a prefix.
pub fn check_prefix(prefix: &[u8]) -> Result<&str, &'static str> {
    match prefix {
        _ if prefix.len() > MAX_PREFIX => Err("the prefix is longer than 1024 bytes"),
        _ if prefix.first() != Some(&b'/') => Err("the prefix does not begin with '/'"),
        _ if prefix.last() != Some(&b'/') => Err("the prefix does not end in '/'"),
        _ if prefix.windows(2).any(|two| two == b"//") => Err("the prefix contains '//'"),
        _ => match std::str::from_utf8(prefix) {
            Ok(prefix) if prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)) => Ok(prefix),
            _ => Err("the prefix contains what no path does"),
        },
    }
}

/// All mounts of one encke, and what a driver keeps beside each.
#[derive(Debug)]
pub struct Table<T> {
    tag: Tag,
    last: u32,
    /// The longest prefix first.
    mounts: Vec<(Arc<Mount>, Arc<T>)>,
}

impl<T> Table<T> {
    pub fn new(tag: Tag) -> Table<T> {
        Table { tag, last: tag.used, mounts: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.mounts.is_empty()
    }

    /// The last generation that an id of a mount carries.
    pub fn last_generation(&self) -> u32 {
        self.last
    }

    pub fn add(&mut self, options: Options, beside: T) -> Result<Id, Error> {
        if self.mounts.len() >= MOST {
            return Err(Error::NoMemory);
        }
        let listed = options.prefix.is_some() && !options.pass_only;
        let prefix: Box<str> = options.prefix.clone().unwrap_or_else(|| "/".into());
        if listed && self.mounts.iter().any(|(mount, _)| mount.listed && mount.prefix == prefix) {
            return Err(Error::invalid(format!("the prefix {prefix} is another mount's")));
        }
        // One slot is enough: an id is found by its generation, which is never given twice.
        let generation = self.last + 1;
        if generation > crate::engine::id::MAX_GENERATION {
            return Err(Error::NoMemory);
        }
        self.last = generation;
        let id = Id::new(self.tag.number, Kind::Other, 0, generation);
        let at = self.mounts.partition_point(|(mount, _)| mount.prefix.len() >= prefix.len());
        self.mounts.insert(at, (Arc::new(Mount { id, prefix, listed, options }), Arc::new(beside)));
        Ok(id)
    }

    pub fn remove(&mut self, id: Id) -> bool {
        let before = self.mounts.len();
        self.mounts.retain(|(mount, _)| mount.id != id);
        self.mounts.len() < before
    }

    pub fn get(&self, id: Id) -> Option<&(Arc<Mount>, Arc<T>)> {
        self.mounts.iter().find(|(mount, _)| mount.id == id)
    }

    /// The mount that a request belongs to.
    pub fn find(&self, head: &Head) -> Option<&(Arc<Mount>, Arc<T>)> {
        let path = head.text(head.path);
        self.mounts.iter().find(|(mount, _)| mount.listed && path.starts_with(mount.prefix.as_bytes()))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::engine::peer::Peer;
    use crate::http1::request::{parse, Limits, Parsed, RequestHead};

    /// The head of a request, and the body behind it.
    pub fn head(source: &str) -> Head {
        let mut parsed = RequestHead::default();
        let limits = Limits { max_head: 65536, max_fields: 100, allow_connect: false };
        assert_eq!(parse(source.as_bytes(), &limits, &mut parsed), Ok(Parsed::Complete), "{source}");
        let (mut pattern, mut head) = (Head::default(), Head::default());
        pattern.fill(source.as_bytes(), &parsed, 1);
        head.repeat(&pattern, Id::NONE, &Peer::tcp("127.0.0.1:4711".parse().unwrap()));
        head.bytes.extend_from_slice(&source.as_bytes()[parsed.len..]);
        head
    }

    pub fn options(prefix: &str) -> Options {
        Options {
            service: Service::Bus,
            prefix: Some(prefix.into()),
            pass_only: false,
            guard: None,
            lines: Vec::new(),
            seen: Seen::default(),
            cors: false,
        }
    }

    pub fn mount(options: Options) -> Arc<Mount> {
        let mut table = Table::new(Tag { number: 1, used: 0 });
        let id = table.add(options, ()).unwrap();
        table.get(id).unwrap().0.clone()
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut table = Table::new(Tag { number: 1, used: 7 });
        for (prefix, n) in [("/", 0), ("/a/", 1), ("/a/b/", 2), ("/b/", 3)] {
            table.add(options(prefix), n).unwrap();
        }
        let found = |path: &str| {
            let (mount, n) = table.find(&head(&format!("GET {path} HTTP/1.0\r\n\r\n")))?.clone();
            assert!(path.starts_with(&*mount.prefix));
            Some(*n)
        };
        for (path, n) in
            [("/", 0), ("/a", 0), ("/a/", 1), ("/a/c?/a/b/", 1), ("/a/b/c", 2), ("/b/a/b/", 3), ("/%61/", 0)]
        {
            assert_eq!(found(path), Some(n), "{path}");
        }
        assert!(matches!(table.add(options("/a/"), 9), Err(Error::Invalid(_))));
    }

    #[test]
    fn what_is_not_listed_is_not_found() {
        let mut table = Table::new(Tag { number: 1, used: 0 });
        let id = table.add(Options { pass_only: true, ..options("/a/") }, ()).unwrap();
        let whole = table.add(Options { prefix: None, ..options("/") }, ()).unwrap();
        assert_ne!(id, whole);
        let request = head("GET /a/b HTTP/1.0\r\n\r\n");
        assert!(table.find(&request).is_none());
        assert_eq!(table.get(id).unwrap().0.rest(&request), Some(&b"b"[..]));
        assert_eq!(table.get(whole).unwrap().0.rest(&request), Some(&b"a/b"[..]));
        assert!(table.remove(id) && !table.remove(id));
        assert!(table.get(id).is_none());
    }

    #[test]
    fn prefixes() {
        for good in ["/", "/msgbus/", "/a/b/", "/%20/"] {
            assert_eq!(check_prefix(good.as_bytes()), Ok(good));
        }
        for bad in ["", "a/", "/a", "//", "/a//", "/a?/", "/a #/", "/Zoë/", "/\n/"] {
            assert!(check_prefix(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
