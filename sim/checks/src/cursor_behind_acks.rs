//! **Invariant:** no durable cursor is ahead of what the device said that it has shown: an entry between the two would
//! never be delivered again.

use crate::facts::{Fact, Facts};
use crate::property::{Property, nothing_more};
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "cursor-behind-acks";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "No cursor on disk is ahead of the device's own acks, and no ack ahead of what it has shown.",
    evaluation: "cursors read from the disks",
    exposure: "cursors of devices that had connected again, or whose shard had restarted",
    judge,
    conclude: nothing_more,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        // An insider acks what it likes, and loses what it has not seen.
        Fact::Cursor { pair, .. } | Fact::AckedAhead { pair, .. }
            if facts.is_insiders(*pair) => {}
        Fact::Cursor { pair, up_to } => judge_cursor(*pair, *up_to, facts, tally),
        Fact::StrayCursor { user, conversation, up_to } => tally.violate(|| {
            let id = facts.conversations[*conversation].id;
            let sentence = format!(
                "On disk user {user}, of whom no device was ever seen, has a cursor at seq {up_to} of conversation {id}."
            );
            facts.violation(NAME, *conversation, None, Some(*up_to), None, sentence)
        }),
        Fact::AckedAhead { pair, up_to } => tally.violate(|| {
            let row = &facts.pairs[*pair];
            let shown = row.position;
            let message = facts.at(row.conversation, shown.saturating_add(1));
            let sentence = format!(
                "{} acked up to seq {up_to} in conversation {}, but had shown only up to seq {shown}.",
                facts.name_device(row.device),
                facts.conversations[row.conversation].id,
            );
            facts.violation(NAME, row.conversation, Some(row.device), Some(*up_to), message, sentence)
        }),
        _ => {}
    }
}

fn judge_cursor(pair: u32, up_to: Seq, facts: &Facts, tally: &mut Tally) {
    let row = &facts.pairs[pair];
    let device = &facts.devices[row.device];
    tally.evaluated += 1;
    tally.exposed += u64::from(device.has_reconnected() || facts.shard_restarts(row.conversation) > 0);
    let acked = Seq(u64::from(row.acked_up_to));
    if up_to <= acked {
        return;
    }
    tally.violate(|| {
        let id = facts.conversations[row.conversation].id;
        // The first entry that the device will not be offered again.
        let message = facts.at(row.conversation, row.acked_up_to.saturating_add(1));
        let at_stake = message.map_or(String::new(), |message| format!(" {} is at stake.", facts.name(message)));
        let sentence = format!(
            "The cursor of {} in conversation {id} stands at seq {up_to} on disk, but their devices have acked up to seq {acked} only.{at_stake}",
            facts.name_user(row.device),
        );
        facts.violation(NAME, row.conversation, Some(row.device), Some(acked.next()), message, sentence)
    });
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;
    use squall_history::Via;

    #[test]
    fn a_cursor_at_or_behind_the_ack_passes() {
        let mut history = History::chat();
        history.ack(1, 2).ack(2, 2).connect(2).cursor(1, 2).cursor(2, 1);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 2, 1));
    }

    #[test]
    fn a_cursor_ahead_of_the_acks_names_the_message_that_is_at_stake() {
        let mut history = History::chat();
        history.ack(2, 1).cursor(2, 2);
        let found = history.audit().violated(NAME, 2);
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(found.message.contains("seq 2 on disk"), "{}", found.message);
    }

    #[test]
    fn what_any_device_of_a_user_has_acked_moves_the_user_s_cursor() {
        let mut history = History::chat();
        history.device(22, 2).display(22, 1, 1).display(22, 2, 2).ack(2, 1).ack(22, 2).cursor(2, 2);
        assert_eq!(history.audit().violated_checks(), [""; 0]);
    }

    #[test]
    fn what_somebody_acks_under_a_guessed_number_moves_no_cursor_of_its_user() {
        let mut history = History::chat();
        history.guess(9, 1, 2).ack(9, 1_000).cursor_of(1, 2);
        assert_eq!(history.ack(2, 1).cursor(2, 1).audit().violated_checks(), [""; 0]);
        history.cursor_of(2, 2);
        history.audit().violated(NAME, 2);
    }

    #[test]
    fn a_cursor_of_somebody_who_has_no_device_is_named() {
        let mut history = History::chat();
        history.cursor_of(77, 1);
        let report = history.audit().report(NAME);
        let found = report.first.expect("it is violated");
        assert!(found.message.contains("of whom no device was ever seen"), "{}", found.message);
    }

    #[test]
    fn what_one_life_of_a_device_has_acked_stands_in_the_next() {
        for (up_to, checks) in [(2, vec![]), (3, vec![NAME])] {
            let mut history = History::chat();
            history.ack(2, 2).reinstalled(2, 22).cursor(2, up_to);
            history.display_via(22, 1, 1, Via::Page).display_via(22, 2, 2, Via::Page);
            assert_eq!(history.audit().violated_checks(), checks);
        }
    }

    #[test]
    fn an_ack_ahead_of_what_was_shown_is_named() {
        let mut history = History::chat();
        history.send(1, 3).acked(1, 3, 3).log(3).display(1, 3, 3).ack(2, 3).display(2, 3, 3);
        let found = history.audit().violated(NAME, 3);
        assert!(found.message.contains("shown only up to seq 2"), "{}", found.message);
    }

    #[test]
    fn no_cursors_are_inconclusive() {
        assert_eq!(History::chat().audit().report(NAME).verdict, Verdict::Inconclusive);
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
