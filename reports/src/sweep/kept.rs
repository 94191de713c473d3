//! What a long sweep keeps of its runs, one by one: those that came first, up to a bound. The others are counted.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Runs that passed and are listed: more than anybody looks at, and few enough for a page and for memory.
pub const MOST_PASSED: usize = 5_000;
/// Runs that did not pass and are listed.
pub const MOST_OTHERS: usize = 10_000;

/// Items by the number of their run: the lowest ones, whatever the order in which they come.
#[derive(Debug)]
pub struct Kept<T> {
    most: usize,
    items: BTreeMap<u64, T>,
}

impl<T> Kept<T> {
    /// At most so many.
    pub const fn new(most: usize) -> Self {
        Kept { most, items: BTreeMap::new() }
    }

    /// Takes an item, and gives back what is kept no longer.
    pub fn add(&mut self, number: u64, item: T) -> Option<T> {
        self.items.insert(number, item);
        let is_full = self.items.len() > self.most;
        is_full.then(|| self.items.pop_last()).flatten().map(|(_, item)| item)
    }

    /// In the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.items.iter().map(|(number, item)| (*number, item))
    }

    /// The same, and nothing is left.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.items.into_values()
    }
}

/// Runs of a sweep that are counted and not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisted {
    pub passed: u64,
    pub violated: u64,
    pub inconclusive: u64,
    pub unfinished: u64,
}

impl Unlisted {
    pub fn is_none(&self) -> bool {
        *self == Unlisted::default()
    }

    pub(crate) fn all(&self) -> [u64; 4] {
        [self.passed, self.violated, self.inconclusive, self.unfinished]
    }

    /// A sentence, where there are any.
    pub fn in_words(&self) -> Option<String> {
        let names = ["passed", "were violated", "were inconclusive", "did not finish"];
        let parts: Vec<String> = self
            .all()
            .into_iter()
            .zip(names)
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{} that {name}", crate::number::grouped(count)))
            .collect();
        (!parts.is_empty()).then(|| {
            format!(
                "Counted and not listed: {}. Listed are the first {MOST_PASSED} that passed and the first {MOST_OTHERS} others.",
                parts.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_runs_are_kept_in_whatever_order_they_end() {
        let mut kept = Kept::new(3);
        let lost: Vec<Option<u64>> = [5, 1, 9, 2, 7, 0].map(|number| kept.add(number, number)).into();
        assert_eq!(lost, [None, None, None, Some(9), Some(7), Some(5)]);
        assert_eq!(kept.into_values().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_is_not_listed_is_said() {
        assert_eq!(Unlisted::default().in_words(), None);
        let words = Unlisted { passed: 12_000, unfinished: 1, ..Unlisted::default() }.in_words().unwrap();
        assert!(
            words.starts_with("Counted and not listed: 12,000 that passed, 1 that did not finish. "),
            "{words}"
        );
    }
}
