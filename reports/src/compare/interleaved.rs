//! Whether runs of two sides were made in turn on one machine.
//!
//! A machine is faster today than yesterday, and when nothing else runs on it. What depends on it is therefore compared only where each run of
//! one side was made directly before or after its partner, and on the same machine: then whatever slowed one of them slowed the other.

use crate::record::{MachineRecord, RunRecord};

/// Why runs say nothing of the machine's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInterleaved {
    /// A record does not say where and when it was made.
    Unknown,
    DifferentMachines,
    /// Between a run and its partner there was another one.
    NotInTurn,
}

impl NotInterleaved {
    pub fn reason(self) -> &'static str {
        match self {
            NotInterleaved::Unknown => "a record does not say where and when it was made",
            NotInterleaved::DifferentMachines => "the runs were made on different machines",
            NotInterleaved::NotInTurn => "the runs of A and B were not made in turn",
        }
    }
}

/// Whether each pair was made in turn: sorted by their start, the runs stand pair by pair.
///
/// # Errors
/// They were not, or nothing says that they were.
pub fn in_turn(pairs: &[(&RunRecord, &RunRecord)]) -> Result<(), NotInterleaved> {
    let about =
        |run: &'_ RunRecord| run.about.as_ref().map(|about| (about.started.clone(), about.machine.clone()));
    let mut starts: Vec<(String, usize)> = Vec::with_capacity(2 * pairs.len());
    let mut machine: Option<MachineRecord> = None;
    for (index, (a, b)) in pairs.iter().enumerate() {
        for run in [a, b] {
            let (started, of) = about(run).ok_or(NotInterleaved::Unknown)?;
            if *machine.get_or_insert_with(|| of.clone()) != of {
                return Err(NotInterleaved::DifferentMachines);
            }
            starts.push((started, index));
        }
    }
    // RFC 3339 in UTC and of one length sorts as text. Runs that seem to start at once are in no order that could be told.
    starts.sort();
    let are_pairs = starts.chunks_exact(2).all(|two| two[0].1 == two[1].1);
    let tied = starts.windows(2).any(|two| two[0].0 == two[1].0 && two[0].1 != two[1].1);
    match are_pairs && !tied {
        true => Ok(()),
        false => Err(NotInterleaved::NotInTurn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{AboutRecord, BuildRecord};
    use crate::testing;

    fn at(started: &str, cores: u64) -> RunRecord {
        let build = BuildRecord { version: "1".into(), commit: None, clean: true, program: None };
        let machine = MachineRecord { processor: None, cores, memory_bytes: 1, system: "linux".into() };
        let about = AboutRecord { build, machine, started: format!("2026-01-01T00:00:{started}Z") };
        RunRecord { about: Some(about), ..testing::passed() }
    }

    #[test]
    fn partners_stand_next_to_each_other_in_time() {
        let run = |second: &str| at(second, 2);
        let turns = [(run("01.000"), run("02.000")), (run("04.000"), run("03.000"))];
        let refer = |pairs: &[(RunRecord, RunRecord)]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| (a, b)).collect();
            in_turn(&pairs)
        };
        assert_eq!(refer(&turns), Ok(()), "A B B A");
        let one_after_the_other = [(run("01.000"), run("03.000")), (run("02.000"), run("04.000"))];
        assert_eq!(refer(&one_after_the_other), Err(NotInterleaved::NotInTurn));
        let at_once = [(run("01.000"), run("02.000")), (run("02.000"), run("03.000"))];
        assert_eq!(refer(&at_once), Err(NotInterleaved::NotInTurn));
        assert_eq!(refer(&[(run("01.000"), at("02.000", 8))]), Err(NotInterleaved::DifferentMachines));
        assert_eq!(refer(&[(testing::passed(), run("02.000"))]), Err(NotInterleaved::Unknown));
    }
}
