//! What tests of the program share: a folder of their own, the program as a user starts it, and what it said.

#![allow(dead_code, reason = "each test is a program of its own and uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");

/// An empty folder of this name, for one test.
pub fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs the program with these arguments, where the test runs.
pub fn squall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall")).args(args).output().expect("squall starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a scenario of the planted bugs with one of them, sees it violated, and gives the folder of its record.
pub fn violated(name: &str, scenario: &str, bug: &str, options: &[&str]) -> PathBuf {
    let dir = scratch(name);
    let (file, out) = (format!("{SCENARIOS}/bugs/{scenario}.toml"), dir.display().to_string());
    let output = squall(&[&["run", &file, "--quiet", "--plant", bug, "--out", &out], options].concat());
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    dir
}
