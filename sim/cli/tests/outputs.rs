//! What becomes of a command whose output cannot be written, or would go where something else is: through the program as a user starts it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SMALL: &str = "[population]\nusers = 4\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"4s\"\nliveness_bound = \"15s\"\n";

/// A folder with a small scenario, a long one, and the record of a run.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("quiet.toml"), SMALL).unwrap();
    std::fs::write(dir.join("long.toml"), SMALL.replace("\"4s\"", "\"10h\"")).unwrap();
    let made = command(&dir, &["run", "quiet.toml", "--quiet", "--out", "made"]).output().unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    dir
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut squall = Command::new(env!("CARGO_BIN_EXE_squall"));
    squall.args(args).current_dir(dir).env("TMPDIR", dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    squall
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// Commands that pass and print.
const PRINT: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["sweep", "--help"],
    &["schema"],
    &["check", "quiet.toml", "--explain"],
    &["run", "quiet.toml"],
    &["run", "quiet.toml", "--quiet"],
    &["sweep", "quiet.toml", "--seeds", "0..2"],
    &["report", "made"],
    &["trend", "made"],
    &["merge", "made", "--out", "merged"],
    &["bugs"],
];

#[test]
fn what_a_full_standard_output_should_have_held_is_missed() {
    let dir = scratch("outputs-full");
    for args in PRINT {
        let output = command(&dir, args).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        let told = text(&output);
        let missed = told.matches("cannot write to standard output: No space left on device").count();
        assert_eq!(missed, 1, "{args:?}: {told}");
    }
}

#[test]
fn whoever_has_read_enough_may_close_the_pipe() {
    let dir = scratch("outputs-closed");
    for args in PRINT {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&dir, args).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
        assert!(!text(&output).contains("cannot write"), "{args:?}: {}", text(&output));
    }
}

#[test]
fn where_nobody_takes_progress_and_errors_the_status_tells() {
    let dir = scratch("outputs-nobody");
    for (status, args) in [
        (0, &["run", "quiet.toml"][..]),
        (0, &["run", "quiet.toml", "--progress", "json"]),
        (0, &["run", "quiet.toml", "--digests"]),
        (0, &["sweep", "quiet.toml", "--seeds", "0..2", "--progress", "json"]),
        (2, &["run", "nothing.toml"]),
        (2, &["runn"]),
        (2, &["compare", "made", "nothing"]),
        (2, &["report", "nothing"]),
        (2, &["check", "made/run.json"]),
        (3, &["shrink", "quiet.toml"]),
    ] {
        let output = command(&dir, args).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", text(&output));
    }
}

#[test]
fn one_folder_takes_one_run_or_sweep_at_a_time() {
    let dir = scratch("outputs-locked");
    for first in [
        &["run", "long.toml", "--quiet", "--out", "night"][..],
        &["sweep", "long.toml", "--seeds", "0..1", "--out", "night"],
    ] {
        let mut holder = command(&dir, first).spawn().unwrap();
        std::thread::park_timeout(Duration::from_secs(1));
        for second in [
            &["run", "quiet.toml", "--out", "night"][..],
            &["run", "nothing.toml", "--out", "night"],
            &["sweep", "quiet.toml", "--seeds", "0..1", "--out", "./night/"],
            &["merge", "made", "--out", "night"],
            &["report", "night"],
        ] {
            let refused = command(&dir, second).output().unwrap();
            assert_eq!(refused.status.code(), Some(2), "{second:?}: {}", text(&refused));
            let told = text(&refused);
            assert!(
                told.contains("another squall writes into this folder; wait until it is over"),
                "{second:?}: {told}"
            );
        }
        // The kernel lets go of it, in whatever way its holder ends.
        holder.kill().unwrap();
        holder.wait().unwrap();
        let next = command(&dir, &["run", "quiet.toml", "--quiet", "--out", "night"]).output().unwrap();
        assert_eq!(next.status.code(), Some(0), "{first:?}: {}", text(&next));
    }
}

#[test]
fn no_command_writes_over_what_it_reads() {
    let dir = scratch("outputs-own");
    std::fs::hard_link(dir.join("quiet.toml"), dir.join("twin.toml")).unwrap();
    std::os::unix::fs::symlink("quiet.toml", dir.join("link.toml")).unwrap();
    std::fs::create_dir(dir.join("folder")).unwrap();
    std::fs::write(dir.join("folder/only.toml"), SMALL).unwrap();
    std::fs::write(dir.join("bounds.toml"), "[[bounds]]\nmeasure = \"acked\"\nat_least = 0\n").unwrap();
    let contents = |file: &str| std::fs::read(dir.join(file)).unwrap();
    for (args, input) in [
        (&["sweep", "quiet.toml", "--seeds", "0", "--junit", "./quiet.toml"][..], "quiet.toml"),
        (&["sweep", "quiet.toml", "--seeds", "0", "--junit", "link.toml"], "quiet.toml"),
        (&["sweep", "quiet.toml", "--seeds", "0", "--junit", "twin.toml"], "quiet.toml"),
        (&["sweep", "folder", "--seeds", "0", "--junit", "folder/only.toml"], "folder/only.toml"),
        (&["run", "made/scenario.toml", "--out", "made"], "made/scenario.toml"),
        (&["shrink", "quiet.toml", "--out", "quiet.toml"], "quiet.toml"),
        (&["trend", "made", "--html", "made/run.json"], "made/run.json"),
        (&["compare", "made", "nothing", "--html", "made/run.json"], "made/run.json"),
        (&["compare", "made", "made", "--bounds", "bounds.toml", "--markdown", "bounds.toml"], "bounds.toml"),
        (&["merge", "made", "--out", "made"], "made/run.json"),
        (&["explain", "made", "--html", "made/scenario.toml"], "made/scenario.toml"),
        (&["explain", "made", "--perfetto", "made/run.json"], "made/run.json"),
    ] {
        let before = contents(input);
        let refused = command(&dir, args).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", text(&refused));
        assert!(
            text(&refused).contains("which this command reads; name another place"),
            "{args:?}: {}",
            text(&refused)
        );
        assert_eq!(contents(input), before, "{args:?}");
    }
}

#[test]
fn a_closed_terminal_ends_a_run_as_ctrl_c_does() {
    let dir = scratch("outputs-hangup");
    // Whoever runs the tests may have them ignore it.
    let hang_up = |args: &[&str], handling: &str| {
        let mut squall = Command::new("env");
        squall.arg(format!("--{handling}-signal=HUP")).arg(env!("CARGO_BIN_EXE_squall")).args(args);
        let squall = squall.current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        let mut squall = squall.spawn().unwrap();
        std::thread::park_timeout(Duration::from_secs(2));
        Command::new("kill").args(["-HUP", &squall.id().to_string()]).status().unwrap();
        let looks = if handling == "ignore" { 20 } else { 600 };
        let status = (0..looks).find_map(|_| {
            std::thread::park_timeout(Duration::from_millis(100));
            squall.try_wait().unwrap()
        });
        let _ = squall.kill();
        squall.wait().unwrap();
        status.and_then(|status| status.code())
    };
    assert_eq!(hang_up(&["run", "long.toml", "--out", "run"], "default"), Some(3));
    assert!(std::fs::read_to_string(dir.join("run/run.json")).unwrap().contains("\"interrupted\": true"));
    assert_eq!(hang_up(&["sweep", "long.toml", "--seeds", "0..2", "--out", "sweep"], "default"), Some(3));
    assert!(dir.join("sweep/sweep.json").exists());
    assert_eq!(hang_up(&["run", "long.toml", "--out", "nohup"], "ignore"), None, "nohup squall … goes on");
}
