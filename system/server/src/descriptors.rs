//! How many files and sockets this process may have open, and how many of them those may take who have shown no token.
//!
//! **Invariant:** whoever has shown no token takes a quarter of them at most, in all gateways together. Guarded by
//! `server/tests/descriptors.rs`.

#[cfg(target_os = "linux")]
use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use squall_protocol::limits::{GREETINGS_SHARE, MAX_GREETINGS};
use std::io;

/// The number of descriptors that the process may have; none where the system has no such bound, or does not tell.
#[cfg(target_os = "linux")]
pub fn allowed() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises that number as far as the process may by itself. What cannot be raised stays.
#[cfg(target_os = "linux")]
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Whether a connection could not be taken because there are no descriptors left, in the process or in the system.
#[cfg(target_os = "linux")]
pub fn are_exhausted(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(not(target_os = "linux"))]
pub fn allowed() -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn raise() {}

#[cfg(not(target_os = "linux"))]
pub fn are_exhausted(_: &io::Error) -> bool {
    false
}

/// How many connections each of these gateways may have in each of the two steps before a token is shown: the opening handshake, and the
/// wait for `hello`.
pub fn greetings(gateways: u16) -> usize {
    let share = |all: u64| all / GREETINGS_SHARE / 2 / u64::from(gateways.max(1));
    allowed()
        .map_or(MAX_GREETINGS, |all| usize::try_from(share(all)).unwrap_or(MAX_GREETINGS))
        .clamp(1, MAX_GREETINGS)
}
