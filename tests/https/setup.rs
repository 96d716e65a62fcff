//! Owns how a rustls client is set up, and its provider, which is the library's.

use std::sync::{Arc, OnceLock};

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedProtocolVersion};

#[cfg(feature = "aws-lc")]
use rustls::crypto::aws_lc_rs as backend;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
use rustls::crypto::ring as backend;

use super::api::Tls;
use super::pki::{ca, localhost, Authority, Identity};

pub type Version = &'static SupportedProtocolVersion;

pub const VERSIONS: [Version; 2] = [&TLS13, &TLS12];

pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(backend::default_provider())).clone()
}

/// The usual certificates: one, for localhost.
pub fn usual() -> Tls {
    Tls::new(&[localhost()])
}

pub struct Setup<'a> {
    pub versions: &'a [Version],
    /// None: all of the provider.
    pub suites: Option<&'a [CipherSuite]>,
    pub alpn: &'a [&'a str],
    /// The client's own certificate.
    pub identity: Option<&'a Identity>,
    /// Whom it trusts.
    pub root: &'a Authority,
    pub resumes: bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup { versions: &VERSIONS, suites: None, alpn: &["http/1.1"], identity: None, root: ca(), resumes: false }
    }
}

impl Setup<'_> {
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut provider = CryptoProvider::clone(&provider());
        if let Some(suites) = self.suites {
            let found = |wanted: &CipherSuite| provider.cipher_suites.iter().find(|suite| suite.suite() == *wanted);
            provider.cipher_suites = suites.iter().map(|wanted| *found(wanted).expect("a suite of this")).collect();
        }
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(self.versions)
            .expect("versions that go with the suites")
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = if self.resumes { Resumption::in_memory_sessions(32) } else { Resumption::disabled() };
        Arc::new(config)
    }
}

/// A client of one version.
pub fn speaking(version: Version) -> Arc<ClientConfig> {
    Setup { versions: &[version], ..Setup::default() }.config()
}
