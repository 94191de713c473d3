//! What many runs reached together: points of the code, and faults, each with the number of runs that did.

use crate::number::grouped;
use crate::record::RunRecord;
use crate::text_table::{TextTable, wrapped_list};
use std::collections::BTreeMap;

/// The sums over some runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Campaign {
    runs: u64,
    /// In the order in which records name them, which is that of the message path.
    points: Vec<(String, Reached)>,
    faults: BTreeMap<String, Reached>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    hits: u64,
    /// Runs with a hit.
    by: u64,
    /// Runs that could have had one.
    of: u64,
}

impl Reached {
    fn add(&mut self, hits: u64) {
        self.hits += hits;
        self.by += u64::from(hits > 0);
        self.of += 1;
    }
}

impl Campaign {
    pub fn add(&mut self, run: &RunRecord) {
        self.runs += 1;
        for point in &run.sometimes {
            let known = self.points.iter().position(|(name, _)| *name == point.name);
            let index = known.unwrap_or_else(|| {
                self.points.push((point.name.clone(), Reached::default()));
                self.points.len() - 1
            });
            self.points[index].1.add(point.hits);
        }
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for fault in &run.faults {
            *kinds.entry(&fault.kind).or_default() += fault.affected.values().sum::<u64>();
        }
        for (kind, hits) in kinds {
            self.faults.entry(kind.to_owned()).or_default().add(hits);
        }
    }

    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Two tables for people; `kinds` are all kinds of faults that there are, so that those that nobody declared are named.
    pub fn render(&self, kinds: &[&str]) -> String {
        let mut out = String::new();
        let points = self.points.iter().map(|(name, reached)| (name.as_str(), *reached));
        table(&mut out, "sometimes", points, "never reached");
        // A kind that is declared and has hit nothing, and one that is declared nowhere, are missing alike.
        let undeclared = kinds.iter().filter(|kind| !self.faults.contains_key(**kind));
        let undeclared = undeclared.map(|kind| (*kind, Reached::default()));
        let declared = self.faults.iter().map(|(kind, reached)| (kind.as_str(), *reached));
        out.push('\n');
        table(&mut out, "fault", declared.chain(undeclared), "never hit");
        out
    }
}

fn table<'a>(out: &mut String, what: &str, rows: impl Iterator<Item = (&'a str, Reached)>, missing: &str) {
    let mut table = TextTable::new(1, &[what, "hits", "in runs"]);
    let (mut any, mut never) = (false, Vec::new());
    for (name, reached) in rows {
        if reached.hits == 0 {
            never.push(name);
            continue;
        }
        any = true;
        table.row(vec![
            name.to_owned(),
            grouped(reached.hits),
            format!("{} of {}", grouped(reached.by), grouped(reached.of)),
        ]);
    }
    if any {
        table.write(out, |_, _, cell| cell);
    }
    wrapped_list(out, missing, &never);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SometimesRecord;
    use crate::testing;

    #[test]
    fn hits_are_summed_and_what_nobody_reached_is_named() {
        let point = |name: &str, hits| SometimesRecord { name: name.into(), hits };
        let (mut one, mut other) = (testing::passed(), testing::passed());
        one.sometimes = vec![point("committed", 1_000), point("acked", 0), point("recovered", 2)];
        other.sometimes = vec![point("committed", 500), point("acked", 0), point("recovered", 0)];
        other.faults.pop();
        let mut campaign = Campaign::default();
        campaign.add(&one);
        campaign.add(&other);
        assert_eq!(campaign.runs(), 2);
        assert_eq!(
            campaign.render(&["crash", "drop-sent-acks", "half-open"]),
            "  sometimes   hits  in runs\n\
             \x20 committed  1,500   2 of 2\n\
             \x20 recovered      2   1 of 2\n\
             \x20 never reached: acked\n\
             \n\
             \x20 fault            hits  in runs\n\
             \x20 crash           2,410   2 of 2\n\
             \x20 drop-sent-acks     17   1 of 1\n\
             \x20 never hit: half-open\n"
        );
    }

    #[test]
    fn a_campaign_of_nothing_names_what_there_is() {
        assert_eq!(Campaign::default().render(&["crash"]), "\n  never hit: crash\n");
    }
}
