//! A host's runtime that sleeps until it is due.
//!
//! A simulated host is a tokio runtime whose clock is simulated. Instead of stepping it at every instant to find out whether it has
//! something to do, [`HostRuntime::step`] runs what is ready and gives back when the host's next timer is due. Until then, or until
//! somebody outside wakes one of its tasks ([`Marks`]), nothing of it needs to run.
//!
//! **Invariant:** stepping a host when it is due is the same as stepping it at every instant: the same tasks run in the same order
//! at the same times, with the same randomness. Checked by `tests/programs.rs` on random programs.

#[cfg(not(tokio_unstable))]
compile_error!(
    "squall-runtime needs --cfg tokio_unstable, which .cargo/config.toml sets; an environment's RUSTFLAGS overrides it: add it there"
);
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
compile_error!("squall-runtime answers the system calls of 64-bit Linux with glibc, and of nothing else");
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("squall-runtime knows how x86_64 and aarch64 call the kernel, and no other architecture");

mod host;
pub mod interpose;
mod life;
mod marks;

pub use host::{Blocking, Due, HostRuntime, Settings, Stepping};
pub use marks::{Marker, Marks};
