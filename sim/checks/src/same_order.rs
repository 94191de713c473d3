//! **Invariant:** whoever names the message at a place of a conversation names the same one, and the log on disk agrees
//! with what was displayed.

use crate::facts::{Fact, Facts, known};
use crate::property::Property;
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "same-order";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "All devices show a conversation in the same order, and the log on disk has that order.",
    evaluation: "displays and log entries",
    exposure: "entries displayed twice or more, where two or more devices sent",
    judge,
    conclude,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    let (pair, seq, message, taken) = match fact {
        Fact::Shown(shown) => (shown.pair, shown.seq, shown.message, shown.taken),
        Fact::Acked(ack) => (ack.pair, ack.seq, ack.message, ack.taken),
        Fact::Discarded { message, pair, seq, taken } => (*pair, *seq, *message, *taken),
        Fact::Logged(logged) => {
            tally.evaluated += 1;
            let Some(first) = logged.taken else { return };
            return tally.violate(|| {
                let sentence = format!(
                    "The log of conversation {} has {} at seq {}, where devices saw {}.",
                    facts.conversations[logged.conversation].id,
                    facts.name(logged.message),
                    logged.seq,
                    facts.name(first)
                );
                facts.in_log(NAME, logged.conversation, Some(logged.seq), logged.message, sentence)
            });
        }
        _ => return,
    };
    tally.evaluated += u64::from(matches!(fact, Fact::Shown(_)));
    let Some(first) = taken else { return };
    tally.violate(|| {
        let sentence = format!(
            "{} has {} at seq {seq}, where {} was seen first.",
            facts.name_device(facts.pairs[pair].device),
            facts.name(message),
            facts.name(first)
        );
        facts.seen_by(NAME, pair, seq, message, sentence)
    });
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    for row in facts.messages.rows() {
        let seen_twice = row.is(known::SHOWN_TWICE) && row.is(known::SENT);
        let several = seen_twice && facts.conversations[facts.pairs[row.pair].conversation].several_senders;
        tally.exposed += u64::from(several);
    }
    if !facts.audited {
        return;
    }
    for (conversation, seq, message) in facts.witnessed() {
        if !facts.messages[message].is(known::SHOWN) || facts.is_logged(conversation, seq) {
            continue;
        }
        tally.violate(|| {
            let sentence = format!(
                "{} was displayed at seq {seq}, but the log on disk, which ends at seq {}, has nothing there.",
                facts.name(message),
                facts.conversations[conversation].head
            );
            facts.in_log(NAME, conversation, Some(Seq(u64::from(seq))), message, sentence)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn one_order_for_everyone_passes_and_counts_what_two_senders_could_have_mixed() {
        let mut history = History::chat();
        history.send(2, 5).acked(2, 5, 3).log(5).display(1, 5, 3).display(2, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 9, 3));
    }

    #[test]
    fn two_devices_that_see_two_orders_are_caught_at_the_second() {
        let mut history = History::chat();
        history.send(1, 5).send(2, 6);
        history.display(1, 5, 3).display(1, 6, 4).display(2, 6, 3).display(2, 5, 4);
        let found = history.unaudited().violated(NAME, 6);
        assert_eq!((found.device.map(|d| d.0), found.seq.map(|s| s.0)), (Some(2), Some(3)));
    }

    #[test]
    fn a_log_that_disagrees_with_what_was_displayed_is_caught() {
        let mut history = History::chat();
        history.send(1, 5).send(1, 6).display(2, 5, 3).log(6);
        history.audit().violated(NAME, 6);
    }

    #[test]
    fn an_entry_that_was_displayed_and_is_not_in_the_log_is_named() {
        let mut history = History::chat();
        history.send(1, 5).display(2, 5, 3);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("ends at seq 2"), "{}", found.message);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
