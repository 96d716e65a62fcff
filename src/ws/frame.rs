//! Frames: those of a server are never masked, those of a client always are; a message is one frame.

use super::CLOSE;

/// The first byte's bit of a message that is compressed (RFC 7692, 7.2).
pub const COMPRESSED: u8 = 0x40;
const FIN: u8 = 0x80;

/// Appends the head of a whole frame with so many bytes (RFC 6455, 5.2). `first` is the opcode, with [`COMPRESSED`].
pub fn append_head(out: &mut Vec<u8>, first: u8, len: usize) {
    out.push(FIN | first);
    match len {
        n @ ..=125 => out.push(n as u8),
        n @ ..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
}

pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    append_head(&mut out, first, payload.len());
    out.extend_from_slice(payload);
    out
}

/// A short frame of a client, masked by chance.
pub fn masked(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = frame(opcode, payload);
    let start = out.len() - payload.len();
    out[1] |= 0x80;
    out.splice(start..start, mask);
    for (byte, key) in out[start + 4..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    out
}

/// A close with its code and as much of the reason as fits, whole characters.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, 5.7.
    #[test]
    fn the_examples() {
        assert_eq!(frame(1, b"Hello"), b"\x81\x05Hello");
        assert_eq!(frame(10, b"Hello"), b"\x8a\x05Hello");
        assert_eq!(frame(2, &[0; 125])[..3], [0x82, 125, 0]);
        assert_eq!(frame(2, &[0; 126])[..5], [0x82, 126, 0, 126, 0]);
        assert_eq!(frame(2, &[0; 256])[..5], [0x82, 0x7e, 1, 0, 0]);
        assert_eq!(frame(2, &vec![0; 65535])[..4], [0x82, 126, 0xff, 0xff]);
        assert_eq!(frame(2, &vec![0; 65536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    /// RFC 6455, 5.7.
    #[test]
    fn a_client_masks() {
        let example = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(masked(1, b"Hello", [0x37, 0xfa, 0x21, 0x3d]), example);
        assert_eq!(masked(2, &[0; 200], [1, 2, 3, 4])[..9], [0x82, 0xfe, 0, 200, 1, 2, 3, 4, 1]);
        assert_eq!(masked(8, b"", [1; 4]), [0x88, 0x80, 1, 1, 1, 1]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(close(1000, ""), b"\x88\x02\x03\xe8");
        assert_eq!(close(1000, "bye"), b"\x88\x05\x03\xe8bye");
        let long = format!("{}ëë", "x".repeat(122));
        assert_eq!(close(1000, &long).len(), 2 + 2 + 122);
    }
}
