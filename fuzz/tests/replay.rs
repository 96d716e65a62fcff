//! Every file of `corpus/` and `regressions/` through its target, with plain `cargo test`: what was found once is tried
//! for ever. `ENCKE_FUZZ_FILE=path` tries that file alone; its directory names the target.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use encke_fuzz::targets::{Target, ALL};

fn files(of: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(of)
        .map(|entries| entries.map(|entry| entry.expect("a directory that can be read").path()).collect())
        .unwrap_or_default();
    files.retain(|path| path.is_file() && !path.file_name().is_some_and(|name| name == ".gitkeep"));
    files.sort();
    files
}

fn replay(name: &str, files: &[PathBuf]) {
    let target: Target = ALL.iter().find(|(n, _)| *n == name).expect("a target of that name").1;
    let failed: Vec<&PathBuf> = files
        .iter()
        .filter(|path| {
            let data = std::fs::read(path).expect("a file that can be read");
            catch_unwind(|| target(&data)).inspect_err(|_| eprintln!("^^^ {}", path.display())).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} inputs fail: {failed:?}", failed.len(), files.len());
}

fn all(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = files(&root.join("corpus").join(name));
    assert!(!inputs.is_empty(), "no corpus of {name}");
    inputs.extend(files(&root.join("regressions").join(name)));
    if let Some(alone) = std::env::var_os("ENCKE_FUZZ_FILE").map(PathBuf::from) {
        let of_us = alone.parent().and_then(Path::file_name).is_some_and(|parent| parent == name);
        inputs = if of_us { vec![alone] } else { Vec::new() };
    }
    replay(name, &inputs);
}

#[test]
fn http1() {
    all("http1");
}

#[test]
fn engine() {
    all("engine");
}

#[test]
fn response() {
    all("response");
}

#[test]
fn tls() {
    all("tls");
}

#[test]
fn certificates() {
    all("certificates");
}

#[test]
fn push() {
    all("push");
}

#[test]
fn channels() {
    all("channels");
}

#[test]
fn link() {
    all("link");
}

#[test]
fn mounts() {
    all("mounts");
}

#[test]
fn every_target_is_replayed() {
    assert_eq!(
        ALL.map(|(name, _)| name),
        ["http1", "engine", "response", "tls", "push", "channels", "certificates", "link", "mounts"]
    );
}
