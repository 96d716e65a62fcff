//! Owns the programs that tests run. Rule: no setting of the user's reaches them, they have a deadline, and a test that
//! fails shows what they said.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{channel, Sender};
use std::time::Instant;

use super::host::DEADLINE;

/// What a program said, and how it ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn error(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// Everything, for the message of a test that fails.
    pub fn all(&self) -> String {
        format!("exit code {:?}\n{}\n{}", self.code, self.text(), self.error())
    }

    #[track_caller]
    pub fn succeeded(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}", self.all());
        self
    }
}

fn start(name: &str, args: &[&str]) -> Child {
    let mut command = Command::new(name);
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // The system's settings may forbid the old versions that are to be refused here.
    command.env("LC_ALL", "C").env("OPENSSL_CONF", "/dev/null");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("the program {name} is missing: install the package {name} (on Debian: apt-get install {name})")
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Passes on what comes from `from` until it ends.
fn pass_on(mut from: impl Read + Send + 'static, is_err: bool, to: Sender<(bool, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            if to.send((is_err, piece[..n].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// Runs a program to its end. Each step is a text to wait for, and what is then typed; after the last one the input ends.
pub fn talk(name: &str, args: &[&str], steps: &[(&str, &str)]) -> Ran {
    let mut child = start(name, args);
    let (tell, told) = channel();
    pass_on(child.stdout.take().expect("piped"), false, tell.clone());
    pass_on(child.stderr.take().expect("piped"), true, tell);
    let mut input = child.stdin.take();
    let mut steps = steps.iter();
    let mut step = steps.next();
    let mut ran = Ran { code: None, out: Vec::new(), err: Vec::new() };
    let begun = Instant::now();
    loop {
        while let (Some((text, typed)), Some(input)) = (step, &mut input) {
            if !ran.text().contains(text) && !ran.error().contains(text) {
                break;
            }
            // It may have ended.
            let _ = input.write_all(typed.as_bytes()).and_then(|()| input.flush());
            step = steps.next();
        }
        if step.is_none() {
            input = None;
        }
        match told.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
            Ok((true, piece)) => ran.err.extend(piece),
            Ok((false, piece)) => ran.out.extend(piece),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{name} {args:?} did not end within {DEADLINE:?}: {}", ran.all());
            }
        }
    }
    ran.code = child.wait().expect("it ends").code();
    ran
}

/// A folder for the files of one test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("encke-https-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
