//! Client certificates: good, bad, missing.

use std::sync::Arc;

use rustls::version::TLS13;
use rustls::{AlertDescription, Error};

use super::pki::{ca, localhost, Authority, Identity};
use super::wire::{client, client_with, connect, refused, serving, Wire, VERSIONS};
use crate::tls::{Certificates, ClientCertificates};

fn asking(mode: Option<ClientCertificates>, roots: &[&Authority]) -> Arc<Certificates> {
    let certificates = serving(&[localhost()]);
    if let Some(mode) = mode {
        certificates.set_client_certificates(mode).unwrap();
    }
    for root in roots {
        certificates.add_client_roots(root.pem.as_bytes()).unwrap();
    }
    certificates
}

fn good(certificates: &Arc<Certificates>, me: Option<&Identity>) {
    for version in VERSIONS {
        let wire = connect(certificates, &Arc::new(client_with(version, me)));
        assert_eq!(wire.session.client_certificate(), me.map(|me| me.leaf.as_ref()));
    }
}

fn bad(certificates: &Arc<Certificates>, me: Option<&Identity>, alert: AlertDescription) {
    for version in VERSIONS {
        let (_, alerted) = refused(certificates, &Arc::new(client_with(version, me)));
        assert_eq!(alerted, Some(Error::AlertReceived(alert)));
    }
}

const MISSING: AlertDescription = AlertDescription::CertificateRequired;
const UNKNOWN: AlertDescription = AlertDescription::UnknownCA;

#[test]
fn required() {
    let root = Authority::new("clients");
    let me = root.issue(&["me"]);
    let stranger = Authority::new("strangers").issue(&["me"]);
    for mode in [None, Some(ClientCertificates::Required)] {
        let certificates = asking(mode, &[&root]);
        good(&certificates, Some(&me));
        bad(&certificates, None, MISSING);
        bad(&certificates, Some(&stranger), UNKNOWN);
    }
}

#[test]
fn optional() {
    let root = Authority::new("clients");
    let me = root.issue(&["me"]);
    let stranger = Authority::new("strangers").issue(&["me"]);
    let certificates = asking(Some(ClientCertificates::Optional), &[&root]);
    good(&certificates, Some(&me));
    good(&certificates, None);
    bad(&certificates, Some(&stranger), UNKNOWN);
}

#[test]
fn off() {
    let root = Authority::new("clients");
    let stranger = Authority::new("strangers").issue(&["me"]);
    for roots in [&[][..], &[&root]] {
        let certificates = asking(Some(ClientCertificates::Off), roots);
        let wire = connect(&certificates, &Arc::new(client_with(&TLS13, Some(&stranger))));
        assert_eq!(wire.session.client_certificate(), None);
    }
}

#[test]
fn intermediates_and_several_roots() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let under = two.delegate("under two");
    let mut me = under.issue(&["me"]);
    me.chain.push_str(&under.pem);
    let both = asking(None, &[]);
    both.add_client_roots(format!("{}\nsome text\n{}", one.pem, two.pem).as_bytes()).unwrap();
    good(&both, Some(&me));
    good(&asking(None, &[&one, &two]), Some(&me));
    bad(&asking(None, &[&one]), Some(&me), UNKNOWN);
}

#[test]
fn expired() {
    let root = Authority::new("clients");
    let me = root.issue_with(&["me"], rcgen::KeyPair::generate().unwrap(), |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    bad(&asking(None, &[&root]), Some(&me), AlertDescription::CertificateExpired);
}

/// A mode without roots lets nobody in whom it cannot verify, and is good as soon as the roots come.
#[test]
fn the_mode_before_the_roots() {
    let root = Authority::new("clients");
    let me = root.issue(&["me"]);

    let required = asking(Some(ClientCertificates::Required), &[]);
    bad(&required, Some(&me), UNKNOWN);
    bad(&required, None, MISSING);
    required.add_client_roots(root.pem.as_bytes()).unwrap();
    good(&required, Some(&me));
    bad(&required, None, MISSING);

    let optional = asking(Some(ClientCertificates::Optional), &[]);
    bad(&optional, Some(&me), UNKNOWN);
    good(&optional, None);
    optional.add_client_roots(root.pem.as_bytes()).unwrap();
    good(&optional, Some(&me));
    good(&optional, None);
}

/// A certificate without its key.
#[test]
fn a_borrowed_certificate() {
    let root = Authority::new("clients");
    let certificates = asking(None, &[&root]);
    let me = root.issue(&["me"]);
    for version in VERSIONS {
        let mut config = client_with(version, Some(&me));
        let key = pki_types::PrivateKeyDer::try_from(rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
        let key = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(
            vec![me.leaf.clone()],
            crate::tls::provider::backend::sign::any_supported_type(&key).unwrap(),
        ));
        config.client_auth_cert_resolver = Arc::new(key);
        let (_, alerted) = refused(&certificates, &Arc::new(config));
        assert_eq!(alerted, Some(Error::AlertReceived(AlertDescription::DecryptError)));
    }
}

#[test]
fn roots_do_not_vouch_for_us() {
    // A root for clients is nothing that a server shows.
    let certificates = Certificates::new();
    certificates.add_client_roots(ca().pem.as_bytes()).unwrap();
    assert!(certificates.is_empty());
    let mut wire = Wire::new(&Arc::new(certificates), &client(&TLS13));
    assert!(wire.run().is_err());
}
