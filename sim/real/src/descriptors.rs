//! How many connections a process can hold: each takes a file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a run needs beside its connections.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one, as every process may; how many descriptors there may be.
pub fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    // Where it stays as it is, there are fewer.
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// How many connections that leaves room for.
pub fn connections(descriptors: u64) -> u64 {
    descriptors.saturating_sub(RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_at_least_what_it_was() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
        assert!(raise() >= before);
        assert_eq!(connections(20_000), 19_936);
    }
}
