//! Reads PEM, and says what is wrong with a file that is not what it should be.

use std::collections::BTreeSet;

use pki_types::pem::{self, PemObject, SectionKind};

use super::Unusable;

/// The sections of a PEM file that are certificates, keys and the like; text around them and unknown ones are skipped.
/// `what` begins every complaint: chain, key or roots.
pub(super) fn read(what: &str, text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, Unusable> {
    let text = bare(text);
    let complain = |why: &str| Err(Unusable(format!("{what}: {why}")));
    if text.iter().all(u8::is_ascii_whitespace) {
        return complain("it is empty");
    }
    if labels(text).next().is_none() {
        return complain(match text[0] {
            // A SEQUENCE: a certificate, a key, PKCS #12.
            0x30 => "it is not PEM but binary (DER or PKCS #12); convert it with openssl",
            _ => "it is not PEM: no line begins with -----BEGIN",
        });
    }
    let mut sections = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match section {
            Ok(section) => sections.push(section),
            Err(why) => return complain(&format!("PEM section {} {}", sections.len() + 1, defect(&why))),
        }
    }
    Ok(sections)
}

fn defect(why: &pem::Error) -> String {
    match why {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("has no line -----END {}-----: the file is cut off", legible(end_marker, 60))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("begins badly: {}", legible(line, 60))
        }
        pem::Error::Base64Decode(_) => "is not base64".into(),
        other => format!("cannot be read: {other}"),
    }
}

/// A piece of somebody's file in the text of an error: the beginning, on one line.
fn legible(bytes: &[u8], most: usize) -> String {
    let mut text: String = String::from_utf8_lossy(bytes)
        .chars()
        .take(most)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if bytes.len() > most {
        text.push_str("...");
    }
    text
}

/// Without the byte order mark that some editors put before the first line.
fn bare(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    bare(text).split(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The labels of all sections, known or not, as they come.
fn labels(text: &[u8]) -> impl Iterator<Item = &str> {
    lines(text).filter_map(|line| {
        let label = line.strip_prefix(b"-----BEGIN ")?;
        let end = label.windows(5).position(|dashes| dashes == b"-----").unwrap_or(label.len());
        std::str::from_utf8(&label[..end]).ok()
    })
}

/// True if the text has a section with such a label.
pub(super) fn has(text: &[u8], label: impl Fn(&str) -> bool) -> bool {
    labels(text).any(label)
}

/// True for the header of an encrypted key in OpenSSL's old format (RFC 1421 section 4.6.1.1).
pub(super) fn has_proc_type_encrypted(text: &[u8]) -> bool {
    text.split(|byte| matches!(byte, b'\n' | b'\r'))
        .any(|line| line.strip_prefix(b"Proc-Type:").is_some_and(|rest| rest.ends_with(b"ENCRYPTED")))
}

/// "only PUBLIC KEY, X509 CRL", for a file in which the wanted section is missing.
pub(super) fn only(text: &[u8]) -> String {
    let found: BTreeSet<String> = labels(text).map(|label| legible(label.as_bytes(), 40)).take(8).collect();
    format!("only {}", Vec::from_iter(found).join(", "))
}
