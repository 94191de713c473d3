//! **Invariant:** no device displays an entry twice, nor a message at two places; no message stands twice in a log.

use crate::facts::{Fact, Facts, known};
use crate::property::Property;
use crate::report::Tally;

const NAME: &str = "no-duplicates";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "No device shows a message twice and no log holds one twice.",
    evaluation: "displays and log entries",
    exposure: "copies: entries that reached a device again, and messages that were resent and stored",
    judge,
    conclude,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        Fact::Shown(shown) => {
            tally.evaluated += 1;
            let before = match (shown.again, shown.elsewhere) {
                (true, _) => "which it had displayed before".to_owned(),
                (false, Some(seq)) => format!("after it had displayed the same message at seq {seq}"),
                (false, None) => return,
            };
            tally.violate(|| {
                let device = facts.name_device(facts.pairs[shown.pair].device);
                let sentence =
                    format!("{device} displayed {} at seq {}, {before}.", facts.name(shown.message), shown.seq);
                facts.seen_by(NAME, shown.pair, shown.seq, shown.message, sentence)
            });
        }
        Fact::Logged(logged) => {
            tally.evaluated += 1;
            if logged.again {
                tally.violate(|| {
                    let sentence = format!(
                        "{} stands in a log for the second time, at seq {} of conversation {}; it should stand there once.",
                        facts.name(logged.message),
                        logged.seq,
                        facts.conversations[logged.conversation].id
                    );
                    facts.in_log(NAME, logged.conversation, Some(logged.seq), logged.message, sentence)
                });
            }
        }
        Fact::Discarded { .. } => tally.exposed += 1,
        _ => {}
    }
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    let stored = known::ACKED | known::LOGGED;
    let resent = facts.messages.rows().filter(|row| row.is(known::RESENT) && row.is(stored));
    tally.exposed += resent.count() as u64;
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;
    use squall_history::Via;

    #[test]
    fn copies_that_are_discarded_pass_and_are_the_exposure() {
        let mut history = History::chat();
        history.send(1, 5).resend(1, 5).acked(1, 5, 3).log(5);
        history.display(1, 5, 3).display(2, 5, 3).discard(2, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 9, 2));
    }

    #[test]
    fn an_entry_that_is_displayed_twice_is_named() {
        let mut history = History::chat();
        history.display(2, 1, 1);
        let found = history.audit().violated(NAME, 1);
        assert_eq!((found.device.map(|d| d.0), found.seq.map(|s| s.0)), (Some(2), Some(1)));
    }

    #[test]
    fn a_message_that_is_displayed_at_two_places_is_named_at_once() {
        let mut history = History::chat();
        history.display(2, 2, 3);
        let found = history.unaudited().violated(NAME, 2);
        assert!(
            found.message.contains("at seq 3, after it had displayed the same message at seq 2"),
            "{}",
            found.message
        );
    }

    #[test]
    fn a_message_that_stands_twice_in_a_log_is_named() {
        let mut history = History::chat();
        history.send(1, 5).log(5).log(5);
        let found = history.audit().violated(NAME, 5);
        assert_eq!(found.seq.map(|seq| seq.0), Some(4));
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_new_life_of_a_device_is_shown_everything_again_and_once() {
        let mut history = History::chat();
        history.reinstalled(2, 22).display_via(22, 1, 1, Via::Page).display_via(22, 2, 2, Via::Page);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
        history.display(22, 2, 2);
        history.audit().violated(NAME, 2);
    }
}
