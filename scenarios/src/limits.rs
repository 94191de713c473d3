//! What one user may do, and how large a group may be before it is a channel: the limits that the server is started with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_protocol::limits;

/// Declares the limits once: the field, its default, and its documentation.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident = $default:expr;)+) => {
        /// What one user may do in the long run and at once, and from how many members on a group is told of in another way. Whoever does more is told to wait,
        /// and loses nothing.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: u32,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($field: $default,)+ }
            }
        }

        impl Limits {
            /// Every limit under its key.
            pub fn keys(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }

            /// The limit under a key, to be changed.
            pub fn keys_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut u32)> {
                [$((stringify!($field), &mut self.$field),)+].into_iter()
            }
        }
    };
}

limits! {
    /// Frames of one user, by weight, that each gateway reads a second in the long run; at least four for each send.
    frames_per_second = limits::USER_FRAMES.0;
    /// The most of them at once; at least four for each send.
    frames_burst = limits::USER_FRAMES.1;
    /// Sends of one user, resends included, that each gateway takes a second in the long run.
    sends_per_second = limits::USER_SENDS.0;
    /// The most of them at once.
    sends_burst = limits::USER_SENDS.1;
    /// Conversations that one user may create a second in the long run, at each shard.
    creations_per_second = limits::USER_CREATIONS.0;
    /// The most of them at once.
    creations_burst = limits::USER_CREATIONS.1;
    /// People whom one user may put into conversations a second in the long run, at each shard; those whom a creation names count.
    additions_per_second = limits::USER_ADDITIONS.0;
    /// The most of them at once; a larger creation takes all of them.
    additions_burst = limits::USER_ADDITIONS.1;
    /// Joins and leaves, of whomever, that one user may send a second in the long run, at each shard.
    changes_per_second = limits::USER_CHANGES.0;
    /// The most of them at once.
    changes_burst = limits::USER_CHANGES.1;
    /// Members beyond which a group is a channel, whose entries go once to each gateway that holds a member; it is a group again when half as
    /// many are left.
    channel_above = limits::CHANNEL_ABOVE;
    /// Members of the largest group whose devices are told who has been shown and has read what; those of a larger one are told how many.
    receipts_named_up_to = limits::RECEIPTS_NAMED_UP_TO;
}
