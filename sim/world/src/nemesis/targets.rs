//! Whom a fault is about: targets that are drawn become hosts when it begins.

use super::Stage;
use super::strike::Strike;
use squall_generators::rng::{Stream, shuffle};
use squall_network::HostId;
use squall_scenarios::{CLIENTS, Choice, Scenario, choice};

/// Draws the hosts of targets that say how many are meant, and finds those that are known by what they do.
pub(super) fn resolve(strike: &mut Strike, stage: &Stage<'_>) {
    let busiest = stage.mailbox.lock().busiest_shard(stage.scenario.topology.messages);
    for targets in strike.kind.targets_mut() {
        *targets = draw_hosts(stage.scenario, targets, &mut strike.stream, busiest);
    }
    let sides = strike.kind.targets();
    let named = sides.iter().flat_map(|(key, hosts)| {
        let side = if *key == "target" { String::new() } else { format!("{key} ") };
        hosts.iter().flat_map(|host| stage.scenario.expand_target(host)).map(move |host| format!("{side}{host}"))
    });
    strike.targets = named.collect();
}

/// The hosts that targets mean, with those drawn that are to be drawn. `busiest` is the shard with the busiest conversation.
pub(super) fn draw_hosts(
    scenario: &Scenario,
    targets: &[String],
    stream: &mut Stream,
    busiest: u32,
) -> Vec<String> {
    let mut hosts = Vec::new();
    for target in targets {
        let mut meant = scenario.expand_target(target);
        match choice(target).0 {
            Choice::All => {}
            Choice::One => meant = vec![meant[stream.below(meant.len() as u64) as usize].clone()],
            Choice::Share(share) => {
                shuffle(&mut meant, stream);
                meant.truncate(((meant.len() as f64 * share).ceil() as usize).max(1));
            }
            Choice::Busiest => meant = vec![format!("messages-{busiest}")],
        }
        hosts.extend(meant);
    }
    hosts
}

impl Stage<'_> {
    /// The machines that targets mean, by their place on the stage.
    pub(super) fn machines_of(&self, targets: &[String]) -> Vec<usize> {
        let names = self.scenario.expand_targets(targets);
        let meant = self.machines.iter().enumerate().filter(|(_, machine)| names.contains(&machine.name));
        meant.map(|(index, _)| index).collect()
    }

    /// The network's hosts that targets mean: machines, and the sites of all devices for `clients`.
    pub(super) fn hosts_of(&self, targets: &[String]) -> Vec<HostId> {
        let mut hosts = Vec::new();
        for name in self.scenario.expand_targets(targets) {
            if name == CLIENTS {
                hosts.extend(self.sites.places.iter().map(|place| place.host));
            } else if let Some(machine) = self.machines.iter().find(|machine| machine.name == name) {
                hosts.push(machine.probe.host);
            }
        }
        hosts
    }
}
