//! Owns the sockets when the host watches each of them itself. Rule: the host is told every change once, and a socket
//! is closed only after the host was told to forget it.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::poller::{Readiness, Token};

pub const READ: u32 = 1;
pub const WRITE: u32 = 2;

#[derive(Debug)]
struct Watch {
    token: Token,
    want: u32,
    /// What the host was told last.
    told: u32,
    /// What the host saw.
    got: u32,
    queued: bool,
    noted: bool,
}

#[derive(Debug, Default)]
pub struct Watches {
    watches: HashMap<RawFd, Watch>,
    changed: VecDeque<RawFd>,
    noted: Vec<RawFd>,
    /// To be closed after the host was told.
    leaving: HashMap<RawFd, OwnedFd>,
    left: Option<OwnedFd>,
}

impl Watches {
    pub fn add(&mut self, fd: BorrowedFd<'_>, token: Token) {
        let raw = fd.as_raw_fd();
        let watch =
            self.watches.entry(raw).or_insert(Watch { token, want: 0, told: 0, got: 0, queued: false, noted: false });
        watch.token = token;
        watch.want = READ;
        self.queue(raw);
    }

    pub fn want(&mut self, fd: BorrowedFd<'_>, read: bool, write: bool) {
        let raw = fd.as_raw_fd();
        let want = if read { READ } else { 0 } | if write { WRITE } else { 0 };
        if let Some(watch) = self.watches.get_mut(&raw) {
            if watch.want != want {
                watch.want = want;
                self.queue(raw);
            }
        }
    }

    fn queue(&mut self, raw: RawFd) {
        if let Some(watch) = self.watches.get_mut(&raw) {
            if !watch.queued {
                watch.queued = true;
                self.changed.push_back(raw);
            }
        }
    }

    pub fn close(&mut self, fd: OwnedFd) {
        let raw = fd.as_raw_fd();
        match self.watches.get_mut(&raw) {
            Some(watch) if watch.told != 0 => {
                watch.want = 0;
                self.leaving.insert(raw, fd);
                self.queue(raw);
            }
            // The host has never heard of it, or was told to forget it.
            _ => {
                self.watches.remove(&raw);
            }
        }
    }

    /// The next change: the fd and what it is to be watched for; 0: no more.
    pub fn next_change(&mut self) -> Option<(RawFd, u32)> {
        self.left = None;
        while let Some(raw) = self.changed.pop_front() {
            let Some(watch) = self.watches.get_mut(&raw) else { continue };
            watch.queued = false;
            if let Some(fd) = self.leaving.remove(&raw) {
                self.watches.remove(&raw);
                self.left = Some(fd);
                return Some((raw, 0));
            }
            if watch.want != watch.told {
                watch.told = watch.want;
                return Some((raw, watch.want));
            }
        }
        None
    }

    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Notes what the host saw; fds that are not watched are ignored.
    pub fn feed(&mut self, raw: RawFd, got: u32) {
        if self.leaving.contains_key(&raw) {
            return;
        }
        if let Some(watch) = self.watches.get_mut(&raw) {
            watch.got |= got & (READ | WRITE);
            if watch.got != 0 && !watch.noted {
                watch.noted = true;
                self.noted.push(raw);
            }
        }
    }

    pub fn has_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    pub fn collect(&mut self, out: &mut Vec<Readiness>) {
        for raw in self.noted.drain(..) {
            let Some(watch) = self.watches.get_mut(&raw) else { continue };
            watch.noted = false;
            let got = std::mem::take(&mut watch.got);
            out.push(Readiness {
                token: watch.token,
                readable: got & READ != 0,
                writable: got & WRITE != 0,
                end: false,
                dead: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut watches = Watches::default();
        let socket = fd();
        let raw = socket.as_raw_fd();
        watches.add(socket.as_fd(), Token::Wake);
        watches.want(socket.as_fd(), true, true);
        assert_eq!(watches.next_change(), Some((raw, READ | WRITE)));
        assert_eq!(watches.next_change(), None);
        watches.want(socket.as_fd(), false, true);
        watches.want(socket.as_fd(), true, true);
        assert_eq!(watches.next_change(), None);
        watches.close(socket);
        assert_eq!(watches.next_change(), Some((raw, 0)));
        assert!(rustix::io::fcntl_getfd(watches.left.as_ref().unwrap()).is_ok(), "still open");
        assert_eq!(watches.next_change(), None);
        assert!(watches.left.is_none());
    }

    #[test]
    fn unknown_and_forgotten_fds_are_ignored() {
        let mut watches = Watches::default();
        let mut out = Vec::new();
        watches.feed(12345, READ);
        let socket = fd();
        let raw = socket.as_raw_fd();
        watches.add(socket.as_fd(), Token::Wake);
        watches.next_change();
        watches.feed(raw, READ);
        watches.feed(raw, WRITE | 64);
        watches.collect(&mut out);
        assert_eq!(out.len(), 1);
        assert!(out[0].readable && out[0].writable);
        watches.close(socket);
        watches.feed(raw, READ);
        out.clear();
        watches.collect(&mut out);
        assert!(out.is_empty());
    }
}
