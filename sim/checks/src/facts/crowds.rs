//! How many may be in each group at most, as far as is known while a run goes on: everybody whom its creation or somebody's adding has ever named.
//!
//! From that follows for how long a shard may keep its members' cursors in memory. Nothing is kept where no group can be large.

use super::Facts;
use crate::Config;
use rustc_hash::{FxHashMap, FxHashSet};
use squall_history::What;
use squall_protocol::{Name, UserId, limits};
use std::time::Duration;

/// How soon cursors are written: each member is named, or counted, or it is a channel's. A group of which nothing is known may be any.
pub(super) const PACES: usize = 3;

/// How much longer than those of two people's conversations the cursors of each pace may wait until they are written, in µs.
pub(super) const fn late_us(pace: usize) -> u64 {
    let all = [limits::CURSOR_FLUSH_INTERVAL, limits::CURSOR_FLUSH_LARGE, limits::CURSOR_FLUSH_CHANNEL];
    all[pace].as_micros() as u64 - Duration::as_micros(&limits::CURSOR_FLUSH_INTERVAL) as u64
}

#[derive(Debug, Default)]
struct Crowd {
    founders: u32,
    guests: FxHashSet<UserId>,
}

/// The sizes of groups.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    /// The largest group of which each member is named, and the largest that is no channel; `None`: no group is larger than the first.
    bounds: Option<[u32; 2]>,
    groups: FxHashMap<u32, Crowd>,
}

impl Crowds {
    pub fn new(config: &Config) -> Self {
        let channel_above = if config.channel_above == 0 { u32::MAX } else { config.channel_above };
        let bounds = (!config.all_are_named).then_some([config.named_up_to, channel_above]);
        Crowds { bounds, ..Crowds::default() }
    }

    /// Somebody asks for a creation, or for people to be added.
    pub fn note(&mut self, conversation: u32, what: What, named: &[UserId]) {
        let Some([small, group]) = self.bounds else { return };
        if what.is_creation() {
            let crowd = self.groups.entry(conversation).or_default();
            crowd.founders = crowd.founders.max(named.len() as u32);
        } else {
            let Some(crowd) = self.groups.get_mut(&conversation) else { return };
            for user in what.added(named) {
                if crowd.size() <= small.max(group) {
                    crowd.guests.insert(user);
                }
            }
        }
    }

    fn pace(&self, conversation: u32) -> usize {
        let Some([named, group]) = self.bounds else { return 0 };
        match self.groups.get(&conversation).map_or(u32::MAX, Crowd::size) {
            size if size > group => 2,
            size if size > named => 1,
            _ => 0,
        }
    }
}

impl Crowd {
    fn size(&self) -> u32 {
        self.founders.saturating_add(self.guests.len() as u32)
    }
}

impl Facts {
    /// At which pace the cursors of a conversation may be written, the slowest that may be.
    pub(super) fn pace(&self, conversation: u32) -> usize {
        match self.conversations[conversation].id.name() {
            Some(Name::Direct { .. }) => 0,
            Some(Name::Group { .. }) | None => self.crowds.pace(conversation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_large_as_all_who_were_ever_named() {
        let config = Config { named_up_to: 3, channel_above: 4, ..Config::default() };
        let mut crowds = Crowds::new(&config);
        let users: Vec<UserId> = (1..=9).map(UserId).collect();
        crowds.note(7, What::Created, &users[..3]);
        assert_eq!((crowds.pace(7), crowds.pace(8)), (0, 2));
        for (user, pace) in [(4, 1), (4, 1), (5, 2), (6, 2)] {
            crowds.note(7, What::Joined(UserId(user)), &[]);
            assert_eq!(crowds.pace(7), pace, "{user}");
        }
        // A channel may be smaller than the largest group of which each member is named.
        let mut crowds = Crowds::new(&Config { named_up_to: 100, ..config.clone() });
        crowds.note(7, What::Created, &users[..5]);
        assert_eq!(crowds.pace(7), 2);
        let mut crowds = Crowds::new(&Config { channel_above: 0, ..config });
        crowds.note(7, What::Created, &users);
        assert_eq!(crowds.pace(7), 1);
        assert_eq!(Crowds::new(&Config { all_are_named: true, ..Config::default() }).pace(7), 0);
    }

    #[test]
    fn a_large_group_has_five_seconds_and_a_channel_a_minute() {
        assert_eq!([late_us(0), late_us(1), late_us(2)], [0, 4_500_000, 59_500_000]);
    }
}
