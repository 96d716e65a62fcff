//! Sessions are taken up again: with the same set of certificates, whichever encke uses it and whatever was swapped in;
//! never where the demands on clients have changed.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};

use super::api::Tls;
use super::client::{request, run, Client, Trouble};
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

fn tickets_of_1_3() -> Arc<ClientConfig> {
    Setup { versions: &[&rustls::version::TLS13], resumes: true, ..Setup::default() }.config()
}

/// Nobody waits for it, and sent alone it costs as much as an answer.
#[test]
fn the_ticket_goes_with_the_first_answer() {
    let (host, config) = (Host::start(&usual()), tickets_of_1_3());
    run(async {
        let mut client = Client::open(&host, &config).await.expect("a handshake");
        // What was sent before was read before, and answered before.
        assert_eq!(kind(&host, &config).await, HandshakeKind::Full);
        let mut byte = [0];
        let nothing = client.socket.get_ref().peek(&mut byte).expect_err("nothing has come");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
        assert_eq!(client.tls.tls13_tickets_received(), 1);
    });
}

#[test]
fn the_ticket_does_not_wait_for_a_late_answer() {
    let (host, config) = (Host::start(&usual()), tickets_of_1_3());
    run(async {
        for _ in 0..3 {
            let mut client = Client::open(&host, &config).await.expect("a handshake");
            client.send(request("/held").as_bytes()).await.expect("a server");
            while client.tls.tls13_tickets_received() == 0 {
                client.turn().await.expect("a ticket");
            }
            assert!(client.plain.is_empty());
            host.release();
            assert_eq!(client.answer().await.expect("an answer").body, b"released");
            assert_eq!(client.tls.tls13_tickets_received(), 1);
        }
    });
}

/// A request in pieces is none yet, but its first piece says that somebody reads.
#[test]
fn the_ticket_does_not_wait_for_the_rest_of_a_request() {
    let (host, config) = (Host::start(&usual()), tickets_of_1_3());
    run(async {
        let mut client = Client::open(&host, &config).await.expect("a handshake");
        let request = request("/small");
        let (first, rest) = request.as_bytes().split_at(10);
        client.send(first).await.expect("a server");
        while client.tls.tls13_tickets_received() == 0 {
            client.turn().await.expect("a ticket");
        }
        client.send(rest).await.expect("a server");
        assert_eq!(client.answer().await.expect("an answer").body, b"hello");
    });
}

#[test]
fn who_asks_nothing_gets_the_ticket_with_the_end() {
    let (host, config) = (Host::start(&usual()), tickets_of_1_3());
    run(async {
        let mut client = Client::open(&host, &config).await.expect("a handshake");
        client.close_notify().await;
        assert_eq!(client.rest().await, Trouble::Ended);
        assert_eq!(client.tls.tls13_tickets_received(), 1);
        assert_eq!(kind(&host, &config).await, HandshakeKind::Resumed);
    });
}

/// Records are numbered: what is sent before the first answer goes behind the ticket.
#[test]
fn a_key_update_goes_behind_the_ticket() {
    let (host, config) = (Host::start(&usual()), tickets_of_1_3());
    run(async {
        let mut client = Client::open(&host, &config).await.expect("a handshake");
        client.tls.refresh_traffic_keys().expect("TLS 1.3");
        client.flush().await.expect("a server");
        assert_eq!(client.get("/small").await.expect("an answer").body, b"hello");
        assert_eq!(client.tls.tls13_tickets_received(), 1);
    });
}
