//! Hosts that go dark: `power-loss`, at a time, at a named point, or in the middle of a commit.

use super::Stage;
use super::processes::Down;
use super::strike::Strike;
use crate::disk::{CutId, CutPoint};
use crate::hosts::machine::Power;
use crate::hosts::points::{Armed, Cut};
use squall_scenarios::{Point, Targets};

/// A cut in the middle of a commit strikes at one of this many writes from its beginning on.
const MID_COMMIT_WRITES: u64 = 24;

/// What a power loss holds.
#[derive(Default)]
pub(in crate::nemesis) struct Held {
    pub down: Down,
    /// Power cuts that wait inside a disk, each with its machine.
    cuts: Vec<(usize, CutId)>,
}

/// The nemesis collects the hosts that go dark here as it does those that go dark at a point.
pub(super) fn lose(fault: usize, strike: &mut Strike, target: &Targets, stage: &mut Stage<'_>) -> Held {
    let mut held = Held::default();
    for machine in stage.machines_of(target) {
        if stage.machines[machine].power == Power::Up {
            stage.break_connections(machine);
            stage.machines[machine].probe.lose_power(fault);
        } else {
            // Another fault has it down already: it stays down until this one ends as well.
            held.down.hold(machine, stage);
            if stage.machines[machine].lose_power_while_down() {
                strike.count("hosts", 1);
                strike.strikes(stage.machines[machine].host);
            }
        }
    }
    held
}

/// Whoever passes the point first goes dark there. Until then nothing is held.
pub(super) fn lose_at(
    fault: usize,
    strike: &mut Strike,
    point: Point,
    target: &Targets,
    stage: &mut Stage<'_>,
) -> Held {
    let mut held = Held::default();
    for machine in stage.machines_of(target) {
        if let (Point::MidCommit, Some(disk)) = (point, &stage.machines[machine].probe.disk) {
            // One of the writes of the next commits, or a sync.
            let nth = 1 + strike.stream.below(MID_COMMIT_WRITES);
            let sync = strike.stream.chance(0.3);
            let cut = if sync { CutPoint::Sync(1) } else { CutPoint::Write(nth) };
            held.cuts.push((machine, disk.cut_power_at(cut)));
        }
        stage.armed.arm(Armed { host: machine as u16, point, fault, cut: Cut::Power });
    }
    held
}

pub(super) fn end(fault: usize, held: Held, strike: &mut Strike, stage: &mut Stage<'_>) {
    stage.armed.disarm(fault);
    for (machine, cut) in held.cuts {
        if let Some(disk) = &stage.machines[machine].probe.disk {
            disk.disarm(cut);
        }
    }
    held.down.release(strike, stage);
}
