//! Disks that fail, are full, slow, or stall: `disk-errors`, `disk-full`, `slow-disk`, `stalled-disk`.
//!
//! **Invariant:** what a disk does now it computes from all faults that are active on it.

use super::Stage;
use super::strike::Strike;
use crate::disk::{DiskFault, FaultId};
use squall_scenarios::Targets;

/// Faults of disks, each with its machine.
pub(in crate::nemesis) struct Held(Vec<(usize, FaultId)>);

pub(super) fn begin(strike: &mut Strike, target: &Targets, fault: DiskFault, stage: &Stage<'_>) -> Held {
    let mut faults = Vec::new();
    for machine in stage.machines_of(target) {
        if let Some(disk) = &stage.machines[machine].probe.disk {
            let key = strike.stream.next_u64();
            faults.push((machine, disk.add_fault(fault, key)));
        }
    }
    Held(faults)
}

pub(super) fn end(Held(faults): Held, strike: &mut Strike, stage: &Stage<'_>) {
    for (machine, id) in faults {
        if let Some(disk) = &stage.machines[machine].probe.disk {
            disk.remove_fault(id);
            let hits = disk.fault_hits().iter().find(|hits| hits.id == id).map_or(0, |hits| hits.hits);
            strike.count("disk_operations", hits);
            if hits > 0 {
                strike.strikes(stage.machines[machine].host);
            }
        }
    }
}
