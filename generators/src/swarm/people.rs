//! Who is there and what they do, for a seed of the swarm.

use super::draws::Draws;
use proptest::prelude::*;
use squall_scenarios::people::{Bodies, Conversations, Devices, Lengths};
use squall_scenarios::{Codec, Profile, Scenario, Span, Tick};

/// Hosts, network, population and workload: small, so that a seed takes a second, and busy, so that every fault meets traffic.
pub(super) fn draw(draws: &mut Draws, scenario: &mut Scenario) {
    let topology = &mut scenario.topology;
    topology.gateways = draws.of(prop_oneof![3 => Just(2u32), 2 => Just(3u32)]);
    topology.messages = draws.of(prop_oneof![2 => Just(1u32), 3 => Just(2u32)]);
    topology.registries = draws.of(prop_oneof![4 => Just(1u32), 1 => Just(2u32)]);
    topology.buses = draws.of(prop_oneof![4 => Just(1u32), 1 => Just(2u32)]);
    topology.commit_latency = draws.ms(1, 25);
    let profiles = [Profile::Wifi, Profile::Lte, Profile::ThreeG, Profile::Flaky];
    // Two at least, so that not everybody is behind one carrier.
    let of = proptest::sample::subsequence(profiles.to_vec(), 2..=3);
    scenario.network.last_mile = draws.of(of).into_iter().map(|profile| (profile, 1.0)).collect();
    scenario.phases.load = draws.ms(24_000, 34_000);
    // Idle hosts cost a step each tick.
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
    workload.codec =
        draws.of(prop_oneof![2 => Just(Codec::Mixed), 1 => Just(Codec::Json), 1 => Just(Codec::Protobuf)]);
    workload.heartbeat_interval = draws.ms(4_000, 30_000);
    if draws.chance(0.4) {
        workload.membership_interval = draws.ms(2_000, 6_000);
    }
    if draws.chance(0.25) {
        workload.session_length = Lengths::One(draws.ms(5_000, 20_000));
        workload.away_length = Lengths::One(draws.ms(500, 8_000));
    }
    if draws.chance(0.12) {
        crowd(draws, scenario);
    }
}

/// Everybody talks in one group, over links that can carry it: backlogs of many pages, and messages that are long forgotten
/// when they come again.
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
    if draws.chance(0.5) {
        // Heavy enough that whoever does not read is soon too far behind.
        workload.body_bytes = Bodies::One(12_000);
        population.users = population.users.min(12);
        population.group_size_min = population.users;
        population.group_size_max = population.users;
    }
}
