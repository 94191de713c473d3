//! What changed between two sides: builds, settings or scenarios, each with runs of the same seeds.
//!
//! | file | is |
//! |---|---|
//! | `mod` | what a comparison says, and what it comes to |
//! | `pairs` | which run is compared with which |
//! | `measures` | what is compared of two runs |
//! | `judge` | from pairs to a word for each measure |
//! | `interleaved` | whether the machine's part can be told |
//! | `bounds` | the file of bounds |
//! | `text`, `markdown`, `page` | for a terminal, for a pull request, with pictures |
//!
//! **Invariants:** the run is the unit, for messages of one run share their trouble. Runs are paired by scenario and seed. Nothing is called
//! worse for being seen once: with fewer than [`FEWEST_PAIRS`] pairs only verdicts and bounds count. What depends on the machine
//! counts only from runs made in turn. Whoever compares too little is told so, and never that all is well.

pub mod bounds;
mod interleaved;
mod judge;
mod markdown;
mod measures;
mod page;
mod pairs;
mod text;

pub use bounds::{Bounds, BoundsError};
pub use judge::compare;
pub use measures::{Better, Unit};
pub use pairs::{PairError, Side};

use crate::latency::Histogram;
use crate::record::Verdict;

/// With fewer pairs no difference is called one, whatever its size.
pub const FEWEST_PAIRS: usize = 6;
/// The chance of a wrong word among all of a comparison.
pub const LEVEL: f64 = 0.05;
/// What is smaller than this share is no difference that anybody should act on, however sure it is.
pub const LEAST_CHANGE: f64 = 0.01;
/// The same for what depends on the machine: even runs made in turn have a first and a second.
pub const LEAST_CHANGE_OF_MACHINE: f64 = 0.02;

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error(transparent)]
    Pairs(#[from] PairError),
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    #[error("nothing that these runs measure is named {measure:?}; they measure {known}")]
    UnknownMeasure { measure: String, known: String },
}

/// A word for a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// No difference that could be told from chance, or none that matters.
    Same,
    Worse,
    Better,
    /// Different, and neither is better.
    Other,
    NotJudged,
}

impl Word {
    pub fn text(self) -> &'static str {
        match self {
            Word::Same => "same",
            Word::Worse => "worse",
            Word::Better => "better",
            Word::Other => "other",
            Word::NotJudged => "not judged",
        }
    }
}

/// What became of a measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub name: String,
    pub unit: Unit,
    pub better: Better,
    pub of_machine: bool,
    /// In which both runs have measured something.
    pub pairs: usize,
    /// Medians over the runs of each side.
    pub a: f64,
    pub b: f64,
    /// The median of the pairs' changes, as a share of A; `None` where A has nothing of it.
    pub change: Option<f64>,
    /// Corrected for all that were asked; `None` where nothing was.
    pub p: Option<f64>,
    pub word: Word,
    /// Bounds that are broken, each as a sentence.
    pub broken: Vec<String>,
}

/// Two runs of one scenario and seed that did not come to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    pub scenario: String,
    pub seed: u64,
    pub a: Verdict,
    pub b: Verdict,
    /// Checks that are violated in B and not in A.
    pub newly_violated: Vec<String>,
    /// The command that repeats B's run.
    pub reproduce: String,
}

/// One side, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideWords {
    /// As the user named it.
    pub name: String,
    /// How many runs, of what, by which build, on which machine.
    pub words: String,
    /// How many of its compared runs passed, were violated, were inconclusive.
    pub verdicts: [u64; 3],
}

/// A latency of both sides, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// As `latency_ms` names it.
    pub name: String,
    pub a: Histogram,
    pub b: Histogram,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub a: SideWords,
    pub b: SideWords,
    /// Pairs of different runs.
    pub pairs: usize,
    pub turned: Vec<Turned>,
    pub measures: Vec<Compared>,
    /// Points of the code that only A's runs reached, and only B's.
    pub lost_points: Vec<String>,
    pub new_points: Vec<String>,
    /// What a reader must know to believe the rest.
    pub notes: Vec<String>,
    pub curves: Vec<Curves>,
    /// Something was asked that could have been answered with "worse".
    pub judged: bool,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Worse,
    NotWorse,
    /// Too few pairs and no bounds: nothing was judged.
    TooLittle,
}

impl Comparison {
    pub fn answer(&self) -> Answer {
        match (self.regressions().is_empty(), self.judged) {
            (false, _) => Answer::Worse,
            (true, true) => Answer::NotWorse,
            (true, false) => Answer::TooLittle,
        }
    }

    /// What got worse, a sentence each.
    pub fn regressions(&self) -> Vec<String> {
        let mut found = Vec::new();
        for turned in self.turned.iter().filter(|turned| !turned.newly_violated.is_empty()) {
            let checks = turned.newly_violated.join(", ");
            found.push(format!(
                "{} seed {}: {checks} is violated in B and was not in A",
                turned.scenario, turned.seed
            ));
        }
        for measure in &self.measures {
            if measure.word == Word::Worse {
                found.push(format!(
                    "{}: {} became {} ({})",
                    measure.name,
                    measure.unit.text(measure.a),
                    measure.unit.text(measure.b),
                    change_text(measure.change)
                ));
            }
            found.extend(measure.broken.iter().cloned());
        }
        found
    }

    /// What it comes to, for somebody who has a minute.
    pub fn sentence(&self) -> String {
        let pairs = counted(self.pairs, "pair");
        let count = |word| self.measures.iter().filter(|measure| measure.word == word).count();
        match self.answer() {
            Answer::Worse => {
                let (found, judged) = (self.regressions().len(), self.judged);
                let things = if found == 1 { "thing" } else { "things" };
                let only = if judged { "" } else { "; for measures there are too few pairs" };
                format!("B is worse than A in {found} {things}, of {pairs} of runs{only}.")
            }
            Answer::NotWorse if count(Word::Better) + count(Word::Other) == 0 => {
                format!("Nothing tells B from A in {pairs} of runs.")
            }
            Answer::NotWorse => format!(
                "Nothing is worse in B, of {pairs} of runs; {} better, {} other.",
                count(Word::Better),
                count(Word::Other)
            ),
            Answer::TooLittle => {
                format!("This proves nothing: {pairs} of runs are too few for a word, and no bounds were named.")
            }
        }
    }
}

pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A change as people write it.
pub(crate) fn change_text(change: Option<f64>) -> String {
    match change {
        None => "new".to_owned(),
        Some(change) if change.abs() < 0.000_5 => "0 %".to_owned(),
        Some(change) if change.abs() >= 10.0 => format!("x {:.0}", 1.0 + change),
        Some(change) => format!("{:+.1} %", 100.0 * change),
    }
}

/// A p-value as people write it.
pub(crate) fn p_text(p: Option<f64>) -> String {
    match p {
        None => "-".to_owned(),
        Some(p) if p < 0.001 => "<0.001".to_owned(),
        Some(p) => format!("{p:.3}"),
    }
}
