//! Section 8, continued: ids as text that nobody can guess. Rule: a token is the id and a keyed hash of it; the key is
//! random, one per encke, and never leaves it.

use std::ffi::{c_char, c_int};
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::guard::any_thread;
use super::input;
use super::types::{encke_id, encke_sender};
use crate::engine::id::Id;
use crate::engine::Error;

/// Every token, its NUL counted, is shorter.
pub const ENCKE_TOKEN_SIZE: usize = 64;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const RAW: usize = 24;
const TEXT: usize = RAW / 3 * 4;

fn raw(secret: &[u8; 16], id: u64) -> [u8; RAW] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write_u64(id);
    let mut raw = [0; RAW];
    raw[..8].copy_from_slice(&id.to_be_bytes());
    raw[8..].copy_from_slice(&hasher.finish128().as_bytes());
    raw
}

fn encode(raw: &[u8; RAW]) -> [u8; TEXT] {
    let mut out = [0; TEXT];
    for (three, four) in raw.chunks_exact(3).zip(out.chunks_exact_mut(4)) {
        let bits = (three[0] as usize) << 16 | (three[1] as usize) << 8 | three[2] as usize;
        for (i, c) in four.iter_mut().enumerate() {
            *c = ALPHABET[bits >> (18 - 6 * i) & 63];
        }
    }
    out
}

fn decode(text: &[u8]) -> Option<[u8; RAW]> {
    if text.len() != TEXT {
        return None;
    }
    let mut raw = [0; RAW];
    for (four, three) in text.chunks_exact(4).zip(raw.chunks_exact_mut(3)) {
        let mut bits = 0;
        for c in four {
            bits = bits << 6 | ALPHABET.iter().position(|a| a == c)?;
        }
        three.copy_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
    }
    Some(raw)
}

/// Compares without telling by time where the difference is.
fn same(a: &[u8; RAW], b: &[u8; RAW]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}

/// Stores the id of a request, subscriber or WebSocket as unguessable text of [A-Za-z0-9_-], NUL-terminated;
/// ENCKE_TOKEN_SIZE bytes are enough. The same id gives the same token. Any thread.
/// ENCKE_E_GONE: the id is over; ENCKE_E_RANGE: cap is too small; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_token(sender: *mut encke_sender, id: encke_id, out: *mut c_char, cap: usize) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, and `cap` writable bytes.
    unsafe {
        any_thread(sender, |sender| {
            sender.open()?;
            if !sender.leases.lives(Id(id)) {
                return Err(Error::Gone);
            }
            let text = encode(&raw(&sender.secret, id));
            input::give_bytes(&text, true, out.cast(), cap, std::ptr::null_mut()).map(|()| 0)
        })
    }
}

/// The id behind a token of len bytes. The comparison takes the same time wherever the texts differ. Any thread.
/// ENCKE_E_GONE: not made by this encke, or its id is over; ENCKE_E_INVAL: out or text is NULL; ENCKE_E_CLOSED: the encke
/// was freed. Since 0.1.
#[no_mangle]
pub unsafe extern "C" fn encke_from_token(
    sender: *mut encke_sender,
    text: *const c_char,
    len: usize,
    out: *mut encke_id,
) -> c_int {
    // SAFETY: the host gives NULL or a sender with a reference, `len` readable bytes, and NULL or a writable id.
    unsafe {
        any_thread(sender, |sender| {
            let text = input::bytes(text.cast(), len, "text")?;
            if out.is_null() {
                return Err(Error::invalid("out is NULL"));
            }
            sender.open()?;
            let given = decode(text).ok_or(Error::Gone)?;
            let id = given[..8].iter().fold(0u64, |id, byte| id << 8 | *byte as u64);
            if !same(&given, &raw(&sender.secret, id)) || !sender.leases.lives(Id(id)) {
                return Err(Error::Gone);
            }
            *out = id;
            Ok(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_forgeries_do_not() {
        let token = encode(&raw(&[7; 16], 0x0123_4567_89ab_cdef));
        assert!(token.len() < ENCKE_TOKEN_SIZE);
        let back = decode(&token).unwrap();
        assert!(same(&back, &raw(&[7; 16], 0x0123_4567_89ab_cdef)));
        assert!(!same(&back, &raw(&[8; 16], 0x0123_4567_89ab_cdef)));
        for at in 0..token.len() {
            let mut forged = token;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = decode(&forged).unwrap();
            let id = forged[..8].iter().fold(0u64, |id, byte| id << 8 | *byte as u64);
            assert!(!same(&forged, &raw(&[7; 16], id)), "byte {at}");
        }
        assert_eq!(decode(&token[1..]), None);
        assert_eq!(decode(&[b'*'; TEXT]), None);
    }
}
