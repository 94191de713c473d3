//! The device, input by output.

use squall_core::Time;
use squall_core::client::{ClientSession, Output, Phase};
use squall_protocol::*;

const C: ConversationId = ConversationId(7);
const ME: UserId = UserId(1);
const MINE: DeviceId = DeviceId(10);

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
    assert_eq!(out, [Output::Transmit(ClientFrame::Hello { token: "t".into(), connect_count: 1 })]);
    s.handle_frame(ServerFrame::Welcome { user: ME, device: MINE }, at(0), &mut Vec::new());
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
            Output::Connect => Some("connect".into()),
            Output::Transmit(frame) => Some(format!("{frame:?}")),
            Output::Online | Output::Resent { .. } | Output::Refused { .. } | Output::Arrived { .. } => None,
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
    own.entries[0].device = MINE;
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
    assert_eq!(seen, ["send 1", "send 1", "send 1", "disconnect: no answer"]);
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
    s.handle_frame(ServerFrame::Welcome { user: ME, device: MINE }, at(700), &mut out);
    assert!(out.contains(&Output::Resent { conversation: C, client_msg_id: ClientMsgId(1) }));
    assert_eq!(brief(&out), ["send 1", "send 2"]);
}

#[test]
fn a_conversation_that_another_created_first_is_fetched() {
    let mut s = online();
    let create = Payload::Created { direct: true, members: vec![ME, UserId(2)] };
    s.send(C, ClientMsgId(1), create, at(0), &mut Vec::new());
    s.send(C, ClientMsgId(2), Payload::Text("hi".into()), at(0), &mut Vec::new());
    let refused =
        ServerFrame::Refused { conversation: C, client_msg_id: ClientMsgId(1), reason: Refusal::Conflict };
    assert_eq!(step(&mut s, refused, at(1)), ["sync 0", "send 1"]);
}
