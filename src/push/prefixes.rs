//! Owns the lengths of the prefixes in use. Rule: a name is looked up once for each length, however many prefixes there are.

use std::collections::BTreeMap;

/// How many prefixes of each length there are.
#[derive(Debug, Default)]
pub struct Lengths(BTreeMap<usize, usize>);

impl Lengths {
    pub fn add(&mut self, prefix: &str) {
        *self.0.entry(prefix.len()).or_default() += 1;
    }

    pub fn remove(&mut self, prefix: &str) {
        if let Some(users) = self.0.get_mut(&prefix.len()) {
            *users -= 1;
            if *users == 0 {
                self.0.remove(&prefix.len());
            }
        }
    }

    /// The beginnings of a name that may be prefixes in use, the shorter first.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().take_while(|length| **length <= name.len()).filter_map(|length| name.get(..*length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_between_characters() {
        let mut lengths = Lengths::default();
        for prefix in ["", "ab", "xy", "aë", "abcdef"] {
            lengths.add(prefix);
        }
        assert_eq!(lengths.of("aëb").collect::<Vec<_>>(), ["", "aë"]);
        assert_eq!(lengths.of("abc").collect::<Vec<_>>(), ["", "ab", "abc"]);
        lengths.remove("ab");
        lengths.remove("aë");
        assert_eq!(lengths.of("abc").collect::<Vec<_>>(), ["", "ab"]);
        lengths.remove("xy");
        assert_eq!(lengths.of("abc").collect::<Vec<_>>(), [""]);
    }
}
