//! **Invariant:** a durable cursor only moves forward: one that goes back shows old messages as new again, and the shard
//! delivers once more what has been acked.
//!
//! Where it stands is read back from the disk after each commit that moves it, and at the end.

use crate::facts::{Fact, Facts};
use crate::property::{Property, nothing_more};
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "cursor-never-back";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "A cursor on disk never goes back.",
    evaluation: "cursors read back after a commit, and from the disks at the end",
    exposure: "cursors of devices that had connected again, or whose shard had restarted",
    judge,
    conclude: nothing_more,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        Fact::CursorMoved { pair, before, up_to } => judge_cursor(*pair, *before, *up_to, facts, tally),
        Fact::Cursor { pair, up_to } => judge_cursor(*pair, facts.pairs[*pair].cursor, *up_to, facts, tally),
        _ => {}
    }
}

fn judge_cursor(pair: u32, before: u32, up_to: Seq, facts: &Facts, tally: &mut Tally) {
    let row = &facts.pairs[pair];
    tally.evaluated += 1;
    tally.exposed +=
        u64::from(facts.devices[row.device].has_reconnected() || facts.shard_restarts(row.conversation) > 0);
    if up_to >= Seq(u64::from(before)) {
        return;
    }
    tally.violate(|| {
        let message = facts.at(row.conversation, before);
        let sentence = format!(
            "The cursor of {} in conversation {} stands at seq {up_to} on disk, after it had stood at seq {before}.",
            facts.name_user(row.device),
            facts.conversations[row.conversation].id,
        );
        facts.violation(NAME, row.conversation, Some(row.device), Some(up_to), message, sentence)
    });
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn a_cursor_that_moves_forward_or_stays_passes() {
        let mut history = History::chat();
        history.cursor_moved(2, 1).cursor_moved(2, 1).connect(2).cursor_moved(2, 2).cursor(2, 2);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 4, 2));
    }

    #[test]
    fn a_cursor_that_goes_back_is_caught_at_once() {
        let mut history = History::chat();
        history.cursor_moved(2, 2).cursor_moved(1, 1).cursor_moved(2, 1);
        let found = history.unaudited().violated(NAME, 2);
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(found.message.contains("seq 1 on disk, after it had stood at seq 2"), "{}", found.message);
    }

    #[test]
    fn a_cursor_that_the_audit_finds_further_back_is_caught() {
        let mut history = History::chat();
        history.cursor_moved(2, 2).power_loss().cursor(2, 1);
        history.audit().violated(NAME, 2);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
