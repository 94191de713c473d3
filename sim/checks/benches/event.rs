//! What the checks cost for an event, with as many messages and conversations behind them as a large run has.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use squall_checks::{Checks, Config};
use squall_history::{Entity, Event, Kind, Via, What};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};
use std::hint::black_box;

const DEVICES: u64 = 200_000;
/// Events that one message makes here: sent, acked, delivered, displayed twice.
const EVENTS: u64 = 5;

struct Run {
    checks: Checks,
    messages: u64,
}

impl Run {
    /// The `messages`th message, from one device of a pair to the other.
    fn message(&mut self) {
        let (n, t) = (self.messages, self.messages * 10);
        self.messages += 1;
        let pair = n.wrapping_mul(7_919) % (DEVICES / 2);
        let round = n / (DEVICES / 2);
        let (sender, reader) = (DeviceId(2 * pair + 1), DeviceId(2 * pair + 2));
        let conversation = ConversationId::direct(UserId(sender.0), UserId(reader.0));
        let (client_msg_id, seq) = (ClientMsgId(u128::from(n) << 64 | 0x5a), Seq(round + 1));
        let (user, what, body_hash) = (UserId(sender.0), What::Text, 7);
        let mut event = |device, kind| self.checks.observe(&Event { t, at: Entity::Device(device), kind });
        let send = Kind::Send { conversation, sender: user, client_msg_id, body_hash, what, members: Vec::new() };
        event(sender, send);
        event(sender, Kind::Sent { conversation, client_msg_id, seq, stored_at_ms: 1 });
        event(
            reader,
            Kind::Deliver { conversation, from: seq, to: seq, entries: 1, via: Via::Deliver, held: Vec::new() },
        );
        for (device, via) in [(sender, Via::Ack), (reader, Via::Deliver)] {
            let display = Kind::Display {
                user: UserId(device.0),
                conversation,
                seq,
                sender: user,
                client_msg_id,
                body_hash,
                what,
                via,
            };
            event(device, display);
        }
    }
}

fn events(c: &mut Criterion) {
    let mut run = Run { checks: Checks::new(Config { shards: vec![3, 4], ..Config::default() }), messages: 0 };
    (0..2 * DEVICES).for_each(|_| run.message());
    let mut group = c.benchmark_group("checks");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("the events of a message among 400,000", |b| b.iter(|| black_box(&mut run).message()));
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
