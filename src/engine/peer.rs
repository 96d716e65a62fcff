//! Owns what an end of a connection is called. Rule: the text is the one that encke_listen takes.

use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// A UNIX socket; clients mostly have no name.
    Unix,
    Unknown,
}

impl Peer {
    /// "127.0.0.1:8080", "[::1]:8080", "unix:"; nothing when unknown.
    pub fn append(&self, out: &mut Vec<u8>) {
        match self {
            Peer::Tcp(SocketAddr::V4(address)) => {
                for (i, octet) in address.ip().octets().into_iter().enumerate() {
                    if i > 0 {
                        out.push(b'.');
                    }
                    append_number(out, octet as u16);
                }
                out.push(b':');
                append_number(out, address.port());
            }
            Peer::Tcp(address) => out.extend_from_slice(address.to_string().as_bytes()),
            Peer::Unix => out.extend_from_slice(b"unix:"),
            Peer::Unknown => {}
        }
    }
}

fn append_number(out: &mut Vec<u8>, n: u16) {
    let mut digits = [0; 5];
    let mut at = digits.len();
    let mut n = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in ["127.0.0.1:0", "1.20.255.0:65535", "[::1]:8080", "[2001:db8::7]:1"] {
            let mut out = Vec::new();
            Peer::Tcp(text.parse().unwrap()).append(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
