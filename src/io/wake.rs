//! Owns the fd through which other threads wake the loop. Rule: waking is one write that cannot block, legal in a
//! signal handler, and leaves errno alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

#[derive(Debug)]
pub struct Waker {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    event: OwnedFd,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pipe: (OwnedFd, OwnedFd),
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Waker {
    pub fn new() -> Result<Waker, Errno> {
        use rustix::event::{eventfd, EventfdFlags};
        Ok(Waker { event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    pub fn wake(&self) {
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// The end to be watched for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Waker {
    pub fn new() -> Result<Waker, Errno> {
        let pipe = rustix::pipe::pipe()?;
        for fd in [&pipe.0, &pipe.1] {
            rustix::io::ioctl_fionbio(fd, true)?;
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok(Waker { pipe })
    }

    pub fn wake(&self) {
        let errno = errno();
        let _ = rustix::io::write(&self.pipe.1, &[1]);
        errno.restore();
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.0.as_fd()
    }
}

impl Waker {
    /// Makes the fd quiet again, for those who watch it level-triggered.
    pub fn clear(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(self.fd(), &mut bytes).is_ok_and(|n| n == bytes.len()) {}
    }
}

/// errno of this thread, to be put back after a call that may change it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn errno() -> Saved {
    Saved(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
struct Saved(i32);

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Saved {
    fn restore(self) {
        #[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
        use libc::__errno as location;
        #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
        use libc::__error as location;
        // SAFETY: the location of this thread's errno is always writable.
        unsafe { *location() = self.0 };
    }
}
