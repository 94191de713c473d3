//! Wall clocks that are wrong: `clock`.
//!
//! **Invariant:** a host's skew is the sum of what all active strikes say of it, computed anew whenever it may have changed: at
//! each beginning and end, and at every tick in between, for a clock may drift.

use super::Stage;
use super::strike::Strike;
use crate::hosts::machine::Power;
use squall_history::{Entity, Event, Kind};
use squall_protocol::Role;
use squall_scenarios::{FaultKind, Targets};

/// A clock that is further off by as much, in µs, is told of again.
const TOLD_FROM_US: u64 = 100_000;

/// Machines with a wrong clock, and how many entries each had stamped before.
pub(in crate::nemesis) struct Held(Vec<(usize, u64)>);

pub(super) fn begin(target: &Targets, stage: &Stage<'_>) -> Held {
    let mailbox = stage.mailbox.lock();
    let machines = stage.machines_of(target).into_iter();
    Held(machines.map(|machine| (machine, mailbox.stamped(machine as u16))).collect())
}

pub(super) fn end(Held(machines): Held, strike: &mut Strike, stage: &Stage<'_>) {
    let mailbox = stage.mailbox.lock();
    machines.iter().for_each(|(machine, before)| {
        let stamped = mailbox.stamped(*machine as u16) - before;
        strike.count("entries_stamped", stamped);
        let machine = &stage.machines[*machine];
        // Only shards write down what their clock says; a gateway is struck when it runs with it, for it is asked at each connect.
        let is_gateway = machine.host.role == Role::Gateway && machine.power == Power::Up;
        if is_gateway {
            strike.count("gateways", 1);
        }
        if stamped > 0 || is_gateway {
            strike.strikes(machine.host);
        }
    });
}

/// Sets every host's clock to what all active strikes together say.
pub(super) fn apply<'a>(active: impl Iterator<Item = (&'a Strike, &'a Held)>, stage: &mut Stage<'_>) {
    let mut skews = vec![0.0; stage.machines.len()];
    for (strike, Held(machines)) in active {
        let FaultKind::Clock { ahead, behind, drift_ppm, .. } = &strike.kind else { continue };
        let lasted = stage.now.saturating_sub(strike.begins) as f64;
        for (machine, _) in machines {
            skews[*machine] += ahead.as_micros() as f64 - behind.as_micros() as f64 + lasted * drift_ppm / 1e6;
        }
    }
    for (machine, skew) in skews.into_iter().enumerate() {
        let (group, skew) = (stage.group_of(machine), skew as i64);
        stage.groups[group].set_clock_skew(skew);
        let told = &mut stage.machines[machine].skew_told;
        if told.abs_diff(skew) >= TOLD_FROM_US || (skew == 0 && *told != 0) {
            *told = skew;
            let event =
                Event { t: stage.now, at: Entity::Host(machine as u16), kind: Kind::Clock { ahead_us: skew } };
            stage.tell(event);
        }
    }
}
