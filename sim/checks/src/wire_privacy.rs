//! **Invariant:** no entry reaches a device whose user may not see it, displayed or not; and a span that speaks for a place holds
//! the entry there if the user may see it, and it is owed to them: who comes and goes in a channel is to those of whom it speaks. Entries are visible by their place in the log: a leave that races a delivery is no
//! excuse.

use crate::facts::{Astray, Facts};
use crate::property::Property;
use crate::report::Tally;
use squall_protocol::Seq;

const NAME: &str = "wire-privacy";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "What reaches a device is what its user may see, and all of it that it speaks for.",
    evaluation: "entries that reached a device",
    exposure: "entries that were not displayed as they came: copies, and what came ahead",
    judge: |_, _, _| {},
    conclude,
};

fn conclude(facts: &Facts, tally: &mut Tally) {
    tally.evaluated += facts.arrivals.entries;
    tally.exposed += facts.arrivals.aside;
    for (pair, range, astray) in facts.astray() {
        tally.violate_many(range.len(), || {
            let row = &facts.pairs[pair];
            let message = facts.at(row.conversation, range.from);
            let named = message.map_or("an entry".to_owned(), |message| facts.name(message));
            let (device, id) = (facts.name_device(row.device), facts.conversations[row.conversation].id);
            let from = range.from;
            let sentence = match astray {
                Astray::Told => format!(
                    "{named} at seq {from} of conversation {id} reached {device}, whose user may not see it; it was not displayed."
                ),
                Astray::Withheld => format!(
                    "A span that spoke for seq {from} of conversation {id} reached {device} without {named}, which its user may see."
                ),
            };
            let seq = Some(Seq(u64::from(from)));
            facts.violation(NAME, row.conversation, Some(row.device), seq, message, sentence)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::{Change, History};

    #[test]
    fn copies_and_what_comes_ahead_of_a_member_pass() {
        let mut history = History::chat();
        history.arrive(2, &[1], (1, 1)).send(1, 5).log(5).send(1, 6).log(6).arrive(2, &[6], (4, 4));
        history.display(1, 5, 3).display(1, 6, 4).display(2, 5, 3).display(2, 6, 4);
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 2, 1));
    }

    #[test]
    fn what_reaches_a_leaver_and_is_held_back_is_named() {
        let mut history = History::chat();
        history.change(1, 5, Change::Left(2)).log(5).display(1, 5, 3);
        history.send(1, 6).log(6).display(1, 6, 4).arrive(2, &[6], (4, 4));
        let found = history.audit().violated(NAME, 6);
        assert!(found.message.contains("may not see"), "{}", found.message);
    }

    #[test]
    fn a_span_that_leaves_out_what_its_user_may_see_is_named() {
        let mut history = History::chat();
        history.arrive(2, &[1], (1, 2));
        let found = history.audit().violated(NAME, 2);
        assert!(found.message.contains("without"), "{}", found.message);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
