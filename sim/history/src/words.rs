//! The words of a history: why something happened, what a phase is called, how it stands with somebody.
//!
//! **Invariant:** what an event says by a word is in [`WORDS`], so that it can be read again; guarded by the tests of `event.rs`.

use serde::{Deserialize, Deserializer};

/// A word of the history: why something happened, or what a phase is called.
pub type Word = &'static str;

/// Every reason, cause and phase that events have. What a file has beside them is no event of ours.
const WORDS: &[&str] = &[
    "away",
    "busy",
    "closed by the gateway",
    "closed by the peer",
    "closed for a restart",
    "closed for a bad token",
    "closed for an expired token",
    "forged",
    "expired",
    "expiring",
    "not valid yet",
    "of another algorithm",
    "under an unknown key",
    "another's",
    "outstayed",
    "asked to leave",
    "open elsewhere",
    "conflict",
    "body_too_large",
    "connect timed out",
    "connected",
    "expected_client_seq",
    "fault",
    "group_too_large",
    "heal",
    "load",
    "not_a_member",
    "not_allowed",
    "blocked",
    "no socket could be opened",
    "overdue",
    "protocol error",
    "quiet",
    "ramp",
    "audit",
    "refused",
    "reset",
    "stale",
    "stopped",
    "timed out",
    "TLS failed",
    "too_often",
    "unknown_conversation",
    "no answer",
    "no welcome",
    "never connected",
    "superseded",
    "online",
    "offline",
    "unknown",
];

/// Reads a word.
pub(crate) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let text = String::deserialize(deserializer)?;
    let known = WORDS.iter().find(|word| **word == text).copied();
    // A word that is new here says only why; that it is there says what happened.
    Ok(known.unwrap_or("other"))
}
