//! A presence host's table, the watches of a gateway, and the device's part, input by output.

use squall_core::Time;
use squall_core::client::{ClientSession, Output};
use squall_core::gateway::{TooManyWatches, Wanted, Watches};
use squall_core::presence::{Here, Now, Presence, PresenceSession, PresenceTable, PresenceTimes};
use squall_protocol::limits::{
    MAX_WATCHED_AT_ONCE, MAX_WATCHES, PRESENCE_UNKNOWN_FOR, WATCH_LEASE, WATCH_RETRY_AFTER,
};
use squall_protocol::{ClientFrame, ConversationId, DeviceId, Seen, ServerFrame, UserId};
use std::time::Duration;

const U: UserId = UserId(1);
const V: UserId = UserId(2);
const C: ConversationId = ConversationId::direct(U, V);
const EPOCH_MS: u64 = 1_000_000;

fn at(ms: u64) -> Now {
    Now { time: Time(ms * 1_000), wall_ms: EPOCH_MS + ms }
}

/// No host in these tests is fresh any more, unless it says so.
const LATER: u64 = PRESENCE_UNKNOWN_FOR.as_millis() as u64;

fn table() -> PresenceTable {
    let mut table = PresenceTable::new(PresenceTimes::default(), Time::ZERO);
    // It looks several times a second.
    for second in 0..=LATER / 1_000 {
        table.handle_timeout(at(second * 1_000));
    }
    table
}

fn looks(table: &mut PresenceTable, from: u64, to: u64) {
    for half in from / 500..=to / 500 {
        table.handle_timeout(at(half * 500));
    }
}

fn here(device: u64, connection: u64, connect_count: u64) -> Here {
    Here { user: U, device: DeviceId(device), connection, connect_count, invisible: false }
}

fn offline(ms: u64) -> Presence {
    Presence { state: Seen::Offline, last_seen_ms: EPOCH_MS + ms }
}

fn gone(table: &mut PresenceTable, session: PresenceSession, device: u64, connection: u64, ms: u64) {
    table.handle_gone(session, (U, DeviceId(device)), connection, Duration::ZERO, at(ms));
}

#[test]
fn the_last_device_that_goes_says_when_a_user_was_last_seen_once_the_grace_is_over() {
    let mut table = table();
    let session = table.handle_open(0, at(LATER));
    table.handle_here(session, here(10, 1, 1), at(LATER));
    table.handle_here(session, here(11, 2, 1), at(LATER));
    gone(&mut table, session, 10, 1, LATER + 1_000);
    assert_eq!(table.presence(U, at(LATER + 60_000).time), Presence::ONLINE);
    gone(&mut table, session, 11, 2, LATER + 5_000);
    assert_eq!(table.presence(U, at(LATER + 14_999).time), Presence::ONLINE);
    assert_eq!(table.presence(U, at(LATER + 15_000).time), offline(LATER + 5_000));
}

#[test]
fn whoever_is_back_within_the_grace_was_never_away_and_nobody_is_told() {
    let mut table = table();
    let session = table.handle_open(0, at(LATER));
    table.handle_subscribe(session, U, 0);
    table.handle_here(session, here(10, 1, 1), at(LATER));
    assert_eq!(table.poll_notices(0, 9, at(LATER).time), [(U, Presence::ONLINE)]);
    gone(&mut table, session, 10, 1, LATER + 2_000);
    table.handle_here(session, here(10, 7, 2), at(LATER + 9_000));
    looks(&mut table, LATER + 2_000, LATER + 20_000);
    assert_eq!(table.poll_notices(0, 9, at(LATER + 20_000).time), []);
}

#[test]
fn an_old_connection_takes_nothing_away_and_a_hello_that_is_said_again_neither() {
    let mut table = table();
    let (a, b) = (table.handle_open(0, at(LATER)), table.handle_open(1, at(LATER)));
    table.handle_here(a, here(10, 1, 1), at(LATER));
    table.handle_here(b, here(10, 1, 2), at(LATER));
    gone(&mut table, a, 10, 1, LATER + 1);
    table.handle_here(a, here(10, 8, 2), at(LATER + 2));
    gone(&mut table, a, 10, 8, LATER + 3);
    assert_eq!(table.presence(U, at(LATER + 60_000).time), Presence::ONLINE);
}

#[test]
fn whoever_hides_is_offline_on_a_host_that_has_just_started() {
    let mut table = PresenceTable::new(PresenceTimes::default(), Time::ZERO);
    let session = table.handle_open(0, at(0));
    table.handle_subscribe(session, U, 0);
    assert_eq!(table.presence(U, at(0).time), Presence::UNKNOWN);
    table.handle_here(session, here(10, 1, 1), at(0));
    assert_eq!(table.poll_notices(0, 9, at(0).time), [(U, Presence::ONLINE)]);
    table.handle_here(session, Here { invisible: true, ..here(10, 1, 1) }, at(5_000));
    assert_eq!(table.poll_notices(0, 9, at(6_000).time), [(U, offline(5_000))]);
    gone(&mut table, session, 10, 1, 7_000);
    assert_eq!(table.presence(U, at(8_000).time), Presence::UNKNOWN);
}

#[test]
fn an_invisible_device_makes_its_user_look_as_they_did_before_it_hid() {
    let mut table = table();
    let session = table.handle_open(0, at(LATER));
    table.handle_here(session, Here { invisible: true, ..here(10, 1, 1) }, at(LATER));
    assert_eq!(table.presence(U, at(LATER).time), Presence { state: Seen::Offline, last_seen_ms: 0 });
    table.handle_here(session, here(10, 1, 1), at(LATER + 1_000));
    assert_eq!(table.presence(U, at(LATER + 1_000).time), Presence::ONLINE);
    table.handle_here(session, Here { invisible: true, ..here(10, 1, 1) }, at(LATER + 2_000));
    assert_eq!(table.presence(U, at(LATER + 2_000).time), offline(LATER + 2_000));
    gone(&mut table, session, 10, 1, LATER + 3_000);
    assert_eq!(table.presence(U, at(LATER + 3_001).time), offline(LATER + 2_000), "no grace for who was not seen");
}

#[test]
fn a_host_that_has_just_started_calls_nobody_offline_and_believes_what_gateways_know() {
    let mut table = PresenceTable::new(PresenceTimes::default(), Time::ZERO);
    let session = table.handle_open(0, at(0));
    table.handle_subscribe(session, U, 0);
    table.handle_subscribe(session, V, EPOCH_MS - 500);
    let unknown = [(U, Presence::UNKNOWN), (V, Presence::UNKNOWN)];
    assert_eq!(table.poll_notices(0, 9, at(0).time), unknown);
    table.handle_here(session, here(10, 1, 1), at(2_000));
    assert_eq!(table.poll_notices(0, 9, at(2_000).time), [(U, Presence::ONLINE)]);
    (0..=60).for_each(|half| {
        table.handle_timeout(at(half * 500));
        assert!(table.handle_renew(session, at(half * 500)));
    });
    let seen = Presence { state: Seen::Offline, last_seen_ms: EPOCH_MS - 500 };
    assert_eq!(table.poll_notices(0, 9, at(LATER).time), [(V, seen)]);
}

#[test]
fn what_changes_twice_within_a_second_is_told_once_as_it_is_at_last() {
    let mut table = table();
    let session = table.handle_open(0, at(LATER));
    table.handle_subscribe(session, U, 0);
    table.handle_here(session, here(10, 1, 1), at(LATER));
    assert_eq!(table.poll_notices(0, 9, at(LATER).time), [(U, Presence::ONLINE)]);
    assert_eq!(table.take_sampled(), 1);
    let hide = |invisible| Here { invisible, ..here(10, 1, 1) };
    table.handle_here(session, hide(true), at(LATER + 100));
    assert_eq!(table.poll_notices(0, 9, at(LATER + 100).time), []);
    table.handle_here(session, hide(false), at(LATER + 200));
    table.handle_here(session, hide(true), at(LATER + 300));
    assert_eq!(table.take_sampled(), 2);
    assert_eq!(table.poll_notices(0, 9, at(LATER + 999).time), []);
    assert_eq!(table.due(), [0]);
    assert_eq!(table.poll_notices(0, 9, at(LATER + 1_000).time), [(U, offline(LATER + 300))]);
    assert_eq!(table.due(), [0; 0]);
}

#[test]
fn a_gateway_that_says_nothing_loses_its_devices_and_what_a_new_session_does_not_name_has_gone() {
    let mut table = table();
    let old = table.handle_open(0, at(LATER));
    table.handle_here(old, here(10, 1, 1), at(LATER));
    table.handle_here(old, here(11, 2, 1), at(LATER));
    table.handle_renew(old, at(LATER + 1_000));
    let new = table.handle_open(0, at(LATER + 4_000));
    table.handle_here(new, here(11, 2, 1), at(LATER + 4_000));
    assert_eq!(table.handle_snapshot_end(new, at(LATER + 4_500)), 1);
    assert!(!table.handle_renew(old, at(LATER + 4_500)));
    looks(&mut table, LATER + 4_500, LATER + 36_000);
    assert!(!table.handle_renew(new, at(LATER + 36_000)));
    assert_eq!(table.presence(U, at(LATER + 46_000).time), offline(LATER + 4_500));
}

#[test]
fn a_host_that_stood_still_hears_its_gateways_before_it_gives_anybody_up() {
    let mut table = table();
    let session = table.handle_open(0, at(LATER));
    table.handle_here(session, here(10, 1, 1), at(LATER));
    assert_eq!(table.handle_timeout(at(LATER + 90_000)), 0);
    assert!(table.handle_renew(session, at(LATER + 90_000)));
}

#[test]
fn those_who_have_been_away_for_longest_are_forgotten_first() {
    let mut table = PresenceTable::with_memory_for(1, PresenceTimes::default(), Time::ZERO);
    let session = table.handle_open(0, at(LATER));
    table.handle_subscribe(session, U, 5);
    table.handle_subscribe(session, V, 6);
    assert_eq!(table.levels(), [0, 1, 2]);
}

fn asked(watches: &mut Watches, connection: u64, now: u64) -> Time {
    let (ask, _) = watches.handle_watch(connection, U, C, vec![V], Time(now)).expect("there is room");
    assert_eq!((ask.connection, ask.watcher, &ask.users[..]), (connection, U, &[V][..]));
    ask.asked_at
}

#[test]
fn a_user_is_wanted_once_however_many_watch_them() {
    let mut watches = Watches::default();
    for connection in [1, 2] {
        let asked = asked(&mut watches, connection, 0);
        let wanted = watches.handle_lease(connection, C, asked, &[V], Time(5));
        let subscribe = if connection == 1 { vec![V] } else { Vec::new() };
        assert_eq!(wanted, Wanted { subscribe, unsubscribe: Vec::new() });
    }
    watches.handle_presence(V, Presence::ONLINE);
    assert_eq!(watches.due(), [1, 2]);
    assert_eq!(watches.take_due(1), [(V, Presence::ONLINE)]);
    assert_eq!(watches.handle_gone(1), Wanted::default());
    assert_eq!(watches.handle_unwatch(2, C).unsubscribe, [V]);
    assert!(watches.is_empty() && watches.due().is_empty());
}

#[test]
fn a_watch_ends_when_its_lease_is_refused_and_rests_when_it_is_not_renewed() {
    let mut watches = Watches::default();
    let first = asked(&mut watches, 1, 0);
    watches.handle_lease(1, C, first, &[V], Time(5));
    watches.handle_presence(V, Presence::ONLINE);
    watches.take_due(1);
    assert!(watches.handle_timeout(Time::ZERO + WATCH_LEASE / 4).0.is_empty());
    let half = Time::ZERO + WATCH_LEASE / 2;
    let (asks, _, lapsed) = watches.handle_timeout(half);
    assert_eq!((asks.len(), asks[0].asked_at, lapsed), (1, half, 0));
    // Without an answer it is asked again, and at last the device hears that nobody can tell.
    let (asks, _, _) = watches.handle_timeout(half + WATCH_RETRY_AFTER);
    assert_eq!(asks.len(), 1);
    let (_, wanted, lapsed) = watches.handle_timeout(Time::ZERO + WATCH_LEASE);
    assert_eq!((wanted.unsubscribe, lapsed), (vec![V], 1));
    assert_eq!(watches.take_due(1), [(V, Presence::UNKNOWN)]);
    // A late answer to an earlier question says nothing; the next one shows them again.
    let (asks, _, _) = watches.handle_timeout(Time::ZERO + WATCH_LEASE + WATCH_RETRY_AFTER);
    let now = asks[0].asked_at;
    assert_eq!(watches.handle_lease(1, C, half, &[V], now), Wanted::default());
    assert_eq!(watches.handle_lease(1, C, now, &[V], now).subscribe, [V]);
    watches.handle_presence(V, Presence::ONLINE);
    watches.take_due(1);
    assert_eq!(watches.handle_lease(1, C, now, &[], now).unsubscribe, [V]);
    assert_eq!(watches.take_due(1), [(V, Presence::UNKNOWN)]);
    assert!(watches.is_empty());
}

#[test]
fn a_host_that_has_forgotten_takes_nothing_back_and_what_is_stale_is_told_to_nobody_new() {
    let mut watches = Watches::default();
    let first = asked(&mut watches, 1, 0);
    watches.handle_lease(1, C, first, &[V], Time(5));
    watches.handle_presence(V, Presence::ONLINE);
    watches.take_due(1);
    watches.handle_stale(|_| true);
    let second = asked(&mut watches, 2, 0);
    watches.handle_lease(2, C, second, &[V], Time(5));
    watches.handle_presence(V, Presence::UNKNOWN);
    assert_eq!((watches.take_due(1), watches.take_due(2)), (vec![], vec![]));
    watches.handle_presence(V, Presence::ONLINE);
    assert_eq!((watches.take_due(1), watches.take_due(2)), (vec![], vec![(V, Presence::ONLINE)]));
    watches.handle_unknown(|_| true);
    assert_eq!(watches.take_due(1), [(V, Presence::UNKNOWN)]);
}

#[test]
fn there_are_so_many_users_in_a_watch_watches_of_a_connection_and_users_of_a_gateway() {
    let mut watches = Watches::with_room_for(1);
    let many = (0..=MAX_WATCHED_AT_ONCE as u64).map(UserId).collect();
    assert_eq!(watches.handle_watch(1, U, C, many, Time(0)), Err(TooManyWatches));
    for n in 0..MAX_WATCHES as u64 {
        assert!(watches.handle_watch(1, U, ConversationId::group(U, n), vec![V], Time(0)).is_ok());
    }
    assert_eq!(watches.handle_watch(1, U, C, vec![V], Time(0)), Err(TooManyWatches));
    let both = vec![V, UserId(3)];
    let (ask, _) = watches.handle_watch(2, U, C, both.clone(), Time(0)).expect("another connection has room");
    assert_eq!(watches.handle_lease(2, C, ask.asked_at, &both, Time(1)).subscribe, [V]);
}

#[test]
fn who_hides_while_the_welcome_is_on_its_way_says_so_once_it_has_come() {
    for before in [false, true] {
        let (mut session, mut out) = (ClientSession::new(U, DeviceId(10)), Vec::new());
        session.set_invisible(before, &mut out);
        session.come_back(Time(0), &mut out);
        session.handle_connected("t".into(), Time(1), &mut out);
        session.set_invisible(!before, &mut out);
        out.clear();
        let welcome = ServerFrame::Welcome { user: U, device: DeviceId(10), expires_in_ms: 600_000 };
        session.handle_frame(welcome, Time(2), &mut out);
        assert_eq!(out, [Output::Online, Output::Transmit(ClientFrame::Invisible { on: !before })]);
    }
}

#[test]
fn a_device_says_on_each_connection_whom_it_watches_and_whether_it_hides() {
    let mut out = Vec::new();
    let mut session = ClientSession::new(U, DeviceId(10));
    session.set_invisible(true, &mut out);
    session.watch(C, vec![V], &mut out);
    assert_eq!(out, []);
    session.come_back(Time(0), &mut out);
    session.handle_connected("t".into(), Time(1), &mut out);
    let welcome = ServerFrame::Welcome { user: U, device: DeviceId(10), expires_in_ms: 600_000 };
    session.handle_frame(welcome, Time(2), &mut out);
    let hello = ClientFrame::Hello { token: "t".into(), connect_count: 1, invisible: true };
    let watch = ClientFrame::Watch { conversation: C, users: vec![V] };
    let frames = [Output::Transmit(hello), Output::Online, Output::Transmit(watch)];
    assert_eq!(out.split_off(1), frames);
    let told = ServerFrame::Presence { user: V, state: Seen::Offline, last_seen_ms: 7 };
    out.clear();
    session.handle_frame(told, Time(3), &mut out);
    session.unwatch(C, &mut out);
    session.set_invisible(false, &mut out);
    let shown = Output::Presence { user: V, state: Seen::Offline, last_seen_ms: 7 };
    let unwatch = Output::Transmit(ClientFrame::Unwatch { conversation: C });
    assert_eq!(out, [shown, unwatch, Output::Transmit(ClientFrame::Invisible { on: false })]);
}
