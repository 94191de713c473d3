//! **Invariant:** whoever watches somebody with whom they are in a conversation is shown them online soon after they have connected, and offline, with
//! when they were last there, once they have been away for the time to live and the grace; never before, and never online when
//! they hide. Nobody is told of somebody with whom they are in no conversation any more for longer than a lease.
//!
//! What each device did and was shown is all that is gone by. Nothing is said of whom a fault touches, nor for 45 s after it: links are opened again
//! meanwhile, and a presence host that has lost its memory is sure of it again.

use crate::facts::{Fact, Facts, Misled, MisledOne};
use crate::property::Property;
use crate::report::{Tally, Violation};

const NAME: &str = "presence-holds";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Whoever watches somebody is shown in time whether they are there and when they last were, and nobody else is.",
    evaluation: "connections of devices, and what those who watch are shown or should be",
    exposure: "times that a device was told how it stands with somebody",
    judge,
    conclude,
};

fn judge(_: &Fact, _: &Facts, _: &mut Tally) {}

fn conclude(facts: &Facts, tally: &mut Tally) {
    let presences = facts.presences();
    tally.evaluated += presences.connections + presences.judged;
    tally.exposed += presences.told;
    for wrong in &presences.wrongs {
        tally.violate(|| violation(wrong, facts));
    }
}

fn violation(MisledOne { t, device, user, misled }: &MisledOne, facts: &Facts) -> Violation {
    let s = |us: &u64| format!("{:.1} s", *us as f64 / 1e6);
    let at = s(t);
    let message = match misled {
        Misled::FalselyOffline { since } => format!(
            "At {at} device {device} showed user {user} offline, who had been connected since {} and harmed by nothing.",
            s(since)
        ),
        Misled::Flapped { since } => format!(
            "At {at} device {device} showed user {user} offline, who had lost their connection only at {}: that is within the grace.",
            s(since)
        ),
        Misled::FalselyOnline { since, hidden: true } => format!(
            "At {at} device {device} showed user {user} online, who makes themselves invisible and was last to be seen at {}.",
            s(since)
        ),
        Misled::FalselyOnline { since, hidden: false } => {
            format!("At {at} device {device} showed user {user} online, who had been away since {}.", s(since))
        }
        Misled::NotShownOnline { since } => format!(
            "At {at} device {device} did not show user {user} online, whom it watches and who had been there since {}.",
            s(since)
        ),
        Misled::NotShownOffline { since, hidden } => format!(
            "At {at} device {device} did not show user {user} offline, whom it watches and who had {} since {}.",
            if *hidden { "been invisible" } else { "been away" },
            s(since)
        ),
        Misled::LastSeen { seen, told } => format!(
            "At {at} device {device} was told that user {user} was last there at {}: it was at {}.",
            s(told),
            s(seen)
        ),
        Misled::NotTheirs { since: 0 } => {
            format!("At {at} device {device} was told of user {user}, whom it does not watch.")
        }
        Misled::NotTheirs { since } => format!(
            "At {at} device {device} was told of user {user}, with whom it had been in no conversation in which it watches them since {}.",
            s(since)
        ),
    };
    Violation { t: *t, device: Some(*device), user: Some(*user), ..facts.at_large(NAME, message) }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History, PRESENCE_HOST};
    use squall_history::Harm;

    const SECOND: u64 = 1_000_000;
    /// When device 1 begins to watch, in seconds of the run.
    const BEGUN: u64 = 100;

    /// Device 1 watches user 2, who is there.
    fn watching() -> History {
        let mut history = History::chat();
        history.watching().watch(1, &[2]).shows(1, 2, "online", 0).wait(20 * SECOND);
        history
    }

    fn found(history: &History) -> String {
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.violations), (Verdict::Violated, 1), "{report:?}");
        report.first.expect("a violated check has a first violation").message
    }

    fn passes(history: &History) {
        let report = history.audit().report(NAME);
        assert_eq!(report.verdict, Verdict::Pass, "{report:?}");
    }

    /// Something happens at last, so that all that is due has been looked at.
    fn after(history: &mut History, seconds: u64) -> &mut History {
        history.wait(seconds * SECOND).sync(3, 0)
    }

    #[test]
    fn whoever_is_shown_in_time_and_with_the_right_time_passes() {
        let mut history = watching();
        history.leave(2).wait(11 * SECOND).shows(1, 2, "offline", BEGUN + 20);
        after(&mut history, 60).connect(2).shows(1, 2, "online", 0);
        passes(after(&mut history, 60));
        history.hide(2, true).shows(1, 2, "offline", BEGUN + 151);
        passes(after(&mut history, 60));
    }

    #[test]
    fn whoever_is_shown_offline_without_having_been_away_is_named() {
        let mut history = watching();
        history.shows(1, 2, "offline", 0);
        assert!(found(&history).contains("harmed by nothing"));
        let mut history = watching();
        history.leave(2).wait(3 * SECOND).shows(1, 2, "offline", 0).connect(2).shows(1, 2, "online", 0);
        assert!(found(&history).contains("within the grace"));
    }

    #[test]
    fn whoever_is_shown_online_long_after_they_left_or_hid_is_named() {
        let mut history = watching();
        history.leave(2);
        assert!(found(after(&mut history, 60)).contains("did not show user 2 offline"));
        let mut history = watching();
        history.hide(2, true).shows(1, 2, "offline", 0).wait(20 * SECOND).shows(1, 2, "online", 0);
        assert!(found(&history).contains("makes themselves invisible"));
    }

    #[test]
    fn whoever_is_not_shown_though_they_are_there_or_with_a_wrong_time_is_named() {
        let mut history = watching();
        history.lose(2, "reset").wait(15 * SECOND).shows(1, 2, "offline", BEGUN + 20).connect(2);
        assert!(found(after(&mut history, 10)).contains("did not show user 2 online"));
        let mut history = watching();
        history.lose(2, "reset").wait(15 * SECOND).shows(1, 2, "offline", 60);
        assert!(found(&history).contains("last there at 60.0 s"));
    }

    #[test]
    fn whoever_is_told_of_somebody_long_after_leaving_is_named() {
        let mut history = watching();
        history.change(1, 9, Change::Left(2)).acked(1, 9, 3).log(9).wait(50 * SECOND).shows(1, 2, "online", 0);
        passes(&history);
        history.wait(20 * SECOND).shows(1, 2, "online", 0);
        assert!(found(&history).contains("in no conversation"));
        let mut history = watching();
        history.shows(1, 3, "online", 0);
        assert!(found(&history).contains("whom it does not watch"));
    }

    #[test]
    fn a_fault_excuses_what_is_late_and_not_that_a_host_calls_somebody_away_whom_it_has_forgotten() {
        let host = Harm { hosts: vec![PRESENCE_HOST], ..Harm::default() };
        let mut history = watching();
        history.fault_of("crash", true, host.clone()).leave(2);
        passes(after(&mut history, 60));
        let mut history = watching();
        history.fault_of("crash", true, host).shows(1, 2, "offline", 0);
        assert!(found(&history).contains("harmed by nothing"));
        let mut history = watching();
        history.fault("disconnect", true, &[2]).shows(1, 2, "offline", 0);
        passes(&history);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
