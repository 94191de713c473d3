//! Which runs a sweep makes, in which order.

use crate::input::Shard;
use crate::source::Source;
use std::ops::Range;

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its place among the runs of this sweep.
    pub number: usize,
    pub source: Source,
    pub seed: u64,
    /// Its folder among those of the runs.
    pub folder: String,
}

/// Runs that are still to be made.
pub type Plan = Box<dyn Iterator<Item = Run> + Send>;

/// All seeds of a file before the next file, so that a file's runs stand together.
pub fn file_by_file(sources: &[Source], seeds: Range<u64>, shard: Option<Shard>) -> Plan {
    let sources = named(sources);
    let all = sources.into_iter().flat_map(move |source| seeds.clone().map(move |seed| (source.clone(), seed)));
    numbered(all, shard)
}

/// All files with a seed before the next seed: whenever it ends, each of them has had its share.
pub fn seed_by_seed(sources: &[Source], seeds: Range<u64>, shard: Option<Shard>) -> Plan {
    let sources = named(sources);
    let all = seeds.flat_map(move |seed| sources.clone().into_iter().map(move |source| (source, seed)));
    numbered(all, shard)
}

fn numbered(all: impl Iterator<Item = ((Source, String), u64)> + Send + 'static, shard: Option<Shard>) -> Plan {
    let mine = all.enumerate().filter(move |(run, _)| shard.is_none_or(|shard| shard.has(*run)));
    Box::new(mine.enumerate().map(|(number, (_, ((source, name), seed)))| {
        let folder = format!("{name}-{seed}");
        Run { number, source, seed, folder }
    }))
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

    #[test]
    fn runs_stand_together_by_file_or_by_seed() {
        let sources = files(&["a.toml", "b.toml"]);
        let folders = |plan: Plan| plan.map(|run| run.folder).collect::<Vec<_>>();
        assert_eq!(folders(file_by_file(&sources, 3..5, None)), ["a-3", "a-4", "b-3", "b-4"]);
        assert_eq!(folders(seed_by_seed(&sources, 3..5, None)), ["a-3", "b-3", "a-4", "b-4"]);
        let half = file_by_file(&sources, 3..5, "2/2".parse().ok());
        assert_eq!(
            half.map(|run| (run.number, run.folder)).collect::<Vec<_>>(),
            [(0, "a-4".into()), (1, "b-4".into())]
        );
        assert_eq!(
            seed_by_seed(&sources, 0..u64::MAX, None).nth(7).map(|run| run.seed),
            Some(3),
            "it need not end"
        );
    }

    #[test]
    fn files_of_one_name_have_folders_of_their_own() {
        let sources = files(&["calm.toml", "bugs/calm.toml"]);
        let folders: Vec<String> = file_by_file(&sources, 0..1, None).map(|run| run.folder).collect();
        assert_eq!(folders, ["calm-0", "calm.2-0"]);
        assert_eq!(seed_by_seed(&[Source::Swarm], 7..8, None).next().unwrap().folder, "swarm-7");
    }
}
