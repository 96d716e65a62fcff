//! Which certificate a client gets: by the server name it asked for, else the first one added.
//!
//! Rule: an exact name beats a wildcard, a wildcard covers one label; among several certificates of one name the first
//! whose key the client can verify. The name goes to the session through the thread: rustls calls the resolver inside
//! the session's own call and has no other place where an unbuffered connection shows it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

thread_local! {
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name in the ClientHello that this thread handled since the last call.
pub(super) fn take_asked() -> Option<Box<str>> {
    ASKED.with(|asked| asked.borrow_mut().take())
}

/// The certificates of one set, found by name.
#[derive(Clone, Default)]
pub(super) struct Names {
    certificates: Vec<Arc<CertifiedKey>>,
    /// From lower-case names to places in `certificates`, in the order of adding; a wildcard is kept as ".example.com".
    by_name: HashMap<Box<str>, Vec<u32>>,
}

impl Names {
    pub(super) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    pub(super) fn add<'a>(&mut self, certificate: Arc<CertifiedKey>, names: impl Iterator<Item = &'a str>) {
        let place = self.certificates.len() as u32;
        self.certificates.push(certificate);
        for name in names {
            let name = name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase();
            let places = self.by_name.entry(name.into_boxed_str()).or_default();
            // A name may stand twice in one certificate.
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }

    pub(super) fn find(&self, name: Option<&str>, fits: impl Fn(&CertifiedKey) -> bool) -> Option<&Arc<CertifiedKey>> {
        let under = |key: &str| {
            let places = self.by_name.get(key)?;
            places.iter().filter_map(|place| self.certificates.get(*place as usize)).find(|found| fits(found))
        };
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let named = name.as_deref().and_then(|name| under(name).or_else(|| under(&name[name.find('.')?..])));
        named.or_else(|| self.certificates.iter().find(|certificate| fits(certificate)))
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.with(|asked| *asked.borrow_mut() = name.map(Box::from));
        let found = self.find(name, |certificate| certificate.key.choose_scheme(hello.signature_schemes()).is_some());
        // None would be told as access_denied; with one that does not fit rustls says what is the case: handshake_failure.
        found.or_else(|| self.certificates.first()).cloned()
    }
}
