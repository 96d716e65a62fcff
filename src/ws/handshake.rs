//! The server's half of the opening handshake (RFC 6455, 4.2), subprotocols and permessage-deflate (RFC 7692, 7.1).

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;

/// Sec-WebSocket-Accept for a client's key.
pub fn accept(key: &[u8]) -> String {
    let mut sha = sha1_smol::Sha1::new();
    sha.update(key);
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha.digest().bytes())
}

/// Whether a client offers this subprotocol. Names are compared as they are.
pub fn offers(protocols: &[u8], name: &str) -> bool {
    protocols.split(|byte| *byte == b',').any(|offered| offered.trim_ascii() == name.as_bytes())
}

/// What is answered to an offer of permessage-deflate: neither side keeps a window between messages, so that one compressed
/// message serves all and an idle connection keeps nothing.
pub const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Whether an offer among a client's extensions can be answered by [`DEFLATE`].
pub fn offers_deflate(extensions: &[u8]) -> bool {
    extensions.split(|byte| *byte == b',').any(is_acceptable)
}

/// An offer that has a parameter we cannot keep, or one that is wrong, is passed over (RFC 7692, 7.1).
fn is_acceptable(offer: &[u8]) -> bool {
    let mut parts = offer.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"permessage-deflate")) {
        return false;
    }
    let mut seen = Vec::new();
    for parameter in parts {
        let mut sides = parameter.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (sides.next().unwrap_or_default().to_ascii_lowercase(), sides.next());
        let known = match (&name[..], value) {
            (b"server_no_context_takeover" | b"client_no_context_takeover" | b"client_max_window_bits", None) => true,
            (b"client_max_window_bits", Some(bits)) => is_window(bits),
            // An answer would have to promise a window: our windows are of 15 bits, and what asks for less is passed over.
            _ => false,
        };
        if !known || seen.contains(&name) {
            return false;
        }
        seen.push(name);
    }
    true
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

fn is_window(bits: &[u8]) -> bool {
    matches!(unquoted(bits), [b'8' | b'9'] | [b'1', b'0'..=b'5'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, 1.3.
    #[test]
    fn the_example() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn subprotocols() {
        assert!(offers(b"chat, encke.json", "encke.json"));
        assert!(!offers(b"chat, encke.JSON", "encke.json"));
        assert!(!offers(b"", "encke.json"));
    }

    #[test]
    fn deflate() {
        for (extensions, expected) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("Permessage-Deflate;client_max_window_bits=10;server_no_context_takeover", true),
            ("permessage-deflate; client_max_window_bits=\"15\"", true),
            ("permessage-deflate; server_max_window_bits=15", false),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("permessage-deflate; server_max_window_bits", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; client_max_window_bits=16", false),
            ("permessage-deflate; client_max_window_bits=08", false),
            ("permessage-deflate; client_no_context_takeover=1", false),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", false),
            ("permessage-deflate; other", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(offers_deflate(extensions.as_bytes()), expected, "{extensions}");
        }
    }
}
