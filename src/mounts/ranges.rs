//! Parts of a file (RFC 9110, 14). Rule: what is not understood, or asks for more work than the whole file is, gets the
//! whole file.

/// Ranges in one request at the most.
const MOST: usize = 16;

/// From the first byte, so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub len: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    Whole,
    Parts(Vec<Range>),
    /// 416
    Unsatisfiable,
}

/// What a Range field asks of a file of this size.
pub fn parse(value: &[u8], size: u64) -> Ranges {
    parts(value, size).unwrap_or(Ranges::Whole)
}

fn parts(value: &[u8], size: u64) -> Option<Ranges> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut ranges: Vec<Range> = Vec::new();
    let mut asked = 0;
    for spec in set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        asked += 1;
        if asked > MOST {
            return None;
        }
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (number(&spec[..dash])?, number(&spec[dash + 1..])?);
        let range = match (first, last) {
            (None, None) => return None,
            (None, Some(suffix)) => Range { start: size - suffix.min(size), len: suffix.min(size) },
            (Some(first), None) => Range { start: first, len: size.saturating_sub(first) },
            (Some(first), Some(last)) if last < first => return None,
            (Some(first), Some(last)) => {
                Range { start: first, len: size.saturating_sub(first).min((last - first).saturating_add(1)) }
            }
        };
        if range.len > 0 {
            ranges.push(range);
        }
    }
    if asked == 0 {
        return None;
    }
    if ranges.is_empty() {
        return Some(Ranges::Unsatisfiable);
    }
    let mut sorted = ranges.clone();
    sorted.sort_unstable_by_key(|range| range.start);
    if sorted.windows(2).any(|pair| pair[1].start < pair[0].start + pair[0].len) {
        return None;
    }
    Some(Ranges::Parts(ranges))
}

/// `Some(None)`: there is none. Too large a number is behind every end.
fn number(digits: &[u8]) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value = value.saturating_mul(10).saturating_add(digit);
    }
    Some(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(ranges: &[(u64, u64)]) -> Ranges {
        Ranges::Parts(ranges.iter().map(|(start, len)| Range { start: *start, len: *len }).collect())
    }

    #[test]
    fn ranges_of_a_hundred_bytes() {
        let huge = "99999999999999999999999";
        for (value, expected) in [
            ("bytes=0-0", some(&[(0, 1)])),
            ("bytes=0-99", some(&[(0, 100)])),
            ("Bytes=10-", some(&[(10, 90)])),
            ("bytes=-10", some(&[(90, 10)])),
            ("bytes=-1000", some(&[(0, 100)])),
            ("bytes=90-1000", some(&[(90, 10)])),
            (&format!("bytes=99-{huge}"), some(&[(99, 1)])),
            ("bytes=0-1, 5-6 ,,-1", some(&[(0, 2), (5, 2), (99, 1)])),
            ("bytes=5-6,0-1", some(&[(5, 2), (0, 2)])),
            ("bytes=0-1,200-", some(&[(0, 2)])),
            ("bytes=100-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            (&format!("bytes={huge}-"), Ranges::Unsatisfiable),
        ] {
            assert_eq!(parse(value.as_bytes(), 100), expected, "{value}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Ranges::Unsatisfiable);
        assert_eq!(parse(b"bytes=-5", 0), Ranges::Unsatisfiable);
    }

    #[test]
    fn the_whole_where_that_is_simpler() {
        let many = format!("bytes={}", (0..17).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=1",
            "bytes=+1-2",
            "bytes= 1 - 2",
            "lines=0-1",
            "bytes=0-50,50-60",
            "bytes=0-,0-",
            "bytes=-100,0-0",
            &many,
        ] {
            assert_eq!(parse(value.as_bytes(), 100), Ranges::Whole, "{value}");
        }
    }
}
