//! Certificates of clients: good, from somebody else, and missing; where they are required, optional, and not asked for.

use ::encke::capi::tls::{ENCKE_CLIENT_CERT_OFF, ENCKE_CLIENT_CERT_OPTIONAL, ENCKE_CLIENT_CERT_REQUIRED};
use rustls::{AlertDescription, Error};

use super::client::{run, Client, Facts, Trouble};
use super::host::Host;
use super::pki::{Authority, Identity};
use super::server::hex;
use super::setup::{usual, Setup, Version, VERSIONS};

async fn try_it(host: &Host, version: Version, identity: Option<&Identity>) -> Result<Facts, Trouble> {
    let config = Setup { versions: &[version], identity, ..Setup::default() }.config();
    // With TLS 1.3 the refusal comes after what the client takes for the end of the handshake.
    Client::open(host, &config).await?.facts().await
}

fn alert(description: AlertDescription) -> Result<String, Trouble> {
    Err(Trouble::Tls(Error::AlertReceived(description)))
}

#[test]
fn good_and_bad_and_missing() {
    let (roots, others) = (Authority::new("clients"), Authority::new("others"));
    let (good, bad) = (roots.issue(&["me"]), others.issue(&["me"]));
    let refused = || alert(AlertDescription::UnknownCA);
    let shown = || Ok(hex(&good.leaf));
    let nobody = || Ok(String::new());
    let missing = || alert(AlertDescription::CertificateRequired);
    // What happens with a good one, a bad one, and none.
    let required = || [shown(), refused(), missing()];
    for (mode, expected) in [
        (None, required()),
        (Some(ENCKE_CLIENT_CERT_REQUIRED), required()),
        (Some(ENCKE_CLIENT_CERT_OPTIONAL), [shown(), refused(), nobody()]),
        (Some(ENCKE_CLIENT_CERT_OFF), [nobody(), nobody(), nobody()]),
    ] {
        let tls = usual().with_client_root(&roots);
        let tls = match mode {
            Some(mode) => tls.with_client_certificates(mode),
            None => tls,
        };
        let host = Host::start(&tls);
        let served = expected.iter().filter(|expected| expected.is_ok()).count();
        run(async {
            for version in VERSIONS {
                for (identity, expected) in [Some(&good), Some(&bad), None].into_iter().zip(&expected) {
                    let got = try_it(&host, version, identity).await.map(|facts| facts.certificate);
                    assert_eq!(&got, expected, "{mode:?} {version:?}");
                }
            }
        });
        let log = host.wait_for_end_of(6);
        assert_eq!(log.requests.len(), 2 * served, "{mode:?}");
    }
}

/// The name of an authority is not its key.
#[test]
fn from_a_namesake() {
    let (roots, namesake) = (Authority::new("clients"), Authority::new("clients"));
    let bad = namesake.issue(&["me"]);
    for mode in [ENCKE_CLIENT_CERT_REQUIRED, ENCKE_CLIENT_CERT_OPTIONAL] {
        let host = Host::start(&usual().with_client_root(&roots).with_client_certificates(mode));
        run(async {
            for version in VERSIONS {
                let got = try_it(&host, version, Some(&bad)).await.map(|facts| facts.certificate);
                assert_eq!(got, alert(AlertDescription::DecryptError));
            }
        });
    }
}

/// A chain with an intermediate, which the client sends along.
#[test]
fn through_an_intermediate() {
    let roots = Authority::new("clients");
    let between = roots.delegate("between");
    let mut me = between.issue(&["me"]);
    let alone = me.clone();
    me.chain.push_str(&between.pem);
    let host = Host::start(&usual().with_client_root(&roots));
    run(async {
        for version in VERSIONS {
            let got = try_it(&host, version, Some(&me)).await.map(|facts| facts.certificate);
            assert_eq!(got, Ok(hex(&me.leaf)));
            let got = try_it(&host, version, Some(&alone)).await.map(|facts| facts.certificate);
            assert_eq!(got, alert(AlertDescription::UnknownCA));
        }
    });
}
