//! What benches have in common that are run for groups of several sizes.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where a bench of this name writes, and for how many members it is to be run; `None`: nobody has said so, as when `cargo bench` comes by, and
/// `example` is told.
pub fn wanted(name: &str, example: &str) -> Option<(PathBuf, Vec<u64>)> {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if words.is_empty() {
        println!("{name}: say for how many members, as in `cargo {name} {example}`");
        return None;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&out).expect("the target folder can be written");
    Some((out, words.iter().map(|word| word.parse().expect("a number of members")).collect()))
}

/// What all hosts of this role have done of a kind of work.
pub fn work(record: &Value, role: &str, kind: &str) -> f64 {
    let hosts = record["work"].as_object().into_iter().flatten();
    hosts.filter(|(host, _)| host.starts_with(role)).filter_map(|(_, work)| work["done"][kind].as_f64()).sum()
}
