//! The search for the fault that was necessary: which sets of faults are tried, in which order, and when enough is known of each.
//!
//! It knows no run. A *replay* is one run of the scenario with some of its faults under one salt of the network, and all that is asked of
//! it is whether it violates the property. The same salts are tried for every set, so that sets differ by their faults alone.
//!
//! **Invariant:** nothing is called necessary or sufficient of which fewer than [`REPLAYS`] replays were seen; a set that can no longer
//! be either is left as soon as that is known.

use std::collections::BTreeMap;

/// Replays that a claim rests on.
pub const REPLAYS: u32 = 10;
/// Of these so many, in a hundred, are violated at least where the faults that are there suffice.
const SUFFICES_PERCENT: u32 = 80;
/// And at most so many where one that is needed is not there.
const WITHOUT_PERCENT: u32 = 10;
/// Replays that are asked for at once. Whatever the number of processes: how many are seen must not depend on it.
const AT_ONCE: u32 = 2;

/// Some of the faults of a scenario, by their places in it, in order.
pub type Faults = Vec<usize>;

/// Runs replays.
pub trait Replays {
    /// Why no more can be run.
    type Stop;

    /// Whether the property is violated with these faults under each of these salts.
    fn run(&mut self, faults: &[usize], salts: &[u64]) -> Result<Vec<bool>, Self::Stop>;
}

/// What the replays of a set came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub violated: u32,
    pub of: u32,
}

impl Tally {
    /// Whether these faults suffice, where that is known.
    fn suffices(self) -> Option<bool> {
        if (self.of - self.violated) * 100 > (100 - SUFFICES_PERCENT) * REPLAYS {
            return Some(false);
        }
        (self.of >= REPLAYS).then_some(true)
    }

    /// Whether something that is needed is missing, where that is known.
    fn lacks(self) -> Option<bool> {
        if self.violated * 100 > WITHOUT_PERCENT * REPLAYS {
            return Some(false);
        }
        (self.of >= REPLAYS).then_some(true)
    }

    pub fn share(self) -> f64 {
        f64::from(self.violated) / f64::from(self.of.max(1))
    }
}

/// What the search has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is violated without any fault.
    NeedsNone,
    /// Under other salts it is too seldom violated to say what it needs.
    NotReproducible,
    /// Without any of these it is not violated; with the least set that suffices it is, and they are in it.
    Necessary { necessary: Faults, least: Faults },
    /// There is none without which it is not violated; these together suffice, and none of them can be left out of them.
    Together(Faults),
    /// The search was ended before anything could be said.
    Unknown,
}

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub answer: Answer,
    /// By the faults that were there.
    pub tallies: BTreeMap<Faults, Tally>,
    /// What was not tried, in words; empty where everything was.
    pub untried: Vec<String>,
}

/// Seeks which of `names` was necessary.
///
/// It ends without an error when no more can be run: what was found until then stands, and the reason is given.
pub fn search<R: Replays>(names: &[String], replays: &mut R) -> (Findings, Option<R::Stop>) {
    let mut search = Search { names, replays, tallies: BTreeMap::new(), necessary: Vec::new(), best: None };
    let (answer, stop, untried) = match search.answer() {
        Ok(answer) => (answer, None, Vec::new()),
        Err((stop, untried)) => (search.so_far(), Some(stop), untried),
    };
    (Findings { answer, tallies: search.tallies, untried }, stop)
}

struct Search<'a, R> {
    names: &'a [String],
    replays: &'a mut R,
    tallies: BTreeMap<Faults, Tally>,
    /// Those without which it is not violated.
    necessary: Faults,
    /// The least set so far that suffices.
    best: Option<Faults>,
}

/// The reason for the end, and what was left to try.
type Ended<S> = (S, Vec<String>);

impl<R: Replays> Search<'_, R> {
    fn answer(&mut self) -> Result<Answer, Ended<R::Stop>> {
        let all: Faults = (0..self.names.len()).collect();
        let rest = |what: &str| vec![what.to_owned()];
        // All of them: how often it is reproduced is an answer.
        let as_it_ran = self
            .ask(&all, |tally| (tally.of >= REPLAYS).then_some(true))
            .map_err(|stop| (stop, rest("anything")))?;
        debug_assert!(as_it_ran);
        if self.tallies[&all].suffices() != Some(true) {
            return Ok(Answer::NotReproducible);
        }
        self.best = Some(all.clone());
        if all.is_empty() || self.suffices(&[]).map_err(|stop| (stop, rest("leaving out faults")))? {
            return Ok(Answer::NeedsNone);
        }
        for &fault in &all {
            let without: Faults = all.iter().copied().filter(|other| *other != fault).collect();
            let lacks = self.ask(&without, Tally::lacks).map_err(|stop| {
                let untried = self.names[fault..].iter().map(|name| format!("leaving out {name:?}"));
                (stop, untried.collect())
            })?;
            if lacks {
                self.necessary.push(fault);
            }
        }
        self.shrink(all).map_err(|stop| (stop, rest("whether fewer faults suffice")))?;
        Ok(self.so_far())
    }

    /// Takes out faults, in halves, quarters and so on, while what is left suffices. Those that are necessary stay.
    fn shrink(&mut self, all: Faults) -> Result<(), R::Stop> {
        let mut least = all;
        if !self.necessary.is_empty() && self.suffices(&self.necessary.clone())? {
            self.best = Some(self.necessary.clone());
            return Ok(());
        }
        let mut size = least.len().div_ceil(2);
        while size > 0 {
            let free: Faults = least.iter().copied().filter(|fault| !self.necessary.contains(fault)).collect();
            let mut smaller = None;
            for out in free.chunks(size) {
                let rest: Faults = least.iter().copied().filter(|fault| !out.contains(fault)).collect();
                if rest.len() < least.len() && !rest.is_empty() && self.suffices(&rest)? {
                    smaller = Some(rest);
                    break;
                }
            }
            match smaller {
                Some(rest) => {
                    self.best = Some(rest.clone());
                    least = rest;
                }
                None if size == 1 => break,
                None => size = size.div_ceil(2).min(size - 1),
            }
        }
        Ok(())
    }

    /// What can be said by now.
    fn so_far(&self) -> Answer {
        let Some(least) = self.best.clone() else { return Answer::Unknown };
        match (self.necessary.is_empty(), least.len() < self.names.len()) {
            (false, _) => Answer::Necessary { necessary: self.necessary.clone(), least },
            (true, true) => Answer::Together(least),
            // Nothing was left out yet, or all are needed only together with each other's likes.
            (true, false) if self.has_tried_all() => Answer::Together(least),
            (true, false) => Answer::Unknown,
        }
    }

    /// Whether each fault has been left out.
    fn has_tried_all(&self) -> bool {
        (0..self.names.len()).all(|fault| {
            let without: Faults = (0..self.names.len()).filter(|other| *other != fault).collect();
            self.tallies.get(&without).is_some_and(|tally| tally.lacks().is_some())
        })
    }

    fn suffices(&mut self, faults: &[usize]) -> Result<bool, R::Stop> {
        self.ask(faults, Tally::suffices)
    }

    /// Replays a set until the question is answered.
    fn ask(&mut self, faults: &[usize], question: impl Fn(Tally) -> Option<bool>) -> Result<bool, R::Stop> {
        loop {
            let tally = self.tallies.get(faults).copied().unwrap_or_default();
            if let Some(answer) = question(tally) {
                return Ok(answer);
            }
            let salts: Vec<u64> = (tally.of + 1..=(tally.of + AT_ONCE).min(REPLAYS)).map(u64::from).collect();
            let seen = self.replays.run(faults, &salts)?;
            let tally = self.tallies.entry(faults.to_vec()).or_default();
            tally.of += seen.len() as u32;
            tally.violated += seen.iter().filter(|violated| **violated).count() as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A world in which a replay is violated as this says.
    struct World<F> {
        violated: F,
        /// Replays until the time is up.
        left: u32,
        seen: u32,
    }

    impl<F: Fn(&[usize], u64) -> bool> Replays for World<F> {
        type Stop = &'static str;

        fn run(&mut self, faults: &[usize], salts: &[u64]) -> Result<Vec<bool>, &'static str> {
            self.left = self.left.checked_sub(salts.len() as u32).ok_or("the time is up")?;
            self.seen += salts.len() as u32;
            Ok(salts.iter().map(|salt| (self.violated)(faults, *salt)).collect())
        }
    }

    fn names(faults: usize) -> Vec<String> {
        (0..faults).map(|fault| format!("fault {fault}")).collect()
    }

    fn found(faults: usize, violated: impl Fn(&[usize], u64) -> bool) -> Findings {
        let (findings, stop) = search(&names(faults), &mut World { violated, left: 10_000, seen: 0 });
        assert!(stop.is_none() && findings.untried.is_empty(), "{findings:?}");
        findings
    }

    fn answer(faults: usize, violated: impl Fn(&[usize], u64) -> bool) -> Answer {
        found(faults, violated).answer
    }

    fn necessary(necessary: &[usize], least: &[usize]) -> Answer {
        Answer::Necessary { necessary: necessary.to_vec(), least: least.to_vec() }
    }

    #[test]
    fn what_is_found_is_what_the_world_needs() {
        let has = |faults: &[usize], fault| faults.contains(&fault);
        assert_eq!(answer(1, |f, _| has(f, 0)), necessary(&[0], &[0]));
        assert_eq!(answer(5, |f, _| has(f, 3)), necessary(&[3], &[3]));
        assert_eq!(answer(5, |f, _| has(f, 1) && has(f, 4)), necessary(&[1, 4], &[1, 4]));
        assert_eq!(answer(4, |_, _| true), Answer::NeedsNone);
        assert_eq!(answer(0, |_, _| true), Answer::NeedsNone);
        assert_eq!(answer(4, |_, _| false), Answer::NotReproducible);
        // Either will do.
        assert_eq!(answer(6, |f, _| has(f, 2) || has(f, 5)), Answer::Together(vec![5]));
        // One is needed, and one of two others.
        assert_eq!(answer(4, |f, _| has(f, 0) && (has(f, 1) || has(f, 3))), necessary(&[0], &[0, 3]));
        // Any two of three.
        assert_eq!(answer(3, |f, _| f.len() >= 2), Answer::Together(vec![0, 1]));
    }

    #[test]
    fn the_thresholds_are_eight_and_one_of_ten() {
        let with_and_without = |with: u64, without: u64| {
            answer(1, move |faults, salt| salt <= if faults.is_empty() { without } else { with })
        };
        assert_eq!(with_and_without(8, 1), necessary(&[0], &[0]));
        assert_eq!(with_and_without(7, 0), Answer::NotReproducible);
        assert_eq!(with_and_without(10, 2), Answer::Together(vec![0]));
        assert_eq!(with_and_without(10, 7), Answer::Together(vec![0]));
        assert_eq!(with_and_without(10, 8), Answer::NeedsNone);
    }

    #[test]
    fn no_claim_rests_on_fewer_than_ten_replays_and_a_fault_that_is_not_needed_costs_few() {
        let found = found(20, |faults, _| faults.contains(&7));
        let of = |faults: &[usize]| found.tallies[faults];
        let without = |fault: usize| (0..20).filter(|other| *other != fault).collect::<Vec<_>>();
        assert_eq!(of(&without(7)), Tally { violated: 0, of: 10 });
        assert_eq!(of(&without(8)), Tally { violated: 2, of: 2 });
        assert_eq!(of(&[7]), Tally { violated: 10, of: 10 });
        let replays: u32 = found.tallies.values().map(|tally| tally.of).sum();
        assert_eq!(replays, 10 + 4 + 10 + 19 * 2 + 10);
    }

    #[test]
    fn what_was_not_tried_is_said_and_what_was_found_stands() {
        let at = |left| {
            let violated = |faults: &[usize], _| faults.contains(&0) && faults.contains(&1);
            let (findings, stop) = search(&names(3), &mut World { violated, left, seen: 0 });
            assert_eq!(stop, Some("the time is up"));
            (findings.answer, findings.untried.join(", "))
        };
        assert_eq!(at(9), (Answer::Unknown, "anything".into()));
        assert_eq!(at(11), (Answer::Unknown, "leaving out faults".into()));
        assert_eq!(
            at(14 + 10),
            (necessary(&[0], &[0, 1, 2]), "leaving out \"fault 1\", leaving out \"fault 2\"".into())
        );
        assert_eq!(at(14 + 20), (necessary(&[0, 1], &[0, 1, 2]), "leaving out \"fault 2\"".into()));
        assert_eq!(at(14 + 22), (necessary(&[0, 1], &[0, 1, 2]), "whether fewer faults suffice".into()));
    }
}
