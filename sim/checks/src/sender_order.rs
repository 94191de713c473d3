//! **Invariant:** what one device sends to one conversation stands in the log in the order in which it was sent; what was
//! refused stands nowhere.

use crate::facts::{Fact, Facts};
use crate::property::{Property, nothing_more};
use crate::report::Tally;

const NAME: &str = "sender-order";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "A device's messages stand in a conversation in the order in which they were sent.",
    evaluation: "acks and log entries",
    exposure: "sends issued while an earlier one of that device and conversation had no answer",
    judge,
    conclude: nothing_more,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        Fact::Send { overlapping } => tally.exposed += u64::from(*overlapping),
        Fact::Acked(ack) => {
            tally.evaluated += 1;
            // In which order an insider numbers what it sends is its own affair.
            let Some((order, seq)) = ack.against.filter(|_| !facts.is_insider(ack.pair)) else { return };
            tally.violate(|| {
                let sentence = format!(
                    "{} was acked at seq {}, but send {order} of that device had been acked at seq {seq}.",
                    facts.name(ack.message),
                    ack.seq
                );
                facts.seen_by(NAME, ack.pair, ack.seq, ack.message, sentence)
            });
        }
        Fact::Logged(logged) => {
            tally.evaluated += 1;
            let pair = facts.messages[logged.message].pair;
            let Some(later) = logged.overtaken_by.filter(|_| !facts.is_insider(pair)) else { return };
            tally.violate(|| {
                let sentence = format!(
                    "{} stands at seq {}, behind send {later} of the same device, which was sent after it.",
                    facts.name(logged.message),
                    logged.seq
                );
                facts.in_log(NAME, logged.conversation, Some(logged.seq), logged.message, sentence)
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn overlapping_sends_in_their_order_pass_even_when_their_acks_come_in_another() {
        let mut history = History::chat();
        history.send(1, 5).send(1, 6).send(1, 7).acked(1, 6, 4).acked(1, 5, 3).acked(1, 7, 5);
        history.log(5).log(6).log(7);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.exposed), (Verdict::Pass, 2));
    }

    #[test]
    fn sends_that_are_stored_in_another_order_are_caught_in_the_log() {
        let mut history = History::chat();
        history.send(1, 5).send(1, 6).log(6).log(5);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("behind send 4"), "{}", found.message);
    }

    #[test]
    fn sends_that_are_acked_in_another_order_are_caught_at_once() {
        let mut history = History::chat();
        history.send(1, 5).send(1, 6).acked(1, 6, 3).acked(1, 5, 4);
        history.unaudited().violated(NAME, 5);
    }

    #[test]
    fn an_insider_may_send_in_whatever_order_and_others_may_not() {
        let mut history = History::chat();
        history.insider(1, 1).send(1, 5).send(1, 6).acked(1, 6, 3).acked(1, 5, 4).log(6).log(5);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_refused_send_leaves_no_hole_in_the_order() {
        let mut history = History::chat();
        history.send(1, 5).refused(1, 5, "conflict").send(1, 6).acked(1, 6, 3).log(6);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
