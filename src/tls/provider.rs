//! The cryptography: which provider, which suites, which groups.
//!
//! Rule: only ephemeral key exchange and authenticated encryption, in our order: AES-128 first, which every processor
//! with AES instructions does fastest and nobody can break, then AES-256, then ChaCha20.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::CipherSuite;

#[cfg(feature = "aws-lc")]
pub(super) use rustls::crypto::aws_lc_rs as backend;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
pub(super) use rustls::crypto::ring as backend;

const ORDER: [CipherSuite; 9] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Made once per set of certificates: some hundred bytes.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = backend::default_provider();
    let available = provider.cipher_suites;
    provider.cipher_suites =
        ORDER.iter().filter_map(|wanted| available.iter().find(|suite| suite.suite() == *wanted).copied()).collect();
    // aws-lc has it among its own.
    #[cfg(all(feature = "post-quantum", not(feature = "aws-lc")))]
    provider.kx_groups.insert(0, super::hybrid::X25519MLKEM768);
    Arc::new(provider)
}
