//! Certificates of clients: whether they are asked for, and which roots they must come from.
//!
//! Rule: what cannot be verified is refused. A mode that asks for certificates while no root is known accepts none:
//! Required then lets nobody in, Optional only those who show nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use pki_types::pem::SectionKind;
use pki_types::{CertificateDer, UnixTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{chain, pem, Unusable};

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Off,
    /// They are asked; one that comes must be good.
    Optional,
    /// Without a good one the handshake fails.
    Required,
}

/// What a client must show. Sessions made under one policy are never resumed under another.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    wanted: Option<ClientCertificates>,
    ders: BTreeSet<Vec<u8>>,
    store: Arc<RootCertStore>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { wanted: None, ders: BTreeSet::new(), store: Arc::new(RootCertStore::empty()) }
    }
}

impl Policy {
    /// As set, else Required as soon as there is a root.
    pub(super) fn mode(&self) -> ClientCertificates {
        match self.wanted {
            Some(mode) => mode,
            None if self.ders.is_empty() => ClientCertificates::Off,
            None => ClientCertificates::Required,
        }
    }

    /// True if that changes what clients must show.
    pub(super) fn set_mode(&mut self, mode: ClientCertificates) -> bool {
        let before = self.mode();
        self.wanted = Some(mode);
        self.mode() != before
    }

    /// True if that changes what clients must show.
    pub(super) fn add_roots(&mut self, roots: Roots) -> bool {
        let store = Arc::make_mut(&mut self.store);
        let before = store.len();
        for (der, anchor) in roots.0 {
            if self.ders.insert(der) {
                store.roots.push(anchor);
            }
        }
        store.len() != before
    }

    /// True if a session under `other` has proved the same about its client as one under this policy.
    pub(super) fn is_same(&self, other: &Policy) -> bool {
        self.mode() == other.mode() && self.ders == other.ders
    }

    pub(super) fn verifier(&self, provider: &Arc<CryptoProvider>) -> Arc<dyn ClientCertVerifier> {
        let optional = match self.mode() {
            ClientCertificates::Off => return WebPkiClientVerifier::no_client_auth(),
            ClientCertificates::Optional => true,
            ClientCertificates::Required => false,
        };
        let builder = WebPkiClientVerifier::builder_with_provider(self.store.clone(), provider.clone());
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        // Built without roots it is an error.
        builder
            .build()
            .unwrap_or_else(|_| Arc::new(Refuser { optional, algorithms: provider.signature_verification_algorithms }))
    }
}

/// Roots that were read and found good.
pub(super) struct Roots(Vec<(Vec<u8>, pki_types::TrustAnchor<'static>)>);

impl Roots {
    #[cfg(feature = "links")]
    pub(super) fn anchors(self) -> Vec<pki_types::TrustAnchor<'static>> {
        self.0.into_iter().map(|(_, anchor)| anchor).collect()
    }

    pub(super) fn read(text: &[u8]) -> Result<Roots, Unusable> {
        let mut roots = Vec::new();
        for der in pem::read("roots", text)?
            .into_iter()
            .filter_map(|(kind, der)| (kind == SectionKind::Certificate).then_some(der))
        {
            let anchor = webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice()))
                .map_err(|why| Unusable(format!("roots: certificate {} {}", roots.len() + 1, chain::defect(&why))))?
                .to_owned();
            roots.push((der, anchor));
        }
        if roots.is_empty() {
            return Err(Unusable(format!("roots: no certificate in it, {}", pem::only(text))));
        }
        Ok(Roots(roots))
    }
}

/// Stands in for a verifier as long as there is no root: it accepts no certificate.
#[derive(Debug)]
struct Refuser {
    optional: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Refuser {
    fn client_auth_mandatory(&self) -> bool {
        !self.optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
