//! A message through the machines of its path, without codec, network or disk: sent, staged, durable, planned, shown, acked.

use criterion::{Criterion, criterion_group, criterion_main};
use squall_core::Time;
use squall_core::client::{ClientSession, Output};
use squall_core::messages::{
    Answered, Conversation, Debtor, Debts, Part, Planner, SendOutcome, SendRequest, targets_by_gateway,
};
use squall_core::registry::Location;
use squall_core::registry::{Registration, RegistryTable, SessionId};
use squall_protocol::{
    ClientFrame, ClientMsgId, ConversationId, DeviceId, Entry, LogSpan, Payload, ServerFrame, UserId,
};
use std::hint::black_box;
use std::time::Duration;

const A: UserId = UserId(1);
const B: UserId = UserId(2);

struct Path {
    sender: ClientSession,
    reader: ClientSession,
    log: Conversation,
    registry: RegistryTable,
    gateway: SessionId,
    planner: Planner<ConversationId>,
    debts: Debts,
    now: Time,
    messages: u64,
    out: Vec<Output>,
}

fn online(user: UserId, device: DeviceId) -> ClientSession {
    let mut session = ClientSession::new(user, device);
    let mut out = Vec::new();
    session.come_back(Time::ZERO, &mut out);
    session.handle_connected("token".into(), Time::ZERO, &mut out);
    session.handle_frame(ServerFrame::Welcome { user, device, expires_in_ms: u64::MAX }, Time::ZERO, &mut out);
    session
}

impl Path {
    fn new() -> Self {
        let mut registry = RegistryTable::default();
        let gateway = registry.handle_open(0, Time::ZERO);
        let mut path = Path {
            sender: online(A, DeviceId(1)),
            reader: online(B, DeviceId(2)),
            log: Conversation::new(ConversationId::direct(A, B)),
            registry,
            gateway,
            planner: Planner::new(1, 0, 0, 0),
            debts: Debts::default(),
            now: Time::ZERO,
            messages: 0,
            out: Vec::new(),
        };
        for (user, device) in [(A, 1), (B, 2)] {
            let row = Registration { user, device: DeviceId(device), connection: device, connect_count: 1 };
            path.registry.handle_register(path.gateway, row);
        }
        path.message(Payload::Created { direct: true, channel: false, members: vec![A, B] });
        path
    }

    fn message(&mut self, payload: Payload) {
        self.now += Duration::from_millis(10);
        self.messages += 1;
        let (now, conversation) = (self.now, self.log.id());
        self.sender.send(conversation, ClientMsgId(u128::from(self.messages)), payload, now, &mut self.out);
        let frame = self.out.drain(..).find_map(|output| match output {
            Output::Transmit(ClientFrame::Send { client_msg_id, client_seq, payload, .. }) => {
                Some((client_msg_id, client_seq, payload))
            }
            _ => None,
        });
        let (client_msg_id, client_seq, payload) = frame.expect("the window has room");
        let request = SendRequest {
            sender: A,
            device: DeviceId(1),
            connect_count: 1,
            client_msg_id,
            client_seq,
            payload,
            stored_at_ms: 1_767_225_600_000,
        };
        let SendOutcome::Staged(entry) = self.log.handle_send(request) else {
            unreachable!("the send is in order")
        };
        let seq = entry.seq;
        self.log.handle_durable(seq);
        self.planner.handle_committed(self.messages);
        let sent = ServerFrame::Sent { conversation, client_msg_id, server_seq: seq, stored_at_ms: 0 };
        self.sender.handle_frame(sent, now, &mut self.out);
        self.deliver(conversation, entry);
    }

    fn deliver(&mut self, conversation: ConversationId, entry: Entry) {
        let (now, seq) = (self.now, entry.seq);
        let members: Vec<UserId> = self.log.membership().members_at(seq).collect();
        let (first, end) = (self.messages, self.messages + 1);
        let part = Part { first, end, plans: vec![conversation], bytes: 200, users: members.clone() };
        let asked = self.planner.take_up(0, part, now).expect("a message has members");
        let locations: Vec<Location> = members.iter().flat_map(|user| self.registry.lookup(*user)).collect();
        let plan = targets_by_gateway(locations, Some(Answered { who: (UserId(1), DeviceId(1)), connection: 1 }));
        let targets = plan.values().flatten().map(|l| Debtor {
            user: l.user,
            device: l.device,
            connect_count: l.connect_count,
        });
        black_box(self.planner.handle_answer(0, asked));
        self.debts.handle_published(self.messages, conversation, seq, targets, now);
        let span = LogSpan { conversation, from: seq, to: seq, entries: vec![entry] };
        self.out.clear();
        self.reader.handle_frame(ServerFrame::Deliver(span), now, &mut self.out);
        self.debts.handle_ack((UserId(2), DeviceId(2)), conversation, seq, now);
        black_box((self.planner.dispatched(), self.debts.first_owed()));
    }
}

fn messages(c: &mut Criterion) {
    let mut path = Path::new();
    c.bench_function("core/a message from send to ack of its delivery", |b| {
        b.iter_batched(
            || Payload::Text("x".repeat(200)),
            |payload| path.message(payload),
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, messages);
criterion_main!(benches);
