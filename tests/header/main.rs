//! The C header and the symbol map are made from the Rust sources and checked in; this test owns both.
//!
//! `include/encke.h` is what cbindgen finds in `src/capi`, put in the order of those files (one file = one section of the
//! header). `cmake/encke.map` lists every function of it. With `ENCKE_UPDATE_HEADER=1` (`make header`) the two files are
//! written; otherwise they are compared, so that neither can drift from the code.
//!
//! cbindgen is pinned in Cargo.toml, because its output changes between releases, and it never runs in a user's build.

mod render;
mod sources;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn update() -> bool {
    std::env::var_os("ENCKE_UPDATE_HEADER").is_some()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Writes the file when updating; else compares and names the first line that differs.
fn settle(path: &str, wanted: &str) {
    let file: PathBuf = root().join(path);
    if update() {
        if read(path) != wanted {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, wanted).unwrap();
            println!("wrote {path}");
        }
        return;
    }
    let found = read(path);
    if found == wanted {
        return;
    }
    let line = found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    panic!(
        "{path} is not what the sources say (run `make header`, and read the difference); line {}:\n  file:    {}\n  sources: {}",
        line + 1,
        found.lines().nth(line).unwrap_or("(end)"),
        wanted.lines().nth(line).unwrap_or("(end)"),
    );
}

fn generated() -> render::Header {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let capi = root().join("src/capi");
    render::header(&capi, config, &sources::sections(&capi))
}

/// Both files in one test: the map is derived from the header, so an update writes them together.
#[test]
fn header_and_symbol_map_follow_the_sources() {
    let header = generated();
    settle("include/encke.h", &header.text);
    settle("cmake/encke.map", &symbol_map(&read("cmake/encke.map"), &header.functions));
}

/// Every version has its node, `ENCKE_<major>.<minor>`; what older nodes name stays there, the rest belongs to the newest.
fn symbol_map(old: &str, functions: &BTreeSet<String>) -> String {
    let version = concat!("ENCKE_", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let (before, _) = match old.find(&format!("{version} {{")) {
        Some(at) => old.split_at(at),
        None => (old, ""),
    };
    let settled: BTreeSet<&str> = before.lines().filter_map(|l| l.trim().strip_suffix(';')).collect();
    let parent = before.lines().filter_map(|l| l.strip_suffix(" {")).next_back();
    let mut map = format!("{before}{version} {{\n  global:\n");
    for name in functions.iter().filter(|f| !settled.contains(f.as_str())) {
        map += &format!("    {name};\n");
    }
    match parent {
        Some(parent) => map += &format!("}} {parent};\n"),
        None => map += "  local:\n    *;\n};\n",
    }
    map
}

#[test]
fn a_new_version_gets_a_new_node() {
    let functions: BTreeSet<String> = ["encke_a", "encke_b"].map(String::from).into();
    let old = "ENCKE_0.0 {\n  global:\n    encke_a;\n  local:\n    *;\n};\n";
    let version = concat!("ENCKE_", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let new = symbol_map(old, &functions);
    assert_eq!(new, format!("{old}{version} {{\n  global:\n    encke_b;\n}} ENCKE_0.0;\n"));
    assert_eq!(symbol_map(&new, &functions), new);
}

/// The version macros are typed by hand as plain numbers (cbindgen reads no `env!`).
#[test]
fn version_macros_are_those_of_the_package() {
    let text = generated().text;
    for (name, value) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
    ] {
        let macro_ = format!("ENCKE_VERSION_{name}");
        let line = text.lines().find(|l| l.split_whitespace().nth(1) == Some(&macro_)).expect(&macro_);
        assert_eq!(line.split_whitespace().nth(2), Some(value), "{line}");
    }
    assert!(text.contains(
        "#define ENCKE_VERSION_NUM ((ENCKE_VERSION_MAJOR << 16) | (ENCKE_VERSION_MINOR << 8) | ENCKE_VERSION_PATCH)"
    ));
}

/// No macro, type or function of the header is without the prefix.
#[test]
fn every_name_has_the_prefix() {
    for line in generated().text.lines() {
        if let Some(name) = line.trim_start_matches([' ', '#']).strip_prefix("define ") {
            assert!(name.trim_start().starts_with("ENCKE_"), "{line}");
        }
        if let Some(name) = line.strip_prefix("typedef struct ").or_else(|| line.strip_prefix("} ")) {
            assert!(name.starts_with("encke"), "{line}");
        }
    }
}

/// A comment names nothing that the header does not have (a trailing `*` names a family).
#[test]
fn comments_name_what_exists() {
    let text = generated().text;
    let mut names = BTreeSet::new();
    let mut mentioned = BTreeSet::new();
    for line in text.lines() {
        mentioned.extend(words(line));
        // Comments begin with a star, or go on far to the right (those behind a macro).
        let is_comment = line.trim_start().starts_with('*') || line.starts_with("            ");
        if !is_comment || line.contains("ENCKE_API") {
            names.extend(words(line.split("/*").next().unwrap_or_default()));
        }
    }
    let exists = |word: &String| match word.strip_suffix('_') {
        Some(_) => names.iter().any(|name| name.starts_with(word)),
        None => names.contains(word),
    };
    let missing: Vec<_> = mentioned.iter().filter(|word| !exists(word)).collect();
    assert!(missing.is_empty(), "comments of include/encke.h name what is not there: {missing:?}");
}

fn words(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|w| w.starts_with("encke_") || w.starts_with("ENCKE_"))
        .map(String::from)
}
