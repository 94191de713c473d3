//! What the nemesis works on.

use crate::hosts::group::Group;
use crate::hosts::machine::Machine;
use crate::hosts::mailbox::SharedMailbox;
use crate::hosts::points::ArmedPoints;
use crate::last_mile::SimulatedFleet;
use crate::memory::accounts::Account;
use crate::run::Observatory;
use squall_core::Time;
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::{Insiders, Liars, Sink};
use squall_history::Event;
use squall_network::{ConnId, HostId, Network, ProfileId};
use squall_protocol::Role;
use squall_scenarios::{Profile, Scenario};
use std::collections::BTreeMap;

/// Where the devices of one last-mile profile are.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub host: HostId,
    pub profile: Profile,
    pub link: ProfileId,
}

/// Where devices are, and the profiles that faults put them on.
pub struct Sites {
    /// One for each last-mile profile of the scenario, in their order.
    pub places: Vec<Place>,
    /// The network's profiles, by the scenario's.
    pub profiles: BTreeMap<Profile, ProfileId>,
}

/// The world, as the nemesis reaches it for the length of a step.
pub struct Stage<'a> {
    pub scenario: &'a Scenario,
    pub machines: &'a mut [Machine],
    pub groups: &'a mut [Group],
    pub network: &'a Network,
    pub mailbox: &'a SharedMailbox,
    pub armed: &'a ArmedPoints,
    pub client_faults: &'a SharedClientFaults,
    pub sites: &'a Sites,
    pub fleet: &'a mut SimulatedFleet,
    pub liars: &'a mut Liars<ConnId>,
    pub insiders: &'a mut Insiders<ConnId>,
    pub observatory: &'a mut Observatory,
    pub now: u64,
}

impl Stage<'_> {
    /// The group of a machine: its own, or the one that all share.
    pub(super) fn group_of(&self, machine: usize) -> usize {
        machine.min(self.groups.len() - 1)
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.observatory.event(event);
    }

    /// Sends that have no answer yet.
    pub(super) fn unanswered_sends(&self) -> u64 {
        let totals = self.fleet.totals();
        totals.sent - totals.acked - totals.refused
    }

    /// Every device of a gateway that dies is missing from now on: it may find out much later.
    pub(super) fn break_connections(&mut self, machine: usize) {
        let machine = &self.machines[machine];
        if machine.host.role == Role::Gateway {
            for conn in self.network.connections_of(machine.probe.host) {
                self.connection_is_broken(conn);
            }
        }
    }

    /// A device's connection is good for nothing any more.
    pub(super) fn connection_is_broken(&mut self, conn: ConnId) {
        let token = self.network.conn_info(conn).and_then(|info| info.token);
        if let Some(client) =
            token.map(|token| token as u32).filter(|client| self.fleet.clients().contains(client))
        {
            self.fleet.connection_is_broken(client, Time(self.now));
        }
    }

    /// Clients that had stopped reading read on.
    pub(super) fn read_on(&mut self, clients: Vec<u32>) {
        let _account = Account::Fleet.enter();
        for client in clients {
            self.fleet.read_on(client, Time(self.now), self.observatory);
        }
    }
}
