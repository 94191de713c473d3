//! How each fault ends, and what it has hit by then.

use super::strike::State;
use super::{Nemesis, Order, Stage};
use squall_history::{Entity, Event, Kind};
use squall_protocol::Role;
use squall_scenarios::{FaultKind, Scenario};

impl Nemesis {
    pub(super) fn end(&mut self, index: usize, scenario: &Scenario, stage: &mut Stage<'_>) {
        self.strikes[index].state = State::Over;
        self.strikes[index].ends = stage.now;
        {
            let mut board = stage.board.lock();
            board.armed.retain(|armed| armed.fault != index);
            board.sent_ack_cuts.retain(|share| share.fault != index);
            board.device_ack_cuts.retain(|share| share.fault != index);
            board.meddlers.retain(|meddler| meddler.share.fault != index);
            board.moved.retain(|moved| moved.covered.fault != index);
            board.slow_readers.retain(|covered| covered.fault != index);
            stage.orders.extend(board.take_readers().into_iter().map(|client| Order::ReadOn { client }));
        }
        match self.strikes[index].kind {
            FaultKind::ProfileChange { .. } => drop(self.set_profiles(stage)),
            FaultKind::Liars { .. } => {
                self.set_liars(stage);
                let told = stage.board.lock().lies - self.strikes[index].lies_before;
                self.count(index, "lies", told);
            }
            _ => {}
        }
        for (machine, cut) in std::mem::take(&mut self.strikes[index].cuts) {
            if let Some(disk) = &stage.machines[machine].probe.disk {
                disk.disarm(cut);
            }
        }
        for id in std::mem::take(&mut self.strikes[index].links) {
            stage.network.remove_fault(id);
            let hits = stage.network.fault_hits(id);
            for (what, hit) in [
                ("segments_stalled", hits.segments_stalled),
                ("segments_held", hits.segments_held),
                ("segments_delayed", hits.segments_delayed),
                ("segments_lost", hits.segments_lost),
                ("connects_refused", hits.connects_refused),
                ("connects_stalled", hits.connects_stalled),
            ] {
                if hit > 0 {
                    self.count(index, what, hit);
                }
            }
            if self.turmoil {
                self.apply_turmoil(scenario, stage);
            }
        }
        for machine in std::mem::take(&mut self.strikes[index].paused) {
            stage.machines[machine].resume();
        }
        for (machine, before) in std::mem::take(&mut self.strikes[index].stamped) {
            let now = stage.board.lock().stamped.get(&machine).copied().unwrap_or(0);
            self.count(index, "entries_stamped", now - before);
        }
        if matches!(self.strikes[index].kind, FaultKind::Clock { .. }) {
            self.set_clocks(scenario, stage);
        }
        for (machine, id) in std::mem::take(&mut self.strikes[index].disks) {
            if let Some(disk) = &stage.machines[machine].probe.disk {
                disk.remove_fault(id);
                let hits = disk.fault_hits().iter().find(|hits| hits.id == id).map_or(0, |hits| hits.hits);
                self.count(index, "disk_operations", hits);
            }
        }
        for machine in std::mem::take(&mut self.strikes[index].down) {
            stage.machines[machine].held_down -= 1;
            if stage.machines[machine].held_down == 0 {
                if !self.strikes[index].affected.values().any(|count| *count > 0) {
                    // It was down already, and this fault is why it stayed so.
                    self.count(index, "held_down", 1);
                }
                if stage.machines[machine].host.role == Role::Messages && stage.unanswered > 0 {
                    stage.board.lock().add("shard_restarted_with_sends_waiting", 1);
                }
                let group = machine.min(stage.groups.len() - 1);
                stage.machines[machine].restart(&mut stage.groups[group]);
                stage.events.push(Event { t: stage.now, at: Entity::Host(machine as u16), kind: Kind::Restart });
            }
        }
        self.tell(index, false, stage);
    }
}
