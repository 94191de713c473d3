//! What `squall check --explain` expects is what a run then does; a run that the machine cannot hold is refused.

use serde_json::Value;
use squall_scenarios::load;
use squall_world::Forecast;
use squall_world::memory::MemoryEstimate;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn squall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall")).args(args).output().unwrap()
}

const PEOPLE: &str = r#"
description = "Enough people for means to hold, of many kinds, and nothing goes wrong."
tick = "10ms"

[population]
users = 600
devices_per_user = [{ share = 0.7, devices = 1 }, { share = 0.3, devices = 2 }]
direct_conversations_per_user = 4
direct_lifecycle = { one-shot = 0.3, revisited = 0.3, long = 0.4 }
revisit_after = "10s"
silent_share = 0.2
groups = 30
group_size_max = 40

[[population.giants]]
name = "square"
members = 100

[workload]
send_interval = "15s"
direct_share = 0.8
follow_up_share = 0.1
body_bytes = [{ share = 0.8, bytes = 100 }, { share = 0.2, bytes = 1000, up_to = 3000 }]
session_length = [{ share = 1.0, from = "10s", to = "50s" }]
away_length = "2s"
day_length = "10s"
day_curve = [0.5, 1.5]

[[workload.flash_crowds]]
at = "5s"
for = "4s"
times = 3.0
to = "square"

[phases]
load = "30s"
liveness_bound = "20s"
"#;

/// The record of a run of `PEOPLE`, and what was expected of it.
fn run() -> (Value, Forecast) {
    let dir = scratch("forecast");
    let file = dir.join("people.toml");
    std::fs::write(&file, PEOPLE).unwrap();
    let run = squall(&["run", file.to_str().unwrap(), "--quiet", "--out", dir.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
    let record = std::fs::read_to_string(dir.join("run.json")).unwrap();
    (serde_json::from_str(&record).unwrap(), Forecast::of(&load(&file).unwrap()))
}

#[test]
fn a_run_does_what_was_expected_and_its_ledger_adds_up() {
    let (record, forecast) = run();
    let n = |value: &Value| value.as_f64().unwrap();
    let close = |what: &str, found: f64, expected: f64, within: f64| {
        assert!((found / expected - 1.0).abs() < within, "{what}: {found} found, {expected:.0} expected");
    };
    let messages = &record["messages"];
    close("sends", n(&messages["sent"]), forecast.sends, 0.05);
    // A device's own messages are displayed as well.
    let displays = n(&messages["displayed"]) - n(&messages["acked"]);
    close("deliveries", displays, forecast.deliveries, 0.1);
    close("connects", n(&record["clients"]["connects"]), forecast.connects, 0.1);
    let load = record["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "load").unwrap();
    close("frames", n(&load["frames"]) / 30.0, forecast.frames_per_s, 0.15);
    let memory = &record["memory"];
    let ledger: f64 = memory["ledger"].as_object().unwrap().values().map(n).sum();
    close("ledger", ledger, n(&memory["peak_rss_bytes"]), 0.15);
}

/// What takes memory beside people and messages: bodies on the way to many, members who are named to all of a group, backlogs.
#[test]
fn a_run_takes_about_the_memory_that_was_expected() {
    let dir = scratch("memory");
    let people = |users: u32, size: u32, interval: &str, body: u32, away: &str| {
        format!(
            "tick = \"5ms\"\n[population]\nusers = {users}\ndirect_conversations_per_user = 0\ngroups = {}\n\
             group_size_min = {size}\ngroup_size_max = {size}\n{away}\n[workload]\nsend_interval = \"{interval}\"\n\
             direct_share = 0.0\nbody_bytes = {body}\n[phases]\nload = \"12s\"\nliveness_bound = \"20s\"\n",
            users / size
        )
    };
    let away = "away_share = 0.5\naway_until = \"14s\"";
    for (name, text) in [
        ("small", people(100, 20, "2s", 200, "")),
        ("long bodies in small groups", people(200, 20, "2s", 16_384, "")),
        ("long bodies in larger groups", people(200, 100, "3s", 16_384, "")),
        ("long bodies for people who are away", people(200, 20, "2s", 16_384, away)),
        ("a large group", people(2_000, 2_000, "200s", 200, "")),
    ] {
        let file = dir.join("people.toml");
        std::fs::write(&file, text).unwrap();
        let run = squall(&["run", file.to_str().unwrap(), "--quiet", "--out", dir.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&run.stdout));
        let record: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("run.json")).unwrap()).unwrap();
        let taken = record["memory"]["peak_rss_bytes"].as_f64().unwrap();
        let expected = MemoryEstimate::of(&load(&file).unwrap());
        let of_taken = expected.bytes() as f64 / taken;
        assert!((0.7..2.0).contains(&of_taken), "{name}: {:.0} MiB taken\n{expected}", taken / 1_048_576.0);
    }
}

#[test]
fn a_run_that_the_machine_cannot_hold_is_refused_with_the_arithmetic() {
    let file = scratch("too-large").join("everybody.toml");
    let everybody = "[population]\nusers = 10000000\ndevices_per_user = 5\n[workload]\nsend_interval = \"100ms\"\n\
                     [phases]\nload = \"1h\"";
    std::fs::write(&file, everybody).unwrap();
    let refused = squall(&["run", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    for part in ["expected to take", "are available", "50000000 connections x", "together", "fewer users"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
