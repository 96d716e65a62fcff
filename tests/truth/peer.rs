//! Owns the other end of a connection: never blocks, and can say what has arrived without taking it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

#[derive(Debug)]
pub enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub fn connect(port: u16) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener with room");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_nonblocking(true).expect("non-blocking");
        Peer::Tcp(stream)
    }

    pub fn connect_unix(path: &str) -> Peer {
        let stream = UnixStream::connect(path).expect("a listener with room");
        stream.set_nonblocking(true).expect("non-blocking");
        Peer::Unix(stream)
    }

    /// And the end for the server.
    pub fn pair() -> (Peer, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("non-blocking");
        (Peer::Unix(ours), theirs.into())
    }

    pub fn fd(&self) -> i32 {
        match self {
            Peer::Tcp(stream) => stream.as_raw_fd(),
            Peer::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// As much as the kernel takes.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = match self {
            Peer::Tcp(stream) => stream.write(bytes),
            Peer::Unix(stream) => stream.write(bytes),
        };
    }

    pub fn read(&mut self) -> usize {
        let mut buffer = vec![0; 1 << 20];
        let n = match self {
            Peer::Tcp(stream) => stream.read(&mut buffer),
            Peer::Unix(stream) => stream.read(&mut buffer),
        };
        n.unwrap_or(0)
    }

    pub fn end(&mut self) {
        let _ = match self {
            Peer::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Peer::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    pub fn leave(self, reset: bool) {
        if reset {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: the option is what SO_LINGER takes, with its size.
            unsafe {
                let size = size_of::<libc::linger>() as u32;
                libc::setsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size);
            }
        }
    }

    /// Bytes that wait here, and whether the end came.
    pub fn waiting(&self) -> (i32, i16) {
        let mut bytes = 0;
        let mut poll = libc::pollfd { fd: self.fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: both calls get one valid place to write to.
        unsafe {
            libc::ioctl(self.fd(), libc::FIONREAD, &raw mut bytes);
            libc::poll(&raw mut poll, 1, 0);
        }
        (bytes, poll.revents)
    }
}
