//! The world: the chat system's roles on hosts that sleep until they are due, the network between them, their disks and clocks, the fleet of
//! virtual clients, the nemesis, and the loop that steps them all.
//!
//! **Invariant:** the scenario, the seed and the build decide every byte of a run. Checked by `squall verify-determinism`.

#[cfg(not(tokio_unstable))]
compile_error!(
    "squall-world needs --cfg tokio_unstable, which .cargo/config.toml sets; an environment's RUSTFLAGS overrides it: add it there"
);

pub mod disk;
mod hosts;
mod last_mile;
pub mod memory;
mod nemesis;
pub mod plants;
mod run;

pub use hosts::limits::limits_with_points;
pub use hosts::points::SOMETIMES;
pub use nemesis::SIDES;
pub use run::{RunError, RunOptions, SecondDigest, run};
pub use squall_generators::Forecast;
pub use squall_outcome::Progress;
