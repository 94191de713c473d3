//! What a property is to the table of them: its name, what it counts, and two functions.

use crate::facts::{Fact, Facts};
use crate::report::Tally;

/// One property. It keeps no state but its tally: what it needs to remember is in [`Facts`].
pub(crate) struct Property {
    /// Kebab-case, as scenario files and reports name it.
    pub name: &'static str,
    /// What is guaranteed, in one sentence.
    pub guarantee: &'static str,
    /// What its `evaluated` counts.
    pub evaluation: &'static str,
    /// What its `exposed` counts.
    pub exposure: &'static str,
    /// Judges a step of the run or of the audit.
    pub judge: fn(&Fact, &Facts, &mut Tally),
    /// Judges what only the end can tell.
    pub conclude: fn(&Facts, &mut Tally),
}

/// For a property that the end tells nothing more.
pub(crate) fn nothing_more(_: &Facts, _: &mut Tally) {}
