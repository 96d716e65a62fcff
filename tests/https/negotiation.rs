//! What client and server agree upon: version, suite, certificate, protocol; and that the host is told.

use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, CipherSuite, Error};

use super::api::Tls;
use super::client::{run, Client, Facts, Trouble};
use super::host::Host;
use super::pki::{ca, localhost, rsa, Authority};
use super::setup::{provider, speaking, usual, Setup, VERSIONS};

/// As ENCKE_INFO_TLS has it.
fn named(suite: CipherSuite) -> String {
    let found = provider().cipher_suites.iter().find(|found| found.suite() == suite).copied();
    let version = if found.expect("a suite of this").version() == &TLS13 { "TLSv1.3" } else { "TLSv1.2" };
    format!("{version} {suite:?}")
}

/// What is agreed with these suites, the first one first.
async fn agreed(host: &Host, suites: &[CipherSuite]) -> Facts {
    let mut versions = VERSIONS.to_vec();
    versions.retain(|version| {
        let mut all = provider().cipher_suites.clone().into_iter();
        all.any(|suite| suite.version() == *version && suites.contains(&suite.suite()))
    });
    let config = Setup { suites: Some(suites), versions: &versions, ..Setup::default() }.config();
    Client::open(host, &config).await.expect("a handshake").facts().await.expect("an answer")
}

#[test]
fn each_suite_alone() {
    let host = Host::start(&Tls::new(&[localhost(), &rsa(&["localhost"])]));
    run(async {
        let suites: Vec<_> = provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert!(suites.len() >= 9, "{suites:?}");
        for suite in suites {
            let expected = Facts {
                server_name: "localhost".into(),
                version_and_suite: named(suite),
                alpn: "http/1.1".into(),
                certificate: String::new(),
            };
            assert_eq!(agreed(&host, &[suite]).await, expected);
        }
    });
}

/// Whatever the client likes best.
#[test]
fn the_server_chooses() {
    use CipherSuite::*;
    let (both, only_rsa) = (Host::start(&usual()), Host::start(&Tls::new(&[&rsa(&["localhost"])])));
    run(async {
        let all: Vec<_> = provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
        let backwards: Vec<_> = all.iter().rev().copied().collect();
        let tls12: Vec<_> = backwards.iter().filter(|suite| !named(**suite).contains("TLS13")).copied().collect();
        for order in [&all, &backwards] {
            assert_eq!(agreed(&both, order).await.version_and_suite, named(TLS13_AES_128_GCM_SHA256));
        }
        let ecdsa = named(TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(agreed(&both, &tls12).await.version_and_suite, ecdsa);
        let rsa = named(TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(agreed(&only_rsa, &tls12).await.version_and_suite, rsa);
        let weaker = [TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384];
        assert_eq!(agreed(&both, &weaker).await.version_and_suite, named(TLS13_AES_256_GCM_SHA384));
    });
}

#[test]
fn each_name_has_its_certificate() {
    let (default, other) = (ca().issue(&["default.test"]), ca().issue(&["other.test", "also.test"]));
    let (wild, exact) = (ca().issue(&["*.wild.test"]), ca().issue(&["exact.wild.test"]));
    let host = Host::start(&Tls::new(&[&default, &other, &wild, &exact]));
    let served = [
        ("default.test", &default),
        ("other.test", &other),
        ("also.test", &other),
        ("ALSO.Test", &other),
        ("a.wild.test", &wild),
        ("exact.wild.test", &exact),
    ];
    run(async {
        for config in VERSIONS.map(speaking) {
            for (name, identity) in served {
                let mut client = Client::named(&host, &config, name).await.expect(name);
                assert_eq!(client.leaf(), &identity.leaf, "{name}");
                let told = client.facts().await.expect(name).server_name;
                assert!(told.eq_ignore_ascii_case(name), "{told} for {name}");
            }
            // These get the default, and object to it.
            for name in ["unknown.test", "wild.test", "a.b.wild.test"] {
                let trouble = Client::named(&host, &config, name).await.err();
                let Some(Trouble::Tls(Error::InvalidCertificate(why))) = trouble else { panic!("{name}: {trouble:?}") };
                let CertificateError::NotValidForNameContext { presented, .. } = why else { panic!("{name}: {why:?}") };
                assert_eq!(presented, ["DnsName(\"default.test\")"], "{name}");
            }
        }
    });
}

/// Without a server name the first certificate is shown; that is right for an address.
#[test]
fn no_name() {
    let address = ca().issue(&["127.0.0.1"]);
    let host = Host::start(&Tls::new(&[&address, localhost()]));
    run(async {
        for config in VERSIONS.map(speaking) {
            let mut client = Client::named(&host, &config, "127.0.0.1").await.expect("a handshake");
            assert_eq!(client.leaf(), &address.leaf);
            assert_eq!(client.facts().await.expect("an answer").server_name, "");
        }
    });
}

#[test]
fn protocols() {
    let host = Host::start(&usual());
    run(async {
        for version in VERSIONS {
            let versions: &[_] = &[version];
            for (offered, agreed) in [
                (&["http/1.1"][..], Some(&b"http/1.1"[..])),
                (&["h2", "http/1.1"], Some(b"http/1.1")),
                (&["http/1.1", "h2"], Some(b"http/1.1")),
                (&[], None),
            ] {
                let config = Setup { versions, alpn: offered, ..Setup::default() }.config();
                let mut client = Client::open(&host, &config).await.expect("a handshake");
                assert_eq!(client.tls.alpn_protocol(), agreed);
                assert_eq!(client.facts().await.expect("an answer").alpn.as_bytes(), agreed.unwrap_or_default());
            }
            let config = Setup { versions, alpn: &["h2"], ..Setup::default() }.config();
            let trouble = Client::open(&host, &config).await.err();
            let alert = AlertDescription::NoApplicationProtocol;
            assert_eq!(trouble, Some(Trouble::Tls(Error::AlertReceived(alert))));
        }
    });
}

/// A client that does not trust the server says so, and nothing of it reaches the host.
#[test]
fn a_client_that_trusts_others() {
    let host = Host::start(&usual());
    let root = Authority::new("another");
    run(async {
        for version in VERSIONS {
            let config = Setup { versions: &[version], root: &root, ..Setup::default() }.config();
            let trouble = Client::open(&host, &config).await.err();
            assert!(
                matches!(trouble, Some(Trouble::Tls(Error::InvalidCertificate(CertificateError::UnknownIssuer)))),
                "{trouble:?}"
            );
        }
    });
    let log = host.wait_for_end_of(2);
    assert!(log.requests.is_empty());
}
