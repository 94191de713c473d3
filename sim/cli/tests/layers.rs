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
fn one_file_names_turmoil() {
    // A word of its own: the scenario's key and the module of that file are called so as well.
    let allowed = "sim/world/src/hosts/turmoil.rs";
    for dir in ["system", "sim", "generators", "reports", "scenarios"] {
        for (path, text) in files_in(dir) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            // The runtime compares itself with turmoil in its tests and benchmarks.
            if name == allowed || name.starts_with("sim/runtime/") || name == "sim/cli/tests/layers.rs" {
                continue;
            }
            for word in ["turmoil::Builder", "turmoil::Sim", "turmoil::net"] {
                let code = text.lines().any(|line| line.split("//").next().unwrap_or("").contains(word));
                assert!(!code, "{name} names {word}, which stands in {allowed} only");
            }
        }
    }
}

#[test]
fn an_oracle_shares_no_code_with_what_it_judges() {
    nothing_names("sim/checks/src", &["squall_core", "squall_server", "squall_client"]);
}

#[test]
fn an_autopsy_sees_the_history_and_nothing_of_what_was_planted() {
    let outside =
        ["squall_core", "squall_server", "squall_world", "squall_scenarios", "squall_generators", "squall_checks"];
    nothing_names("sim/autopsy/src", &outside);
    nothing_names("sim/autopsy/src", &["plant"]);
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
        "sim/runtime/src/interpose/mod.rs",
        "sim/runtime/src/interpose/futex.rs",
        "sim/runtime/tests/interpose.rs",
        // It reads the clock as a dependency does.
        "sim/runtime/tests/common/mod.rs",
        "sim/cli/src/child.rs",
        "sim/cli/src/verify.rs",
        "sim/ledger/src/lib.rs",
        // They call the ledger, which must not be asked while another thread works in an account.
        "sim/world/src/memory/accounts.rs",
        "sim/world/src/run/seconds.rs",
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

#[test]
fn a_folder_has_its_root_in_it() {
    for dir in ["system", "sim", "scenarios", "generators", "reports"] {
        for (path, _) in files_in(dir) {
            assert!(!path.with_extension("").is_dir(), "{}: belongs into its folder, as mod.rs", path.display());
        }
    }
}

fn documents(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            documents(&path, into);
        } else if path.extension().is_some_and(|e| e == "md") {
            into.push(path);
        }
    }
}

/// The targets of Markdown's links in a text, without those that stand in code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let mut rest = line;
        while let (false, Some(at)) = (in_code, rest.find("](")) {
            rest = &rest[at + 2..];
            links.extend(rest.split_once(')').map(|(link, _)| link.to_owned()));
        }
    }
    links
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut all = Vec::new();
    documents(&root(), &mut all);
    assert!(all.len() > 8, "the documents are not where this test looks");
    let mut followed = 0;
    for document in all {
        for link in links(&fs::read_to_string(&document).unwrap()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            followed += 1;
            let place = document.parent().unwrap().join(file);
            assert!(place.exists(), "{} links to {link}, which is not there", document.display());
        }
    }
    assert!(followed > 50, "only {followed} links were found");
}

#[test]
fn the_readme_is_a_front_door() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines < 300, "README.md has {lines} lines: the reference lives beside its subject");
}
