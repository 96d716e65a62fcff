//! A place in the stream of all messages: an epoch, which is the life of one hub, and a number that rises with every
//! message, whatever its channel. Rule: one position is enough for any number of channels, so it survives a change of
//! transport and of the channels.

use std::fmt;

/// Written "epoch:n": sixteen hexadecimal digits, a colon, a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub epoch: u64,
    pub n: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:{}", self.epoch, self.n)
    }
}

impl Position {
    /// `None`: that is no position of any hub.
    pub fn parse(text: &[u8]) -> Option<Position> {
        let (epoch, n) = (text.get(..16)?, text.get(16..)?.strip_prefix(b":")?);
        let mut position = Position::default();
        for digit in epoch {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            position.epoch = position.epoch << 4 | u64::from(value);
        }
        if n.is_empty() || n.len() > 1 && n[0] == b'0' {
            return None;
        }
        for digit in n {
            let value = digit.is_ascii_digit().then(|| digit - b'0')?;
            position.n = position.n.checked_mul(10)?.checked_add(u64::from(value))?;
        }
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (epoch, n) in [(0, 0), (1, 7), (u64::MAX, u64::MAX), (0x0123_4567_89ab_cdef, 1 << 40)] {
            let position = Position { epoch, n };
            assert_eq!(Position::parse(position.to_string().as_bytes()), Some(position));
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            ":",
            "1:1",
            "0123456789abcdef",
            "0123456789abcdef:",
            "0123456789abcdef:01",
            "0123456789abcdef:-1",
            "0123456789abcdef:1 ",
            "0123456789ABCDEF:1",
            "0123456789abcdeg:1",
            "0123456789abcdef:18446744073709551616",
        ] {
            assert_eq!(Position::parse(text.as_bytes()), None, "{text}");
        }
    }
}
