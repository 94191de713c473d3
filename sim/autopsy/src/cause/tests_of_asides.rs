//! Stories of rights, of channels, and of what nobody is owed, each with its sentence and with one in which that rule has nothing to say.

use super::cause;
use super::tests::{C, D, E, GATEWAY, M, SHARD, U, connect, end, stored, story};
use crate::case::Subject;
use crate::story::Story;
use squall_history::{Arrived, Asked, Entity, Event, Hop, Kind, Told, What};
use squall_protocol::{
    ClientMsgId, ClientSeq, ConversationId, DeviceId, Holders, Rank, Receipt, Right, Seq, UserId,
};

type Steps = Vec<(u64, Entity, Kind)>;

/// Another user, with a device.
const V: UserId = UserId(31);
const F: DeviceId = DeviceId(5);

fn ordered(mut steps: Steps) -> Story {
    steps.sort_by_key(|(ms, ..)| *ms);
    story(steps)
}

fn of(property: &str, t: u64, device: DeviceId, user: UserId) -> Subject {
    Subject {
        property: property.to_owned(),
        t: t * 1_000,
        conversation: C,
        seq: None,
        message: None,
        device: Some(device),
        user: Some(user),
        level: None,
    }
}

fn at_device(ms: u64, device: DeviceId, kind: Kind) -> (u64, Entity, Kind) {
    (ms, Entity::Device(device), kind)
}

fn connected(ms: u64, device: DeviceId, user: UserId, gateway: u16, connect_count: u64) -> (u64, Entity, Kind) {
    at_device(ms, device, Kind::Connect { user, gateway, connect_count, expires_s: squall_history::EVER })
}

/// Somebody says something, which is stored at this place.
fn said(ms: u64, (device, user): (DeviceId, UserId), seq: u64, what: What, members: &[UserId]) -> Steps {
    let message = ClientMsgId(u128::from(seq) << 96);
    let kind = Kind::Send {
        conversation: C,
        sender: user,
        client_msg_id: message,
        body_hash: 1,
        what,
        members: members.to_vec(),
    };
    [vec![at_device(ms, device, kind)], stored(ms + 1, device, message, seq).to_vec()].concat()
}

/// A group of two, which the first of them has created.
fn group() -> Steps {
    [vec![connect(0, D), connected(0, F, V, 0, 1)], said(100, (D, U), 1, What::Created, &[U, V])].concat()
}

fn message(seq: u64) -> ClientMsgId {
    ClientMsgId(u128::from(seq) << 96)
}

fn judged(property: &str, seq: u64, device: DeviceId, steps: Steps) -> String {
    let story = ordered([steps, vec![end(60_000)]].concat());
    let subject = Subject {
        seq: Some(Seq(seq)),
        message: Some(message(seq)),
        user: None,
        ..of(property, 60_000, device, U)
    };
    cause(&story, &subject)
}

#[test]
fn an_entry_that_its_author_had_no_right_to_is_named_with_what_took_the_right() {
    let setting = What::Setting { right: Right::Post, who: Holders::Admins };
    let steps = [group(), said(200, (D, U), 2, setting, &[]), said(300, (F, V), 3, What::Text, &[])].concat();
    let sentence = judged("members-only", 3, F, steps);
    assert_eq!(
        sentence,
        "messages-0 stored at 0.302 s, as seq 3, a text of user 31, though only admins may write since seq 2, and they are a plain member since seq 1"
    );
    let promoted = What::Role { user: V, rank: Rank::Admin };
    let steps = [group(), said(300, (F, V), 2, promoted, &[])].concat();
    let sentence = judged("members-only", 2, F, steps);
    assert!(
        sentence.contains("only the owner may give ranks, and they are a plain member since seq 1"),
        "{sentence}"
    );
}

#[test]
fn a_setting_that_a_shard_forgot_is_named_with_its_commit_and_the_crash() {
    let setting = What::Setting { right: Right::Post, who: Holders::Admins };
    let mut steps = [group(), said(200, (D, U), 2, setting, &[]), said(900, (F, V), 3, What::Text, &[])].concat();
    steps.push((400, SHARD, Kind::Crash));
    steps.push((600, SHARD, Kind::Restart));
    let sentence = judged("members-only", 3, F, steps);
    assert!(
        sentence.ends_with(
            "it had stored seq 2 at 0.202 s with a commit in which nobody came or went, crashed at 0.400 s and was back at 0.600 s, and went by what held before"
        ),
        "{sentence}"
    );
}

fn refused(ms: u64, device: DeviceId, user: UserId, seq: u64, what: What, reason: &'static str) -> Steps {
    let client_msg_id = message(seq);
    let send =
        Kind::Send { conversation: C, sender: user, client_msg_id, body_hash: 1, what, members: Vec::new() };
    let told = Told::Refused { client_msg_id, reason, value: None };
    vec![
        at_device(ms, device, send),
        (ms + 5, SHARD, Kind::Hop(Hop::Answered { device, conversation: C, told })),
        at_device(ms + 9, device, Kind::Refused { conversation: C, client_msg_id, reason }),
    ]
}

#[test]
fn a_refusal_against_the_log_is_named_with_who_is_what_since_when() {
    let gone = said(200, (D, U), 2, What::Left(U), &[]);
    let setting = What::Setting { right: Right::Post, who: Holders::Admins };
    let steps = [group(), gone, refused(300, F, V, 9, setting, "not_allowed")].concat();
    let sentence = judged("every-send-answered", 9, F, steps);
    assert!(
        sentence.ends_with(
            "though user 31 is the owner since seq 2, with which user 30, the owner before, left and they came next"
        ),
        "{sentence}"
    );
    let admin = What::Role { user: V, rank: Rank::Admin };
    let member = What::Role { user: V, rank: Rank::Member };
    let steps = [
        group(),
        said(200, (D, U), 2, admin, &[]),
        said(300, (D, U), 3, member, &[]),
        refused(400, D, U, 9, admin, "conflict"),
    ];
    let sentence = judged("every-send-answered", 9, D, steps.concat());
    assert!(
        sentence.contains("as if user 31 were an admin already, who is a plain member since seq 3"),
        "{sentence}"
    );
}

fn shown(ms: u64, device: DeviceId, user: UserId) -> (u64, Entity, Kind) {
    at_device(ms, device, Kind::TypingShown { conversation: C, user })
}

fn over(ms: u64, device: DeviceId, user: UserId) -> (u64, Entity, Kind) {
    at_device(ms, device, Kind::TypingOver { conversation: C, user })
}

fn typing(ms: u64, device: DeviceId, user: UserId, later: [u64; 3], to: &[UserId]) -> Steps {
    let heard = || Kind::Hop(Hop::Received { user, device, conversation: C, asked: Asked::Typing });
    let told = Told::Typing { user };
    vec![
        at_device(ms, device, Kind::Typing { conversation: C }),
        (ms + 1, GATEWAY, heard()),
        (ms + later[0], SHARD, heard()),
        (ms + later[1], SHARD, Kind::Hop(Hop::Noticed { conversation: C, told: told.clone(), to: to.to_vec() })),
        (ms + later[2], GATEWAY, Kind::Hop(Hop::Handed { device: F, conversation: C, told })),
    ]
}

#[test]
fn a_notice_that_is_told_late_or_to_whom_it_is_not_for_is_named_with_who_had_it() {
    let late = [group(), typing(1_000, D, U, [9_000, 9_001, 9_003], &[V]), vec![shown(10_010, F, U)]].concat();
    let sentence = cause(&ordered(late), &of("typing-holds", 10_010, F, U));
    assert!(
        sentence.starts_with(
            "gateway-0 had it since 1.001 s and passed it on to messages-0 only 8.9 s later, at 10.000 s"
        ),
        "{sentence}"
    );
    let own = [group(), typing(1_000, F, V, [3, 4, 5], &[U, V]), vec![shown(1_010, F, V)]].concat();
    let sentence = cause(&ordered(own), &of("typing-holds", 1_010, F, V));
    assert!(sentence.contains("named 2 of them, user 31 among them"), "{sentence}");
    let left = said(500, (F, V), 2, What::Left(V), &[]);
    let left = [group(), left, typing(9_000, D, U, [3, 4, 5], &[V]), vec![shown(9_010, F, U)]].concat();
    let sentence = cause(&ordered(left), &of("typing-holds", 9_010, F, U));
    assert!(sentence.contains("though they had left at seq 2, stored at 0.502 s"), "{sentence}");
}

#[test]
fn somebody_who_is_shown_too_long_is_named_with_what_put_it_off() {
    let lasting = vec![shown(1_000, F, U), shown(4_000, F, UserId(32)), over(9_000, F, U)];
    let sentence = cause(&ordered([group(), lasting].concat()), &of("typing-holds", 9_000, F, U));
    assert!(sentence.contains("showed them for 8.0 s, to 9.000 s"), "{sentence}");
    assert!(sentence.ends_with("what it was told of somebody else at 4.000 s put that off"), "{sentence}");
    let display = Kind::Display {
        user: V,
        conversation: C,
        seq: Seq(2),
        sender: U,
        client_msg_id: M,
        body_hash: 1,
        what: What::Text,
        via: squall_history::Via::Deliver,
    };
    let beside = vec![shown(1_000, F, U), at_device(2_000, F, display), over(6_000, F, U)];
    let sentence = cause(&ordered([group(), beside].concat()), &of("typing-holds", 2_000, F, U));
    assert!(sentence.contains("displayed their seq 2 at 2.000 s, and went on showing them"), "{sentence}");
}

#[test]
fn a_shard_that_counts_devices_is_named_with_both() {
    let twice = [
        group(),
        vec![connect(0, E)],
        typing(1_000, D, U, [3, 4, 5], &[V]),
        typing(1_300, E, U, [3, 4, 5], &[V]),
        vec![shown(1_310, F, U)],
    ];
    let sentence = cause(&ordered(twice.concat()), &of("typing-holds", 1_310, F, U));
    assert!(sentence.contains("at 1.004 s and again at 1.304 s, 300 ms later"), "{sentence}");
    assert!(sentence.contains("for device 3 said so and then device 4, both of user 30"), "{sentence}");
}

fn kept(ms: u64, user: UserId, up_to: u64, read: u64) -> (u64, Entity, Kind) {
    (ms, SHARD, Kind::Cursor { conversation: C, up_to: Seq(up_to), read: Seq(read), user })
}

#[test]
fn a_read_that_no_commit_wrote_is_named_with_its_way() {
    let asked = Asked::Read { up_to: Seq(5) };
    let steps = vec![
        at_device(1_000, D, Kind::Ack { conversation: C, up_to: Seq(5) }),
        kept(1_500, U, 5, 0),
        at_device(2_000, D, Kind::Read { conversation: C, up_to: Seq(5) }),
        (2_010, SHARD, Kind::Hop(Hop::Received { user: U, device: D, conversation: C, asked })),
        kept(2_500, U, 5, 0),
        end(9_000),
    ];
    let subject = Subject { device: None, seq: Some(Seq(0)), ..of("receipts-hold", 9_000, D, U) };
    let sentence = cause(&ordered([group(), steps].concat()), &subject);
    assert!(
        sentence
            .starts_with("device 3 said at 2.000 s that seq 5 has been read, which came to messages-0 at 2.010 s")
    );
    assert!(
        sentence.ends_with("when nothing more had been delivered: a read by itself was not written"),
        "{sentence}"
    );
}

#[test]
fn a_receipt_that_was_told_before_its_commit_or_taken_though_older_is_named() {
    let told = |delivered| Receipt { user: U, delivered: Seq(delivered), read: Seq(0) };
    let notice = |delivered| Told::Receipts { users: vec![told(delivered)], counts: None };
    let noticed = Hop::Noticed { conversation: C, told: notice(5), to: vec![V] };
    let at_f = |ms, delivered| {
        at_device(ms, F, Kind::Receipts { conversation: C, users: vec![told(delivered)], counts: None })
    };
    let early = vec![kept(500, U, 3, 0), (1_000, SHARD, Kind::Hop(noticed)), at_f(1_010, 5), kept(1_200, U, 5, 0)];
    let subject = Subject { seq: Some(Seq(5)), ..of("receipts-hold", 1_010, F, U) };
    let sentence = cause(&ordered([group(), early].concat()), &subject);
    assert!(
        sentence.contains(
            "when its disk had seq 3 as delivered and 0 as read: the commit that wrote that was done at 1.200 s"
        ),
        "{sentence}"
    );
    let back = vec![kept(500, U, 5, 0), at_f(1_000, 5), at_f(2_000, 3)];
    let subject = Subject { seq: Some(Seq(3)), ..of("receipts-hold", 2_000, F, U) };
    let sentence = cause(&ordered([group(), back].concat()), &subject);
    assert!(sentence.starts_with("device 5 knew since 1.000 s that user 30 had come to seq 5"), "{sentence}");
    assert!(sentence.ends_with("it goes by what comes last, not by what is further"), "{sentence}");
}

const PRESENCE: Entity = Entity::Host(2);

/// Two people on a gateway each, of whom the second watches the first.
fn watching(steps: Steps, t: u64) -> String {
    let hosts = ["gateway-0", "gateway-1", "presence-0", "messages-0"].map(str::to_owned).to_vec();
    let watch = Kind::Watch { conversation: C, users: vec![U] };
    let mut all =
        [vec![connected(0, D, U, 0, 1), connected(0, F, V, 1, 1), at_device(10, F, watch)], steps].concat();
    all.sort_by_key(|(ms, ..)| *ms);
    let events = all.into_iter().map(|(ms, at, kind)| Event { t: ms * 1_000, at, kind });
    let subject = Subject { conversation: ConversationId(0), ..of("presence-holds", t, F, U) };
    cause(&Story::new(events.collect(), hosts), &subject)
}

fn present(ms: u64, gateway: u32, connect_count: u64, hides: bool) -> (u64, Entity, Kind) {
    (ms, PRESENCE, Kind::Hop(Hop::Present { user: U, device: D, gateway, connect_count, hides }))
}

fn absent(ms: u64, gateway: u32) -> (u64, Entity, Kind) {
    (ms, PRESENCE, Kind::Hop(Hop::Absent { user: U, device: D, gateway, seen_ago_ms: 0 }))
}

fn tells(ms: u64, state: &'static str) -> (u64, Entity, Kind) {
    (ms, PRESENCE, Kind::Hop(Hop::PresenceTold { user: U, gateway: 1, state, seen_ago_ms: None }))
}

fn shows(ms: u64, state: &'static str) -> (u64, Entity, Kind) {
    at_device(ms, F, Kind::Presence { user: U, state, last_seen_ms: 0 })
}

#[test]
fn a_presence_host_that_had_just_begun_is_named_with_who_was_connected_where() {
    let steps = vec![
        present(20, 0, 1, false),
        (5_000, PRESENCE, Kind::Crash),
        (6_000, PRESENCE, Kind::Restart),
        tells(6_400, "offline"),
        shows(6_410, "offline"),
        present(6_900, 0, 1, false),
    ];
    assert_eq!(
        watching(steps, 6_410),
        "presence-0 told gateway-1 at 6.400 s that user 30 is offline, 400 ms after it had started, while device 3 was connected to gateway-0 since 0.000 s: \
         it had forgotten everybody, did not know yet whom its gateways hold, and has not heard of them since"
    );
}

#[test]
fn an_old_connections_end_that_took_the_newer_one_is_named() {
    let steps = vec![
        present(20, 0, 1, false),
        at_device(1_000, D, Kind::Disconnect { reason: "reset" }),
        connected(1_200, D, U, 1, 2),
        present(1_210, 1, 2, false),
        absent(3_000, 0),
        tells(5_000, "offline"),
        shows(5_010, "offline"),
    ];
    let sentence = watching(steps, 5_010);
    assert!(
        sentence.contains("took away the newer one (count 2), which gateway-1 had told it of at 1.210 s"),
        "{sentence}"
    );
}

#[test]
fn what_a_presence_host_or_a_gateway_left_untold_is_named() {
    let swallowed = vec![
        present(20, 0, 1, false),
        tells(30, "online"),
        shows(40, "online"),
        at_device(500, D, Kind::Disconnect { reason: "away" }),
        absent(510, 0),
    ];
    let sentence = watching(swallowed, 30_000);
    assert!(sentence.contains("it heard at 0.510 s, 480 ms later, that device 3 is gone"), "{sentence}");
    let silent = vec![
        present(20, 0, 1, false),
        tells(30, "online"),
        shows(40, "online"),
        at_device(500, D, Kind::Disconnect { reason: "reset" }),
    ];
    let sentence = watching(silent, 60_000);
    assert!(sentence.starts_with("gateway-0 never told presence-0 that device 3 is gone"), "{sentence}");
    let asked = (20, PRESENCE, Kind::Hop(Hop::Subscribed { user: U, gateway: 1 }));
    let link = (6_500, Entity::Host(1), Kind::Hop(Hop::LinkUp { to: "presence-0:1".to_owned() }));
    let unasked = vec![
        asked,
        present(30, 0, 1, false),
        tells(40, "online"),
        shows(50, "online"),
        (5_000, PRESENCE, Kind::Crash),
        (6_000, PRESENCE, Kind::Restart),
        link,
        at_device(20_000, D, Kind::Disconnect { reason: "away" }),
        absent(20_010, 0),
    ];
    let sentence = watching(unasked, 40_000);
    assert!(sentence.contains("asked last at 0.020 s presence-0 to be told of user 30"), "{sentence}");
    assert!(
        sentence.contains("their link began anew at 6.500 s, after presence-0 crashed at 5.000 s"),
        "{sentence}"
    );
}

#[test]
fn a_token_that_was_taken_or_did_not_count_longer_is_named() {
    let taken = |flaw| {
        let kind = Kind::TokenTaken { gateway: 0, flaw, expires_s: 1, not_before_s: None, asked: 9_000_000 };
        let story = ordered(vec![connect(0, D), at_device(9_500, D, kind)]);
        cause(&story, &Subject { conversation: ConversationId(0), ..of("tokens-hold", 9_500, D, U) })
    };
    assert_eq!(
        taken("expired"),
        "gateway-0 took at 9.500 s the token that was shown to it at 9.000 s, though that had expired 8.0 s before: \
         it looked at its signature and not at when it expires"
    );
    assert!(taken("another's").ends_with("it asked whether the token counts, and not whose it is"));
    assert!(taken("of another algorithm").ends_with("it was checked by the algorithm of its own header"));
    let story = ordered(vec![
        connect(0, D),
        at_device(5_000, D, Kind::Refreshed { expires_s: 60 }),
        at_device(20_000, D, Kind::TokenRefused { gateway: 0, expires_s: 10 }),
    ]);
    let sentence = cause(&story, &Subject { conversation: ConversationId(0), ..of("tokens-hold", 20_000, D, U) });
    assert!(
        sentence.contains("at 5.000 s, which expires at 60 s, and closed the connection at 20.000 s"),
        "{sentence}"
    );
}

#[test]
fn a_gateway_that_sends_all_its_devices_away_at_once_is_named() {
    let sent = |device| (1_010, GATEWAY, Kind::Hop(Hop::SentAway { device }));
    let story = ordered(vec![
        connect(0, D),
        connect(0, E),
        (1_000, GATEWAY, Kind::Stopping { window: 10_000_000 }),
        sent(D),
        sent(E),
        connected(1_500, D, U, 1, 2),
        connected(1_600, E, U, 1, 2),
    ]);
    let subject =
        Subject { conversation: ConversationId(0), device: None, user: None, ..of("drains-gently", 2_000, D, U) };
    assert_eq!(
        cause(&story, &subject),
        "gateway-0 was asked at 1.000 s to end over 10.0 s, and told 2 of its 2 devices at 1.010 s to come back, all at once, though it had 10.0 s for that; \
         2 of them were connected elsewhere in the second up to 2.000 s"
    );
}

/// A channel that gateway-0 follows from 0.15 s on, and an entry at seq 2, stored at 1.002 s.
fn channel(steps: Steps) -> String {
    let followed = (150, GATEWAY, Kind::Hop(Hop::Followed { conversation: C, have: None }));
    let taken = (160, GATEWAY, Kind::Hop(Hop::TailTaken { conversation: C, from: Seq(1), to: Seq(1) }));
    judged(
        "no-loss",
        2,
        F,
        [group(), vec![followed, taken], said(1_000, (D, U), 2, What::Text, &[]), steps].concat(),
    )
}

#[test]
fn where_the_way_of_a_channels_entry_ends_is_named() {
    let owed = channel(Vec::new());
    assert!(
        owed.starts_with("messages-0 stored seq 2 of the channel at 1.002 s, while seq 1 to 1 was on its way"),
        "{owed}"
    );
    let unfollowed = vec![
        (500, GATEWAY, Kind::Hop(Hop::Closed { device: E, reason: "connection gone" })),
        (500, GATEWAY, Kind::Hop(Hop::Unfollowed { conversation: C })),
    ];
    let unfollowed = channel(unfollowed);
    assert!(
        unfollowed.contains("at 0.500 s as device 4 had gone that nobody there follows the channel"),
        "{unfollowed}"
    );
    let anew = channel(vec![(800, GATEWAY, Kind::Hop(Hop::LinkUp { to: "messages-0:1".to_owned() }))]);
    assert!(anew.contains("their link began anew at 0.800 s, and it has not asked again since"), "{anew}");
    let entry =
        Arrived { seq: Seq(2), client_msg_id: message(2), author: D, client_seq: ClientSeq(1), stored_at_ms: 0 };
    let took = (1_010, GATEWAY, Kind::Hop(Hop::TailTaken { conversation: C, from: Seq(2), to: Seq(3) }));
    let last = Arrived { seq: Seq(3), ..entry };
    let told = Told::Deliver { from: Seq(2), to: Seq(3), held: vec![last] };
    let handed = (1_020, GATEWAY, Kind::Hop(Hop::Handed { device: F, conversation: C, told }));
    let end_only = channel(vec![took.clone(), handed]);
    assert!(
        end_only.contains(
            "told device 5 at 1.020 s of seq 2 to 3 of the channel together, and held only the last of them"
        ),
        "{end_only}"
    );
    let member = Hop::Member { device: F, conversation: C, from: Seq(1), as_of: Seq(2) };
    let believed = channel(vec![(900, GATEWAY, Kind::Hop(member)), took]);
    assert!(believed.contains("took the device at 0.900 s for told of all up to seq 2"), "{believed}");
}
