//! Which entries have been told to whom the registries know: a lane for each registry, over one log of the shard.
//!
//! A lane goes through the entries in the order of their places. It takes up some, asks its registry where their members are, and
//! is done with them when that has answered. What finds no room is not remembered at all: the lane's cursor stays before it, and it is
//! read from the disk when there is room. So what is planned anew after a restart, what was left behind while a registry was away and
//! what a commit has just written go the same way.
//!
//! **Invariants:** the watermark stays below every entry that some lane is not done with, so that a restarted shard plans it again
//! (`sim/checks/src/no_loss.rs`). A lane holds a bounded number of look-ups, entries and bytes. One lane never waits for another: a
//! registry that is away costs its own people only (the tests below).

use super::debt::Position;
use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::UserId;
use squall_protocol::limits::{LOOKUP_RETRY_AFTER, MAX_LOOKUPS_OPEN, MAX_PLANNED_BYTES};
use std::collections::BTreeMap;

/// A look-up that has no answer yet.
#[derive(Debug)]
struct Open<P> {
    first: Position,
    plans: Vec<P>,
    bytes: usize,
    users: Vec<UserId>,
    asked_at: Time,
}

#[derive(Debug)]
struct Lane<P> {
    /// The first entry that has not been taken up.
    cursor: Position,
    /// By number; those taken up earlier have lower ones.
    open: BTreeMap<u64, Open<P>>,
    bytes: usize,
}

/// The lanes of a shard. `P` is what is to be done with an entry.
#[derive(Debug)]
pub struct Planner<P> {
    lanes: Vec<Lane<P>>,
    last_id: u64,
    /// One past the last entry that was committed.
    next_position: Position,
}

/// What a lane takes up at once: some entries, and who is to have them.
#[derive(Debug)]
pub struct Part<P> {
    pub first: Position,
    /// One past the last entry that the part speaks of.
    pub end: Position,
    pub plans: Vec<P>,
    /// Bytes of these entries, roughly.
    pub bytes: usize,
    pub users: Vec<UserId>,
}

impl<P> Planner<P> {
    /// Everything from `dispatched` on is to be planned; the next entry to be committed has `next_position`. Each life of a shard has
    /// numbers of its own, so that a late answer to an earlier one is nobody's.
    pub fn new(registries: usize, life: u32, dispatched: Position, next_position: Position) -> Self {
        let lane = || Lane { cursor: dispatched, open: BTreeMap::new(), bytes: 0 };
        let lanes = (0..registries).map(|_| lane()).collect();
        Planner { lanes, last_id: u64::from(life & 0x3fff_ffff) << 32, next_position }
    }

    /// An entry is durable.
    pub fn handle_committed(&mut self, position: Position) {
        self.next_position = self.next_position.max(position + 1);
    }

    /// Where the lane goes on.
    pub fn cursor(&self, registry: u32) -> Position {
        self.lanes[registry as usize].cursor
    }

    /// Whether the lane can take more up.
    pub fn has_room(&self, registry: u32) -> bool {
        let lane = &self.lanes[registry as usize];
        lane.open.len() < MAX_LOOKUPS_OPEN && lane.bytes < MAX_PLANNED_BYTES
    }

    /// The lanes that are behind and have room, each with the place of the first entry that it has not taken up.
    pub fn behind(&self) -> Vec<(u32, Position)> {
        let lanes = (0..).zip(&self.lanes).filter(|(_, lane)| lane.cursor < self.next_position);
        let behind: Vec<(u32, Position)> = lanes.map(|(registry, lane)| (registry, lane.cursor)).collect();
        behind.into_iter().filter(|(registry, _)| self.has_room(*registry)).collect()
    }

    /// One past the last entry that was committed.
    pub fn next_position(&self) -> Position {
        self.next_position
    }

    /// The lane has got to `part.end`. Returns the number under which the registry is to be asked, if anybody is to be found there.
    pub fn take_up(&mut self, registry: u32, part: Part<P>, now: Time) -> Option<u64> {
        let lane = &mut self.lanes[registry as usize];
        lane.cursor = lane.cursor.max(part.end);
        if part.users.is_empty() {
            return None;
        }
        self.last_id += 1;
        lane.bytes += part.bytes;
        let Part { first, plans, bytes, users, .. } = part;
        lane.open.insert(self.last_id, Open { first, plans, bytes, users, asked_at: now });
        Some(self.last_id)
    }

    /// The registry has answered: what was to be done, unless it had been done before.
    pub fn handle_answer(&mut self, registry: u32, id: u64) -> Option<Vec<P>> {
        let lane = &mut self.lanes[registry as usize];
        let open = lane.open.remove(&id)?;
        lane.bytes -= open.bytes;
        Some(open.plans)
    }

    /// Whom a look-up asks for.
    pub fn users(&self, registry: u32, id: u64) -> &[UserId] {
        self.lanes[registry as usize].open.get(&id).map_or(&[], |open| &open.users)
    }

    /// What waits for a look-up.
    pub fn plans(&self, registry: u32, id: u64) -> &[P] {
        self.lanes[registry as usize].open.get(&id).map_or(&[], |open| &open.plans)
    }

    /// The look-ups of a registry that have had no answer in time, to be asked again.
    pub fn overdue(&mut self, registry: u32, now: Time) -> Vec<u64> {
        if planted(Plant::LookupGivenUp) {
            let Lane { open, bytes, .. } = &mut self.lanes[registry as usize];
            open.retain(|_, open| {
                let is_kept = now.since(open.asked_at) < LOOKUP_RETRY_AFTER;
                *bytes -= if is_kept { 0 } else { open.bytes };
                is_kept
            });
        }
        let open = self.lanes[registry as usize].open.iter_mut();
        let overdue = open.filter(|(_, open)| now.since(open.asked_at) >= LOOKUP_RETRY_AFTER);
        overdue
            .map(|(id, open)| {
                open.asked_at = now;
                *id
            })
            .collect()
    }

    /// All look-ups that a registry owes an answer to: a new link to it begins with them.
    pub fn unanswered(&mut self, registry: u32, now: Time) -> Vec<u64> {
        let open = self.lanes[registry as usize].open.iter_mut();
        open.map(|(id, open)| {
            open.asked_at = now;
            *id
        })
        .collect()
    }

    /// All lanes are done with every entry below this place.
    pub fn dispatched(&self) -> Position {
        let done = |lane: &Lane<P>| lane.open.values().map(|open| open.first).min().unwrap_or(lane.cursor);
        let lanes = self.lanes.iter().map(done);
        lanes.min().unwrap_or(self.next_position).min(self.next_position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    fn part(first: Position, end: Position, users: &[u64]) -> Part<&'static str> {
        Part { first, end, plans: vec!["plan"], bytes: 1, users: users.iter().map(|u| UserId(*u)).collect() }
    }

    fn committed(registries: usize, entries: Position) -> Planner<&'static str> {
        let mut planner = Planner::new(registries, 0, 0, 0);
        (0..entries).for_each(|position| planner.handle_committed(position));
        planner
    }

    #[test]
    fn a_registry_that_is_away_holds_back_its_own_people_and_the_watermark() {
        let mut planner = committed(2, 3);
        let away = planner.take_up(0, part(0, 3, &[2]), at(0)).expect("somebody is to be found there");
        let there = planner.take_up(1, part(0, 3, &[1]), at(0)).expect("somebody is to be found there");
        assert_eq!(planner.handle_answer(1, there), Some(vec!["plan"]));
        assert_eq!(planner.handle_answer(1, away), None);
        assert_eq!(planner.dispatched(), 0);
        planner.handle_committed(3);
        assert_eq!(planner.behind(), [(0, 3), (1, 3)]);
        assert_eq!(planner.handle_answer(0, away), Some(vec!["plan"]));
        assert_eq!(planner.dispatched(), 3);
    }

    #[test]
    fn an_entry_that_concerns_nobody_there_is_done_with() {
        let mut planner = committed(1, 1);
        assert_eq!(planner.take_up(0, part(0, 1, &[]), at(0)), None);
        assert_eq!((planner.dispatched(), planner.behind()), (1, vec![]));
    }

    #[test]
    fn a_lane_without_room_is_not_behind_until_there_is_some() {
        let mut planner = committed(1, 2);
        let large = Part { bytes: MAX_PLANNED_BYTES, ..part(0, 1, &[1]) };
        let id = planner.take_up(0, large, at(0)).expect("somebody is to be found there");
        assert_eq!((planner.has_room(0), planner.behind()), (false, vec![]));
        planner.handle_answer(0, id);
        assert_eq!((planner.behind(), planner.dispatched()), (vec![(0, 1)], 1));
    }

    #[test]
    fn what_has_no_answer_is_asked_again_and_all_of_it_on_a_new_link() {
        let mut planner = committed(1, 2);
        let first = planner.take_up(0, part(0, 1, &[1]), at(0)).expect("somebody is to be found there");
        let second = planner.take_up(0, part(1, 2, &[1]), at(600)).expect("somebody is to be found there");
        assert_eq!(planner.overdue(0, at(1_000)), [first]);
        assert_eq!(planner.overdue(0, at(1_600)), [second]);
        assert_eq!(planner.unanswered(0, at(1_700)), [first, second]);
        assert_eq!(planner.overdue(0, at(2_000)), [0; 0]);
        assert_eq!(planner.users(0, second), [UserId(1)]);
    }

    #[test]
    fn a_restarted_shard_begins_at_its_watermark() {
        let planner: Planner<()> = Planner::new(2, 1, 5, 9);
        assert_eq!((planner.dispatched(), planner.behind()), (5, vec![(0, 5), (1, 5)]));
    }
}
