//! Section 8: answering. Rule: an answer is checked whole before anything is said of it; what is only lent (a borrowed
//! body, a file) changes hands when the lease was won, not before.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd};

use super::input;
use super::types::{encke_fd_t, encke_field, ENCKE_UNKNOWN};
use crate::engine::answer::Body;
use crate::engine::output::{Lent, COPY_LIMIT};
use crate::engine::Error;
use crate::http1::response::{Place, Seen};

/// encke_respond: the body is not copied: keep it unchanged until ENCKE_EV_RELEASED brings your cookie.
pub const ENCKE_BORROW: u32 = 1;
/// encke_begin: exactly `length` bytes will be written (more: ENCKE_E_INVAL, fewer: the connection is cut). encke_respond
/// to HEAD or with 304: announce `length` as the Content-Length.
pub const ENCKE_LENGTH: u32 = 2;
/// Close the connection after this answer.
pub const ENCKE_CLOSE: u32 = 4;
/// encke_respond: the body is `length` bytes (ENCKE_UNKNOWN: to its end) of `file` from `offset`; the library closes it.
/// Read on the loop thread: a cold disk stalls the loop.
pub const ENCKE_FILE: u32 = 8;

/// An answer, or its head and the first piece of its body. Zero it first. Grows at the end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct encke_response {
    /// 200 to 999; encke_begin: also 101.
    pub status: u32,
    /// ENCKE_BORROW, ENCKE_LENGTH, ENCKE_CLOSE, ENCKE_FILE
    pub flags: u32,
    /// Repeats are allowed and sent in order. Date and Server of yours win. Content-Length, Transfer-Encoding, Connection,
    /// Keep-Alive, Trailer and Upgrade (but in a 101) are the library's: ENCKE_E_INVAL.
    pub fields: *const encke_field,
    pub nfields: usize,
    /// encke_begin: the first piece, copied.
    pub body: *const c_void,
    pub body_len: usize,
    /// With ENCKE_BORROW: comes back with ENCKE_EV_RELEASED.
    pub cookie: u64,
    /// With ENCKE_LENGTH or ENCKE_FILE.
    pub length: u64,
    /// With ENCKE_FILE.
    pub offset: u64,
    /// With ENCKE_FILE; open for reading, a regular file.
    pub file: encke_fd_t,
}

/// A body of the host that is not copied.
pub(super) struct Borrowed(*const u8, usize);

// SAFETY: the host keeps the bytes readable and unchanged until they are released (ENCKE_BORROW).
unsafe impl Send for Borrowed {}

impl Lent for Borrowed {
    fn bytes(&self) -> &[u8] {
        // SAFETY: as above; NULL and sizes beyond isize were ruled out.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

/// What an encke_response says, checked.
pub(super) struct Checked<'a> {
    pub(super) status: u16,
    pub(super) close: bool,
    pub(super) length: Option<u64>,
    pub(super) seen: Seen,
    pub(super) body: Source<'a>,
}

pub(super) enum Source<'a> {
    Copy(&'a [u8]),
    Owned(Vec<u8>),
    Borrow(Borrowed, u64),
    File { fd: encke_fd_t, offset: u64, len: u64 },
}

const LEAST_RESPONSE: usize = 8;

/// # Safety
/// `response` is NULL or has `size` readable bytes, and what it points to is readable.
pub(super) unsafe fn check<'a>(
    response: *const encke_response,
    size: usize,
    begins: bool,
    lines: &mut Vec<u8>,
) -> Result<Checked<'a>, Error> {
    // SAFETY: the caller's promise; every bit pattern is an encke_response.
    let r = unsafe { input::grown(response, size, LEAST_RESPONSE, "the response")? };
    let switching = begins && r.status == 101;
    if !switching && !(200..1000).contains(&r.status) {
        return Err(Error::invalid(format!("status {}: a final status is 200 to 999", r.status)));
    }
    let known =
        if begins { ENCKE_LENGTH | ENCKE_CLOSE } else { ENCKE_BORROW | ENCKE_LENGTH | ENCKE_CLOSE | ENCKE_FILE };
    if r.flags & !(ENCKE_BORROW | ENCKE_LENGTH | ENCKE_CLOSE | ENCKE_FILE) != 0 {
        return Err(Error::NotSupported(format!("flags {:#x}: unknown bits", r.flags).into()));
    }
    if r.flags & !known != 0 {
        return Err(Error::invalid("flags: encke_begin takes neither ENCKE_BORROW nor ENCKE_FILE"));
    }
    if r.flags & ENCKE_BORROW != 0 && r.flags & ENCKE_FILE != 0 {
        return Err(Error::invalid("flags: ENCKE_BORROW and ENCKE_FILE exclude each other"));
    }
    lines.clear();
    let mut seen = Seen::default();
    let place = if switching { Place::Switching } else { Place::Answer };
    // SAFETY: the caller's promise.
    let bytes = unsafe {
        input::field_lines(r.fields, r.nfields, place, lines, &mut seen)?;
        input::bytes(r.body, r.body_len, "body")?
    };
    let length = (r.flags & ENCKE_LENGTH != 0).then_some(r.length);
    if length == Some(ENCKE_UNKNOWN) {
        return Err(Error::invalid("ENCKE_LENGTH with a length of ENCKE_UNKNOWN"));
    }
    if begins && length.is_some_and(|length| (bytes.len() as u64) > length) {
        return Err(Error::invalid("the first piece is longer than the length"));
    }
    let body = if r.flags & ENCKE_FILE != 0 {
        let len = file_length(r.file, r.offset, r.length)?;
        Source::File { fd: r.file, offset: r.offset, len }
    } else if r.flags & ENCKE_BORROW != 0 {
        Source::Borrow(Borrowed(bytes.as_ptr(), bytes.len()), r.cookie)
    } else {
        Source::Copy(bytes)
    };
    let close = r.flags & ENCKE_CLOSE != 0;
    Ok(Checked { status: r.status as u16, close, length, seen, body })
}

/// How many bytes of the file the answer has.
fn file_length(fd: encke_fd_t, offset: u64, length: u64) -> Result<u64, Error> {
    if fd < 0 {
        return Err(Error::invalid("file: the fd is negative"));
    }
    // SAFETY: the host gives an open fd.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let stat = rustix::fs::fstat(fd)
        .map_err(|errno| Error::System(errno.raw_os_error(), "file: its size cannot be asked for".into()))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::invalid("file: not a regular file"));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let Some(left) = size.checked_sub(offset) else {
        return Err(Error::invalid(format!("file: the offset {offset} is behind its end ({size})")));
    };
    match length {
        ENCKE_UNKNOWN => Ok(left),
        length if length > left => {
            Err(Error::invalid(format!("file: {length} bytes from {offset} where it has {size}")))
        }
        length => Ok(length),
    }
}

impl<'a> Source<'a> {
    /// The body as the engine takes it. Ownership of a file begins here.
    pub(super) fn take(self) -> Body<'a> {
        match self {
            Source::Copy(bytes) => Body::Copy(bytes),
            Source::Owned(bytes) => Body::Owned(bytes),
            Source::Borrow(bytes, cookie) => Body::Lent { bytes: Box::new(bytes), cookie },
            // SAFETY: the host gave the fd away; the lease was won, so it is taken exactly once.
            Source::File { fd, offset, len } => Body::File { file: unsafe { File::from_raw_fd(fd) }, offset, len },
        }
    }

    /// What the engine would have to copy whole is copied now, as long as a lack of memory can still be told.
    #[inline]
    pub(super) fn copy_if_large(self) -> Result<Source<'a>, Error> {
        match self {
            Source::Copy(bytes) if bytes.len() > COPY_LIMIT => Ok(Source::Owned(input::copy(bytes)?)),
            small => Ok(small),
        }
    }

    /// A copy that outlives the call, made before anything is promised.
    pub(super) fn keep(self) -> Result<Kept, Error> {
        Ok(match self {
            Source::Copy(bytes) => Kept::Owned(input::copy(bytes)?),
            Source::Owned(bytes) => Kept::Owned(bytes),
            Source::Borrow(bytes, cookie) => Kept::Borrow(bytes, cookie),
            Source::File { fd, offset, len } => Kept::File { fd, offset, len },
        })
    }
}

pub(super) enum Kept {
    Owned(Vec<u8>),
    Borrow(Borrowed, u64),
    File { fd: encke_fd_t, offset: u64, len: u64 },
}

impl Kept {
    pub(super) fn take(self) -> Body<'static> {
        match self {
            Kept::Owned(bytes) => Body::Owned(bytes),
            Kept::Borrow(bytes, cookie) => Source::Borrow(bytes, cookie).take(),
            Kept::File { fd, offset, len } => Source::File { fd, offset, len }.take(),
        }
    }
}
