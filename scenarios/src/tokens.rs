//! The tokens of devices: what the app's backend issues.

use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens that the app's backend issues: JWTs, by a clock that is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// How long a token counts, beside the minute of leeway that gateways give it. A device shows a newer one before. Whole seconds.
    pub lifetime: Span,
    /// When the backend is out of reach, from the start of the load: it issues nothing, and devices go on with what they have.
    pub away_from: Span,
    /// For how long it is, at the latest until the load ends. 0s: never.
    pub away_for: Span,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens { lifetime: Span::from_secs(24 * 3_600), away_from: Span::ZERO, away_for: Span::ZERO }
    }
}
