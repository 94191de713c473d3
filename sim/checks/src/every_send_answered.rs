//! **Invariant:** when the quiet is over, each send of a reachable device has been acked or refused, and a refusal is one
//! that membership explains, and final: what was refused is in no log. On a way that nothing has harmed for long each answer comes in time:
//! within [`limits::undisturbed_bound`](squall_protocol::limits::undisturbed_bound) of the one before it, of the send, or of the end of a wait.

use crate::facts::{Fact, Facts, NONE, RefusedSend, Tardy, known, mark};
use crate::property::Property;
use crate::report::Tally;

const NAME: &str = "every-send-answered";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Every send of a device that is connected is acked, or refused for a reason and for good; unharmed, in time.",
    evaluation: "sends that were answered, or whose device is reachable",
    exposure: "sends that were resent",
    judge: |_: &Fact, _: &Facts, _: &mut Tally| {},
    conclude,
};

fn conclude(facts: &Facts, tally: &mut Tally) {
    for (message, row) in (0u32..).zip(facts.messages.rows()) {
        if !row.is(known::SENT) {
            continue;
        }
        let pair = &facts.pairs[row.pair];
        let answered = row.is(known::ANSWERED);
        if !answered && !facts.devices[pair.device].is(mark::REACHABLE) {
            continue;
        }
        tally.evaluated += 1;
        tally.exposed += u64::from(row.is(known::RESENT));
        if !answered {
            tally.violate(|| {
                let sentence = format!(
                    "{} has been neither acked nor refused, though {} was connected through the quiet.",
                    facts.name(message),
                    facts.name_device(pair.device)
                );
                facts.in_log(NAME, pair.conversation, None, message, sentence)
            });
        }
    }
    facts.refusals.iter().for_each(|refusal| judge_refusal(refusal, facts, tally));
    facts.answers.tardy.iter().for_each(|tardy| judge_tardy(tardy, facts, tally));
}

fn judge_tardy(tardy: &Tardy, facts: &Facts, tally: &mut Tally) {
    let pair = &facts.pairs[facts.messages[tardy.message].pair];
    tally.violate(|| {
        let from = if tardy.waited { ", when the wait that its device was told of was over" } else { "" };
        let sentence = format!(
            "an answer was due from {:.1} s on{from}; {} had the next one at {:.1} s, {:.1} s beyond the {:.1} s that it may take on a way that nothing had harmed.",
            tardy.since as f64 / 1e6,
            facts.name(tardy.message),
            tardy.t as f64 / 1e6,
            (tardy.t - tardy.since - tardy.bound) as f64 / 1e6,
            tardy.bound as f64 / 1e6,
        );
        crate::Violation { t: tardy.t, ..facts.in_log(NAME, pair.conversation, None, tardy.message, sentence) }
    });
}

fn judge_refusal(refusal: &RefusedSend, facts: &Facts, tally: &mut Tally) {
    let row = &facts.messages[refusal.message];
    if row.pair == NONE {
        return;
    }
    let pair = &facts.pairs[row.pair];
    let Some(contradiction) = facts.contradicts(refusal, &letters(refusal.reason)) else { return };
    tally.violate(|| {
        let sentence = format!(
            "{} was refused with \"{}\", but {contradiction}.",
            facts.name(refusal.message),
            refusal.reason
        );
        crate::Violation { t: refusal.t, ..facts.in_log(NAME, pair.conversation, None, refusal.message, sentence) }
    });
}

/// A reason in small letters only, so that `not_a_member`, `not-a-member` and `NotAMember` are one.
fn letters(reason: &str) -> String {
    reason.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History};
    use squall_history::What;
    use squall_protocol::{Holders, Rank, Right, UserId, limits};

    const BOUND: u64 = limits::undisturbed_bound().as_micros() as u64;

    #[test]
    fn an_answer_that_comes_late_on_a_way_that_nothing_harms_is_named() {
        for (took, verdict) in [(BOUND - 1_000, Verdict::Pass), (BOUND + 1_000, Verdict::Violated)] {
            let mut history = History::chat();
            history.undisturbed().send(1, 5).wait(took).acked(1, 5, 3).log(5);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn whoever_is_told_to_wait_has_the_next_answer_in_time_after_it() {
        for (took, verdict) in [(BOUND + 7_999_000, Verdict::Pass), (BOUND + 8_001_000, Verdict::Violated)] {
            let mut history = History::chat();
            history
                .undisturbed()
                .send(1, 5)
                .send(1, 6)
                .told_to_wait_for(1, 5, 8_000)
                .told_to_wait_for(1, 6, 2_000);
            history.wait(took).acked(1, 5, 3).acked(1, 6, 4).log(5).log(6);
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn each_answer_lets_the_next_one_take_its_time() {
        let mut history = History::chat();
        history.undisturbed().send(1, 5).send(1, 6).wait(BOUND / 2).acked(1, 5, 3).wait(BOUND - 1_000);
        history.acked(1, 6, 4).log(5).log(6).wait(2 * BOUND).send(1, 7).acked(1, 7, 5).log(7);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn what_may_have_kept_an_answer_excuses_it() {
        for harm in 0..4 {
            let mut history = History::chat();
            history.undisturbed().send(1, 5);
            match harm {
                0 => history.wait(BOUND).leave(1).connect(1).wait(BOUND / 2),
                1 => history.slowed(1, BOUND).wait(BOUND + BOUND / 2),
                2 => history.fault("cut", true, &[1]).wait(2 * BOUND),
                _ => history.insider(1, 1).wait(2 * BOUND),
            };
            history.acked(1, 5, 3).log(5);
            assert_eq!(history.audit().report(NAME).violations, 0, "{harm}");
        }
    }

    #[test]
    fn answers_to_everything_pass_and_resends_are_the_exposure() {
        let mut history = History::chat();
        history.send(1, 5).resend(1, 5).acked(1, 5, 3).log(5);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 3, 1));
    }

    #[test]
    fn a_send_without_an_answer_is_named_unless_its_device_is_away() {
        let mut history = History::chat();
        history.send(1, 5);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("neither acked nor refused"), "{}", found.message);
        let mut history = History::chat();
        history.send(1, 5).away(1);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_refusal_that_membership_explains_passes() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).acked(1, 5, 3).log(5);
        history.send(2, 6).refused(2, 6, "not_a_member");
        history.send(3, 7).refused(3, 7, "not_a_member");
        history.change(1, 8, Change::Left(2)).refused(1, 8, "conflict");
        history.change(1, 10, Change::Joined(1)).refused(1, 10, "conflict");
        history.send_elsewhere(1, 9).refused(1, 9, "unknown_conversation");
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_refusal_that_nothing_provoked_is_named() {
        for reason in ["not_a_member", "unknown_conversation", "body_too_large", "conflict"] {
            let mut history = History::chat();
            history.wait(5_000).send(1, 5).refused(1, 5, reason);
            let found = history.audit().violated(NAME, 5);
            assert!(found.message.contains(reason), "{}", found.message);
        }
    }

    #[test]
    fn a_change_that_was_possible_all_the_time_is_not_refused() {
        for change in [Change::Joined(3), Change::Left(2)] {
            let mut history = History::chat();
            history.wait(5_000).change(1, 5, change).refused(1, 5, "conflict");
            let found = history.audit().violated(NAME, 5);
            assert!(found.message.contains("in order all the time"), "{}", found.message);
        }
    }

    const PROMOTION: Change = Change::Rule(What::Role { user: UserId(2), rank: Rank::Admin });

    #[test]
    fn a_right_that_somebody_lacks_explains_a_refusal_and_one_that_they_have_does_not() {
        let mut history = History::chat();
        history.change(2, 5, PROMOTION).refused(2, 5, "not_allowed");
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
        for change in [PROMOTION, Change::Joined(3), Change::Rule(What::Named)] {
            let mut history = History::chat();
            history.wait(5_000).change(1, 5, change).refused(1, 5, "not_allowed");
            history.audit().violated(NAME, 5);
        }
        let mut history = History::chat();
        history.send(2, 5).refused(2, 5, "not_allowed");
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn a_setting_explains_refusals_from_when_it_may_be_there_and_until_it_is_taken_back() {
        let post = |who| Change::Rule(What::Setting { right: Right::Post, who });
        let history = |until: u64| {
            let mut history = History::chat();
            history.wait(5_000).change(1, 5, post(Holders::Owner)).acked(1, 5, 3).log(5).wait(5_000);
            if until == 1 {
                history.send(2, 7).refused(2, 7, "not_allowed");
            }
            history.wait(5_000).change(1, 6, post(Holders::Members)).acked(1, 6, 4).log(6).wait(5_000);
            if until == 2 {
                history.send(2, 7).refused(2, 7, "not_allowed");
            }
            history
        };
        assert_eq!(history(1).audit().report(NAME).verdict, Verdict::Pass);
        history(2).audit().violated(NAME, 7);
    }

    #[test]
    fn what_happened_before_the_send_or_was_sent_after_the_refusal_explains_nothing() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).acked(1, 5, 3).log(5);
        history.change(1, 6, Change::Joined(2)).acked(1, 6, 4).log(6).wait(5_000);
        history.send(2, 7).refused(2, 7, "not_a_member");
        history.change(1, 8, Change::Left(2)).acked(1, 8, 5).log(8);
        history.audit().violated(NAME, 7);
    }

    #[test]
    fn a_creation_is_in_conflict_only_with_one_that_was_there() {
        let mut history = History::empty();
        history.device(1, 1).device(2, 2).create(2, 5).wait(5_000).refused(2, 5, "conflict").wait(5_000);
        history.create(1, 6).acked(1, 6, 1).log(6);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("nobody else had created"), "{}", found.message);
        let mut history = History::empty();
        history.device(1, 1).device(2, 2).create(1, 6).create(2, 5).acked(1, 6, 1).log(6);
        history.wait(5_000).refused(2, 5, "conflict");
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_refused_message_that_is_stored_all_the_same_is_named() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).acked(1, 5, 3).log(5);
        history.send(2, 6).refused(2, 6, "not_a_member").log(6);
        let found = history.audit().violated(NAME, 6);
        assert!(found.message.contains("in the log all the same"), "{}", found.message);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
