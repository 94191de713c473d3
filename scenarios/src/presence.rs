//! Who watches whom, and how long somebody counts as online.

use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_protocol::limits;

/// Who is online: told by presence hosts (`presences` of the topology) to whoever watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Presence {
    /// Conversations whose members a device watches at a time: some of those that it knows, others after a while.
    pub watches: u32,
    /// Members of one conversation whom a device watches at most: as many as are on its screen.
    pub watched_at_most: u32,
    /// A device looks at another conversation about this often.
    pub looks_every: Span,
    /// The share of people who want to look offline now and then.
    pub invisible: f64,
    /// A connection on which nothing was heard for so long makes nobody online.
    pub ttl: Span,
    /// Whoever has lost their last connection is online for as long.
    pub grace: Span,
}

impl Default for Presence {
    fn default() -> Self {
        Presence {
            watches: 0,
            watched_at_most: limits::MAX_WATCHED_AT_ONCE as u32,
            looks_every: Span::from_secs(12),
            invisible: 0.0,
            ttl: Span::from_micros(limits::PRESENCE_TTL.as_micros() as u64),
            grace: Span::from_micros(limits::PRESENCE_GRACE.as_micros() as u64),
        }
    }
}
