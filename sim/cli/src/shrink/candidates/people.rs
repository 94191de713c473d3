//! Fewer people, who have less and do less.

use super::candidate::{Candidate, Failure, below, candidate};
use squall_scenarios::people::{Bodies, Conversations, Devices, Lengths, Life, Mix, Popularity};
use squall_scenarios::{Arrival, Codec, Membership, Receipts, Scenario, Span, Text, Workload};

/// Bodies of this length still tell one message from another.
const SHORT_BODY: u32 = 16;

/// Fewer users; and half of them who send twice as often, so that as much can go wrong.
pub fn fewer_users(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let users = from.population.users;
    let fewer = below(users, 2).into_iter().filter_map(|number| {
        candidate(from, format!("users {number}"), |scenario| scenario.population.users = number)
    });
    let half = users.div_ceil(2);
    let busy = (half >= 2).then(|| {
        candidate(from, format!("users {half}, together as busy"), |scenario| {
            scenario.population.users = half;
            // Rounded up to milliseconds: together they must not send more.
            let interval = scenario.workload.send_interval * u64::from(half) / u64::from(users);
            scenario.workload.send_interval = Span::from_millis(interval.as_micros().div_ceil(1_000));
        })
    });
    fewer.chain(busy.flatten()).collect()
}

/// One device a user; or fewer.
pub fn fewer_devices(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let numbers = match &from.population.devices_per_user {
        Mix::One(devices) => below(*devices, 1),
        mixture => {
            let mean = mixture.mean(|devices| f64::from(*devices), |part| f64::from(part.devices)) as u32;
            if mean > 1 { vec![1, mean] } else { vec![1] }
        }
    };
    let one = |devices: u32| {
        candidate(from, format!("devices_per_user {devices}"), |scenario| {
            scenario.population.devices_per_user = Devices::One(devices);
        })
    };
    let fewer = |smaller: &Candidate| smaller.scenario.population.devices() <= from.population.devices();
    numbers.into_iter().filter_map(one).filter(fewer).collect()
}

/// No giants, crowds, days and bursts; then each kind alone, and smaller giants.
pub fn no_crowds(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let crowds = |scenario: &mut Scenario| scenario.workload.flash_crowds.clear();
    let giants = |scenario: &mut Scenario| scenario.population.giants.clear();
    let days = |scenario: &mut Scenario| scenario.workload.day_curve.clear();
    let bursts = |scenario: &mut Scenario| scenario.workload.arrival = Arrival::Poisson;
    let all = candidate(from, "no crowds, giants, days and bursts", |scenario| {
        crowds(scenario);
        giants(scenario);
        days(scenario);
        bursts(scenario);
    });
    let each = [
        candidate(from, "no flash crowds", crowds),
        candidate(from, "no giants", giants),
        candidate(from, "no day curve", days),
        candidate(from, "no bursts", bursts),
    ];
    let members = from.population.giants.iter().enumerate().flat_map(|(index, giant)| {
        below(giant.members, 2).into_iter().filter_map(move |members| {
            let what = format!("members of {} {members}", giant.name);
            candidate(from, what, |scenario| scenario.population.giants[index].members = members)
        })
    });
    all.into_iter().chain(each.into_iter().flatten()).chain(members).collect()
}

/// Nobody reads.
pub fn no_readers(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let none = candidate(from, "nobody reads", |scenario| scenario.receipts = Receipts::default());
    none.into_iter().collect()
}

/// Fewer groups, then smaller ones.
pub fn fewer_groups(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let population = &from.population;
    if population.groups == 0 {
        return Vec::new();
    }
    let fewer = below(population.groups, 0).into_iter().filter_map(|groups| {
        candidate(from, format!("groups {groups}"), |scenario| scenario.population.groups = groups)
    });
    let most = below(population.group_size_max, population.group_size_min).into_iter().filter_map(|most| {
        candidate(from, format!("group_size_max {most}"), |scenario| scenario.population.group_size_max = most)
    });
    let least = candidate(from, "group_size_min 2", |scenario| {
        scenario.population.group_size_min = scenario.population.group_size_min.min(2);
    });
    fewer.chain(most).chain(least).collect()
}

/// Fewer direct conversations a user, that all live alike, with partners who are all alike.
pub fn fewer_conversations(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let numbers = match &from.population.direct_conversations_per_user {
        Mix::One(number) => below(*number, 0),
        mixture => {
            let mean = mixture.mean(|number| f64::from(*number), |part| f64::from(part.conversations));
            let mut numbers = vec![0, 1, mean as u32];
            numbers.retain(|number| f64::from(*number) <= mean);
            numbers.dedup();
            numbers
        }
    };
    let fewer = numbers.into_iter().filter_map(|number| {
        candidate(from, format!("direct_conversations_per_user {number}"), |scenario| {
            scenario.population.direct_conversations_per_user = Conversations::One(number);
        })
    });
    let present = from.population.direct_lifecycle.keys().copied().filter(|life| *life != Life::Long);
    let lives = [Life::Long].into_iter().chain(present).filter_map(|life| {
        candidate(from, format!("direct_lifecycle {life:?}"), |scenario| {
            scenario.population.direct_lifecycle = [(life, 1.0)].into();
        })
    });
    let alike = [
        candidate(from, "both write", |scenario| scenario.population.one_way_share = 0.0),
        candidate(from, "nobody falls silent", |scenario| scenario.population.silent_share = 0.0),
        candidate(from, "all groups alike", |scenario| scenario.workload.group_popularity = Popularity::Uniform),
        candidate(from, "all partners alike", |scenario| {
            scenario.workload.partner_popularity = Popularity::Uniform;
        }),
    ];
    fewer.chain(lives).chain(alike.into_iter().flatten()).collect()
}

/// Longer from one send to the next, as long as somebody sends at all.
pub fn fewer_sends(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let (interval, load) = (from.workload.send_interval, from.phases.load);
    let longer = [4, 2].into_iter().map(|times| interval * times).filter(|longer| *longer <= load * 2);
    longer
        .filter_map(|longer| {
            candidate(from, format!("send_interval {longer}"), |scenario| scenario.workload.send_interval = longer)
        })
        .collect()
}

/// Everybody there all the time, nobody joining or leaving groups, nobody sending twice at once.
pub fn steadier(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let edits = [
        candidate(from, "nobody away", |scenario| scenario.population.away_share = 0.0),
        candidate(from, "sessions without end", |scenario| {
            scenario.workload.session_length = Lengths::One(Span::ZERO);
        }),
        candidate(from, "away_length as by default", |scenario| {
            scenario.workload.away_length = Workload::default().away_length;
        }),
        candidate(from, "no membership changes", |scenario| scenario.workload.membership_interval = Span::ZERO),
        candidate(from, "one guest", |scenario| scenario.workload.membership = Membership::Guest),
        candidate(from, "nobody changes rights", |scenario| scenario.workload.rights_share = 0.0),
        candidate(from, "nobody blocks", |scenario| scenario.workload.block_share = 0.0),
        candidate(from, "no channels", |scenario| scenario.population.channel_share = 0.0),
        candidate(from, "one name at a time", |scenario| scenario.workload.names_at_once = 1),
        candidate(from, "no follow-ups", |scenario| scenario.workload.follow_up_share = 0.0),
        candidate(from, "one follow-up at most", |scenario| scenario.workload.follow_ups = 1),
        candidate(from, "limits as by default", |scenario| scenario.limits = Default::default()),
        candidate(from, "tokens that outlive the run", |scenario| scenario.tokens = Default::default()),
        candidate(from, "nobody says that they write", |scenario| scenario.typing = Default::default()),
        candidate(from, "nobody gives up what they write", |scenario| scenario.typing.given_up = 0.0),
        candidate(from, "nobody writes on several devices", |scenario| scenario.typing.everywhere = 0.0),
        candidate(from, "heartbeat_interval as by default", |scenario| {
            scenario.workload.heartbeat_interval = Workload::default().heartbeat_interval;
        }),
    ];
    edits.into_iter().flatten().collect()
}

/// Short bodies of plain letters and one encoding.
pub fn plainer_messages(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let bodies = &from.workload.body_bytes;
    let mean =
        bodies.mean(|bytes| f64::from(*bytes), |part| (f64::from(part.bytes) + f64::from(part.longest())) / 2.0);
    let shorter = [SHORT_BODY, 200].into_iter().filter(|bytes| f64::from(*bytes) < mean).filter_map(|bytes| {
        candidate(from, format!("body_bytes {bytes}"), |scenario| {
            scenario.workload.body_bytes = Bodies::One(bytes)
        })
    });
    let codecs = [("JSON only", Codec::Json), ("Protobuf only", Codec::Protobuf)];
    let mixed = from.workload.codec == Codec::Mixed;
    let one = codecs
        .into_iter()
        .filter(|_| mixed)
        .filter_map(|(what, codec)| candidate(from, what, |scenario| scenario.workload.codec = codec));
    let plain = candidate(from, "plain text", |scenario| scenario.workload.text = Text::Plain);
    shorter.chain(one).chain(plain).collect()
}
