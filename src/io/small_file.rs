//! Owns the reading of small files of the system. Rule: so many bytes at the most, and of nothing that could be waited for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{fstat, openat, FileType, Mode, OFlags, CWD};

/// The first bytes of a regular file, `most` at the most; `None`: there is none that can be read.
pub fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = openat(CWD, path, flags, Mode::empty()).ok()?;
    if !FileType::from_raw_mode(fstat(&fd).ok()?.st_mode).is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::from(fd).take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
