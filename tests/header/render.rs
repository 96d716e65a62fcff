//! render.rs turns cbindgen's output into the header: the same items in the order of the sources, with C comments.
//! Rule: nothing is lost on the way; an item that cbindgen left out, or that no section knows, fails the test.

use crate::sources::{Kind, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Lines of the header are wrapped here.
const WIDTH: usize = 120;

pub struct Header {
    pub text: String,
    pub functions: BTreeSet<String>,
}

/// One item as cbindgen wrote it.
struct Block {
    doc: Vec<String>,
    code: Vec<String>,
}

/// `config` is cbindgen.toml. Its header, guard, includes and trailer are laid out here, because the sections go between.
pub fn header(capi: &Path, mut config: cbindgen::Config, sections: &[Section]) -> Header {
    let opening = config.header.take().unwrap_or_default();
    let after_includes = config.after_includes.take().unwrap_or_default();
    let guard = config.include_guard.take().expect("include_guard");
    let includes = std::mem::take(&mut config.sys_includes);
    let excluded: BTreeSet<String> = config.export.exclude.iter().cloned().collect();
    config.cpp_compat = false;
    // The files of src/capi alone: given the crate, cbindgen would take the constants of every other room too.
    let mut builder = cbindgen::Builder::new().with_config(config);
    let entries = std::fs::read_dir(capi).expect("src/capi").map(|entry| entry.expect("src/capi").path());
    for file in entries.filter(|path| path.is_file()) {
        builder = builder.with_src(file);
    }
    let mut raw = Vec::new();
    builder.generate().expect("cbindgen").write(&mut raw);
    let mut blocks = blocks(&String::from_utf8(raw).expect("UTF-8"));

    let mut text = format!("{}\n#ifndef {guard}\n#define {guard}\n\n", opening.trim());
    for name in includes {
        text += &format!("#include <{name}>\n");
    }
    text += &format!("\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n{}\n", after_includes.trim());

    // Handles are only names in C: declared first, every section may use them.
    text += &ruler("handles");
    for section in sections {
        for item in &section.items {
            if blocks.get(&item.name).is_some_and(Block::is_opaque) {
                text += &blocks.remove(&item.name).unwrap().declaration();
            }
        }
    }
    let mut functions = BTreeSet::new();
    for section in sections {
        text += &ruler(&section.title);
        let mut group: Vec<(Block, &str)> = Vec::new();
        for item in &section.items {
            let constant = matches!(item.kind, Kind::Constant(_));
            if !constant || item.new_group {
                text += &constants(&mut group);
            }
            let Some(block) = blocks.remove(&item.name) else {
                let known =
                    excluded.contains(&item.name) || text.contains(&format!("typedef struct {0} {0};", item.name));
                assert!(
                    known,
                    "cbindgen left out {}: write it in the plain form (no macro, a literal value)",
                    item.name
                );
                continue;
            };
            match &item.kind {
                Kind::Constant(kind) => group.push((block, kind)),
                Kind::Type => text += &block.declaration(),
                Kind::Function => {
                    text += &block.declaration();
                    functions.insert(item.name.clone());
                }
            }
        }
        text += &constants(&mut group);
    }
    assert!(blocks.is_empty(), "not defined in a file of src/capi: {:?}", blocks.keys().collect::<Vec<_>>());
    text += &format!("\n#ifdef __cplusplus\n}}\n#endif\n#endif /* {guard} */\n");
    Header { text, functions }
}

/// cbindgen separates items by blank lines; its comments hold none.
fn blocks(raw: &str) -> BTreeMap<String, Block> {
    let mut found = BTreeMap::new();
    for chunk in raw.split("\n\n").map(|c| c.trim_matches('\n')).filter(|c| !c.is_empty()) {
        let lines: Vec<&str> = chunk.lines().collect();
        let body = lines.iter().position(|l| !l.starts_with("/*") && !l.starts_with(" *")).expect("an item");
        let doc = doc(&lines[..body]);
        let code: Vec<String> = plain(&lines[body..]);
        found.insert(name(&code), Block { doc, code });
    }
    found
}

fn name(code: &[String]) -> String {
    let all = code.join(" ");
    let word = |s: &str| s.trim().rsplit([' ', '*']).next().unwrap_or_default().to_string();
    if let Some(rest) = all.strip_prefix("#define ") {
        rest.split(' ').next().unwrap().to_string()
    } else if all.starts_with("typedef") {
        word(all.trim_end_matches(';'))
    } else {
        word(all.split('(').next().unwrap())
    }
}

/// Comment lines without their frame; the sections and links that only rustdoc understands are dropped.
fn doc(lines: &[&str]) -> Vec<String> {
    let mut text = Vec::new();
    let mut safety = false;
    for line in lines {
        let line = line.trim().trim_start_matches("/**").trim_end_matches("*/").trim_start_matches('*');
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end().replace("[`", "").replace("`]", "");
        if line.starts_with("# ") {
            safety = line == "# Safety";
        }
        if !safety && !line.starts_with("```") {
            text.push(line.trim_start_matches("# ").to_string());
        }
    }
    assert!(!text.iter().any(|l| l.contains("*/")), "a comment that ends early: {text:?}");
    let is_text = |l: &String| !l.is_empty();
    let (first, last) = (text.iter().position(is_text), text.iter().rposition(is_text));
    first.map_or(Vec::new(), |first| text[first..=last.unwrap()].to_vec())
}

/// Types by their typedef names, and the comments of fields in our form.
fn plain(lines: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in lines {
        let inner = line.trim_start();
        if inner.starts_with("/*") || !comment.is_empty() {
            comment.push(inner);
            if inner.ends_with("*/") {
                out.extend(framed(&doc(&comment), "  "));
                comment.clear();
            }
        } else if line.starts_with("typedef struct ") {
            out.push(line.to_string());
        } else {
            out.push(line.replace("struct encke", "encke"));
        }
    }
    out
}

fn framed(doc: &[String], indent: &str) -> Vec<String> {
    match doc {
        [] => Vec::new(),
        [one] if one.len() + indent.len() + 7 <= WIDTH => vec![format!("{indent}/** {one} */")],
        many => {
            let mut out = vec![format!("{indent}/**")];
            out.extend(many.iter().map(|l| format!("{indent} * {l}").trim_end().to_string()));
            out.push(format!("{indent} */"));
            out
        }
    }
}

fn ruler(title: &str) -> String {
    format!("\n/* ---- {title} {} */\n", "-".repeat(WIDTH.saturating_sub(title.len() + 12)))
}

impl Block {
    fn is_opaque(&self) -> bool {
        self.code.len() == 1 && self.code[0].starts_with("typedef struct ") && !self.code[0].contains('{')
    }

    fn declaration(&self) -> String {
        let mut lines = framed(&self.doc, "");
        match self.code.as_slice() {
            [function] if function.contains('(') => lines.push(wrapped(function)),
            code => lines.extend(code.iter().cloned()),
        }
        format!("\n{}\n", lines.join("\n"))
    }
}

/// A function, its arguments below each other's start where one line is too short.
fn wrapped(function: &str) -> String {
    let column = function.find('(').map_or(0, |at| at + 1);
    let mut lines = vec![String::new()];
    for word in function.split_inclusive(", ") {
        let line = lines.last_mut().expect("one line at least");
        if line.len() + word.trim_end().len() > WIDTH && line.len() > column {
            line.truncate(line.trim_end().len());
            lines.push(format!("{:column$}{word}", ""));
        } else {
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// A group of macros as a table: name, value, comment. Negative values get parentheses, those of type u32 their `u`, but
/// for the version, which programs also paste into text.
fn constants(group: &mut Vec<(Block, &str)>) -> String {
    let rows: Vec<(String, String, String)> = group
        .drain(..)
        .map(|(block, kind)| {
            let (name, value) = block.code[0].trim_start_matches("#define ").split_once(' ').expect("a value");
            let value = match value {
                v if v.starts_with('-') => format!("({v})"),
                v if kind == "u32" && !name.starts_with("ENCKE_VERSION_") && v.bytes().all(|b| b.is_ascii_digit()) => {
                    format!("{v}u")
                }
                v => v.to_string(),
            };
            (name.to_string(), value, block.doc.join(" "))
        })
        .collect();
    let names = rows.iter().map(|r| r.0.len()).max().unwrap_or(0);
    let values = rows.iter().map(|r| r.1.len()).max().unwrap_or(0);
    let mut text = String::from(if rows.is_empty() { "" } else { "\n" });
    for (name, value, doc) in rows {
        let mut line = format!("#define {name:names$} {value:>values$}");
        let column = line.len() + 2;
        if !doc.is_empty() {
            line += "  /**< ";
            for word in doc.split_whitespace() {
                let used = line.len() - line.rfind('\n').map_or(0, |n| n + 1);
                if used + word.len() + 4 > WIDTH {
                    line.truncate(line.trim_end().len());
                    line += &format!("\n{:column$}     ", "");
                }
                line += word;
                line.push(' ');
            }
            line += "*/";
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
