//! **Invariant:** a message whose ack a device has is on disk, at the place that the ack named, with the content that was
//! sent; a second ack names the same place.

use crate::facts::{Fact, Facts, known};
use crate::property::Property;
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "acked-is-durable";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Every acked message is on disk, at the place that its ack named, as it was sent.",
    evaluation: "acked messages looked up on the disks",
    exposure: "messages acked before their shard crashed or lost power",
    judge,
    conclude,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        Fact::ShardStopped { acked } => tally.exposed += acked,
        Fact::Acked(ack) => {
            let Some(before) = ack.before else { return };
            tally.violate(|| {
                let sentence = format!(
                    "{} was acked at seq {} after it had been acked at seq {before}; both acks should name the same place.",
                    facts.name(ack.message),
                    ack.seq
                );
                facts.seen_by(NAME, ack.pair, ack.seq, ack.message, sentence)
            });
        }
        _ => {}
    }
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    if !facts.audited {
        return;
    }
    for (message, row) in (0u32..).zip(facts.messages.rows()) {
        if !row.is(known::ACKED) || !row.is(known::SENT) {
            continue;
        }
        tally.evaluated += 1;
        if row.is(known::LOGGED_AS_ACKED) {
            continue;
        }
        let conversation = facts.pairs[row.pair].conversation;
        tally.violate(|| {
            let head = facts.conversations[conversation].head;
            let found = if row.is(known::LOGGED) {
                "the log on disk has it only at another place or with other content".to_owned()
            } else {
                format!("no log on disk has it; its conversation's log ends at seq {head}")
            };
            let sentence = format!("{} was acked at seq {}, but {found}.", facts.name(message), row.seq);
            facts.in_log(NAME, conversation, Some(Seq(u64::from(row.seq))), message, sentence)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn a_history_whose_acks_are_on_disk_passes_and_counts_what_a_crash_could_have_lost() {
        let mut history = History::chat();
        history.power_loss();
        history.send(1, 5).acked(1, 5, 3).display(2, 5, 3).display(1, 5, 3).log(5);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 3, 2));
    }

    #[test]
    fn an_acked_message_that_is_on_no_disk_is_named() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3);
        let report = history.audit().violated(NAME, 5);
        assert!(report.message.contains("acked at seq 3"), "{}", report.message);
        assert!(report.message.contains("ends at seq 2"), "{}", report.message);
    }

    #[test]
    fn an_acked_message_that_is_stored_with_another_body_is_named() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3).log_altered(5);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn two_acks_that_name_two_places_are_caught_at_once() {
        let mut history = History::chat();
        history.send(1, 5).acked(1, 5, 3).acked(1, 5, 4);
        let found = history.unaudited().violated(NAME, 5);
        assert_eq!(found.seq.map(|seq| seq.0), Some(4));
    }

    #[test]
    fn nothing_acked_is_inconclusive_and_so_is_a_run_without_an_audit() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
        assert_eq!(History::chat().unaudited().report(NAME).verdict, Verdict::Inconclusive);
    }
}
