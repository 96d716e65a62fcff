//! Owns the reading of what the host passes in: texts, bytes, fields, structs that grow. Rule: (NULL, 0) is empty
//! everywhere; a struct of another size is read as far as both know it, and what this library does not know must be 0.

use std::ffi::{c_char, c_void, CStr};

use super::types::{encke_field, encke_str};
use crate::engine::Error;
use crate::http1::response::{append_field, Place, Seen};

/// # Safety
/// `p` is NULL or has `n` readable bytes for `'a`.
pub unsafe fn bytes<'a>(p: *const c_void, n: usize, what: &'static str) -> Result<&'a [u8], Error> {
    if n == 0 {
        return Ok(&[]);
    }
    if p.is_null() {
        return Err(Error::invalid(format!("{what}: NULL with a length of {n}")));
    }
    if n > isize::MAX as usize {
        return Err(Error::invalid(format!("{what}: the length is larger than any object")));
    }
    // SAFETY: the caller's promise, with NULL and sizes beyond isize ruled out.
    Ok(unsafe { std::slice::from_raw_parts(p.cast(), n) })
}

/// # Safety
/// As [`bytes`].
pub unsafe fn text<'a>(text: &encke_str, what: &'static str) -> Result<&'a [u8], Error> {
    // SAFETY: the caller's promise.
    unsafe { bytes(text.p.cast(), text.n, what) }
}

/// # Safety
/// `p` is NULL or NUL-terminated text that lives for `'a`.
pub unsafe fn c_text<'a>(p: *const c_char, what: &'static str) -> Result<&'a [u8], Error> {
    if p.is_null() {
        return Err(Error::invalid(format!("{what} is NULL")));
    }
    // SAFETY: the caller's promise, with NULL ruled out.
    Ok(unsafe { CStr::from_ptr(p) }.to_bytes())
}

/// Checks the fields and appends their lines.
///
/// # Safety
/// `fields` is NULL or has `n` fields whose texts are readable.
pub unsafe fn field_lines(
    fields: *const encke_field,
    n: usize,
    place: Place,
    lines: &mut Vec<u8>,
    seen: &mut Seen,
) -> Result<(), Error> {
    if n == 0 {
        return Ok(());
    }
    if fields.is_null() {
        return Err(Error::invalid(format!("fields: NULL with a count of {n}")));
    }
    for index in 0..n {
        // SAFETY: the caller's promise: `n` fields are there, with readable texts.
        let (name, value) = unsafe {
            let field = &*fields.add(index);
            (text(&field.name, "field name")?, text(&field.value, "field value")?)
        };
        append_field(lines, name, value, place, seen)
            .map_err(|fault| Error::invalid(format!("field {index}: {fault}")))?;
    }
    Ok(())
}

/// Reads a struct whose size the host's header and this library may see differently.
///
/// # Safety
/// `p` is NULL or has `size` readable bytes; every bit pattern is a `T`.
pub unsafe fn grown<T: Copy>(p: *const T, size: usize, least: usize, what: &'static str) -> Result<T, Error> {
    if p.is_null() {
        return Err(Error::invalid(format!("{what} is NULL")));
    }
    if size < least {
        return Err(Error::invalid(format!("{what}: sizeof says {size}, at least {least} are needed")));
    }
    let known = size_of::<T>();
    // SAFETY: the caller's promise about `p` and about `T`; no more than both sizes allow is copied.
    unsafe {
        let mut value = std::mem::MaybeUninit::<T>::zeroed();
        std::ptr::copy_nonoverlapping(p.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), size.min(known));
        for at in known..size {
            if *p.cast::<u8>().add(at) != 0 {
                return Err(Error::NotSupported(
                    format!("{what}: a field that this library does not know is set").into(),
                ));
            }
        }
        Ok(value.assume_init())
    }
}

/// Whether a struct of the host can be filled in.
pub fn takes<T>(out: *mut T, size: usize, least: usize, what: &'static str) -> Result<(), Error> {
    if out.is_null() {
        return Err(Error::invalid(format!("{what} is NULL")));
    }
    if size < least {
        return Err(Error::invalid(format!("{what}: sizeof says {size}, at least {least} are needed")));
    }
    Ok(())
}

/// Fills in a struct of the host: the smaller of both sizes, and zeroes for the rest of a larger one.
///
/// # Safety
/// `out` is NULL or has `size` writable bytes.
pub unsafe fn give<T: Copy>(
    value: &T,
    out: *mut T,
    size: usize,
    least: usize,
    what: &'static str,
) -> Result<(), Error> {
    takes(out, size, least, what)?;
    let known = size_of::<T>();
    // SAFETY: the caller's promise; no more than both sizes allow is written.
    unsafe {
        std::ptr::copy_nonoverlapping((value as *const T).cast::<u8>(), out.cast::<u8>(), size.min(known));
        if size > known {
            out.cast::<u8>().add(known).write_bytes(0, size - known);
        }
    }
    Ok(())
}

/// A copy that may fail for want of memory.
pub fn copy(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| Error::NoMemory)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Gives text or bytes the way encke_info and its kin do.
///
/// # Safety
/// `buf` is NULL or has `cap` writable bytes; `need` is NULL or writable.
pub unsafe fn give_bytes(
    value: &[u8],
    terminate: bool,
    buf: *mut c_void,
    cap: usize,
    need: *mut usize,
) -> Result<(), Error> {
    let size = value.len() + usize::from(terminate);
    if !need.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *need = size };
    }
    if size > cap || (buf.is_null() && size > 0) {
        return Err(Error::Range);
    }
    // SAFETY: `size` bytes fit into the caller's buffer.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), buf.cast::<u8>(), value.len());
        if terminate {
            *buf.cast::<u8>().add(value.len()) = 0;
        }
    }
    Ok(())
}
