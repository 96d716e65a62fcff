//! PEM of the host: chains, keys and roots, added to a set and swapped.
//!
//! An input is a character and text. A line `@x` stands for a fixture (see `fixture`), so that small inputs reach what lies
//! behind the PEM; `%%` alone on a line separates chain from key. The character chooses what is called.
//!
//! What must hold: no input panics; an error is one short line that says chain, key or roots, and changes nothing; what
//! was taken serves a handshake.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use encke::tls::{Certificates, ClientCertificates, Session, Unusable};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::tls::{CA, CLIENT, CLIENT_KEY, P256, P256_KEY, SERVER, SERVER_KEY};

const RSA: &str = include_str!("../../fixtures/rsa.pem");
const RSA_KEY: &str = include_str!("../../fixtures/rsa.key.pem");
/// A file name or a damaged line may be in it, but not a page of it.
const MOST_TEXT: usize = 400;

pub fn run(data: &[u8]) {
    let Some((what, text)) = data.split_first() else { return };
    let set = Certificates::new();
    match what % 4 {
        0 => {
            let (chain, key) = two(text);
            add(&set, &expand(chain), &expand(key));
        }
        1 => {
            add(&set, SERVER.as_bytes(), SERVER_KEY.as_bytes());
            roots(&set, &expand(text));
            serve(&set, false);
        }
        2 => swap(&set, text),
        _ => damaged(&set, text),
    }
}

fn fixture(name: u8) -> Option<&'static str> {
    Some(match name {
        b'a' => CA,
        b's' => SERVER,
        b'S' => SERVER_KEY,
        b'c' => CLIENT,
        b'C' => CLIENT_KEY,
        b'p' => P256,
        b'P' => P256_KEY,
        b'r' => RSA,
        b'R' => RSA_KEY,
        b'k' => include_str!("../../../src/tls/tests/keys/p256.sec1.pem"),
        b'K' => include_str!("../../../src/tls/tests/keys/rsa2048.pkcs1.pem"),
        b'e' => include_str!("../../../src/tls/tests/keys/p256.encrypted.pem"),
        b'v' => include_str!("../../../src/tls/tests/keys/version1.pem"),
        _ => return None,
    })
}

fn expand(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.split_inclusive(|b| *b == b'\n') {
        match line {
            [b'@', name] | [b'@', name, b'\n'] => match fixture(*name) {
                Some(fixture) if out.len() < 1 << 16 => out.extend_from_slice(fixture.as_bytes()),
                _ => out.extend_from_slice(line),
            },
            _ => out.extend_from_slice(line),
        }
    }
    out
}

fn two(text: &[u8]) -> (&[u8], &[u8]) {
    const BETWEEN: &[u8] = b"%%\n";
    match text.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        Some(at) => (&text[..at], &text[at + BETWEEN.len()..]),
        None => (text, SERVER_KEY.as_bytes()),
    }
}

fn check_error(Unusable(why): &Unusable) {
    assert!(!why.is_empty() && why.len() <= MOST_TEXT, "{} bytes: {why:?}", why.len());
    assert!(!why.contains(char::is_control), "more than a line: {why:?}");
    let subject = ["chain", "key", "roots", "the fresh set"].iter().any(|subject| why.starts_with(subject));
    assert!(subject, "it does not say of what: {why:?}");
}

/// Calls, and sees that an error has changed nothing. True: it was taken.
fn change(set: &Certificates, call: impl FnOnce() -> Result<(), Unusable>) -> bool {
    let before = format!("{set:?}");
    match call() {
        Ok(()) => true,
        Err(unusable) => {
            check_error(&unusable);
            assert_eq!(format!("{set:?}"), before, "an error that changes something");
            false
        }
    }
}

fn add(set: &Certificates, chain: &[u8], key: &[u8]) -> bool {
    let taken = change(set, || set.add(chain, key));
    if taken {
        assert!(!set.is_empty());
        serve(set, true);
    }
    taken
}

fn roots(set: &Certificates, text: &[u8]) -> bool {
    change(set, || set.add_client_roots(text))
}

/// `%%` between what goes into the fresh set, one section a certificate with its key.
fn swap(set: &Certificates, text: &[u8]) {
    add(set, P256.as_bytes(), P256_KEY.as_bytes());
    let fresh = Certificates::new();
    let (chain, rest) = two(text);
    let (key, more) = two(rest);
    let any = add(&fresh, &expand(chain), &expand(key));
    let asks = !more.is_empty() && roots(&fresh, &expand(more));
    assert_eq!(any, !fresh.is_empty());
    assert!(!change(set, || set.swap(set)), "a set was swapped with itself");
    let swapped = change(set, || set.swap(&fresh));
    assert_eq!(swapped, any);
    assert!(!set.is_empty());
    if swapped {
        assert!(fresh.is_empty());
    }
    serve(set, !(swapped && asks));
    // Emptied, it asks for nothing any more, and refuses clients.
    fresh.set_client_certificates(ClientCertificates::Required).expect("any mode");
}

/// A fixture with bytes of its DER changed: (place, place, value) three by three.
fn damaged(set: &Certificates, text: &[u8]) {
    let Some((what, changes)) = text.split_first() else { return };
    let (chain, key) = [(SERVER, SERVER_KEY), (P256, P256_KEY), (RSA, RSA_KEY)][*what as usize / 4 % 3];
    let label = if what & 3 == 2 { "PRIVATE KEY" } else { "CERTIFICATE" };
    let mut der = match what & 3 {
        2 => PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("the fixtures").secret_der().to_vec(),
        3 => CertificateDer::from_pem_slice(CA.as_bytes()).expect("the fixtures").to_vec(),
        _ => CertificateDer::from_pem_slice(chain.as_bytes()).expect("the fixtures").to_vec(),
    };
    for change in changes.chunks_exact(3).take(40) {
        let at = u16::from_be_bytes([change[0], change[1]]) as usize;
        match at {
            0xff00.. => der.truncate(der.len() - der.len().min(change[2] as usize)),
            0xfe00.. => der.push(change[2]),
            at if !der.is_empty() => {
                let at = at % der.len();
                der[at] = change[2];
            }
            _ => {}
        }
    }
    let pem = pem(label, &der);
    match what & 3 {
        2 => {
            // That an RSA key's private half is wrong shows when it signs.
            change(set, || set.add(chain.as_bytes(), pem.as_bytes()));
            serve(set, false);
        }
        3 => {
            add(set, SERVER.as_bytes(), SERVER_KEY.as_bytes());
            roots(set, pem.as_bytes());
            serve(set, false);
        }
        _ => drop(add(set, pem.as_bytes(), key.as_bytes())),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in der.chunks(3) {
        let bits = u32::from_be_bytes([0, group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)]);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > group.len() { '=' } else { digit as char });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A handshake with a client that takes every certificate. `must`: it has to come to its end.
fn serve(set: &Certificates, must: bool) {
    static CLIENT: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CLIENT.get_or_init(|| {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    });
    // A session wants the set for itself: it gets what is in this one by two swaps.
    let shared = Arc::new(Certificates::new());
    if set.is_empty() {
        return;
    }
    shared.swap(set).expect("a set with a certificate");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(config.clone(), name).expect("a client");
    let mut session = Session::new(shared.clone());
    let mut failed = false;
    while client.wants_write() && !failed {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).expect("writing to memory");
        }
        failed |= session.receive(&mut up, &mut down, &mut |_| panic!("plaintext")).is_err();
        let mut down = &down[..];
        while !down.is_empty() && client.read_tls(&mut down).is_ok_and(|n| n > 0) && !failed {
            failed |= client.process_new_packets().is_err();
            let _ = client.reader().read(&mut [0; 64]);
        }
    }
    assert!(!must || !failed && !session.is_handshaking() && !client.is_handshaking(), "taken, but it cannot serve");
    set.swap(&shared).expect("a set with a certificate");
}

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
