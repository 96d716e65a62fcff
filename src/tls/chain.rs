//! Certificate chains: leaf first, each issued by the next.

use pki_types::pem::SectionKind;
use pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::provider::backend;
use super::{pem, Unusable};

/// The certificates of a chain that servers may show now.
pub(super) fn read(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let unusable = |why: String| Unusable(format!("chain: {why}"));
    let chain: Vec<CertificateDer<'static>> = pem::read("chain", text)?
        .into_iter()
        .filter_map(|(kind, der)| (kind == SectionKind::Certificate).then(|| CertificateDer::from(der)))
        .collect();
    if chain.is_empty() {
        return Err(unusable(format!("no certificate in it, {}", pem::only(text))));
    }
    let mut parsed: Vec<EndEntityCert<'_>> = Vec::with_capacity(chain.len());
    for der in &chain {
        let place = parsed.len() + 1;
        parsed.push(
            EndEntityCert::try_from(der).map_err(|why| unusable(format!("certificate {place} {}", defect(&why))))?,
        );
    }
    for (place, pair) in parsed.windows(2).enumerate() {
        if pair[0].issuer() != pair[1].subject() {
            return Err(unusable(format!(
                "certificate {} was not issued by certificate {}, the next one: the server's own certificate must come \
                 first, then the one that issued it, and so on",
                place + 1,
                place + 2
            )));
        }
    }
    expired(&parsed[0])?;
    Ok(chain)
}

/// The leaf's validity is the first thing that webpki looks at, before it misses a trust anchor. Only what is over is
/// refused: a machine whose clock is not set yet must be able to start with a certificate of today.
fn expired(leaf: &EndEntityCert<'_>) -> Result<(), Unusable> {
    let algorithms = backend::default_provider().signature_verification_algorithms.all;
    match leaf.verify_for_usage(algorithms, &[], &[], UnixTime::now(), KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => {
            Err(Unusable(format!("chain: certificate 1 expired on {}", date(not_after))))
        }
        _ => Ok(()),
    }
}

/// What is wrong with a certificate that webpki does not take.
pub(super) fn defect(why: &webpki::Error) -> String {
    match why {
        webpki::Error::UnsupportedCertVersion => {
            "is X.509 version 1, where version 3 is needed: make it with a subjectAltName extension".into()
        }
        webpki::Error::BadDer | webpki::Error::TrailingData(_) => "cannot be parsed: it is damaged".into(),
        other => format!("cannot be used: {other:?}"),
    }
}

/// "2026-01-31 23:59:59 UTC", by the civil calendar (days counted from March, so that leap days come last).
fn date(time: UnixTime) -> String {
    let (days, seconds) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
#[test]
fn dates() {
    let at = |seconds| date(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)));
    assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
    assert_eq!(at(951_782_399), "2000-02-28 23:59:59 UTC");
    assert_eq!(at(951_782_400), "2000-02-29 00:00:00 UTC");
    assert_eq!(at(1_798_761_599), "2026-12-31 23:59:59 UTC");
    assert_eq!(at(4_107_542_400), "2100-03-01 00:00:00 UTC");
}
