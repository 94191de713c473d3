//! Both codecs carry every frame there and back, and refuse what is no frame without a panic. Every frame is tried, and all
//! that a device must know is in the reference.

mod samples;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;
use squall_protocol::close::CloseReason;
use squall_protocol::frames::ErrorCode;
use squall_protocol::*;
use std::collections::BTreeSet;
use std::fmt::Debug;

fn users() -> impl Strategy<Value = Users> {
    prop::collection::vec(any::<u64>().prop_map(UserId), 0..4).prop_map(Users::from)
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        ".{0,40}".prop_map(Payload::Text),
        (any::<[bool; 2]>(), prop::collection::vec(any::<u64>().prop_map(UserId), 0..5))
            .prop_map(|([direct, channel], members)| Payload::Created { direct, channel, members }),
        (any::<u64>(), prop::sample::select(vec![Rank::Member, Rank::Admin, Rank::Owner]))
            .prop_map(|(user, rank)| Payload::Role { user: UserId(user), rank }),
        (prop::sample::select(Right::ALL.to_vec()), prop::sample::select(Holders::ALL.to_vec()))
            .prop_map(|(right, who)| Payload::Setting { right, who }),
        ".{0,40}".prop_map(Payload::Named),
        any::<bool>().prop_map(Payload::Blocked),
        any::<bool>().prop_map(Payload::ForGood),
        users().prop_map(Payload::Joined),
        users().prop_map(Payload::Left),
    ]
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        (".{0,40}", any::<u64>(), any::<bool>()).prop_map(|(token, connect_count, invisible)| {
            ClientFrame::Hello { token: token.into(), connect_count, invisible }
        }),
        (any::<u128>(), prop::collection::vec(any::<u64>(), 0..4)).prop_map(|(c, users)| ClientFrame::Watch {
            conversation: ConversationId(c),
            users: users.into_iter().map(UserId).collect()
        }),
        any::<u128>().prop_map(|c| ClientFrame::Unwatch { conversation: ConversationId(c) }),
        any::<bool>().prop_map(|on| ClientFrame::Invisible { on }),
        (any::<u128>(), any::<u128>(), any::<u64>(), payload()).prop_map(|(c, id, n, payload)| {
            ClientFrame::Send {
                conversation: ConversationId(c),
                client_msg_id: ClientMsgId(id),
                client_seq: ClientSeq(n),
                payload,
            }
        }),
        (any::<u128>(), any::<u64>())
            .prop_map(|(c, s)| ClientFrame::Ack { conversation: ConversationId(c), up_to_seq: Seq(s) }),
        (any::<u128>(), any::<u64>())
            .prop_map(|(c, s)| ClientFrame::Sync { conversation: ConversationId(c), since_seq: Seq(s) }),
        (any::<u128>(), any::<u64>())
            .prop_map(|(c, s)| ClientFrame::Read { conversation: ConversationId(c), up_to_seq: Seq(s) }),
        Just(ClientFrame::Ping),
        ".{0,40}".prop_map(|token| ClientFrame::Refresh { token: token.into() }),
        any::<u128>().prop_map(|c| ClientFrame::Typing { conversation: ConversationId(c) }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (any::<[u64; 5]>(), any::<u128>(), payload()).prop_map(|([seq, sender, device, n, ms], id, payload)| Entry {
        seq: Seq(seq),
        sender: UserId(sender),
        device: DeviceId(device),
        client_msg_id: ClientMsgId(id),
        client_seq: ClientSeq(n),
        stored_at_ms: ms,
        payload,
    })
}

fn span() -> impl Strategy<Value = LogSpan> {
    (any::<u128>(), any::<[u64; 2]>(), prop::collection::vec(entry(), 0..4)).prop_map(
        |(c, [from, to], entries)| LogSpan {
            conversation: ConversationId(c),
            from: Seq(from),
            to: Seq(to),
            entries,
        },
    )
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u64>().prop_map(|n| Refusal::ExpectedClientSeq(ClientSeq(n))),
        any::<u64>().prop_map(|retry_after_ms| Refusal::TooOften { retry_after_ms }),
        prop::sample::select(vec![
            Refusal::UnknownConversation,
            Refusal::NotAMember,
            Refusal::BodyTooLarge,
            Refusal::GroupTooLarge,
            Refusal::Conflict,
            Refusal::NotAllowed,
            Refusal::Blocked,
            Refusal::Busy
        ]),
    ]
}

fn receipts() -> impl Strategy<Value = Receipts> {
    let user = any::<[u64; 3]>().prop_map(|[user, delivered, read]| Receipt {
        user: UserId(user),
        delivered: Seq(delivered),
        read: Seq(read),
    });
    let counts = any::<[u64; 3]>().prop_map(|[up_to, delivered, read]| ReceiptCounts {
        up_to: Seq(up_to),
        delivered,
        read,
    });
    (any::<u128>(), prop::collection::vec(user, 0..4), prop::option::of(counts))
        .prop_map(|(c, users, counts)| Receipts { conversation: ConversationId(c), users, counts })
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let (conversation, id) = (any::<u128>().prop_map(ConversationId), any::<u128>().prop_map(ClientMsgId));
    prop_oneof![
        any::<[u64; 3]>().prop_map(|[u, d, expires_in_ms]| ServerFrame::Welcome {
            user: UserId(u),
            device: DeviceId(d),
            expires_in_ms
        }),
        any::<u64>().prop_map(|expires_in_ms| ServerFrame::Refreshed { expires_in_ms }),
        (conversation.clone(), id.clone(), any::<[u64; 2]>()).prop_map(
            |(conversation, client_msg_id, [s, stored_at_ms])| {
                ServerFrame::Sent { conversation, client_msg_id, server_seq: Seq(s), stored_at_ms }
            }
        ),
        (conversation.clone(), id, refusal()).prop_map(|(conversation, client_msg_id, reason)| {
            ServerFrame::Refused { conversation, client_msg_id, reason }
        }),
        span().prop_map(ServerFrame::Deliver),
        (span(), any::<u64>()).prop_map(|(span, head)| ServerFrame::Page { span, head: Seq(head) }),
        prop::collection::vec((conversation.clone(), any::<u64>()), 0..5).prop_map(|heads| ServerFrame::Heads {
            heads: heads.into_iter().map(|(conversation, h)| Head { conversation, head: Seq(h) }).collect()
        }),
        Just(ServerFrame::Pong),
        (conversation, prop::sample::select(vec![ErrorCode::UnknownConversation, ErrorCode::NotAMember]))
            .prop_map(|(conversation, code)| ServerFrame::Error { code, conversation }),
        (any::<u64>(), any::<bool>())
            .prop_map(|(connect_count, superseded)| ServerFrame::Stale { connect_count, superseded }),
        any::<u64>().prop_map(|after_ms| ServerFrame::ComeBack { after_ms }),
        (any::<u128>(), any::<u64>())
            .prop_map(|(c, user)| ServerFrame::Typing { conversation: ConversationId(c), user: UserId(user) }),
        prop::collection::vec(receipts(), 0..4).prop_map(|receipts| ServerFrame::Receipts { receipts }),
        (any::<[u64; 2]>(), prop::sample::select(Seen::ALL.to_vec())).prop_map(|([user, last_seen_ms], state)| {
            ServerFrame::Presence { user: UserId(user), state, last_seen_ms }
        }),
    ]
}

proptest! {
    #[test]
    fn client_frames_survive_each_codec(frame in client_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(&codec.decode_client(&codec.encode_client(&frame)).unwrap(), &frame);
        }
    }

    #[test]
    fn server_frames_survive_each_codec(frame in server_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(&codec.decode_server(&codec.encode_server(&frame)).unwrap(), &frame);
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in Codec::ALL {
            let _ = codec.decode_client(&bytes);
            let _ = codec.decode_server(&bytes);
        }
    }

    /// A text that names the frame at its end, or with a space, is read in serde's own way.
    #[test]
    fn json_reads_a_frame_the_same_wherever_it_says_which_it_is(client in client_frame(), server in server_frame()) {
        let text = Codec::Json.encode_client(&client);
        for moved in elsewhere(&text) {
            prop_assert_eq!(Codec::Json.decode_client(moved.as_bytes()).unwrap(), client.clone(), "{}", moved);
        }
        let text = Codec::Json.encode_server(&server);
        for moved in elsewhere(&text) {
            prop_assert_eq!(Codec::Json.decode_server(moved.as_bytes()).unwrap(), server.clone(), "{}", moved);
        }
    }

    #[test]
    fn a_cut_frame_is_no_other_frame(frame in client_frame(), cut in 1usize..20) {
        let bytes = Codec::Json.encode_client(&frame);
        prop_assert!(Codec::Json.decode_client(&bytes[..bytes.len().saturating_sub(cut)]).is_err());
    }
}

/// The same frame, with its `op` last, and with a space before it.
fn elsewhere(text: &[u8]) -> [String; 2] {
    let text = std::str::from_utf8(text).unwrap();
    let spaced = text.replacen('{', "{ ", 1);
    let last = match text.strip_prefix('{').unwrap().split_once(',') {
        Some((op, fields)) => format!("{{{},{op}}}", fields.strip_suffix('}').unwrap()),
        None => text.to_owned(),
    };
    [spaced, last]
}

#[test]
fn json_refuses_a_frame_that_says_twice_which_it_is() {
    let text = String::from_utf8(
        Codec::Json.encode_client(&ClientFrame::Ack { conversation: ConversationId(1), up_to_seq: Seq(2) }),
    );
    let text = text.unwrap();
    for second in ["ack", "sync"] {
        let twice = text.replacen('}', &format!(r#","op":"{second}"}}"#), 1);
        assert!(Codec::Json.decode_client(twice.as_bytes()).is_err(), "{twice}");
    }
}

#[test]
fn json_reads_as_documented() {
    let frame = ClientFrame::Send {
        conversation: ConversationId(u128::MAX),
        client_msg_id: ClientMsgId(1),
        client_seq: ClientSeq(2),
        payload: Payload::Text("hi".into()),
    };
    assert_eq!(
        String::from_utf8(Codec::Json.encode_client(&frame)).unwrap(),
        r#"{"op":"send","conversation":"340282366920938463463374607431768211455","client_msg_id":"00000000-0000-0000-0000-000000000001","client_seq":2,"payload":{"text":"hi"}}"#
    );
    assert_eq!(String::from_utf8(Codec::Json.encode_server(&ServerFrame::Pong)).unwrap(), r#"{"op":"pong"}"#);
}

#[test]
fn a_protobuf_frame_without_its_parts_is_malformed() {
    assert!(Codec::Protobuf.decode_client(&[]).is_err());
    assert!(Codec::Protobuf.decode_server(&[]).is_err());
}

/// The names of an enum's variants in JSON, as serde tells them to whoever says a wrong one.
fn variants<T: DeserializeOwned + Debug>(wrong: &str) -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(wrong).unwrap_err().to_string();
    let quoted: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(error.contains("unknown variant") && !quoted.is_empty(), "{error}");
    quoted
}

fn client_ops() -> BTreeSet<String> {
    variants::<ClientFrame>(r#"{"op":"?"}"#)
}

fn server_ops() -> BTreeSet<String> {
    variants::<ServerFrame>(r#"{"op":"?"}"#)
}

/// The name of this value's variant in JSON: a frame's `op`, else the only key, else the text itself.
fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value).unwrap() {
        serde_json::Value::Object(mut fields) => match fields.remove("op") {
            Some(op) => op.as_str().unwrap().to_owned(),
            None => fields.keys().next().unwrap().clone(),
        },
        text => text.as_str().unwrap().to_owned(),
    }
}

/// The variants that a strategy comes to.
fn tried<T: Serialize + Debug>(strategy: impl Strategy<Value = T>) -> BTreeSet<String> {
    let mut runner = TestRunner::deterministic();
    (0..1_000).map(|_| name_of(&strategy.new_tree(&mut runner).unwrap().current())).collect()
}

#[test]
fn every_frame_and_reason_is_tried() {
    assert_eq!(tried(client_frame()), client_ops());
    assert_eq!(tried(server_frame()), server_ops());
    assert_eq!(tried(payload()), variants::<Payload>(r#"{"?":0}"#));
    assert_eq!(tried(refusal()), variants::<Refusal>(r#""?""#));
}

#[test]
fn every_frame_has_a_sample_for_the_benchmark() {
    let ops = |frames: Vec<String>| frames.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(ops(samples::client_frames().iter().map(|(_, frame)| name_of(frame)).collect()), client_ops());
    assert_eq!(ops(samples::server_frames().iter().map(|(_, frame)| name_of(frame)).collect()), server_ops());
}

#[test]
fn the_reference_has_a_row_for_all_that_a_device_must_know() {
    let reference = include_str!("../README.md");
    let has_row = |name: &str| reference.lines().any(|line| line.starts_with(&format!("| `{name}` |")));
    let names = [client_ops(), server_ops(), variants::<Refusal>(r#""?""#), variants::<ErrorCode>(r#""?""#)];
    let codes = CloseReason::ALL.iter().map(|reason| reason.code().to_string());
    let missing: Vec<String> = names.into_iter().flatten().chain(codes).filter(|name| !has_row(name)).collect();
    assert!(missing.is_empty(), "README.md of this crate has no row for {missing:?}");
}
