//! Where TLS records end (RFC 8446 section 5.1), so that rustls is called for whole records only: input that comes
//! byte by byte then costs a copy per byte, not a parse.

const HEADER: usize = 5;
/// rustls takes no body as long as this: 2^14 and the 2 KiB of expansion of RFC 5246 section 6.2.3.
const TOO_LONG: usize = (1 << 14) + 2048;

/// What the front of some input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    /// A record of this many bytes, whether or not all of it is here.
    Record(usize),
    /// Not even a header.
    Short,
    /// Never a record: no more input is needed to refuse it.
    Nonsense,
}

fn front(data: &[u8]) -> Front {
    let [kind, _, _, high, low, ..] = *data else {
        return Front::Short;
    };
    let body = usize::from(u16::from_be_bytes([high, low]));
    // What rustls refuses at sight. The types go from change_cipher_spec to heartbeat.
    if !(20..=24).contains(&kind) || body >= TOO_LONG {
        return Front::Nonsense;
    }
    Front::Record(HEADER + body)
}

/// How many bytes must come until the first record is whole, or more of its header is here; 0: it can be handled.
pub(super) fn missing(data: &[u8]) -> usize {
    match front(data) {
        Front::Short => HEADER - data.len(),
        Front::Record(len) => len.saturating_sub(data.len()),
        Front::Nonsense => 0,
    }
}

/// How much of the front of `data` consists of whole records; all of it if a header in it is nonsense.
pub(super) fn whole(data: &[u8]) -> usize {
    let mut end = 0;
    loop {
        match front(&data[end..]) {
            Front::Record(len) if len <= data.len() - end => end += len,
            Front::Record(_) | Front::Short => return end,
            Front::Nonsense => return data.len(),
        }
    }
}

/// True for the first byte of plain HTTP, or of any other protocol that begins with a word. TLS begins with 22.
pub(super) fn is_plain(first: u8) -> bool {
    first.is_ascii_alphabetic()
}
