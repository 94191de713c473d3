//! **Invariant:** what a device acks on a way that nothing harms moves its cursor on disk within [`limits::undisturbed_bound`] and two flushes,
//! and as much later as those of a group of its size may be written.
//!
//! An ack that goes astray shows nowhere else: what it would have settled is told again, the device acks again, is called back at last, and
//! lacks nothing.

use crate::facts::{Behind, Fact, Facts};
use crate::property::Property;
use crate::report::{Tally, Violation};
use squall_protocol::Seq;

const NAME: &str = "cursor-follows-acks";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "What a connected device has acked, unharmed, moves its cursor on disk in time.",
    evaluation: "cursors read back after a commit, and acks whose time was taken",
    exposure: "cursors and acks of devices that had connected again, or whose shard had restarted",
    judge,
    conclude,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    if let Fact::CursorMoved { pair, .. } = fact {
        let row = &facts.pairs[*pair];
        tally.evaluated += 1;
        tally.exposed +=
            u64::from(facts.devices[row.device].has_reconnected() || facts.shard_restarts(row.conversation) > 0);
    }
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    tally.evaluated += facts.acks.judged;
    tally.exposed += facts.acks.exposed;
    for behind in &facts.acks.behind {
        tally.violate(|| left_behind(behind, facts));
    }
}

fn left_behind(behind: &Behind, facts: &Facts) -> Violation {
    let row = &facts.pairs[behind.pair];
    let (up_to, cursor) = (Seq(u64::from(behind.up_to)), Seq(u64::from(behind.cursor)));
    let stands = match behind.cursor {
        0 => "its user has no cursor there".to_owned(),
        _ => format!("its user's cursor stands at seq {cursor}"),
    };
    let sentence = format!(
        "{} acked up to seq {up_to} in conversation {} at {:.1} s, on a way that nothing had harmed, and {:.1} s later {stands} on disk.",
        facts.name_device(row.device),
        facts.conversations[row.conversation].id,
        behind.acked as f64 / 1e6,
        (behind.t - behind.acked) as f64 / 1e6,
    );
    let message = facts.at(row.conversation, behind.up_to);
    let mut found = facts.violation(NAME, row.conversation, Some(row.device), Some(up_to), message, sentence);
    found.t = behind.t;
    found
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;
    use squall_history::Harm;
    use squall_protocol::limits;

    const BOUND: u64 =
        (limits::undisturbed_bound().as_micros() + 2 * limits::CURSOR_FLUSH_INTERVAL.as_micros()) as u64;

    fn acked() -> History {
        let mut history = History::chat();
        history.undisturbed().ack(2, 2);
        history
    }

    #[test]
    fn a_cursor_that_follows_its_ack_passes() {
        let mut history = acked();
        history.cursor_moved(2, 2).wait(BOUND + 1_000).resend(1, 1);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 2, 0));
    }

    #[test]
    fn a_cursor_that_stays_where_it_is_is_named() {
        let mut history = acked();
        history.cursor_moved(2, 1).wait(BOUND + 1_000).resend(1, 1);
        let found = history.audit().violated(NAME, 2);
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(found.message.contains("cursor stands at seq 1 on disk"), "{}", found.message);
    }

    #[test]
    fn a_device_that_has_acked_and_has_no_cursor_is_named() {
        let mut history = acked();
        history.wait(BOUND + 1_000).resend(1, 1);
        history.audit().violated(NAME, 2);
    }

    #[test]
    fn what_may_have_lost_an_ack_excuses_it() {
        let frames = || Harm { connections: true, ..Harm::default() };
        for harm in 0..4 {
            let mut history = acked();
            match harm {
                0 => history.wait(1_000_000).leave(2).connect(2),
                1 => history.slowed(2, 1_000_000),
                2 => history.fault("cut", true, &[2]),
                _ => history.fault_of("acks", true, frames()),
            };
            history.wait(BOUND + 1_000).resend(1, 1);
            assert_eq!(history.audit().report(NAME).violations, 0, "{harm}");
        }
    }

    #[test]
    fn a_connection_over_which_nothing_has_come_since_may_have_been_dead() {
        const NOTICED: u64 = 30_000_000;
        let mut dead = acked();
        dead.noticed_within(NOTICED).wait(BOUND + 1_000_000).resend(1, 1).leave(2).connect(2);
        dead.wait(NOTICED).resend(1, 1);
        assert_eq!(dead.audit().report(NAME).violations, 0);
        let mut heard = acked();
        heard.noticed_within(NOTICED).wait(BOUND - 1_000_000).arrive(2, &[1], (1, 1)).wait(2_000_000).resend(1, 1);
        heard.audit().violated(NAME, 2);
        let mut kept = acked();
        kept.noticed_within(NOTICED).wait(BOUND + NOTICED + 1_000_000).resend(1, 1);
        kept.audit().violated(NAME, 2);
    }

    #[test]
    fn cursors_after_a_reconnect_are_the_exposure() {
        let mut history = acked();
        history.leave(2).connect(2).cursor_moved(2, 2);
        assert_eq!(history.audit().report(NAME).exposed, 1);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
