//! Planted bugs, through the program as a user starts it: the right check catches each, and nothing else can be planted.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn squall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall")).args(args).current_dir(root()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_planted_bug_is_caught_by_its_check_and_named_in_the_record() {
    let bugs = [
        ("no-server-dedup", "lost-acks", "no-duplicates"),
        ("no-gap-detection", "lost-acks", "dense-sequence"),
        ("commit-without-sync", "power-loss", "acked-is-durable"),
        ("registration-not-rebuilt", "registry-restart", "no-loss"),
    ];
    for (bug, scenario, check) in bugs {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bug-{bug}"));
        let file = format!("scenarios/bugs/{scenario}.toml");
        let run = squall(&["run", &file, "--seed", "0", "--plant", bug, "--out", out.to_str().unwrap()]);
        let text = stdout(&run);
        assert_eq!(run.status.code(), Some(1), "{bug}: {text}");
        assert!(text.contains(&format!("planted: {bug}\n")), "{text}");
        let record: Value = serde_json::from_str(&std::fs::read_to_string(out.join("run.json")).unwrap()).unwrap();
        assert_eq!(record["planted"], bug);
        assert_eq!(record["reproduce"], format!("squall run {file} --seed 0 --plant {bug}"));
        let violated = |c: &&Value| c["name"] == check && c["verdict"] == "violated";
        assert!(record["checks"].as_array().unwrap().iter().any(|c| violated(&c)), "{bug}: {text}");
    }
}

#[test]
fn a_bug_that_does_not_exist_is_bad_input_with_the_one_that_was_meant() {
    for args in [&["run", "scenarios/smoke.toml", "--plant", "no-redeliverx"][..], &["bugs", "no-redeliverx"]] {
        let run = squall(args);
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{text}");
        assert!(
            text.contains("did you mean no-redelivery?") && text.contains("`squall bugs` lists all"),
            "{text}"
        );
    }
}

#[test]
fn a_check_of_bugs_counts_only_what_its_own_check_finds_first() {
    let run = squall(&["bugs", "--check", "body-truncated", "fan-out-forgets-second-device", "--starts", "1"]);
    let text = stdout(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    assert!(text.contains("2 of 2 found; without a bug 3 of 3 runs passed"), "{text}");
    assert!(text.lines().any(|line| line.contains("body-truncated") && line.contains("nothing-unsent")), "{text}");
}

#[test]
fn every_bug_is_listed() {
    let run = squall(&["bugs"]);
    assert_eq!(run.status.code(), Some(0));
    assert!(stdout(&run).lines().count() > 24);
    let one = stdout(&squall(&["bugs", "page-edge-off-by-one"]));
    assert!(one.contains("caught by no-loss in scenarios/bugs/backlog.toml"), "{one}");
}
