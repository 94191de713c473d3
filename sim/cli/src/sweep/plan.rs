//! Which runs a sweep makes, in which order.
//!
//! **Invariant:** a plan takes the same memory whatever it plans, and its next run is computed: nothing walks through runs of other parts.
//! Whoever names ten billion seeds, or one part of a million, is answered at once.

use crate::input::Shard;
use crate::source::Source;
use std::ops::Range;

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its place among the runs of this sweep.
    pub number: u64,
    pub source: Source,
    pub seed: u64,
    /// Its folder among those of the runs.
    pub folder: String,
}

/// How runs follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// All seeds of a file before the next file, so that a file's runs stand together.
    FileByFile,
    /// All files with a seed before the next seed: whenever it ends, each of them has had its share.
    SeedBySeed,
}

/// Runs that are still to be made, of one part of all runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Each with a word for its folders.
    sources: Vec<(Source, String)>,
    seeds: Range<u64>,
    order: Order,
    shard: Shard,
    number: u64,
}

impl Plan {
    /// All seeds of a file before the next file.
    pub fn file_by_file(sources: &[Source], seeds: Range<u64>, shard: Option<Shard>) -> Plan {
        Plan::new(sources, seeds, shard, Order::FileByFile)
    }

    /// All files with a seed before the next seed.
    pub fn seed_by_seed(sources: &[Source], seeds: Range<u64>, shard: Option<Shard>) -> Plan {
        Plan::new(sources, seeds, shard, Order::SeedBySeed)
    }

    fn new(sources: &[Source], seeds: Range<u64>, shard: Option<Shard>, order: Order) -> Plan {
        Plan { sources: named(sources), seeds, order, shard: shard.unwrap_or(Shard::WHOLE), number: 0 }
    }

    /// How many runs it has of each source, before the first is taken; of a plan in the order of files.
    pub fn runs_of_each(&self) -> impl Iterator<Item = (&Source, u64)> {
        debug_assert_eq!(self.order, Order::FileByFile);
        let seeds = self.seeds_of_each();
        self.sources.iter().zip(0u128..).map(move |((source, _), before)| {
            let mine = self.shard.before((before + 1) * seeds) - self.shard.before(before * seeds);
            // A source has no more runs than there are seeds.
            (source, u64::try_from(mine).unwrap_or(u64::MAX))
        })
    }

    /// How many runs it has in all, as far as anybody can count.
    pub fn runs(&self) -> u64 {
        let all = self.sources.len() as u128 * self.seeds_of_each();
        u64::try_from(self.shard.before(all)).unwrap_or(u64::MAX)
    }

    fn seeds_of_each(&self) -> u128 {
        u128::from(self.seeds.end - self.seeds.start)
    }
}

impl Iterator for Plan {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.number >= self.runs() {
            return None;
        }
        let place = self.shard.place_of(self.number);
        let (source, seed) = match self.order {
            Order::FileByFile => (place / self.seeds_of_each(), place % self.seeds_of_each()),
            Order::SeedBySeed => (place % self.sources.len() as u128, place / self.sources.len() as u128),
        };
        let (source, name) = self.sources[source as usize].clone();
        let seed = self.seeds.start + seed as u64;
        let run = Run { number: self.number, source, seed, folder: format!("{name}-{seed}") };
        self.number += 1;
        Some(run)
    }
}

/// Each with a word for its folders; files of one name in different folders have different ones.
fn named(sources: &[Source]) -> Vec<(Source, String)> {
    let mut named: Vec<(Source, String)> = Vec::new();
    for source in sources {
        let stem = match source {
            Source::Swarm => "swarm".to_owned(),
            Source::File(_) => source.stem(0),
        };
        let same = named.iter().filter(|(other, _)| other.stem(0) == source.stem(0)).count();
        named.push((source.clone(), if same == 0 { stem } else { format!("{stem}.{}", same + 1) }));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn files(names: &[&str]) -> Vec<Source> {
        names.iter().map(|name| Source::File(PathBuf::from(name))).collect()
    }

    fn shard(text: &str) -> Option<Shard> {
        text.parse().ok()
    }

    #[test]
    fn runs_stand_together_by_file_or_by_seed() {
        let sources = files(&["a.toml", "b.toml"]);
        let folders = |plan: Plan| plan.map(|run| run.folder).collect::<Vec<_>>();
        assert_eq!(folders(Plan::file_by_file(&sources, 3..5, None)), ["a-3", "a-4", "b-3", "b-4"]);
        assert_eq!(folders(Plan::seed_by_seed(&sources, 3..5, None)), ["a-3", "b-3", "a-4", "b-4"]);
        let half = Plan::file_by_file(&sources, 3..5, shard("2/2"));
        assert_eq!(
            half.map(|run| (run.number, run.folder)).collect::<Vec<_>>(),
            [(0, "a-4".into()), (1, "b-4".into())]
        );
        assert_eq!(
            Plan::seed_by_seed(&sources, 0..u64::MAX, None).nth(7).map(|run| run.seed),
            Some(3),
            "it need not end"
        );
    }

    #[test]
    fn a_plan_of_all_seeds_is_counted_and_its_last_part_begins_at_once() {
        let sources = files(&["a.toml", "b.toml", "c.toml"]);
        assert_eq!(Plan::file_by_file(&sources, 0..10_000_000_000, None).runs(), 30_000_000_000);
        assert_eq!(
            Plan::file_by_file(&sources, 0..u64::MAX, None).runs(),
            u64::MAX,
            "as far as it can be counted"
        );
        let last = Plan::file_by_file(&sources, 0..10_000_000_000, shard("30000000000/30000000000"));
        assert_eq!(last.map(|run| run.folder).collect::<Vec<_>>(), ["c-9999999999"]);
        let none = Plan::seed_by_seed(&sources, 0..2, shard("18446744073709551615/18446744073709551615"));
        assert_eq!((none.runs(), none.count()), (0, 0));
        let far = Plan::seed_by_seed(&sources, 0..u64::MAX, shard("4000000000000/4000000000000")).next().unwrap();
        assert_eq!((far.seed, far.folder.as_str()), (1_333_333_333_333, "a-1333333333333"));
    }

    #[test]
    fn each_source_is_counted_as_it_is_run() {
        let sources = files(&["a.toml", "b.toml", "c.toml"]);
        for part in ["1/1", "1/2", "2/2", "1/4", "3/4", "5/7", "7/7", "20/20"] {
            let plan = Plan::file_by_file(&sources, 3..8, shard(part));
            let counted: Vec<(&Source, u64)> = plan.runs_of_each().collect();
            for (source, count) in counted {
                assert_eq!(plan.clone().filter(|run| run.source == *source).count() as u64, count, "{part}");
            }
            assert_eq!(plan.runs(), plan.clone().count() as u64, "{part}");
        }
    }

    #[test]
    fn files_of_one_name_have_folders_of_their_own() {
        let sources = files(&["calm.toml", "bugs/calm.toml"]);
        let folders: Vec<String> = Plan::file_by_file(&sources, 0..1, None).map(|run| run.folder).collect();
        assert_eq!(folders, ["calm-0", "calm.2-0"]);
        assert_eq!(Plan::seed_by_seed(&[Source::Swarm], 7..8, None).next().unwrap().folder, "swarm-7");
    }
}
