//! **Invariant:** a log is 1, 2, 3, … without gap or repeat; a place that anybody has seen filled is never filled with
//! another message, whatever crashes; a device displays one place after the other, but for what it is told to skip.

use crate::facts::{Fact, Facts, Logged, Shown};
use crate::property::{Property, nothing_more};
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "dense-sequence";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Sequence numbers are dense from 1 and never reused, and devices show them one by one.",
    evaluation: "displays, discards, acks and log entries",
    exposure: "entries logged in conversations that went on after their shard restarted",
    judge,
    conclude: nothing_more,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    let (pair, seq, message, taken) = match fact {
        Fact::Shown(shown) => {
            advance(shown, facts, tally);
            (shown.pair, shown.seq, shown.message, shown.taken)
        }
        Fact::Acked(ack) => (ack.pair, ack.seq, ack.message, ack.taken),
        Fact::Discarded { message, pair, seq, taken } => (*pair, *seq, *message, *taken),
        Fact::Logged(logged) => return judge_log(logged, facts, tally),
        _ => return,
    };
    tally.evaluated += 1;
    let device = || facts.name_device(facts.pairs[pair].device);
    if let Some(first) = taken {
        tally.violate(|| {
            let sentence = format!(
                "{} was told that seq {seq} is {}, but the same place was seen before with {}: the number was reused.",
                device(),
                facts.name(message),
                facts.name(first)
            );
            facts.seen_by(NAME, pair, seq, message, sentence)
        });
    }
    if seq == Seq::ZERO {
        tally.violate(|| {
            let sentence = format!("{} was given {} at seq 0; logs begin at 1.", device(), facts.name(message));
            facts.seen_by(NAME, pair, seq, message, sentence)
        });
    }
}

fn advance(shown: &Shown, facts: &Facts, tally: &mut Tally) {
    let Some(expected) = shown.expected else { return };
    tally.violate(|| {
        let sentence = format!(
            "{} displayed {} at seq {} when seq {expected} was next.",
            facts.name_device(facts.pairs[shown.pair].device),
            facts.name(shown.message),
            shown.seq
        );
        facts.seen_by(NAME, shown.pair, shown.seq, shown.message, sentence)
    });
}

fn judge_log(logged: &Logged, facts: &Facts, tally: &mut Tally) {
    tally.evaluated += 1;
    tally.exposed += u64::from(logged.across_restart);
    let conversation = facts.conversations[logged.conversation].id;
    let (message, seq) = (logged.message, logged.seq);
    if let Some(expected) = logged.expected {
        tally.violate(|| {
            let name = facts.name(message);
            let sentence = format!(
                "The log of conversation {conversation} has {name} at seq {seq} where seq {expected} was next."
            );
            facts.in_log(NAME, logged.conversation, Some(seq), message, sentence)
        });
    }
    if let Some(first) = logged.taken {
        tally.violate(|| {
            let sentence = format!(
                "The log of conversation {conversation} has {} at seq {seq}, where {} was seen: the number was reused.",
                facts.name(message),
                facts.name(first)
            );
            facts.in_log(NAME, logged.conversation, Some(seq), message, sentence)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn a_log_that_goes_on_where_it_stopped_passes_and_is_the_exposure() {
        let mut history = History::chat();
        history.power_loss();
        history.send(1, 5).acked(1, 5, 3).log(5);
        history.display(1, 5, 3).display(2, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.exposed), (Verdict::Pass, 3));
    }

    #[test]
    fn a_number_that_is_reused_after_a_crash_is_named() {
        let mut history = History::chat();
        history.send(1, 5).display(2, 5, 3);
        history.power_loss();
        history.send(2, 6).acked(2, 6, 3);
        let found = history.unaudited().violated(NAME, 6);
        assert!(found.message.contains("reused"), "{}", found.message);
        assert!(found.message.contains("send 3 of device 1"), "{}", found.message);
    }

    #[test]
    fn a_number_whose_reuse_only_a_discard_shows_is_named() {
        let mut history = History::chat();
        history.send(2, 6).discard(2, 6, 2);
        history.unaudited().violated(NAME, 6);
    }

    #[test]
    fn a_display_that_jumps_or_goes_back_is_named() {
        let mut history = History::chat();
        history.send(1, 5).send(1, 6).display(2, 6, 4).display(2, 5, 3);
        let report = history.unaudited().report(NAME);
        assert_eq!(report.violations, 2);
        let places: Vec<_> = report.kept.iter().map(|v| v.seq.unwrap().0).collect();
        assert_eq!(places, [4, 3]);
    }

    #[test]
    fn a_display_may_jump_over_what_was_skipped() {
        let mut history = History::chat();
        history.send(1, 5).send(1, 6).skip(2, 3, 3).display(2, 6, 4);
        assert_eq!(history.unaudited().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_log_with_a_gap_or_a_repeat_is_named() {
        let mut history = History::chat();
        history.send(1, 5).log_at(5, 4);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("seq 4 where seq 3 was next"), "{}", found.message);
        let mut history = History::chat();
        history.send(1, 5).log_at(5, 2);
        history.audit().violated(NAME, 5);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
