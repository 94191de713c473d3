//! One of each frame, as it looks under load: for the tests and for the benchmark. `codecs.rs` fails while a frame is missing.

use squall_protocol::frames::{ErrorCode, Head, Seen};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, ConversationId, DeviceId, Entry, LogSpan, Payload, Receipt, Receipts,
    Refusal, Seq, ServerFrame, UserId,
};

const C: ConversationId = ConversationId::direct(UserId(u64::MAX / 3), UserId(u64::MAX / 5));
const ID: ClientMsgId = ClientMsgId(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);

fn entry(seq: u64) -> Entry {
    Entry {
        seq: Seq(seq),
        sender: UserId(u64::MAX / 3),
        device: DeviceId(500_001),
        client_msg_id: ID,
        client_seq: ClientSeq(seq),
        stored_at_ms: 1_767_225_600_000,
        payload: Payload::Text("x".repeat(200)),
    }
}

fn span(entries: u64) -> LogSpan {
    LogSpan { conversation: C, from: Seq(1), to: Seq(entries), entries: (1..=entries).map(entry).collect() }
}

pub fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let payload = Payload::Text("x".repeat(200));
    vec![
        ("hello", ClientFrame::Hello { token: "x".repeat(190).into(), connect_count: 7, invisible: false }),
        ("refresh", ClientFrame::Refresh { token: "x".repeat(190).into() }),
        ("ping", ClientFrame::Ping),
        ("send", ClientFrame::Send { conversation: C, client_msg_id: ID, client_seq: ClientSeq(3), payload }),
        ("ack", ClientFrame::Ack { conversation: C, up_to_seq: Seq(9) }),
        ("read", ClientFrame::Read { conversation: C, up_to_seq: Seq(9) }),
        ("sync", ClientFrame::Sync { conversation: C, since_seq: Seq(9) }),
        ("typing", ClientFrame::Typing { conversation: C }),
        ("watch", ClientFrame::Watch { conversation: C, users: (1..=10).map(UserId).collect() }),
        ("unwatch", ClientFrame::Unwatch { conversation: C }),
        ("invisible", ClientFrame::Invisible { on: true }),
    ]
}

pub fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    vec![
        (
            "welcome",
            ServerFrame::Welcome {
                user: UserId(u64::MAX / 3),
                device: DeviceId(500_001),
                expires_in_ms: 86_400_000,
            },
        ),
        ("refreshed", ServerFrame::Refreshed { expires_in_ms: 86_400_000 }),
        ("pong", ServerFrame::Pong),
        (
            "sent",
            ServerFrame::Sent {
                conversation: C,
                client_msg_id: ID,
                server_seq: Seq(4),
                stored_at_ms: 1_767_225_600_000,
            },
        ),
        (
            "refused",
            ServerFrame::Refused {
                conversation: C,
                client_msg_id: ID,
                reason: Refusal::ExpectedClientSeq(ClientSeq(3)),
            },
        ),
        ("deliver", ServerFrame::Deliver(span(1))),
        ("page of 200", ServerFrame::Page { span: span(200), head: Seq(900) }),
        (
            "heads",
            ServerFrame::Heads { heads: (1..=20).map(|n| Head { conversation: C, head: Seq(n) }).collect() },
        ),
        ("stale", ServerFrame::Stale { connect_count: 1_767_225_600, superseded: true }),
        (
            "receipts",
            ServerFrame::Receipts {
                receipts: vec![Receipts {
                    conversation: C,
                    users: vec![Receipt { user: UserId(u64::MAX / 3), delivered: Seq(9), read: Seq(8) }],
                    counts: None,
                }],
            },
        ),
        ("come back", ServerFrame::ComeBack { after_ms: 417 }),
        ("typing", ServerFrame::Typing { conversation: C, user: UserId(u64::MAX / 3) }),
        (
            "presence",
            ServerFrame::Presence {
                user: UserId(u64::MAX / 3),
                state: Seen::Offline,
                last_seen_ms: 1_767_225_600_000,
            },
        ),
        ("error", ServerFrame::Error { conversation: C, code: ErrorCode::NotAMember }),
    ]
}
