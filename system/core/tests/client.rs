//! The device, input by output.

use squall_core::Time;
use squall_core::client::{ClientSession, Output, Phase, ResendCause};
use squall_protocol::*;

const C: ConversationId = ConversationId(7);
const ME: UserId = UserId(1);
const MINE: DeviceId = DeviceId(10);

const WELCOME: ServerFrame = ServerFrame::Welcome { user: ME, device: MINE, expires_in_ms: u64::MAX };

const fn at(ms: u64) -> Time {
    Time(ms * 1_000)
}

fn online() -> ClientSession {
    let mut s = ClientSession::new(ME, MINE);
    let mut out = Vec::new();
    s.come_back(at(0), &mut out);
    assert_eq!(out, [Output::Connect]);
    out.clear();
    s.handle_connected("t".into(), at(0), &mut out);
    assert_eq!(
        out,
        [Output::Transmit(ClientFrame::Hello { token: "t".into(), connect_count: 1, invisible: false })]
    );
    s.handle_frame(WELCOME, at(0), &mut Vec::new());
    s
}

fn entry(seq: u64) -> Entry {
    Entry {
        seq: Seq(seq),
        sender: UserId(2),
        device: DeviceId(20),
        client_msg_id: ClientMsgId(u128::from(seq)),
        client_seq: ClientSeq(seq),
        stored_at_ms: 0,
        payload: Payload::Text("x".into()),
    }
}

fn span(from: u64, to: u64, seqs: &[u64]) -> LogSpan {
    LogSpan { conversation: C, from: Seq(from), to: Seq(to), entries: seqs.iter().map(|s| entry(*s)).collect() }
}

fn step(s: &mut ClientSession, frame: ServerFrame, now: Time) -> Vec<String> {
    let mut out = Vec::new();
    s.handle_frame(frame, now, &mut out);
    brief(&out)
}

fn brief(out: &[Output]) -> Vec<String> {
    out.iter()
        .filter_map(|o| match o {
            Output::Shown(s) => Some(format!("show {} {:?}", s.entry.seq, s.via)),
            Output::Skipped { from, to, .. } => Some(format!("skip {from}..{to}")),
            Output::Discarded { seq, .. } => Some(format!("discard {seq}")),
            Output::Stored { seq, .. } => Some(format!("stored {seq}")),
            Output::Transmit(ClientFrame::Ack { up_to_seq, .. }) => Some(format!("ack {up_to_seq}")),
            Output::Transmit(ClientFrame::Sync { since_seq, .. }) => Some(format!("sync {since_seq}")),
            Output::Transmit(ClientFrame::Send { client_seq, .. }) => Some(format!("send {}", client_seq.0)),
            Output::Transmit(ClientFrame::Ping) => Some("ping".into()),
            Output::Disconnect(why) => Some(format!("disconnect: {why}")),
            Output::FetchToken | Output::TokenRefused => Some("token".into()),
            Output::Connect => Some("connect".into()),
            Output::Transmit(frame) => Some(format!("{frame:?}")),
            Output::Stopped => Some("stopped".into()),
            Output::ToldToWait { retry_after_ms, .. } => Some(format!("wait {retry_after_ms} ms")),
            Output::Typing { user, .. } => Some(format!("{user} is typing")),
            Output::TypingOver { user, .. } => Some(format!("{user} is not typing")),
            Output::Online
            | Output::Resent { .. }
            | Output::Refused { .. }
            | Output::Arrived { .. }
            | Output::Receipts(_)
            | Output::Presence { .. } => None,
        })
        .collect()
}

#[test]
fn entries_are_shown_in_order_once_and_duplicates_are_acked_again() {
    let mut s = online();
    assert_eq!(
        step(&mut s, ServerFrame::Deliver(span(1, 2, &[1, 2])), at(1)),
        ["show 1 Deliver", "show 2 Deliver", "ack 2"]
    );
    assert_eq!(step(&mut s, ServerFrame::Deliver(span(2, 2, &[2])), at(2)), ["discard 2", "ack 2"]);
    assert_eq!(
        step(&mut s, ServerFrame::Deliver(span(2, 3, &[2, 3])), at(3)),
        ["discard 2", "show 3 Deliver", "ack 3"]
    );
}

#[test]
fn a_gap_is_waited_for_then_synced() {
    let mut s = online();
    assert_eq!(step(&mut s, ServerFrame::Deliver(span(2, 2, &[2])), at(0)), [""; 0]);
    assert_eq!(s.poll_timeout(), at(300));
    let mut out = Vec::new();
    s.handle_timeout(at(300), &mut out);
    assert_eq!(brief(&out), ["sync 0"]);
    let page = ServerFrame::Page { span: span(1, 1, &[1]), head: Seq(2) };
    assert_eq!(step(&mut s, page, at(310)), ["show 1 Page", "show 2 Deliver", "ack 2"]);
    assert!(!s.is_busy());
}

#[test]
fn a_gap_that_fills_by_itself_needs_no_sync() {
    let mut s = online();
    step(&mut s, ServerFrame::Deliver(span(2, 2, &[2])), at(0));
    assert_eq!(
        step(&mut s, ServerFrame::Deliver(span(1, 1, &[1])), at(10)),
        ["show 1 Deliver", "show 2 Deliver", "ack 2"]
    );
    assert!(!s.is_busy());
}

#[test]
fn a_span_that_holds_nothing_tells_how_far_the_log_goes() {
    let mut s = online();
    step(&mut s, ServerFrame::Deliver(span(1, 1, &[1])), at(0));
    // All of it has been shown: the ack was lost.
    assert_eq!(step(&mut s, ServerFrame::Deliver(span(2, 1, &[])), at(10)), ["ack 1"]);
    // There is more, and what arrives meanwhile does not make it forget that.
    assert_eq!(step(&mut s, ServerFrame::Deliver(span(5, 4, &[])), at(20)), [""; 0]);
    assert_eq!(step(&mut s, ServerFrame::Deliver(span(2, 2, &[2])), at(30)), ["show 2 Deliver", "ack 2"]);
    let mut out = Vec::new();
    s.handle_timeout(at(320), &mut out);
    assert_eq!(brief(&out), ["sync 2"]);
    let page = ServerFrame::Page { span: span(3, 4, &[3, 4]), head: Seq(4) };
    assert_eq!(step(&mut s, page, at(330)), ["show 3 Page", "show 4 Page", "ack 4"]);
    assert!(!s.is_busy());
}

#[test]
fn invisible_entries_leave_no_gap() {
    let mut s = online();
    let page = ServerFrame::Page { span: span(1, 12, &[10, 11]), head: Seq(12) };
    assert_eq!(step(&mut s, page, at(0)), ["skip 1..9", "show 10 Page", "show 11 Page", "skip 12..12", "ack 12"]);
}

#[test]
fn a_backlog_is_fetched_page_by_page() {
    let mut s = online();
    let heads = ServerFrame::Heads { heads: vec![Head { conversation: C, head: Seq(5) }] };
    assert_eq!(step(&mut s, heads, at(0)), ["sync 0"]);
    let page = |from, to, seqs: &[u64]| ServerFrame::Page { span: span(from, to, seqs), head: Seq(5) };
    assert_eq!(
        step(&mut s, page(1, 3, &[1, 2, 3]), at(1)),
        ["show 1 Page", "show 2 Page", "show 3 Page", "ack 3", "sync 3"]
    );
    assert_eq!(step(&mut s, page(4, 5, &[4, 5]), at(2)), ["show 4 Page", "show 5 Page", "ack 5"]);
    assert!(!s.is_busy());
}

#[test]
fn an_own_message_is_shown_where_its_ack_puts_it_even_before_the_entry_ahead_of_it_arrives() {
    let mut s = online();
    let mut out = Vec::new();
    s.send(C, ClientMsgId(99), Payload::Text("hi".into()), at(0), &mut out);
    assert_eq!(brief(&out), ["send 1"]);
    let sent = ServerFrame::Sent {
        conversation: C,
        client_msg_id: ClientMsgId(99),
        server_seq: Seq(2),
        stored_at_ms: 77,
    };
    assert_eq!(step(&mut s, sent.clone(), at(5)), ["stored 2"]);
    let mut out = Vec::new();
    s.handle_frame(ServerFrame::Deliver(span(1, 1, &[1])), at(6), &mut out);
    assert_eq!(brief(&out), ["show 1 Deliver", "show 2 Deliver", "ack 2"]);
    let own = out.iter().find_map(|output| match output {
        Output::Shown(shown) if shown.entry.client_msg_id == ClientMsgId(99) => Some(shown.entry.stored_at_ms),
        _ => None,
    });
    assert_eq!(own, Some(77), "the author shows the stamp that everybody shows");
    assert_eq!(step(&mut s, sent, at(7)), [""; 0]);
}

#[test]
fn an_own_message_that_comes_back_in_a_page_is_stored_without_its_ack() {
    let mut s = online();
    s.send(C, ClientMsgId(1), Payload::Text("hi".into()), at(0), &mut Vec::new());
    let mut own = span(1, 1, &[1]);
    (own.entries[0].sender, own.entries[0].device) = (ME, MINE);
    let page = ServerFrame::Page { span: own, head: Seq(1) };
    assert_eq!(step(&mut s, page, at(1)), ["show 1 Page", "stored 1", "ack 1"]);
    assert_eq!(s.unanswered(), 0);
}

#[test]
fn silence_after_a_heartbeat_or_a_send_ends_the_connection() {
    let mut s = online();
    let mut out = Vec::new();
    s.handle_timeout(at(30_000), &mut out);
    assert_eq!(brief(&out), ["ping"]);
    out.clear();
    s.handle_timeout(at(40_000), &mut out);
    assert_eq!(brief(&out), ["disconnect: no answer"]);
    assert!(matches!(s.phase(), Phase::Offline { retry_at } if retry_at >= at(40_250) && retry_at <= at(40_500)));

    let mut s = online();
    s.send(C, ClientMsgId(1), Payload::Text("hi".into()), at(0), &mut Vec::new());
    let mut seen = Vec::new();
    for ms in [3_000, 6_000, 9_000, 10_000] {
        let mut out = Vec::new();
        s.handle_timeout(at(ms), &mut out);
        seen.extend(brief(&out));
    }
    assert_eq!(seen, ["ping", "send 1", "send 1", "send 1", "disconnect: no answer"]);
}

#[test]
fn the_wait_before_a_new_attempt_grows_and_is_bounded() {
    let mut s = ClientSession::new(ME, MINE);
    s.come_back(at(0), &mut Vec::new());
    let mut waits = Vec::new();
    for _ in 0..12 {
        s.handle_disconnected(at(0));
        waits.push(s.poll_timeout().0 / 1_000);
        s.handle_timeout(s.poll_timeout(), &mut Vec::new());
    }
    assert!((250..=500).contains(&waits[0]) && (500..=1_000).contains(&waits[1]), "{waits:?}");
    assert!(waits[6..].iter().all(|w| (7_500..=15_000).contains(w)), "{waits:?}");
}

#[test]
fn a_new_connection_resends_and_says_so() {
    let mut s = online();
    s.send(C, ClientMsgId(1), Payload::Text("hi".into()), at(0), &mut Vec::new());
    s.handle_disconnected(at(1));
    s.send(C, ClientMsgId(2), Payload::Text("ho".into()), at(2), &mut Vec::new());
    let mut out = Vec::new();
    s.handle_timeout(s.poll_timeout(), &mut out);
    s.handle_connected("t".into(), at(600), &mut out);
    out.clear();
    s.handle_frame(WELCOME, at(700), &mut out);
    let cause = ResendCause::Connected;
    assert!(out.contains(&Output::Resent { conversation: C, client_msg_id: ClientMsgId(1), cause }));
    assert_eq!(brief(&out), ["send 1", "send 2"]);
}

#[test]
fn a_conversation_that_another_created_first_is_fetched() {
    let mut s = online();
    let create = Payload::Created { direct: true, channel: false, members: vec![ME, UserId(2)] };
    s.send(C, ClientMsgId(1), create, at(0), &mut Vec::new());
    s.send(C, ClientMsgId(2), Payload::Text("hi".into()), at(0), &mut Vec::new());
    let refused =
        ServerFrame::Refused { conversation: C, client_msg_id: ClientMsgId(1), reason: Refusal::Conflict };
    assert_eq!(step(&mut s, refused, at(1)), ["sync 0", "send 1"]);
}

/// The next connection of a device that waits for one: the count that it says hello with.
fn connect(s: &mut ClientSession) -> (u64, Time) {
    let now = s.poll_timeout();
    let mut out = Vec::new();
    s.handle_timeout(now, &mut out);
    assert_eq!(out, [Output::Connect]);
    s.handle_connected("t".into(), now, &mut out);
    s.handle_frame(WELCOME, now, &mut Vec::new());
    (s.connect_count(), now)
}

fn stale(connect_count: u64, superseded: bool) -> ServerFrame {
    ServerFrame::Stale { connect_count, superseded }
}

#[test]
fn a_device_behind_its_count_hears_all_that_is_known_of_it_and_goes_on_from_the_highest() {
    let mut s = online();
    assert_eq!(step(&mut s, stale(86_400, false), at(10)), [""; 0]);
    assert!(!s.is_online());
    assert_eq!(step(&mut s, stale(86_403, false), at(20)), [""; 0]);
    assert_eq!(step(&mut s, stale(86_401, false), at(30)), [""; 0]);
    assert_eq!(s.poll_timeout(), at(260));
    let mut out = Vec::new();
    s.handle_timeout(at(260), &mut out);
    assert_eq!(brief(&out), ["disconnect: stale count"]);
    let (count, now) = connect(&mut s);
    assert_eq!(count, 86_404);
    assert!(now < at(1_000), "{now:?}");
    // What an old connection is still told, late, changes nothing.
    step(&mut s, stale(5, false), now);
    assert_eq!(s.connect_count(), 86_404);
}

#[test]
fn a_hello_that_somebody_says_again_never_stops_a_device() {
    let mut s = online();
    for _ in 0..50 {
        let own = s.connect_count();
        let now = s.poll_timeout();
        assert_eq!(step(&mut s, stale(own, true), now), [""; 0]);
        s.handle_disconnected(now);
        assert_eq!(connect(&mut s).0, own + 1);
    }
}

#[test]
fn the_second_time_that_another_window_takes_its_place_a_device_stops_until_its_person_takes_it_up() {
    let mut s = online();
    step(&mut s, stale(9, true), at(1_000));
    s.handle_disconnected(at(1_000));
    let (count, _) = connect(&mut s);
    assert_eq!(count, 10);
    // Long after is another story.
    step(&mut s, stale(11, true), at(70_000));
    s.handle_disconnected(at(70_000));
    assert_eq!(connect(&mut s).0, 12);
    assert_eq!(step(&mut s, stale(13, true), at(75_000)), ["disconnect: open elsewhere", "stopped"]);
    s.handle_disconnected(at(75_001));
    assert_eq!((s.phase(), s.poll_timeout()), (Phase::Stopped, Time::NEVER));
    let mut out = Vec::new();
    s.come_back(at(90_000), &mut out);
    assert_eq!((out, s.connect_count()), (vec![Output::Connect], 13));
}

#[test]
fn a_count_that_no_gateway_takes_is_set_right_before_the_welcome() {
    let mut s = ClientSession::new(ME, MINE);
    s.set_connect_count(u64::MAX);
    s.come_back(at(0), &mut Vec::new());
    s.handle_connected("t".into(), at(0), &mut Vec::new());
    step(&mut s, stale(1_800_000_000, false), at(1));
    s.handle_disconnected(at(2));
    assert_eq!(connect(&mut s).0, 1_800_000_001);
}

fn send(s: &mut ClientSession, id: u128, now: Time) {
    s.send(C, ClientMsgId(id), Payload::Text("x".into()), now, &mut Vec::new());
}

/// Lets time pass, second by second, with an answer to every ping while the gateway lives; what the device says of its connection.
fn wait(s: &mut ClientSession, from: u64, to: u64, gateway_lives: bool) -> Vec<String> {
    let mut all = Vec::new();
    for second in from + 1..=to {
        let now = at(second * 1_000);
        let said = timeout(s, now);
        if gateway_lives && said.iter().any(|said| said == "ping") {
            step(s, ServerFrame::Pong, now);
        }
        all.extend(
            said.into_iter().filter(|said| said.starts_with("disconnect")).map(|said| format!("{second}: {said}")),
        );
    }
    all
}

fn timeout(s: &mut ClientSession, now: Time) -> Vec<String> {
    let mut out = Vec::new();
    s.handle_timeout(now, &mut out);
    brief(&out)
}

#[test]
fn a_shard_that_is_down_makes_nobody_leave_a_gateway_that_answers_all_else() {
    let mut s = online();
    send(&mut s, 1, at(0));
    assert_eq!(wait(&mut s, 0, 59, true), [""; 0]);
    // Perhaps it is this gateway that cannot reach the shard.
    assert_eq!(wait(&mut s, 59, 61, true), ["60: disconnect: no answer"]);
}

#[test]
fn a_shard_that_is_busy_has_answered() {
    let mut s = online();
    send(&mut s, 1, at(0));
    let busy = ServerFrame::Refused { conversation: C, client_msg_id: ClientMsgId(1), reason: Refusal::Busy };
    for minute in 0..5 {
        assert_eq!(wait(&mut s, minute * 50, (minute + 1) * 50, true), [""; 0]);
        step(&mut s, busy.clone(), at((minute + 1) * 50_000));
    }
}

#[test]
fn a_connection_that_is_half_open_is_noticed_within_ten_seconds_of_a_send() {
    let mut s = online();
    send(&mut s, 1, at(0));
    assert_eq!(wait(&mut s, 0, 12, false), ["10: disconnect: no answer"]);
    let mut s = online();
    send(&mut s, 1, at(0));
    assert_eq!(wait(&mut s, 0, 20, true), [""; 0]);
    let left = wait(&mut s, 20, 40, false);
    let second: u64 = left[0].split(':').next().unwrap().parse().unwrap();
    assert!(second <= 30, "{left:?}");
}

#[test]
fn conversations_whose_shard_is_down_leave_slots_to_the_others() {
    let mut s = online();
    // Twenty conversations on a shard that answers nothing, and then one on another.
    let head = |n: u128| frames::Head { conversation: ConversationId(n), head: Seq(1) };
    step(&mut s, ServerFrame::Heads { heads: (1..=20).map(head).collect() }, at(0));
    assert_eq!(s.syncs_open(), limits::MAX_SYNCS_OPEN);
    let retry = limits::SYNC_RETRY_AFTER.as_millis() as u64;
    let mut asked = std::collections::BTreeMap::new();
    for round in 1..=12 {
        let mut out = Vec::new();
        s.handle_timeout(at(round * retry), &mut out);
        let syncs = out.iter().filter_map(|o| match o {
            Output::Transmit(ClientFrame::Sync { conversation, .. }) => Some(*conversation),
            _ => None,
        });
        syncs.for_each(|conversation| *asked.entry(conversation).or_insert(0) += 1);
        step(&mut s, ServerFrame::Pong, at(round * retry));
    }
    assert!(s.syncs_open() <= limits::MAX_SYNCS_OPEN / 2, "{}", s.syncs_open());
    // Each is asked for again in its turn.
    assert!(asked.len() == 20 && asked.values().all(|times| (2..=3).contains(times)), "{asked:?}");
    assert_eq!(step(&mut s, ServerFrame::Heads { heads: vec![head(99)] }, at(12 * retry + 1)), ["sync 0"]);
}

#[test]
fn a_device_that_is_told_to_come_back_reads_on_sends_nothing_and_connects_when_it_was_told() {
    let mut s = online();
    send(&mut s, 1, at(10));
    assert_eq!(step(&mut s, ServerFrame::ComeBack { after_ms: 417 }, at(20)), [""; 0]);
    assert!(!s.is_online());
    let mut out = Vec::new();
    s.send(C, ClientMsgId(2), Payload::Text("x".into()), at(30), &mut out);
    assert!(out.is_empty(), "what is said now waits: {out:?}");
    let sent =
        ServerFrame::Sent { conversation: C, client_msg_id: ClientMsgId(1), server_seq: Seq(1), stored_at_ms: 0 };
    assert_eq!(step(&mut s, sent, at(40)), ["stored 1", "show 1 Ack"]);
    assert_eq!(step(&mut s, ServerFrame::Deliver(span(2, 2, &[2])), at(50)), ["show 2 Deliver", "ack 2"]);
    s.handle_disconnected(at(1_020));
    assert_eq!(s.poll_timeout(), at(1_437));
    s.handle_timeout(at(1_437), &mut out);
    assert_eq!((out.pop(), s.connect_count()), (Some(Output::Connect), 2));
    s.handle_connected("t".into(), at(1_500), &mut Vec::new());
    assert_eq!(step(&mut s, WELCOME, at(1_510)), ["send 2"]);
}

#[test]
fn a_device_that_nobody_closes_leaves_by_itself_and_none_stays_away_for_long() {
    let mut s = online();
    step(&mut s, ServerFrame::ComeBack { after_ms: u64::MAX }, at(1_000));
    assert_eq!(s.poll_timeout(), at(6_000));
    assert_eq!(timeout(&mut s, at(6_000)), ["disconnect: asked to leave"]);
    assert_eq!(s.poll_timeout(), at(21_000));
}
