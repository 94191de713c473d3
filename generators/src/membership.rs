//! Who changes the members of a group, and how: a guest who comes and goes, or everybody in any order.

use crate::population::Population;
use crate::rng::{Stream, below, exponential};
use crate::text;
use crate::workload::{Act, Workload};
use squall_protocol::{Payload, Users};
use squall_scenarios::model::Membership;

/// Guests of a group that is restless.
const GUESTS: u32 = 3;
/// Bytes of what a guest writes.
const GUESTS_BODY: u32 = 40;

/// What a restless group's people do next.
enum Change {
    Add,
    Leave,
    TakeAway,
    AddAgain,
    Write,
}

/// Each with its chance in a hundred.
const CHANGES: [(Change, u64); 5] =
    [(Change::Add, 30), (Change::Leave, 20), (Change::TakeAway, 15), (Change::AddAgain, 15), (Change::Write, 20)];

impl Workload {
    /// The gap before the `n`th membership change of a group, in µs; `None` when groups do not change.
    pub fn membership_gap(&self, group: u32, n: u32) -> Option<u64> {
        let mean = self.model().membership_interval.as_micros();
        (mean > 0).then(|| (exponential(self.bits(4, group, n), mean as f64) as u64).max(1))
    }

    /// The `n`th membership change of a group, at `now` µs; `None` where there is nobody to come or go, or nobody says anything more.
    pub fn membership(&self, population: &Population, group: u32, n: u32, now: u64) -> Option<Act> {
        if self.is_silent(population.group_id(group), now) {
            return None;
        }
        match self.model().membership {
            Membership::Guest => guest(population, group, n),
            Membership::Restless => {
                let mut rights = Stream::from_key(self.bits(13, group, n));
                let share = self.model().rights_share;
                if share > 0.0 && rights.chance(share) {
                    let (user, payload) = self.change_of_rights(population, group, GUESTS, &mut rights);
                    return Some(self.in_group(population, group, user, payload, &mut rights));
                }
                let mut stream = Stream::from_key(self.bits(12, group, n));
                Some(self.restless(population, group, now, &mut stream))
            }
        }
    }

    fn restless(&self, population: &Population, group: u32, now: u64, stream: &mut Stream) -> Act {
        let mut draw = stream.below(CHANGES.iter().map(|(_, chance)| chance).sum());
        let drawn = CHANGES.iter().find(|(_, chance)| {
            let is_it = draw < *chance;
            draw = draw.saturating_sub(*chance);
            is_it
        });
        let change = drawn.map_or(&Change::Write, |(change, _)| change);
        let member = population.group_member(group, stream.next_u64());
        let guest = population.guest(group, stream.below(GUESTS.into()) as u32).unwrap_or(member);
        let somebody = if stream.chance(0.6) { guest } else { member };
        // Mostly the owner, but any member may.
        let other = population.group_member(group, stream.next_u64());
        let host = if stream.chance(0.7) { population.group_owner(group) } else { other };
        let (user, payload) = match change {
            Change::Add => (host, Payload::Joined(self.with_others(population, group, guest, stream))),
            Change::Leave => (somebody, Payload::left(population.user(somebody))),
            Change::TakeAway => (host, Payload::Left(self.with_others(population, group, somebody, stream))),
            Change::AddAgain => (host, Payload::Joined(self.with_others(population, group, member, stream))),
            Change::Write => (guest, Payload::Text(text::body(self.model().text, now, GUESTS_BODY, stream))),
        };
        self.in_group(population, group, user, payload, stream)
    }

    /// Somebody does this, on one of their devices.
    fn in_group(
        &self,
        population: &Population,
        group: u32,
        user: u32,
        payload: Payload,
        stream: &mut Stream,
    ) -> Act {
        let which = below(stream.next_u64(), u64::from(population.devices_of(user))) as u32;
        Act { device: population.first_device(user) + which, conversation: population.group(group), payload }
    }
}

impl Workload {
    /// This person, and by chance others of the group and its guests.
    fn with_others(&self, population: &Population, group: u32, person: u32, stream: &mut Stream) -> Users {
        let mut users = vec![population.user(person)];
        let most = self.model().names_at_once;
        let more = if most > 1 { stream.below(u64::from(most)) } else { 0 };
        for _ in 0..more {
            let guest = population.guest(group, stream.below(GUESTS.into()) as u32).filter(|_| stream.chance(0.5));
            let other = guest.unwrap_or_else(|| population.group_member(group, stream.next_u64()));
            if !users.contains(&population.user(other)) {
                users.push(population.user(other));
            }
        }
        users.into()
    }
}

/// The group's owner adds the guest, then removes them, and so on.
fn guest(population: &Population, group: u32, n: u32) -> Option<Act> {
    let guest = population.user(population.guest(group, 0)?);
    let owner = population.group_owner(group);
    let payload = if n.is_multiple_of(2) { Payload::joined(guest) } else { Payload::left(guest) };
    let device = population.first_device(owner);
    Some(Act { device, conversation: population.group(group), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::Span;
    use squall_scenarios::model::{self, Scenario};
    use std::collections::BTreeSet;

    fn acts(membership: Membership, silent_share: f64) -> (Population, Vec<Act>) {
        let population =
            model::Population { users: 20, groups: 1, group_size_max: 5, silent_share, ..Default::default() };
        let mut scenario = Scenario { population, ..Scenario::default() };
        scenario.workload.membership_interval = Span::from_secs(1);
        scenario.workload.membership = membership;
        let (people, workload) = (Population::new(&scenario.population, 3), Workload::new(&scenario, 3));
        let end = (scenario.phases.ramp + scenario.phases.load).as_micros();
        let acts = (0..400).filter_map(|n| workload.membership(&people, 0, n, end)).collect();
        (people, acts)
    }

    #[test]
    fn one_guest_comes_and_goes() {
        let (people, acts) = acts(Membership::Guest, 0.0);
        let guest = people.user(people.guest(0, 0).unwrap());
        assert_eq!(
            acts[..2].iter().map(|act| &act.payload).collect::<Vec<_>>(),
            [&Payload::joined(guest), &Payload::left(guest)]
        );
    }

    #[test]
    fn in_a_restless_group_everybody_comes_goes_and_writes() {
        let (people, acts) = acts(Membership::Restless, 0.0);
        let members: BTreeSet<_> = people.group_members(0).map(|index| people.user(index)).collect();
        let by = |act: &Act| people.user_of_device(act.device);
        let count = |is_it: &dyn Fn(&Act) -> bool| acts.iter().filter(|act| is_it(act)).count();
        let left = |act: &Act| if let Payload::Left(users) = &act.payload { Some(users[0]) } else { None };
        let guests_write = count(&|act| matches!(act.payload, Payload::Text(_)) && !members.contains(&by(act)));
        let guests_leave = count(&|act| left(act).is_some_and(|user| user == by(act) && !members.contains(&user)));
        let members_leave = count(&|act| left(act).is_some_and(|user| user == by(act) && members.contains(&user)));
        let taken_away = count(&|act| left(act).is_some_and(|user| user != by(act)));
        let come_again =
            count(&|act| matches!(&act.payload, Payload::Joined(users) if members.contains(&users[0])));
        let counts = [guests_write, guests_leave, members_leave, taken_away, come_again];
        assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    }

    #[test]
    fn a_silent_group_has_no_changes_either() {
        assert_eq!(acts(Membership::Restless, 1.0).1.len(), 0);
    }
}
