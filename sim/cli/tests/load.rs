//! `squall load` against a real server on loopback: it passes, it finds planted bugs, it sees a server die and come back, and it refuses what it
//! cannot or must not do.

mod common;

use common::{SCENARIOS, scratch, squall, text};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// These tests take real time: one after the other, so that none makes another late.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that ends with the test.
struct Server {
    process: Child,
    dir: PathBuf,
    urls: Vec<String>,
}

impl Server {
    fn start(dir: &Path, options: &[&str]) -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_planted-chatd"))
            .arg("--data")
            .arg(dir.join("data"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let gateways = if options.contains(&"--gateways") { 1 } else { 2 };
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().take(gateways);
        let urls = lines.map(|line| line.unwrap().strip_prefix("listening on ").unwrap().to_owned()).collect();
        Server { process, dir: dir.to_owned(), urls }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The same server again, on the ports and the data that it had.
    fn restart(&mut self) {
        let listen = self.urls[0].strip_prefix("ws://").unwrap().to_owned();
        *self = Server::start(&self.dir.clone(), &["--listen", &listen, "--gateways", "1"]);
    }

    fn load(&self, scenario: &str, options: &[&str]) -> (Output, serde_json::Value) {
        let (file, out) = (self.dir.join("scenario.toml"), self.dir.join("out"));
        std::fs::write(&file, scenario).unwrap();
        let (file, out, urls) = (file.display().to_string(), out.display().to_string(), self.urls.join(","));
        let common = [
            "load",
            &file,
            "--url",
            &urls,
            "--secret",
            "planted",
            "--quiet",
            "--late-at-most-ms",
            BUSY,
            "--out",
            &out,
        ];
        let output = squall(&[&common, options].concat());
        let record = std::fs::read(self.dir.join("out/run.json")).unwrap_or_else(|_| b"null".to_vec());
        (output, serde_json::from_slice(&record).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tests run beside each other: how late the machine makes a generator says nothing here.
const BUSY: &str = "10000";

const PEOPLE: &str = "[population]\nusers = 200\ngroups = 20\ngroup_size_max = 20\n[workload]\nsend_interval = \"2s\"\ndirect_share = 0.7\n\
    session_length = \"10s\"\naway_length = \"2s\"\n[phases]\nramp = \"2s\"\nload = \"12s\"\n";

fn verdict(of: &(Output, serde_json::Value)) -> (Option<i32>, String) {
    (of.0.status.code(), text(&of.0.stdout) + &text(&of.0.stderr))
}

#[test]
fn two_hundred_people_on_real_sockets_are_judged_in_full() {
    let _turn = turn();
    let server = Server::start(&scratch("load-passes"), &[]);
    let faults = "[[faults]]\nkind = \"disconnect\"\nshare = 0.3\nat = \"4s\"\n[[faults]]\nkind = \"duplicate-sends\"\nshare = 0.3\nat = \"2s\"\nfor = \"8s\"\n\
        [[faults]]\nkind = \"liars\"\ncount = 4\nat = \"1s\"\nfor = \"8s\"\n";
    let run = server.load(&format!("{PEOPLE}{faults}"), &["--server-pid", &server.process.id().to_string()]);
    let (status, said) = verdict(&run);
    assert_eq!(status, Some(0), "{said}");
    let (_, record) = run;
    let number = |path: &str| {
        record.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("no {path}"))
    };
    assert!(number("/messages/acked") > 800 && number("/load/audited_entries") >= number("/messages/acked"));
    assert_eq!(number("/load/unread_users"), 0);
    assert!(number("/load/server/cpu_ms") > 0 && number("/load/server/peak_rss_bytes") > 1 << 20);
    let names: Vec<&str> =
        record["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"acked-is-durable") && !names.contains(&"tables-agree"), "{names:?}");
    assert_eq!(record["not_judged"].as_array().unwrap().len() + names.len(), squall_checks::names().count());
    let series = record["series"]["counts"]["server_cpu_us"].as_array().unwrap();
    assert!(series.len() >= 10, "{series:?}");
}

#[test]
fn what_was_acked_outlives_a_server_that_is_killed_and_started_again() {
    let _turn = turn();
    let dir = scratch("load-kill");
    // Of several gateways each takes a free port: only that of one is known for the next start.
    let mut server = Server::start(&dir, &["--gateways", "1"]);
    let (tell, told) = std::sync::mpsc::channel();
    let urls = server.urls.clone();
    let loading = Server { process: Command::new("true").spawn().unwrap(), dir: dir.clone(), urls };
    let run = std::thread::spawn(move || tell.send(loading.load(PEOPLE, &["--no-profile"])));
    std::thread::park_timeout(Duration::from_secs(7));
    server.kill();
    std::thread::park_timeout(Duration::from_secs(1));
    server.restart();
    let run_of = told.recv_timeout(Duration::from_secs(170)).expect("a run that ends");
    run.join().unwrap().unwrap();
    let (status, said) = verdict(&run_of);
    assert_eq!(status, Some(0), "{said}");
    let record = run_of.1;
    assert!(record["clients"]["reconnects"].as_u64() >= Some(150), "{}", record["clients"]);
}

#[test]
fn planted_bugs_are_found_on_real_sockets() {
    let _turn = turn();
    let bugs = [
        ("dedup-by-user-not-device", "fair-weather"),
        ("bus-drops-silently", "fair-weather"),
        ("fan-out-forgets-second-device", "fair-weather"),
        ("newcomer-sees-all-history", "fair-weather"),
        ("shown-after-leaving", "fair-weather"),
        ("no-server-dedup", "lost-acks"),
        ("restamped-duplicate", "lost-acks"),
        ("creation-takes-any-name", "strangers"),
        ("anybody-may-join", "strangers"),
        ("pages-for-whoever-asks", "strangers"),
        ("return-shows-the-gap", "restless-groups"),
        ("leaver-takes-away", "insiders"),
        ("direct-names-whoever", "insiders"),
    ];
    let find = |(bug, scenario): (&'static str, &'static str)| {
        std::thread::spawn(move || {
            // What a bug has lost is waited for in vain: not for long.
            let text = std::fs::read_to_string(format!("{SCENARIOS}/bugs/{scenario}.toml")).unwrap();
            let bound = text.lines().find(|line| line.starts_with("liveness_bound")).unwrap();
            let text = text.replace(bound, "liveness_bound = \"8s\"");
            // Real time is no seed: what depends on a race need not be met at the first try.
            let mut tries = (1..=3).map(|n| {
                let server = Server::start(&scratch(&format!("load-{bug}-{n}")), &["--plant", bug]);
                verdict(&server.load(&text, &["--no-profile"]))
            });
            let mut last = tries.next().unwrap();
            while last.0 != Some(1) {
                let Some(next) = tries.next() else { break };
                last = next;
            }
            (bug, last)
        })
    };
    let runs: Vec<_> = bugs.into_iter().map(find).collect();
    let unseen: Vec<String> = runs
        .into_iter()
        .map(|run| run.join().unwrap())
        .filter(|(_, (status, _))| *status != Some(1))
        .map(|(bug, (_, said))| format!("{bug}: {said}"))
        .collect();
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}

#[test]
fn two_generators_share_a_run_and_are_judged_together() {
    let _turn = turn();
    let dir = scratch("load-shards");
    let server = Server::start(&dir, &[]);
    let file = dir.join("scenario.toml");
    std::fs::write(&file, PEOPLE).unwrap();
    let (file, urls) = (file.display().to_string(), server.urls.join(","));
    let date = Command::new("date").arg("+%s").output().unwrap();
    let begins = (text(&date.stdout).trim().parse::<u64>().unwrap() + 10).to_string();
    let out = |number: u32| dir.join(format!("shard-{number}")).display().to_string();
    let generators = [1, 2].map(|number| {
        let (file, urls, begins, out) = (file.clone(), urls.clone(), begins.clone(), out(number));
        std::thread::spawn(move || {
            let part = format!("{number}/2");
            let common = [
                "load",
                &file,
                "--url",
                &urls,
                "--secret",
                "planted",
                "--quiet",
                "--no-profile",
                "--late-at-most-ms",
                BUSY,
            ];
            squall(
                &[&common[..], &["--shard", &part, "--start-at", &begins, "--run-id", "5aa5", "--out", &out]]
                    .concat(),
            )
        })
    });
    for generator in generators {
        let output = generator.join().unwrap();
        // Alone it proves nothing.
        assert_eq!(output.status.code(), Some(3), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).contains("one shard of several"));
    }
    let all = dir.join("all").display().to_string();
    let merged = squall(&["merge", &out(1), &out(2), "--out", &all]);
    assert_eq!(merged.status.code(), Some(0), "{}{}", text(&merged.stdout), text(&merged.stderr));
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("all/run.json")).unwrap()).unwrap();
    assert_eq!(record["clients"]["virtual"], 200);
    assert!(record["messages"]["acked"].as_u64() > Some(800));
    let missing = squall(&["merge", &out(1), "--out", &dir.join("one").display().to_string()]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("shard 2 of 2 is missing"), "{}", text(&missing.stderr));
}

#[test]
fn what_cannot_or_must_not_be_done_is_refused_with_the_next_step() {
    let dir = scratch("load-refuses");
    let file = dir.join("x.toml");
    std::fs::write(
        &file,
        format!("{PEOPLE}[[faults]]\nkind = \"crash\"\ntarget = [\"gateway-0\"]\nat = \"2s\"\nfor = \"1s\"\n"),
    )
    .unwrap();
    let file = file.display().to_string();
    let said = |options: &[&str]| {
        let output = squall(&[&["load", &file, "--secret", "s"], options].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    let local = "ws://127.0.0.1:9";
    for (options, what) in [
        (&["--url", local][..], "kill the server's process"),
        (&["--url", "ws://192.0.2.1:80"], "--i-own-this-server"),
        (&["--url", "http://127.0.0.1"], "not http"),
        (&["--url", local, "--skip-unsupported", "--at-most-seconds", "3"], "--at-most-seconds"),
        (&["--url", local, "--skip-unsupported", "--at-most-rate", "3"], "--at-most-rate"),
        (&["--url", local, "--skip-unsupported", "--run-id", "0"], "hexadecimal"),
        (&["--url", local, "--skip-unsupported", "--server-pid", "4000000"], "no such process"),
    ] {
        let text = said(options);
        assert!(text.contains(what), "{options:?}: {text}");
    }
}
