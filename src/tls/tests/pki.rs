//! Certificates for the tests, made on the spot; RSA keys and odd ones come from `keys/`, made by OpenSSL.

use std::sync::OnceLock;

use pki_types::CertificateDer;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

pub const RSA: &str = include_str!("keys/rsa2048.pkcs8.pem");
pub const RSA_PKCS1: &str = include_str!("keys/rsa2048.pkcs1.pem");

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    pub der: CertificateDer<'static>,
}

/// A chain and its key.
#[derive(Clone)]
pub struct Identity {
    pub chain: String,
    pub key: String,
    pub leaf: CertificateDer<'static>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let params = authority(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// An intermediate under this one.
    pub fn delegate(&self, name: &str) -> Authority {
        let params = authority(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, KeyPair::generate().unwrap(), |_| {})
    }

    pub fn issue_with(&self, names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nameless"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: certificate.pem(), key: key.serialize_pem(), leaf: certificate.der().clone() }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// The authority that the clients of the tests trust.
pub fn ca() -> &'static Authority {
    static CA: OnceLock<Authority> = OnceLock::new();
    CA.get_or_init(|| Authority::new("encke test CA"))
}

/// A certificate for localhost.
pub fn localhost() -> &'static Identity {
    static LOCALHOST: OnceLock<Identity> = OnceLock::new();
    LOCALHOST.get_or_init(|| ca().issue(&["localhost"]))
}

pub fn rsa(names: &[&str]) -> Identity {
    ca().issue_with(names, KeyPair::from_pem(RSA).unwrap(), |_| {})
}
