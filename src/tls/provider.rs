//! The cryptography: which provider, which suites, which groups.
//!
//! Rule: only ephemeral key exchange and authenticated encryption, in our order: AES-128 first, the fastest wherever the
//! processor has AES instructions, then AES-256, then ChaCha20.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, NamedGroup};

#[cfg(feature = "aws-lc")]
pub(super) use rustls::crypto::aws_lc_rs as backend;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
pub(super) use rustls::crypto::ring as backend;

const SUITES: [CipherSuite; 9] = [
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

/// rustls takes the first of the client's groups that is here; the order is that of our own preference all the same.
const GROUPS: [NamedGroup; 4] =
    [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];

/// Made once per set of certificates: some hundred bytes.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = backend::default_provider();
    // aws-lc has it among its own.
    #[cfg(all(feature = "post-quantum", not(feature = "aws-lc")))]
    provider.kx_groups.push(super::hybrid::X25519MLKEM768);
    provider.cipher_suites = in_order(&SUITES, &provider.cipher_suites, |suite| suite.suite());
    provider.kx_groups = in_order(&GROUPS, &provider.kx_groups, |group| group.name());
    Arc::new(provider)
}

fn in_order<N: PartialEq, T: Copy>(order: &[N], available: &[T], name: impl Fn(&T) -> N) -> Vec<T> {
    order.iter().filter_map(|wanted| available.iter().copied().find(|one| name(one) == *wanted)).collect()
}
