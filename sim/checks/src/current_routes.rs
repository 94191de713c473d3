//! **Invariant:** nothing is published to a device that has been gone for longer than it takes to notice: its registry
//! entry has been cleared by its good-bye, by silence, or by its gateway's lease.
//!
//! The targets are the shard's word; when each device was connected is the device's own.

use crate::facts::{Fact, Facts};
use crate::property::Property;
use crate::report::Tally;

const NAME: &str = "current-routes";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Nothing is delivered to a connection that has been gone for longer than it takes to notice.",
    evaluation: "targets of deliveries",
    exposure: "targets that had no connection at the time",
    judge,
    conclude,
};

fn judge(fact: &Fact, _: &Facts, tally: &mut Tally) {
    if let Fact::Published(published) = fact {
        tally.evaluated += published.targets;
        tally.exposed += published.gone;
    }
}

fn conclude(facts: &Facts, tally: &mut Tally) {
    for suspect in &facts.suspects {
        tally.violate(|| {
            let (id, seq) = (facts.conversations[suspect.conversation].id, suspect.seq);
            let message = facts.at(suspect.conversation, seq.0 as u32);
            let sentence = format!(
                "Entry {seq} of conversation {id} was published to {}, which had been gone for {:.1} s: its registry entry was never cleared.",
                facts.name_device(suspect.device),
                suspect.gone_for as f64 / 1e6,
            );
            let device = Some(suspect.device);
            let mut violation = facts.violation(NAME, suspect.conversation, device, Some(seq), message, sentence);
            violation.t = suspect.t;
            violation
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_device_that_is_connected_or_has_just_left_may_be_a_target() {
        let mut history = History::chat();
        history.publish(2, &[2]).leave(2).wait(29 * SECOND).publish(2, &[2]);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 2, 1));
    }

    #[test]
    fn a_device_that_left_long_ago_may_not() {
        let mut history = History::chat();
        history.leave(2).wait(31 * SECOND).publish(2, &[1, 2]);
        let found = history.audit().violated(NAME, 2);
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(found.message.contains("gone for 31"), "{}", found.message);
    }

    #[test]
    fn after_a_fault_the_server_has_longer_to_notice() {
        let mut history = History::chat();
        history.fault("cut", true, &[]).leave(2).fault("cut", false, &[]);
        history.wait(149 * SECOND).publish(2, &[2]);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
        history.wait(2 * SECOND).publish(2, &[2]);
        history.audit().violated(NAME, 2);
    }

    #[test]
    fn who_is_just_connecting_is_a_target_already() {
        let mut history = History::chat();
        history.leave(2).wait(60 * SECOND).publish(2, &[2]).connect(2);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
        history.leave(2).wait(60 * SECOND).publish(2, &[2]).wait(11 * SECOND).connect(2);
        history.audit().violated(NAME, 2);
    }

    #[test]
    fn who_comes_back_is_a_target_again() {
        let mut history = History::chat();
        history.leave(2).wait(200 * SECOND).connect(2).publish(2, &[2]);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn without_deliveries_nothing_was_judged() {
        assert_eq!(History::chat().audit().report(NAME).verdict, Verdict::Inconclusive);
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
