//! Owns the way from a path below a directory to an open file. Rule: nothing outside the directory is ever opened, neither
//! by `..` nor by symbolic links, whatever is renamed meanwhile; nothing here blocks but the disk.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{fstat, openat, readlinkat, FileType, Mode, OFlags, CWD};
use rustix::io::Errno;

use crate::engine::Error;
use crate::mounts::files::Facts;

/// Symbolic links on the way to one file at the most.
const MOST_LINKS: usize = 40;
/// A file that is renamed while it is looked for is looked for again.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TRIES: usize = 4;

/// A directory whose files are served.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// Symbolic links that stay inside are followed.
    follow: bool,
}

#[derive(Debug)]
pub enum Found {
    File(File, Facts),
    Directory,
    /// A device, a pipe, a socket.
    Other,
}

/// A pipe must not wait for its other end, a terminal not become this process's.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl Root {
    pub fn open(path: &[u8], follow: bool) -> Result<Root, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(fd) => Ok(Root { fd, follow }),
            Err(errno) => {
                let path = String::from_utf8_lossy(path);
                Err(Error::System(errno.raw_os_error(), format!("the directory {path} cannot be opened").into()))
            }
        }
    }

    /// `relative`: names with '/' between them, none of them "." or ".."; empty: the directory itself.
    pub fn find(&self, relative: &[u8]) -> Result<Found, Errno> {
        let fd = self.open_below(relative)?;
        let stat = fstat(&fd)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let facts = Facts {
                    size: u64::try_from(stat.st_size).unwrap_or(0),
                    seconds: u64::try_from(stat.st_mtime).unwrap_or(0),
                    nanoseconds: stat.st_mtime_nsec as u32,
                    inode: stat.st_ino as u64,
                };
                Found::File(File::from(fd), facts)
            }
            FileType::Directory => Found::Directory,
            _ => Found::Other,
        })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn open_below(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        use rustix::fs::{openat2, ResolveFlags};
        let path = if relative.is_empty() { b"." } else { relative };
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if !self.follow {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        for _ in 0..TRIES {
            match openat2(&self.fd, path, READ, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                // Before Linux 5.6, and where a filter does not know it.
                Err(Errno::NOSYS | Errno::PERM) => return self.walk(relative),
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn open_below(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        self.walk(relative)
    }

    /// Opens one name after the other, none of them through a link; what a link says is walked in its place.
    fn walk(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        let mut names: VecDeque<Vec<u8>> = split(relative).collect();
        // The directories from here down to where the walk is.
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            if name == b".." {
                way.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            let last = names.is_empty();
            let here = way.last().unwrap_or(&self.fd).as_fd();
            let flags = READ | OFlags::NOFOLLOW | if last { OFlags::empty() } else { OFlags::DIRECTORY };
            match openat(here, &name, flags, Mode::empty()) {
                Ok(fd) if last => return Ok(fd),
                Ok(fd) => way.push(fd),
                // Systems differ in what they say of a link that is not to be followed.
                Err(errno @ (Errno::LOOP | Errno::MLINK | Errno::NOTDIR)) if self.follow => {
                    links += 1;
                    let target = read_link(here, &name).map_err(|_| errno)?;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.first() == Some(&b'/') {
                        return Err(Errno::XDEV);
                    }
                    for name in split(&target).collect::<Vec<_>>().into_iter().rev() {
                        names.push_front(name);
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
        let here = way.last().unwrap_or(&self.fd);
        openat(here, ".", READ | OFlags::DIRECTORY, Mode::empty())
    }
}

fn read_link(here: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    readlinkat(here, name, Vec::new()).map(|target| target.into_bytes())
}

fn split(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// A directory with everything that could be in the way; removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("encke-files-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            let root = path.join("root");
            std::fs::create_dir_all(root.join("dir/deep")).unwrap();
            std::fs::create_dir_all(path.join("root-evil")).unwrap();
            for (file, text) in [("root/a", "a"), ("root/dir/deep/b", "bb"), ("outside", "no"), ("root-evil/c", "no")] {
                std::fs::write(path.join(file), text).unwrap();
            }
            for (link, target) in [
                ("inside", "dir/deep/b"),
                ("up", "dir/../a"),
                ("chain", "inside"),
                ("into", "dir/deep"),
                ("dir/back", "../a"),
                ("out", "../outside"),
                ("dir/out", "../../outside"),
                ("evil", "../root-evil"),
                ("absolute", "/etc/passwd"),
                ("round", "round"),
                ("proc", "/proc/self/root"),
            ] {
                symlink(target, root.join(link)).unwrap();
            }
            Place(path)
        }

        fn root(&self, follow: bool) -> Root {
            Root::open(self.0.join("root").as_os_str().as_encoded_bytes(), follow).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// The size of a file; both ways of opening must agree.
    fn size(root: &Root, path: &str) -> Option<u64> {
        let walked = root.walk(path.as_bytes()).ok().map(|fd| fstat(&fd).unwrap().st_size as u64);
        let found = match root.find(path.as_bytes()) {
            Ok(Found::File(_, facts)) => Some(facts.size),
            _ => None,
        };
        assert_eq!(found, walked.filter(|_| found.is_some()), "{path}");
        assert_eq!(
            found.is_none(),
            !matches!(root.walk(path.as_bytes()), Ok(fd) if FileType::from_raw_mode(fstat(&fd).unwrap().st_mode).is_file()),
            "{path}"
        );
        found
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs directories that are opened")]
    fn files_are_found_and_nothing_leads_out() {
        let place = Place::new("found");
        for follow in [false, true] {
            let root = place.root(follow);
            assert_eq!((size(&root, "a"), size(&root, "dir/deep/b")), (Some(1), Some(2)));
            assert!(
                matches!(root.find(b""), Ok(Found::Directory)) && matches!(root.find(b"dir"), Ok(Found::Directory))
            );
            for nothing in
                ["b", "a/b", "out", "dir/out", "evil/c", "absolute", "round", "proc", "proc/etc/passwd", "../outside"]
            {
                assert_eq!(size(&root, nothing), None, "{nothing}");
            }
            for (link, n) in [("inside", 2), ("up", 1), ("chain", 2), ("into/b", 2), ("dir/back", 1)] {
                assert_eq!(size(&root, link), follow.then_some(n), "{link}");
            }
        }
    }

    // Apple's systems have no mknodat.
    #[cfg(not(target_vendor = "apple"))]
    #[test]
    #[cfg_attr(miri, ignore = "needs directories that are opened")]
    fn pipes_do_not_wait_and_devices_are_no_files() {
        let place = Place::new("pipes");
        let path = place.0.join("root/pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let root = place.root(false);
        assert!(matches!(root.find(b"pipe"), Ok(Found::Other)));
        assert!(root.walk(b"pipe").is_ok());
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs directories that are opened")]
    fn a_directory_that_is_not_there_is_named() {
        let Err(Error::System(errno, text)) = Root::open(b"/no/such/place", false) else { panic!() };
        assert_eq!(errno, Errno::NOENT.raw_os_error());
        assert!(text.contains("/no/such/place"), "{text}");
        assert!(Root::open(b"/etc/passwd", false).is_err());
    }
}
