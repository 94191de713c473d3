//! How a command ends, and the number that a shell sees of it. No other file knows the numbers.
//!
//! Checked by `tests/exit.rs`, through the program as a user starts it.

use squall_reports::Verdict;
use std::process::ExitCode;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All properties hold, and whatever else was asked for was done.
    Pass,
    /// A property is violated, or a comparison came out as it must not.
    Violated,
    /// What the user named cannot be used: a file, an option, a folder to write to.
    BadInput,
    /// Something other than the system under test failed: a disk, a process, the harness. It says nothing of the properties.
    Unfinished,
    /// Too little was judged or exposed.
    Inconclusive,
}

impl Exit {
    pub const fn status(self) -> u8 {
        match self {
            Exit::Pass => 0,
            Exit::Violated => 1,
            Exit::BadInput | Exit::Unfinished => 2,
            Exit::Inconclusive => 3,
        }
    }

    /// Whether a run that ended with this status has come to this verdict.
    pub fn is(verdict: Verdict, status: Option<i32>) -> bool {
        status == Some(Exit::from(verdict).status().into())
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Pass => Exit::Pass,
            Verdict::Violated => Exit::Violated,
            Verdict::Inconclusive => Exit::Inconclusive,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.status())
    }
}
