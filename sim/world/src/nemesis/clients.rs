//! Devices that misbehave or are badly off: `disconnect`, `half-open`, `reinstall`, `slow-reader`, `profile-change`, `resend-everything`, and
//! `liars` and `insiders`, who are no devices of ours.
//!
//! **Invariant:** how many liars and insiders act, and which profile a device's connection is on, is computed from all active strikes.

use super::Stage;
use super::strike::Strike;
use crate::memory::accounts::Account;
use squall_core::Time;
use squall_generators::client_faults::{ClientFault, Cohort};
use squall_generators::insiders::Attack;
use squall_network::{ConnId, HostId, Network};
use squall_scenarios::{FaultKind, Profile};

/// What a strike on clients holds.
pub(in crate::nemesis) enum Held {
    /// It was over at once.
    Nothing,
    /// These send everything again when it ends, which is at once.
    Resends(Vec<u32>),
    /// These begin a new life, likewise.
    Reinstalls(Vec<u32>),
    SlowReaders,
    ProfileChange,
    Insiders {
        /// Attacks that had been made before, by kind.
        before: Vec<u64>,
    },
    Liars {
        /// Lies that had been told before.
        before: u64,
    },
}

/// The devices that a strike is about, drawn when it begins.
pub(in crate::nemesis) enum Whom {
    /// It is about no single devices.
    Nobody,
    /// Those that were online then.
    These(Vec<u32>),
    /// A share of all, as long as it lasts.
    Cohort(Cohort),
}

impl Whom {
    /// Them, one by one; with a carrier that is gone, all of its site.
    pub fn clients(&self, carrier: Option<HostId>, stage: &Stage<'_>) -> Vec<u32> {
        let all = stage.fleet.clients();
        match (self, carrier) {
            (_, Some(site)) => all.filter(|client| stage.fleet.last_mile.site(*client).host == site).collect(),
            (Whom::Nobody, None) => Vec::new(),
            (Whom::These(clients), None) => clients.clone(),
            (Whom::Cohort(cohort), None) => all.filter(|client| cohort.has(*client)).collect(),
        }
    }
}

/// Draws the devices that a strike is about.
pub(super) fn draw(fault: usize, strike: &mut Strike, stage: &Stage<'_>) -> Whom {
    match strike.kind {
        FaultKind::SlowReader { share } | FaultKind::ProfileChange { share, .. } => {
            Whom::Cohort(Cohort { fault, key: strike.stream.next_u64(), share })
        }
        FaultKind::Disconnect { share } | FaultKind::HalfOpen { share } => {
            Whom::These(online(strike, share, stage))
        }
        _ => Whom::Nobody,
    }
}

/// Devices that are online lose their connection, or find it half-open.
fn each_connection(
    whom: Whom,
    strike: &mut Strike,
    stage: &mut Stage<'_>,
    hit: impl Fn(&Network, ConnId) -> bool,
) -> Held {
    let mut hits = 0;
    for client in whom.clients(None, stage) {
        if let Some(conn) = stage.fleet.conn(client)
            && hit(stage.network, conn)
        {
            hits += 1;
            stage.touch_clients([client]);
            stage.fleet.connection_is_broken(client, Time(stage.now));
        }
    }
    strike.count("connections", hits);
    Held::Nothing
}

pub(super) fn disconnect(whom: Whom, strike: &mut Strike, stage: &mut Stage<'_>) -> Held {
    each_connection(whom, strike, stage, Network::cut)
}

pub(super) fn half_open(whom: Whom, strike: &mut Strike, stage: &mut Stage<'_>) -> Held {
    each_connection(whom, strike, stage, Network::freeze)
}

/// Those who are online, each with the chance of the strike's share.
fn online(strike: &mut Strike, share: f64, stage: &Stage<'_>) -> Vec<u32> {
    let clients = stage.fleet.clients();
    clients.filter(|client| strike.stream.chance(share) && stage.fleet.is_online(*client)).collect()
}

pub(super) fn reinstall(strike: &mut Strike, share: f64, stage: &Stage<'_>) -> Held {
    Held::Reinstalls(online(strike, share, stage))
}

/// The clients that a strike holds to it begin a new life.
pub(super) fn begin_anew(clients: &[u32], strike: &mut Strike, stage: &mut Stage<'_>) {
    let _account = Account::Fleet.enter();
    stage.touch_clients(clients.iter().copied());
    for client in clients {
        let begun = stage.fleet.reinstall(*client, Time(stage.now), stage.observatory);
        strike.count("devices", begun.into());
    }
}

pub(super) fn resend_everything(strike: &mut Strike, share: f64, stage: &Stage<'_>) -> Held {
    Held::Resends(online(strike, share, stage))
}

/// The clients that a strike holds to it send everything again.
pub(super) fn resend(clients: &[u32], strike: &mut Strike, stage: &mut Stage<'_>) {
    let _account = Account::Fleet.enter();
    stage.touch_clients(clients.iter().copied());
    for client in clients {
        strike.count("messages", stage.fleet.resend_everything(*client, Time(stage.now), stage.observatory));
    }
}

fn touch(whom: Whom, stage: &mut Stage<'_>) -> Option<Cohort> {
    stage.touch_clients(whom.clients(None, stage));
    if let Whom::Cohort(cohort) = whom { Some(cohort) } else { None }
}

pub(super) fn slow_reader(whom: Whom, stage: &mut Stage<'_>) -> Held {
    if let Some(cohort) = touch(whom, stage) {
        stage.client_faults.begin(ClientFault::SlowReaders(cohort));
    }
    Held::SlowReaders
}

pub(super) fn profile_change(whom: Whom, strike: &mut Strike, to: Profile, stage: &mut Stage<'_>) -> Held {
    if let Some(cohort) = touch(whom, stage) {
        stage.client_faults.begin(ClientFault::ProfileChange { cohort, profile: to });
    }
    strike.count("connections", apply_profiles(stage));
    Held::ProfileChange
}

pub(super) fn liars(stage: &Stage<'_>) -> Held {
    Held::Liars { before: stage.liars.lies() }
}

pub(super) fn insiders(stage: &Stage<'_>) -> Held {
    Held::Insiders { before: stage.insiders.hits().map(|(_, hits)| hits).collect() }
}

pub(super) fn end(held: Held, strike: &mut Strike, stage: &Stage<'_>) {
    match held {
        Held::Nothing | Held::SlowReaders | Held::Resends(_) | Held::Reinstalls(_) => {}
        Held::ProfileChange => drop(apply_profiles(stage)),
        Held::Insiders { before } => {
            // Every kind that is asked for is named, so that one which never happened is seen.
            let guesses = matches!(strike.kind, FaultKind::Insiders { guessing: 1.., .. });
            for ((attack, hits), before) in stage.insiders.hits().zip(before) {
                if guesses || attack != Attack::GuessDevice {
                    strike.count(attack.name(), hits - before);
                }
            }
        }
        Held::Liars { before } => strike.count("lies", stage.liars.lies() - before),
    }
}

/// Puts every device's connection on the profile that all active faults together say; how many that changed.
fn apply_profiles(stage: &Stage<'_>) -> u64 {
    let faults = stage.client_faults.lock();
    let mut changed = 0;
    for place in &stage.sites.places {
        for conn in stage.network.connections_of(place.host) {
            let token = stage.network.conn_info(conn).and_then(|info| info.token);
            let moved = token.and_then(|token| faults.profile_of(token as u32));
            let profile = moved.map_or(place.link, |to| stage.sites.profiles[&to]);
            changed += u64::from(stage.network.set_profile(conn, profile));
        }
    }
    changed
}

/// As many liars act as all active strikes together want.
pub(super) fn apply_liars<'a>(active: impl Iterator<Item = (&'a Strike, &'a Held)>, stage: &mut Stage<'_>) {
    let wanted = active.map(|(strike, _)| if let FaultKind::Liars { count } = strike.kind { count } else { 0 });
    let _account = Account::Fleet.enter();
    stage.liars.set_active(wanted.sum(), &mut stage.fleet.last_mile);
}

/// As many insiders act as all active strikes together want.
pub(super) fn apply_insiders<'a>(active: impl Iterator<Item = (&'a Strike, &'a Held)>, stage: &mut Stage<'_>) {
    let wanted =
        active.map(|(strike, _)| if let FaultKind::Insiders { count, .. } = strike.kind { count } else { 0 });
    let _account = Account::Fleet.enter();
    stage.insiders.set_active(wanted.sum(), stage.fleet, Time(stage.now), stage.observatory);
}
