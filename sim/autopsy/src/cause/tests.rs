//! Stories of a few steps, and the sentence that each of the younger rules makes of them. What the older ones say of whole runs is shown by
//! `squall bugs --explain`.

use super::cause;
use crate::case::Subject;
use crate::story::Story;
use squall_history::{Asked, Entity, Event, Extent, Harm, Hop, Kind, Told, Via, What};
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
use squall_reports::record::LevelRecord;

pub(super) const C: ConversationId = ConversationId(1 << 127 | 1);
pub(super) const M: ClientMsgId = ClientMsgId(7 << 96);
pub(super) const D: DeviceId = DeviceId(3);
pub(super) const E: DeviceId = DeviceId(4);
pub(super) const U: UserId = UserId(30);
pub(super) const GATEWAY: Entity = Entity::Host(0);
pub(super) const SHARD: Entity = Entity::Host(1);
const REGISTRY: Entity = Entity::Host(2);

/// Steps at so many milliseconds.
pub(super) fn story(steps: Vec<(u64, Entity, Kind)>) -> Story {
    let hosts = ["gateway-0", "messages-0", "registry-0", "bus-0"].map(str::to_owned).to_vec();
    let events = steps.into_iter().map(|(ms, at, kind)| Event { t: ms * 1_000, at, kind });
    Story::new(events.collect(), hosts)
}

fn told(property: &str, seq: Option<u64>, device: Option<DeviceId>, steps: Vec<(u64, Entity, Kind)>) -> String {
    let story = story(steps);
    let t = story.end();
    let subject = Subject {
        property: property.to_owned(),
        t,
        conversation: C,
        seq: seq.map(Seq),
        message: Some(M),
        device,
        user: None,
        level: None,
    };
    cause(&story, &subject)
}

pub(super) fn connect(ms: u64, device: DeviceId) -> (u64, Entity, Kind) {
    (
        ms,
        Entity::Device(device),
        Kind::Connect { user: U, gateway: 0, connect_count: 1, expires_s: squall_history::EVER },
    )
}

fn send(ms: u64) -> (u64, Entity, Kind) {
    let kind = Kind::Send {
        conversation: C,
        sender: U,
        client_msg_id: M,
        body_hash: 1,
        what: What::Text,
        members: Vec::new(),
    };
    (ms, Entity::Device(D), kind)
}

fn received(ms: u64, at: Entity) -> (u64, Entity, Kind) {
    let asked = Asked::Send { client_msg_id: M, client_seq: ClientSeq(1) };
    (ms, at, Kind::Hop(Hop::Received { user: U, device: D, conversation: C, asked }))
}

fn answered(ms: u64, reason: &'static str) -> (u64, Entity, Kind) {
    let refused = Told::Refused { client_msg_id: M, reason, value: None };
    (ms, SHARD, Kind::Hop(Hop::Answered { device: D, conversation: C, told: refused }))
}

pub(super) fn end(ms: u64) -> (u64, Entity, Kind) {
    (ms, Entity::World, Kind::Phase { name: "audit" })
}

/// An entry is staged and committed.
pub(super) fn stored(ms: u64, device: DeviceId, message: ClientMsgId, seq: u64) -> [(u64, Entity, Kind); 3] {
    let (conversation, seq) = (C, Seq(seq));
    let extent = Extent { bytes: 1, first_nul: None };
    let staged =
        Hop::Staged { device, conversation, client_msg_id: message, client_seq: ClientSeq(1), seq, extent };
    let append = Kind::Append { conversation, seq, sender: U, client_msg_id: message, body_hash: 1 };
    [
        (ms, SHARD, Kind::Hop(staged)),
        (ms, SHARD, Kind::Hop(Hop::Committing { conversation, seq })),
        (ms + 1, SHARD, append),
    ]
}

#[test]
fn a_refusal_whose_fence_no_commit_holds_is_named() {
    let steps = vec![
        connect(0, D),
        send(1_000),
        received(1_010, GATEWAY),
        received(1_020, SHARD),
        answered(1_020, "not_a_member"),
        end(9_000),
    ];
    let sentence = told("every-send-answered", None, Some(D), steps);
    assert!(sentence.starts_with("messages-0 made up its refusal (not_a_member) at 1.020 s"), "{sentence}");
    assert!(sentence.contains("none was begun for the fence of device 3"), "{sentence}");
}

#[test]
fn where_the_way_of_a_send_ends_is_named() {
    let faulty = Kind::Fault {
        name: "cut".to_owned(),
        active: true,
        targets: Vec::new(),
        harm: Harm { hosts: vec![1], ..Harm::default() },
    };
    let heard = Kind::Deliver {
        conversation: C,
        from: Seq(1),
        to: Seq(1),
        entries: 0,
        via: Via::Deliver,
        held: Vec::new(),
    };
    let steps = vec![connect(0, D), send(1_000), (5_000, Entity::Device(D), heard), end(9_000)];
    let never_out = told("every-send-answered", None, Some(D), steps);
    assert!(never_out.contains("never came to any gateway"), "{never_out}");
    let steps =
        vec![connect(0, D), (900, Entity::World, faulty), send(1_000), received(1_010, GATEWAY), end(9_000)];
    let stuck = told("every-send-answered", None, Some(D), steps);
    assert!(stuck.contains("came to gateway-0 once, at 1.010 s, and never to messages-0"), "{stuck}");
    assert!(stuck.contains("while the fault \"cut\""), "{stuck}");
    let steps = vec![connect(0, D), send(1_000), received(1_010, GATEWAY), received(1_020, SHARD), end(9_000)];
    let unheard = told("every-send-answered", None, Some(D), steps);
    assert!(unheard.contains("neither gave it a place nor answered anything"), "{unheard}");
}

#[test]
fn the_commit_in_which_a_row_parts_from_the_log_is_named_with_what_else_it_held() {
    let mut steps = vec![connect(0, D), connect(0, E), send(1_000)];
    steps.extend(stored(2_000, E, ClientMsgId(8), 1));
    steps.extend(stored(2_000, D, M, 2));
    steps.push(end(9_000));
    steps.sort_by_key(|(ms, ..)| *ms);
    let sentence = told("tables-agree", Some(2), Some(D), steps);
    assert!(sentence.starts_with("the row of device 3 parts from the log at seq 2"), "{sentence}");
    assert!(sentence.contains("commit of 2.000 s, together with seq 1 of device 4, another one of the same user"));
}

#[test]
fn a_user_who_was_told_to_wait_for_what_is_no_send_is_named() {
    let acks = (0..9).map(|n| {
        let asked = Asked::Ack { up_to: Seq(n) };
        (1_001 + n, GATEWAY, Kind::Hop(Hop::Received { user: U, device: D, conversation: C, asked }))
    });
    let refused = Told::Refused { client_msg_id: M, reason: "too_often", value: Some(500) };
    let mut steps = vec![connect(0, D), send(1_000)];
    steps.extend(acks);
    steps.push(received(1_020, GATEWAY));
    steps.push((1_020, GATEWAY, Kind::Hop(Hop::Answered { device: D, conversation: C, told: refused })));
    let wait = Kind::Wait { conversation: C, client_msg_id: M, retry_after_ms: 500 };
    steps.push((1_030, Entity::Device(D), wait));
    let sentence = told("limits-hold", None, Some(D), steps);
    assert!(sentence.starts_with("gateway-0 told user 30 to wait at 1.020 s, when they had sent"), "{sentence}");
    assert!(sentence.ends_with("what is no send was counted as one"), "{sentence}");
}

#[test]
fn a_registry_that_took_out_a_device_that_is_there_is_named() {
    let conversation = C;
    let (user, device, gateway) = (U, E, 0);
    let registered = Hop::Registered { user, device, gateway, connect_count: 1, outcome: "created" };
    let unregistered = Hop::Unregistered { user, device, gateway, removed: true };
    let planned = Hop::Planned { conversation, seq: Seq(1), registry: 0, users: vec![U] };
    let looked_up = Hop::LookedUp { conversation, seq: Seq(1), registry: 0, found: Vec::new() };
    let mut steps = vec![
        connect(0, D),
        connect(100, E),
        (110, REGISTRY, Kind::Hop(registered)),
        (500, REGISTRY, Kind::Hop(unregistered)),
        send(1_000),
    ];
    steps.extend(stored(2_000, D, M, 1));
    steps.push((2_010, SHARD, Kind::Hop(planned)));
    steps.push((2_020, SHARD, Kind::Hop(looked_up)));
    steps.push(end(9_000));
    let sentence = told("no-loss", Some(1), Some(E), steps);
    assert!(sentence.contains("had been told of it at 0.110 s, and had taken it out at 0.500 s"), "{sentence}");
}

#[test]
fn what_no_rule_knows_is_said_with_the_last_step() {
    let sentence = told("bounded-and-back", None, Some(D), vec![connect(0, D), send(1_000), end(9_000)]);
    assert!(sentence.starts_with("no rule knows the cause"), "{sentence}");
}

#[test]
fn what_grew_on_a_host_is_named_with_its_bound_and_what_came_before() {
    let more = |items| Kind::Hop(Hop::MoreThanEver { what: "tasks that read for a gateway", items });
    let steps = vec![
        (100, SHARD, more(1)),
        (5_000, GATEWAY, Kind::Crash),
        (5_500, SHARD, more(2)),
        (8_000, GATEWAY, Kind::Crash),
        (8_500, SHARD, more(3)),
        end(30_000),
    ];
    let story = story(steps);
    let level = LevelRecord {
        host: "messages-0".to_owned(),
        what: "tasks that read for a gateway".to_owned(),
        limit: None,
        before: 1,
        highest: 3,
        end: 3,
    };
    let subject = |level| Subject {
        property: "bounded-and-back".to_owned(),
        t: story.end(),
        conversation: ConversationId(0),
        seq: None,
        message: None,
        device: None,
        user: None,
        level: Some(level),
    };
    let sentence = cause(&story, &subject(level.clone()));
    assert_eq!(
        sentence,
        "messages-0 has 3 tasks that read for a gateway at the end of the quiet, and had at most 1 before the first fault: there were 2 for the first time at 5.500 s, after gateway-0 had crashed at 5.000 s, more each time after gateway-0 stopped, and 3 at 8.500 s; none of them has gone since"
    );
    let beyond = cause(&story, &subject(LevelRecord { limit: Some(2), ..level }));
    assert!(
        beyond.starts_with("messages-0 had 3 tasks that read for a gateway at the most, and may have 2"),
        "{beyond}"
    );
}

#[test]
fn where_the_way_of_an_ack_ends_is_named() {
    let ack = |ms, at| {
        let asked = Asked::Ack { up_to: Seq(2) };
        (ms, at, Kind::Hop(Hop::Received { user: U, device: D, conversation: C, asked }))
    };
    let acks = || vec![connect(0, D), (1_000, Entity::Device(D), Kind::Ack { conversation: C, up_to: Seq(2) })];
    let lost = told("cursor-follows-acks", Some(2), Some(D), [acks(), vec![end(9_000)]].concat());
    assert!(lost.ends_with("which device 3 sent at 1.000 s, never came to a gateway"), "{lost}");
    let steps = [acks(), vec![ack(1_010, GATEWAY), ack(1_020, SHARD), end(9_000)]].concat();
    let unmoved = told("cursor-follows-acks", Some(2), Some(D), steps);
    assert!(unmoved.contains("came to messages-0 at 1.020 s, which has not moved the cursor"), "{unmoved}");
}

#[test]
fn a_limit_that_counts_who_is_added_is_named() {
    let (other, friend) = (UserId(31), UserId(32));
    let device_of = |user: UserId| DeviceId(user.0);
    let added = |n: u64, by: UserId, whom: UserId| {
        let client_msg_id = ClientMsgId(u128::from(n) << 96);
        let kind = Kind::Send {
            conversation: C,
            sender: by,
            client_msg_id,
            body_hash: 1,
            what: What::Joined(whom),
            members: Vec::new(),
        };
        [
            vec![(1_000 + n, Entity::Device(device_of(by)), kind)],
            stored(1_100 + n, device_of(by), client_msg_id, n).to_vec(),
        ]
        .concat()
    };
    // One adds four people, of whom one is added twice, who then may not add anybody.
    let mut steps =
        [added(7, U, UserId(40)), added(1, U, UserId(41)), added(2, U, other), added(3, friend, other)].concat();
    let refused = ClientMsgId(9 << 96);
    let kind = Kind::Send {
        conversation: C,
        sender: other,
        client_msg_id: refused,
        body_hash: 1,
        what: What::Joined(friend),
        members: Vec::new(),
    };
    let wait = Kind::Wait { conversation: C, client_msg_id: refused, retry_after_ms: 500 };
    steps.push((1_200, Entity::Device(device_of(other)), kind));
    steps.push((1_210, Entity::Device(device_of(other)), wait));
    steps.sort_by_key(|(ms, ..)| *ms);
    steps.push(end(9_000));
    let sentence = told("limits-hold", None, Some(device_of(U)), steps);
    assert!(sentence.contains("user 31 to wait at 1.210 s, who had added 0 and been added 2 times"), "{sentence}");
    assert!(sentence.ends_with("what is counted is who is added, and not who adds"), "{sentence}");
}
