//! A story on time axes: tracks, marks and spans on them, and flows from mark to mark. `perfetto` writes it.
//!
//! **Invariant:** spans of one track are apart or one holds the other, as readers of traces demand: [`Trace::bytes`] gives those that would
//! cross a track of their own. Guarded by the tests below and `sim/cli/tests/perfetto.rs`.

mod perfetto;

use crate::story::Tone;

/// A row under a host or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// The host or the device.
    pub of: String,
    pub name: String,
}

/// Something that happened at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Simulated µs.
    pub t: u64,
    pub track: usize,
    pub text: String,
    pub tone: Tone,
    /// What else is known of it, by name.
    pub note: Option<(&'static str, String)>,
}

/// Something that lasted, from mark to mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub from: usize,
    /// Absent where it lasts beyond the story.
    pub until: Option<usize>,
    pub track: usize,
    pub text: String,
    pub tone: Tone,
}

/// A story on time axes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Those of one host or device stand together.
    pub tracks: Vec<Track>,
    /// In order of time.
    pub marks: Vec<Mark>,
    pub spans: Vec<Span>,
    /// What caused what: marks by their numbers, the earlier first.
    pub flows: Vec<(usize, usize)>,
}

impl Trace {
    /// The trace as Perfetto reads it: the same bytes for the same trace.
    pub fn bytes(&self) -> Vec<u8> {
        perfetto::write(self)
    }

    /// A row for each span, so that those of one track and row nest: with the track, the rows that it has.
    fn rows(&self) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.spans.len()).collect();
        // Of two that begin together the longer one holds the other.
        order.sort_by_key(|&span| (self.spans[span].from, std::cmp::Reverse(self.end(span))));
        let mut open: Vec<Vec<Vec<usize>>> = vec![Vec::new(); self.tracks.len()];
        let mut row_of = vec![0; self.spans.len()];
        for span in order {
            let (from, until) = (self.spans[span].from, self.end(span));
            let rows = &mut open[self.spans[span].track];
            let fits = |ends: &mut Vec<usize>| {
                ends.retain(|&end| end >= from);
                ends.last().is_none_or(|&end| until <= end && from < end)
            };
            let row = rows.iter_mut().position(fits).unwrap_or_else(|| {
                rows.push(Vec::new());
                rows.len() - 1
            });
            rows[row].push(until);
            row_of[span] = row;
        }
        (row_of, open.iter().map(|rows| rows.len().max(1)).collect())
    }

    /// The mark with which a span ends, or the number after the last one.
    fn end(&self, span: usize) -> usize {
        self.spans[span].until.unwrap_or(self.marks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn trace(spans: &[(usize, Option<usize>)]) -> Trace {
        let mark = |t| Mark { t, track: 0, text: format!("at {t}"), tone: Tone::Plain, note: None };
        let span = |&(from, until): &(usize, Option<usize>)| Span {
            from,
            until,
            track: 0,
            text: format!("from {from}"),
            tone: Tone::Plain,
        };
        Trace {
            tracks: vec![Track { of: "messages-0".into(), name: "steps".into() }],
            marks: (0..10).map(mark).collect(),
            spans: spans.iter().map(span).collect(),
            flows: vec![(0, 1)],
        }
    }

    #[test]
    fn spans_that_cross_or_touch_have_rows_of_their_own() {
        for (spans, rows) in [
            (&[(0, Some(9)), (1, Some(4)), (5, Some(8))][..], &[0, 0, 0][..]),
            (&[(1, Some(4)), (0, Some(9))], &[0, 0]),
            (&[(0, Some(4)), (2, Some(6)), (7, Some(8))], &[0, 1, 0]),
            (&[(0, Some(4)), (4, Some(6))], &[0, 1]),
            (&[(0, Some(4)), (0, Some(4))], &[0, 0]),
            (&[(0, None), (3, None), (5, Some(9))], &[0, 0, 0]),
            (&[(0, Some(5)), (3, None), (4, None)], &[0, 1, 1]),
        ] {
            let (of, counts) = trace(spans).rows();
            assert_eq!(of, rows, "{spans:?}");
            assert_eq!(counts, [rows.iter().max().unwrap() + 1]);
        }
    }

    #[test]
    fn the_same_trace_is_the_same_bytes_and_an_empty_one_is_one_too() {
        let trace = trace(&[(0, Some(4)), (2, None)]);
        assert_eq!(trace.bytes(), trace.clone().bytes());
        assert!(trace.bytes().len() > 100 && Trace::default().bytes().is_empty());
    }
}
