//! **Invariant:** a gateway takes a token that counts by its own clock, under a key of its own and with that key's algorithm, and no
//! other; whoever is connected has shown one that still counts, or is closed within 10 s; and whoever has one that counts is not turned
//! away, least of all for good.

use crate::facts::{Fact, Facts, Wrong, WrongOf};
use crate::property::Property;
use crate::report::{Tally, Violation};

const NAME: &str = "tokens-hold";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Whoever is connected has shown a token that counts by its gateway's clock, and whoever has one is let in.",
    evaluation: "tokens that were taken",
    exposure: "tokens that were replaced in time, had expired or were refused, and those that nobody may take",
    judge,
    conclude,
};

fn judge(_: &Fact, _: &Facts, _: &mut Tally) {}

fn conclude(facts: &Facts, tally: &mut Tally) {
    let tokens = facts.tokens();
    tally.evaluated += tokens.taken;
    tally.exposed += tokens.at_stake;
    for wrong in tokens.wrongs(facts.now) {
        tally.violate(|| violation(&wrong, facts));
    }
}

fn violation(WrongOf { t, device, gateway, wrong }: &WrongOf, facts: &Facts) -> Violation {
    let at = *t as f64 / 1e6;
    let message = match wrong {
        Wrong::Taken { flaw } => {
            format!(
                "At {at:.1} s gateway {gateway} took a token that it may not take: one that is {flaw}, shown by device {device}."
            )
        }
        Wrong::Served { expires_s } => format!(
            "At {at:.1} s gateway {gateway} still served device {device}, whose token expired at {expires_s} s and by its clock counts no longer."
        ),
        Wrong::NotReplaced { expires_s } => format!(
            "At {at:.1} s gateway {gateway} closed the connection of device {device}, whose token expired at {expires_s} s, and a newer one was to be had for long."
        ),
        Wrong::TurnedAway { expires_s } => format!(
            "At {at:.1} s gateway {gateway} turned device {device} away for its token, which expires at {expires_s} s and by its clock still counts."
        ),
        Wrong::GaveUp { times } => format!(
            "At {at:.1} s device {device} gave up, as if no gateway took its tokens, though it had been turned away {times} times since it was last connected."
        ),
        Wrong::NotBack => {
            format!(
                "Device {device} was turned away by gateway {gateway} at {at:.1} s for its token, and was never connected again."
            )
        }
    };
    Violation { t: *t, device: Some(*device), ..facts.at_large(NAME, message) }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    const SECOND: u64 = 1_000_000;
    const GATEWAY: u16 = 0;

    fn found(history: &History) -> (String, u64) {
        let report = history.audit().report(NAME);
        assert_eq!(report.verdict, Verdict::Violated, "{report:?}");
        (report.first.expect("a violated check has a first violation").message, report.violations)
    }

    fn passes(history: &History) -> u64 {
        let report = history.audit().report(NAME);
        assert_eq!(report.verdict, Verdict::Pass, "{report:?}");
        report.exposed
    }

    /// Device 1 is connected with a token that expires at 20 s, and there are no others.
    fn connected() -> History {
        let mut history = History::chat();
        history.no_tokens(0..u64::MAX);
        history.on_gateway(GATEWAY).lose(1, "reset").connect_until(1, 20);
        history
    }

    #[test]
    fn a_token_that_is_replaced_in_time_or_refused_when_it_counts_no_longer_passes() {
        let mut history = connected();
        history.wait(15 * SECOND).refreshed(1, 40).wait(90 * SECOND).token_refused(1, 40).connect_until(1, 160);
        assert_eq!(passes(&history), 2);
    }

    #[test]
    fn whoever_shows_no_newer_token_though_there_is_one_is_named() {
        let mut history = connected();
        history.no_tokens(0..0);
        history.wait(80 * SECOND).token_refused(1, 20).lose(1, "token expired").connect_until(1, 160);
        let (message, count) = found(&history);
        assert!(message.contains("to be had for long") && count == 1, "{message}");
        // Where there was none until shortly before, or something was the matter with its way, nobody wonders.
        let mut history = connected();
        history.no_tokens(10 * SECOND..40 * SECOND);
        history.wait(80 * SECOND).token_refused(1, 20).lose(1, "token expired").connect_until(1, 160);
        passes(&history);
        let mut history = connected();
        history.no_tokens(0..0);
        history.wait(60 * SECOND).fault("loss", true, &[1]).fault("loss", false, &[1]);
        history.wait(20 * SECOND).token_refused(1, 20).lose(1, "token expired").connect_until(1, 160);
        passes(&history);
    }

    #[test]
    fn whoever_is_turned_away_with_a_token_that_counts_is_named() {
        let mut history = connected();
        history.wait(15 * SECOND).refreshed(1, 140).wait(70 * SECOND).token_refused(1, 140).connect_until(1, 160);
        let (message, count) = found(&history);
        assert!(message.contains("still counts") && count == 1, "{message}");
        // A clock that is ahead excuses its gateway, for as long as it is.
        let mut history = connected();
        history.clock(GATEWAY, 200 * SECOND as i64).wait(SECOND).token_refused(1, 20).connect_until(1, 160);
        passes(&history);
        history.clock(GATEWAY, 0).wait(61 * SECOND).token_refused(1, 160).connect_until(1, 200);
        assert!(found(&history).0.contains("still counts"));
    }

    #[test]
    fn whoever_is_turned_away_for_good_is_named_and_whoever_is_put_away_is_not() {
        let mut history = connected();
        history.wait(90 * SECOND).token_refused(1, 20).lose(1, "closed for an expired token");
        passes(&history);
        history.wait(31 * SECOND).clock(GATEWAY, 0);
        assert!(found(&history).0.contains("never connected again"));
        history.put_away(1);
        passes(&history);
    }

    #[test]
    fn a_token_that_nobody_may_take_is_named_when_it_is_taken() {
        for flaw in
            ["forged", "of another algorithm", "under an unknown key", "another's", "expired", "not valid yet"]
        {
            let mut history = connected();
            let not_before = (flaw == "not valid yet").then_some(1_000);
            let expires = if flaw == "expired" { -1_000 } else { 2_000 };
            history.taken(9, flaw, (expires, not_before), 0);
            let (message, count) = found(&history);
            assert!(message.contains(flaw) && count == 1, "{message}");
        }
        // By a clock that is as far behind, or ahead, it is good.
        let mut history = connected();
        history.clock(GATEWAY, -1_000 * SECOND as i64).taken(9, "expired", (-1_000, None), 0);
        history.clock(GATEWAY, 1_000 * SECOND as i64).taken(9, "not valid yet", (2_000, Some(1_000)), 0);
        history.taken(9, "expiring", (1_000, None), 0);
        assert_eq!(passes(&history), 3);
    }

    #[test]
    fn whoever_is_served_long_after_their_token_counted_is_named() {
        let outstay = |from: u64| {
            let mut history = connected();
            history.wait(from * SECOND);
            for _ in 0..4 {
                history.taken(9, "outstayed", (0, None), 0).wait(SECOND);
            }
            history
        };
        passes(&outstay(65));
        let (message, count) = found(&outstay(72));
        assert!(message.contains("still served device 9") && count == 1, "{message}");
        // An honest one, whose sends are answered; one answer may be that of a gateway that has been paused.
        let mut history = connected();
        history.wait(100 * SECOND);
        history.send(1, 50).wait(SECOND).acked(1, 50, 3).log(50);
        passes(&history);
        for message in 51..54 {
            history.send(1, message).wait(SECOND).acked(1, message, message - 47).log(message);
        }
        let (message, _) = found(&history);
        assert!(message.contains("still served device 1"), "{message}");
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
