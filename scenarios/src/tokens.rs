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
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens { lifetime: Span::from_secs(24 * 3_600) }
    }
}
