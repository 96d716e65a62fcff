//! Full handshakes: versions, suites, keys, ALPN.

use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error, HandshakeKind, NamedGroup};

use super::pki::{self, ca, localhost, Identity, RSA_PKCS1};
use super::wire::{client, client_of, client_with, connect, refused, serving, Broken, Wire, VERSIONS};
use crate::tls::provider::{backend, provider};
use crate::tls::{Certificates, Progress, Session};

#[test]
fn both_versions() {
    let certificates = serving(&[localhost()]);
    for (version, text) in
        [(&TLS13, "TLSv1.3 TLS13_AES_128_GCM_SHA256"), (&TLS12, "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    {
        let mut wire = Wire::new(&certificates, &client(version));
        assert!(wire.session.is_handshaking());
        assert_eq!(wire.session.version_and_suite(), None);
        wire.run().unwrap();
        assert!(!wire.session.is_handshaking());
        assert_eq!(wire.progress, [Progress::Going, Progress::Established]);
        wire.exchange();
        assert_eq!(wire.session.version_and_suite().as_deref(), Some(text));
        assert_eq!(wire.session.server_name(), Some("localhost"));
        assert_eq!(wire.session.alpn(), Some(&b"http/1.1"[..]));
        assert_eq!(wire.session.client_certificate(), None);
        assert_eq!(wire.session.buffered(), 0);
    }
}

/// Our order counts, not the client's; each suite works.
#[test]
fn suites() {
    let certificates = serving(&[localhost(), &pki::rsa(&["localhost"])]);
    let ours = provider();
    assert_eq!(ours.cipher_suites.len(), 9);
    for version in VERSIONS {
        let mut reversed = (*ours).clone();
        reversed.cipher_suites.reverse();
        let wire = connect(&certificates, &client_of(reversed, version));
        assert!(wire.session.version_and_suite().unwrap().contains("AES_128_GCM"));
    }
    for suite in ours.cipher_suites.iter().copied() {
        let only = CryptoProvider { cipher_suites: vec![suite], ..(*ours).clone() };
        let wire = connect(&certificates, &client_of(only, suite.version()));
        assert!(wire.session.version_and_suite().unwrap().ends_with(&format!("{:?}", suite.suite())));
    }
}

#[test]
fn groups() {
    let ours = provider();
    let names: Vec<NamedGroup> = ours.kx_groups.iter().map(|group| group.name()).collect();
    let classical = [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];
    if cfg!(any(feature = "post-quantum", feature = "aws-lc")) {
        assert_eq!(names[0], NamedGroup::X25519MLKEM768);
        assert_eq!(names[1..4], classical);
    } else {
        assert_eq!(names, classical);
    }
    for group in ours.kx_groups.iter().copied() {
        for version in VERSIONS.into_iter().filter(|version| group.usable_for_version(version.version)) {
            let only = CryptoProvider { kx_groups: vec![group], ..(*ours).clone() };
            let wire = connect(&serving(&[localhost()]), &client_of(only, version));
            assert_eq!(wire.client.negotiated_key_exchange_group().unwrap().name(), group.name());
        }
    }
}

/// A group that we do not know; it stands for those of clients that are ahead of us.
#[derive(Debug)]
struct Unheard(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for Unheard {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Started(self.0.start()?)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe0d)
    }
}

struct Started(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        self.0.complete(share)
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe0d)
    }
}

#[test]
fn a_second_hello() {
    let known = backend::kx_group::X25519;
    let unheard: &'static Unheard = Box::leak(Box::new(Unheard(known)));
    let ahead = CryptoProvider { kx_groups: vec![unheard, known], ..(*provider()).clone() };
    let wire = connect(&serving(&[localhost()]), &client_of(ahead, &TLS13));
    assert_eq!(wire.client.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
    assert_eq!(wire.progress[..3], [Progress::Going, Progress::Going, Progress::Established]);
    assert_eq!(wire.session.server_name(), Some("localhost"));
}

#[test]
fn keys_of_every_kind() {
    let generated = |algorithm| ca().issue_with(&["localhost"], KeyPair::generate_for(algorithm).unwrap(), |_| {});
    let from_openssl = |pem: &str| {
        // The same key in another encoding.
        let der = pkcs8_of(pem);
        let key = KeyPair::try_from(der.as_slice()).unwrap();
        Identity { key: pem.to_owned(), ..ca().issue_with(&["localhost"], key, |_| {}) }
    };
    let identities = [
        generated(&PKCS_ECDSA_P256_SHA256),
        generated(&PKCS_ECDSA_P384_SHA384),
        generated(&PKCS_ED25519),
        pki::rsa(&["localhost"]),
        Identity { key: RSA_PKCS1.to_owned(), ..pki::rsa(&["localhost"]) },
        from_openssl(include_str!("keys/p256.sec1.pem")),
        from_openssl(include_str!("keys/p384.sec1.pem")),
    ];
    for identity in &identities {
        for version in VERSIONS {
            let wire = connect(&serving(&[identity]), &client(version));
            assert_eq!(wire.served(), identity.leaf);
        }
    }
}

/// A SEC 1 key of P-256 or P-384 as PKCS #8, which is all that the certificate maker reads.
fn pkcs8_of(sec1: &str) -> Vec<u8> {
    use pki_types::pem::PemObject;
    let key = pki_types::PrivateSec1KeyDer::from_pem_slice(sec1.as_bytes()).unwrap();
    let key = key.secret_sec1_der();
    let curve: &[u8] = if key.len() < 140 {
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
    } else {
        b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22"
    };
    let wrap = |tag: u8, contents: &[u8]| {
        let mut element = match contents.len() {
            len @ 0..=0x7f => vec![tag, len as u8],
            len => vec![tag, 0x81, len as u8],
        };
        element.extend_from_slice(contents);
        element
    };
    wrap(0x30, &[b"\x02\x01\x00", curve, &wrap(0x04, key)].concat())
}

#[test]
fn alpn() {
    let certificates = serving(&[localhost()]);
    for version in VERSIONS {
        let mut none = client_with(version, None);
        none.alpn_protocols.clear();
        let wire = connect(&certificates, &Arc::new(none));
        assert_eq!(wire.session.alpn(), None);

        let mut h2 = client_with(version, None);
        h2.alpn_protocols = vec![b"h2".to_vec()];
        let (_, alerted) = refused(&certificates, &Arc::new(h2));
        assert_eq!(alerted, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    }
}

#[test]
fn without_any_certificate_nobody_gets_in() {
    for version in VERSIONS {
        let (_, alerted) = refused(&serving(&[]), &client(version));
        assert_eq!(alerted, Some(Error::AlertReceived(AlertDescription::AccessDenied)));
    }
}

#[test]
fn a_client_that_does_not_trust_us() {
    let stranger = pki::Authority::new("stranger").issue(&["localhost"]);
    for version in VERSIONS {
        let mut wire = Wire::new(&serving(&[&stranger]), &client(version));
        assert!(matches!(wire.run(), Err(Broken::Client(_))));
        let alert = wire.client_sends();
        let failure = wire.server_takes(&alert).unwrap_err();
        assert!(failure.to_string().contains("UnknownCA"), "{failure}");
        assert!(wire.session.is_handshaking());
    }
}

#[test]
fn they_may_cross_threads() {
    fn sends<T: Send>() {}
    fn shares<T: Sync>() {}
    sends::<Session>();
    sends::<Certificates>();
    shares::<Certificates>();
}

#[test]
fn nothing_is_made_before_the_first_byte() {
    let mut session = Session::new(serving(&[localhost()]));
    let mut out = Vec::new();
    assert_eq!(session.receive(&mut [], &mut out, &mut |_| {}), Ok(Progress::Going));
    assert!(out.is_empty() && session.is_handshaking());
    assert!(session.encrypt(b"too early", &mut out).is_err());
    session.close(&mut out);
    assert!(out.is_empty());
    assert_eq!((session.server_name(), session.version_and_suite(), session.alpn()), (None, None, None));
}
