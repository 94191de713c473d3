//! **Invariant:** what is bounded stays bounded, and what a storm has filled is as empty as before it by the end of the quiet. A task
//! ends with what it is for: a link that was lost leaves none behind.

use crate::facts::Facts;
use crate::property::Property;
use crate::report::{Tally, Violation};

const NAME: &str = "bounded-and-back";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Queues, debts, tables and tasks stay within their limits and are back at their level by the end of the quiet.",
    evaluation: "queues, debts, tables and kinds of tasks of hosts",
    exposure: "those that were fuller after the first fault than before it",
    judge: |_, _, _| {},
    conclude,
};

/// How full something of a host was and is, in items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLevel {
    pub host: String,
    /// What is counted, in the plural.
    pub what: &'static str,
    pub limit: Option<u64>,
    /// It empties when nothing is said any more.
    pub returns: bool,
    /// The most before the first fault, the most of all, and how many at the end.
    pub before: u64,
    pub highest: u64,
    pub end: u64,
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    for level in &facts.levels {
        tally.evaluated += 1;
        tally.exposed += u64::from(level.highest > level.before);
        let AuditLevel { host, what, before, highest, end, .. } = level;
        if let Some(limit) = level.limit.filter(|limit| highest > limit) {
            tally
                .violate(|| too_full(level, facts, format!("{host} had {highest} {what}, and may have {limit}.")));
        }
        if level.returns && end > before {
            tally.violate(|| {
                too_full(level, facts, format!("{host} has {end} {what} at the end of the quiet, and had at most {before} before the first fault."))
            });
        }
    }
    conclude_followers(facts, tally);
}

/// The level that says how many devices gateways tell of channels.
const FOLLOWERS: &str = "devices that follow channels";

/// Gateways together tell of channels whoever is there and a member, and nobody who is gone.
fn conclude_followers(facts: &Facts, tally: &mut Tally) {
    let levels = facts.levels.iter().filter(|level| level.what == FOLLOWERS);
    let Some(expected) = facts.followers() else { return };
    let told: u64 = levels.clone().map(|level| level.end).sum();
    let Some(most) = levels.max_by_key(|level| level.end) else { return };
    tally.evaluated += 1;
    if told > expected {
        tally.violate(|| {
            let sentence = format!(
                "Gateways have {told} {FOLLOWERS} at the end of the quiet, and {expected} are there; {} has most.",
                most.host
            );
            too_full(most, facts, sentence)
        });
    }
}

fn too_full(level: &AuditLevel, facts: &Facts, sentence: String) -> Violation {
    Violation { level: Some(level.clone()), ..facts.at_large(NAME, sentence) }
}

#[cfg(test)]
mod tests {
    use super::{AuditLevel, FOLLOWERS, NAME};
    use crate::testing::History;
    use crate::{CheckReport, Checks, Config, Verdict};

    fn report(levels: &[(Option<u64>, bool, [u64; 3])]) -> CheckReport {
        let mut checks = Checks::new(Config::default());
        for (limit, returns, [before, highest, end]) in levels.iter().copied() {
            let host = "messages-0".to_owned();
            checks.audit_level(AuditLevel { host, what: "debts", limit, returns, before, highest, end });
        }
        checks.finish().into_iter().find(|report| report.name == NAME).expect("the check")
    }

    #[test]
    fn what_fills_and_empties_within_its_limit_passes() {
        let report = report(&[(Some(9), true, [2, 9, 2]), (None, true, [3, 3, 0]), (Some(9), false, [2, 5, 5])]);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 3, 2));
    }

    #[test]
    fn what_grows_beyond_its_limit_or_stays_full_is_named() {
        assert_eq!(report(&[(Some(8), false, [2, 9, 2])]).verdict, Verdict::Violated);
        let stays = report(&[(None, true, [2, 9, 3])]);
        let first = stays.first.expect("one that is named");
        assert!(first.message.contains("has 3 debts at the end"));
        assert_eq!(
            first.level.map(|level| (level.host, level.what, level.end)),
            Some(("messages-0".into(), "debts", 3))
        );
    }

    #[test]
    fn gateways_tell_of_a_channel_whoever_is_there_and_a_member() {
        let verdict = |channel_above, away: &[u64], followers| {
            let mut history = History::chat();
            history.channel_above(channel_above).stands(FOLLOWERS, followers);
            for device in away {
                history.away(*device);
            }
            history.audit().report(NAME).verdict
        };
        assert_eq!([verdict(1, &[], 2), verdict(1, &[2], 1), verdict(2, &[], 0)], [Verdict::Pass; 3]);
        assert_eq!([verdict(1, &[], 3), verdict(1, &[2], 2), verdict(2, &[], 1)], [Verdict::Violated; 3]);
        assert_eq!(
            History::chat().channel_above(1).insider(9, 2).stands(FOLLOWERS, 9).audit().report(NAME).verdict,
            Verdict::Pass
        );
    }

    #[test]
    fn a_run_without_hosts_is_inconclusive() {
        assert_eq!(report(&[]).verdict, Verdict::Inconclusive);
    }
}
