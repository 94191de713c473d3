//! A commit of messages, by how many are in it: on the simulated disk and on this machine's own.
//!
//! Each commit goes to a growing database, to conversations of which each has two members and gets a message now and then.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use squall_core::messages::{Conversation, LogDelta, SendOutcome, SendRequest};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Payload, UserId};
use squall_server::net::BoxFuture;
use squall_server::storage::{Batch, Commit, CommitExecutor, Doubt, NewEntry, RedbStorage, Storage, StorageError};
use squall_world::disk::{Disk, DiskConfig};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const CACHE_BYTES: usize = 8 << 20;
const CONVERSATIONS: u64 = 20_000;

/// Commits where it is called.
struct Here;

impl CommitExecutor for Here {
    fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(async move { commit() })
    }
}

/// A shard's memory of its conversations, as far as commits need it.
#[derive(Default)]
struct Writer {
    logs: BTreeMap<u64, Conversation>,
    position: u64,
}

impl Writer {
    fn batch(&mut self, messages: u64) -> Batch {
        let mut batch = Batch::default();
        let (mut places, mut staged) = (BTreeMap::new(), Vec::new());
        for _ in 0..messages {
            // Far apart, as conversations of a shard are.
            let number = self.position.wrapping_mul(7_919) % CONVERSATIONS;
            let (user, mate) = (UserId(2 * number + 1), UserId(2 * number + 2));
            let id = ConversationId::direct(user, mate);
            let log = self.logs.entry(number).or_insert_with(|| Conversation::new(id));
            let payload = match log.head().0 {
                0 => Payload::Created { direct: true, channel: false, members: vec![user, mate] },
                _ => Payload::Text("x".repeat(200)),
            };
            let device = DeviceId(user.0);
            let request = SendRequest {
                sender: user,
                device,
                connect_count: 1,
                client_msg_id: ClientMsgId(u128::from(self.position) << 64 | 0x5a),
                client_seq: log.next_client_seq((user, device)),
                payload,
                stored_at_ms: 1_767_225_600_000 + self.position,
            };
            let SendOutcome::Staged(entry) = log.handle_send(request) else {
                unreachable!("every send is in order")
            };
            let place = *places.entry(number).or_insert_with(|| {
                batch.logs.push(LogDelta::of(log));
                batch.logs.len() - 1
            });
            staged.push((place, number, entry.clone()));
            batch.entries.push(NewEntry { position: self.position, conversation: id, entry });
            self.position += 1;
        }
        for (place, number, entry) in staged {
            let log = self.logs.get_mut(&number).expect("it has been written to");
            let delta = &mut batch.logs[place];
            delta.head = log.head();
            delta.note(log, &entry);
            log.handle_durable(entry.seq);
        }
        batch
    }
}

fn append(storage: &RedbStorage, batch: Batch) {
    let polled = pin!(storage.append(batch)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))), "the commit is durable");
}

fn commits(c: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("squall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let mut group = c.benchmark_group("commit");
    for messages in [1, 10, 100] {
        group.throughput(Throughput::Elements(messages));
        let disk = Disk::new(1, DiskConfig::default());
        let simulated =
            RedbStorage::create_backend(disk.open(), CACHE_BYTES, Arc::new(Here)).expect("a fresh disk");
        let mut writer = Writer::default();
        group.bench_with_input(BenchmarkId::new("simulated disk", messages), &messages, |b, messages| {
            b.iter_batched(
                || writer.batch(*messages),
                |batch| append(&simulated, batch),
                criterion::BatchSize::PerIteration,
            );
        });
        let file = folder.join(format!("{messages}.redb"));
        RedbStorage::create_file(&file).expect("a fresh file");
        let real =
            RedbStorage::open_file(&file, &Doubt::default(), CACHE_BYTES, Arc::new(Here)).expect("a fresh file");
        let mut writer = Writer::default();
        group.bench_with_input(BenchmarkId::new("this machine's disk", messages), &messages, |b, messages| {
            b.iter_batched(
                || writer.batch(*messages),
                |batch| append(&real, batch),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    let _ = std::fs::remove_dir_all(&folder);
}

criterion_group!(benches, commits);
criterion_main!(benches);
