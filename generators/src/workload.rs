//! What people do and when: open-loop, drawn from the seed, the same whatever the system does.

use crate::population::{Conversation, Population, popular};
use crate::rate::Rate;
use crate::rng::{Stream, exponential, key, unit};
use crate::run_id::RunId;
use crate::text;
use squall_protocol::ids::mix;
use squall_protocol::{ClientMsgId, ConversationId, Payload};
use squall_scenarios::model::{self, Arrival, Codec, Scenario};
use squall_scenarios::people::{BodyPart, LengthPart, Lengths, Life, Mix, Popularity};
use std::collections::BTreeMap;

/// One act of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The device that they use, by index.
    pub device: u32,
    pub conversation: Conversation,
    pub payload: Payload,
}

/// A scenario's behaviour.
#[derive(Debug, Clone)]
pub struct Workload {
    seed: u64,
    run: RunId,
    model: model::Workload,
    typing: model::Typing,
    rate: Rate,
    lives: BTreeMap<Life, f64>,
    revisit_after: u64,
    one_way_share: f64,
    silent_share: f64,
    /// When the load begins, and how long it is, in µs.
    load: (u64, u64),
    /// For each crowd, the giant that it goes to, by its place among the groups.
    crowd_giants: Vec<Option<u32>>,
}

/// Line-ups from here on bring strangers together. Each user takes their own, so that nobody else writes to the same pair.
const STRANGERS: u64 = 1 << 32;
/// Tells the draw of a conversation's end from its others.
const SILENCE: u64 = 1 << 33;

/// What is given up is drawn as a send that nobody reaches.
const GIVEN_UP: u32 = 1 << 31;

impl Workload {
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let population = &scenario.population;
        let place =
            |name: &String| population.giants.iter().position(|giant| giant.name == *name).map(|i| i as u32);
        let crowds = scenario.workload.flash_crowds.iter();
        Workload {
            seed: key(seed, "workload"),
            run: RunId::default(),
            model: scenario.workload.clone(),
            typing: scenario.typing.clone(),
            rate: Rate::new(
                &scenario.workload,
                scenario.phases.ramp.as_micros(),
                scenario.phases.load.as_micros(),
            ),
            lives: population.direct_lifecycle.clone(),
            revisit_after: population.revisit_after.as_micros().max(1),
            one_way_share: population.one_way_share,
            silent_share: population.silent_share,
            load: (scenario.phases.ramp.as_micros(), scenario.phases.load.as_micros()),
            crowd_giants: crowds.map(|crowd| crowd.to.as_ref().and_then(place)).collect(),
        }
    }

    pub fn model(&self) -> &model::Workload {
        &self.model
    }

    pub(crate) fn bits(&self, what: u64, index: u32, n: u32) -> u64 {
        mix(self.seed ^ mix(what ^ mix(u64::from(index) << 32 | u64::from(n))))
    }

    /// When a user sends for the `n`th time, having sent the time before at `last` (or begun then), in µs of the run.
    pub fn next_send(&self, user: u32, n: u32, last: u64) -> u64 {
        self.rate.after(last, self.send_gap(user, n)).max(last + 1)
    }

    /// What is said of people's writing.
    pub fn typing(&self) -> &model::Typing {
        &self.typing
    }

    /// For how long, in µs, it is said before the `n`th send of a user that they are writing; `None`: it is not.
    pub fn typing_before(&self, user: u32, n: u32) -> Option<u64> {
        let is_said = self.typing.is_said() && unit(self.bits(20, user, n)) < self.typing.before;
        is_said.then(|| self.typing.lasts.as_micros())
    }

    /// What it is that a user writes before their `n`th send, at `now` µs: that, or something that they give up.
    pub fn writes(&self, population: &Population, user: u32, n: u32, now: u64) -> Option<Act> {
        let is_given_up = unit(self.bits(22, user, n)) < self.typing.given_up;
        self.send(population, user, if is_given_up { n | GIVEN_UP } else { n }, now)
    }

    /// Whether it is said on all of the writer's devices.
    pub fn is_typed_everywhere(&self, user: u32, n: u32) -> bool {
        unit(self.bits(21, user, n)) < self.typing.everywhere
    }

    /// The gap before the `n`th send of a user, in µs at the usual rate.
    fn send_gap(&self, user: u32, n: u32) -> f64 {
        let mean = self.model.send_interval.as_micros() as f64;
        let bits = self.bits(1, user, n);
        match self.model.arrival {
            Arrival::Poisson => exponential(bits, mean),
            // The first gap is the phase.
            Arrival::Constant if n == 0 => unit(bits) * mean,
            Arrival::Constant => mean,
            Arrival::Bursts => {
                // A burst ends with each message with the same chance; what its gaps are short of the mean, the pauses
                // between bursts are long.
                let (ends, gap) = (1.0 / self.model.burst_size, self.model.burst_gap.as_micros() as f64);
                let pause = (mean - (1.0 - ends) * gap) / ends;
                let is_pause = n == 0 || unit(self.bits(8, user, n)) < ends;
                exponential(bits, if is_pause { pause } else { gap })
            }
        }
    }

    /// Whether nobody says anything more in this conversation at `now` µs. Those that fall silent do so at times spread over the load.
    pub(crate) fn is_silent(&self, conversation: ConversationId, now: u64) -> bool {
        let draw = mix(self.seed ^ mix(conversation.spread() ^ SILENCE));
        let (begins, length) = self.load;
        unit(draw) < self.silent_share && now >= begins + (unit(mix(draw)) * length as f64) as u64
    }

    /// The `n`th send of a user, at `now` µs; `None` when the user has nobody to write to, or the conversation has fallen silent.
    pub fn send(&self, population: &Population, user: u32, n: u32, now: u64) -> Option<Act> {
        let mut stream = Stream::from_key(self.bits(2, user, n));
        let which_device = stream.next_u64();
        let (writer, conversation) = self
            .crowd(population, now, &mut stream)
            .or_else(|| self.group(population, user, &mut stream))
            .or_else(|| self.direct(population, user, n, now, &mut stream))
            .or_else(|| {
                let group = population.group_of(user, stream.next_u64())?;
                Some((user, population.group(group)))
            })?;
        if self.is_silent(conversation.id, now) {
            return None;
        }
        let device = population.first_device(writer)
            + crate::rng::below(which_device, u64::from(population.devices_of(writer))) as u32;
        if conversation.is_direct()
            && let Some(payload) = self.block(&mut Stream::from_key(self.bits(14, user, n)))
        {
            return Some(Act { device, conversation, payload });
        }
        let bytes = self.body_bytes(&mut stream);
        let body = text::body(self.model.text, now, bytes, &mut stream);
        Some(Act { device, conversation, payload: Payload::Text(body) })
    }

    /// A message that a crowd has added, to the giant that the crowd is about.
    fn crowd(&self, population: &Population, now: u64, stream: &mut Stream) -> Option<(u32, Conversation)> {
        let crowd = self.rate.crowds_at(now).find(|crowd| self.crowd_giants[*crowd].is_some())?;
        let times = self.model.flash_crowds[crowd].times;
        let giant = self.crowd_giants[crowd].filter(|_| stream.chance(1.0 - 1.0 / times))?;
        Some((population.group_member(giant, stream.next_u64()), population.group(giant)))
    }

    fn group(&self, population: &Population, user: u32, stream: &mut Stream) -> Option<(u32, Conversation)> {
        if population.groups() == 0 || stream.chance(self.model.direct_share) {
            return None;
        }
        if self.model.group_popularity == Popularity::Uniform {
            let group = population.group_of(user, stream.next_u64())?;
            return Some((user, population.group(group)));
        }
        let group = popular(self.model.group_popularity, stream.next_u64(), population.groups());
        Some((population.group_member(group, stream.next_u64()), population.group(group)))
    }

    fn direct(
        &self,
        population: &Population,
        user: u32,
        n: u32,
        now: u64,
        stream: &mut Stream,
    ) -> Option<(u32, Conversation)> {
        let directs = u64::from(population.directs_of(user));
        let first = match self.life(stream) {
            Life::OneShot => {
                let stranger = population.partner(user, STRANGERS | self.bits(11, user, n))?;
                return self.written(population, user, stranger);
            }
            Life::Revisited => {
                let phase = self.bits(9, user, 0);
                (now / self.revisit_after + phase % directs.max(1)) % directs.max(1)
            }
            Life::Long => u64::from(popular(self.model.partner_popularity, stream.next_u64(), directs as u32)),
        };
        let mate = (0..directs).find_map(|i| population.partner(user, (first + i) % directs))?;
        self.written(population, user, mate)
    }

    fn life(&self, stream: &mut Stream) -> Life {
        if self.lives.len() == 1 {
            return *self.lives.keys().next().expect("there is one");
        }
        let mut rest = stream.unit() * self.lives.values().sum::<f64>();
        let drawn = self.lives.iter().find(|(_, share)| {
            rest -= **share;
            rest < 0.0
        });
        drawn.or(self.lives.last_key_value()).map_or(Life::Long, |(life, _)| *life)
    }

    /// Who of the two writes: the user, unless it is a conversation in which only the other one does.
    fn written(&self, population: &Population, user: u32, mate: u32) -> Option<(u32, Conversation)> {
        let conversation = population.direct(user, mate);
        let draw = mix(self.seed ^ conversation.id.spread());
        let only = if draw & 1 == 0 { user.min(mate) } else { user.max(mate) };
        let writer = if unit(draw) < self.one_way_share { only } else { user };
        Some((writer, conversation))
    }

    fn body_bytes(&self, stream: &mut Stream) -> u32 {
        match &self.model.body_bytes {
            Mix::One(bytes) => *bytes,
            mix => {
                let draw = stream.unit();
                let Some(part) = mix.part(draw) else { return 1 };
                let BodyPart { bytes, .. } = part;
                bytes + stream.below(u64::from(part.longest() - bytes) + 1) as u32
            }
        }
    }

    /// How many sends follow at once upon the `n`th of a user.
    pub fn follow_ups(&self, user: u32, n: u32) -> u32 {
        let follows = |nth: u32| {
            let bits = self.bits(3, user, n);
            unit(if nth == 0 { bits } else { mix(bits ^ u64::from(nth)) }) < self.model.follow_up_share
        };
        (0..self.model.follow_ups).find(|nth| !follows(*nth)).unwrap_or(self.model.follow_ups)
    }

    /// How long the `n`th session of a device lasts, in µs; `None`: for ever.
    pub fn session_length(&self, device: u32, n: u32) -> Option<u64> {
        match &self.model.session_length {
            Mix::One(mean) if mean.is_zero() => None,
            Mix::One(mean) => Some((exponential(self.bits(5, device, n), mean.as_micros() as f64) as u64).max(1)),
            mixture => Some(self.length(mixture, 5, device, n)),
        }
    }

    /// How long a device stays away after its `n`th session, in µs.
    pub fn away_length(&self, device: u32, n: u32) -> u64 {
        match &self.model.away_length {
            Mix::One(length) => length.as_micros(),
            mixture => self.length(mixture, 10, device, n),
        }
    }

    fn length(&self, mixture: &Lengths, what: u64, device: u32, n: u32) -> u64 {
        let mut stream = Stream::from_key(self.bits(what, device, n));
        let draw = stream.unit();
        let Some(part) = mixture.part(draw) else { return 1 };
        let bits = stream.next_u64();
        let micros = match part {
            LengthPart { from: Some(from), to: Some(to), .. } => {
                let (from, to) = (from.as_micros() as f64, to.as_micros() as f64);
                from + unit(bits) * (to - from)
            }
            part => exponential(bits, part.mean_micros()),
        };
        (micros as u64).max(1)
    }

    pub fn codec(&self, device: u32) -> squall_protocol::Codec {
        match self.model.codec {
            Codec::Json => squall_protocol::Codec::Json,
            Codec::Protobuf => squall_protocol::Codec::Protobuf,
            Codec::Mixed if device.is_multiple_of(2) => squall_protocol::Codec::Json,
            Codec::Mixed => squall_protocol::Codec::Protobuf,
        }
    }

    /// The same workload, its messages under the names that they have in this run.
    pub fn of_run(mut self, run: RunId) -> Self {
        self.run = run;
        self
    }

    /// The id of the `n`th message of a device: a version 4 UUID.
    pub fn message_id(&self, device: u32, n: u32) -> ClientMsgId {
        let salt = self.run.salt("messages");
        let (high, low) = (self.bits(6, device, n) ^ salt, self.bits(7, device, n) ^ salt);
        let bits = u128::from(high) << 64 | u128::from(low);
        ClientMsgId(bits & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::Span;
    use squall_scenarios::people::{FlashCrowd, Giant};

    fn people(change: impl FnOnce(&mut Scenario)) -> (Population, Workload) {
        let population =
            model::Population { users: 50, groups: 5, devices_per_user: Mix::One(2), ..Default::default() };
        let mut scenario = Scenario { population, ..Scenario::default() };
        scenario.workload.direct_share = 0.5;
        change(&mut scenario);
        (Population::new(&scenario.population, 3), Workload::new(&scenario, 3))
    }

    fn setup() -> (Population, Workload) {
        people(|_| {})
    }

    /// The first sends of all users.
    fn acts(p: &Population, w: &Workload, each: u32, now: u64) -> Vec<(u32, Act)> {
        let all = (0..p.users()).flat_map(|user| (0..each).map(move |n| (user, n)));
        all.filter_map(|(user, n)| Some((user, w.send(p, user, n, now)?))).collect()
    }

    #[test]
    fn a_sender_is_a_member_of_the_conversation_and_uses_an_own_device() {
        let (p, w) = setup();
        let (mut direct, mut group) = (0, 0);
        for user in 0..50 {
            for n in 0..20 {
                let act = w.send(&p, user, n, 9).unwrap();
                assert_eq!(p.user_of_device(act.device), p.user(user));
                assert!(act.conversation.members.contains(&p.user(user)));
                if act.conversation.is_direct() { direct += 1 } else { group += 1 }
            }
        }
        assert!(direct > 300 && group > 100, "{direct} {group}");
    }

    #[test]
    fn so_many_follow_at_once_as_was_asked_for_by_and_large() {
        let (_, w) = people(|s| (s.workload.follow_up_share, s.workload.follow_ups) = (0.9, 40));
        let all: Vec<u32> =
            (0..50).flat_map(|user| (0..40).map(move |n| (user, n))).map(|(u, n)| w.follow_ups(u, n)).collect();
        let mean = f64::from(all.iter().sum::<u32>()) / all.len() as f64;
        assert!((mean / w.model().mean_follow_ups() - 1.0).abs() < 0.1, "{mean}");
        assert!(all.iter().all(|n| *n <= 40) && all.iter().any(|n| *n > 20));
    }

    #[test]
    fn conversations_fall_silent_one_by_one_and_stay_so() {
        let (p, w) = people(|s| s.population.silent_share = 0.5);
        let (begins, length) = w.load;
        let said = |share: f64| {
            let at = begins + (share * length as f64) as u64;
            let acts = acts(&p, &w, 40, at);
            acts.iter().map(|(_, act)| act.conversation.id).collect::<std::collections::BTreeSet<_>>()
        };
        let [first, middle, last] = [0.0, 0.5, 1.0].map(said);
        assert!(middle.is_subset(&first) && last.is_subset(&middle));
        let share = |left: usize| left as f64 / first.len() as f64;
        assert!((0.6..0.9).contains(&share(middle.len())), "{}", middle.len());
        assert!((0.35..0.65).contains(&share(last.len())), "{} of {}", last.len(), first.len());
    }

    #[test]
    fn arrivals_have_the_mean_that_was_asked_for_whatever_their_kind() {
        for arrival in [Arrival::Poisson, Arrival::Constant, Arrival::Bursts] {
            let (p, w) = people(|s| s.workload.arrival = arrival);
            let mut ends = 0.0;
            for user in 0..p.users() {
                ends += (0..200).fold(0, |last, n| w.next_send(user, n, last)) as f64;
            }
            let mean = ends / f64::from(p.users() * 200);
            let expected = w.model().send_interval.as_micros() as f64;
            assert!((mean / expected - 1.0).abs() < 0.05, "{arrival:?}: {mean} for {expected}");
        }
    }

    #[test]
    fn most_gaps_of_bursts_are_short() {
        let (_, w) = people(|s| s.workload.arrival = Arrival::Bursts);
        let short = (1..1_000).filter(|n| w.send_gap(7, *n) < 5e6).count();
        assert!((680..820).contains(&short), "{short} of 999 with three of four inside bursts");
    }

    #[test]
    fn one_shot_conversations_are_never_used_again_and_long_ones_are() {
        let conversations = |life: Life| {
            let (p, w) = people(|s| {
                s.population.direct_lifecycle = BTreeMap::from([(life, 1.0)]);
                s.population.users = 2_000;
                s.workload.direct_share = 1.0;
            });
            let acts = acts(&p, &w, 3, 5);
            let ids: std::collections::BTreeSet<_> = acts.iter().map(|(_, act)| act.conversation.id).collect();
            (acts.len(), ids.len())
        };
        let (sends, one_shot) = conversations(Life::OneShot);
        // By chance, two draws bring the same two together now and then.
        assert!(one_shot > sends * 99 / 100, "{one_shot} for {sends}");
        let (_, long) = conversations(Life::Long);
        assert!(long <= 3_000, "{long}");
        let (_, revisited) = conversations(Life::Revisited);
        assert!(revisited <= 2_000, "everybody stays with one partner: {revisited}");
    }

    #[test]
    fn revisited_partners_come_again_in_turn() {
        let (p, w) = people(|s| {
            s.population.direct_lifecycle = BTreeMap::from([(Life::Revisited, 1.0)]);
            s.workload.direct_share = 1.0;
        });
        let at = |minute: u64| w.send(&p, 7, 0, minute * 60_000_000 + 5).unwrap().conversation.id;
        assert_eq!((at(0), at(1), at(2)), (at(3), at(4), at(5)));
        assert!(at(0) != at(1) || at(1) != at(2));
    }

    #[test]
    fn in_a_one_way_conversation_only_one_side_writes() {
        let (p, w) = people(|s| {
            s.population.one_way_share = 1.0;
            s.workload.direct_share = 1.0;
        });
        let mut writers = BTreeMap::new();
        for (_, act) in acts(&p, &w, 40, 5) {
            let owner = p.owner(act.device);
            assert_eq!(*writers.entry(act.conversation.id).or_insert(owner), owner);
        }
        assert!(writers.len() > 30);
    }

    #[test]
    fn a_crowd_gathers_in_its_giant_and_its_members_write() {
        let (p, w) = people(|s| {
            s.population.giants = vec![Giant { name: "square".into(), members: 30 }];
            s.workload.flash_crowds = vec![FlashCrowd {
                at: Span::from_secs(5),
                lasts: Span::from_secs(5),
                times: 5.0,
                to: Some("square".into()),
            }];
        });
        let members: std::collections::BTreeSet<u32> = p.group_members(0).collect();
        let share = |now: u64| {
            let acts = acts(&p, &w, 40, now);
            let there = acts.iter().filter(|(_, act)| act.conversation.id == p.group_id(0));
            assert!(there.clone().all(|(_, act)| members.contains(&p.owner(act.device))));
            there.count() as f64 / acts.len() as f64
        };
        let ramp = 3_000_000;
        assert!((0.78..0.95).contains(&share(ramp + 7_000_000)), "{}", share(ramp + 7_000_000));
        assert!(share(ramp + 1_000_000) < 0.5);
    }

    #[test]
    fn bodies_and_lengths_follow_their_mixtures() {
        let (p, w) = people(|s| {
            s.workload.body_bytes = Mix::Mixture(vec![
                BodyPart { share: 0.75, bytes: 20, up_to: None },
                BodyPart { share: 0.25, bytes: 1_000, up_to: Some(2_000) },
            ]);
            s.workload.session_length = Mix::Mixture(vec![LengthPart {
                share: 1.0,
                mean: None,
                from: Some(Span::from_secs(2)),
                to: Some(Span::from_secs(4)),
            }]);
        });
        let lengths: Vec<usize> = acts(&p, &w, 40, 5)
            .iter()
            .map(|(_, act)| match &act.payload {
                Payload::Text(body) => body.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        let long = lengths.iter().filter(|len| (1_000..=2_000).contains(*len)).count();
        assert_eq!(lengths.iter().filter(|len| **len == 20).count() + long, lengths.len());
        assert!((lengths.len() / 5..lengths.len() * 3 / 10).contains(&long), "{long}");
        let sessions = (0..100).map(|n| w.session_length(3, n).unwrap());
        assert!(sessions.clone().all(|us| (2_000_000..=4_000_000).contains(&us)));
        assert!(sessions.clone().min() != sessions.max());
    }

    #[test]
    fn message_ids_are_version_4_uuids() {
        let (_, w) = setup();
        let text = w.message_id(1, 2).to_string();
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]));
    }
}
