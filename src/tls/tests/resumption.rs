//! Tickets: sessions are taken up again without anything kept here.

use std::sync::Arc;

use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind};

use super::pki::{ca, localhost, Authority};
use super::wire::{client, client_with, connect, serving, VERSIONS};
use crate::tls::{Certificates, ClientCertificates};

fn kind(certificates: &Arc<Certificates>, client: &Arc<ClientConfig>) -> HandshakeKind {
    let wire = connect(certificates, client);
    assert_eq!(wire.session.server_name(), Some("localhost"));
    wire.client.handshake_kind().unwrap()
}

#[test]
fn both_versions_resume() {
    let certificates = serving(&[localhost()]);
    for version in VERSIONS {
        let client = client(version);
        assert_eq!(kind(&certificates, &client), HandshakeKind::Full);
        assert_eq!(kind(&certificates, &client), HandshakeKind::Resumed);
        assert_eq!(kind(&certificates, &client), HandshakeKind::Resumed);
    }
}

#[test]
fn one_ticket() {
    let wire = connect(&serving(&[localhost()]), &client(&TLS13));
    assert_eq!(wire.client.tls13_tickets_received(), 1);
}

/// Another set has other keys.
#[test]
fn not_with_strangers() {
    for version in VERSIONS {
        let client = client(version);
        assert_eq!(kind(&serving(&[localhost()]), &client), HandshakeKind::Full);
        assert_eq!(kind(&serving(&[localhost()]), &client), HandshakeKind::Full);
    }
}

#[test]
fn across_additions_and_renewals() {
    for version in VERSIONS {
        let certificates = serving(&[localhost()]);
        let client = client(version);
        assert_eq!(kind(&certificates, &client), HandshakeKind::Full);
        let more = ca().issue(&["more.test"]);
        certificates.add(more.chain.as_bytes(), more.key.as_bytes()).unwrap();
        assert_eq!(kind(&certificates, &client), HandshakeKind::Resumed);
        let fresh = serving(&[&ca().issue(&["localhost"])]);
        // It has served already, with tickets of its own.
        connect(&fresh, &super::wire::client(version));
        certificates.swap(&fresh).unwrap();
        assert_eq!(kind(&certificates, &client), HandshakeKind::Resumed);
        // What was fresh is empty now, and has not kept the keys.
        fresh.add(localhost().chain.as_bytes(), localhost().key.as_bytes()).unwrap();
        assert_eq!(kind(&fresh, &client), HandshakeKind::Full);
    }
}

/// A session proves what its client showed when it began; nothing that was not asked then.
#[test]
fn not_across_a_change_of_what_clients_must_show() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let me = one.issue(&["me"]);
    for version in VERSIONS {
        let client = Arc::new(client_with(version, Some(&me)));
        let fresh = |roots: &[&Authority], mode| {
            let fresh = serving(&[localhost()]);
            for root in roots {
                fresh.add_client_roots(root.pem.as_bytes()).unwrap();
            }
            if let Some(mode) = mode {
                fresh.set_client_certificates(mode).unwrap();
            }
            fresh
        };
        let certificates = fresh(&[], None);
        let after = |change: &dyn Fn(), expected| {
            connect(&certificates, &client);
            assert_eq!(kind(&certificates, &client), HandshakeKind::Resumed);
            change();
            assert_eq!(kind(&certificates, &client), expected);
        };
        let swap = |roots: &[&Authority], mode, expected| {
            after(&|| certificates.swap(&fresh(roots, mode)).unwrap(), expected);
        };
        swap(&[&one], None, HandshakeKind::Full);
        swap(&[&one], None, HandshakeKind::Resumed);
        swap(&[&one], Some(ClientCertificates::Required), HandshakeKind::Resumed);
        swap(&[&one], Some(ClientCertificates::Optional), HandshakeKind::Full);
        swap(&[&one, &two], Some(ClientCertificates::Optional), HandshakeKind::Full);
        swap(&[&two, &one, &two], Some(ClientCertificates::Optional), HandshakeKind::Resumed);
        swap(&[&two, &one], None, HandshakeKind::Full);
        swap(&[], None, HandshakeKind::Full);
        // The same without a swap.
        after(&|| certificates.add_client_roots(one.pem.as_bytes()).unwrap(), HandshakeKind::Full);
        after(&|| certificates.add_client_roots(one.pem.as_bytes()).unwrap(), HandshakeKind::Resumed);
        let set = |mode| certificates.set_client_certificates(mode).unwrap();
        after(&|| set(ClientCertificates::Required), HandshakeKind::Resumed);
        after(&|| set(ClientCertificates::Optional), HandshakeKind::Full);
        after(&|| set(ClientCertificates::Off), HandshakeKind::Full);
    }
}

/// A resumed session still knows who the client is.
#[test]
fn the_client_certificate_is_in_the_ticket() {
    let me = ca().issue(&["me"]);
    for version in VERSIONS {
        let certificates = serving(&[localhost()]);
        certificates.add_client_roots(ca().pem.as_bytes()).unwrap();
        let client = Arc::new(client_with(version, Some(&me)));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let wire = connect(&certificates, &client);
            assert_eq!(wire.client.handshake_kind(), Some(expected));
            assert_eq!(wire.session.client_certificate(), Some(me.leaf.as_ref()));
        }
    }
}
