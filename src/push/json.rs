//! A message as an object of JSON (RFC 8259), and base64 for what is no text.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;

use super::message::Message;

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// {"position":...,"channel":...,"type":...,"from":...,"event":...,"data":...}; what is empty is left out, but for the
/// data, which is "base64" where it is not UTF-8.
pub fn object(message: &Message) -> Vec<u8> {
    let parts = &message.parts;
    let mut out = Vec::with_capacity(parts.data.len() + 160);
    out.extend_from_slice(format!("{{\"position\":\"{}\"", message.position).as_bytes());
    let mut member = |name: &str, value: &str| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        string(&mut out, value);
    };
    member("channel", &message.channel);
    for (name, value) in [("type", &parts.kind), ("from", &parts.from), ("event", &parts.event)] {
        if !value.is_empty() {
            member(name, value);
        }
    }
    match std::str::from_utf8(&parts.data) {
        Ok(text) => member("data", text),
        Err(_) => member("base64", &base64(&parts.data)),
    }
    out.push(b'}');
    out
}

/// A string with its quotes. Beside what JSON demands, the line ends of JavaScript are escaped.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = 0;
    let mut escape = |out: &mut Vec<u8>, at: usize, n: usize, with: &str| {
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        out.extend_from_slice(with.as_bytes());
        plain = at + n;
    };
    for (at, c) in text.char_indices() {
        match c {
            '"' => escape(out, at, 1, "\\\""),
            '\\' => escape(out, at, 1, "\\\\"),
            '\n' => escape(out, at, 1, "\\n"),
            '\r' => escape(out, at, 1, "\\r"),
            '\t' => escape(out, at, 1, "\\t"),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                escape(out, at, c.len_utf8(), &format!("\\u{:04x}", c as u32))
            }
            _ => {}
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::super::message::Parts;
    use super::*;

    #[test]
    fn strings() {
        for (text, expected) in [
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\n\r\t\0\u{1f}", r#""\n\r\t\u0000\u001f""#),
            ("Zoë \u{2028}", "\"Zoë \\u2028\""),
        ] {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn objects() {
        let parts = Parts { kind: "text/plain".into(), from: "zoe".into(), event: "e".into(), ..Parts::default() };
        let object_of = |parts| String::from_utf8(object(&message(7, parts))).unwrap();
        assert_eq!(
            object_of(parts),
            r#"{"position":"000000000000000a:7","channel":"news","type":"text/plain","from":"zoe","event":"e","data":""}"#
        );
        let parts = Parts { data: b"\xff".to_vec(), ..Parts::default() };
        assert_eq!(object_of(parts), r#"{"position":"000000000000000a:7","channel":"news","base64":"/w=="}"#);
    }
}
