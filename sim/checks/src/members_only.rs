//! **Invariant:** nothing is displayed to a user outside the times of their membership, which is a fold over the
//! conversation's own log; and no log holds what the fold up to it and the conversation's name did not allow its author to write.

use crate::facts::intervals;
use crate::facts::{Fact, Facts};
use crate::property::Property;
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "members-only";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Nobody is shown an entry that their membership does not cover, or has written one.",
    evaluation: "displayed entries compared with membership",
    exposure: "entries displayed in conversations whose members changed, and lies told",
    judge,
    conclude,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    let Fact::Logged(logged) = fact else { return };
    let Some(forbidden) = logged.forbidden else { return };
    tally.violate(|| {
        let sentence = format!(
            "The log of conversation {} has {} at seq {}, but {forbidden}.",
            facts.conversations[logged.conversation].id,
            facts.name(logged.message),
            logged.seq
        );
        facts.in_log(NAME, logged.conversation, Some(logged.seq), logged.message, sentence)
    });
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    for (pair, row) in (0u32..).zip(facts.pairs.rows()) {
        let conversation = &facts.conversations[row.conversation];
        let Some(user) = facts.devices[row.device].user() else { continue };
        if row.run.to == 0 || !conversation.created {
            continue;
        }
        let displayed = facts.displayed(pair);
        let count = intervals::count(&displayed);
        tally.evaluated += count;
        if conversation.members_changed {
            tally.exposed += count;
        }
        for range in intervals::subtract(&displayed, &facts.may_see(user, row.conversation)) {
            tally.violate_many(range.len(), || {
                let message = facts.at(row.conversation, range.from);
                let sentence = format!(
                    "{} displayed {} at seq {}, but user {user} is no member of conversation {} at that place.",
                    facts.name_device(row.device),
                    message.map_or("an entry".to_owned(), |message| facts.name(message)),
                    range.from,
                    conversation.id
                );
                let seq = Some(Seq(u64::from(range.from)));
                facts.violation(NAME, row.conversation, Some(row.device), seq, message, sentence)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History};

    #[test]
    fn members_who_see_what_they_may_pass() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).log(5).display(1, 5, 3).display(2, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 6, 6));
    }

    #[test]
    fn a_leaver_who_sees_what_came_after_is_named() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).log(5).display(1, 5, 3).display(2, 5, 3);
        history.send(1, 6).log(6).display(1, 6, 4).display(2, 6, 4);
        let found = history.audit().violated(NAME, 6);
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(found.message.contains("user 2 is no member"), "{}", found.message);
    }

    #[test]
    fn a_stranger_who_sees_anything_is_named() {
        let mut history = History::chat();
        history.display(3, 1, 1);
        history.audit().violated(NAME, 1);
    }

    #[test]
    fn a_newcomer_may_see_twenty_entries_from_before_and_no_more() {
        for (first, verdict) in [(31 - 20, Verdict::Pass), (31 - 21, Verdict::Violated)] {
            let mut history = History::chat();
            for id in 3..=30 {
                history.send(1, id).log(id);
            }
            history.change(1, 31, Change::Joined(3)).log(31);
            for id in first..=31 {
                history.display(3, id, id);
            }
            assert_eq!(history.audit().report(NAME).verdict, verdict);
        }
    }

    #[test]
    fn a_creation_against_its_name_is_named() {
        // The group's name says that user 1 creates it.
        let mut history = History::empty();
        history.device(1, 1).device(2, 2).create(2, 5).acked(2, 5, 1).log(5).display(2, 5, 1);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("name says otherwise"), "{}", found.message);
        let mut history = History::chat();
        history.create(1, 5).acked(1, 5, 3).log(5);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("had been created before"), "{}", found.message);
    }

    #[test]
    fn what_somebody_writes_who_is_no_member_is_named_whoever_they_are() {
        let changes = [Change::Left(2), Change::Joined(3), Change::Joined(4)];
        for change in changes {
            let mut history = History::chat();
            history.insider(3, 3).change(3, 5, change).log(5);
            let found = history.audit().violated(NAME, 5);
            assert!(found.message.contains("its author was no member"), "{}", found.message);
        }
        let mut history = History::chat();
        history.send(3, 5).log(5);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn a_change_that_changes_nothing_is_named() {
        for (change, why) in [(Change::Left(3), "was no member"), (Change::Joined(2), "was a member")] {
            let mut history = History::chat();
            history.change(1, 5, change).log(5);
            let found = history.audit().violated(NAME, 5);
            assert!(found.message.contains(why), "{}", found.message);
        }
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
