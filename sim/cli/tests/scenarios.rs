//! Whole runs by scenario, through the program as a user starts it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn squall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall")).args(args).current_dir(root()).output().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn record(dir: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("run.json")).unwrap()).unwrap()
}

#[test]
fn every_scenario_of_the_library_passes_and_exercises_what_it_declares() {
    for file in squall_scenarios::files_in(&root().join("scenarios")).unwrap() {
        let out = scratch(&format!("library-{}", file.file_stem().unwrap().display()));
        let run =
            squall(&["run", file.to_str().unwrap(), "--seed", "3", "--quiet", "--out", out.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(0), "{}: {text}", file.display());
        let record = record(&out);
        for check in record["checks"].as_array().unwrap() {
            assert!(check["evaluated"].as_u64().unwrap() > 0, "{}: {check}", file.display());
        }
        for fault in record["faults"].as_array().unwrap() {
            let hits: u64 = fault["affected"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
            assert!(hits > 0, "{}: {fault}", file.display());
        }
    }
}

#[test]
fn what_was_a_bug_once_passes() {
    for file in squall_scenarios::files_in(&root().join("scenarios/regressions")).unwrap() {
        let run = squall(&["run", file.to_str().unwrap(), "--quiet"]);
        let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(0), "{}: {text}", file.display());
    }
}

#[test]
fn smoke_reaches_the_same_verdict_on_turmoils_tcp() {
    let source = std::fs::read_to_string(root().join("scenarios/smoke.toml")).unwrap();
    let file = scratch("turmoil").join("smoke.toml");
    std::fs::write(&file, source.replace("[network]", "[network]\nbackbone = \"turmoil\"")).unwrap();
    let run = squall(&["run", file.to_str().unwrap(), "--quiet"]);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn a_seed_repeats_to_the_byte_and_another_seed_does_not() {
    let digest = |seed: &str, name: &str| {
        let out = scratch(name);
        let run =
            squall(&["run", "scenarios/smoke.toml", "--seed", seed, "--quiet", "--out", out.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(0));
        record(&out)["digest"].as_str().unwrap().to_owned()
    };
    let first = digest("5", "digest-a");
    assert_eq!(digest("5", "digest-b"), first);
    assert_ne!(digest("6", "digest-c"), first);
}

/// Faults that strike from inside hosts and the fleet, a paused host and a wrong clock among them.
#[test]
fn a_run_is_the_same_on_any_number_of_threads() {
    for scenario in ["smoke", "messages-power-loss", "stalls"] {
        let run = |threads: &str| {
            let out = scratch(&format!("threads-{scenario}-{threads}"));
            let file = format!("scenarios/{scenario}.toml");
            let args =
                ["run", &file, "--threads", threads, "--quiet", "--history", "--out", out.to_str().unwrap()];
            let run = squall(&args);
            assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
            let digest = record(&out)["digest"].as_str().unwrap().to_owned();
            (digest, std::fs::read_to_string(out.join("history.jsonl")).unwrap())
        };
        let (alone, many) = (run("1"), run("3"));
        assert_eq!(alone.0, many.0, "{scenario}");
        assert!(alone.1 == many.1, "{scenario}: the digests agree and the histories do not");
    }
}

/// Crashes, power losses, pauses, wrong clocks and half-dead links among them: nothing that happens may depend on how often a host
/// that has nothing to do is looked at.
#[test]
fn a_run_is_the_same_when_every_host_is_looked_at_at_every_tick() {
    for scenario in ["smoke", "stalls", "deploy", "bad-links"] {
        let run = |how: &[&str], name: &str| {
            let out = scratch(&format!("{name}-{scenario}"));
            let file = format!("scenarios/{scenario}.toml");
            let mut args = vec!["run", &file, "--quiet", "--history", "--out", out.to_str().unwrap()];
            args.extend(how);
            let run = squall(&args);
            assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
            let digest = record(&out)["digest"].as_str().unwrap().to_owned();
            (digest, std::fs::read_to_string(out.join("history.jsonl")).unwrap())
        };
        let (due, every) = (run(&[], "when-due"), run(&["--every-tick"], "every-tick"));
        assert_eq!(due.0, every.0, "{scenario}");
        assert!(due.1 == every.1, "{scenario}: the digests agree and the histories do not");
    }
}

/// The stamp of an entry is in the bytes that leave its shard, and nothing else differs between these runs.
#[test]
fn a_clock_that_is_further_off_stamps_other_times() {
    let digest = |ahead: &str| {
        let dir = scratch(&format!("clock-{ahead}"));
        let file = dir.join("clock.toml");
        let source = format!(
            "[population]\nusers = 30\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"20s\"\n\
             [[faults]]\nkind = \"clock\"\ntarget = [\"messages-*\"]\nahead = \"{ahead}\"\nat = \"5s\"\nfor = \"10s\"\n"
        );
        std::fs::write(&file, source).unwrap();
        let run = squall(&["run", file.to_str().unwrap(), "--quiet", "--out", dir.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
        record(&dir)["digest"].as_str().unwrap().to_owned()
    };
    assert_ne!(digest("3m"), digest("4m"));
}

#[test]
fn the_history_is_complete_enough_to_find_every_ack_displayed() {
    let out = scratch("history");
    let run = squall(&["run", "scenarios/smoke.toml", "--quiet", "--history", "--out", out.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(0));
    let text = std::fs::read_to_string(out.join("history.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &'static str| events.iter().filter(move |e| e["kind"] == kind);
    assert_eq!(of("sent").count() as u64, record(&out)["messages"]["acked"].as_u64().unwrap());
    for sent in of("sent") {
        let appended =
            of("append").any(|a| a["client_msg_id"] == sent["client_msg_id"] && a["seq"] == sent["seq"]);
        let shown = of("display").any(|d| d["client_msg_id"] == sent["client_msg_id"] && d["seq"] == sent["seq"]);
        assert!(appended && shown, "{sent}");
    }
    let created: Vec<&Value> = of("send").filter(|e| e["what"] == "created").collect();
    assert!(!created.is_empty());
    assert!(created.iter().all(|e| e["members"].as_array().is_some_and(|members| members.len() >= 2)));
    assert!(events.windows(2).all(|pair| pair[0]["t"].as_u64() <= pair[1]["t"].as_u64()), "time goes back");
}

#[test]
fn bad_input_has_exit_status_2_and_says_where() {
    let dir = scratch("bad");
    let file = dir.join("wrong.toml");
    std::fs::write(&file, "[topology]\ngatways = 2\n").unwrap();
    let run = squall(&["check", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(2), "{text}");
    assert!(text.contains("wrong.toml:2:1") && text.contains("gateways"), "{text}");
    assert_eq!(squall(&["run", "no/such/file.toml"]).status.code(), Some(2));
    assert_eq!(squall(&["sweep", "scenarios", "--seeds", "5..5"]).status.code(), Some(2));
}

#[test]
fn a_run_that_is_stopped_is_inconclusive_whatever_was_on_its_way() {
    let file = scratch("stopped").join("long.toml");
    let source = "[population]\nusers = 30\n[workload]\nsend_interval = \"300ms\"\n[phases]\nload = \"1h\"\n";
    std::fs::write(&file, source).unwrap();
    for wait_ms in [700, 1_100, 1_500] {
        let child = Command::new(env!("CARGO_BIN_EXE_squall"))
            .args(["run", file.to_str().unwrap(), "--quiet"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(wait_ms));
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let run = child.wait_with_output().unwrap();
        assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stdout));
    }
}

#[test]
fn a_fault_that_hits_nothing_makes_the_run_inconclusive() {
    let file = scratch("inconclusive").join("lonely.toml");
    let source = "[population]\nusers = 4\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"5s\"\n\
                  liveness_bound = \"15s\"\n[[faults]]\nkind = \"drop-sent-acks\"\nat = \"4999ms\"\nfor = \"1ms\"\nshare = 0.01\n";
    std::fs::write(&file, source).unwrap();
    let run = squall(&["run", file.to_str().unwrap(), "--quiet"]);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(run.status.code(), Some(3), "{text}");
    assert!(text.contains("hit nothing"), "{text}");
}

#[test]
fn pauses_of_one_host_that_overlap_do_not_undo_each_other_or_a_crash() {
    let out = scratch("pauses");
    let file = out.join("pauses.toml");
    let fault = |kind: &str, at: u32, lasts: u32| {
        format!("[[faults]]\nkind = \"{kind}\"\ntarget = [\"messages-0\"]\nat = \"{at}s\"\nfor = \"{lasts}s\"\n")
    };
    let faults = [fault("pause", 4, 6), fault("pause", 8, 6), fault("crash", 9, 3)].concat();
    let people = "[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"20s\"\nliveness_bound = \"40s\"\n";
    std::fs::write(&file, format!("description = \"\"\n{people}{faults}")).unwrap();
    let run = squall(&["run", file.to_str().unwrap(), "--quiet", "--history", "--out", out.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
    // The load begins at 3 s: from 7 s on one pause or the other lasts, until 17 s.
    let history = std::fs::read_to_string(out.join("history.jsonl")).unwrap();
    let appends = |from: u64, until: u64| {
        let events = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_host = events.filter(|event| event["kind"] == "append" && event["host"] == "messages-0");
        of_host.filter(|event| (from..until).contains(&event["t"].as_u64().unwrap())).count()
    };
    assert!(appends(3_000_000, 7_000_000) > 0 && appends(17_000_000, 23_000_000) > 0);
    assert_eq!(appends(7_020_000, 17_000_000), 0);
}

/// A line that the documents show, as far as it says something and is the same on every machine and of every build (the digest
/// of a debug build is another).
fn steady(line: &str) -> Option<String> {
    let differs = ["  speed", "  memory", "  digest"].iter().any(|word| line.starts_with(word));
    let line = match line.strip_suffix(" x real time").and_then(|line| line.rsplit_once(", ")) {
        Some((line, _)) => line,
        None => line,
    };
    (!differs && !line.is_empty()).then(|| line.to_owned())
}

/// The block of a document that begins like this, after the fence with its language.
fn block(document: &str, language: &str, begins: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let fence = format!("```{language}\n");
    let from = text.find(&format!("{fence}{begins}")).unwrap_or_else(|| panic!("{document} shows no {begins}"));
    let text = &text[from + fence.len()..];
    text[..text.find("```").unwrap()].to_owned()
}

/// What a document shows of a command is what it prints, line by line, but where a line of `…` says that some are left out.
fn assert_shown(document: &str, begins: &str, printed: &str) {
    let printed: Vec<String> = printed.lines().filter_map(steady).collect();
    let (mut next, mut left_out) = (0, false);
    for line in block(document, "text", begins).lines() {
        if line.trim() == "…" {
            left_out = true;
            continue;
        }
        let Some(line) = steady(line) else { continue };
        let within = if left_out { &printed[next..] } else { &printed[next..printed.len().min(next + 1)] };
        let found = within.iter().position(|found| *found == line);
        let found = found.unwrap_or_else(|| panic!("{document} shows {line:?}, and printed is {within:#?}"));
        (next, left_out) = (next + found + 1, false);
    }
    assert!(left_out || next == printed.len(), "{document} leaves out {:#?}", &printed[next..]);
}

#[test]
fn the_documents_show_what_is_printed() {
    let smoke = squall(&["run", "scenarios/smoke.toml"]);
    for document in ["README.md", "reports/README.md"] {
        assert_shown(document, "PASS  smoke", &String::from_utf8_lossy(&smoke.stdout));
    }
    let (dir, first) = (scratch("first"), block("README.md", "toml", "description"));
    let run = |source: &str, args: &[&str]| {
        std::fs::write(dir.join("first.toml"), source).unwrap();
        let mut run = Command::new(env!("CARGO_BIN_EXE_squall"));
        let run = run.args(["run", "first.toml"]).args(args).current_dir(&dir);
        String::from_utf8(run.output().unwrap().stdout).unwrap()
    };
    assert!(run(&first, &["--quiet"]).starts_with("pass"));
    assert_shown("README.md", "VIOLATED  first", &run(&first, &["--plant", "commit-without-sync"]));
    let thin = first.replace("send_interval = \"1s\"", "send_interval = \"5m\"");
    assert_ne!(thin, first);
    assert_shown("README.md", "inconclusive first", &run(&thin, &["--quiet"]));
}
