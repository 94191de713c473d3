//! Sets of sequence numbers as sorted, disjoint ranges.

/// An inclusive range of sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub from: u32,
    pub to: u32,
}

impl Range {
    pub fn contains(self, seq: u32) -> bool {
        self.from <= seq && seq <= self.to
    }

    pub fn len(self) -> u64 {
        u64::from(self.to) - u64::from(self.from) + 1
    }
}

/// Adds a range to a sorted list of disjoint ranges, joining those that touch.
pub(crate) fn add(ranges: &mut Vec<Range>, new: Range) {
    if new.from > new.to {
        return;
    }
    let first = ranges.partition_point(|r| r.to.saturating_add(1) < new.from);
    let last = ranges.partition_point(|r| r.from <= new.to.saturating_add(1));
    if first == last {
        ranges.insert(first, new);
        return;
    }
    let joined = Range { from: new.from.min(ranges[first].from), to: new.to.max(ranges[last - 1].to) };
    ranges.splice(first..last, [joined]);
}

/// Whether a sorted list of disjoint ranges has this number.
pub(crate) fn contains(ranges: &[Range], seq: u32) -> bool {
    let next = ranges.partition_point(|r| r.to < seq);
    ranges.get(next).is_some_and(|r| r.contains(seq))
}

/// What is in the first list and not in the second; both are sorted and disjoint.
pub(crate) fn subtract(from: &[Range], minus: &[Range]) -> Vec<Range> {
    let mut rest = Vec::new();
    for range in from {
        let mut start = u64::from(range.from);
        for cut in &minus[minus.partition_point(|r| r.to < range.from)..] {
            if cut.from > range.to {
                break;
            }
            if u64::from(cut.from) > start {
                rest.push(Range { from: start as u32, to: cut.from - 1 });
            }
            start = u64::from(cut.to) + 1;
        }
        if start <= u64::from(range.to) {
            rest.push(Range { from: start as u32, to: range.to });
        }
    }
    rest
}

/// How many numbers a list of disjoint ranges has.
pub(crate) fn count(ranges: &[Range]) -> u64 {
    ranges.iter().map(|r| r.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
        proptest::collection::vec((1u32..40, 0u32..6).prop_map(|(from, more)| (from, from + more)), 0..12)
    }

    fn built(parts: &[(u32, u32)]) -> (Vec<Range>, BTreeSet<u32>) {
        let (mut list, mut model) = (Vec::new(), BTreeSet::new());
        for (from, to) in parts {
            add(&mut list, Range { from: *from, to: *to });
            model.extend(*from..=*to);
        }
        (list, model)
    }

    fn numbers(ranges: &[Range]) -> Vec<u32> {
        ranges.iter().flat_map(|r| r.from..=r.to).collect()
    }

    proptest! {
        #[test]
        fn ranges_behave_as_sets(a in ranges(), b in ranges()) {
            let ((a, a_model), (b, b_model)) = (built(&a), built(&b));
            prop_assert_eq!(numbers(&a), a_model.iter().copied().collect::<Vec<_>>());
            prop_assert!(a.windows(2).all(|w| w[0].to + 1 < w[1].from));
            prop_assert_eq!(numbers(&subtract(&a, &b)), a_model.difference(&b_model).copied().collect::<Vec<_>>());
            prop_assert_eq!(count(&a), a_model.len() as u64);
            for seq in 0..50 {
                prop_assert_eq!(contains(&a, seq), a_model.contains(&seq));
            }
        }
    }

    #[test]
    fn the_largest_number_has_its_place() {
        let mut list = Vec::new();
        add(&mut list, Range { from: u32::MAX, to: u32::MAX });
        add(&mut list, Range { from: u32::MAX - 1, to: u32::MAX });
        assert_eq!(
            subtract(&list, &[Range { from: u32::MAX, to: u32::MAX }]),
            [Range { from: u32::MAX - 1, to: u32::MAX - 1 }]
        );
    }
}
