//! **Invariant:** no device asks for the same place of a conversation again and again: what the server says of how far a log goes, its pages
//! bring.
//!
//! A device that is told of what it may not see, or of what is not there, asks for ever. It lacks nothing, so that nothing else sees
//! it, and it costs a shard a page at each time.

use crate::facts::{Fact, Facts, Vain};
use crate::property::Property;
use crate::report::{Tally, Violation};
use squall_protocol::Seq;

const NAME: &str = "no-vain-syncs";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "No connected device, unharmed, asks for the same place again and again.",
    evaluation: "syncs and connections",
    exposure: "syncs that asked for the same place as the one before",
    judge: |_: &Fact, _: &Facts, _: &mut Tally| {},
    conclude,
};

fn conclude(facts: &Facts, tally: &mut Tally) {
    tally.evaluated += facts.syncs.evaluated;
    tally.exposed += facts.syncs.again;
    for vain in &facts.syncs.vain {
        tally.violate(|| asked_in_vain(vain, facts));
    }
}

fn asked_in_vain(vain: &Vain, facts: &Facts) -> Violation {
    let row = &facts.pairs[vain.pair];
    let since = Seq(u64::from(vain.since));
    let sentence = format!(
        "{} asked {} times within {:.1} s for what follows seq {since} in conversation {}, on a way that nothing had harmed, and was shown nothing.",
        facts.name_device(row.device),
        vain.times,
        (vain.t - vain.from) as f64 / 1e6,
        facts.conversations[row.conversation].id,
    );
    let mut found = facts.violation(NAME, row.conversation, Some(row.device), Some(since), None, sentence);
    found.t = vain.t;
    found
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::testing::History;
    use crate::{Verdict, Violation};
    use squall_history::Harm;
    use squall_protocol::limits;

    const HEALED: u64 = limits::prompt_bound().as_micros() as u64;

    fn chat() -> History {
        let mut history = History::chat();
        history.undisturbed();
        history
    }

    /// Device 2 asks for the same place so many times, and is answered each time, with nothing.
    fn asks(history: &mut History, times: u32) -> &mut History {
        for _ in 0..times {
            history.sync(2, 2).arrive(2, &[], (3, 2)).wait(300_000);
        }
        history
    }

    fn found(history: &History) -> Option<Violation> {
        history.audit().report(NAME).first
    }

    #[test]
    fn a_device_that_asks_for_one_place_again_and_again_is_named() {
        let found = found(asks(&mut chat(), 5)).expect("a violation");
        assert_eq!(found.device.map(|device| device.0), Some(2));
        assert!(found.message.contains("asked 5 times within 1.2 s for what follows seq 2"), "{}", found.message);
    }

    #[test]
    fn asking_a_few_times_passes_and_is_the_exposure() {
        let report = asks(&mut chat(), 4).audit().report(NAME);
        assert_eq!((report.verdict, report.evaluated, report.exposed), (Verdict::Pass, 3 + 4, 3));
    }

    #[test]
    fn whoever_is_shown_something_in_between_asks_for_something_else() {
        let mut history = chat();
        asks(&mut history, 4).send(1, 5).acked(1, 5, 3).log(5).display(1, 5, 3).display(2, 5, 3);
        history.sync(2, 3).arrive(2, &[], (4, 3));
        assert_eq!(found(asks(&mut history, 3)), None);
        let mut skipped = chat();
        asks(&mut skipped, 4).skip(2, 3, 3).sync(2, 3);
        assert_eq!(found(&skipped), None);
    }

    #[test]
    fn another_connection_and_a_slow_path_begin_anew() {
        let mut returned = chat();
        asks(&mut returned, 4).leave(2).connect(2);
        assert_eq!(found(asks(&mut returned, 4)), None);
        let mut slow = chat();
        asks(&mut slow, 3).slowed(2, 400_000).wait(500_000);
        assert_eq!(found(asks(&mut slow, 4)), None);
    }

    #[test]
    fn questions_on_a_connection_over_which_nothing_comes_count_once() {
        let mut history = chat();
        for _ in 0..9 {
            history.sync(2, 2).wait(5_000_000);
        }
        assert_eq!(found(&history), None);
    }

    #[test]
    fn a_fault_on_the_way_is_an_excuse_until_long_after_its_end() {
        let mut history = chat();
        history.fault("cut", true, &[2]);
        assert_eq!(found(asks(&mut history, 9)), None);
        history.fault("cut", false, &[2]);
        assert_eq!(found(asks(&mut history, 9)), None);
        history.wait(HEALED);
        assert!(found(asks(&mut history, 9)).is_some());
        let mut of_others = chat();
        of_others.fault("cut", true, &[1]);
        assert!(found(asks(&mut of_others, 5)).is_some());
        let mut of_frames = chat();
        of_frames.fault_of("twice", true, Harm { connections: true, ..Harm::default() });
        assert_eq!(found(asks(&mut of_frames, 5)), None);
    }

    #[test]
    fn an_attacker_asks_for_what_it_likes() {
        let mut history = chat();
        history.insider(2, 2);
        assert_eq!(found(asks(&mut history, 9)), None);
    }

    #[test]
    fn an_empty_history_is_inconclusive() {
        assert_eq!(History::empty().audit().report(NAME).verdict, Verdict::Inconclusive);
    }
}
