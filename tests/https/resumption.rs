//! Sessions are taken up again: with the same set of certificates, whichever encke uses it and whatever was swapped in;
//! never where the demands on clients have changed.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};

use super::api::Tls;
use super::client::{run, Client};
use super::host::Host;
use super::pki::{ca, localhost};
use super::server::hex;
use super::setup::{usual, Setup, VERSIONS};

/// How a handshake went, by the client's word. The answer comes behind the ticket.
async fn kind(host: &Host, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut client = Client::open(host, config).await.expect("a handshake");
    assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
    client.kind()
}

fn configs() -> [Arc<ClientConfig>; 2] {
    VERSIONS.map(|version| Setup { versions: &[version], resumes: true, ..Setup::default() }.config())
}

#[test]
fn both_versions() {
    let host = Host::start(&usual());
    run(async {
        for config in configs() {
            let mut first = Client::open(&host, &config).await.expect("a handshake");
            let facts = first.facts().await.expect("an answer");
            assert_eq!(first.kind(), HandshakeKind::Full);
            for _ in 0..3 {
                let mut again = Client::open(&host, &config).await.expect("a handshake");
                assert_eq!(again.facts().await.expect("an answer"), facts);
                assert_eq!(again.kind(), HandshakeKind::Resumed);
            }
        }
    });
}

#[test]
fn with_another_encke_of_the_same_certificates() {
    let tls = usual();
    let (here, there, stranger) = (Host::start(&tls), Host::start(&tls), Host::start(&usual()));
    run(async {
        for config in configs() {
            assert_eq!(kind(&here, &config).await, HandshakeKind::Full);
            assert_eq!(kind(&there, &config).await, HandshakeKind::Resumed);
            assert_eq!(kind(&here, &config).await, HandshakeKind::Resumed);
            // Its own keys, though the certificate is the same.
            assert_eq!(kind(&stranger, &config).await, HandshakeKind::Full);
        }
    });
}

#[test]
fn across_a_swap() {
    for config in configs() {
        let tls = usual();
        let host = Host::start(&tls);
        run(async {
            assert_eq!(kind(&host, &config).await, HandshakeKind::Full);
            let renewed = ca().issue(&["localhost"]);
            assert_eq!(tls.swap(&Tls::new(&[&renewed])), 0);
            assert_eq!(kind(&host, &config).await, HandshakeKind::Resumed);
            // Clients are to show a certificate from now on: who has not shown one is not known.
            assert_eq!(tls.swap(&usual().with_client_root(ca())), 0);
            let trouble = async { Client::open(&host, &config).await?.get("/small").await }.await;
            assert!(trouble.is_err(), "{trouble:?}");
        });
    }
}

/// A session of before proves nothing that was not asked then; one of after carries what was shown.
#[test]
fn with_client_certificates() {
    let me = ca().issue(&["me"]);
    for version in VERSIONS {
        let config = Setup { versions: &[version], resumes: true, identity: Some(&me), ..Setup::default() }.config();
        let tls = usual();
        let host = Host::start(&tls);
        run(async {
            assert_eq!(kind(&host, &config).await, HandshakeKind::Full);
            assert_eq!(tls.swap(&Tls::new(&[localhost()]).with_client_root(ca())), 0);
            for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
                let mut client = Client::open(&host, &config).await.expect("a handshake");
                assert_eq!(client.facts().await.expect("an answer").certificate, hex(&me.leaf));
                assert_eq!(client.kind(), expected);
            }
        });
    }
}
