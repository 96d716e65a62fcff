//! Owns the beginning of outgoing connections. Rule: nothing here waits.

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{connect, sockopt, AddressFamily, SocketAddrUnix, SocketType};

use super::listener::open_socket;
use super::socket;

/// A peer that vanished without a word is found out after some minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connection that is made, or being made.
#[derive(Debug)]
pub struct Dialled {
    pub fd: OwnedFd,
    pub connected: bool,
}

pub fn dial(address: SocketAddr) -> Result<Dialled, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = open_socket(family, SocketType::STREAM)?;
    socket::quiet(&fd)?;
    let _ = sockopt::set_tcp_nodelay(&fd, true);
    if sockopt::set_socket_keepalive(&fd, true).is_ok() {
        #[cfg(not(any(target_os = "openbsd", target_vendor = "apple")))]
        let _ = sockopt::set_tcp_keepidle(&fd, KEEPALIVE);
        #[cfg(not(target_os = "openbsd"))]
        let _ = sockopt::set_tcp_keepintvl(&fd, KEEPALIVE / 4);
    }
    let connected = begun(connect(&fd, &address))?;
    Ok(Dialled { fd, connected })
}

/// A socket that hears this address alone, from a port of chance.
pub fn dial_udp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = open_socket(family, SocketType::DGRAM)?;
    socket::quiet(&fd)?;
    connect(&fd, &address)?;
    Ok(fd)
}

pub fn dial_unix(path: &Path) -> Result<Dialled, Errno> {
    let fd = open_socket(AddressFamily::UNIX, SocketType::STREAM)?;
    socket::quiet(&fd)?;
    let connected = begun(connect(&fd, &SocketAddrUnix::new(path)?))?;
    Ok(Dialled { fd, connected })
}

fn begun(result: Result<(), Errno>) -> Result<bool, Errno> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What became of a connection that was being made.
pub fn outcome(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::socket_error(fd)?
}

/// Why, as the system says it.
pub fn reason(errno: Errno) -> String {
    let why = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    why.split(" (os error").next().unwrap_or_default().to_owned()
}
