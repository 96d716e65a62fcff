//! Lists of patterns over a message's type and sender: "text/*,!text/html". Rule: a pattern with '!' that fits decides
//! against, otherwise any other that fits decides for; what no pattern fits is not wanted. So "!text/html" alone wants
//! nothing, and "!text/html,*" everything else. The work is bounded by pattern times text.

/// Bytes of a list at the most.
pub const MAX_LIST: usize = 4096;

/// Whether the list wants this text. An empty list wants everything.
pub fn wanted(list: &str, text: &str) -> bool {
    if list.is_empty() {
        return true;
    }
    let mut wanted = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(pattern.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => wanted |= fits(pattern.as_bytes(), text.as_bytes()),
        }
    }
    wanted
}

/// `*` fits any bytes, `?` any one byte; all else itself. The whole text must fit.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and the text it has not eaten yet: one star is enough to go back to.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, eaten)) = star else { return false };
                star = Some((at, eaten + 1));
                (p, t) = (at + 1, eaten + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::every;

    #[test]
    fn lists() {
        for (list, text, expected) in [
            ("", "text/plain", true),
            ("*", "", true),
            ("text/plain", "text/plain", true),
            ("text/plain", "text/plain; charset=utf-8", false),
            ("text/*", "text/plain; charset=utf-8", true),
            ("text/html,text/plain", "text/plain", true),
            ("!text/html", "text/plain", false),
            ("!text/html,*", "text/plain", true),
            ("*,!text/html", "text/html", false),
            ("!text/*,text/html", "text/html", false),
            ("Text/*", "text/html", false),
            ("?ext/html", "text/html", true),
            ("?ext/html", "ext/html", false),
            ("al*", "", false),
            ("al*", "alice", true),
            ("*l*c*", "alice", true),
            ("*l*c", "alice", false),
            ("a**e", "ae", true),
        ] {
            assert_eq!(wanted(list, text), expected, "{list:?} {text:?}");
        }
    }

    /// Against the definition, spelled out.
    #[test]
    fn fits_as_defined() {
        fn slow(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|n| slow(rest, &text[n..])),
                Some((b'?', rest)) => !text.is_empty() && slow(rest, &text[1..]),
                Some((byte, rest)) => text.first() == Some(byte) && slow(rest, &text[1..]),
            }
        }
        let word = |mut n: usize, letters: &[u8]| {
            let mut word = Vec::new();
            while n > 0 {
                word.push(letters[n % letters.len()]);
                n /= letters.len();
            }
            word
        };
        for p in (0..500).step_by(every(9)) {
            let pattern = word(p, b"*ab?");
            for t in 0..100 {
                let text = word(t, b"ab");
                assert_eq!(fits(&pattern, &text), slow(&pattern, &text), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn many_stars_end() {
        let stars = |n: usize| "*a".repeat(n / every(10));
        let letters = |n: usize| "a".repeat(n / every(10));
        assert!(!wanted(&stars(2000), &letters(1000)));
        assert!(!wanted(&format!("{}b", stars(500)), &letters(2000)));
    }
}
