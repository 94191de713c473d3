//! A story: the steps of a message through devices and hosts, in lanes, with what caused what.
//!
//! | file | is |
//! |---|---|
//! | `mod` | what a story is made of |
//! | `text` | it as text, for a terminal |
//! | `picture` | it as a space-time diagram in SVG |
//!
//! **Invariant:** steps stand in the order of their times, and a step comes after the one that caused it. Guarded by the tests of
//! `sim/autopsy`.

mod picture;
mod text;

pub use picture::{STYLE, render};
pub use text::{clock, write};

use serde::{Deserialize, Serialize};

/// What a lane stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    /// The device that sent.
    Sender,
    Gateway,
    Shard,
    Disk,
    Registry,
    Bus,
    Presence,
    /// A device that was to receive.
    Receiver,
}

/// A device, a host or its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub kind: LaneKind,
}

/// How a step is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    Plain,
    /// A crash, a cut, a fault that begins.
    Fault,
    /// What was broken.
    Wrong,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Simulated µs.
    pub t: u64,
    /// The lane in which it happened, by its number.
    pub lane: usize,
    /// The step of another lane that caused it, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<usize>,
    pub text: String,
    pub tone: Tone,
}

/// The lanes and the steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagram {
    pub lanes: Vec<Lane>,
    pub steps: Vec<Step>,
    /// Steps that were left out for want of room, after so many that are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<(usize, usize)>,
}

/// A wait that is folded: nothing happens for so long before this step, in µs.
const FOLD_US: u64 = 1_000_000;

impl Diagram {
    /// The wait before a step that is long enough to be folded, in µs.
    fn folded_before(&self, step: usize) -> Option<u64> {
        let before = step.checked_sub(1)?;
        let wait = self.steps[step].t - self.steps[before].t;
        (wait >= FOLD_US).then_some(wait)
    }

    /// How many steps were left out after this one.
    fn left_out_after(&self, step: usize) -> Option<usize> {
        self.left_out.filter(|(after, _)| *after == step + 1).map(|(_, count)| count)
    }
}
