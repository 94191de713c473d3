//! Users, devices and conversations, derived from the seed when asked for.
//!
//! Nothing is stored for a user: partners come from permutations that can be walked both ways, so that a conversation
//! has the same members whoever asks. Groups cost a few bytes each.

use crate::rng::{Stream, key, unit};
use squall_protocol::ids::mix;
use squall_protocol::{ConversationId, DeviceId, UserId};
use squall_scenarios::model;

/// A permutation of `0..n` that can be inverted: a four-round Feistel network over the next power of four, walked
/// until it falls inside (Black, Rogaway 2002).
#[derive(Debug, Clone, Copy)]
struct Permutation {
    n: u64,
    half_bits: u32,
    key: u64,
}

impl Permutation {
    fn new(n: u64, key: u64) -> Self {
        let bits = 64 - (n.max(2) - 1).leading_zeros();
        Permutation { n, half_bits: bits.div_ceil(2), key }
    }

    fn round(&self, half: u64, round: u64) -> u64 {
        mix(half ^ mix(self.key ^ round)) & ((1 << self.half_bits) - 1)
    }

    fn step(&self, value: u64, inverse: bool) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for i in 0..4 {
            if inverse {
                let r = 3 - i;
                (left, right) = (right ^ self.round(left, r), left);
            } else {
                (left, right) = (right, left ^ self.round(right, i));
            }
        }
        left << self.half_bits | right
    }

    fn forward(&self, value: u64) -> u64 {
        let mut v = self.step(value, false);
        while v >= self.n {
            v = self.step(v, false);
        }
        v
    }

    fn backward(&self, value: u64) -> u64 {
        let mut v = self.step(value, true);
        while v >= self.n {
            v = self.step(v, true);
        }
        v
    }
}

/// A conversation, with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub id: ConversationId,
    pub direct: bool,
    pub members: Vec<UserId>,
}

/// A group: a run of consecutive places in one shuffled line-up of all users.
#[derive(Debug, Clone, Copy)]
struct Group {
    layer: u32,
    start: u32,
    size: u32,
}

/// A scenario's people.
#[derive(Debug, Clone)]
pub struct Population {
    seed: u64,
    users: u32,
    devices_per_user: u32,
    directs: u32,
    groups: Vec<Group>,
    layers: u32,
}

impl Population {
    pub fn new(p: &model::Population, seed: u64) -> Self {
        let mut stream = Stream::new(seed, "group sizes");
        let mut groups = Vec::with_capacity(p.groups as usize);
        let (mut layer, mut start) = (0, 0);
        for _ in 0..p.groups {
            let size = power_law(stream.next_u64(), p.group_size_min, p.group_size_max, p.group_size_exponent);
            let size = size.min(p.users);
            if start + size > p.users {
                layer += 1;
                start = 0;
            }
            groups.push(Group { layer, start, size });
            start += size;
        }
        Population {
            seed,
            users: p.users,
            devices_per_user: p.devices_per_user,
            directs: if p.users > 1 { p.direct_conversations_per_user } else { 0 },
            layers: if groups.is_empty() { 0 } else { layer + 1 },
            groups,
        }
    }

    pub fn users(&self) -> u32 {
        self.users
    }

    pub fn devices(&self) -> u32 {
        self.users * self.devices_per_user
    }

    pub fn devices_per_user(&self) -> u32 {
        self.devices_per_user
    }

    pub fn groups(&self) -> u32 {
        self.groups.len() as u32
    }

    /// The user at this index. Ids are shuffled over 64 bits, as real ones are.
    pub fn user(&self, index: u32) -> UserId {
        UserId(mix(u64::from(index) ^ key(self.seed, "users")) | 1)
    }

    /// The device at this index; devices of one user are neighbours.
    pub fn device(&self, index: u32) -> DeviceId {
        DeviceId(u64::from(index) + 1)
    }

    /// The index of a device, if it is one of ours.
    pub fn device_index(&self, device: DeviceId) -> Option<u32> {
        device.0.checked_sub(1).and_then(|i| u32::try_from(i).ok()).filter(|i| *i < self.devices())
    }

    pub fn user_of_device(&self, index: u32) -> UserId {
        self.user(index / self.devices_per_user)
    }

    /// The `k`th direct conversation of the user at `index`; `None` where the shuffle left the user alone.
    pub fn direct(&self, index: u32, k: u32) -> Option<Conversation> {
        if k >= self.directs {
            return None;
        }
        // In the k-th line-up of all users, neighbours are partners: the same from both sides.
        let line = Permutation::new(u64::from(self.users), key(self.seed, "partners") ^ mix(u64::from(k)));
        let mate = line.forward(u64::from(index)) ^ 1;
        if mate >= u64::from(self.users) {
            return None;
        }
        let mate = line.backward(mate) as u32;
        let (a, b) = (self.user(index.min(mate)), self.user(index.max(mate)));
        Some(Conversation { id: ConversationId::direct(a, b), direct: true, members: vec![a, b] })
    }

    pub fn directs(&self) -> u32 {
        self.directs
    }

    fn line(&self, layer: u32) -> Permutation {
        Permutation::new(u64::from(self.users), key(self.seed, "groups") ^ mix(u64::from(layer)))
    }

    pub fn group_id(&self, group: u32) -> ConversationId {
        ConversationId(mix(key(self.seed, "group ids") ^ u64::from(group)) | 1)
    }

    /// The indices of a group's first members; the first of them owns it.
    pub fn group_members(&self, group: u32) -> impl Iterator<Item = u32> + '_ {
        let g = self.groups[group as usize];
        let line = self.line(g.layer);
        (g.start..g.start + g.size).map(move |place| line.backward(u64::from(place)) as u32)
    }

    pub fn group(&self, group: u32) -> Conversation {
        let members = self.group_members(group).map(|i| self.user(i)).collect();
        Conversation { id: self.group_id(group), direct: false, members }
    }

    /// A user who is no first member of the group and may come and go, if there is one.
    pub fn guest(&self, group: u32) -> Option<u32> {
        let g = self.groups[group as usize];
        if g.size >= self.users {
            return None;
        }
        let place = (g.start + g.size) % self.users;
        Some(self.line(g.layer).backward(u64::from(place)) as u32)
    }

    /// A group that the user is a first member of, chosen by `bits`.
    pub fn group_of(&self, index: u32, bits: u64) -> Option<u32> {
        if self.layers == 0 {
            return None;
        }
        let first = (bits % u64::from(self.layers)) as u32;
        (0..self.layers).find_map(|i| {
            let layer = (first + i) % self.layers;
            let place = self.line(layer).forward(u64::from(index)) as u32;
            let after = self.groups.partition_point(|g| (g.layer, g.start) <= (layer, place));
            let group = after.checked_sub(1)?;
            let g = self.groups[group];
            (g.layer == layer && place < g.start + g.size).then_some(group as u32)
        })
    }

    pub fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }
}

/// A size in `min..=max` with density proportional to `size^-exponent` (inverse transform of the continuous law).
fn power_law(bits: u64, min: u32, max: u32, exponent: f64) -> u32 {
    let (low, high, u) = (f64::from(min), f64::from(max) + 1.0, unit(bits));
    let size = if (exponent - 1.0).abs() < 1e-9 {
        low * libm::pow(high / low, u)
    } else {
        let e = 1.0 - exponent;
        {
            let (a, b) = (libm::pow(low, e), libm::pow(high, e));
            libm::pow(a + u * (b - a), 1.0 / e)
        }
    };
    (size as u32).clamp(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn population(users: u32, groups: u32) -> Population {
        let p = model::Population { users, groups, group_size_max: 20, ..Default::default() };
        Population::new(&p, 5)
    }

    #[test]
    fn a_permutation_is_one_and_has_an_inverse() {
        for n in [2, 3, 10, 17, 1000] {
            let p = Permutation::new(n, 99);
            let images: BTreeSet<u64> = (0..n).map(|v| p.forward(v)).collect();
            assert_eq!(images.len() as u64, n);
            assert!((0..n).all(|v| p.backward(p.forward(v)) == v));
        }
    }

    #[test]
    fn a_direct_conversation_is_the_same_from_both_sides() {
        let p = population(101, 0);
        let mut found = 0;
        for index in 0..101 {
            for k in 0..3 {
                let Some(c) = p.direct(index, k) else { continue };
                assert!(c.members.contains(&p.user(index)) && c.members[0] != c.members[1]);
                let mate = (0..101).find(|i| *i != index && c.members.contains(&p.user(*i))).unwrap();
                assert_eq!(p.direct(mate, k), Some(c));
                found += 1;
            }
        }
        assert_eq!(found, 300);
    }

    #[test]
    fn a_user_finds_the_groups_that_list_them() {
        let p = population(60, 25);
        for group in 0..25 {
            let members: Vec<u32> = p.group_members(group).collect();
            assert!(members.len() >= 3);
            assert!(!members.contains(&p.guest(group).unwrap()));
            for member in members {
                let all: BTreeSet<u32> = (0..u64::from(p.layers)).filter_map(|b| p.group_of(member, b)).collect();
                assert!(all.contains(&group), "{member} in {group}: {all:?}");
            }
        }
    }

    #[test]
    fn group_sizes_follow_the_power_law() {
        let mut stream = Stream::new(1, "x");
        let sizes: Vec<u32> = (0..10_000).map(|_| power_law(stream.next_u64(), 3, 100, 2.0)).collect();
        assert!(sizes.iter().all(|s| (3..=100).contains(s)));
        // P(size < 6) for density x^-2 on 3..101 is (1/3 - 1/6) / (1/3 - 1/101) = 0.515.
        let small = sizes.iter().filter(|s| **s < 6).count();
        assert!((4_950..5_350).contains(&small), "{small}");
    }
}
