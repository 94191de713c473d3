//! Who reads what is shown to them, and says so.

use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Devices that say what their persons have read. While nobody reads, nobody is told how far others have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Receipts {
    /// The share of devices whose persons read each text that is shown there.
    pub readers: f64,
    /// How long after it was shown a text is read at most.
    pub within: Span,
}

impl Default for Receipts {
    fn default() -> Self {
        Receipts { readers: 0.0, within: Span::from_secs(10) }
    }
}

impl Receipts {
    /// Whether anybody reads: then devices keep receipts, and are told of others.
    pub fn are_kept(&self) -> bool {
        self.readers > 0.0
    }
}
