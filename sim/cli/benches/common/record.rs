//! A scenario's run, in a process of its own, and what it has written of it.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The record of a run of this file, which is written into `out`.
pub fn of(file: &Path, out: &Path) -> Value {
    let squall = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["run", "--quiet", "--out"])
        .args([out, file])
        .output()
        .expect("squall can be started");
    let text = std::fs::read_to_string(out.join("run.json")).unwrap_or_else(|error| {
        panic!("{}: no record ({error}): {}", file.display(), String::from_utf8_lossy(&squall.stderr))
    });
    serde_json::from_str(&text).expect("a record is JSON")
}
