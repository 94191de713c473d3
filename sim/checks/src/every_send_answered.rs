//! **Invariant:** when the quiet is over, each send of a reachable device has been acked or refused, and a refusal is one
//! that membership explains, and final: what was refused is in no log.

use crate::facts::{Fact, Facts, NONE, RefusedSend, known, mark};
use crate::property::Property;
use crate::report::Tally;

const NAME: &str = "every-send-answered";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Every send of a device that is connected is acked, or refused for a reason and for good.",
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
            assert!(found.message.contains("member"), "{}", found.message);
        }
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
