//! How commands end: the exit status of each way, and what a person who typed something wrong is told.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SMALL: &str = "[population]\nusers = 4\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"4s\"\nliveness_bound = \"15s\"\n";
/// No answer comes within a microsecond.
const IMPOSSIBLE: &str =
    "[[checks.service_levels]]\nmeasure = \"send-to-ack\"\npercentile = 50\nat_most = \"1us\"\n";
/// Nothing is sent in the last millisecond.
const HITS_NOTHING: &str = "[[faults]]\nkind = \"drop-sent-acks\"\nat = \"3999ms\"\nfor = \"1ms\"\nshare = 0.01\n";

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

#[test]
fn every_end_of_a_run_has_its_status() {
    let dir = scratch("exit-statuses");
    let file = |name: &str, rest: &str| std::fs::write(dir.join(name), [SMALL, rest].concat()).unwrap();
    file("quiet.toml", "");
    file("slow.toml", IMPOSSIBLE);
    file("lonely.toml", HITS_NOTHING);
    // A folder stands where the history is to be written.
    std::fs::create_dir_all(dir.join("taken/history.jsonl")).unwrap();
    for (status, args) in [
        (0, &["run", "quiet.toml", "--quiet"][..]),
        (1, &["run", "slow.toml", "--quiet"]),
        (2, &["run", "missing.toml"]),
        (2, &["run", "quiet.toml", "--quiet", "--history", "--out", "taken"]),
        (3, &["run", "lonely.toml", "--quiet"]),
        (0, &["schema"]),
        (0, &["check", "quiet.toml"]),
        (3, &["shrink", "quiet.toml"]),
    ] {
        let run = squall(&dir, args);
        assert_eq!(run.status.code(), Some(status), "{args:?}: {}", text(&run));
    }
    let unfinished = squall(&dir, &["run", "quiet.toml", "--quiet", "--history", "--out", "taken"]);
    assert!(text(&unfinished).contains("proves nothing"), "{}", text(&unfinished));
}

#[test]
fn whoever_types_something_wrong_is_told_what_to_type() {
    let dir = scratch("exit-hints");
    std::fs::write(dir.join("smoke.toml"), SMALL).unwrap();
    std::fs::write(dir.join("prose.md"), "no TOML at all\n".repeat(100)).unwrap();
    for (args, hint) in [
        (&["run"][..], "name a scenario file"),
        (&["run", "smok.toml"], "did you mean smoke.toml?"),
        (&["run", "no/such/file.toml"], "there is no such file"),
        (&["run", "."], "squall sweep ."),
        (&["run", "prose.md"], "is this a scenario file?"),
        (&["run", "smoke.toml", "--swarm"], "leave out --swarm"),
        (&["run", "smoke.toml", "--seed", "abc"], "write a whole number"),
        (&["run", "smoke.toml", "--seed", "-1"], "\"-1\" is no seed"),
        (&["run", "smoke.toml", "--plant", "no-redelivry"], "did you mean no-redelivery?"),
        (&["run", "smoke.toml", "--plant", "zzz"], "`squall bugs` lists all"),
        (&["run", "smoke.toml", "--history"], "--out <DIR>"),
        (&["run", "smoke.toml", "--history", "--history-of", "1", "--out", "out"], "cannot be used with"),
        (&["run", "smoke.toml", "--history-of", "x", "--out", "out"], "is no number of a conversation or device"),
        (&["sweep", "smoke.toml", "--seeds", "5..3"], "did you mean 3..5?"),
        (&["sweep", "smoke.toml", "--seeds", "5..5"], "write 5 for that one"),
        (&["sweep", "smoke.toml", "--seeds", "0-9"], "write e.g. 0..20"),
        (&["sweep", "smoke.toml", "--seeds", ""], "write e.g. 0..20"),
        (&["sweep", "smoke.toml", "--shard", "0/0"], "at least one part"),
        (&["sweep", "smoke.toml", "--shard", "0/4"], "write 1/4 for the first"),
        (&["sweep", "smoke.toml", "--shard", "5/4"], "the last is 4/4"),
        (&["sweep", "smoke.toml", "--shard", "half"], "write e.g. 1/4"),
        (&["sweep", "smoke.toml", "--jobs", "0"], "write 1 or more"),
        (&["sweep", "smoke.toml", "--jobs", "100000"], "at most 1024"),
        (&["shrink", "smoke.toml", "--jobs", "0"], "write 1 or more"),
        (&["sweep", "smoke.toml", "--for", "0s"], "write e.g. 10m"),
        (&["sweep", "smoke.toml", "--junit", "no/such/folder.xml"], "name another file with --junit"),
        (&["bugs", "no-redelivry"], "did you mean no-redelivery?"),
        (&["bugs", "--check", "--scenarios", "nope"], "no such folder"),
        (&["runn"], "a similar subcommand exists: 'run'"),
    ] {
        let output = squall(&dir, args);
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}{told}");
        assert!(told.contains(hint), "{args:?}: {told}");
        assert!(told.lines().count() < 100 && said.is_empty(), "{args:?}: {said}{told}");
    }
}

/// What a person named as a folder is all run, or nothing is: a file that is left out would not be missed.
#[cfg(unix)]
#[test]
fn a_folder_is_taken_whole_or_refused() {
    let dir = scratch("exit-folders");
    let folder = |name: &str| {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    std::os::unix::fs::symlink("nowhere.toml", folder("link").join("gone.toml")).unwrap();
    std::os::unix::fs::symlink("loop.toml", folder("circle").join("loop.toml")).unwrap();
    let run = squall(&dir, &["run", "circle/loop.toml"]);
    assert!(
        text(&run).contains("circle/loop.toml: this link leads nowhere; mend it, or name another file"),
        "{}",
        text(&run)
    );
    std::fs::write(folder("link").join("a.toml"), SMALL).unwrap();
    std::fs::write(folder("upper").join("UPPER.TOML"), "[population]\nusers = 1\n").unwrap();
    std::fs::write(folder("empty").join("empty.toml"), "# nothing yet\n\n").unwrap();
    std::fs::write(folder("none").join("notes.md"), "").unwrap();
    let share = SMALL.to_owned() + &IMPOSSIBLE.replace("percentile = 50", "percentile = 0.99");
    std::fs::write(folder("share").join("share.toml"), share).unwrap();
    for (folder, hint) in [
        ("link", "link/gone.toml: this link leads nowhere; mend it or delete it"),
        ("circle", "circle/loop.toml: this link leads nowhere; mend it or delete it"),
        ("upper", "users = 2"),
        ("empty", "write e.g. [population] with users = 40 under it"),
        ("none", "no scenario files (*.toml) here; name a file or another folder"),
        ("share", "write percentile = 99"),
    ] {
        for args in [&["check", folder][..], &["sweep", folder, "--seeds", "0..1"]] {
            let output = squall(&dir, args);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
            assert!(String::from_utf8_lossy(&output.stderr).contains(hint), "{args:?}: {}", text(&output));
        }
    }
}

#[test]
fn an_interrupted_run_says_so_in_place_of_a_digest() {
    let dir = scratch("exit-interrupted");
    std::fs::write(dir.join("long.toml"), SMALL.replace("4s", "10h")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["run", "long.toml", "--out", "out"])
        .current_dir(&dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::park_timeout(Duration::from_secs(2));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let run = child.wait_with_output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", text(&run));
    assert!(text(&run).contains("  digest    none: interrupted after "), "{}", text(&run));
    let record: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("out/run.json")).unwrap()).unwrap();
    assert_eq!(record["interrupted"], true);
    let page = std::fs::read_to_string(dir.join("out/report.html")).unwrap();
    assert!(page.contains("This run was stopped after ") && page.contains("none: interrupted after "), "{page}");
}
