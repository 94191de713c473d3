//! **Invariant:** nobody does more than their user may, and nobody is told to wait who has not.

use crate::facts::{Fact, Facts};
use crate::property::Property;
use crate::report::Tally;

pub(crate) const NAME: &str = "limits-hold";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Nobody does more than a user may, and nobody is told to wait who has not.",
    evaluation: "log entries, and devices that were told to wait",
    exposure: "devices that were told to wait",
    judge,
    conclude,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    let Fact::ToldToWait { message, device, too_early } = fact else { return };
    tally.evaluated += 1;
    tally.exposed += 1;
    if *too_early {
        tally.violate(|| {
            let sentence = format!(
                "{} was told to wait with {}, though its user had not sent so much that any limit could have been reached.",
                facts.name_device(*device),
                facts.name(*message),
            );
            let conversation = facts.pairs[facts.messages[*message].pair].conversation;
            facts.violation(NAME, conversation, Some(*device), None, Some(*message), sentence)
        });
    }
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    tally.evaluated += facts.spent.entries;
    for excess in facts.spent.excesses(facts.now) {
        tally.violate(|| {
            let last = excess.message.map_or(String::new(), |message| format!(", with {}", facts.name(message)));
            let sentence = format!(
                "User {} has {} more {} in the logs than they may have{last}.",
                excess.user, excess.beyond, excess.what
            );
            if let Some(message) = excess.message {
                let pair = &facts.pairs[facts.messages[message].pair];
                let device = Some(pair.device);
                return facts.violation(NAME, pair.conversation, device, None, Some(message), sentence);
            }
            facts.at_large(NAME, sentence)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History};

    #[test]
    fn whoever_had_sent_enough_may_be_told_to_wait() {
        let mut history = History::chat();
        history.limited(4, 9).send(1, 5).resend(1, 5).told_to_wait(1, 5).acked(1, 5, 3).log(5);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.exposed), (Verdict::Pass, 1));
    }

    #[test]
    fn whoever_had_not_is_named() {
        let mut history = History::chat();
        history.limited(40, 9).send(2, 5).told_to_wait(2, 5).acked(2, 5, 3).log(5);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("was told to wait"), "{}", found.message);
    }

    #[test]
    fn a_join_has_limits_of_its_own_and_so_have_all_devices_of_a_user_together() {
        let mut history = History::chat();
        history.limited(40, 8).change(1, 5, Change::Joined(3)).told_to_wait(1, 5);
        history.audit().violated(NAME, 5);
        let mut history = History::chat();
        history.device(9, 1).limited(40, 8).send(9, 6).resend(9, 6).change(1, 5, Change::Joined(3));
        history.told_to_wait(1, 5).acked(1, 5, 3).log(5).acked(9, 6, 4).log(6);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn whoever_has_more_in_the_log_than_they_may_is_named() {
        let mut history = History::chat();
        history.limited(40, 2);
        for message in 5..30 {
            history.change(1, message, Change::Joined(message)).log(message);
        }
        let found = history.audit().report(NAME).first.expect("a violation");
        assert!(found.message.starts_with("User 1 has "), "{}", found.message);
        assert!(found.client_msg_id.is_some(), "the entry with which it was too much");
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn what_others_do_is_no_excuse() {
        let mut history = History::chat();
        history.insider(2, 2).limited(4, 9).send(3, 5);
        for message in 6..20 {
            history.send(2, message);
        }
        history.told_to_wait(3, 5).audit().violated(NAME, 5);
    }

    #[test]
    fn what_insiders_are_told_is_not_judged() {
        let mut history = History::chat();
        history.insider(2, 2).limited(40, 9).send(2, 5).told_to_wait(2, 5).acked(2, 5, 3).log(5);
        assert_eq!(history.audit().report(NAME).exposed, 0);
    }
}
