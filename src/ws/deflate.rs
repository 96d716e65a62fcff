//! permessage-deflate without windows that outlive a message (RFC 7692, 7.2). Rule: what a message becomes when it is
//! inflated is bounded before it is made.

use miniz_oxide::deflate::core::{
    compress, create_comp_flags_from_zip_params, CompressorOxide, TDEFLFlush, TDEFLStatus,
};
use miniz_oxide::inflate::{decompress_slice_iter_to_slice, TINFLStatus};

/// Messages below this are not worth it.
const LEAST: usize = 64;
const LEVEL: i32 = 3;
/// An empty block, which the sender takes off and the receiver puts back.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The compressed message; `None`: it is better sent as it is.
pub fn deflate(data: &[u8]) -> Option<Vec<u8>> {
    if data.len() < LEAST {
        return None;
    }
    let mut compressor = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, -15, 0)));
    // What does not fit into less than the data is not wanted.
    let mut out = vec![0; data.len()];
    let (status, taken, given) = compress(&mut compressor, data, &mut out, TDEFLFlush::Sync);
    let whole = status == TDEFLStatus::Okay && taken == data.len() && given < out.len();
    if !whole || !out[..given].ends_with(&TAIL) {
        return None;
    }
    out.truncate(given - TAIL.len());
    Some(out)
}

/// Why a message cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Broken,
    TooBig,
}

/// The message, of `most` bytes at the most.
pub fn inflate(data: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    // One byte more than may be: a message that ends exactly there is told from one that goes on.
    let end = most.saturating_add(1);
    let mut size = data.len().saturating_mul(4).max(256).min(end);
    loop {
        let mut out = Vec::new();
        out.try_reserve_exact(size).map_err(|_| Fault::TooBig)?;
        out.resize(size, 0);
        let pieces = [data, &TAIL, &[1, 0, 0, 0xff, 0xff]]; // the last block of all, so that the end is seen
        match decompress_slice_iter_to_slice(&mut out, pieces.into_iter(), false, false) {
            Ok(n) if n <= most => {
                out.truncate(n);
                return Ok(out);
            }
            Ok(_) => return Err(Fault::TooBig),
            Err(TINFLStatus::HasMoreOutput) if size < end => size = size.saturating_mul(4).min(end),
            Err(TINFLStatus::HasMoreOutput) => return Err(Fault::TooBig),
            Err(_) => return Err(Fault::Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::every;

    /// RFC 7692, 7.2.3: the ways in which "Hello" may come.
    #[test]
    fn the_examples() {
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(bytes, 100), Ok(b"Hello".to_vec()), "{bytes:x?}");
        }
        assert_eq!(inflate(&[0x00], 100), Ok(Vec::new()), "an empty message");
    }

    #[test]
    fn there_and_back() {
        let mut random = 1u32;
        for n in [64, 65, 100, 1000, 40_000 / every(30), 200_000 / every(100)] {
            let data: Vec<u8> = (0..n)
                .map(|_| {
                    random = random.wrapping_mul(1664525).wrapping_add(1013904223);
                    b"abcde "[(random >> 24) as usize % 6]
                })
                .collect();
            let small = deflate(&data).expect("text compresses");
            assert!(small.len() < data.len());
            assert_eq!(inflate(&small, n), Ok(data.clone()));
            assert_eq!(inflate(&small, n - 1), Err(Fault::TooBig));
            assert_ne!(inflate(&small[..small.len() / 2], n), Ok(data));
        }
        assert_eq!(deflate(b"short"), None);
    }

    #[test]
    fn what_does_not_shrink_is_sent_as_it_is() {
        let mut random = 1u32;
        let data: Vec<u8> = (0..5000)
            .map(|_| {
                random = random.wrapping_mul(1664525).wrapping_add(1013904223);
                (random >> 24) as u8
            })
            .collect();
        assert_eq!(deflate(&data), None);
    }

    #[test]
    fn bombs_and_junk() {
        let bomb = deflate(&vec![0; (10 << 20) / every(200)]).unwrap();
        assert!(bomb.len() < (20 << 10) / every(200));
        assert_eq!(inflate(&bomb, (1 << 20) / every(200)), Err(Fault::TooBig));
        for junk in [&[0xff; 20][..], &[0x07], &[0x06, 1, 2, 3]] {
            assert_eq!(inflate(junk, 1000), Err(Fault::Broken), "{junk:x?}");
        }
    }
}
