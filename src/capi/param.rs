//! Section 7, continued: parameters of queries, forms and cookies. Rule: a bad escape is an error, never a guess.

use std::ffi::{c_char, c_int};

use super::guard::guard;
use super::input;
use super::types::encke_str;
use crate::engine::Error;

/// Looks a parameter up in `from` and stores its value, NUL-terminated, in buf; need (may be NULL) gets the size, the NUL
/// counted. 1: found; 0: absent (buf is untouched). separator '&': a query or form, percent- and plus-decoded
/// (application/x-www-form-urlencoded); ';': a Cookie field, as it is (RFC 6265, 4.2.1); 0: name is unused (may be NULL),
/// all of `from` is percent-decoded, as for a path. The first of several counts. Any thread; reads nothing but its
/// arguments.
/// ENCKE_E_INVAL: a bad escape or a decoded NUL in the name or value that is looked at, another separator, NULL;
/// ENCKE_E_RANGE: cap is too small, need tells. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_param(
    from: encke_str,
    separator: c_char,
    name: *const c_char,
    buf: *mut c_char,
    cap: usize,
    need: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: the host gives readable text, NULL or NUL-terminated text, and `cap` writable bytes.
        unsafe {
            let from = input::text(&from, "from")?;
            let value = match separator as u8 {
                0 => Some(decode(from, false)?),
                b'&' => form(from, input::c_text(name, "name")?)?,
                b';' => cookie(from, input::c_text(name, "name")?),
                _ => return Err(Error::invalid("the separator is none of '&', ';' and 0")),
            };
            match value {
                Some(value) => input::give_bytes(&value, true, buf.cast(), cap, need).map(|()| 1),
                None => Ok(0),
            }
        }
    })
}

fn form(from: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    for pair in from.split(|b| *b == b'&') {
        let (key, value) = split(pair);
        if decode(key, true).is_ok_and(|key| key == name) && !pair.is_empty() {
            return decode(value, true).map(Some);
        }
    }
    Ok(None)
}

fn cookie(from: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    from.split(|b| *b == b';').find_map(|pair| {
        let (key, value) = split(pair.trim_ascii());
        (key == name && pair.contains(&b'=')).then(|| value.to_vec())
    })
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|b| *b == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

fn decode(text: &[u8], plus: bool) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let byte = match text[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3).and_then(|two| Some(hex(two[0])? << 4 | hex(two[1])?));
                let Some(byte) = digits else {
                    return Err(Error::invalid(format!("byte {at}: '%' without two hex digits")));
                };
                at += 2;
                byte
            }
            b'+' if plus => b' ',
            byte => byte,
        };
        if byte == 0 {
            return Err(Error::invalid(format!("byte {at}: a decoded NUL")));
        }
        out.push(byte);
        at += 1;
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Result<Option<Vec<u8>>, Error>) -> Option<String> {
        value.unwrap().map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn forms() {
        let from = b"a=1&b=x+y%21&&c&=e&a=2&%61b=3";
        assert_eq!(text(form(from, b"a")).as_deref(), Some("1"));
        assert_eq!(text(form(from, b"b")).as_deref(), Some("x y!"));
        assert_eq!(text(form(from, b"c")).as_deref(), Some(""));
        assert_eq!(text(form(from, b"ab")).as_deref(), Some("3"));
        assert_eq!(text(form(from, b"z")), None);
        assert_eq!(text(form(from, b"")).as_deref(), Some("e"));
        assert!(form(b"a=%zz", b"a").is_err());
        assert!(form(b"a=%00", b"a").is_err());
        assert!(form(b"a=%4", b"a").is_err());
        assert_eq!(text(form(b"b=%zz&a=1", b"a")).as_deref(), Some("1"), "others are not looked at");
    }

    #[test]
    fn cookies() {
        let from = b"sid=a%20b; theme=dark;x; sid=second";
        assert_eq!(cookie(from, b"sid").as_deref(), Some(&b"a%20b"[..]));
        assert_eq!(cookie(from, b"theme").as_deref(), Some(&b"dark"[..]));
        assert_eq!(cookie(from, b"x"), None);
    }

    #[test]
    fn paths() {
        assert_eq!(decode(b"/a%2Fb+c", false).unwrap(), b"/a/b+c");
        assert!(decode(b"/%", false).is_err());
    }
}
