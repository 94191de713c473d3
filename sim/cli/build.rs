//! Which commit this is built from, for the records of runs: `SQUALL_COMMIT`, and `SQUALL_CLEAN` when nothing was changed beside it.
//! Both are empty where there is no git. The record has a hash of the program itself as well, which is never out of date.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    // A look must not write: a refreshed index would ask for another build each time.
    let output = Command::new("git")
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    println!("cargo::rustc-env=SQUALL_COMMIT={commit}");
    println!("cargo::rustc-env=SQUALL_CLEAN={}", if clean { "clean" } else { "" });
    println!("cargo::rerun-if-changed=build.rs");
    for file in ["logs/HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
