//! Links that are cut, held, slow, lossy or closed to newcomers: `partition`, `partition-one-way`, `hold`, `latency`, `slow-link`,
//! `loss`, `refuse`, `carrier-gone`. Flapping links and swizzles are taken apart into partitions.
//!
//! **Invariant:** a fault describes itself only; what a link does now the network computes from all that are active. On turmoil's
//! TCP [`apply_turmoil`] does.

use super::Stage;
use super::strike::Strike;
use super::targets::named;
use crate::hosts::turmoil::LinkFault as TurmoilFault;
use squall_network::{Fault, FaultId, FaultKind as LinkFault, HostId};
use squall_protocol::{HostName, Role};
use squall_scenarios::{Backbone, FaultKind, Profile, Target, Targets, Topology};

/// The network's faults that a strike holds.
pub(in crate::nemesis) struct Held(FaultId);

/// Both ways between two sides.
pub(super) fn between(a: &Targets, b: &Targets, kind: LinkFault, stage: &Stage<'_>) -> Held {
    Held(stage.network.add_fault(Fault::between(stage.hosts_of(a), stage.hosts_of(b), kind)))
}

/// From one side to the other.
pub(super) fn one_way(from: &Targets, to: &Targets, kind: LinkFault, stage: &Stage<'_>) -> Held {
    Held(stage.network.add_fault(Fault::one_way(stage.hosts_of(from), stage.hosts_of(to), kind)))
}

/// The carrier that a strike takes away: the scenario's, or one that is drawn.
pub(super) fn draw_carrier(strike: &mut Strike, carrier: Option<Profile>, stage: &Stage<'_>) -> HostId {
    let places = &stage.sites.places;
    let drawn = strike.stream.below(places.len() as u64) as usize;
    let named = places.iter().find(|place| Some(place.profile) == carrier);
    let gone = named.unwrap_or(&places[drawn]).host;
    strike.targets = vec![stage.network.host_name(gone)];
    gone
}

/// Every device of this site is out of reach.
pub(super) fn carrier_gone(site: HostId, stage: &Stage<'_>) -> Held {
    let gateways = stage.hosts_of(&Target::All(Role::Gateway).into());
    Held(stage.network.add_fault(Fault::between(vec![site], gateways, LinkFault::Block)))
}

pub(super) fn end(Held(id): Held, strike: &mut Strike, stage: &Stage<'_>) {
    stage.network.remove_fault(id);
    count_struck(id, strike, stage);
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
            strike.count(what, hit);
        }
    }
}

/// A host is struck when something on one of its links was; the devices, when those of some site were.
fn count_struck(id: FaultId, strike: &mut Strike, stage: &Stage<'_>) {
    let hit = stage.network.hosts_hit(id);
    for (name, target) in named(&strike.kind, stage.scenario) {
        let hosts = stage.hosts_of(&target.into());
        // turmoil does not say what a fault stops on the links that it covers.
        if turmoil_covers(target, stage) || hosts.iter().any(|host| hit.contains(host)) {
            strike.strikes(name);
        }
    }
    if matches!(strike.kind, FaultKind::CarrierGone { .. }) && !hit.is_empty() {
        strike.struck.extend(strike.targets.iter().cloned());
    }
}

fn turmoil_covers(target: Target, stage: &Stage<'_>) -> bool {
    stage.scenario.network.backbone == Backbone::Turmoil && target != Target::Clients
}

/// The links between hosts that a strike covers on turmoil's TCP, and how.
fn turmoil_links(strike: &Strike, topology: &Topology) -> Vec<(HostName, HostName, TurmoilFault)> {
    let (a, b, fault) = match &strike.kind {
        FaultKind::Partition { between, and } => (between, and, TurmoilFault::Partition),
        FaultKind::PartitionOneWay { from, to } => (from, to, TurmoilFault::PartitionOneWay),
        FaultKind::Hold { between, and } => (between, and, TurmoilFault::Hold),
        // Nothing else of a link can be said in turmoil's words; the scenario is refused where it asks for it between hosts.
        _ => return Vec::new(),
    };
    let (a, b) = (a.hosts(topology), b.hosts(topology));
    a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b, fault))).collect()
}

/// turmoil does not count what a fault stops; the links that it covers are counted instead.
pub(super) fn count_turmoil(strike: &mut Strike, stage: &Stage<'_>) {
    if stage.scenario.network.backbone == Backbone::Turmoil {
        let links = turmoil_links(strike, &stage.scenario.topology).len();
        strike.count("links", links as u64);
    }
}

/// Sets turmoil's links to what all active faults together say.
pub(super) fn apply_turmoil<'a>(active: impl Iterator<Item = (&'a Strike, &'a Held)>, stage: &Stage<'_>) {
    if stage.scenario.network.backbone == Backbone::Turmoil {
        let topology = &stage.scenario.topology;
        let faults = active.flat_map(|(strike, _)| turmoil_links(strike, topology));
        stage.groups[0].set_turmoil_links(&stage.scenario.hosts(), faults);
    }
}
