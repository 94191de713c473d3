//! **Invariant:** a gateway that is asked to end closes its connections evenly over the window that it is given and then ends by itself;
//! in no second are more of its devices connected again elsewhere than half as many again as are closed in one; each is within 10 s.
//! And nobody is closed for a restart that nobody has asked for.
//!
//! That no send is lost or left without an answer is for `every-send-answered`, `acked-is-durable` and `no-loss`. While another fault
//! is active nothing is said of how evenly and how soon devices were back.

use crate::facts::{BACK_WITHIN, Drain, Fact, Facts, Overdue};
use crate::property::Property;
use crate::report::{Tally, Violation};

const NAME: &str = "drains-gently";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Whoever is closed because a gateway is to end is back elsewhere within 10 s, and not all at once.",
    evaluation: "connections of devices",
    exposure: "connections that were closed because their gateway was to end",
    judge,
    conclude,
};

fn judge(_: &Fact, _: &Facts, _: &mut Tally) {}

fn conclude(facts: &Facts, tally: &mut Tally) {
    let drains = facts.drains();
    tally.evaluated += drains.connections;
    tally.exposed += drains.closed;
    for (device, t) in &drains.unasked {
        tally.violate(|| unasked(*device, *t, facts));
    }
    for drain in &drains.drains {
        if let Some(t) = drain.killed.filter(|_| !drain.disturbed) {
            tally.violate(|| killed(drain, t, facts));
        }
        let crowded = (0u64..).zip(&drain.back).filter(|(_, back)| u64::from(**back) > drain.most_a_second());
        for (second, back) in crowded.filter(|_| !drain.disturbed) {
            tally.violate(|| crowd(drain, second, *back, facts));
        }
    }
    for overdue in drains.overdue(facts.now) {
        tally.violate(|| late(&overdue, facts));
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn unasked(device: u32, t: u64, facts: &Facts) -> Violation {
    let sentence = format!(
        "At {:.1} s a gateway closed the connection of {} for a restart that nobody had asked for.",
        seconds(t),
        facts.name_device(device)
    );
    Violation { t, device: Some(facts.devices[device].id), ..facts.at_large(NAME, sentence) }
}

fn killed(drain: &Drain, t: u64, facts: &Facts) -> Violation {
    let sentence = format!(
        "A gateway that was asked at {:.1} s to end over {:.1} s had not ended at {:.1} s, and was killed.",
        seconds(drain.t),
        seconds(drain.window),
        seconds(t)
    );
    Violation { t, ..facts.at_large(NAME, sentence) }
}

fn crowd(drain: &Drain, second: u64, back: u32, facts: &Facts) -> Violation {
    let t = drain.t + (second + 1) * 1_000_000;
    let sentence = format!(
        "A gateway that was asked at {:.1} s to end closed {} connections over {:.1} s; in the second up to {:.1} s {back} of them were connected again elsewhere, and {} are the most.",
        seconds(drain.t),
        drain.closed,
        seconds(drain.window),
        seconds(t),
        drain.most_a_second()
    );
    Violation { t, ..facts.at_large(NAME, sentence) }
}

fn late(overdue: &Overdue, facts: &Facts) -> Violation {
    let back = match overdue.back {
        Some(back) => format!("was connected again only at {:.1} s", seconds(back)),
        None => "was not connected again".to_owned(),
    };
    let sentence = format!(
        "{} was closed at {:.1} s for a restart and {back}; it may take {:.1} s.",
        facts.name_device(overdue.device),
        seconds(overdue.closed),
        seconds(BACK_WITHIN)
    );
    let mut first = sentence;
    if let Some(letter) = first.get_mut(..1) {
        letter.make_ascii_uppercase();
    }
    let t = overdue.closed + BACK_WITHIN;
    Violation { t, device: Some(facts.devices[overdue.device].id), ..facts.at_large(NAME, first) }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    /// The first violation, and how many there are.
    fn found(history: &History) -> (String, Option<u64>, u64) {
        let report = history.audit().report(NAME);
        assert_eq!(report.verdict, Verdict::Violated, "{report:?}");
        let first = report.first.expect("a violated check has a first violation");
        (first.message, first.device.map(|device| device.0), report.violations)
    }

    const SECOND: u64 = 1_000_000;
    /// The gateway of everybody in these histories, and another host.
    const GATEWAY: u16 = 0;

    #[test]
    fn devices_that_are_closed_and_soon_back_pass() {
        let mut history = History::chat();
        history.on_gateway(GATEWAY).connect(1).connect(2).asked_to_end(GATEWAY, 2 * SECOND);
        history.lose(1, "closed for a restart").wait(SECOND).connect(1);
        history.lose(2, "closed for a restart").wait(SECOND).connect(2).ends(GATEWAY);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 7, 2));
    }

    #[test]
    fn a_device_may_hear_of_its_close_when_the_gateway_has_ended() {
        let mut history = History::chat();
        history.on_gateway(GATEWAY).connect(1).asked_to_end(GATEWAY, 2 * SECOND).wait(3 * SECOND).ends(GATEWAY);
        history.wait(SECOND).lose(1, "closed for a restart").connect(1);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
        // The next process has closed nobody.
        history.wait(SECOND).lose(1, "closed for a restart");
        assert!(found(&history).0.contains("nobody had asked for"));
    }

    #[test]
    fn a_device_that_is_not_back_in_time_is_named_and_one_that_is_put_away_is_not() {
        let mut history = History::chat();
        history.on_gateway(GATEWAY).connect(1).connect(2).asked_to_end(GATEWAY, 2 * SECOND);
        history.lose(1, "closed for a restart").lose(2, "closed for a restart").put_away(2);
        history.ends(GATEWAY).wait(11 * SECOND).connect(1);
        let (message, device, count) = found(&history);
        assert_eq!((device, count), (Some(1), 1));
        assert!(message.contains("again only at"), "{message}");
    }

    fn rush(disturbed: bool) -> History {
        let mut history = History::chat();
        history.on_gateway(GATEWAY);
        if disturbed {
            history.fault("partition", true, &[]);
        }
        (10..50).for_each(|device| {
            history.device(device, device).connect(device);
        });
        history.asked_to_end(GATEWAY, 10 * SECOND);
        (10..50).for_each(|device| {
            history.lose(device, "closed for a restart");
        });
        history.wait(SECOND);
        (10..50).for_each(|device| {
            history.connect(device);
        });
        history.ends(GATEWAY);
        history
    }

    #[test]
    fn a_rush_is_named_unless_something_else_disturbs() {
        assert_eq!(rush(true).audit().report(NAME).verdict, Verdict::Pass);
        let (message, _, count) = found(&rush(false));
        assert!(message.contains("40 of them were connected again"), "{message}");
        assert_eq!(count, 1);
    }

    #[test]
    fn a_gateway_that_has_to_be_killed_and_one_that_nobody_asked_are_named() {
        let mut history = History::chat();
        history.on_gateway(GATEWAY).connect(1).asked_to_end(GATEWAY, SECOND).wait(9 * SECOND).dies(GATEWAY);
        let (message, ..) = found(&history);
        assert!(message.contains("was killed"), "{message}");
        let mut history = History::chat();
        history.on_gateway(GATEWAY).connect(1).lose(1, "closed for a restart");
        let (message, ..) = found(&history);
        assert!(message.contains("nobody had asked for"), "{message}");
    }

    #[test]
    fn another_fault_that_kills_the_gateway_disturbs_however_long_it_lasts() {
        let mut history = History::chat();
        history.on_gateway(GATEWAY).connect(1).asked_to_end(GATEWAY, SECOND).wait(SECOND / 2);
        history.fault("crash", true, &[]).dies(GATEWAY).wait(60 * SECOND).fault("crash", false, &[]);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
