//! The names of channels in the path of a URL. Rule: what a path may hold as it is stays as it is, escapes included, so two
//! spellings are two channels; a byte that no path can hold raw is escaped there, and its escape means that byte.
//! The percent sign is one where it would begin an escape or is none.

/// Whether a path may hold this byte as it is (RFC 3986, 3.3).
fn is_raw(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte)
}

fn escaped(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    match bytes {
        [b'%', high, low, ..] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    }
}

/// The path of a channel behind that of a bus.
pub fn of(bus: &str, channel: &str) -> String {
    let mut path = String::with_capacity(bus.len() + channel.len());
    path.push_str(bus);
    for (at, byte) in channel.bytes().enumerate() {
        // An escape that is a part of the name is one that does not mean its byte.
        if is_raw(byte) || escaped(&channel.as_bytes()[at..]).is_some_and(is_raw) {
            path.push(byte as char);
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// The channel that a path means. A name that ends in '*' would be a prefix: the star is escaped.
pub fn channel(path: &[u8]) -> Option<String> {
    let mut name = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match escaped(&path[at..]) {
            Some(byte) if !is_raw(byte) => {
                name.push(byte);
                at += 3;
            }
            _ => {
                name.push(path[at]);
                at += 1;
            }
        }
    }
    // What would be no name is taken as it came.
    let mut name = match String::from_utf8(name) {
        Ok(name) if !name.bytes().any(|byte| byte < b' ' || byte == 0x7f) => name,
        _ => std::str::from_utf8(path).ok()?.to_owned(),
    };
    if name.ends_with('*') {
        name.replace_range(name.len() - 1.., "%2A");
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, name) in [
            ("", ""),
            ("foo/bar", "foo/bar"),
            ("f%6fo", "f%6fo"),
            ("a%2Fb", "a%2Fb"),
            ("a%25b", "a%b"),
            ("50%25", "50%"),
            ("f%256fo", "f%6fo"),
            ("Zo%C3%AB", "Zoë"),
            ("Zo%c3%ab", "Zoë"),
            ("two%20words", "two words"),
            ("a%3Fb%23", "a?b#"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("a%0Ab", "a%0Ab"),
            ("%FF", "%FF"),
            ("*", "%2A"),
            ("a*b", "a*b"),
        ] {
            assert_eq!(channel(path.as_bytes()).as_deref(), Some(name), "{path}");
        }
        assert_eq!(channel(b"\xff"), None);
    }

    #[test]
    fn a_location_leads_back() {
        for (name, path) in [
            ("foo", "/msgbus/foo"),
            ("f%6fo", "/msgbus/f%6fo"),
            ("Zoë", "/msgbus/Zo%C3%AB"),
            ("two words", "/msgbus/two%20words"),
            ("a?b#", "/msgbus/a%3Fb%23"),
            ("", "/msgbus/"),
            ("50%", "/msgbus/50%25"),
            ("a%25b", "/msgbus/a%2525b"),
            ("%C3%AB", "/msgbus/%25C3%25AB"),
            ("\u{85}", "/msgbus/%C2%85"), // of the control characters no name may hold those of ASCII
            ("%zz%4", "/msgbus/%25zz%254"),
            ("%2A", "/msgbus/%2A"),
        ] {
            assert_eq!(of("/msgbus/", name), path);
            assert_eq!(channel(&path.as_bytes()[8..]).as_deref(), Some(name));
        }
        assert_eq!(of("/", "100%"), "/100%25");
    }
}
