//! From the path of a request to a file below a directory. Rule: it is decoded once and then is a list of names; what could
//! be read in two ways, or lead out, is no path of ours.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Names with '/' between them, relative; empty: the directory itself.
    pub relative: Vec<u8>,
    /// It ended in '/': a directory is meant.
    pub directory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An escape that is none.
    Malformed,
    /// There is no such file, whatever the disk says.
    Nowhere,
}

/// `rest`: behind the prefix, which ended in '/'.
pub fn parse(rest: &[u8], dotfiles: bool) -> Result<Path, Refusal> {
    let mut path = Path { relative: Vec::with_capacity(rest.len()), directory: true };
    if rest.is_empty() {
        return Ok(path);
    }
    let (names, directory) = match rest.strip_suffix(b"/") {
        Some(names) => (names, true),
        None => (rest, false),
    };
    path.directory = directory;
    for name in names.split(|byte| *byte == b'/') {
        if !path.relative.is_empty() {
            path.relative.push(b'/');
        }
        let start = path.relative.len();
        decode(name, &mut path.relative)?;
        match &path.relative[start..] {
            b"" | b"." | b".." => return Err(Refusal::Nowhere),
            [b'.', ..] if !dotfiles => return Err(Refusal::Nowhere),
            name if name.iter().any(|byte| matches!(byte, 0 | b'/')) => return Err(Refusal::Nowhere),
            _ => {}
        }
    }
    Ok(path)
}

fn decode(name: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut bytes = name.iter();
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16)).ok_or(Refusal::Malformed);
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8,
            byte => *byte,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (rest, relative, directory) in [
            ("", "", true),
            ("a", "a", false),
            ("a/", "a", true),
            ("a/b.txt", "a/b.txt", false),
            ("%61%20b/c%C3%AB", "a b/cë", false),
            ("a+b", "a+b", false),
            ("a..b/c...", "a..b/c...", false),
            ("%5c..", "\\..", false),
        ] {
            let path = Path { relative: relative.into(), directory };
            assert_eq!(parse(rest.as_bytes(), false), Ok(path), "{rest}");
        }
    }

    #[test]
    fn nothing_leads_out() {
        for rest in [
            "..",
            "../a",
            "a/..",
            "a/../b",
            "a/./b",
            ".",
            "./",
            "%2e%2e",
            "%2E./a",
            "a/%2e%2E/b",
            "/",
            "//a",
            "a//b",
            "a//",
            "a%2fb",
            "..%2f",
            "%2f",
            "a%00",
            "%00",
        ] {
            for dotfiles in [false, true] {
                assert_eq!(parse(rest.as_bytes(), dotfiles), Err(Refusal::Nowhere), "{rest}");
            }
        }
        for rest in ["%", "%2", "a%zz", "%g0"] {
            assert_eq!(parse(rest.as_bytes(), false), Err(Refusal::Malformed), "{rest}");
        }
    }

    #[test]
    fn dot_files_are_there_if_asked_for() {
        for rest in [".htaccess", "a/.git/config", "%2egit", "..."] {
            assert_eq!(parse(rest.as_bytes(), false), Err(Refusal::Nowhere), "{rest}");
            assert!(parse(rest.as_bytes(), true).is_ok(), "{rest}");
        }
    }
}
