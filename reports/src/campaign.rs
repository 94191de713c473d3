//! What many runs reached together: points of the code, limits, faults and pairs of faults; and what none of them did.

use crate::number::grouped;
use crate::record::{PairRecord, RunRecord};
use crate::text_table::{TextTable, wrapped_list};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The sums over some runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Campaign {
    runs: u64,
    /// In the order in which records name them, which is that of the message path.
    points: Vec<(String, Reached)>,
    faults: BTreeMap<String, Reached>,
    /// By the first and the second.
    pairs: BTreeMap<(String, String), u64>,
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
        for PairRecord { first, second, hits } in &run.pairs {
            *self.pairs.entry((first.clone(), second.clone())).or_default() += hits;
        }
    }

    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// What has been reached, for people: two tables, and what of all that is known never was.
    pub fn render(&self, known: &Known<'_>) -> String {
        let mut out = String::new();
        let points = self.points.iter().map(|(name, reached)| (name.as_str(), *reached));
        table(&mut out, "sometimes", points);
        let never = self.never(known);
        wrapped_list(&mut out, "never reached", &never.points);
        wrapped_list(&mut out, "limits never reached", &never.limits);
        out.push('\n');
        table(&mut out, "fault", self.faults.iter().map(|(kind, reached)| (kind.as_str(), *reached)));
        wrapped_list(&mut out, "never hit", &never.faults);
        let all = known.sides.len() * known.sides.len();
        if all > 0 {
            let met = all - never.pairs.len();
            let _ = writeln!(
                out,
                "\n  {met} of {all} pairs of faults met, the second in the first's course or recovery"
            );
            // Of a few runs of one scenario most pairs are missing, and a list of them says nothing.
            if met >= never.pairs.len() {
                wrapped_list(&mut out, "never met", &never.pairs);
            }
        }
        out
    }

    /// What no run has reached.
    pub fn never(&self, known: &Known<'_>) -> Never {
        let is_reached = |point: &str| self.points.iter().any(|(name, reached)| name == point && reached.hits > 0);
        let points = self.points.iter().filter(|(_, reached)| reached.hits == 0).map(|(name, _)| name.clone());
        let limits =
            known.limits.iter().filter(|(_, point)| !is_reached(point)).map(|(limit, _)| (*limit).to_owned());
        // A kind that is declared and has hit nothing, and one that is declared nowhere, are missing alike.
        let is_hit = |kind: &str| self.faults.get(kind).is_some_and(|reached| reached.hits > 0);
        let faults = known.kinds.iter().filter(|kind| !is_hit(kind)).map(|kind| (*kind).to_owned());
        let pairs = known.sides.iter().flat_map(|first| known.sides.iter().map(move |second| (*first, *second)));
        let has_met = |first: &str, second: &str| self.pairs.contains_key(&(first.to_owned(), second.to_owned()));
        let pairs = pairs.filter(|(first, second)| !has_met(first, second));
        Never {
            points: points.collect(),
            limits: limits.collect(),
            faults: faults.collect(),
            pairs: pairs.map(|(first, second)| format!("{first} + {second}")).collect(),
        }
    }
}

/// All that a campaign could reach beside the points, which its records name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Kinds of faults.
    pub kinds: &'a [&'a str],
    /// Limits of the system, each with the point that tells of it.
    pub limits: &'a [(&'a str, &'a str)],
    /// What faults befall: every two of them could meet.
    pub sides: &'a [&'a str],
}

/// What no run of a campaign has reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Never {
    pub points: Vec<String>,
    pub limits: Vec<String>,
    pub faults: Vec<String>,
    /// The first and the second.
    pub pairs: Vec<String>,
}

fn table<'a>(out: &mut String, what: &str, rows: impl Iterator<Item = (&'a str, Reached)>) {
    let mut table = TextTable::new(1, &[what, "hits", "in runs"]);
    let mut any = false;
    for (name, reached) in rows.filter(|(_, reached)| reached.hits > 0) {
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
        let pair = PairRecord { first: "bus process".into(), second: "devices".into(), hits: 2 };
        other.pairs = vec![pair.clone(), PairRecord { first: "devices".into(), ..pair }];
        let mut campaign = Campaign::default();
        campaign.add(&one);
        campaign.add(&other);
        assert_eq!(campaign.runs(), 2);
        let known = Known {
            kinds: &["crash", "drop-sent-acks", "half-open"],
            limits: &[("MAX_STAGED", "acked"), ("MAX_PAGE", "recovered")],
            sides: &["bus process", "devices"],
        };
        assert_eq!(
            campaign.render(&known),
            "  sometimes   hits  in runs\n\
             \x20 committed  1,500   2 of 2\n\
             \x20 recovered      2   1 of 2\n\
             \x20 never reached: acked\n\
             \x20 limits never reached: MAX_STAGED\n\
             \n\
             \x20 fault            hits  in runs\n\
             \x20 crash           2,410   2 of 2\n\
             \x20 drop-sent-acks     17   1 of 1\n\
             \x20 never hit: half-open\n\
             \n\
             \x20 2 of 4 pairs of faults met, the second in the first's course or recovery\n\
             \x20 never met: bus process + bus process, devices + bus process\n"
        );
    }

    #[test]
    fn a_campaign_of_nothing_names_what_there_is() {
        assert_eq!(
            Campaign::default().render(&Known { kinds: &["crash"], ..Known::default() }),
            "\n  never hit: crash\n"
        );
    }
}
