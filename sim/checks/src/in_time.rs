//! **Invariant:** whoever is connected and unharmed has every entry that they may see within [`limits::prompt_bound`], while the
//! run goes on: nobody waits for a later message or a reconnect to learn of an earlier one. Whose way nothing has harmed for as long has
//! it within [`limits::undisturbed_bound`]: what a redelivery had to heal is late there.
//!
//! `no-loss` looks at the end only, when both have healed what was late.

use crate::facts::{Fact, Facts, Late};
use crate::property::Property;
use crate::report::{Tally, Violation};
use squall_protocol::Seq;

const NAME: &str = "in-time";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Whoever is connected and unharmed is shown every entry that they may see in time.",
    evaluation: "displayed entries whose time was taken",
    exposure: "entries displayed after a fault had begun",
    judge,
    conclude,
};

fn judge(fact: &Fact, _: &Facts, tally: &mut Tally) {
    if let Fact::Shown(shown) = fact {
        tally.evaluated += 1;
        tally.exposed += u64::from(shown.after_fault);
    }
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    for (late, (start, bound)) in facts.late() {
        tally.violate(|| too_late(late, start, bound, facts));
    }
}

fn too_late(late: &Late, start: u64, bound: u64, facts: &Facts) -> Violation {
    let pair = &facts.pairs[late.pair];
    let undisturbed = if late.undisturbed { " on a way that nothing had harmed" } else { "" };
    let sentence = format!(
        "{} was there to be seen by {} from {:.1} s on; the device was connected until {:.1} s and had not displayed it, {:.1} s beyond the {:.1} s that it may take{undisturbed}; it did at {:.1} s.",
        facts.name(late.message),
        facts.name_device(pair.device),
        start as f64 / 1e6,
        late.until as f64 / 1e6,
        (late.until - start - bound) as f64 / 1e6,
        bound as f64 / 1e6,
        late.t as f64 / 1e6,
    );
    let seq = Some(Seq(u64::from(late.place)));
    let mut found = facts.violation(NAME, pair.conversation, Some(pair.device), seq, Some(late.message), sentence);
    found.t = late.t;
    found
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History};
    use squall_history::{Harm, Via};
    use squall_protocol::{DeviceId, limits};

    const BOUND: u64 = limits::prompt_bound().as_micros() as u64;

    #[test]
    fn an_entry_that_comes_within_the_bound_passes() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).wait(BOUND - 2_000_000).display(2, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 6, 0));
    }

    #[test]
    fn an_entry_that_only_a_later_message_brings_is_named() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).wait(BOUND + 2_000_000).display(2, 5, 3);
        let found = history.audit().violated(NAME, 5);
        assert_eq!(found.device.map(|device| device.0), Some(2));
    }

    #[test]
    fn an_entry_that_only_a_reconnect_brings_is_named() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).wait(BOUND + 2_000_000);
        history.leave(2).connect(2).display_via(2, 5, 3, Via::Page);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn a_device_that_was_away_has_its_time_from_its_connection_on() {
        let mut history = History::chat();
        history.leave(2).send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).wait(2 * BOUND);
        history.connect(2).wait(BOUND / 2).display_via(2, 5, 3, Via::Page);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_fault_on_a_device_stops_its_clock_and_its_end_starts_it_anew() {
        for (after, verdict) in [(BOUND / 2, Verdict::Pass), (BOUND + 2_000_000, Verdict::Violated)] {
            let mut history = History::chat();
            history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).fault("x", true, &[2]).wait(2 * BOUND);
            history.fault("x", false, &[2]).wait(after).display(2, 5, 3);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn a_fault_on_one_device_is_no_excuse_for_another() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).fault("x", true, &[1]).wait(2 * BOUND);
        history.fault("x", false, &[1]).display(2, 5, 3);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn a_link_is_an_excuse_for_whoever_depends_on_both_its_ends() {
        // The history's shard is host 3; nothing else of the way is known of it.
        for (hosts, verdict) in
            [(vec![3, 9], Verdict::Violated), (vec![8, 9], Verdict::Violated), (vec![3, 3], Verdict::Pass)]
        {
            let harm = Harm { hosts, split: Some(1), ..Harm::default() };
            let mut history = History::chat();
            history.fault_of("x", true, harm.clone()).send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3);
            history.wait(2 * BOUND).fault_of("x", false, harm).display(2, 5, 3);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn a_slower_way_is_allowed_what_it_costs_and_no_more() {
        for (delay_us, verdict) in [(1, Verdict::Violated), (200_000, Verdict::Pass)] {
            let harm = Harm { delay_us: Some(delay_us), devices: vec![DeviceId(2)], ..Harm::default() };
            let mut history = History::chat();
            history.fault_of("x", true, harm).send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3);
            history.wait(BOUND + 2_000_000).display(2, 5, 3);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    /// What an entry takes that only a redelivery brings.
    const REDELIVERED: u64 = limits::REDELIVER_AFTER.as_micros() as u64;

    #[test]
    fn what_only_a_redelivery_brings_is_late_where_nothing_has_harmed_the_way() {
        for (took, verdict) in [(1_000_000, Verdict::Pass), (REDELIVERED, Verdict::Violated)] {
            let mut history = History::chat();
            history.undisturbed().wait(BOUND).send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3);
            history.wait(took).display_via(2, 5, 3, Via::Page);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn whoever_has_just_come_has_no_longer() {
        let mut history = History::chat();
        history.undisturbed().leave(2).send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).wait(BOUND);
        history.connect(2).wait(REDELIVERED).display_via(2, 5, 3, Via::Page);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn a_fault_that_has_healed_a_short_while_ago_is_an_excuse_for_a_redelivery() {
        for (since, verdict) in [(1_000_000, Verdict::Pass), (BOUND + 1_000_000, Verdict::Violated)] {
            let mut history = History::chat();
            history.undisturbed().fault("x", true, &[2]).fault("x", false, &[2]).wait(since);
            history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).wait(REDELIVERED).display(2, 5, 3);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn faults_of_frames_excuse_the_author_alone() {
        for (late, verdict) in [(1, Verdict::Pass), (2, Verdict::Violated)] {
            let harm = Harm { connections: true, ..Harm::default() };
            let mut history = History::chat();
            history.undisturbed().fault_of("x", true, harm.clone()).send(1, 5).log(5).display(3 - late, 5, 3);
            history.wait(REDELIVERED).display(late, 5, 3).fault_of("x", false, harm);
            assert_eq!(history.audit().report(NAME).verdict, verdict, "device {late}");
        }
    }

    #[test]
    fn what_is_slow_on_the_path_of_a_device_starts_its_clock_anew() {
        for (slow, verdict) in [(REDELIVERED, Verdict::Pass), (1_000_000, Verdict::Violated)] {
            let mut history = History::chat();
            history.undisturbed().send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).slowed(2, slow);
            history.wait(REDELIVERED).display(2, 5, 3);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn a_newcomer_has_the_time_of_the_join_and_not_of_what_stands_before_it() {
        let mut history = History::chat();
        history.wait(2 * BOUND).change(1, 5, Change::Joined(3)).log(5).display(1, 5, 3).display(2, 5, 3);
        for (id, seq) in [(1, 1), (2, 2), (5, 3)] {
            history.display_via(3, id, seq, Via::Page);
        }
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
