//! `squall explain`, through the program as a user starts it: the run is the same whether somebody follows it or not, an explanation of
//! another run is refused, and what cannot be explained is said.

mod common;

use common::{SCENARIOS, scratch, squall, text, violated};
use std::path::Path;

fn record(dir: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("run.json")).unwrap()).unwrap()
}

#[test]
fn a_run_that_is_followed_is_the_same_run() {
    let dir = violated("explain-followed", "lost-acks", "no-server-dedup", &[]);
    let alone = record(&dir);
    let first = &alone["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == "no-duplicates")
        .unwrap()["first"];
    let conversation = first["conversation"].as_str().unwrap();
    for threads in ["1", "2"] {
        let followed = violated(
            "explain-following",
            "lost-acks",
            "no-server-dedup",
            &["--history-of", conversation, "--threads", threads],
        );
        assert_eq!(record(&followed)["digest"], alone["digest"]);
        let history = std::fs::read_to_string(followed.join("history.jsonl")).unwrap();
        for kind in [
            "received",
            "staged",
            "committing",
            "synced",
            "answered",
            "handed",
            "planned",
            "looked_up",
            "forwarded",
            "carried",
        ] {
            assert!(history.contains(&format!("\"kind\":\"{kind}\"")), "no {kind} is told");
        }
    }
}

#[test]
fn the_first_violation_has_a_sentence_a_story_and_a_picture() {
    let dir = violated("explain-story", "lost-acks", "no-server-dedup", &[]);
    let page = dir.join("story.html");
    let output = squall(&["explain", &dir.display().to_string(), "--html", &page.display().to_string()]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    let autopsies = &record(&dir)["autopsies"];
    let cause = autopsies[0]["cause"].as_str().unwrap();
    assert!(cause.starts_with("stored twice, at seq ") && told.contains(cause), "{cause}\n{told}");
    assert!(!told.contains("plant") && !told.contains("no-server-dedup"), "{told}");
    assert!(told.lines().nth(1).is_some_and(|line| line.starts_with("it: message ")), "{told}");
    assert!(told.contains("┌ messages-") && told.contains("◆ no-duplicates is broken"), "{told}");
    for page in [page, dir.join("report.html")] {
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains("<figure class=\"story\">") && page.contains("stored twice"),
            "no story in the page"
        );
    }
    let message = told_message(&dir);
    for what in [["--message", &message], ["--device", "1"]] {
        let output = squall(&["explain", &dir.display().to_string(), what[0], what[1]]);
        assert_eq!(output.status.code(), Some(0), "{what:?}: {}", text(&output.stderr));
        let told = text(&output.stdout);
        assert!(
            told.contains('●') && (what[0] == "--message" || told.contains(" (conversation ")),
            "{what:?}: {told}"
        );
        assert!(what[0] == "--message" || !told.contains("this one"), "{told}");
    }
    let page = std::fs::read_to_string(dir.join("story.html")).unwrap();
    assert!(page.contains("no-server-dedup") && page.contains("<code id=\"reproduce\">squall run"), "{page}");
}

#[test]
fn a_sweep_is_told_from_a_run() {
    let (dir, file) = (scratch("explain-sweep"), format!("{SCENARIOS}/bugs/fair-weather.toml"));
    let out = dir.display().to_string();
    squall(&["sweep", &file, "--seeds", "0..1", "--jobs", "1", "--quiet", "--out", &out]);
    let output = squall(&["explain", &out]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("this is a sweep: name one of its runs, e.g. ") && told.contains("/runs/"), "{told}");
}

#[test]
fn who_had_no_part_in_a_run_is_told() {
    let (dir, file) = (scratch("explain-nobody"), format!("{SCENARIOS}/bugs/fair-weather.toml"));
    let out = dir.display().to_string();
    let output =
        squall(&["run", &file, "--quiet", "--out", &out, "--history-of", "1", "--history-of", "424242424242"]);
    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stderr);
    assert!(
        told.contains("--history-of 424242424242: no conversation or device") && !told.contains("--history-of 1:"),
        "{told}"
    );
}

/// A message that was violated.
fn told_message(dir: &Path) -> String {
    let record = record(dir);
    let firsts = record["checks"].as_array().unwrap().iter().map(|check| &check["first"]["client_msg_id"]);
    firsts.filter_map(|id| id.as_str()).next().unwrap().to_owned()
}

#[test]
fn another_run_and_what_is_not_there_are_refused_with_a_sentence() {
    let dir = violated("explain-refused", "lost-acks", "no-server-dedup", &[]);
    let named = dir.display().to_string();
    let passed = scratch("explain-passed");
    let file = format!("{SCENARIOS}/bugs/fair-weather.toml");
    squall(&["run", &file, "--quiet", "--out", &passed.display().to_string()]);
    let changed = scratch("explain-changed");
    for file in ["run.json", "scenario.toml"] {
        std::fs::copy(dir.join(file), changed.join(file)).unwrap();
    }
    let scenario = std::fs::read_to_string(changed.join("scenario.toml")).unwrap();
    std::fs::write(
        changed.join("scenario.toml"),
        scenario.replacen("[population]", "[population]\naway_share = 0.1\naway_until = \"5s\"", 1),
    )
    .unwrap();
    let (passed, changed) = (passed.display().to_string(), changed.display().to_string());
    for (args, hint) in [
        (&["explain", "no/such/folder"][..], "name a folder that `squall run --out` has written"),
        (&["explain", &passed], "name one with --message"),
        (&["explain", &changed], "another build of squall, or of another scenario"),
        (&["explain", &named, "--message", "abc"], "is no id of a message"),
        (&["explain", &named, "--message", "00000000-0000-0000-0000-000000000001"], "no device sent a message"),
        (&["explain", &named, "--device", "999999"], "no device 999999"),
        (&["explain", &named, "--conversation", "1"], "nothing was said in a conversation 1"),
        (&["explain", &named, "--html", "no/such/folder/page.html"], "name another file with --html"),
    ] {
        let output = squall(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(hint), "{args:?}: {}", text(&output.stderr));
    }
}
