//! What people say of their writing, before they send.

use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_protocol::limits;

/// That people say that they are writing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Typing {
    /// The share of texts before which their author's device says that it is being written.
    pub before: f64,
    /// How long each of these is being written.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// How often that is said meanwhile. Devices of ours say it every 3 s; with less than 1 s it is a storm, of which most is dropped.
    pub every: Span,
    /// The share of these whose author has the conversation open on all of their devices, each of which says so.
    pub everywhere: f64,
    /// The share of these that are given up: what is being written, to whomever, is never sent.
    pub given_up: f64,
}

impl Default for Typing {
    fn default() -> Self {
        Typing {
            before: 0.0,
            lasts: Span::from_secs(4),
            every: limits::TYPING_AGAIN_AFTER.into(),
            everywhere: 0.0,
            given_up: 0.0,
        }
    }
}

impl Typing {
    /// Whether anybody ever says so.
    pub fn is_said(&self) -> bool {
        self.before > 0.0
    }

    /// Whether it is said more often than the system lets through.
    pub fn is_storm(&self) -> bool {
        self.is_said() && self.every.as_duration() < limits::TYPING_INTERVAL
    }

    /// How often it is said of one text.
    pub fn times(&self) -> u64 {
        self.lasts.as_micros().div_ceil(self.every.as_micros().max(1)).max(1)
    }
}
