//! What a sweep leaves behind and tells while it goes on, through the program as a user starts it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const SMALL: &str = "[population]\nusers = 4\n[workload]\nsend_interval = \"1s\"\n[phases]\nload = \"4s\"\nliveness_bound = \"15s\"\n";
/// No answer comes within a microsecond.
const IMPOSSIBLE: &str =
    "[[checks.service_levels]]\nmeasure = \"send-to-ack\"\npercentile = 50\nat_most = \"1us\"\n";

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("quiet.toml"), SMALL).unwrap();
    std::fs::write(dir.join("slow.toml"), [SMALL, IMPOSSIBLE].concat()).unwrap();
    dir
}

fn start(dir: &Path, args: &[&str]) -> Child {
    let mut squall = Command::new(env!("CARGO_BIN_EXE_squall"));
    squall.args(args).current_dir(dir).env("TMPDIR", dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    squall.spawn().unwrap()
}

fn squall(dir: &Path, args: &[&str]) -> Output {
    start(dir, args).wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn a_sweep_leaves_a_page_and_of_each_failure_all_there_is() {
    let dir = scratch("sweep-out");
    let sweep = |seeds: &str| {
        let args = ["sweep", "quiet.toml", "slow.toml", "--seeds", seeds, "--out", "night"];
        squall(&dir, &args)
    };
    let first = sweep("3..5");
    assert_eq!(first.status.code(), Some(1), "{}", text(&first));
    let night = dir.join("night");
    let record = json(&night.join("sweep.json"));
    assert_eq!(record["runs"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&record["runs"][2]["verdict"], &record["runs"][2]["folder"]),
        (&"violated".into(), &"runs/slow-3".into())
    );
    assert_eq!(record["runs"][2]["violated"][0]["check"], "service-levels");
    assert!(!record["runs"][0]["new_corners"].as_array().unwrap().is_empty());
    let page = std::fs::read_to_string(night.join("report.html")).unwrap();
    for file in ["report.html", "run.json", "scenario.toml", "history.jsonl"] {
        assert!(night.join("runs/slow-3").join(file).exists(), "{file}");
        assert!(page.contains(&format!("href=\"runs/slow-3/{file}\"")), "{file}");
    }
    assert!(std::fs::read_to_string(night.join("junit.xml")).unwrap().contains("slow seed 3"));
    // Of a run that passed there is what a comparison needs, and its page can be made.
    assert!(!night.join("runs/quiet-3/report.html").exists());
    assert_eq!(json(&night.join("runs/quiet-3/run.json"))["series"], Value::Null);
    assert_eq!(squall(&dir, &["report", "night/runs/quiet-3"]).status.code(), Some(0));
    std::fs::remove_file(night.join("report.html")).unwrap();
    assert_eq!(squall(&dir, &["report", "night"]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(night.join("report.html")).unwrap(), page);
    let compared = squall(&dir, &["compare", "night", "night"]);
    assert!(text(&compared).contains("INCONCLUSIVE  4 pairs"), "{}", text(&compared));
    // What was there is gone when another sweep begins, or fails to; and what it is to run is not cleared away.
    let own = squall(&dir, &["sweep", "night/runs/slow-3/scenario.toml", "--seeds", "1", "--out", "night"]);
    assert_eq!(own.status.code(), Some(2));
    assert!(text(&own).contains("lies in the folder that --out clears"), "{}", text(&own));
    assert!(night.join("runs/slow-3/scenario.toml").exists() && !night.join("report.html").exists());
    std::fs::write(dir.join("green.xml"), "<testsuites/>").unwrap();
    assert_eq!(squall(&dir, &["sweep", "nothing.toml", "--junit", "green.xml"]).status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(dir.join("green.xml")).unwrap(), "");
    assert_eq!(sweep("4..5").status.code(), Some(1));
    assert!(!night.join("runs/quiet-3").exists() && night.join("runs/quiet-4/run.json").exists());
}

#[test]
fn a_swarm_tells_what_each_seed_drew() {
    let dir = scratch("sweep-swarm-out");
    let sweep =
        squall(&dir, &["sweep", "--swarm", "--seeds", "0..2", "--inconclusive-at-most", "100", "--out", "night"]);
    assert_eq!(sweep.status.code(), Some(0), "{}", text(&sweep));
    let record = json(&dir.join("night/sweep.json"));
    assert!(record["runs"][1]["drew"].as_str().unwrap().len() > 20, "{record}");
    assert!(std::fs::read_to_string(dir.join("night/report.html")).unwrap().contains("What each seed drew"));
}

#[test]
fn a_program_can_watch() {
    let dir = scratch("sweep-json");
    let events = |args: &[&str]| -> Vec<Value> {
        let output = squall(&dir, args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} is no JSON")))
            .collect()
    };
    let sweep = events(&["sweep", "quiet.toml", "slow.toml", "--seeds", "0..2", "--progress", "json"]);
    let of = |name: &str| sweep.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(of("run").len(), 4);
    assert!(of("run").iter().any(|run| run["verdict"] == "violated" && run["scenario"] == "slow.toml"));
    let [end] = of("end")[..] else { panic!("{sweep:?}") };
    assert_eq!((&end["done"], &end["asked"], &end["violated"]), (&4.into(), &4.into(), &2.into()));
    std::fs::write(dir.join("long.toml"), SMALL.replace("users = 4", "users = 100").replace("\"4s\"", "\"60s\""))
        .unwrap();
    let run = events(&["run", "long.toml", "--progress", "json", "--quiet"]);
    assert!(
        run.iter().all(|event| event["event"] == "progress" && event["share"].as_f64().unwrap() <= 1.0),
        "{run:?}"
    );
    assert!(!run.is_empty());
}

#[test]
fn a_sweep_ends_when_its_time_is_up() {
    let dir = scratch("sweep-for");
    let watch = stopwatch();
    let sweep = squall(&dir, &["sweep", "quiet.toml", "--for", "2s", "--jobs", "1", "--out", "night"]);
    assert_eq!(sweep.status.code(), Some(0), "{}", text(&sweep));
    assert!(!text(&sweep).contains("interrupted") && watch() < 60.0, "{}", text(&sweep));
    let runs = json(&dir.join("night/sweep.json"))["runs"].as_array().unwrap().len();
    assert!(
        runs >= 1 && text(&sweep).contains(&format!("{runs} of {runs} runs: {runs} passed")),
        "{}",
        text(&sweep)
    );
}

/// The most memory that a process has had, in MiB.
fn peak_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

#[test]
fn a_sweep_of_all_the_seeds_there_are_takes_no_memory_and_can_be_stopped() {
    let dir = scratch("sweep-endless");
    let sweep =
        start(&dir, &["sweep", "quiet.toml", "--seeds", "0..10000000000", "--jobs", "1", "--junit", "a.xml"]);
    std::thread::park_timeout(Duration::from_secs(2));
    let peak = peak_mib(sweep.id());
    Command::new("kill").args(["-INT", &sweep.id().to_string()]).status().unwrap();
    let output = sweep.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains(" of 10000000000 runs"), "{}", text(&output));
    assert!(peak < 100, "{peak} MiB");
    // The last part of very many begins with its first run, and not by counting to it.
    let last = ["sweep", "quiet.toml", "--seeds", "0..10000000000", "--shard", "10000000000/10000000000"];
    let output = squall(&dir, &last);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("1 of 1 runs: 1 passed"), "{}", text(&output));
}

#[test]
fn a_sweep_in_which_nothing_was_judged_proves_nothing() {
    let dir = scratch("sweep-nothing");
    let refused = squall(&dir, &["sweep", "quiet.toml", "--for", "0s"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("in no time nothing can be done; write e.g. 10m"), "{}", text(&refused));
    let short = squall(&dir, &["sweep", "quiet.toml", "--for", "1us", "--out", "night"]);
    assert_eq!(short.status.code(), Some(3), "{}", text(&short));
    assert!(
        text(&short).contains("nothing was judged: no run ended in the time that --for gives"),
        "{}",
        text(&short)
    );
    assert!(std::fs::read_to_string(dir.join("night/report.html")).unwrap().contains("Nothing was judged"));
    assert!(std::fs::read_to_string(dir.join("night/junit.xml")).unwrap().contains("nothing was judged: 0 of 0"));
}

#[test]
fn no_more_processes_are_begun_than_there_are_runs() {
    let dir = scratch("sweep-jobs");
    std::fs::write(dir.join("long.toml"), SMALL.replace("\"4s\"", "\"10h\"")).unwrap();
    let sweep = start(&dir, &["sweep", "long.toml", "--seeds", "0..2", "--jobs", "1000", "--out", "night"]);
    std::thread::park_timeout(Duration::from_secs(1));
    let threads = std::fs::read_dir(format!("/proc/{}/task", sweep.id())).unwrap().count();
    Command::new("kill").args(["-TERM", &sweep.id().to_string()]).status().unwrap();
    sweep.wait_with_output().unwrap();
    assert!(threads <= 4, "{threads} threads for two runs");
}

/// Seconds since it was asked for.
#[expect(clippy::disallowed_methods, reason = "a test of wall time looks at wall time")]
fn stopwatch() -> impl Fn() -> f64 {
    let start = std::time::Instant::now();
    move || start.elapsed().as_secs_f64()
}

/// The process that a process has started.
fn child_of(parent: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).find(|process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default().to_owned();
        after_name.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent)
    })
}

#[test]
fn a_killed_run_is_told_with_its_signal() {
    let dir = scratch("sweep-killed");
    std::fs::write(dir.join("long.toml"), SMALL.replace("\"4s\"", "\"10h\"")).unwrap();
    std::fs::write(dir.join("junit.xml"), "<testsuites/>").unwrap();
    let sweep = start(&dir, &["sweep", "long.toml", "--seeds", "7", "--junit", "junit.xml", "--out", "night"]);
    let run = (0..200).find_map(|_| {
        std::thread::park_timeout(Duration::from_millis(50));
        child_of(sweep.id())
    });
    // It has memory by then.
    std::thread::park_timeout(Duration::from_secs(1));
    assert_eq!(
        std::fs::read_to_string(dir.join("junit.xml")).unwrap(),
        "",
        "an earlier green must not be left meanwhile"
    );
    Command::new("kill")
        .args(["-KILL", &run.expect("the sweep has started its run").to_string()])
        .status()
        .unwrap();
    let sweep = sweep.wait_with_output().unwrap();
    let said = text(&sweep);
    assert_eq!(sweep.status.code(), Some(2), "{said}");
    assert!(said.contains("long.toml --seed 7: killed by signal 9 (SIGKILL); it had held "), "{said}");
    assert!(said.contains("reproduce: squall run long.toml --seed 7"), "{said}");
    for file in ["junit.xml", "night/junit.xml", "night/report.html", "night/sweep.json"] {
        assert!(
            std::fs::read_to_string(dir.join(file)).unwrap().contains("killed by signal 9 (SIGKILL)"),
            "{file}"
        );
    }
}
