//! `squall explain --why`, through the program as a user starts it: it names the fault that a violation needed and no other, says so
//! where it needs none, and refuses what cannot be replayed.

mod common;

use common::{scratch, squall, text};

/// The registry forgets a device; the disk has nothing to do with it.
const ONE_OF_TWO: &str = r#"
seed = 2
[topology]
gateways = 1
messages = 1
[population]
users = 2
direct_conversations_per_user = 1
[workload]
send_interval = "2s"
follow_up_share = 0.0
[phases]
ramp = "200ms"
load = "1s"
liveness_bound = "40s"
[[faults]]
name = "a slow disk"
kind = "slow-disk"
target = ["messages-0"]
add = "1ms"
at = "100ms"
[[faults]]
name = "the registry restarts"
kind = "crash"
target = ["registry-0"]
at = "750ms"
for = "250ms"
"#;

/// Acks are held back while their devices connect anew and ack more: neither alone lets an older ack come after a newer one.
const BOTH: &str = r#"
seed = 0
[population]
users = 24
devices_per_user = 2
direct_conversations_per_user = 6
groups = 2
[workload]
send_interval = "1s"
direct_share = 0.8
heartbeat_interval = "3s"
[phases]
load = "10s"
liveness_bound = "40s"
[[faults]]
name = "acks are held"
at = "4s"
for = "3s"
kind = "hold"
between = ["gateway-0"]
and = ["messages-*"]
[[faults]]
at = "5s"
kind = "disconnect"
share = 0.9
"#;

/// Bodies are cut off whatever else happens.
const NONE: &str = r#"
seed = 2
[topology]
gateways = 1
messages = 1
[population]
users = 4
direct_conversations_per_user = 0
groups = 1
group_size_min = 2
group_size_max = 2
[workload]
send_interval = "2s"
membership_interval = "4s"
[phases]
ramp = "200ms"
load = "1s"
liveness_bound = "20s"
[[faults]]
name = "a slow disk"
kind = "slow-disk"
target = ["messages-0"]
add = "1ms"
at = "100ms"
"#;

/// Runs a scenario with these arguments, and gives the folder of its record.
fn recorded(name: &str, scenario: &str, args: &[&str]) -> String {
    let dir = scratch(name);
    let (file, out) = (dir.join("scenario-of-the-test.toml"), dir.join("out").display().to_string());
    std::fs::write(&file, scenario).unwrap();
    squall(&[&["run", &file.display().to_string(), "--quiet", "--out", &out], args].concat());
    out
}

fn why(dir: &str, more: &[&str]) -> String {
    let output = squall(&[&["explain", dir, "--why", "--quiet"], more].concat());
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    assert!(told.lines().skip(3).all(|line| line.chars().count() <= 80), "{told}");
    told
}

#[test]
fn of_two_faults_the_one_that_was_needed_is_named_and_when_the_run_turned() {
    let dir = recorded("why-one", ONE_OF_TWO, &["--plant", "no-sync-after-registration"]);
    let page = format!("{dir}/why.html");
    let told = why(&dir, &["--html", &page]);
    let sentence = "\"the registry restarts\" was necessary: with it no-loss is violated in 10 of 10 replays, without it in 0 of 10.";
    assert!(told.contains(sentence) && told.contains("The run turned between "), "{told}");
    assert!(told.contains("  10 of 10  ██████████  without \"a slow disk\"\n"), "{told}");
    assert!(!told.contains("plant") && !told.contains("no-sync"), "{told}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("&quot;the registry restarts&quot; was necessary") && page.contains("<svg"),
        "no answer"
    );
}

#[test]
fn of_two_faults_that_are_needed_together_both_are_named() {
    let dir = recorded("why-both", BOTH, &["--plant", "receipt-goes-back"]);
    let told = why(&dir, &[]);
    assert!(told.contains("\"acks are held\" and \"disconnect-1\" were both necessary: with both "), "{told}");
}

#[test]
fn what_needs_no_fault_blames_none() {
    let dir = recorded("why-none", NONE, &["--plant", "body-truncated"]);
    let told = why(&dir, &[]);
    assert!(told.contains("It needs no fault: without any, 10 of 10 replays violate "), "{told}");
    assert!(!told.contains("was necessary"), "{told}");
}

#[test]
fn a_salt_is_another_run_and_salt_0_is_the_seeds_own() {
    let digest = |name: &str, args: &[&str]| {
        let record = std::fs::read_to_string(format!("{}/run.json", recorded(name, NONE, args))).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        (
            record["digest"].as_str().unwrap().to_owned(),
            record["salt"].as_u64(),
            record["messages"]["sent"].as_u64(),
        )
    };
    let (plain, zero, one) =
        (digest("salt-no", &[]), digest("salt-0", &["--salt", "0"]), digest("salt-1", &["--salt", "1"]));
    assert_eq!((&plain, plain.1), (&zero, None));
    assert!(plain.0 != one.0 && one.1 == Some(1), "{one:?}");
    assert_eq!(plain.2, one.2, "people say what they say whatever the network does");
}

#[test]
fn what_cannot_be_replayed_is_refused_with_a_sentence() {
    let violated = recorded("why-refused", NONE, &["--plant", "body-truncated"]);
    let passed = recorded("why-passed", NONE, &[]);
    let salted = recorded("why-salted", NONE, &["--plant", "body-truncated", "--salt", "3"]);
    let alone = scratch("why-alone").display().to_string();
    let changed = scratch("why-changed").display().to_string();
    for dir in [&alone, &changed] {
        std::fs::copy(format!("{violated}/run.json"), format!("{dir}/run.json")).unwrap();
    }
    let scenario = std::fs::read_to_string(format!("{violated}/scenario.toml")).unwrap();
    std::fs::write(format!("{changed}/scenario.toml"), scenario.replace("users = 4", "users = 5")).unwrap();
    for (args, hint) in [
        (&["explain", &passed, "--why"][..], "nothing was violated in this run"),
        (&["explain", &alone, "--why"], "scenario.toml: there is no such file"),
        (&["explain", &changed, "--why"], "another build of squall, or of another scenario"),
        (&["explain", &salted, "--why"], "is a replay itself, with salt 3"),
        (&["explain", &violated, "--why", "--limit", "0s"], "leaves no time for a single replay"),
        (&["explain", &violated, "--why", "--device", "1"], "cannot be used with"),
        (&["explain", &violated, "--limit", "1m"], "--why"),
        (&["explain", "no/such/folder", "--why"], "name a folder that `squall run --out` has written"),
    ] {
        let output = squall(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(hint), "{args:?}: {}", text(&output.stderr));
    }
    let output = squall(&["explain", &violated, "--why", "--limit", "1ms"]);
    assert_eq!(output.status.code(), Some(3), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stderr).contains("shrink it first: squall shrink "), "{}", text(&output.stderr));
}
