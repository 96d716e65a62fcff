//! Files that cannot be used: each is refused with a text that says which and why, and nothing changes.

use std::sync::Arc;

use rcgen::{date_time_ymd, CertificateParams, KeyPair};
use rustls::version::TLS13;

use super::pki::{self, ca, localhost, Authority, Identity};
use super::wire::{client, connect, serving};
use crate::tls::Certificates;

/// The complaint about a chain and a key.
fn complaint(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
    let certificates = Certificates::new();
    let why = certificates.add(chain.as_ref(), key.as_ref()).unwrap_err();
    assert!(certificates.is_empty());
    why.to_string()
}

#[track_caller]
fn chain_is(chain: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(complaint(chain, &localhost().key), expected);
}

#[track_caller]
fn key_is(key: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(complaint(&localhost().chain, key), expected);
}

#[track_caller]
fn roots_are(roots: impl AsRef<[u8]>, expected: &str) {
    let certificates = serving(&[localhost()]);
    assert_eq!(certificates.add_client_roots(roots.as_ref()).unwrap_err().0, expected);
    // Nothing has changed: clients need no certificate.
    connect(&certificates, &client(&TLS13));
}

/// PEM of anything, so that the tests can damage it.
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = (0..3).fold(0, |bits, place| bits << 8 | u32::from(group.get(place).copied().unwrap_or(0)));
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place <= group.len() { digit as char } else { '=' });
            }
        }
        text.push('\n');
    }
    text + "-----END " + label + "-----\n"
}

#[test]
fn what_is_not_a_chain() {
    chain_is("", "chain: it is empty");
    chain_is(" \r\n\n", "chain: it is empty");
    chain_is("\u{feff}", "chain: it is empty");
    chain_is("hello", "chain: it is not PEM: no line begins with -----BEGIN");
    chain_is(&localhost().leaf, "chain: it is not PEM but binary (DER or PKCS #12); convert it with openssl");
    chain_is(&localhost().key, "chain: no certificate in it, only PRIVATE KEY");
    chain_is(pem("PKCS7", b"x") + &pem("X509 CRL", b"x"), "chain: no certificate in it, only PKCS7, X509 CRL");
    chain_is(
        "-----BEGIN CERTIFICATE-----\nMIIB",
        "chain: PEM section 1 has no line -----END CERTIFICATE-----: the file is cut off",
    );
    chain_is(
        localhost().chain.clone() + "-----BEGIN CERTIFICATE-----\nMII*\n-----END CERTIFICATE-----\n",
        "chain: PEM section 2 is not base64",
    );
    let long = "x\0".repeat(200);
    let shown = "x\u{fffd}".repeat(30);
    chain_is(
        format!("-----BEGIN {long}-----\nMIIB"),
        &format!("chain: PEM section 1 has no line -----END {shown}...-----: the file is cut off"),
    );
    chain_is(
        format!("-----BEGIN {long}\nMIIB"),
        &format!("chain: PEM section 1 begins badly: -----BEGIN {}...", "x\u{fffd}".repeat(24) + "x"),
    );
    chain_is("-----BEGIN CERTIFICATE\nMIIB", "chain: PEM section 1 begins badly: -----BEGIN CERTIFICATE");
}

#[test]
fn certificates_that_cannot_be_parsed() {
    let mut cut = localhost().leaf.to_vec();
    cut.truncate(100);
    chain_is(pem("CERTIFICATE", &cut), "chain: certificate 1 cannot be parsed: it is damaged");
    chain_is(
        localhost().chain.clone() + &pem("CERTIFICATE", b"junk"),
        "chain: certificate 2 cannot be parsed: it is damaged",
    );
    chain_is(
        include_str!("keys/version1.pem"),
        "chain: certificate 1 is X.509 version 1, where version 3 is needed: make it with a subjectAltName extension",
    );
}

#[test]
fn the_order() {
    let root = Authority::new("root");
    let middle = root.delegate("middle");
    let Identity { chain: leaf, key, .. } = middle.issue(&["localhost"]);
    let wrong = |place| {
        format!(
            "chain: certificate {place} was not issued by certificate {}, the next one: the server's own certificate \
             must come first, then the one that issued it, and so on",
            place + 1
        )
    };
    for (chain, expected) in [
        (vec![&leaf], None),
        (vec![&leaf, &middle.pem], None),
        (vec![&leaf, &middle.pem, &root.pem], None),
        (vec![&middle.pem, &leaf], Some(1)),
        (vec![&root.pem, &middle.pem, &leaf], Some(1)),
        (vec![&leaf, &root.pem, &middle.pem], Some(1)),
        (vec![&leaf, &leaf, &middle.pem], Some(1)),
        (vec![&leaf, &middle.pem, &ca().pem], Some(2)),
    ] {
        let chain: String = chain.into_iter().cloned().collect();
        match expected {
            None => Certificates::new().add(chain.as_bytes(), key.as_bytes()).unwrap(),
            Some(place) => assert_eq!(complaint(&chain, &key), wrong(place)),
        }
    }
}

#[test]
fn validity() {
    let dated = |from, to| {
        ca().issue_with(&["localhost"], KeyPair::generate().unwrap(), |params| {
            (params.not_before, params.not_after) = (from, to);
        })
    };
    let expired = dated(date_time_ymd(2020, 1, 1), date_time_ymd(2024, 2, 29));
    assert_eq!(complaint(&expired.chain, &expired.key), "chain: certificate 1 expired on 2024-02-29 00:00:00 UTC");
    let future = dated(date_time_ymd(2200, 1, 1), date_time_ymd(2201, 1, 1));
    Certificates::new().add(future.chain.as_bytes(), future.key.as_bytes()).unwrap();

    // Self-signed, a CA at that: the date is still looked at.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let good = params.self_signed(&key).unwrap();
    Certificates::new().add(good.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2025, 1, 1);
    let expired = params.self_signed(&key).unwrap();
    let why = complaint(expired.pem(), key.serialize_pem());
    assert_eq!(why, "chain: certificate 1 expired on 2025-01-01 00:00:00 UTC");
}

const DECRYPT: &str = "key: it is encrypted; decrypt it with: openssl pkey -in encrypted.pem -out key.pem";

#[test]
fn what_is_not_a_key() {
    key_is("", "key: it is empty");
    key_is("hello", "key: it is not PEM: no line begins with -----BEGIN");
    key_is(
        KeyPair::generate().unwrap().serialize_der(),
        "key: it is not PEM but binary (DER or PKCS #12); convert it with openssl",
    );
    key_is(&localhost().chain, "key: no private key in it, but a certificate");
    let public = KeyPair::generate().unwrap().public_key_pem();
    key_is(public, "key: no private key (PKCS #8, SEC 1 or PKCS #1) in it, only PUBLIC KEY");
    key_is(
        pem("OPENSSH PRIVATE KEY", b"x"),
        "key: no private key (PKCS #8, SEC 1 or PKCS #1) in it, only OPENSSH PRIVATE KEY",
    );
    key_is(localhost().key.repeat(3), "key: 3 keys in it, where one is needed");
    key_is(include_str!("keys/p256.encrypted.pem"), DECRYPT);
    key_is(include_str!("keys/p256.legacy-encrypted.pem"), DECRYPT);
    key_is(include_str!("keys/p256.legacy-encrypted.pem").replace('\n', "\r\n"), DECRYPT);
    let cut = &localhost().key[..60];
    key_is(cut, "key: PEM section 1 has no line -----END PRIVATE KEY-----: the file is cut off");
}

#[test]
fn keys_that_cannot_be_used() {
    let instead = "make one of ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";
    for rsa in [include_str!("keys/rsa1024.pkcs8.pem"), include_str!("keys/rsa1024.pkcs1.pem")] {
        key_is(rsa, &format!("key: RSA of 1024 bits cannot be used; {instead}"));
    }
    key_is(include_str!("keys/ed448.pem"), &format!("key: Ed448 cannot be used; {instead}"));
    key_is(include_str!("keys/secp256k1.sec1.pem"), &format!("key: ECDSA on secp256k1 cannot be used; {instead}"));
    key_is(pem("PRIVATE KEY", b"junk"), "key: it is damaged");
    let mut damaged = KeyPair::generate().unwrap().serialize_der();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    key_is(pem("PRIVATE KEY", &damaged), "key: it is damaged; ECDSA on P-256, as it seems");
    let mut rsa = KeyPair::from_pem(pki::RSA).unwrap().serialize_der();
    // In the modulus, which then is not the product of the primes.
    rsa[100] ^= 1;
    key_is(pem("PRIVATE KEY", &rsa), "key: it is damaged; RSA of 2048 bits, as it seems");
    // Lengths that point anywhere.
    for place in 0..damaged.len() {
        for value in [0, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff] {
            let mut damaged = damaged.clone();
            damaged[place] = value;
            for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
                assert!(complaint(&localhost().chain, pem(label, &damaged)).starts_with("key: "));
            }
        }
    }
}

#[test]
fn a_key_that_does_not_fit() {
    let other = ca().issue(&["localhost"]);
    key_is(&other.key, "key: it does not belong to certificate 1 of the chain");
    key_is(pki::RSA, "key: it does not belong to certificate 1 of the chain");
    assert_eq!(
        complaint(&pki::rsa(&["localhost"]).chain, &other.key),
        "key: it does not belong to certificate 1 of the chain"
    );
}

#[test]
fn swapped() {
    let Identity { chain, key, .. } = localhost();
    assert_eq!(complaint(key, chain), "chain and key are swapped: the chain is a key, and the key a certificate");
    let encrypted = include_str!("keys/p256.encrypted.pem");
    assert!(complaint(encrypted, chain).contains("swapped"));
}

/// What looks odd but is fine.
#[test]
fn tolerated() {
    let Identity { chain, key, .. } = localhost();
    let both = format!("{key}{chain}");
    for (chain, key) in [
        (both.clone(), both.clone()),
        (format!("\u{feff}{chain}"), format!("\u{feff}{key}")),
        (chain.replace('\n', "\r\n"), key.replace('\n', "\r\n")),
        (format!("subject=CN = localhost\n\n{chain}\ntrailing"), format!("Bag Attributes\n{key}\n")),
        (chain.clone(), format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{key}")),
        (chain.trim_end().to_owned(), key.trim_end().to_owned()),
    ] {
        let certificates = Certificates::new();
        certificates.add(chain.as_bytes(), key.as_bytes()).unwrap();
        connect(&Arc::new(certificates), &client(&TLS13));
    }
}

#[test]
fn roots() {
    roots_are("", "roots: it is empty");
    roots_are("junk", "roots: it is not PEM: no line begins with -----BEGIN");
    roots_are(&ca().der, "roots: it is not PEM but binary (DER or PKCS #12); convert it with openssl");
    roots_are(&localhost().key, "roots: no certificate in it, only PRIVATE KEY");
    roots_are(
        ca().pem.clone() + &pem("CERTIFICATE", b"junk") + &ca().pem,
        "roots: certificate 2 cannot be parsed: it is damaged",
    );
}

#[test]
fn nothing_secret_is_shown() {
    let certificates = serving(&[localhost()]);
    certificates.add_client_roots(ca().pem.as_bytes()).unwrap();
    let text = format!("{certificates:?}");
    assert!(text.len() < 200 && text.contains("Required"), "{text}");
}
