//! The few productions that requests, bodies and responses share: tokens, optional white space, comma lists.
//!
//! Everything here is total: any bytes are fine, nothing is copied.

pub(super) const HTAB: u8 = b'\t';
pub(super) const SP: u8 = b' ';
pub(super) const CR: u8 = b'\r';
pub(super) const LF: u8 = b'\n';

const fn tchars() -> [bool; 256] {
    let mut table = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    let mut b = 0;
    while b < 128 {
        if (b as u8).is_ascii_alphanumeric() {
            table[b] = true;
        }
        b += 1;
    }
    table
}

static TCHAR: [bool; 256] = tchars();

/// tchar of RFC 9110 5.6.2.
#[inline]
pub(super) fn is_tchar(b: u8) -> bool {
    TCHAR[b as usize]
}

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// A byte that may stand in a field value: HTAB, SP, VCHAR, obs-text.
#[inline]
pub(super) fn is_value_byte(b: u8) -> bool {
    b == HTAB || (b >= SP && b != 0x7f)
}

#[inline]
pub(super) fn is_ows(b: u8) -> bool {
    b == SP || b == HTAB
}

/// Without the optional white space around it.
pub(super) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_ows(*first) {
            break;
        }
        bytes = rest;
    }
    while let [rest @ .., last] = bytes {
        if !is_ows(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110 5.6.1); empty ones are skipped, as a recipient must.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// The classes of all bytes, together. Without a branch per byte: most names and targets are short and fine.
#[inline]
pub(super) fn classes(table: &[u8; 256], bytes: &[u8]) -> u8 {
    let mut quads = bytes.chunks_exact(4);
    let mut all = 0;
    for quad in &mut quads {
        let class = |i: usize| table[quad[i] as usize];
        all |= (class(0) | class(1)) | (class(2) | class(3));
    }
    quads.remainder().iter().fold(all, |all, &b| all | table[b as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let accepted = (0..=255u8).filter(|&b| is_tchar(b)).count();
        assert_eq!(accepted, 26 + 26 + 10 + 15);
        assert!(is_token(b"Content-Length"));
        assert!(!is_token(b""));
        for bad in [&b"a b"[..], b"a:", b"a(", b"a\"", b"\x80", b"a/b", b"a,"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn classes_of_any_length() {
        let mut table = [0; 256];
        table[b'x' as usize] = 1;
        table[b'y' as usize] = 2;
        for len in 0..20 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(classes(&table, &bytes), 0);
            for at in 0..len {
                bytes[at] = b'x';
                bytes[len - 1 - at] = if at * 2 == len - 1 { b'x' } else { b'y' };
                let expected = if at * 2 == len - 1 { 1 } else { 3 };
                assert_eq!(classes(&table, &bytes), expected, "{at} of {len}");
                bytes.fill(b'a');
            }
        }
    }

    #[test]
    fn white_space_and_lists() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t "), b"");
        assert_eq!(trim_ows(b"\r\n"), b"\r\n");
        let elements: Vec<&[u8]> = list(b" a, ,b\t,,c d ").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"c d"]);
        assert_eq!(list(b"").count(), 0);
    }
}
