//! What the server's work costs a host: prices of counted work, so that overload and the price of an attack can be seen.
//!
//! The server counts its work and never times it, so a run with prices is as deterministic as one without. A host pays for
//! what it has done before it does anything more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares the prices once: the field, its default in ns, and its documentation.
macro_rules! prices {
    ($($(#[doc = $doc:literal])+ $field:ident = $default:literal;)+) => {
        /// Prices of work in nanoseconds of one core. A file without `[costs]` says that the server's CPU is free.
        ///
        /// The defaults are of the order that one core of a small machine shows on real sockets; they are not calibrated.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Costs {
            /// Cores of each host. Work is shared out among them evenly.
            pub cores: u32,
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Default for Costs {
            fn default() -> Self {
                Costs { cores: 1, $($field: $default,)+ }
            }
        }

        impl Costs {
            /// Every price under its key.
            pub fn prices(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }

            /// The price under a key, to be changed.
            pub fn prices_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut u64)> {
                [$((stringify!($field), &mut self.$field),)+].into_iter()
            }
        }
    };
}

prices! {
    /// An opening handshake, answered well or badly.
    handshake_ns = 40_000;
    /// A token checked.
    token_ns = 3_000;
    /// A frame read from a device or written to one.
    frame_ns = 6_000;
    /// A byte of such a frame.
    frame_byte_ns = 2;
    /// A request of a gateway, taken by a shard.
    request_ns = 4_000;
    /// A row read from a shard's database.
    row_ns = 2_000;
    /// A byte of a body in such a row.
    row_byte_ns = 1;
    /// A commit of a shard, beside its `commit_latency`, during which the host does other things.
    commit_ns = 50_000;
    /// An entry in a commit.
    entry_ns = 10_000;
    /// A byte of a body in such an entry.
    entry_byte_ns = 3;
    /// A member looked at: one whom a creation names, or who is to receive an entry.
    member_ns = 100;
    /// A publication: handed to a bus, taken by one, or taken from one.
    publication_ns = 3_000;
    /// A user whose places a registry is asked for.
    lookup_ns = 500;
    /// A registration that a registry takes.
    registration_ns = 2_000;
}
