//! Which certificate a client gets.

use std::sync::Arc;

use pki_types::CertificateDer;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

use super::pki::{self, ca, Identity};
use super::wire::{serving, Wire, VERSIONS};
use crate::tls::names::Names;
use crate::tls::provider::provider;
use crate::tls::Certificates;

/// Takes any certificate, but only these signatures.
#[derive(Debug)]
struct Anything(Vec<SignatureScheme>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &pki_types::ServerName<'_>,
        _: &[u8],
        _: pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const ECDSA: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384];
const RSA: [SignatureScheme; 2] = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];

fn client(version: &'static SupportedProtocolVersion, schemes: &[SignatureScheme], sni: bool) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(schemes.to_vec())))
        .with_no_client_auth();
    config.enable_sni = sni;
    Arc::new(config)
}

fn served(certificates: &Arc<Certificates>, name: &'static str) -> CertificateDer<'static> {
    let mut given = None;
    for version in VERSIONS {
        let mut wire = Wire::named(certificates, &client(version, &ECDSA, true), name);
        wire.run().unwrap();
        assert_eq!(wire.session.server_name(), Some(name.to_ascii_lowercase().as_str()));
        assert_eq!(given.get_or_insert(wire.served()), &wire.served());
    }
    given.unwrap()
}

#[test]
fn exact_wildcard_default() {
    let first = ca().issue(&["first.test"]);
    let wildcard = ca().issue(&["*.a.test", "other.test"]);
    let exact = ca().issue(&["www.a.test", "MiXed.test"]);
    let certificates = serving(&[&first, &wildcard, &exact]);
    let is = |name, identity: &Identity| assert_eq!(served(&certificates, name), identity.leaf, "{name}");
    is("first.test", &first);
    is("www.a.test", &exact);
    is("WWW.a.TEST", &exact);
    is("mixed.test", &exact);
    is("other.test", &wildcard);
    is("x.a.test", &wildcard);
    is("X.A.test", &wildcard);
    // One label, and not none.
    is("y.x.a.test", &first);
    is("a.test", &first);
    is("nobody.test", &first);
    is("test", &first);
}

#[test]
fn exact_before_wildcard_in_either_order() {
    let wildcard = ca().issue(&["*.a.test"]);
    let exact = ca().issue(&["www.a.test"]);
    for order in [[&wildcard, &exact], [&exact, &wildcard]] {
        assert_eq!(served(&serving(&order), "www.a.test"), exact.leaf);
        assert_eq!(served(&serving(&order), "other.a.test"), wildcard.leaf);
    }
}

/// What rustls hands over in lower case and without the root's dot, another version of it may not.
#[test]
fn however_it_is_written() {
    let first = ca().issue(&["first.test"]);
    let second = ca().issue(&["second.test"]);
    let mut names = Names::default();
    for (identity, name) in [(&first, "first.test"), (&second, "SECOND.test")] {
        let key = crate::tls::key::read(identity.key.as_bytes()).unwrap();
        names.add(Arc::new(CertifiedKey::new(vec![identity.leaf.clone()], key)), [name].into_iter());
    }
    for name in ["second.test", "Second.Test", "second.test."] {
        assert_eq!(names.find(Some(name), |_| true).unwrap().cert[0], second.leaf);
    }
    for name in [None, Some(""), Some("."), Some(".."), Some(".second.test")] {
        assert_eq!(names.find(name, |_| true).unwrap().cert[0], first.leaf);
    }
    assert!(names.find(Some("second.test"), |_| false).is_none());
}

#[test]
fn without_a_name_the_default() {
    let first = ca().issue(&["first.test"]);
    let certificates = serving(&[&first, &ca().issue(&["second.test"])]);
    for (version, sni, name) in
        [(&TLS13, false, "second.test"), (&TLS12, false, "second.test"), (&TLS13, true, "127.0.0.1")]
    {
        let mut wire = Wire::named(&certificates, &client(version, &ECDSA, sni), name);
        wire.run().unwrap();
        assert_eq!(wire.served(), first.leaf);
        assert_eq!(wire.session.server_name(), None);
    }
}

/// Two keys for one host: the first that the client can verify.
#[test]
fn by_the_kind_of_key() {
    let default = ca().issue(&["default.test"]);
    let ecdsa = ca().issue(&["two.test"]);
    let rsa = pki::rsa(&["two.test"]);
    for version in VERSIONS {
        for order in [[&default, &ecdsa, &rsa], [&default, &rsa, &ecdsa]] {
            let certificates = serving(&order);
            let get = |schemes: &[SignatureScheme], name| {
                let mut wire = Wire::named(&certificates, &client(version, schemes, true), name);
                wire.run().unwrap();
                wire.served()
            };
            assert_eq!(get(&RSA, "two.test"), rsa.leaf);
            assert_eq!(get(&ECDSA, "two.test"), ecdsa.leaf);
            assert_eq!(get(&[RSA, ECDSA].concat(), "two.test"), order[1].leaf);
            // The default does not fit this client; the first that does is better than none.
            assert_eq!(get(&RSA, "default.test"), rsa.leaf);
        }
        let mut wire = Wire::new(&serving(&[&ecdsa]), &client(version, &RSA, true));
        assert!(wire.run().is_err());
    }
}

/// The name that one session hears is never another's, also if the first session fails right after it.
#[test]
fn names_do_not_leak_between_sessions() {
    let certificates = serving(&[pki::localhost()]);
    let mut failing = Wire::named(&certificates, &client(&TLS13, &RSA, true), "secret.test");
    assert!(failing.run().is_err());
    let mut next = Wire::named(&certificates, &client(&TLS13, &ECDSA, false), "localhost");
    next.run().unwrap();
    assert_eq!(next.session.server_name(), None);
}

#[test]
fn many_certificates() {
    let chains: Vec<Identity> = ["one.test", "two.test", "three.test"].iter().map(|name| ca().issue(&[name])).collect();
    let certificates = Arc::new(Certificates::new());
    for (place, identity) in chains.iter().enumerate() {
        certificates.add(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
        // A connection between two additions: the set is changed although a configuration holds it.
        assert_eq!(served(&certificates, ["one.test", "two.test", "three.test"][place]), identity.leaf);
    }
    assert_eq!(served(&certificates, "one.test"), chains[0].leaf);
}
