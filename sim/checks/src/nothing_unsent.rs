//! **Invariant:** whatever is displayed or stored was sent by that device, to that conversation, with that content.

use crate::facts::{Fact, Facts, Origin};
use crate::property::{Property, nothing_more};
use crate::report::Tally;

const NAME: &str = "nothing-unsent";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Nothing is shown or stored that its sender did not send, as they sent it.",
    evaluation: "displays and log entries",
    exposure: "entries displayed after the first fault had begun",
    judge,
    conclude: nothing_more,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        Fact::Shown(shown) => {
            tally.evaluated += 1;
            tally.exposed += u64::from(shown.after_fault);
            let Some(wrong) = wrong(shown.origin) else { return };
            tally.violate(|| {
                let device = facts.name_device(facts.pairs[shown.pair].device);
                let sentence =
                    format!("{device} displayed {} at seq {}, {wrong}.", facts.name(shown.message), shown.seq);
                facts.seen_by(NAME, shown.pair, shown.seq, shown.message, sentence)
            });
        }
        Fact::Logged(logged) => {
            tally.evaluated += 1;
            let Some(wrong) = wrong(logged.origin) else { return };
            tally.violate(|| {
                let sentence = format!(
                    "The log of conversation {} has {} at seq {}, {wrong}.",
                    facts.conversations[logged.conversation].id,
                    facts.name(logged.message),
                    logged.seq
                );
                facts.in_log(NAME, logged.conversation, Some(logged.seq), logged.message, sentence)
            });
        }
        _ => {}
    }
}

fn wrong(origin: Origin) -> Option<&'static str> {
    match origin {
        Origin::Sent => None,
        Origin::Unsent => Some("though it was never sent"),
        Origin::OtherConversation => Some("though it was sent to another conversation"),
        Origin::OtherDevice => Some("in the name of a device that did not send it"),
        Origin::OtherContent => Some("with a sender, body or kind that is not what was sent"),
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn what_was_sent_and_shown_as_it_was_sent_passes() {
        let mut history = History::chat();
        history.power_loss();
        history.send(1, 5).log(5).display(2, 5, 3).display(1, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 9, 2));
    }

    #[test]
    fn a_message_that_nobody_sent_is_named() {
        let mut history = History::chat();
        history.display(2, 66, 3);
        let found = history.unaudited().violated(NAME, 66);
        assert!(found.message.contains("which no device has sent"), "{}", found.message);
    }

    #[test]
    fn a_body_that_is_not_what_was_sent_is_caught_on_the_screen_and_on_disk() {
        let mut history = History::chat();
        history.send(1, 5).display_altered(2, 5, 3);
        history.unaudited().violated(NAME, 5);
        let mut history = History::chat();
        history.send(1, 5).log_altered(5);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn a_message_that_is_stored_in_the_name_of_another_device_is_caught() {
        let mut history = History::chat();
        history.send(1, 5).log_in_the_name_of(5, 2);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("in the name of"), "{}", found.message);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
