//! One run: builds the world from a scenario and a seed, steps it through its phases, audits what is left, and writes the record.
//!
//! | file | is |
//! |---|---|
//! | `options` | what a run is asked, what it tells while it goes on, why it could not be finished |
//! | `build` | a world from a scenario and a seed |
//! | `world` | the phases, and what happens in a tick |
//! | `seconds` | the end of every simulated second: digests, trace, memory, progress |
//! | `observatory` | where events go |
//! | `audit`, `conclude` | what the disks hold at the end; the verdict and the record |

mod audit;
mod build;
mod conclude;
mod observatory;
mod options;
mod seconds;
mod world;

pub(crate) use observatory::Observatory;
pub use options::{Progress, RunError, RunOptions, SecondDigest};
#[cfg(test)]
pub(crate) use world::World;

use crate::memory::accounts::Account;
use squall_generators::rng::key;
use squall_reports::RunRecord;
use squall_runtime::interpose::{WorldContext, enter_world, prime_thread};
use squall_scenarios::Scenario;

/// Runs a scenario on this thread, which should be fresh, as are those that it starts: what libraries keep for a thread is then the
/// run's own.
pub fn run(scenario: &Scenario, options: RunOptions) -> Result<RunRecord, RunError> {
    let context = WorldContext::new(key(options.seed, "world"));
    let _guard = enter_world(&context);
    prime_thread();
    let _account = Account::World.enter();
    if let Some(bug) = options.plant {
        squall_core::plant::plant(bug.plant);
    }
    let mut world = world::World::build(scenario, options)?;
    world.run()?;
    world.conclude()
}
