//! One run: builds the world from a scenario and a seed, steps it through its phases, audits what is left, and writes the record.
//!
//! | file | is |
//! |---|---|
//! | `options` | what a run is asked, what it tells while it goes on, why it could not be finished |
//! | `build` | a world from a scenario and a seed |
//! | `world` | the phases, and what happens in a tick |
//! | `seconds` | the end of every simulated second: digests, trace, memory, progress |
//! | `observatory` | where events go |
//! | `latencies` | what was measured, whole and over time |
//! | `bystanders` | the latency of those whom no fault has touched, beside a run without faults |
//! | `audit`, `conclude` | what the disks hold at the end; the verdict and the record |

mod audit;
mod build;
mod bystanders;
mod conclude;
mod observatory;
mod options;
mod seconds;
mod world;

pub(crate) use observatory::Observatory;
pub use options::{RunError, RunOptions, SecondDigest};
#[cfg(test)]
pub(crate) use world::World;

use crate::memory::accounts::Account;
use bystanders::Bystanders;
use squall_generators::rng::key;
use squall_reports::RunRecord;
use squall_runtime::interpose::{WorldContext, enter_world, prime_thread};
use squall_scenarios::Scenario;
use std::sync::Arc;

/// Runs a scenario on this thread, which should be fresh, as are those that it starts: what libraries keep for a thread is then the
/// run's own. Where the scenario judges bystanders, it is run a second time, on a thread of its own, without its faults and
/// without the crowds that gather in a giant.
pub fn run(scenario: &Scenario, options: RunOptions) -> Result<RunRecord, RunError> {
    let Some(level) = scenario.checks.bystanders.filter(|_| bystanders::has_trouble(scenario)) else {
        return run_once(scenario, options, None).map(|(record, _)| record);
    };
    let (seed, salt, threads, stop) = (options.seed, options.salt, options.threads, Arc::clone(&options.stop));
    let ended = run_once(scenario, options, Some(Bystanders::new(scenario, None)));
    let (mut record, with) = ended.map_err(|error| match error {
        RunError::History { path, source, ended: Some(mut record) } => {
            record.add_reason("nobody-harmed was not judged, for the history of the run could not be written");
            RunError::History { path, source, ended: Some(record) }
        }
        other => other,
    })?;
    let Some(with) = with.filter(|_| !record.interrupted) else { return Ok(record) };
    let bystanders = Bystanders::new(scenario, Some(with.touched.clone()));
    let mut without_faults = Scenario { faults: Vec::new(), ..scenario.clone() };
    without_faults.workload.flash_crowds.retain(|crowd| crowd.to.is_none());
    if scenario.typing.is_storm() {
        without_faults.typing = Default::default();
    }
    let again = std::thread::spawn(move || {
        let options = RunOptions { seed, salt, threads, stop, ..RunOptions::default() };
        run_once(&without_faults, options, Some(bystanders))
            .map(|(record, bystanders)| bystanders.filter(|_| !record.interrupted))
    });
    let without = again.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let Some(without) = without else {
        record.add_reason("the run without faults was stopped before its end, so nobody-harmed judged nothing");
        return Ok(record);
    };
    bystanders::judge(&mut record, &level, scenario.costs.is_some(), &with, &without);
    Ok(record)
}

/// One run, and what it measured of bystanders, if it was to.
fn run_once(
    scenario: &Scenario,
    options: RunOptions,
    mut bystanders: Option<Bystanders>,
) -> Result<(RunRecord, Option<Bystanders>), RunError> {
    let context = WorldContext::new(key(options.seed, "world"));
    let _guard = enter_world(&context);
    prime_thread();
    let _account = Account::World.enter();
    if let Some(bug) = options.plant {
        squall_core::plant::plant(bug.plant);
    }
    let mut world = world::World::build(scenario, options)?;
    if let Some(bystanders) = &mut bystanders {
        bystanders.touch_crowds(scenario, world.fleet.population());
    }
    world.observatory.bystanders = bystanders;
    world.run()?;
    let bystanders = world.observatory.bystanders.take();
    Ok((world.conclude()?, bystanders))
}
