//! The hosts of a run: machines that run the system's roles, the threads on which they step, and what they meet.
//!
//! | file | is |
//! |---|---|
//! | `boot` | starts a role as in reality, with simulated seams |
//! | `machine` | a host: its power, its faults, its disk |
//! | `group` | hosts that sleep until they are due, on the thread on which they live |
//! | `turmoil` | the second opinion: hosts that share turmoil's TCP |
//! | `threads` | the threads on which hosts step beside each other |
//! | `commits` | a shard's commits: each at one instant of simulated time, on a second core in a large run |
//! | `bill` | what the work of a host costs it, and how long it is busy |
//! | `probe` | the server's observer in a host |
//! | `hops` | the server's hops, for what somebody follows |
//! | `points` | named points: what each counts as, and cuts that wait for one |
//! | `limits` | which point tells that a limit of the system was reached |
//! | `mailbox` | what hosts tell |
//! | `backbone` | what carries the traffic between hosts |

pub mod backbone;
pub mod bill;
pub mod boot;
pub mod commits;
pub mod group;
pub mod hops;
pub mod limits;
pub mod machine;
pub mod mailbox;
pub mod points;
pub mod probe;
pub mod threads;
pub mod turmoil;
