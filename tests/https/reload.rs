//! Certificates change while they serve: no request fails, live connections stay, and the next handshake sees the change.

use std::cell::Cell;

use ::encke::capi::result::{ENCKE_E_INVAL, ENCKE_E_TLS};
use rustls::version::TLS13;

use super::api::{last_error, Tls};
use super::client::{request, run, run_all, Client};
use super::host::Host;
use super::pki::{ca, localhost, Identity};
use super::setup::{speaking, usual, VERSIONS};

const CLIENTS: usize = 50;
const SWAPS: usize = 50;
/// Handshakes that see each certificate, at least.
const HANDSHAKES: usize = 3;

/// What the clients know of each other; they are tasks of one thread, which is not the host's.
struct Renewals {
    identities: Vec<Identity>,
    tls: Tls,
    /// The certificate in use.
    current: Cell<usize>,
    /// Handshakes that saw it.
    seen: Cell<usize>,
}

impl Renewals {
    fn are_over(&self) -> bool {
        self.current.get() == SWAPS && self.seen.get() >= HANDSHAKES
    }

    /// The next certificate, once this one was seen.
    fn go_on(&self) {
        if self.seen.get() < HANDSHAKES || self.current.get() == SWAPS {
            return;
        }
        let next = self.current.get() + 1;
        assert_eq!(self.tls.swap(&Tls::new(&[&self.identities[next]])), 0, "{}", last_error());
        self.current.set(next);
        self.seen.set(0);
    }
}

/// Half of the clients stay on one connection, the others come again and again.
#[test]
fn under_load() {
    let identities: Vec<_> = (0..=SWAPS).map(|_| ca().issue(&["localhost"])).collect();
    let tls = Tls::new(&[&identities[0]]);
    let host = &Host::start(&tls);
    let renewals = &Renewals { identities, tls, current: Cell::new(0), seen: Cell::new(0) };
    let configs = &VERSIONS.map(speaking);
    let requests = run_all((0..CLIENTS).map(|n| async move {
        let (config, stays) = (&configs[n / 2 % 2], n % 2 == 0);
        let mut requests = 0;
        while !renewals.are_over() {
            let before = renewals.current.get();
            let mut client = Client::open(host, config).await.expect("a handshake");
            let shown = renewals.identities.iter().position(|identity| identity.leaf == *client.leaf());
            let (shown, current) = (shown.expect("one of ours"), renewals.current.get());
            assert!((before..=current).contains(&shown), "{shown} was shown, of {before} to {current}");
            if shown == current {
                renewals.seen.set(renewals.seen.get() + 1);
            }
            for _ in 0..10 {
                assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
                requests += 1;
            }
            renewals.go_on();
            while stays && !renewals.are_over() {
                assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
                requests += 1;
            }
        }
        requests
    }));
    let requests: usize = requests.into_iter().sum();
    let opened = host.log().opened;
    let log = host.wait_for_end_of(opened);
    assert_eq!((log.requests.len(), log.aborted), (requests, 0));
    assert!(opened >= SWAPS * HANDSHAKES && log.done.iter().all(|code| *code == 0));
}

/// An answer that is under way is finished under the old certificate.
#[test]
fn within_an_answer() {
    let (tls, fresh) = (usual(), ca().issue(&["localhost"]));
    let host = Host::start(&tls);
    run(async {
        let config = speaking(&TLS13);
        let mut old = Client::open(&host, &config).await.expect("a handshake");
        old.send(request("/begun").as_bytes()).await.expect("sent");
        host.wait_for_request("/begun");
        assert_eq!(tls.swap(&Tls::new(&[&fresh])), 0);
        let new = Client::open(&host, &config).await.expect("a handshake");
        assert_eq!(new.leaf(), &fresh.leaf);
        host.release();
        assert_eq!(old.answer().await.expect("an answer").body.len(), 3000);
        assert_eq!(old.get("/small").await.expect("an answer").body, b"hello");
        assert_eq!(old.leaf(), &localhost().leaf);
    });
}

/// Files that cannot be used change nothing, wherever that is found out.
#[test]
fn with_bad_files() {
    let (tls, other) = (usual(), ca().issue(&["localhost"]));
    let host = Host::start(&tls);
    let fresh = Tls::new(&[]);
    assert_eq!(fresh.add(&other.chain, &localhost().key), ENCKE_E_TLS);
    assert!(last_error().starts_with("key: "), "{}", last_error());
    assert_eq!(fresh.add("no PEM", &other.key), ENCKE_E_TLS);
    assert_eq!(tls.swap(&fresh), ENCKE_E_INVAL);
    assert_eq!(tls.swap(&tls), ENCKE_E_INVAL);
    assert_eq!(tls.add(&other.chain, "no PEM"), ENCKE_E_TLS);
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            assert_eq!(client.leaf(), &localhost().leaf);
            assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
        }
    });
}
