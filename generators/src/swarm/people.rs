//! Who is there and what they do, for a seed of the swarm: one of a few moods, each with corners of its own.

use super::draws::Draws;
use proptest::prelude::*;
use squall_protocol::limits;
use squall_scenarios::people::{Bodies, BodyPart, Conversations, Devices, Lengths, Popularity};
use squall_scenarios::{Codec, Membership, Profile, Scenario, Span, Text, Tick};

/// What kind of traffic a seed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// Every conversation is busy: every fault meets traffic, and a later message soon repairs what an earlier one lost.
    Busy,
    /// Many conversations in which little is said, some of which fall silent for good: what is lost there, nothing repairs.
    Sparse,
    /// Hardly anybody says anything. Only faults that need no traffic are drawn.
    Quiet,
    /// Everybody talks in one group, over links that can carry it: backlogs of many pages, and messages that are long forgotten
    /// when they come again.
    Crowd,
    /// People with hundreds of conversations, which is more than one part of heads.
    ManyConversations,
    /// Groups of many people in which little is said.
    LargeGroups,
}

impl Mood {
    fn draw(draws: &mut Draws) -> Self {
        draws.of(prop_oneof![
            48 => Just(Mood::Busy),
            27 => Just(Mood::Sparse),
            7 => Just(Mood::Quiet),
            12 => Just(Mood::Crowd),
            6 => Just(Mood::ManyConversations),
            8 => Just(Mood::LargeGroups),
        ])
    }
}

/// Hosts, network, population and workload: small, so that a seed takes a second.
pub(super) fn draw(draws: &mut Draws, scenario: &mut Scenario) -> Mood {
    let topology = &mut scenario.topology;
    topology.gateways = draws.of(prop_oneof![3 => Just(2u32), 2 => Just(3u32)]);
    topology.messages = draws.of(prop_oneof![2 => Just(1u32), 3 => Just(2u32)]);
    topology.registries = draws.of(prop_oneof![3 => Just(1u32), 2 => Just(2u32)]);
    topology.buses = draws.of(prop_oneof![3 => Just(1u32), 2 => Just(2u32)]);
    topology.commit_latency = draws.ms(1, 25);
    let profiles = [Profile::Wifi, Profile::Lte, Profile::ThreeG, Profile::Flaky];
    // Two at least, so that not everybody is behind one carrier.
    let of = proptest::sample::subsequence(profiles.to_vec(), 2..=3);
    scenario.network.last_mile = draws.of(of).into_iter().map(|profile| (profile, 1.0)).collect();
    scenario.phases.load = draws.ms(24_000, 34_000);
    scenario.tick = Tick(Span::from_millis(draws.of(prop_oneof![1 => Just(1u64), 2 => Just(2u64)])));

    let users = draws.of(8..=20u32);
    let population = &mut scenario.population;
    population.users = users;
    population.devices_per_user = Devices::One(draws.of(prop_oneof![2 => Just(1u32), 3 => Just(2u32)]));
    population.direct_conversations_per_user = Conversations::One(draws.of(2..=5u32));
    population.groups = draws.of(prop_oneof![1 => Just(0u32), 4 => 1..=4u32]);
    population.group_size_min = 3;
    population.group_size_max = users.min(10);
    if draws.chance(0.25) {
        population.away_share = draws.share(20, 40);
        population.away_until = draws.ms(10_000, 20_000);
    }

    let workload = &mut scenario.workload;
    workload.send_interval = draws.ms(900, 2_500);
    workload.direct_share = if population.groups == 0 { 1.0 } else { draws.share(30, 90) };
    workload.follow_up_share = draws.share(0, 50);
    // What is written must fit through the slowest last mile, or no bound on liveness could hold.
    workload.body_bytes = Bodies::One(draws.of(20..=400u32));
    if draws.chance(0.3) {
        workload.text = Text::EveryScript;
    }
    workload.codec =
        draws.of(prop_oneof![2 => Just(Codec::Mixed), 1 => Just(Codec::Json), 1 => Just(Codec::Protobuf)]);
    workload.heartbeat_interval = draws.ms(4_000, 30_000);
    if draws.chance(0.45) {
        workload.membership_interval = draws.ms(500, 6_000);
        if draws.chance(0.6) {
            workload.membership = Membership::Restless;
        }
    }
    if draws.chance(0.25) {
        workload.session_length = Lengths::One(draws.ms(5_000, 20_000));
        workload.away_length = Lengths::One(draws.ms(500, 8_000));
    }
    let mood = Mood::draw(draws);
    match mood {
        Mood::Busy => {}
        Mood::Sparse => sparse(draws, scenario),
        Mood::Quiet => quiet(draws, scenario),
        Mood::Crowd => crowd(draws, scenario),
        Mood::ManyConversations => many_conversations(draws, scenario),
        Mood::LargeGroups => large_groups(draws, scenario),
    }
    if matches!(mood, Mood::Sparse | Mood::LargeGroups) && draws.chance(0.3) {
        // Much at once, and then silence: what the last of it needs, no later message brings.
        let workload = &mut scenario.workload;
        workload.follow_up_share = draws.share(80, 95);
        workload.follow_ups = draws.of(20..=40u32);
        workload.send_interval = workload.send_interval * 4;
    }
    if scenario.workload.membership_interval > Span::ZERO && draws.chance(0.3) {
        // So little that those who change groups are told to wait.
        let limits = &mut scenario.limits;
        (limits.additions_per_second, limits.additions_burst) = (1, draws.of(4..=12u32));
        (limits.changes_per_second, limits.changes_burst) = (1, draws.of(4..=12u32));
    }
    if scenario.population.groups > 0 && draws.chance(0.4) {
        // In the midst of the groups that there are, so that who comes and goes changes what they are.
        let (least, most) = (scenario.population.group_size_min, scenario.population.group_size_max);
        scenario.limits.channel_above = draws.of(least.saturating_sub(1).max(1)..=most.max(2));
    }
    mood
}

/// Enough is said in all that faults meet traffic, and little in each conversation.
fn sparse(draws: &mut Draws, scenario: &mut Scenario) {
    scenario.phases.load = draws.ms(30_000, 45_000);
    let (population, workload) = (&mut scenario.population, &mut scenario.workload);
    population.users = draws.of(14..=24u32);
    population.group_size_max = population.users.min(10);
    population.direct_conversations_per_user = Conversations::One(draws.of(6..=12u32));
    population.groups = draws.of(4..=10u32);
    population.silent_share = draws.share(0, 60);
    workload.send_interval = draws.ms(2_000, 6_000);
    workload.direct_share = draws.share(40, 80);
    workload.follow_up_share = draws.share(0, 20);
    if draws.chance(0.3) {
        // A few conversations get most of it, and the others are the sparser for that.
        workload.partner_popularity = Popularity::HotSet { share: 0.2, traffic: 0.8 };
        workload.send_interval = draws.ms(1_200, 3_000);
    }
    if workload.membership_interval > Span::ZERO {
        workload.membership_interval = draws.ms(3_000, 15_000);
    }
}

fn quiet(draws: &mut Draws, scenario: &mut Scenario) {
    scenario.phases.load = draws.ms(45_000, 70_000);
    let workload = &mut scenario.workload;
    workload.send_interval = draws.ms(12_000, 25_000);
    workload.follow_up_share = 0.0;
    if workload.membership_interval > Span::ZERO {
        workload.membership_interval = draws.ms(10_000, 30_000);
    }
}

fn crowd(draws: &mut Draws, scenario: &mut Scenario) {
    scenario.network.last_mile = [(Profile::Wifi, 1.0), (Profile::Lte, 1.0)].into();
    let (population, workload) = (&mut scenario.population, &mut scenario.workload);
    population.groups = 1;
    population.group_size_min = population.users;
    population.group_size_max = population.users;
    population.devices_per_user = Devices::One(1);
    population.away_share = 0.25;
    population.away_until = Span::from_secs(22);
    workload.direct_share = 0.1;
    workload.send_interval = draws.ms(350, 700);
    workload.membership_interval = Span::ZERO;
    if draws.chance(0.6) {
        // Heavy enough that whoever does not read is soon too far behind, and that bytes cut a page before entries do.
        let largest = limits::MAX_BODY_BYTES as u32;
        let heavy = BodyPart { share: 0.9, bytes: 8_000, up_to: Some(12_000) };
        let light = BodyPart { share: 0.1, bytes: 20, up_to: None };
        workload.body_bytes = match draws.chance(0.5) {
            true => Bodies::One(12_000),
            false => Bodies::Mixture(vec![heavy, light, BodyPart { share: 0.02, bytes: largest, up_to: None }]),
        };
        population.users = population.users.min(12);
        population.group_size_min = population.users;
        population.group_size_max = population.users;
    }
}

fn large_groups(draws: &mut Draws, scenario: &mut Scenario) {
    sparse(draws, scenario);
    scenario.network.last_mile = [(Profile::Wifi, 1.0), (Profile::Lte, 1.0)].into();
    let (population, workload) = (&mut scenario.population, &mut scenario.workload);
    population.users = draws.of(50..=90u32);
    population.devices_per_user = Devices::One(1);
    population.direct_conversations_per_user = Conversations::One(1);
    population.groups = draws.of(3..=8u32);
    (population.group_size_min, population.group_size_max) = (33, population.users);
    workload.direct_share = 0.1;
    workload.send_interval = draws.ms(15_000, 40_000);
    workload.partner_popularity = Popularity::Uniform;
    workload.membership_interval = draws.ms(2_000, 10_000);
    workload.membership = Membership::Restless;
}

/// Everybody is in more groups than one part of the heads holds, and in most of them little was ever said.
fn many_conversations(draws: &mut Draws, scenario: &mut Scenario) {
    scenario.network.last_mile = [(Profile::Wifi, 1.0), (Profile::Lte, 1.0)].into();
    scenario.topology.messages = 1;
    let (population, workload) = (&mut scenario.population, &mut scenario.workload);
    population.users = draws.of(6..=8u32);
    population.devices_per_user = Devices::One(1);
    population.direct_conversations_per_user = Conversations::One(2);
    population.groups = (limits::HEADS_PER_FRAME as u32) * 3 / 2;
    population.group_size_min = population.users;
    population.group_size_max = population.users;
    population.away_share = 0.3;
    population.away_until = Span::from_secs(22);
    workload.direct_share = 0.02;
    workload.send_interval = Span::from_millis(u64::from(population.users) * 40);
    workload.follow_up_share = 0.0;
    workload.membership_interval = Span::ZERO;
    workload.body_bytes = Bodies::One(draws.of(20..=60u32));
}

/// Who may do what is changed wherever members are.
pub(super) fn draw_rights(draws: &mut Draws, scenario: &mut Scenario) {
    if scenario.workload.membership_interval > Span::ZERO && scenario.workload.membership == Membership::Restless {
        if draws.chance(0.6) {
            scenario.workload.rights_share = draws.share(10, 70);
        }
        if draws.chance(0.4) {
            scenario.workload.names_at_once = draws.of(2..=6u32);
        }
        if draws.chance(0.4) {
            scenario.population.channel_share = draws.share(20, 100);
        }
    }
    if draws.chance(0.25) {
        scenario.workload.block_share = draws.share(2, 20);
    }
}
