//! Conditional requests (RFC 9110, 13): whether a client's copy is the one that it would get. Rule: the fields have the
//! order of 13.2.2, and a date that is none is as if it were not there.

use std::time::{Duration, SystemTime};

use crate::engine::head::Head;

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// With its quotes, without W/.
    pub tag: String,
    /// The file may have changed within the tag's exactness.
    pub weak: bool,
    /// Seconds since 1970.
    pub modified: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// 304
    NotModified,
    /// 412
    Failed,
}

impl Validators {
    pub fn etag(&self) -> String {
        format!("{}{}", if self.weak { "W/" } else { "" }, self.tag)
    }

    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified))
    }

    /// For GET and HEAD.
    pub fn judge(&self, head: &Head) -> Verdict {
        if has(head, "if-match") {
            if !self.is_listed(head, "if-match", true) {
                return Verdict::Failed;
            }
        } else if date(head, "if-unmodified-since").is_some_and(|date| self.modified > date) {
            return Verdict::Failed;
        }
        if has(head, "if-none-match") {
            if self.is_listed(head, "if-none-match", false) {
                return Verdict::NotModified;
            }
        } else if date(head, "if-modified-since").is_some_and(|date| self.modified <= date) {
            return Verdict::NotModified;
        }
        Verdict::Go
    }

    /// Whether the client's part is of this state, if it says of which it is (13.1.5).
    pub fn fits_if_range(&self, head: &Head) -> bool {
        let Some(value) = head.field("if-range") else { return true };
        if self.weak {
            return false;
        }
        match value.first() {
            Some(b'"') => value == self.tag.as_bytes(),
            _ => date(head, "if-range") == Some(self.modified),
        }
    }

    /// Whether the tag is in the lists of this name; a strong comparison takes no weak tag, on neither side.
    fn is_listed(&self, head: &Head, name: &str, strong: bool) -> bool {
        let fields = head.fields.iter().filter(|field| head.text(field.name) == name.as_bytes());
        for field in fields {
            let mut rest = head.text(field.value).trim_ascii();
            if rest == b"*" {
                return true;
            }
            while let Some((tag, weak, behind)) = next_tag(rest) {
                if tag == self.tag.as_bytes() && !(strong && (weak || self.weak)) {
                    return true;
                }
                rest = behind;
            }
        }
        false
    }
}

fn has(head: &Head, name: &str) -> bool {
    head.field(name).is_some()
}

/// A tag with its quotes, whether it is weak, and what follows.
fn next_tag(list: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
    let list = &list[start..];
    let (weak, list) = match list.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, list),
    };
    let inside = list.strip_prefix(b"\"")?;
    let end = inside.iter().position(|byte| *byte == b'"')? + 2;
    Some((&list[..end], weak, &list[end..]))
}

/// Seconds since 1970.
fn date(head: &Head, name: &str) -> Option<u64> {
    let text = std::str::from_utf8(head.field(name)?).ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    const THEN: &str = "Fri, 20 Nov 2026 08:40:23 GMT";
    const BEFORE: &str = "Fri, 20 Nov 2026 08:40:22 GMT";

    fn validators(weak: bool) -> Validators {
        Validators { tag: "\"abc\"".into(), weak, modified: 1_795_164_023 }
    }

    fn judged(fields: &str) -> Verdict {
        validators(false).judge(&head(&format!("GET / HTTP/1.0\r\n{fields}\r\n")))
    }

    #[test]
    fn what_is_shown() {
        assert_eq!(validators(false).last_modified(), THEN);
        assert_eq!((validators(false).etag(), validators(true).etag()), ("\"abc\"".into(), "W/\"abc\"".into()));
    }

    #[test]
    fn tags_and_dates() {
        use Verdict::*;
        for (fields, verdict) in [
            ("", Go),
            ("If-None-Match: \"abc\"\r\n", NotModified),
            ("If-None-Match: W/\"abc\"\r\n", NotModified),
            ("If-None-Match: \"x\", \"a,b\",\"abc\"\r\n", NotModified),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n", NotModified),
            ("If-None-Match: *\r\n", NotModified),
            ("If-None-Match: \"x\"\r\n", Go),
            ("If-None-Match: abc\r\n", Go),
            ("If-None-Match: \"abc\r\n", Go),
            ("If-None-Match: \r\n", Go),
            (&format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {THEN}\r\n"), Go),
            (&format!("If-Modified-Since: {THEN}\r\n"), NotModified),
            (&format!("If-Modified-Since: {BEFORE}\r\n"), Go),
            ("If-Modified-Since: yesterday\r\n", Go),
            ("If-Modified-Since: Friday, 20-Nov-26 08:40:23 GMT\r\n", NotModified),
            ("If-Modified-Since: Fri Nov 20 08:40:23 2026\r\n", NotModified),
            ("If-Match: \"abc\"\r\n", Go),
            ("If-Match: *\r\n", Go),
            ("If-Match: W/\"abc\"\r\n", Failed),
            ("If-Match: \"x\"\r\n", Failed),
            ("If-Match: \r\n", Failed),
            (&format!("If-Match: \"abc\"\r\nIf-Unmodified-Since: {BEFORE}\r\n"), Go),
            (&format!("If-Unmodified-Since: {BEFORE}\r\n"), Failed),
            (&format!("If-Unmodified-Since: {THEN}\r\n"), Go),
            ("If-Match: \"abc\"\r\nIf-None-Match: \"abc\"\r\n", NotModified),
            ("If-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n", Failed),
        ] {
            assert_eq!(judged(fields), verdict, "{fields}");
        }
    }

    #[test]
    fn parts_of_another_state() {
        let fits =
            |weak, fields: &str| validators(weak).fits_if_range(&head(&format!("GET / HTTP/1.0\r\n{fields}\r\n")));
        assert!(fits(false, "") && fits(true, ""));
        assert!(fits(false, "If-Range: \"abc\"\r\n") && fits(false, &format!("If-Range: {THEN}\r\n")));
        for other in ["\"x\"", "W/\"abc\"", "abc", BEFORE] {
            assert!(!fits(false, &format!("If-Range: {other}\r\n")), "{other}");
        }
        assert!(!fits(true, "If-Range: \"abc\"\r\n") && !fits(true, &format!("If-Range: {THEN}\r\n")));
    }
}
