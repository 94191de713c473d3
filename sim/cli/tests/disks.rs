//! A disk that is full, and one that may only be read: what a run came to is said first, then why nothing of it was kept, and what an earlier
//! run has left does not pass for it. The disks are real ones: small tmpfs in a mount namespace of their own, where a user may make one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SCENARIO: &str = "[population]\nusers = 40\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"20s\"\nliveness_bound = \"15s\"\n";

/// Mounts a disk and leaves an earlier run's record on it that passed.
const MOUNT: &str = r#"
set -eu
mkdir -p disk && mount -t tmpfs -o size=512k none disk
mkdir disk/out && cp passed/run.json disk/out/run.json
"#;

/// Fills what is left of it.
const FILL: &str = "cat /dev/zero > disk/ballast 2> /dev/null || true\n";

/// What is there in the end.
const TELL: &str = r#"
echo "status $?"
cd disk/out && for file in *; do echo "left $file"; done
"#;

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("quiet.toml"), SCENARIO).unwrap();
    let passed = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["run", "quiet.toml", "--quiet", "--out", "passed"])
        .current_dir(&dir)
        .output()
        .unwrap();
    assert_eq!(passed.status.code(), Some(0), "{}", String::from_utf8_lossy(&passed.stderr));
    dir
}

/// How a shell can be started that may mount: as root, or as one of a user namespace of its own.
fn namespace() -> Option<&'static str> {
    ["-m", "-rm"].into_iter().find(|option| {
        let mut unshare = Command::new("unshare");
        unshare.args([option, "sh", "-c", "mount -t tmpfs none /tmp"]).stdout(Stdio::null()).stderr(Stdio::null());
        unshare.status().is_ok_and(|status| status.success())
    })
}

/// What a script in such a shell says; `None` where nobody may mount.
fn on_a_disk(name: &str, parts: &[&str]) -> Option<String> {
    let Some(option) = namespace() else {
        eprintln!("{name}: skipped, for nothing can be mounted here: run it as root, or allow user namespaces");
        return None;
    };
    let dir = scratch(name);
    let output = Command::new("unshare")
        .args([option, "sh", "-c", &[MOUNT, &parts.concat()].concat()])
        .env("SQUALL", env!("CARGO_BIN_EXE_squall"))
        .current_dir(dir)
        .output()
        .unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// That these stand in it, in this order, and that of the earlier run nothing is left.
fn says(said: &str, parts: &[&str]) {
    let mut rest = said;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in its place in\n{said}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!said.contains("left run.json"), "the record of the earlier run is there:\n{said}");
}

#[test]
fn a_full_disk_is_said_after_the_verdict_and_leaves_no_record() {
    let run = "set +e; \"$SQUALL\" run quiet.toml --quiet --out disk/out 2>&1";
    let Some(said) = on_a_disk("disk-full", &[FILL, run, TELL]) else { return };
    says(&said, &["pass ", "cannot write it: No space left on device", "status 2"]);
}

#[test]
fn a_history_that_does_not_fit_takes_nothing_of_the_verdict() {
    let run = "set +e; \"$SQUALL\" run quiet.toml --quiet --history --out disk/out 2>&1";
    // There is room for all the rest.
    let Some(said) = on_a_disk("disk-full-history", &[run, TELL]) else { return };
    says(
        &said,
        &[
            "pass ",
            "history.jsonl: cannot write the history: No space left on device",
            "nothing of the run was kept",
            "status 2",
        ],
    );
    assert!(!said.contains("left history.jsonl"), "half a history is there:\n{said}");
}

#[test]
fn a_disk_that_may_only_be_read_is_refused_before_the_run() {
    let run = "mount -o remount,ro disk; set +e; \"$SQUALL\" run quiet.toml --quiet --out disk/out 2>&1";
    let Some(said) = on_a_disk("disk-read-only", &[run, TELL]) else { return };
    assert!(
        said.contains("run.json: cannot remove what an earlier run has left here: Read-only file system")
            && said.contains("name another folder with --out")
            && said.contains("status 2"),
        "{said}"
    );
    assert!(!said.contains("pass "), "a run that cannot be kept was made:\n{said}");
}

#[test]
fn a_disk_that_becomes_read_only_meanwhile_is_said_after_the_verdict() {
    // The run removes the earlier record before it begins.
    let run = r#"set +e
"$SQUALL" run quiet.toml --quiet --out disk/out > said 2>&1 &
while [ -e disk/out/run.json ]; do sleep 0.01; done
# As long as a removal is under way the disk is busy.
for again in $(seq 100); do mount -o remount,ro disk 2> /dev/null && break; sleep 0.01; done
wait $!; status=$?; cat said; (exit $status)"#;
    let Some(said) = on_a_disk("disk-becomes-read-only", &[run, TELL]) else { return };
    says(&said, &["pass ", "cannot write it: Read-only file system", "status 2"]);
}

#[test]
fn a_sweep_on_a_full_disk_says_what_it_came_to_and_why_it_kept_nothing() {
    let run = "set +e; TMPDIR=$PWD \"$SQUALL\" sweep quiet.toml --seeds 0..2 --jobs 1 --quiet --out disk/out --junit disk/out/j.xml 2>&1";
    // What an earlier sweep came to.
    let earlier = "rm disk/out/run.json; echo '{}' > disk/out/sweep.json\n";
    let Some(said) = on_a_disk("disk-full-sweep", &[earlier, FILL, run, TELL]) else { return };
    says(&said, &["2 did not finish", "sweep.json: cannot write it: No space left on device", "status 2"]);
    assert!(!said.contains("left sweep.json") && !said.contains("left report.html"), "{said}");
}
