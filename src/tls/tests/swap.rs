//! Certificates change while they serve.

use std::sync::{Arc, Barrier};

use rustls::version::TLS13;

use super::pki::{ca, localhost, Authority};
use super::wire::{client, connect, serving, Wire, VERSIONS};
use crate::tls::{Certificates, ClientCertificates};

#[test]
fn the_next_handshake_sees_it() {
    for version in VERSIONS {
        let renewed = ca().issue(&["localhost"]);
        let live = serving(&[localhost()]);
        let fresh = serving(&[&renewed]);
        let mut before = connect(&live, &client(version));
        live.swap(&fresh).unwrap();
        assert_eq!(connect(&live, &client(version)).served(), renewed.leaf);
        assert!(fresh.is_empty() && !live.is_empty());
        // Who is connected stays connected.
        assert_eq!(before.served(), localhost().leaf);
        before.exchange();
    }
}

#[test]
fn in_the_middle_of_a_handshake() {
    for version in VERSIONS {
        let renewed = ca().issue(&["localhost"]);
        let live = serving(&[localhost()]);
        // Before the first byte: the new one.
        let mut early = Wire::new(&live, &client(version));
        // After the first byte: the old one.
        let mut late = Wire::new(&live, &client(version));
        let hello = late.client_sends();
        late.server_takes(&hello[..1]).unwrap();
        live.swap(&serving(&[&renewed])).unwrap();
        late.server_takes(&hello[1..]).unwrap();
        early.run().unwrap();
        late.run().unwrap();
        assert_eq!(early.served(), renewed.leaf);
        assert_eq!(late.served(), localhost().leaf);
        early.exchange();
        late.exchange();
    }
}

#[test]
fn refused_swaps_change_nothing() {
    let live = serving(&[localhost()]);
    assert!(live.swap(&live).unwrap_err().0.contains("the same"));
    assert!(live.swap(&Certificates::new()).unwrap_err().0.contains("no certificate"));
    let roots_only = Certificates::new();
    roots_only.add_client_roots(ca().pem.as_bytes()).unwrap();
    live.swap(&roots_only).unwrap_err();
    assert_eq!(connect(&live, &client(&TLS13)).served(), localhost().leaf);
}

#[test]
fn a_bad_addition_changes_nothing() {
    let live = serving(&[localhost()]);
    let other = ca().issue(&["other.test"]);
    live.add(other.chain.as_bytes(), localhost().key.as_bytes()).unwrap_err();
    live.add_client_roots(b"junk").unwrap_err();
    connect(&live, &client(&TLS13));
}

#[test]
fn into_an_empty_set() {
    let live = Arc::new(Certificates::new());
    live.swap(&serving(&[localhost()])).unwrap();
    connect(&live, &client(&TLS13));
}

/// Crosswise swaps do not wait for each other.
#[test]
fn crosswise() {
    let (a, b) = (serving(&[localhost()]), serving(&[localhost()]));
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for (one, two) in [(&a, &b), (&b, &a)] {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for _ in 0..100_000 {
                    // The other thread may have emptied it just now.
                    let _ = one.swap(two);
                }
            });
        }
    });
    assert!(a.is_empty() != b.is_empty());
}

/// Changes of every kind while connections come: each connection gets a whole set.
#[test]
fn under_load() {
    let live = serving(&[localhost()]);
    let renewed = ca().issue(&["localhost"]);
    let root = Authority::new("clients");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50 {
                for identity in [localhost(), &renewed] {
                    let fresh = serving(&[identity]);
                    fresh.set_client_certificates(ClientCertificates::Off).unwrap();
                    fresh.add_client_roots(root.pem.as_bytes()).unwrap();
                    live.swap(&fresh).unwrap();
                    live.swap(&live).unwrap_err();
                }
            }
        });
        for version in VERSIONS.into_iter().cycle().take(30) {
            let served = connect(&live, &client(version)).served();
            assert!(served == localhost().leaf || served == renewed.leaf);
        }
    });
}
