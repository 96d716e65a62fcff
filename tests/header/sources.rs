//! sources.rs knows what stands where in `src/capi`: cbindgen sorts by kind, the header follows the files instead.
//! Rule: the order of the `mod` lines in `src/capi/mod.rs` is that of the header. A file that opens with
//! `//! Section 5: listeners. ...` starts that section; one with `//! Section 5, continued: ...` goes on in it.

use std::path::Path;

/// "5. listeners", and the items that its files define, in their order.
pub struct Section {
    pub title: String,
    pub items: Vec<Item>,
}

pub struct Item {
    pub name: String,
    pub kind: Kind,
    /// A blank line stands before it (or before its comment): a new group.
    pub new_group: bool,
}

#[derive(PartialEq)]
pub enum Kind {
    /// With its Rust type.
    Constant(String),
    Type,
    Function,
}

pub fn sections(capi: &Path) -> Vec<Section> {
    let order = std::fs::read_to_string(capi.join("mod.rs")).expect("src/capi/mod.rs");
    let mut sections: Vec<Section> = Vec::new();
    for module in order.lines().filter_map(module) {
        let Ok(text) = std::fs::read_to_string(capi.join(format!("{module}.rs"))) else { continue };
        let items = items(&text);
        if items.is_empty() {
            continue;
        }
        let opening = text.lines().next().unwrap_or_default();
        let (number, title) =
            title(opening).unwrap_or_else(|| panic!("src/capi/{module}.rs does not open with `//! Section N: title.`"));
        match (number.strip_suffix(", continued"), sections.last_mut()) {
            (Some(number), Some(last)) if last.title.starts_with(&format!("{number}. ")) => last.items.extend(items),
            (Some(number), _) => {
                panic!("src/capi/{module}.rs continues section {number}, which is not the one before it")
            }
            (None, _) => sections.push(Section { title: format!("{number}. {title}"), items }),
        }
    }
    sections
}

fn module(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix(';')
}

/// The number (with ", continued") and the title.
fn title(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.strip_prefix("//! Section ")?.split_once(": ")?;
    Some((number, rest.split(". ").next()?.trim_end_matches('.')))
}

fn items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut new_group = true;
    for line in text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")) {
        if line.is_empty() {
            new_group = true;
        } else if let Some((name, kind)) = item(line) {
            items.push(Item { name, kind, new_group });
            new_group = false;
        }
    }
    items
}

/// The public item that a line of Rust begins, if cbindgen would see it.
fn item(line: &str) -> Option<(String, Kind)> {
    let line = line.strip_prefix("pub ")?;
    let name = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if let Some(rest) = line.strip_prefix("const ENCKE_") {
        let rest = format!("ENCKE_{rest}");
        let (const_name, after) = rest.split_once(':')?;
        return Some((const_name.to_string(), Kind::Constant(name(after.trim_start()))));
    }
    for word in ["struct ", "union ", "type "] {
        if let Some(rest) = line.strip_prefix(word).filter(|r| r.starts_with("encke")) {
            return Some((name(rest), Kind::Type));
        }
    }
    let (head, rest) = line.split_once("fn encke_")?;
    head.contains("extern \"C\"").then(|| (format!("encke_{}", name(rest)), Kind::Function))
}
