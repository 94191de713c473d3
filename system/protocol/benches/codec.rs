//! Encoding and decoding each frame between devices and gateways, in JSON and in Protobuf.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use squall_protocol::frames::{ErrorCode, Head};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, DeviceId, Entry, LogSpan, Payload, Refusal, Seq,
    ServerFrame, UserId,
};
use std::hint::black_box;

const C: ConversationId = ConversationId(8_931_285_958_368_201_001);
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

fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let payload = Payload::Text("x".repeat(200));
    vec![
        ("hello", ClientFrame::Hello { token: "x".repeat(90), connect_count: 7 }),
        ("ping", ClientFrame::Ping),
        ("send", ClientFrame::Send { conversation: C, client_msg_id: ID, client_seq: ClientSeq(3), payload }),
        ("ack", ClientFrame::Ack { conversation: C, up_to_seq: Seq(9) }),
        ("sync", ClientFrame::Sync { conversation: C, since_seq: Seq(9) }),
    ]
}

fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    vec![
        ("welcome", ServerFrame::Welcome { user: UserId(u64::MAX / 3), device: DeviceId(500_001) }),
        ("pong", ServerFrame::Pong),
        ("sent", ServerFrame::Sent { conversation: C, client_msg_id: ID, server_seq: Seq(4) }),
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
        ("error", ServerFrame::Error { conversation: C, code: ErrorCode::NotAMember }),
    ]
}

fn codecs(c: &mut Criterion) {
    for codec in Codec::ALL {
        let mut group = c.benchmark_group(format!("{codec:?}").to_lowercase());
        for (name, frame) in client_frames() {
            let bytes = codec.encode_client(&frame);
            group.bench_function(format!("encode {name}"), |b| b.iter(|| codec.encode_client(black_box(&frame))));
            group.bench_function(format!("decode {name}"), |b| {
                b.iter_batched(|| &bytes, |bytes| codec.decode_client(black_box(bytes)), BatchSize::SmallInput)
            });
        }
        for (name, frame) in server_frames() {
            let bytes = codec.encode_server(&frame);
            group.bench_function(format!("encode {name}"), |b| b.iter(|| codec.encode_server(black_box(&frame))));
            group.bench_function(format!("decode {name}"), |b| {
                b.iter_batched(|| &bytes, |bytes| codec.decode_server(black_box(bytes)), BatchSize::SmallInput)
            });
        }
        group.finish();
    }
}

criterion_group!(benches, codecs);
criterion_main!(benches);
