//! **Invariant:** every copy of an entry, on every wire and on disk, names the same author's device, number and time.

use crate::facts::Facts;
use crate::property::Property;
use crate::report::Tally;

const NAME: &str = "same-stamps";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "Every copy of a message, on the wire and on disk, has the same author's device, number and time.",
    evaluation: "copies compared with an earlier one",
    exposure: "entries on disk among them",
    judge: |_, _, _| {},
    conclude,
};

fn conclude(facts: &Facts, tally: &mut Tally) {
    tally.evaluated += facts.arrivals.stamps;
    tally.exposed += facts.arrivals.stamps_on_disk;
    for wrong in &facts.arrivals.wrong_stamps {
        tally.violate(|| {
            let place = match wrong.device {
                Some(device) => format!("reached {}", facts.name_device(device)),
                None => "stands in the log".to_owned(),
            };
            let sentence = format!("{} {place} with {}.", facts.name(wrong.message), wrong.what);
            let (seq, message) = (Some(wrong.seq), Some(wrong.message));
            let mut found = facts.violation(NAME, wrong.conversation, wrong.device, seq, message, sentence);
            found.t = wrong.t;
            found
        });
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    #[test]
    fn copies_that_agree_pass_and_those_on_disk_are_the_exposure() {
        let mut history = History::chat();
        history.arrive(2, &[1], (1, 1)).arrive(2, &[1], (1, 1));
        let report = history.audit().report(NAME);
        assert_eq!((report.verdict, report.exposed), (Verdict::Pass, 2));
    }

    #[test]
    fn a_copy_with_another_time_is_named() {
        let mut history = History::chat();
        history.arrive(2, &[1], (1, 1)).arrive_restamped(2, 1);
        history.audit().violated(NAME, 1);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
