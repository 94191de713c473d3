//! Records of many runs, through the program as a user starts it: compared, merged, shown over time, or refused.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

/// Nothing goes wrong, and a commit takes so long.
fn calm(dir: &Path, commit_ms: u64) {
    std::fs::create_dir_all(dir).unwrap();
    let source = format!(
        "[topology]\ncommit_latency = \"{commit_ms}ms\"\n[population]\nusers = 10\n[workload]\nsend_interval = \"500ms\"\n\
         [phases]\nload = \"10s\"\nliveness_bound = \"15s\"\n"
    );
    std::fs::write(dir.join("calm.toml"), source).unwrap();
}

/// The records of the scenario in a folder for these seeds, in folders of their own.
fn records(dir: &Path, side: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let out = format!("{side}/runs/{seed}");
        let run = squall(
            dir,
            &["run", &format!("{side}/calm.toml"), "--seed", &seed.to_string(), "--quiet", "--out", &out],
        );
        assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    }
}

#[test]
fn equal_builds_are_equal_and_a_sync_a_fifth_slower_is_seen() {
    let dir = scratch("compare");
    for (side, commit_ms) in [("twenty", 20), ("again", 20), ("slower", 24)] {
        calm(&dir.join(side), commit_ms);
        records(&dir, side, 0..20);
    }
    let equal = squall(&dir, &["compare", "twenty", "again"]);
    assert_eq!(equal.status.code(), Some(0), "{}", text(&equal));
    assert!(text(&equal).contains("Nothing tells B from A in 20 pairs of runs."), "{}", text(&equal));
    let slower = squall(&dir, &["compare", "twenty", "slower", "--markdown", "c.md", "--html", "c.html"]);
    let said = text(&slower);
    assert_eq!(slower.status.code(), Some(1), "{said}");
    assert!(said.contains("send to ack p50: ") && said.contains("the scenario files of A and B differ"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    assert!(read("c.md").contains("- **send to ack p50: "), "{}", read("c.md"));
    assert!(read("c.html").contains("<figure id=\"percentiles-send-to-ack\">"));

    // A few pairs say nothing without bounds, and with them what they say.
    let few = |bound: &str| {
        std::fs::write(dir.join("bounds.toml"), format!("[[bounds]]\nmeasure = \"send to ack p50\"\n{bound}\n"))
            .unwrap();
        squall(&dir, &["compare", "twenty/runs/3", "slower/runs/3", "--bounds", "bounds.toml"])
    };
    assert_eq!(squall(&dir, &["compare", "twenty/runs/3", "slower/runs/3"]).status.code(), Some(3));
    assert_eq!(few("worse_by_at_most = 1").status.code(), Some(1));
    assert_eq!(few("worse_by_at_most = 90").status.code(), Some(0));
    let wrong = few("worst = 1");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("bounds.toml:3:1: unknown field `worst`"), "{}", text(&wrong));
    let strangers = squall(&dir, &["compare", "twenty/runs/3", "slower/runs/4"]);
    assert_eq!(strangers.status.code(), Some(2));
    assert!(text(&strangers).contains("make both with the same seeds"), "{}", text(&strangers));

    let merged = squall(&dir, &["merge", "twenty", "slower", "--out", "merged"]);
    assert_eq!(merged.status.code(), Some(0), "{}", text(&merged));
    let json = |file: &str| serde_json::from_str::<Value>(&read(file)).unwrap();
    let record = json("merged/run.json");
    assert_eq!(record["merged"].as_array().unwrap().len(), 40);
    let counted = |file: &str| json(file)["latency_ms"]["send_to_ack"]["count"].as_u64().unwrap();
    let each =
        ["twenty", "slower"].iter().flat_map(|side| (0..20).map(move |n| format!("{side}/runs/{n}/run.json")));
    assert_eq!(counted("merged/run.json"), each.map(|file| counted(&file)).sum::<u64>());
    assert_eq!(squall(&dir, &["merge", "twenty", "merged", "--out", "twice"]).status.code(), Some(2));

    let trend = squall(&dir, &["trend", "twenty", "slower", "--html", "trend.html"]);
    assert_eq!(trend.status.code(), Some(0), "{}", text(&trend));
    assert!(text(&trend).contains("calm\n") && text(&trend).contains("  40  "), "{}", text(&trend));
    assert!(read("trend.html").contains("<figure id=\"trend-0-0\">"));
}

#[test]
fn what_is_no_record_is_refused_by_all_who_read_records() {
    let dir = scratch("no-records");
    calm(&dir.join("good"), 4);
    records(&dir, "good", 0..1);
    let record = std::fs::read_to_string(dir.join("good/runs/0/run.json")).unwrap();
    let newer = record.replacen("\"format\": 1", "\"format\": 900", 1);
    assert_ne!(newer, record);
    for (folder, content, hint) in [
        ("missing", None, "run.json"),
        ("empty", Some(String::new()), "this is not the record of a run: EOF"),
        ("truncated", Some(record[..record.len() / 2].to_owned()), "this is not the record of a run: EOF"),
        (
            "foreign",
            Some("{\"name\": \"package\", \"version\": 3}".to_owned()),
            "this is not the record of a run: missing field",
        ),
        ("prose", Some("no JSON at all".to_owned()), "this is not the record of a run: expected"),
        ("newer", Some(newer), "this record has format 900, and this squall knows up to 1"),
        ("bare", None, "run.json"),
    ] {
        if folder != "missing" {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        if let Some(content) = content {
            std::fs::write(dir.join(folder).join("run.json"), content).unwrap();
        }
        for args in [
            &["report", folder][..],
            &["compare", folder, "good"],
            &["compare", "good", folder],
            &["merge", "good", folder, "--out", "merged"],
            &["trend", "good", folder],
        ] {
            let refused = squall(&dir, args);
            let told = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", text(&refused));
            // A folder that is not there has no record to name.
            let hint = if folder == "missing" { folder } else { hint };
            assert!(told.contains(hint) && told.contains(folder), "{args:?}: {told}");
            assert!(refused.stdout.is_empty() && told.lines().count() == 1, "{args:?}: {}", text(&refused));
            assert!(!dir.join("merged").exists(), "{args:?}");
        }
    }
}

#[test]
fn what_an_earlier_run_left_does_not_survive_one_that_fails() {
    let dir = scratch("leftovers");
    calm(&dir.join("a"), 4);
    let run = |seed: &str| squall(&dir, &["run", "a/calm.toml", "--seed", seed, "--out", "out", "--history"]);
    assert_eq!(run("1").status.code(), Some(0));
    assert!(dir.join("out/run.json").exists() && dir.join("out/history.jsonl").exists());
    // A scenario that is wrong, or a bug that there is none of: what was green is gone as well.
    for args in [
        &["run", "a/nothing.toml", "--out", "out"][..],
        &["run", "a/calm.toml", "--plant", "no-such", "--out", "out"],
    ] {
        assert_eq!(squall(&dir, args).status.code(), Some(2), "{args:?}");
        for file in ["run.json", "junit.xml", "report.html", "history.jsonl"] {
            assert!(!dir.join("out").join(file).exists(), "{args:?}: {file}");
        }
        assert_eq!(run("1").status.code(), Some(0));
    }
    // The scenario that a run has left is not run into the folder in which it is: nothing is written over what is read.
    assert_eq!(squall(&dir, &["run", "out/scenario.toml", "--out", "out"]).status.code(), Some(2));
    assert!(dir.join("out/scenario.toml").exists() && dir.join("out/run.json").exists());
    // The page cannot be written, as on a full disk: the verdict was said, and nothing looks like a whole run.
    assert_eq!(run("1").status.code(), Some(0));
    std::fs::remove_file(dir.join("out/report.html")).unwrap();
    std::fs::create_dir_all(dir.join("out/report.html/in-the-way")).unwrap();
    let failed = run("2");
    assert_eq!(failed.status.code(), Some(2), "{}", text(&failed));
    assert!(text(&failed).contains("PASS  calm  seed 2"), "{}", text(&failed));
    assert!(text(&failed).contains("report.html: cannot write it: Is a directory"), "{}", text(&failed));
    assert!(!dir.join("out/run.json").exists(), "the record of seed 1 would be taken for that of seed 2");
}

/// A disk that takes nothing: `/dev/full` is one, and a link to it stands where a file is to be written.
#[test]
fn a_full_disk_says_so_after_the_verdict() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: this machine has no /dev/full, and nothing was judged");
        return;
    }
    let dir = scratch("full-disk");
    calm(&dir.join("a"), 4);
    let sweep = squall(&dir, &["sweep", "a/calm.toml", "--seeds", "0..2", "--junit", "/dev/full"]);
    assert_eq!(sweep.status.code(), Some(2), "{}", text(&sweep));
    assert!(text(&sweep).contains("2 of 2 runs: 2 passed"), "{}", text(&sweep));
    assert!(text(&sweep).contains("/dev/full: cannot write it: No space left on device"), "{}", text(&sweep));
}
