//! Users, devices and conversations, derived from the seed when asked for.
//!
//! Nothing is stored for a user: partners come from permutations that can be walked both ways, so that a conversation
//! has the same members whoever asks; users with the same number of devices are neighbours by index (ids are shuffled).
//! Groups cost a few bytes each.

use crate::rng::{Stream, below, key, unit};
use crate::run_id::RunId;
use squall_protocol::ids::mix;
use squall_protocol::{ConversationId, DeviceId, UserId};
use squall_scenarios::model;
use squall_scenarios::people::{Conversations, Mix, Popularity};

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
    /// The index of the user who alone may create it: a group's owner. `None` for two people's, which either may create.
    pub owner: Option<u32>,
    pub members: Vec<UserId>,
}

impl Conversation {
    pub fn is_direct(&self) -> bool {
        self.owner.is_none()
    }
}

/// A group: a run of consecutive places in one shuffled line-up of all users.
#[derive(Debug, Clone, Copy)]
struct Group {
    layer: u32,
    start: u32,
    size: u32,
}

/// Users who have the same number of devices.
#[derive(Debug, Clone, Copy)]
struct Class {
    first_user: u32,
    first_device: u32,
    devices: u32,
}

/// A scenario's people.
#[derive(Debug, Clone)]
pub struct Population {
    seed: u64,
    run: RunId,
    /// The number of the first device, among those of the run.
    first_device: u64,
    users: u32,
    devices: u32,
    classes: Vec<Class>,
    directs: Conversations,
    /// Giants first.
    groups: Vec<Group>,
    layers: u32,
    channel_share: f64,
}

impl Population {
    pub fn new(p: &model::Population, seed: u64) -> Self {
        let mut stream = Stream::new(seed, "group sizes");
        let drawn = (0..p.groups)
            .map(|_| power_law(stream.next_u64(), p.group_size_min, p.group_size_max, p.group_size_exponent));
        let mut groups = Vec::with_capacity(p.giants.len() + p.groups as usize);
        let (mut layer, mut start) = (0, 0);
        for size in p.giants.iter().map(|giant| giant.members).chain(drawn) {
            let size = size.min(p.users);
            if start + size > p.users {
                layer += 1;
                start = 0;
            }
            groups.push(Group { layer, start, size });
            start += size;
        }
        let (mut classes, mut first_user, mut first_device) = (Vec::new(), 0, 0);
        for (users, devices) in p.devices_per_user.classes(p.users) {
            classes.push(Class { first_user, first_device, devices });
            first_user += users;
            first_device += users * devices;
        }
        let alone = p.users < 2;
        Population {
            seed,
            run: RunId::default(),
            first_device: 1,
            users: p.users,
            devices: first_device,
            classes,
            directs: if alone { Conversations::One(0) } else { p.direct_conversations_per_user.clone() },
            channel_share: p.channel_share,
            layers: if groups.is_empty() { 0 } else { layer + 1 },
            groups,
        }
    }

    /// The same people, under the names that they have in this run.
    pub fn of_run(mut self, run: RunId) -> Self {
        self.run = run;
        self
    }

    /// The same people with other devices, whose numbers begin here.
    pub fn with_devices_from(mut self, first: u64) -> Self {
        self.first_device = first;
        self
    }

    pub fn run(&self) -> RunId {
        self.run
    }

    pub fn users(&self) -> u32 {
        self.users
    }

    pub fn devices(&self) -> u32 {
        self.devices
    }

    fn class_of_user(&self, user: u32) -> Class {
        self.classes[self.classes.partition_point(|class| class.first_user <= user) - 1]
    }

    /// How many devices the user at this index has.
    pub fn devices_of(&self, user: u32) -> u32 {
        self.class_of_user(user).devices
    }

    /// The index of the user's first device; the others follow.
    pub fn first_device(&self, user: u32) -> u32 {
        let class = self.class_of_user(user);
        class.first_device + (user - class.first_user) * class.devices
    }

    /// The index of the user whose device this is.
    pub fn owner(&self, device: u32) -> u32 {
        let class = self.classes[self.classes.partition_point(|class| class.first_device <= device) - 1];
        class.first_user + (device - class.first_device) / class.devices
    }

    pub fn groups(&self) -> u32 {
        self.groups.len() as u32
    }

    /// The user at this index. Ids are shuffled over 63 bits, as real ones are.
    pub fn user(&self, index: u32) -> UserId {
        UserId(mix(u64::from(index) ^ key(self.seed, "users") ^ self.run.salt("users")) >> 1)
    }

    /// The device at this index; devices of one user are neighbours.
    pub fn device(&self, index: u32) -> DeviceId {
        DeviceId(self.run.first_device() + self.first_device + u64::from(index))
    }

    /// The index of a device, if it is one of the population's.
    pub fn index_of(&self, device: DeviceId) -> Option<u32> {
        let index = device.0.checked_sub(self.run.first_device() + self.first_device)?;
        u32::try_from(index).ok().filter(|index| *index < self.devices)
    }

    pub fn user_of_device(&self, index: u32) -> UserId {
        self.user(self.owner(index))
    }

    /// How many direct conversations the user at this index has.
    pub fn directs_of(&self, index: u32) -> u32 {
        match &self.directs {
            Mix::One(directs) => *directs,
            mix => {
                let draw = unit(mix_of(key(self.seed, "directs"), index));
                mix.part(draw).map_or(0, |part| part.conversations)
            }
        }
    }

    /// The `k`th partner of the user at `index`; `None` where the shuffle left the user alone. Also beyond those that the user
    /// has: strangers, so to speak.
    pub fn partner(&self, index: u32, k: u64) -> Option<u32> {
        // In the k-th line-up of all users, neighbours are partners: the same from both sides.
        let line = Permutation::new(u64::from(self.users), key(self.seed, "partners") ^ mix(k));
        let mate = line.forward(u64::from(index)) ^ 1;
        (mate < u64::from(self.users)).then(|| line.backward(mate) as u32)
    }

    /// The conversation between two users.
    pub fn direct(&self, index: u32, mate: u32) -> Conversation {
        let (a, b) = (self.user(index.min(mate)), self.user(index.max(mate)));
        Conversation { id: ConversationId::direct(a, b), owner: None, members: vec![a, b] }
    }

    fn line(&self, layer: u32) -> Permutation {
        Permutation::new(u64::from(self.users), key(self.seed, "groups") ^ mix(u64::from(layer)))
    }

    /// The index of the user who creates a group and adds to it: its first member.
    pub fn group_owner(&self, group: u32) -> u32 {
        let g = self.groups[group as usize];
        self.line(g.layer).backward(u64::from(g.start)) as u32
    }

    /// Groups are numbered from 1, whoever creates them.
    pub fn group_id(&self, group: u32) -> ConversationId {
        ConversationId::group(self.user(self.group_owner(group)), u64::from(group) + 1)
    }

    /// The indices of a group's first members; the first of them owns it (`group_owner`).
    pub fn group_members(&self, group: u32) -> impl Iterator<Item = u32> + '_ {
        let g = self.groups[group as usize];
        let line = self.line(g.layer);
        (g.start..g.start + g.size).map(move |place| line.backward(u64::from(place)) as u32)
    }

    pub fn group(&self, group: u32) -> Conversation {
        let members = self.group_members(group).map(|i| self.user(i)).collect();
        Conversation { id: self.group_id(group), owner: Some(self.group_owner(group)), members }
    }

    /// Whether a group is created as a channel.
    pub fn is_channel(&self, id: ConversationId) -> bool {
        unit(mix(key(self.seed, "channels") ^ id.spread())) < self.channel_share
    }

    /// The `n`th user who is no first member of the group and may come and go, or another one where there are fewer; `None` where
    /// there is none.
    pub fn guest(&self, group: u32, n: u32) -> Option<u32> {
        let g = self.groups[group as usize];
        let n = n.checked_rem(self.users - g.size)?;
        let place = (g.start + g.size + n) % self.users;
        Some(self.line(g.layer).backward(u64::from(place)) as u32)
    }

    /// How many first members a group has.
    pub fn group_size(&self, group: u32) -> u32 {
        self.groups[group as usize].size
    }

    /// The index of a first member of the group, chosen by `bits`.
    pub fn group_member(&self, group: u32, bits: u64) -> u32 {
        let g = self.groups[group as usize];
        self.line(g.layer).backward(u64::from(g.start) + below(bits, u64::from(g.size))) as u32
    }

    /// The share of users who are a first member of some group.
    pub fn share_in_groups(&self) -> f64 {
        // Groups stand in order of their layers.
        let of_a_layer = self.groups.chunk_by(|a, b| a.layer == b.layer);
        let alone: f64 = of_a_layer
            .map(|groups| 1.0 - groups.iter().map(|g| f64::from(g.size)).sum::<f64>() / f64::from(self.users))
            .product();
        1.0 - alone
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
}

fn mix_of(key: u64, index: u32) -> u64 {
    mix(key ^ mix(u64::from(index)))
}

/// One of `0..n`, the first ones more often than the last ones.
pub fn popular(popularity: Popularity, bits: u64, n: u32) -> u32 {
    match popularity {
        _ if n <= 1 => 0,
        Popularity::Uniform => below(bits, u64::from(n)) as u32,
        Popularity::Zipf { exponent } => zipf(bits, n, exponent) - 1,
        Popularity::HotSet { share, traffic } => {
            let hot = hot_set(n, share);
            let draw = unit(bits);
            match () {
                () if hot == n => (draw * f64::from(n)) as u32,
                () if draw < traffic => (draw / traffic * f64::from(hot)) as u32,
                () => hot + ((draw - traffic) / (1.0 - traffic) * f64::from(n - hot)) as u32,
            }
            .min(n - 1)
        }
    }
}

/// How many of `n` are in the hot set.
pub fn hot_set(n: u32, share: f64) -> u32 {
    ((f64::from(n) * share) as u32).clamp(1, n.max(1))
}

/// A rank in `1..=n` with probability proportional to `rank^-exponent`, by rejection-inversion (Hörmann, Derflinger 1996,
/// "Rejection-inversion to generate variates from monotone discrete distributions"). `bits` seed what rejection needs.
fn zipf(bits: u64, n: u32, exponent: f64) -> u32 {
    let is_one = (exponent - 1.0).abs() < 1e-9;
    let e = 1.0 - exponent;
    // The integral of x^-exponent, and its inverse.
    let h = |x: f64| if is_one { libm::log(x) } else { (libm::pow(x, e) - 1.0) / e };
    let inverse = |y: f64| if is_one { libm::exp(y) } else { libm::pow(1.0 + e * y, 1.0 / e) };
    let density = |k: f64| libm::pow(k, -exponent);
    let (first, last) = (h(1.5) - 1.0, h(f64::from(n) + 0.5));
    let sure = 2.0 - inverse(h(2.5) - density(2.0));
    let mut bits = bits;
    loop {
        let u = last + unit(bits) * (first - last);
        let x = inverse(u);
        let k = libm::round(x).clamp(1.0, f64::from(n));
        if k - x <= sure || u >= h(k + 0.5) - density(k) {
            return k as u32;
        }
        bits = mix(bits);
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
    use squall_scenarios::people::{ConversationsPart, DevicesPart, Giant};
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
                let Some(mate) = p.partner(index, k) else { continue };
                assert_ne!(mate, index);
                assert_eq!(p.partner(mate, k), Some(index));
                assert_eq!(p.direct(mate, index), p.direct(index, mate));
                found += 1;
            }
        }
        assert_eq!(found, 300);
    }

    #[test]
    fn devices_and_their_owners_name_each_other() {
        let parts = [(0.5, 1), (0.25, 3), (0.25, 2)].map(|(share, devices)| DevicesPart { share, devices });
        let p =
            model::Population { users: 21, devices_per_user: Mix::Mixture(parts.into()), ..Default::default() };
        let p = Population::new(&p, 5);
        let mut device = 0;
        for user in 0..21 {
            assert_eq!(p.first_device(user), device);
            for own in device..device + p.devices_of(user) {
                assert_eq!(p.owner(own), user);
            }
            device += p.devices_of(user);
        }
        assert_eq!(p.devices(), device);
        assert_eq!([1, 2, 3].map(|n| (0..21).filter(|user| p.devices_of(*user) == n).count()), [10, 6, 5]);
    }

    #[test]
    fn the_number_of_conversations_follows_its_mixture() {
        let parts = [(0.8, 2), (0.2, 40)].map(|(share, conversations)| ConversationsPart { share, conversations });
        let parts = Mix::Mixture(parts.into());
        let p = model::Population { users: 5_000, direct_conversations_per_user: parts, ..Default::default() };
        let p = Population::new(&p, 5);
        let many = (0..5_000).filter(|user| p.directs_of(*user) == 40).count();
        assert!((900..1_100).contains(&many), "{many}");
    }

    #[test]
    fn giants_stand_first_and_have_the_size_they_ask_for() {
        let giants =
            vec![Giant { name: "square".into(), members: 50 }, Giant { name: "hall".into(), members: 30 }];
        let p = model::Population { users: 60, groups: 5, group_size_max: 20, giants, ..Default::default() };
        let p = Population::new(&p, 5);
        assert_eq!((p.groups(), p.group_size(0), p.group_size(1)), (7, 50, 30));
        let members: BTreeSet<u32> = p.group_members(1).collect();
        assert_eq!(members.len(), 30);
        assert!((0..50).all(|bits| members.contains(&p.group_member(1, mix(bits)))));
        assert!(p.share_in_groups() > 50.0 / 60.0);
    }

    #[test]
    fn the_popular_get_their_share() {
        let count = |popularity, wanted: std::ops::Range<u32>| {
            let mut stream = Stream::new(3, "popular");
            (0..100_000).filter(|_| wanted.contains(&popular(popularity, stream.next_u64(), 1_000))).count()
        };
        assert!((9_500..10_500).contains(&count(Popularity::Uniform, 0..100)));
        let hot = Popularity::HotSet { share: 0.01, traffic: 0.8 };
        assert!((79_500..80_500).contains(&count(hot, 0..10)));
        assert!((1_900..2_150).contains(&count(hot, 10..110)), "{}", count(hot, 10..110));
        let zipf = Popularity::Zipf { exponent: 1.0 };
        // 1 + 1/2 + … + 1/10 over 1 + 1/2 + … + 1/1000 of it is on the first ten, a tenth of 1.336 on the first.
        assert!((38_600..39_700).contains(&count(zipf, 0..10)), "{}", count(zipf, 0..10));
        assert!((13_000..13_700).contains(&count(zipf, 0..1)), "{}", count(zipf, 0..1));
        let everybody = Popularity::HotSet { share: 1.0, traffic: 0.5 };
        assert!((9_500..10_500).contains(&count(everybody, 900..1_000)));
    }

    #[test]
    fn a_user_finds_the_groups_that_list_them() {
        let p = population(60, 25);
        for group in 0..25 {
            let members: Vec<u32> = p.group_members(group).collect();
            assert_eq!(p.group_owner(group), members[0]);
            assert!(
                p.group_id(group).founded_by(p.user(members[0]))
                    && !p.group_id(group).founded_by(p.user(members[1]))
            );
            assert!(members.len() >= 3);
            assert!(!members.contains(&p.guest(group, 0).unwrap()));
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
