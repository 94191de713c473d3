//! Many runs at once, through the program as a user starts it: sweeps, drawn scenarios, shrinking.

use serde_json::Value;
use squall_scenarios::{load, parse};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn squall(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall")).args(args).current_dir(dir).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A scenario of a few messages, in a file of its own.
fn small(dir: &Path, name: &str, rest: &str) {
    let source = "[population]\nusers = 4\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"4s\"\nliveness_bound = \"15s\"\n";
    std::fs::write(dir.join(name), [source, rest].concat()).unwrap();
}

/// No answer comes within a microsecond.
const IMPOSSIBLE: &str =
    "[[checks.service_levels]]\nmeasure = \"send-to-ack\"\npercentile = 50\nat_most = \"1us\"\n";

#[test]
fn a_sweep_writes_a_suite_for_each_run_and_says_what_was_reached() {
    let dir = scratch("sweep-junit");
    small(&dir, "quiet.toml", "");
    small(&dir, "slow.toml", IMPOSSIBLE);
    let sweep = squall(&dir, &["sweep", "quiet.toml", "slow.toml", "--seeds", "3..5", "--junit", "junit.xml"]);
    let said = text(&sweep);
    assert_eq!(sweep.status.code(), Some(1), "{said}");
    for part in [
        "4 of 4 runs: 2 passed, 2 violated, 0 inconclusive",
        "seeds an hour",
        "reproduce: squall run slow.toml --seed 4",
        "squall shrink slow.toml --seed 4",
        "committed",
        "4 of 4",
        "never hit: crash",
        "limits never reached: ",
        "0 of 144 pairs of faults met",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let junit = std::fs::read_to_string(dir.join("junit.xml")).unwrap();
    let suites: Vec<&str> = junit.lines().filter(|line| line.contains("<testsuite ")).collect();
    assert_eq!(suites.len(), 5, "a suite each, and one for what was never reached: {junit}");
    for (suite, (name, failures)) in
        suites.iter().zip([("quiet seed 3", 0), ("quiet seed 4", 0), ("slow seed 3", 1)])
    {
        assert!(suite.contains(name) && suite.contains(&format!("failures=\"{failures}\"")), "{suite}");
    }
    assert!(
        suites[4].contains("\"the sweep\"") && junit.contains("name=\"limits never reached\" value=\""),
        "{junit}"
    );
    assert_eq!(junit.matches("</testsuite>").count(), 5);
    assert!(junit.ends_with("</testsuites>\n"));
}

#[test]
fn the_shards_of_a_sweep_make_every_run_once() {
    let dir = scratch("sweep-shards");
    small(&dir, "quiet.toml", "");
    let mut seeds = Vec::new();
    for shard in ["1/2", "2/2"] {
        let sweep =
            squall(&dir, &["sweep", "quiet.toml", "--seeds", "0..3", "--shard", shard, "--junit", "j.xml"]);
        assert_eq!(sweep.status.code(), Some(0), "{}", text(&sweep));
        let junit = std::fs::read_to_string(dir.join("j.xml")).unwrap();
        let of = |seed: &u32| junit.contains(&format!("<testsuite name=\"quiet seed {seed}\""));
        seeds.extend((0..3).filter(of));
    }
    seeds.sort();
    assert_eq!(seeds, [0, 1, 2]);
}

#[test]
fn a_share_of_inconclusive_runs_may_be_let_pass() {
    let dir = scratch("sweep-inconclusive");
    small(
        &dir,
        "lonely.toml",
        "[[faults]]\nkind = \"drop-sent-acks\"\nat = \"3999ms\"\nfor = \"1ms\"\nshare = 0.01\n",
    );
    let sweep = |percent: &str| {
        let args = ["sweep", "lonely.toml", "--seeds", "0..2", "--inconclusive-at-most", percent];
        squall(&dir, &args).status.code()
    };
    assert_eq!([sweep("0"), sweep("99"), sweep("100"), sweep("x")], [Some(3), Some(3), Some(0), Some(2)]);
}

#[test]
fn an_interrupted_sweep_prints_and_writes_what_it_has() {
    let dir = scratch("sweep-interrupted");
    small(&dir, "quiet.toml", "");
    let child = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["sweep", "quiet.toml", "--seeds", "0..100000", "--junit", "junit.xml"])
        .current_dir(&dir)
        .env("TMPDIR", &dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::park_timeout(std::time::Duration::from_secs(3));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let sweep = child.wait_with_output().unwrap();
    assert_eq!(sweep.status.code(), Some(3), "{}", text(&sweep));
    assert!(text(&sweep).contains("interrupted: "), "{}", text(&sweep));
    assert!(std::fs::read_to_string(dir.join("junit.xml")).unwrap().ends_with("</testsuites>\n"));
    let left = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("squall-")), "temporary files stay");
}

#[test]
fn a_drawn_scenario_takes_no_file_and_becomes_one() {
    let dir = scratch("swarm");
    small(&dir, "quiet.toml", "");
    for args in [&["sweep", "--swarm", "quiet.toml"][..], &["run", "--swarm", "quiet.toml"], &["sweep"], &["run"]]
    {
        assert_eq!(squall(&dir, args).status.code(), Some(2), "{args:?}");
    }
    assert!(text(&squall(&dir, &["sweep", "--swarm", "quiet.toml"])).contains("reads no file"));
    let run = squall(&dir, &["run", "--swarm", "--seed", "5", "--out", "drawn"]);
    let said = text(&run);
    assert!(said.contains("reproduce: squall run --swarm --seed 5"), "{said}");
    assert!(said.contains("seed 5 draws: "), "{said}");
    // The file repeats what the seed drew, with no seed on the command line.
    squall(&dir, &["run", "drawn/scenario.toml", "--out", "repeated", "--quiet"]);
    let digest = |folder: &str| {
        let record = std::fs::read_to_string(dir.join(folder).join("run.json")).unwrap();
        serde_json::from_str::<Value>(&record).unwrap()["digest"].clone()
    };
    assert_eq!(digest("drawn"), digest("repeated"));
}

#[test]
fn a_folder_is_for_sweeps() {
    let dir = scratch("folder");
    let run = squall(&dir, &["run", "."]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run).contains("squall sweep ."), "{}", text(&run));
}

#[test]
fn nothing_is_shrunk_where_nothing_fails() {
    let dir = scratch("shrink-passing");
    small(&dir, "quiet.toml", "");
    let shrink = squall(&dir, &["shrink", "quiet.toml", "--seed", "2"]);
    assert_eq!(shrink.status.code(), Some(3), "{}", text(&shrink));
    assert!(text(&shrink).contains("violates nothing"), "{}", text(&shrink));
    assert!(!dir.join("quiet-shrunk.toml").exists());
}

#[test]
fn what_is_shrunk_fails_by_itself_in_the_same_way() {
    let dir = scratch("shrink-failing");
    let fault = "[[faults]]\nkind = \"disconnect\"\nat = \"2s\"\nshare = 0.5\n";
    small(&dir, "slow.toml", &[fault, IMPOSSIBLE].concat());
    let shrink = squall(&dir, &["shrink", "slow.toml", "--seed", "2", "--limit", "20s", "--out", "least.toml"]);
    let said = text(&shrink);
    assert_eq!(shrink.status.code(), Some(0), "{said}");
    assert!(said.contains("reproduce: squall run least.toml\n"), "{said}");
    let file = dir.join("least.toml");
    let (least, before) = (load(&file).unwrap(), load(&dir.join("slow.toml")).unwrap());
    assert!(least.population.users <= before.population.users && least.faults.is_empty(), "{said}");
    assert!(least.seed.is_some());
    let source = std::fs::read_to_string(&file).unwrap();
    assert!(source.starts_with("# Violates service-levels"), "{source}");
    assert!(parse(&source, &file).is_ok());
    let run = squall(&dir, &["run", "least.toml", "--quiet"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    assert!(text(&run).contains("service-levels: "), "{}", text(&run));
}
