//! Runs a recorded run again, with an ear for what is followed.
//!
//! **Invariant:** a replay is believed only if its digest is the record's.

use squall_autopsy::Story;
use squall_history::{Event, Filter};
use squall_reports::RunRecord;
use squall_scenarios::Scenario;
use squall_world::plants::Bug;
use squall_world::{RunError, RunOptions};
use std::cell::RefCell;
use std::rc::Rc;

/// Events that a replay keeps: some hundred bytes each.
const MAX_EVENTS: usize = 2_000_000;

/// Devices up to which where every device is connected is followed, and not only those that are named.
const FEW_DEVICES: u32 = 5_000;

/// Why there is no replay to believe.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the run could not be run again: {0}")]
    Run(#[from] RunError),
    #[error(
        "the run that was run again is another one (digest {found}, recorded {recorded}): the record was made by another build of squall, or of another scenario; make the run again with --out"
    )]
    AnotherRun { found: String, recorded: String },
    #[error("what is asked for has more than {MAX_EVENTS} events: name a conversation or a message")]
    TooMuch,
}

/// Runs it again and keeps what the filter wants.
pub fn replay(
    scenario: &Scenario,
    record: &RunRecord,
    plant: Option<&'static Bug>,
    filter: Filter,
) -> Result<Story, ReplayError> {
    let filter = if scenario.population.devices() <= FEW_DEVICES { filter.and_every_device() } else { filter };
    let (hosts, seed, salt) = (scenario.host_names(), record.seed, record.salt);
    let scenario = scenario.clone();
    // A thread of its own: what libraries keep for a thread then belongs to the run.
    let run = std::thread::Builder::new().name("replay".into()).stack_size(16 << 20).spawn(move || {
        let kept: Rc<RefCell<Vec<Event>>> = Rc::default();
        let keep = Rc::clone(&kept);
        let options = RunOptions {
            seed,
            salt,
            plant,
            filter,
            follow: true,
            on_event: Some(Box::new(move |event: &Event| {
                let mut kept = keep.borrow_mut();
                if kept.len() <= MAX_EVENTS {
                    kept.push(event.clone());
                }
            })),
            ..RunOptions::default()
        };
        let again = squall_world::run(&scenario, options)?;
        Ok::<_, RunError>((again.digest, kept.take()))
    });
    let ended = run.expect("a thread can be started").join();
    let (found, events) = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    if found != record.digest {
        return Err(ReplayError::AnotherRun { found, recorded: record.digest.clone() });
    }
    if events.len() > MAX_EVENTS {
        return Err(ReplayError::TooMuch);
    }
    Ok(Story::new(events, hosts))
}
