//! Private keys: PKCS #8, SEC 1 or PKCS #1, one per file, not encrypted.

use std::sync::Arc;

use pki_types::pem::SectionKind;
use pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use zeroize::Zeroize;

use super::provider::backend;
use super::{pem, Unusable};

const DECRYPT: &str = "it is encrypted; decrypt it with: openssl pkey -in encrypted.pem -out key.pem";

/// The one key in `text`. Certificates beside it are fine: some tools keep both in one file.
pub(super) fn read(text: &[u8]) -> Result<Arc<dyn SigningKey>, Unusable> {
    let unusable = |why: String| Unusable(format!("key: {why}"));
    if pem::has_proc_type_encrypted(text) {
        return Err(unusable(DECRYPT.into()));
    }
    let mut keys = Vec::new();
    let mut certificates = 0;
    for (kind, mut der) in pem::read("key", text)? {
        match kind {
            SectionKind::PrivateKey => keys.push(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::EcPrivateKey => keys.push(PrivateKeyDer::Sec1(der.into())),
            SectionKind::RsaPrivateKey => keys.push(PrivateKeyDer::Pkcs1(der.into())),
            other => {
                certificates += usize::from(other == SectionKind::Certificate);
                der.zeroize();
            }
        }
    }
    let loaded = match keys.as_slice() {
        [key] => backend::sign::any_supported_type(key).map_err(|_| unusable(describe(key))),
        [] if pem::has(text, |label| label == "ENCRYPTED PRIVATE KEY") => Err(unusable(DECRYPT.into())),
        [] if certificates > 0 => Err(unusable("no private key in it, but a certificate".into())),
        [] => Err(unusable(format!("no private key (PKCS #8, SEC 1 or PKCS #1) in it, {}", pem::only(text)))),
        several => Err(unusable(format!("{} keys in it, where one is needed", several.len()))),
    };
    for mut key in keys {
        key.zeroize();
    }
    loaded
}

/// What the key is that was refused, as far as its encoding tells.
fn describe(key: &PrivateKeyDer<'_>) -> String {
    let kind = match key {
        PrivateKeyDer::Pkcs1(der) => rsa(der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => kind(der.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(der) => pkcs8(der.secret_pkcs8_der()),
        _ => None,
    };
    match kind {
        None => "it is damaged".into(),
        Some(kind) if is_usable(&kind) => format!("it is damaged; {kind}, as it seems"),
        Some(kind) => {
            format!("{kind} cannot be used; make one of ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits")
        }
    }
}

fn is_usable(kind: &str) -> bool {
    let bits = kind.strip_prefix("RSA of ").and_then(|rest| rest.strip_suffix(" bits"));
    match bits.and_then(|bits| bits.parse().ok()) {
        Some(bits) => (2048..=4096).contains(&bits),
        None => matches!(kind, "ECDSA on P-256" | "ECDSA on P-384" | "Ed25519"),
    }
}

/// PrivateKeyInfo (RFC 5208): version, algorithm, and the key itself in an OCTET STRING.
fn pkcs8(der: &[u8]) -> Option<String> {
    let (_, info, _) = element(der)?;
    let (_, _, rest) = element(info)?;
    let (_, algorithm, rest) = element(rest)?;
    match kind(algorithm)?.as_str() {
        "RSA" => rsa(element(rest)?.1),
        other => Some(other.into()),
    }
}

/// RSAPrivateKey (RFC 8017): version, modulus, ...
fn rsa(der: &[u8]) -> Option<String> {
    let (_, key, _) = element(der)?;
    let (_, _, rest) = element(key)?;
    let (_, modulus, _) = element(rest)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let bits = (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize;
    Some(format!("RSA of {bits} bits"))
}

/// The first known algorithm or curve whose identifier occurs; a curve says more than ecPublicKey.
fn kind(der: &[u8]) -> Option<String> {
    const KNOWN: [(&[u8], &str); 12] = [
        (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", "ECDSA on P-256"),
        (b"\x06\x05\x2b\x81\x04\x00\x22", "ECDSA on P-384"),
        (b"\x06\x05\x2b\x81\x04\x00\x23", "ECDSA on P-521"),
        (b"\x06\x05\x2b\x81\x04\x00\x0a", "ECDSA on secp256k1"),
        (b"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01", "ECDSA on a Brainpool curve"),
        (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", "ECDSA on a curve without a known name"),
        (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
        (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA that is for PSS only"),
        (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
        (b"\x06\x03\x2b\x65\x70", "Ed25519"),
        (b"\x06\x03\x2b\x65\x71", "Ed448"),
        (b"\x06\x03\x2b\x65\x6e", "X25519"),
    ];
    let found = KNOWN.iter().find(|(id, _)| der.windows(id.len()).any(|window| window == *id));
    found.map(|(_, name)| (*name).to_owned())
}

/// The first DER element: its tag, its contents, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], rest) = der.split_first_chunk()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((tag, contents, rest))
}
