//! Owns what the other end of a connection is called. Rule: the text is the one that encke_listen takes; it is made once
//! a connection, and the usual one needs no allocation.

use std::net::SocketAddr;

/// "255.255.255.255:65535" and shorter.
const SHORT: usize = 22;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Short { len: u8, text: [u8; SHORT] },
    Long(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer(Text);

impl Peer {
    pub fn tcp(address: SocketAddr) -> Peer {
        Peer::named(address.to_string())
    }

    /// A UNIX socket; clients mostly have no name.
    pub fn unix() -> Peer {
        Peer::named("unix:".to_owned())
    }

    pub fn unknown() -> Peer {
        Peer::named(String::new())
    }

    fn named(name: String) -> Peer {
        let mut text = [0; SHORT];
        match text.get_mut(..name.len()) {
            Some(place) => {
                place.copy_from_slice(name.as_bytes());
                Peer(Text::Short { len: name.len() as u8, text })
            }
            None => Peer(Text::Long(name.into())),
        }
    }

    /// "127.0.0.1:8080", "[::1]:8080", "unix:"; nothing when unknown.
    #[inline]
    pub fn text(&self) -> &[u8] {
        match &self.0 {
            Text::Short { len, text } => &text[..*len as usize],
            Text::Long(text) => text.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in ["127.0.0.1:0", "255.255.255.255:65535", "[::1]:8080", "[2001:db8:1:2:3:4:5:6]:65535"] {
            assert_eq!(Peer::tcp(text.parse().unwrap()).text(), text.as_bytes());
        }
        assert_eq!(Peer::unix().text(), b"unix:");
        assert_eq!(Peer::unknown().text(), b"");
        assert!(size_of::<Peer>() <= 24);
    }
}
