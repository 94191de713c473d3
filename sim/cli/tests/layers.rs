//! Who may import whom, and how long a file may grow: the rules of the house as tests.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn files_in(dir: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&root().join(dir), &mut files);
    files.sort();
    assert!(!files.is_empty(), "{dir} holds no Rust");
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// No file of `dir` names any of `words`, comments aside.
fn nothing_names(dir: &str, words: &[&str]) {
    for (path, text) in files_in(dir) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            for word in words {
                assert!(!code.contains(word), "{}:{}: names {word}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_system_knows_nothing_of_simulation() {
    let outside = ["squall_network", "squall_world", "squall_history", "squall_checks", "squall_generators"];
    nothing_names("system", &outside);
    nothing_names("system", &["squall_scenarios", "squall_reports", "turmoil", "cfg(simulation)"]);
}

#[test]
fn the_pure_crates_have_no_runtime() {
    for dir in ["system/core/src", "system/protocol/src"] {
        nothing_names(dir, &["tokio", "std::time::Instant", "SystemTime", "rand::"]);
    }
}

#[test]
fn only_the_world_names_turmoil() {
    for dir in ["sim/network", "sim/history", "sim/checks", "generators", "reports"] {
        nothing_names(dir, &["turmoil::"]);
    }
}

#[test]
fn an_oracle_shares_no_code_with_what_it_judges() {
    nothing_names("sim/checks/src", &["squall_core", "squall_server", "squall_client"]);
}

#[test]
fn the_network_knows_nothing_of_chat() {
    nothing_names("sim/network/src", &["squall_protocol", "squall_core", "squall_server"]);
}

#[test]
fn reports_run_nothing() {
    nothing_names("reports/src", &["squall_world", "squall_scenarios", "squall_checks"]);
}

#[test]
fn unsafe_stands_in_named_places_only() {
    let allowed = [
        "sim/world/src/interpose.rs",
        "sim/world/tests/interpose.rs",
        "sim/cli/src/child.rs",
        "sim/cli/src/verify.rs",
        "sim/ledger/src/lib.rs",
        // They call the ledger, which must not be asked while another thread works in an account.
        "sim/world/src/accounts.rs",
        "sim/world/src/run.rs",
        "sim/world/src/seconds.rs",
    ];
    let this_test = "sim/cli/tests/layers.rs";
    for dir in ["system", "sim", "scenarios/src", "generators/src", "reports/src"] {
        for (path, text) in files_in(dir) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            if !allowed.contains(&name.as_str()) && name != this_test {
                let found = text.lines().any(|l| l.split("//").next().unwrap_or("").contains("unsafe "));
                assert!(
                    !found,
                    "{name} has unsafe code; move it to one of {allowed:?} or name it here, with the reason"
                );
            }
        }
    }
}

#[test]
fn a_file_holds_one_concept() {
    for dir in ["system", "sim", "scenarios", "generators", "reports"] {
        for (path, text) in files_in(dir) {
            let lines = text.lines().count();
            assert!(lines <= 600, "{} has {lines} lines: look for the second concept", path.display());
            assert!(!text.contains(concat!("to", "do!(")), "{} leaves something open", path.display());
        }
    }
}
