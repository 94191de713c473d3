//! **Invariant:** what devices are told of how far somebody has come is what that person's own devices have said and a disk holds; it never goes
//! back, is told to members only, and agrees at the end: devices with the disk, and the devices of one user with each other.

use crate::facts::{Fact, Facts, NONE, WrongAbout, WrongReceipt};
use crate::property::Property;
use crate::report::{Tally, Violation};
use squall_protocol::Seq;

const NAME: &str = "receipts-hold";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "What is told of who has come how far was said by their own devices, is on disk, never goes back, stays among members and agrees in the end.",
    evaluation: "receipts that devices were told, cursors on disks, and counts of what is unread",
    exposure: "receipts told to devices that had connected again, or by shards that had restarted",
    judge,
    conclude,
};

fn judge(_: &Fact, _: &Facts, _: &mut Tally) {}

fn conclude(facts: &Facts, tally: &mut Tally) {
    let receipts = &facts.receipts;
    tally.evaluated += receipts.judged;
    tally.exposed += receipts.exposed;
    let (at_the_end, judged) = facts.wrong_receipts();
    tally.evaluated += judged;
    for wrong in receipts.wrong.iter().chain(&at_the_end) {
        tally.violate(|| violation(wrong, facts));
    }
}

fn violation(wrong: &WrongReceipt, facts: &Facts) -> Violation {
    let WrongReceipt { t, conversation, device, user, at, what } = *wrong;
    let id = facts.conversations[conversation].id;
    let told = match device {
        NONE => "The disk says".to_owned(),
        device => format!("{} was told", facts.name_device(device)),
    };
    let place = Seq(u64::from(at));
    let come = format!("{told} that user {user} has come to seq {place} of conversation {id}");
    let sentence = match what {
        WrongAbout::Unsaid { said } => format!("{come}, but no device of theirs had said more than seq {said}."),
        WrongAbout::ReadAhead { delivered } => {
            format!(
                "{told} that user {user} has read up to seq {place} of conversation {id}, of which only seq {delivered} had been delivered."
            )
        }
        WrongAbout::NotDurable { stored } => format!("{come} when the disk said seq {stored}."),
        WrongAbout::WentBack { before } => format!("{come}, after it had known of seq {before}."),
        WrongAbout::TooManyNamed { named } => {
            format!("{told} of {named} members of conversation {id} by name at once.")
        }
        WrongAbout::Miscounted { counted, said } => format!(
            "{told} that {counted} members have come to seq {place} of conversation {id}, and {said} have said so."
        ),
        WrongAbout::ToStranger { since_ms: None } => {
            format!("{told} of receipts in conversation {id}, of which user {user} was never a member.")
        }
        WrongAbout::ToStranger { since_ms: Some(since) } => format!(
            "{told} of receipts in conversation {id} {:.1} s after user {user} had left it.",
            since as f64 / 1e3
        ),
        WrongAbout::Forgotten { said, read } => {
            let verb = if read { "read" } else { "shown" };
            format!(
                "User {user} has {verb} conversation {id} up to seq {said} and said so, and in the end the disk says seq {place}."
            )
        }
        WrongAbout::Unheard { stored, read } => {
            let verb = if read { "read" } else { "been shown" };
            format!(
                "In the end {} knows that user {user} has {verb} conversation {id} up to seq {place}, and the disk says seq {stored}.",
                facts.name_device(device)
            )
        }
        WrongAbout::Overcounted { counted, written } => format!(
            "In the end {} counts {counted} unread messages of conversation {id} beyond seq {}, and others have written {written} there.",
            facts.name_device(device),
            place,
        ),
        WrongAbout::Unread { one, other } => format!(
            "In the end {} counts {other} unread messages of conversation {id}, and another device of user {user} counts {one}.",
            facts.name_device(device)
        ),
    };
    let device = (device != NONE).then_some(device);
    let message = facts.at(conversation, at);
    let mut found = facts.violation(NAME, conversation, device, Some(place), message, sentence);
    (found.t, found.user) = (t, Some(user));
    found
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::Verdict;
    use crate::testing::History;

    const LATER: u64 = 60_000_000;

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

    /// Device 2 has shown and read both messages, the disk has it, and device 1 was told.
    fn read() -> History {
        let mut history = History::chat();
        history.wait(6_000_000).ack(2, 2).read(2, 2).cursors_moved(2, 2, 2).told(1, 2, 2, 2);
        history
    }

    #[test]
    fn what_was_said_stored_and_told_passes() {
        let mut history = read();
        history.wait(LATER).counts_unread(1, 0, 0).counts_unread(2, 2, 0);
        assert_eq!(passes(&history), 0);
        history.connect(1).told(1, 2, 2, 2);
        assert_eq!(passes(&history), 1);
    }

    #[test]
    fn what_nobody_has_said_or_no_disk_holds_is_named() {
        let mut history = History::chat();
        history.ack(2, 1).read(2, 1).cursors_moved(2, 2, 0);
        assert!(found(&history).contains("no device of theirs had said more than seq 1"));
        let mut history = History::chat();
        history.ack(2, 2).read(2, 2).cursors_moved(2, 2, 1).told(1, 2, 2, 2);
        assert!(found(&history).contains("when the disk said seq 1"));
        let mut history = History::chat();
        history.read(2, 2).cursors_moved(2, 1, 2);
        assert!(found(&history).contains("only seq 1 had been delivered"));
    }

    #[test]
    fn what_goes_back_is_named() {
        let mut history = read();
        history.told(1, 2, 2, 1);
        assert!(found(&history).contains("after it had known of seq 2"));
    }

    #[test]
    fn whoever_is_no_member_is_told_nothing() {
        let mut history = read();
        history.told(3, 2, 2, 2);
        assert!(found(&history).contains("was never a member"));
    }

    #[test]
    fn what_is_read_and_forgotten_or_not_heard_in_the_end_is_named() {
        let mut history = History::chat();
        history
            .connect(1)
            .wait(6_000_000)
            .ack(2, 2)
            .read(2, 2)
            .cursors_moved(2, 2, 1)
            .told(1, 2, 2, 1)
            .wait(LATER)
            .counts_unread(1, 0, 0);
        assert!(found(&history).contains("in the end the disk says seq 1"));
        let mut history = History::chat();
        history
            .connect(1)
            .wait(6_000_000)
            .ack(2, 2)
            .read(2, 2)
            .cursors_moved(2, 2, 2)
            .told(1, 2, 2, 1)
            .wait(LATER)
            .counts_unread(1, 0, 0);
        assert!(found(&history).contains("and the disk says seq 2"));
    }

    #[test]
    fn where_no_disk_is_read_what_was_told_is_the_word_for_it() {
        let said = || {
            let mut history = History::chat();
            history.without_disks().connect(1).connect(2).wait(6_000_000).ack(2, 2).read(2, 2);
            history
        };
        let mut history = said();
        history.told(1, 2, 2, 2).wait(LATER).told(1, 2, 2, 2).counts_unread(1, 0, 0);
        passes(&history);
        // Told long after it was said, and less.
        let mut history = said();
        history.told(1, 2, 2, 1).wait(LATER).told(1, 2, 2, 1).counts_unread(1, 0, 0);
        assert!(found(&history).contains("in the end the disk says seq 1"));
        // Another device was told more before this one connected.
        let mut history = said();
        history.told(2, 2, 2, 2).wait(LATER).connect(1).wait(LATER).counts_unread(1, 0, 0);
        assert!(found(&history).contains("and the disk says seq 2"));
        let mut history = said();
        history.told(2, 2, 2, 2).wait(LATER).counts_unread(1, 0, 0);
        passes(&history);
        // What nobody has said is seen as ever.
        let mut history = History::chat();
        history.without_disks().ack(2, 1).read(2, 1).told(1, 2, 2, 1);
        assert!(found(&history).contains("no device of theirs had said more than seq 1"));
    }

    #[test]
    fn devices_of_one_user_that_count_differently_are_named() {
        let mut history = read();
        history
            .wait(1_000_000)
            .device(22, 2)
            .connect(2)
            .connect(22)
            .display(22, 1, 1)
            .display(22, 2, 2)
            .wait(LATER);
        history.counts_unread(2, 2, 0).counts_unread(22, 0, 1);
        assert!(found(&history).contains("another device of user 2 counts 0"));
    }

    #[test]
    fn a_device_that_counts_more_than_others_have_written_is_named() {
        let mut history = read();
        history.wait(LATER).counts_unread(2, 2, 1);
        assert!(
            found(&history).contains("counts 1 unread messages") && found(&history).contains("have written 0")
        );
    }

    #[test]
    fn more_than_have_said_so_are_not_counted() {
        let mut history = read();
        history.told_counts(1, 2, 1, 1);
        passes(&history);
        history.told_counts(1, 2, 2, 1);
        assert!(found(&history).contains("and 1 have said so"));
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
