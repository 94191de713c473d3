//! Who may do what, as people change it: ranks, settings and names of restless groups, leaving for good, and blocks between two people.
//!
//! Nobody here looks whether they may, or what is so already: what they lack a right to, they try all the same.

use crate::population::Population;
use crate::rng::Stream;
use crate::workload::Workload;
use squall_protocol::{Holders, Payload, Rank, Right};

/// Of a hundred blocks, so many are taken back rather than made: else most conversations would end.
const UNBLOCKS: f64 = 0.6;

/// What a change of rights is.
enum Change {
    Promote,
    Demote,
    HandOver,
    Setting,
    Name,
    LeaveForGood,
    MayBeAddedAgain,
}

/// Each with its chance in a hundred.
const CHANGES: [(Change, u64); 7] = [
    (Change::Promote, 28),
    (Change::Demote, 16),
    (Change::HandOver, 6),
    (Change::Setting, 24),
    (Change::Name, 6),
    (Change::LeaveForGood, 8),
    (Change::MayBeAddedAgain, 12),
];

impl Workload {
    /// Who changes what in a group.
    pub(crate) fn change_of_rights(
        &self,
        population: &Population,
        group: u32,
        guests: u32,
        stream: &mut Stream,
    ) -> (u32, Payload) {
        let mut draw = stream.below(CHANGES.iter().map(|(_, chance)| chance).sum());
        let drawn = CHANGES.iter().find(|(_, chance)| {
            let is_it = draw < *chance;
            draw = draw.saturating_sub(*chance);
            is_it
        });
        let change = drawn.map_or(&Change::Name, |(change, _)| change);
        let member = population.group_member(group, stream.next_u64());
        let guest = population.guest(group, stream.below(guests.into()) as u32).unwrap_or(member);
        let somebody = if stream.chance(0.4) { guest } else { member };
        let other = population.group_member(group, stream.next_u64());
        let host = if stream.chance(0.6) { population.group_owner(group) } else { other };
        let role = |rank| Payload::Role { user: population.user(somebody), rank };
        match change {
            Change::Promote => (host, role(Rank::Admin)),
            Change::Demote => (host, role(Rank::Member)),
            Change::HandOver => (host, role(Rank::Owner)),
            Change::Setting => {
                let right = Right::ALL[stream.below(Right::ALL.len() as u64) as usize];
                // Mostly everybody's, so that there is something to see.
                let who = if stream.chance(0.5) { 2 } else { stream.below(3) as usize };
                (host, Payload::Setting { right, who: Holders::ALL[who] })
            }
            Change::Name => (host, Payload::Named(format!("Group {}", stream.below(1_000)))),
            Change::LeaveForGood => (somebody, Payload::ForGood(true)),
            Change::MayBeAddedAgain => (somebody, Payload::ForGood(false)),
        }
    }

    /// What somebody does in a conversation with one other instead of writing, if they do.
    pub(crate) fn block(&self, stream: &mut Stream) -> Option<Payload> {
        let share = self.model().block_share;
        (share > 0.0 && stream.chance(share)).then(|| Payload::Blocked(!stream.chance(UNBLOCKS)))
    }
}
