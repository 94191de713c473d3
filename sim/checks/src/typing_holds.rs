//! **Invariant:** nobody is shown as writing who did not say so a short while ago, to nobody but whoever is a member with them, more often than
//! once a second, for longer than a few seconds after the last time, or beside the message itself; and of what is said between two whom nothing
//! harms most comes.

use crate::facts::{Fact, Facts, Ghost, WrongTyping};
use crate::property::Property;
use crate::report::{Tally, Violation};

const NAME: &str = "typing-holds";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Whoever is shown as writing said so a short while ago, is shown for a few seconds and to fellow members only; and most of what nothing harms is shown.",
    evaluation: "connections of devices, and times that one was told that somebody is writing",
    exposure: "times that a device was told that somebody is writing",
    judge,
    conclude,
};

fn judge(_: &Fact, _: &Facts, _: &mut Tally) {}

fn conclude(facts: &Facts, tally: &mut Tally) {
    let typing = facts.typing();
    tally.evaluated += typing.connections + typing.times;
    tally.exposed += typing.times;
    for wrong in facts.wrong_typing() {
        tally.violate(|| violation(&wrong, facts));
    }
    if facts.typing_is_lost() {
        let sentence = format!(
            "Of {} times that somebody said that they were writing to one other person, and nothing harmed either or the way between, {} came.",
            typing.expected, typing.came
        );
        tally.violate(|| facts.at_large(NAME, sentence));
    }
}

fn violation(wrong: &WrongTyping, facts: &Facts) -> Violation {
    let WrongTyping { t, device, conversation, author, ghost } = *wrong;
    let (at, s) = (t as f64 / 1e6, |us: u64| us as f64 / 1e6);
    let told = format!(
        "At {at:.1} s device {device} was told that user {author} is writing in conversation {conversation}"
    );
    let message = match ghost {
        Ghost::Own => format!("{told}, who is its own user."),
        Ghost::Unsaid => format!("{told}, and no device of theirs had said so."),
        Ghost::Stale(age) => format!("{told}; they last said so {:.1} s before.", s(age)),
        Ghost::TooOften => format!("{told}, and far more often than once a second by then."),
        Ghost::Stranger(user) => {
            format!("{told}, of which user {user} was no member then, nor had been a short while ago.")
        }
        Ghost::Blocked => format!("{told}, in which one of the two had long blocked the other."),
        Ghost::Lasting(lasted) => format!(
            "At {at:.1} s device {device} still showed user {author} as writing in conversation {conversation}, {:.1} s after it was last told so.",
            s(lasted)
        ),
        Ghost::AfterItsMessage => format!(
            "At {at:.1} s device {device} still showed user {author} as writing in conversation {conversation}, whose message it had displayed."
        ),
        Ghost::CutShort(lasted) => format!(
            "At {at:.1} s device {device} showed user {author} as writing in conversation {conversation} no more, {:.1} s after it was told so, and no message of theirs had come.",
            s(lasted)
        ),
    };
    let (device, user, conversation) = (Some(device), Some(author), Some(conversation));
    Violation { t, device, user, conversation, ..facts.at_large(NAME, message) }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{CONVERSATION, Change, History};
    use squall_history::Harm;
    use squall_protocol::{ConversationId, UserId, limits};

    const SECOND: u64 = 1_000_000;
    const SHOWN_FOR: u64 = limits::TYPING_SHOWN_FOR.as_micros() as u64;
    /// Soon after this somebody is shown no more, with the second that a device's timer is given.
    const ENDS: u64 = SHOWN_FOR - SECOND;
    const LEASE: u64 = limits::prompt_bound().as_micros() as u64;
    const PAIR: ConversationId = ConversationId::direct(UserId(1), UserId(2));

    fn found(history: &History) -> String {
        let report = history.audit().report(NAME);
        assert_eq!(report.verdict, Verdict::Violated, "{report:?}");
        report.first.expect("a violated check has a first violation").message
    }

    fn passes(history: &History) -> u64 {
        let report = history.audit().report(NAME);
        assert_eq!(report.verdict, Verdict::Pass, "{report:?}");
        report.exposed
    }

    /// Device 1 says that user 1 is writing, and device 2 shows it.
    fn told() -> History {
        let mut history = History::chat();
        history.typing(1, CONVERSATION).typing_shown(2, CONVERSATION, 1);
        history
    }

    #[test]
    fn whoever_is_shown_until_the_time_is_over_or_the_message_is_there_passes() {
        let mut history = told();
        history.wait(3 * SECOND).typing(1, CONVERSATION).typing_shown(2, CONVERSATION, 1);
        history.wait(SHOWN_FOR).typing_over(2, CONVERSATION, 1);
        history.wait(SECOND).typing(1, CONVERSATION).typing_shown(2, CONVERSATION, 1);
        history.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).display(2, 5, 3).typing_over(2, CONVERSATION, 1);
        assert_eq!(passes(history.wait(60 * SECOND)), 3);
    }

    #[test]
    fn whoever_is_shown_for_longer_is_named() {
        let mut never = told();
        never.wait(SHOWN_FOR + 2 * SECOND).fault("x", true, &[]);
        let mut late = told();
        late.wait(SHOWN_FOR + 2 * SECOND).typing_over(2, CONVERSATION, 1);
        for history in [never, late] {
            assert!(found(&history).contains("after it was last told so"));
        }
        let mut beside = told();
        beside.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).display(2, 5, 3);
        beside.wait(2 * SECOND).typing_over(2, CONVERSATION, 1);
        assert!(found(&beside).contains("whose message it had displayed"));
    }

    #[test]
    fn whoever_said_nothing_or_long_ago_is_named() {
        let mut history = History::chat();
        history.typing(2, CONVERSATION).typing_shown(2, CONVERSATION, 1);
        assert!(found(&history).contains("had said so"));
        for (excuse, is_named) in [(None, true), (Some(Harm { hosts: vec![3], ..Harm::default() }), false)] {
            let mut history = History::chat();
            history.typing(1, CONVERSATION).wait(SECOND);
            if let Some(harm) = excuse {
                history.fault_of("x", true, harm);
            }
            history.wait(25 * SECOND).typing_shown(2, CONVERSATION, 1).wait(ENDS).typing_over(2, CONVERSATION, 1);
            match is_named {
                true => assert!(found(&history).contains("last said so 26.0 s before")),
                false => assert_eq!(passes(&history), 1),
            }
        }
    }

    #[test]
    fn nobody_is_shown_to_themselves_or_more_often_than_once_a_second() {
        let mut history = told();
        history.typing_shown(1, CONVERSATION, 1);
        assert!(found(&history).contains("its own user"));
        let often = |times: u64, every: u64| {
            let mut history = History::chat();
            history.wait(60 * SECOND);
            for _ in 0..times {
                history.typing(1, CONVERSATION).typing_shown(2, CONVERSATION, 1).wait(every);
            }
            history.wait(ENDS).typing_over(2, CONVERSATION, 1);
            history
        };
        assert!(found(&often(12, SECOND / 2)).contains("more often"));
        // What was held up for a moment comes together.
        assert_eq!(passes(&often(4, SECOND / 10)), 4);
        assert_eq!(passes(&often(30, SECOND)), 30);
    }

    #[test]
    fn what_ends_before_its_time_without_a_message_is_named_but_on_a_device_that_is_put_away() {
        let mut history = told();
        history.wait(2 * SECOND).typing_over(2, CONVERSATION, 1);
        assert!(found(&history).contains("no message of theirs had come"));
        let mut elsewhere = told();
        elsewhere.send(1, 5).acked(1, 5, 3).log(5).display(3, 5, 3).wait(2 * SECOND).typing_over(
            2,
            CONVERSATION,
            1,
        );
        assert!(found(&elsewhere).contains("no message of theirs had come"));
        let mut written = told();
        written.send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).display(2, 5, 3).typing_over(2, CONVERSATION, 1);
        passes(&written);
    }

    #[test]
    fn whoever_has_left_is_shown_nobody_but_for_a_short_while() {
        for (after, is_named) in [(LEASE / 2, false), (LEASE + 5 * SECOND, true)] {
            let mut history = History::chat();
            history
                .change(1, 5, Change::Left(2))
                .acked(1, 5, 3)
                .log(5)
                .display(1, 5, 3)
                .display(2, 5, 3)
                .wait(after);
            history.typing(1, CONVERSATION).typing_shown(2, CONVERSATION, 1).wait(ENDS).typing_over(
                2,
                CONVERSATION,
                1,
            );
            match is_named {
                true => assert!(found(&history).contains("user 2 was no member")),
                false => assert_eq!(passes(&history), 1),
            }
        }
        let mut history = told();
        history.typing_shown(3, CONVERSATION, 1).wait(ENDS).typing_over(3, CONVERSATION, 1).typing_over(
            2,
            CONVERSATION,
            1,
        );
        assert!(found(&history).contains("user 3 was no member"));
        let mut history = told();
        history.typing(1, PAIR).typing_shown(3, PAIR, 1);
        assert!(found(&history).contains("user 3 was no member"));
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
