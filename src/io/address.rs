//! Owns the text form of addresses. Rule: what encke_info gives, encke_listen takes.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

use crate::engine::peer::Peer;
use crate::engine::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    /// Any address of the machine: IPv6 and IPv4 where both are there.
    Any(u16),
    Unix(PathBuf),
}

/// "127.0.0.1:8080", "[::1]:8080", ":8080", "unix:/run/x.sock".
pub fn parse(text: &str) -> Result<Address, Error> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(Error::invalid("address: \"unix:\" needs a path behind it"));
        }
        return Ok(Address::Unix(path.into()));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Error::invalid(format!(
            "address \"{text}\": a port is missing, as in \"127.0.0.1:8080\" or \":8080\""
        )));
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let Some(port) = port.parse::<u16>().ok().filter(|_| digits) else {
        return Err(Error::invalid(format!("address \"{text}\": \"{port}\" is no port from 0 to 65535")));
    };
    if host.is_empty() {
        return Ok(Address::Any(port));
    }
    if host == "localhost" {
        return Ok(Address::Tcp(([127, 0, 0, 1], port).into()));
    }
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(Into::into),
        None => host.parse::<std::net::Ipv4Addr>().ok().map(Into::into),
    };
    match ip {
        Some(ip) => Ok(Address::Tcp(SocketAddr::new(ip, port))),
        None => Err(Error::invalid(format!(
            "address \"{text}\": \"{host}\" is no IPv4 address and no IPv6 address in brackets; names are not looked up"
        ))),
    }
}

/// The address of the other end.
pub fn peer(address: Option<SocketAddrAny>) -> Peer {
    match address {
        Some(address) if address.address_family() == AddressFamily::UNIX => Peer::unix(),
        Some(address) => match SocketAddr::try_from(address) {
            Ok(address) => Peer::tcp(canonical(address)),
            Err(_) => Peer::unknown(),
        },
        None => Peer::unix(),
    }
}

/// An IPv4 client of an IPv6 listener is shown as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The text of a local address.
pub fn text(address: SocketAddrAny) -> Vec<u8> {
    let mut out = Vec::new();
    if address.address_family() == AddressFamily::UNIX {
        out.extend_from_slice(b"unix:");
        if let Ok(unix) = SocketAddrUnix::try_from(address) {
            out.extend_from_slice(unix.path_bytes().unwrap_or_default());
        }
    } else {
        out.extend_from_slice(peer(Some(address)).text());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(parse("127.0.0.1:80"), Ok(Address::Tcp("127.0.0.1:80".parse().unwrap())));
        assert_eq!(parse("[::1]:0"), Ok(Address::Tcp("[::1]:0".parse().unwrap())));
        assert_eq!(parse(":8080"), Ok(Address::Any(8080)));
        assert_eq!(parse("localhost:1"), Ok(Address::Tcp("127.0.0.1:1".parse().unwrap())));
        assert_eq!(parse("unix:/run/x"), Ok(Address::Unix("/run/x".into())));
    }

    #[test]
    fn faults_are_named() {
        for (text, what) in [
            ("", "port is missing"),
            ("8080", "port is missing"),
            ("127.0.0.1:", "no port"),
            ("127.0.0.1:+1", "no port"),
            ("127.0.0.1:65536", "no port"),
            ("::1:80", "no IPv4 address"),
            ("example.com:80", "names are not looked up"),
            ("[::1:80", "no IPv4 address"),
            ("unix:", "needs a path"),
        ] {
            let Err(Error::Invalid(said)) = parse(text) else { panic!("{text:?} was taken") };
            assert!(said.contains(what), "{text:?}: {said}");
        }
    }
}
