//! What a scenario's people come to: messages, deliveries, connects and bytes, computed before anything runs.
//!
//! Expectations of the random draws in `population` and `workload`, without faults: what crashes and partitions add
//! (resends, copies, reconnects) is not in here. Compared with runs by `sim/cli/tests/forecast.rs`.

use crate::population::{Population, hot_set};
use crate::rate::Rate;
use crate::workload::Workload;
use squall_protocol::{ClientFrame, Codec, Entry, LogSpan, Payload, ServerFrame, limits};
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
use squall_scenarios::Scenario;
use squall_scenarios::model;
use squall_scenarios::people::{BodyPart, Life, Mix, Popularity};

/// Bytes of an opening handshake, both ways: request and answer as this fleet and this server write them.
const HANDSHAKE_BYTES: f64 = 200.0 + 160.0;
/// A WebSocket header from a client (with its mask) and from a server, for frames of 126 to 65,535 bytes.
const CLIENT_HEADER: f64 = 8.0;
const SERVER_HEADER: f64 = 4.0;

/// Expected figures of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    pub users: u32,
    /// Devices, each with a connection of its own.
    pub clients: u32,
    /// Seconds of load.
    pub load_s: f64,
    /// The share of devices that are connected at a time of the load, as far as people decide.
    pub online_share: f64,
    /// Connects in the whole run.
    pub connects: f64,
    /// Connects in a second of load, of people who come back.
    pub reconnects_per_s: f64,
    /// Messages that people send, creations of conversations and changes of members included.
    pub sends: f64,
    /// Messages a second: over the load, and at the busiest moment.
    pub sends_per_s: f64,
    pub peak_sends_per_s: f64,
    /// Conversations that somebody writes to.
    pub conversations: f64,
    /// Devices in those conversations, each counted once for each of them.
    pub memberships: f64,
    /// Entries that other devices than the sender's are to show.
    pub deliveries: f64,
    pub deliveries_per_s: f64,
    /// WebSocket frames a second of load, both ways.
    pub frames_per_s: f64,
    /// Bytes a second of load between devices and gateways: from devices, and to them.
    pub up_bytes_per_s: f64,
    pub down_bytes_per_s: f64,
    /// Bytes that are sent to all devices together of what comes while everybody away would be: a backlog is the share of who is away.
    pub backlog_bytes: f64,
    /// Mean length of a body.
    pub body_bytes: f64,
    /// Mean devices of a user.
    pub devices_per_user: f64,
    /// Mean and largest number of members of a group, 0 without groups.
    pub group_members: f64,
    pub largest_group: u32,
}

/// Where messages go, in the load.
struct Traffic {
    conversations: f64,
    memberships: f64,
    /// Devices that are to show an entry, beside the sender's: texts and creations.
    recipients: f64,
    creations: f64,
    /// Changes of groups' members.
    membership: f64,
}

impl Forecast {
    /// What is expected with the scenario's own seed, or 0, which decides the sizes of groups.
    pub fn of(scenario: &Scenario) -> Self {
        let (population, workload) = (&scenario.population, &scenario.workload);
        let seed = scenario.seed.unwrap_or(0);
        let people = Population::new(population, seed);
        let load_us = scenario.phases.load.as_micros();
        let rate = Rate::new(workload, 0, load_us);
        let load_s = load_us as f64 / 1e6;
        let work = rate.work_between(0, load_us) / workload.send_interval.as_micros() as f64;
        // A conversation that falls silent does so in the middle of the load, by and large.
        let said = 1.0 - population.silent_share / 2.0;
        let texts = f64::from(population.users) * work * (1.0 + workload.mean_follow_ups()) * said;
        let clients = people.devices();
        let devices = f64::from(clients) / f64::from(population.users);
        let traffic = traffic(scenario, &people, texts, devices);
        let (online_share, returns) = sessions(scenario, &people, seed);
        let returns = returns * f64::from(clients);
        let sends = texts + traffic.creations + traffic.membership;
        let heartbeats = f64::from(clients) * online_share / workload.heartbeat_interval.as_secs_f64();
        let body_bytes = body_bytes(workload);
        let wire = Wire::of(workload.codec, body_bytes);
        let (sends_per_s, deliveries_per_s) = (sends / load_s, traffic.recipients / load_s);
        let (said, told) = typing(scenario, texts, traffic.recipients / sends.max(1.0), devices);
        let (said, told) = (said / load_s, told / load_s);
        Forecast {
            users: population.users,
            clients,
            load_s,
            online_share,
            connects: f64::from(clients) + returns * load_s,
            reconnects_per_s: returns,
            sends,
            sends_per_s,
            peak_sends_per_s: sends_per_s * rate.peak() * load_us as f64 / rate.work_between(0, load_us).max(1.0),
            conversations: traffic.conversations,
            memberships: traffic.memberships,
            deliveries: traffic.recipients,
            deliveries_per_s,
            frames_per_s: 2.0 * (heartbeats + sends_per_s + deliveries_per_s) + 3.0 * returns + said + told,
            up_bytes_per_s: heartbeats * wire.ping
                + sends_per_s * wire.send
                + said * wire.typing
                + deliveries_per_s * wire.ack * (1.0 + scenario.receipts.readers)
                + returns * (wire.hello + HANDSHAKE_BYTES),
            down_bytes_per_s: heartbeats * wire.pong
                + sends_per_s * wire.sent
                + told * wire.is_typing
                + deliveries_per_s * wire.deliver
                + returns * (wire.welcome + HANDSHAKE_BYTES),
            backlog_bytes: wire.deliver * traffic.recipients * away_part(scenario),
            body_bytes,
            devices_per_user: devices,
            group_members: match people.groups() {
                0 => 0.0,
                groups => (0..groups).map(|g| f64::from(people.group_size(g))).sum::<f64>() / f64::from(groups),
            },
            largest_group: (0..people.groups()).map(|g| people.group_size(g)).max().unwrap_or(0),
        }
    }
}

/// How often devices say that their people write, and are told so of others: at most once a second, and wherever a text goes.
fn typing(scenario: &Scenario, texts: f64, recipients: f64, devices: f64) -> (f64, f64) {
    let typing = &scenario.typing;
    let written = texts * typing.before;
    let often = written * typing.times() as f64;
    let seldom = model::Typing { every: typing.every.max(limits::TYPING_INTERVAL.into()), ..typing.clone() };
    let others = (recipients - (devices - 1.0)).max(0.0);
    let said = often * (1.0 + typing.everywhere * (devices - 1.0));
    (said, written * seldom.times() as f64 * others)
}

/// The part of the load that is over when devices that are away come back.
fn away_part(scenario: &Scenario) -> f64 {
    let (phases, until) = (&scenario.phases, scenario.population.away_until);
    ((until - phases.ramp).as_secs_f64() / phases.load.as_secs_f64()).min(1.0)
}

/// Devices whose sessions are walked through to learn how often people come and go, and how many sessions of each.
const SAMPLE: u32 = 4_096;
const SESSIONS: u32 = 256;

/// The share of the load that a device is connected, and how often a second one comes back, as the sessions of a sample of the
/// scenario's own devices have it.
fn sessions(scenario: &Scenario, people: &Population, seed: u64) -> (f64, f64) {
    let workload = Workload::new(scenario, seed);
    let ramp = scenario.phases.ramp.as_micros();
    let end = ramp + scenario.phases.load.as_micros();
    let sample = people.devices().min(SAMPLE);
    let away_until = scenario.population.away_until.as_micros();
    let (mut there, mut returns, mut watched) = (0u64, 0u64, 0u64);
    for index in 0..sample {
        let device = (u64::from(index) * u64::from(people.devices()) / u64::from(sample)) as u32;
        let away = f64::from(index) + 0.5 < scenario.population.away_share * f64::from(sample);
        // Devices connect evenly over the ramp, but for those that are away.
        let (mut at, mut n) = (if away { away_until } else { ramp * u64::from(index) / u64::from(sample) }, 0);
        while at < end && n < SESSIONS {
            let leaves =
                workload.session_length(device, n).map_or(end, |length| at.saturating_add(length)).min(end);
            there += leaves.max(ramp) - at.max(ramp).min(leaves.max(ramp));
            n += 1;
            at = leaves.saturating_add(workload.away_length(device, n)).max(leaves + 1);
            returns += u64::from(leaves < end && at < end && at >= ramp);
        }
        watched += at.min(end).max(ramp) - ramp;
    }
    let watched = watched.max(1) as f64;
    (there as f64 / watched, returns as f64 * 1e6 / watched)
}

fn body_bytes(workload: &model::Workload) -> f64 {
    let mean = |part: &BodyPart| (f64::from(part.bytes) + f64::from(part.longest())) / 2.0;
    workload.body_bytes.mean(|bytes| f64::from(*bytes), mean)
}

fn traffic(scenario: &Scenario, people: &Population, texts: f64, devices: f64) -> Traffic {
    let (population, workload) = (&scenario.population, &scenario.workload);
    let users = f64::from(population.users);
    let groups: Vec<f64> = (0..people.groups()).map(|group| f64::from(people.group_size(group))).collect();
    // Who is in no group writes to a partner instead, where groups are chosen by their members.
    let reach = match workload.group_popularity {
        Popularity::Uniform => people.share_in_groups(),
        _ => 1.0,
    };
    let (to_groups, strangers) = (1.0 - workload.direct_share, life_share(population, Life::OneShot));
    let group_share = match (groups.is_empty(), population.direct_conversations_per_user.most() > 0) {
        (true, _) => 0.0,
        (false, true) => to_groups * reach,
        // Without partners there are strangers, and groups.
        (false, false) => to_groups * reach + workload.direct_share * (1.0 - strangers),
    };
    let crowds = crowd_texts(scenario, texts);
    let crowd: f64 = crowds.iter().map(|(_, texts)| texts).sum();
    let group_texts = (texts - crowd) * group_share;
    let direct_texts = (texts - crowd - group_texts).max(0.0);
    let weights = weights(workload.group_popularity, &groups);
    let all_weights = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let (mut conversations, mut memberships, mut recipients, mut group_creations) = (0.0, 0.0, 0.0, 0.0);
    for (index, (size, weight)) in groups.iter().zip(&weights).enumerate() {
        let own = group_texts * weight / all_weights;
        let own = own + crowds.iter().filter(|(giant, _)| *giant == index).map(|(_, texts)| texts).sum::<f64>();
        let used = 1.0 - (-own).exp();
        conversations += used;
        group_creations += used;
        memberships += used * size * devices;
        recipients += (own + used) * (size * devices - 1.0);
    }
    // The owner adds a guest or takes one away, and every member is told. The members of a restless group come to as much.
    let changes = match workload.membership_interval.as_secs_f64() {
        0.0 => 0.0,
        interval => scenario.phases.load.as_secs_f64() / interval * (1.0 - population.silent_share / 2.0),
    };
    let restless = workload.membership == model::Membership::Restless;
    let changing = groups.iter().filter(|size| restless || **size < users);
    let (membership, told) = changing
        .fold((0.0, 0.0), |(all, told), size| (all + changes, told + changes * ((size + 0.5) * devices - 1.0)));
    let pairs = direct_conversations(scenario, users, direct_texts);
    Traffic {
        membership,
        conversations: conversations + pairs,
        memberships: memberships + pairs * 2.0 * devices,
        recipients: recipients + told + (direct_texts + pairs) * (2.0 * devices - 1.0),
        creations: group_creations + pairs,
    }
}

/// How many messages each crowd brings to its giant, by the giant's place.
fn crowd_texts(scenario: &Scenario, texts: f64) -> Vec<(usize, f64)> {
    let (population, workload) = (&scenario.population, &scenario.workload);
    let load = scenario.phases.load.as_micros();
    let rate = Rate::new(workload, 0, load);
    let all = rate.work_between(0, load).max(1.0);
    let crowds = workload.flash_crowds.iter().filter_map(|crowd| {
        let giant = population.giants.iter().position(|giant| Some(&giant.name) == crowd.to.as_ref())?;
        let (from, until) = (crowd.at.as_micros().min(load), (crowd.at + crowd.lasts).as_micros().min(load));
        Some((giant, (1.0 - 1.0 / crowd.times) * rate.work_between(from, until) / all * texts))
    });
    crowds.collect()
}

/// What part of the messages to groups each group gets, relative to the others.
fn weights(popularity: Popularity, groups: &[f64]) -> Vec<f64> {
    match popularity {
        // A member writes to a group of theirs: as many members, as many messages.
        Popularity::Uniform => groups.to_vec(),
        Popularity::Zipf { exponent } => (1..=groups.len()).map(|rank| (rank as f64).powf(-exponent)).collect(),
        Popularity::HotSet { share, traffic } => {
            let hot = hot_set(groups.len() as u32, share) as usize;
            let (warm, cold) = if hot == groups.len() { (1.0, 0.0) } else { (traffic, 1.0 - traffic) };
            let weight = |index| if index < hot { warm / hot as f64 } else { cold / (groups.len() - hot) as f64 };
            (0..groups.len()).map(weight).collect()
        }
    }
}

/// The share of messages to direct conversations that goes to those of one kind.
fn life_share(population: &model::Population, life: Life) -> f64 {
    let total: f64 = population.direct_lifecycle.values().sum();
    population.direct_lifecycle.get(&life).copied().unwrap_or(0.0) / total.max(f64::MIN_POSITIVE)
}

/// Direct conversations that are written to at all.
fn direct_conversations(scenario: &Scenario, users: f64, texts: f64) -> f64 {
    let population = &scenario.population;
    let strangers = texts * life_share(population, Life::OneShot);
    // Revisited and long ones are among the same partners: those of the k-th line-up of all users, for each k.
    let steady = (texts - strangers) / users;
    let directs = &population.direct_conversations_per_user;
    let parts: Vec<(f64, u32)> = match directs {
        Mix::One(directs) => vec![(1.0, *directs)],
        Mix::Mixture(parts) => {
            let total: f64 = parts.iter().map(|part| part.share).sum();
            parts.iter().map(|part| (part.share / total.max(f64::MIN_POSITIVE), part.conversations)).collect()
        }
    };
    // What each part's users write to each of their partners, relative to all that they write.
    let ranks: Vec<Vec<f64>> = parts
        .iter()
        .map(|(_, directs)| {
            let weights = weights(scenario.workload.partner_popularity, &vec![1.0; *directs as usize]);
            let all = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            weights.into_iter().map(|weight| weight / all).collect()
        })
        .collect();
    let among: f64 = (0..directs.most() as usize)
        .map(|k| {
            let has: f64 = parts.iter().filter(|(_, directs)| *directs as usize > k).map(|(share, _)| share).sum();
            let to: f64 =
                parts.iter().zip(&ranks).filter_map(|((share, _), rank)| Some(share * rank.get(k)?)).sum();
            // A pair exists when either of the two counts the other among theirs.
            let pairs = users / 2.0 * (1.0 - (1.0 - has) * (1.0 - has));
            pairs * (1.0 - (-users * steady * to / pairs.max(f64::MIN_POSITIVE)).exp())
        })
        .sum();
    // Among few people strangers meet again.
    let everybody = (users * (users - 1.0) / 2.0).max(1.0);
    everybody * (1.0 - (-strangers / everybody).exp()) + among
}

/// Mean bytes of each frame on the wire, measured by encoding one.
struct Wire {
    ping: f64,
    pong: f64,
    send: f64,
    sent: f64,
    deliver: f64,
    ack: f64,
    hello: f64,
    welcome: f64,
    typing: f64,
    is_typing: f64,
}

impl Wire {
    fn of(codec: model::Codec, body: f64) -> Self {
        match codec {
            model::Codec::Json => Wire::in_codec(Codec::Json, body),
            model::Codec::Protobuf => Wire::in_codec(Codec::Protobuf, body),
            model::Codec::Mixed => {
                let (a, b) = (Wire::in_codec(Codec::Json, body), Wire::in_codec(Codec::Protobuf, body));
                let mean = |of: fn(&Wire) -> f64| (of(&a) + of(&b)) / 2.0;
                Wire {
                    ping: mean(|w| w.ping),
                    pong: mean(|w| w.pong),
                    send: mean(|w| w.send),
                    sent: mean(|w| w.sent),
                    deliver: mean(|w| w.deliver),
                    ack: mean(|w| w.ack),
                    hello: mean(|w| w.hello),
                    welcome: mean(|w| w.welcome),
                    typing: mean(|w| w.typing),
                    is_typing: mean(|w| w.is_typing),
                }
            }
        }
    }

    fn in_codec(codec: Codec, body: f64) -> Self {
        const STAMP: u64 = 1_767_225_600_000;
        let (user, device) = (UserId(u64::MAX / 5), DeviceId(500_000));
        let conversation = ConversationId::direct(user, UserId(u64::MAX / 3));
        let (id, text) = (ClientMsgId(u128::MAX / 3), Payload::Text("x".repeat(body as usize)));
        let entry = Entry {
            seq: Seq(2),
            sender: user,
            device,
            client_msg_id: id,
            client_seq: ClientSeq(2),
            stored_at_ms: STAMP,
            payload: text.clone(),
        };
        let span = LogSpan { conversation, from: Seq(2), to: Seq(2), entries: vec![entry] };
        let up = |frame: ClientFrame| CLIENT_HEADER + codec.encode_client(&frame).len() as f64;
        let down = |frame: ServerFrame| SERVER_HEADER + codec.encode_server(&frame).len() as f64;
        /// One with an id of a key and numbers of ten digits.
        const LENGTH_OF_A_TOKEN: usize = 180;
        Wire {
            ping: up(ClientFrame::Ping),
            pong: down(ServerFrame::Pong),
            send: up(ClientFrame::Send {
                conversation,
                client_msg_id: id,
                client_seq: ClientSeq(2),
                payload: text,
            }),
            sent: down(ServerFrame::Sent {
                conversation,
                client_msg_id: id,
                server_seq: Seq(2),
                stored_at_ms: STAMP,
            }),
            deliver: down(ServerFrame::Deliver(span)),
            ack: up(ClientFrame::Ack { conversation, up_to_seq: Seq(2) }),
            hello: up(ClientFrame::Hello {
                token: "x".repeat(LENGTH_OF_A_TOKEN).into(),
                connect_count: 1,
                invisible: false,
            }),
            welcome: down(ServerFrame::Welcome { user, device, expires_in_ms: 86_400_000 }),
            typing: up(ClientFrame::Typing { conversation }),
            is_typing: down(ServerFrame::Typing { conversation, user }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::Span;
    use squall_scenarios::people::{DevicesPart, Lengths};

    #[test]
    fn a_plain_load_is_users_over_their_interval() {
        let mut scenario = Scenario::default();
        scenario.population.users = 1_000;
        scenario.workload.follow_up_share = 0.0;
        scenario.workload.send_interval = Span::from_secs(10);
        let f = Forecast::of(&scenario);
        // 3,000 texts in 30 s to 1,500 pairs, of which 1 - e^-2 are written to.
        let pairs = 1_500.0 * (1.0 - (-2.0_f64).exp());
        assert!((f.sends - 3_000.0 - pairs).abs() < 1.0, "{f:?}");
        assert!((f.conversations - pairs).abs() < 1e-6 && (f.deliveries - f.sends).abs() < 1e-6);
        assert_eq!((f.clients, f.connects, f.online_share), (1_000, 1_000.0, 1.0));
        assert!(f.down_bytes_per_s > 100.0 * 200.0 && f.up_bytes_per_s > 100.0 * 200.0);
    }

    #[test]
    fn sessions_bring_connects_and_devices_bring_deliveries() {
        let mut scenario = Scenario::default();
        scenario.population.users = 1_000;
        let parts = [(0.5, 1), (0.5, 3)].map(|(share, devices)| DevicesPart { share, devices });
        scenario.population.devices_per_user = Mix::Mixture(parts.into());
        scenario.workload.session_length = Lengths::One(Span::from_secs(45));
        let f = Forecast::of(&scenario);
        assert_eq!((f.clients, f.devices_per_user), (2_000, 2.0));
        assert!((f.reconnects_per_s / 40.0 - 1.0).abs() < 0.1 && (f.online_share - 0.9).abs() < 0.03, "{f:?}");
        assert!((f.deliveries / f.sends - 3.0).abs() < 1e-9, "the mate's two devices and the sender's other one");
    }
}
