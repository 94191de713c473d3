//! **Invariant:** every entry that a member may see is displayed by every reachable device of that member; no device is
//! told to skip an entry that its user may see; and none is made to stop, after which it would be reached by nothing: nobody has a
//! device open twice here but who attacks.

use crate::facts::intervals::{self, Range};
use crate::facts::{Fact, Facts, mark};
use crate::property::{Property, nothing_more};
use crate::report::{Tally, Violation};
use squall_history::Via;
use squall_protocol::{Seq, UserId};

const NAME: &str = "no-loss";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Every entry that a member may see is shown on each of their reachable devices.",
    evaluation: "entries owed to reachable devices",
    exposure: "entries displayed from the page of a sync: the live path failed or the device was away",
    judge,
    conclude: nothing_more,
};

fn judge(fact: &Fact, facts: &Facts, tally: &mut Tally) {
    match fact {
        Fact::Shown(shown) if shown.via == Via::Page => tally.exposed += 1,
        Fact::ShutOut { device } => tally.violate(|| {
            let name = facts.name_device(*device);
            let message = format!(
                "Twice within a minute {name} was told that another connection has its place, which nobody else has open, and has stopped."
            );
            Violation { device: Some(facts.devices[*device].id), ..facts.at_large(NAME, message) }
        }),
        Fact::Device { device } => {
            if let Some(user) = facts.devices[*device].user() {
                judge_device(*device, user, facts, tally);
            }
        }
        _ => {}
    }
}

fn judge_device(device: u32, user: UserId, facts: &Facts, tally: &mut Tally) {
    let row = &facts.devices[device];
    for (conversation, owed) in facts.owed(user) {
        let pair = facts.pairs.find((row.id, conversation));
        let displayed = pair.map_or(Vec::new(), |pair| facts.displayed(pair));
        let skipped = pair.map_or(&[][..], |pair| facts.skipped(pair));
        if row.is(mark::REACHABLE) {
            tally.evaluated += intervals::count(&owed);
        }
        let missing = intervals::subtract(&owed, &displayed);
        // A device that is away is owed nothing yet, but what it was told to skip it will never ask for again.
        let missing = if row.is(mark::REACHABLE) { missing } else { common(&missing, skipped) };
        for range in missing {
            tally.violate_many(range.len(), || lost(device, conversation, range, skipped, facts));
        }
    }
}

fn common(a: &[Range], b: &[Range]) -> Vec<Range> {
    intervals::subtract(a, &intervals::subtract(a, b))
}

fn lost(device: u32, conversation: u32, range: Range, skipped: &[Range], facts: &Facts) -> Violation {
    let message = facts.at(conversation, range.from);
    let id = facts.conversations[conversation].id;
    let named = message.map_or("the entry".to_owned(), |message| facts.name(message));
    let seen =
        if intervals::contains(skipped, range.from) { "was told to skip it" } else { "has not displayed it" };
    let more = match range.len() {
        1 => String::new(),
        len => format!(" (nor the {} entries after it)", len - 1),
    };
    let sentence = format!(
        "{named} stands at seq {} of conversation {id} and should be shown on {}, which {seen}{more}.",
        range.from,
        facts.name_device(device),
    );
    let seq = Some(Seq(u64::from(range.from)));
    facts.violation(NAME, conversation, Some(device), seq, message, sentence)
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History};
    use squall_history::Via;

    #[test]
    fn a_history_in_which_everybody_saw_everything_passes() {
        let mut history = History::chat();
        history.send(1, 5).log(5).display_via(2, 5, 3, Via::Page).display(1, 5, 3);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 6, 1));
    }

    #[test]
    fn an_entry_that_a_device_never_displayed_is_named() {
        let mut history = History::chat();
        history.send(1, 5).log(5).display(1, 5, 3);
        let found = history.audit().violated(NAME, 5);
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(
            found.message.contains("seq 3") && found.message.contains("device 2 of user 2"),
            "{}",
            found.message
        );
    }

    #[test]
    fn an_author_is_no_exception_on_any_of_their_devices() {
        for (shown, lacking) in [(1, 4), (4, 1)] {
            let mut history = History::chat();
            history.device(4, 1).display(4, 1, 1).display(4, 2, 2);
            history.send(1, 5).acked(1, 5, 3).log(5).display(shown, 5, 3).display(2, 5, 3);
            let found = history.audit().violated(NAME, 5);
            assert_eq!(found.device.map(|device| device.0), Some(lacking));
        }
    }

    #[test]
    fn a_device_that_is_away_is_owed_nothing() {
        let mut history = History::chat();
        history.send(1, 5).log(5).display(1, 5, 3).away(2);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_skip_over_what_the_user_may_see_is_a_loss_even_on_a_device_that_is_away() {
        let mut history = History::chat();
        history.send(1, 5).log(5).display(1, 5, 3).skip(2, 3, 3).away(2);
        let found = history.audit().violated(NAME, 5);
        assert!(found.message.contains("told to skip"), "{}", found.message);
    }

    #[test]
    fn a_leaver_is_owed_nothing_after_leaving_and_a_newcomer_what_lies_shortly_before_the_join() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).log(5).display(1, 5, 3).display(2, 5, 3);
        history.send(1, 6).log(6).display(1, 6, 4);
        history.change(1, 7, Change::Joined(3)).log(7).display(1, 7, 5);
        for (id, seq) in [(1, 1), (2, 2), (5, 3), (6, 4), (7, 5)] {
            history.display_via(3, id, seq, Via::Page);
        }
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn a_device_that_never_heard_of_the_conversation_is_owed_all_of_it() {
        let mut history = History::chat();
        history.device(4, 2);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.violations), (Verdict::Violated, 2));
    }

    #[test]
    fn who_comes_into_a_channel_is_owed_to_them_and_to_its_creator_alone() {
        let shown_to = |devices: &[u64]| {
            let mut history = History::chat();
            history.channel_above(1).change(1, 5, Change::Joined(3)).log(5);
            for device in devices {
                history.display(*device, 5, 3);
            }
            if !devices.contains(&2) {
                history.skip(2, 3, 3);
            }
            for (id, seq) in [(1, 1), (2, 2)] {
                history.display_via(3, id, seq, Via::Page);
            }
            history.audit().report(NAME).verdict
        };
        assert_eq!(shown_to(&[1, 3]), Verdict::Pass);
        assert_eq!(shown_to(&[1, 2, 3]), Verdict::Pass, "it is no secret");
        assert_eq!([shown_to(&[1]), shown_to(&[3])], [Verdict::Violated; 2]);
    }

    #[test]
    fn a_device_that_was_made_to_stop_is_named_unless_its_user_attacks() {
        let mut history = History::chat();
        history.send(1, 5).log(5).display(1, 5, 3).lose(2, "open elsewhere").away(2);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.violations), (Verdict::Violated, 1));
        assert!(report.first.is_some_and(|first| first.message.contains("device 2 of user 2 was told")));
        let mut history = History::chat();
        history.insider(9, 2).send(1, 5).log(5).display(1, 5, 3).lose(2, "open elsewhere").away(2);
        assert_eq!(history.audit().report(NAME).verdict, Verdict::Pass);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
