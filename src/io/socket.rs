//! Owns the calls on connected sockets. Rule: never blocks, never raises SIGPIPE, never goes through std's writes.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{recv, send, sendmsg, shutdown, sockopt, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;

/// What every connected socket needs.
pub fn prepare(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(fd, true)?;
    quiet(fd)
}

/// No signal where the peer is gone.
pub fn quiet(fd: impl AsFd) -> Result<(), Errno> {
    #[cfg(target_vendor = "apple")]
    sockopt::set_socket_nosigpipe(fd, true)?;
    #[cfg(not(target_vendor = "apple"))]
    let _ = fd;
    Ok(())
}

pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(fd, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            result => return result.map(|(n, _)| n),
        }
    }
}

/// Sends the slices as one; `more` says that a file follows.
pub fn transmit(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>], more: bool) -> Result<usize, Errno> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = if more { NO_SIGNAL | SendFlags::MORE } else { NO_SIGNAL };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let (flags, _) = (NO_SIGNAL, more);
    loop {
        let result = match slices {
            [one] => send(fd, one, flags),
            many => sendmsg(fd, many, &mut SendAncillaryBuffer::default(), flags),
        };
        match result {
            Err(Errno::INTR) => continue,
            result => return result,
        }
    }
}

/// [`transmit`] of one piece with nothing behind it.
#[inline]
pub fn transmit_alone(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match send(fd, bytes, NO_SIGNAL) {
            Err(Errno::INTR) => continue,
            result => return result,
        }
    }
}

/// Sends up to `n` bytes of the file from `offset`; 0: the file ends there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn transmit_file(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    n: usize,
    _scratch: &mut [u8],
) -> Result<usize, Errno> {
    let _quiet = sigpipe::Blocked::new();
    let mut offset = offset;
    loop {
        match rustix::fs::sendfile(fd, file.as_fd(), Some(&mut offset), n) {
            Err(Errno::INTR) => continue,
            result => return result,
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn transmit_file(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    n: usize,
    scratch: &mut [u8],
) -> Result<usize, Errno> {
    let n = n.min(scratch.len());
    let n = rustix::io::pread(file.as_fd(), &mut scratch[..n], offset)?;
    if n == 0 {
        return Ok(0);
    }
    transmit(fd, &[IoSlice::new(&scratch[..n])], false)
}

pub fn shut_down_sending(fd: BorrowedFd<'_>) {
    let _ = shutdown(fd, Shutdown::Write);
}

/// Nothing is sent or received any more.
#[cfg(feature = "links")]
pub fn cut(fd: BorrowedFd<'_>) {
    let _ = shutdown(fd, Shutdown::Both);
}

/// Makes the next close a reset, so that the peer does not take what it has for the whole.
pub fn reset_on_close(fd: BorrowedFd<'_>) {
    let _ = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

/// sendfile has no MSG_NOSIGNAL: the signal is blocked for this thread, and taken back if it came.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod sigpipe {
    use std::mem::MaybeUninit;

    pub struct Blocked {
        before: libc::sigset_t,
        was_pending: bool,
    }

    fn only_sigpipe() -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset makes the set valid before sigaddset uses it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
            set.assume_init()
        }
    }

    fn is_pending() -> bool {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigpending fills the set in before it is read.
        unsafe { libc::sigpending(set.as_mut_ptr()) == 0 && libc::sigismember(set.as_ptr(), libc::SIGPIPE) == 1 }
    }

    impl Blocked {
        pub fn new() -> Blocked {
            let was_pending = is_pending();
            let mut before = MaybeUninit::uninit();
            // SAFETY: both sets are valid for the call, which fills `before` in.
            let before = unsafe {
                libc::sigemptyset(before.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_BLOCK, &only_sigpipe(), before.as_mut_ptr());
                before.assume_init()
            };
            Blocked { before, was_pending }
        }
    }

    impl Drop for Blocked {
        fn drop(&mut self) {
            if !self.was_pending && is_pending() {
                let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: the set and the time are valid for the call.
                unsafe { libc::sigtimedwait(&only_sigpipe(), std::ptr::null_mut(), &now) };
            }
            // SAFETY: `before` is the mask that pthread_sigmask gave.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
        }
    }
}
