//! Owns listening sockets. Rule: a UNIX socket's file is replaced only when nobody listens on it, and removed only when
//! it is still ours.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{stat, unlink};
use rustix::io::Errno;
use rustix::net::{
    bind, connect, listen, socket_with, sockopt, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
};

use super::address::Address;
use super::secure::Certificates;
use crate::engine::Error;

/// How the next socket is opened.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub reuse_port: bool,
    pub backlog: u32,
    /// Permission bits of a UNIX socket's file; 0: as umask has it.
    pub unix_mode: u32,
}

#[derive(Debug)]
pub struct Listener {
    pub fd: OwnedFd,
    /// The file of a UNIX socket made here, and which file that was.
    file: Option<(PathBuf, Identity)>,
    /// Not watched now: for want of fds, or of room.
    pub rests: bool,
    /// The host was told of trouble that is not over.
    pub told: bool,
    /// Its connections speak TLS, with these.
    pub tls: Option<Arc<Certificates>>,
}

pub fn system(what: impl Into<String>, errno: Errno) -> Error {
    let what = what.into();
    // As strerror has it, without what Rust adds behind it.
    let why = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let why = why.split(" (os error").next().unwrap_or_default();
    Error::System(errno.raw_os_error(), format!("{what}: {why}").into())
}

impl Listener {
    pub fn adopt(fd: OwnedFd) -> Listener {
        Listener { fd, file: None, rests: false, told: false, tls: None }
    }

    pub fn speaking(self, tls: Option<Arc<Certificates>>) -> Listener {
        Listener { tls, ..self }
    }

    pub fn open(address: &Address, manner: Manner) -> Result<Listener, Error> {
        match address {
            Address::Tcp(address) => open_tcp(*address, manner).map(Listener::adopt),
            Address::Any(port) => {
                let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
                match open_tcp(v6, manner) {
                    Err(Error::System(errno, _)) if errno == Errno::AFNOSUPPORT.raw_os_error() => {
                        open_tcp((Ipv4Addr::UNSPECIFIED, *port).into(), manner).map(Listener::adopt)
                    }
                    result => result.map(Listener::adopt),
                }
            }
            Address::Unix(path) => open_unix(path, manner),
        }
    }

    /// Removes the file of a UNIX socket, if it is still the one made here.
    pub fn remove_file(&mut self) {
        if let Some((path, mark)) = self.file.take() {
            if stat(&path).is_ok_and(|found| identity(&found) == mark) {
                let _ = unlink(&path);
            }
        }
    }
}

pub(super) fn open_socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    #[cfg(not(target_vendor = "apple"))]
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    #[cfg(target_vendor = "apple")]
    let flags = SocketFlags::empty();
    let fd = socket_with(family, kind, flags, None)?;
    #[cfg(target_vendor = "apple")]
    {
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
    }
    Ok(fd)
}

/// Which file it is, whatever it is called.
type Identity = (i128, i128);

fn identity(stat: &rustix::fs::Stat) -> Identity {
    (stat.st_dev.into(), stat.st_ino.into())
}

fn is_socket(path: &Path) -> bool {
    stat(path).is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_socket())
}

fn backlog(manner: Manner) -> i32 {
    manner.backlog.min(i32::MAX as u32) as i32
}

fn open_tcp(address: SocketAddr, manner: Manner) -> Result<OwnedFd, Error> {
    let fault = |errno| system(format!("listen on {address}"), errno);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = open_socket(family, SocketType::STREAM).map_err(fault)?;
    sockopt::set_socket_reuseaddr(&fd, true).map_err(fault)?;
    if manner.reuse_port {
        sockopt::set_socket_reuseport(&fd, true).map_err(fault)?;
    }
    if let SocketAddr::V6(v6) = address {
        // The unspecified address takes IPv4 too; every other one is IPv6 alone.
        sockopt::set_ipv6_v6only(&fd, !v6.ip().is_unspecified()).map_err(fault)?;
    }
    // Accepted sockets inherit it: answers are gathered here, the kernel is not to wait for more.
    let _ = sockopt::set_tcp_nodelay(&fd, true);
    bind(&fd, &address).map_err(fault)?;
    listen(&fd, backlog(manner)).map_err(fault)?;
    Ok(fd)
}

fn open_unix(path: &Path, manner: Manner) -> Result<Listener, Error> {
    let fault = |errno| system(format!("listen on unix:{}", path.display()), errno);
    let address = SocketAddrUnix::new(path).map_err(fault)?;
    let fd = open_socket(AddressFamily::UNIX, SocketType::STREAM).map_err(fault)?;
    match bind(&fd, &address) {
        Err(Errno::ADDRINUSE) => {
            // A socket that nobody answers on was left behind by a server that is no more.
            let probe = open_socket(AddressFamily::UNIX, SocketType::STREAM).map_err(fault)?;
            match connect(&probe, &address) {
                Err(Errno::CONNREFUSED) if is_socket(path) => {}
                _ => return Err(fault(Errno::ADDRINUSE)),
            }
            unlink(path).map_err(fault)?;
            bind(&fd, &address).map_err(fault)?;
        }
        result => result.map_err(fault)?,
    }
    let file = stat(path).ok().map(|found| (path.to_owned(), identity(&found)));
    let mut listener = Listener { file, ..Listener::adopt(fd) };
    let ready = || {
        if manner.unix_mode != 0 {
            rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(manner.unix_mode as _))?;
        }
        listen(listener.fd.as_fd(), backlog(manner))
    };
    match ready() {
        Ok(()) => Ok(listener),
        Err(errno) => {
            listener.remove_file();
            Err(fault(errno))
        }
    }
}
