//! The server's hops as events of the history, for what somebody follows.
//!
//! **Invariant:** nothing here changes anything: a host that is followed takes the same steps. Guarded by `sim/cli/tests/explain.rs`.

use super::probe::Probe;
use prost::Message;
use squall_core::registry::Location;
use squall_history::{Arrived, Asked, Entity, Event, Extent, Filter, Hop as Told, Kind, Place, Told as Answer};
use squall_protocol::close::CloseReason;
use squall_protocol::frames::{ErrorCode, LogSpan, Seen as Online};
use squall_protocol::wire::bus::{ToGateway, to_gateway};
use squall_protocol::{ClientFrame, ConversationId, DeviceId, Entry, Refusal, ServerFrame, UserId, protobuf};
use squall_server::hop::{Hop, OfDevice, Seen};
use squall_server::level::Level;
use squall_server::observer::Point;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What is followed, shared by all hosts and the world, which learns more of it as the run goes on.
#[derive(Clone)]
pub struct Followed(Arc<RwLock<Filter>>);

impl Followed {
    pub fn new(filter: Filter) -> Self {
        Followed(Arc::new(RwLock::new(filter)))
    }

    /// Asks the filter.
    fn ask<T>(&self, question: impl FnOnce(&Filter) -> T) -> T {
        question(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn wants(&self, event: &Event) -> bool {
        self.ask(|filter| filter.wants(event))
    }

    pub fn learn(&self, event: &Event) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).learn(event);
    }
}

/// How a host tells its hops.
pub struct Voice {
    pub followed: Followed,
    /// Good syncs of the disk until the last commit began.
    synced_before: AtomicU64,
}

impl Voice {
    pub fn new(followed: Followed) -> Self {
        Voice { followed, synced_before: AtomicU64::new(0) }
    }
}

fn arrived(entry: &Entry) -> Arrived {
    Arrived {
        seq: entry.seq,
        client_msg_id: entry.client_msg_id,
        author: entry.device,
        client_seq: entry.client_seq,
        stored_at_ms: entry.stored_at_ms,
    }
}

fn place(location: &Location) -> Place {
    let Location { user, device, gateway, connect_count, .. } = *location;
    Place { user, device, gateway, connect_count }
}

fn asked(frame: &ClientFrame) -> Option<(ConversationId, Asked)> {
    match *frame {
        ClientFrame::Send { conversation, client_msg_id, client_seq, .. } => {
            Some((conversation, Asked::Send { client_msg_id, client_seq }))
        }
        ClientFrame::Ack { conversation, up_to_seq } => Some((conversation, Asked::Ack { up_to: up_to_seq })),
        ClientFrame::Sync { conversation, since_seq } => Some((conversation, Asked::Sync { since: since_seq })),
        ClientFrame::Read { conversation, up_to_seq } => Some((conversation, Asked::Read { up_to: up_to_seq })),
        ClientFrame::Typing { conversation } => Some((conversation, Asked::Typing)),
        ClientFrame::Hello { .. }
        | ClientFrame::Ping
        | ClientFrame::Refresh { .. }
        | ClientFrame::Watch { .. }
        | ClientFrame::Unwatch { .. }
        | ClientFrame::Invisible { .. } => None,
    }
}

fn refusal(reason: Refusal) -> (&'static str, Option<u64>) {
    match reason {
        Refusal::ExpectedClientSeq(number) => ("expected_client_seq", Some(number.0)),
        Refusal::UnknownConversation => ("unknown_conversation", None),
        Refusal::NotAMember => ("not_a_member", None),
        Refusal::BodyTooLarge => ("body_too_large", None),
        Refusal::GroupTooLarge => ("group_too_large", None),
        Refusal::Conflict => ("conflict", None),
        Refusal::NotAllowed => ("not_allowed", None),
        Refusal::Blocked => ("blocked", None),
        Refusal::Busy => ("busy", None),
        Refusal::TooOften { retry_after_ms } => ("too_often", Some(retry_after_ms)),
    }
}

fn held(span: &LogSpan) -> Vec<Arrived> {
    span.entries.iter().map(arrived).collect()
}

/// What a frame tells of a conversation. Heads have a hop of their own; the rest is of no conversation.
fn told(frame: &ServerFrame) -> Option<(ConversationId, Answer)> {
    match frame {
        ServerFrame::Sent { conversation, client_msg_id, server_seq, stored_at_ms } => {
            let (client_msg_id, seq, stored_at_ms) = (*client_msg_id, *server_seq, *stored_at_ms);
            Some((*conversation, Answer::Sent { client_msg_id, seq, stored_at_ms }))
        }
        ServerFrame::Refused { conversation, client_msg_id, reason } => {
            let (reason, value) = refusal(*reason);
            Some((*conversation, Answer::Refused { client_msg_id: *client_msg_id, reason, value }))
        }
        ServerFrame::Deliver(span) => {
            Some((span.conversation, Answer::Deliver { from: span.from, to: span.to, held: held(span) }))
        }
        ServerFrame::Page { span, head } => {
            let page = Answer::Page { from: span.from, to: span.to, held: held(span), head: *head };
            Some((span.conversation, page))
        }
        ServerFrame::Error { code, conversation } => {
            let code = match code {
                ErrorCode::UnknownConversation => "unknown_conversation",
                ErrorCode::NotAMember => "not_a_member",
            };
            Some((*conversation, Answer::Error { code }))
        }
        ServerFrame::Typing { conversation, user } => Some((*conversation, Answer::Typing { user: *user })),
        ServerFrame::Welcome { .. }
        | ServerFrame::Heads { .. }
        | ServerFrame::Pong
        | ServerFrame::Stale { .. }
        | ServerFrame::ComeBack { .. }
        | ServerFrame::Refreshed { .. }
        | ServerFrame::Receipts { .. }
        | ServerFrame::Presence { .. } => None,
    }
}

/// What a frame tells of how far people have come, of each conversation.
fn receipts(frame: &ServerFrame) -> impl Iterator<Item = (ConversationId, Answer)> {
    let all = if let ServerFrame::Receipts { receipts } = frame { &receipts[..] } else { &[] };
    all.iter().map(|of| (of.conversation, Answer::Receipts { users: of.users.clone(), counts: of.counts }))
}

fn close_reason(reason: CloseReason) -> &'static str {
    reason.text()
}

impl Probe {
    /// Tells a hop if it is wanted.
    fn say(&self, voice: &Voice, hop: Told) {
        let event =
            Event { t: self.now.load(Ordering::Relaxed), at: Entity::Host(self.index), kind: Kind::Hop(hop) };
        if voice.followed.wants(&event) {
            self.mailbox.lock().tell(event);
        }
    }

    fn good_syncs(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| {
            let stats = disk.stats();
            stats.syncs - stats.failed_syncs
        })
    }

    /// What a named point says of what is followed.
    pub(super) fn follow_point(&self, voice: &Voice, point: &Point<'_>) {
        match point {
            Point::Committed { conversation, entry } => {
                let wanted = voice.followed.ask(|filter| filter.wants_conversation(*conversation));
                if wanted && self.good_syncs() > voice.synced_before.load(Ordering::Relaxed) {
                    self.say(voice, Told::Synced { conversation: *conversation, seq: entry.seq });
                }
            }
            Point::Found { conversation, entry } => {
                let (conversation, seq, client_msg_id) = (*conversation, entry.seq, entry.client_msg_id);
                self.say(voice, Told::Found { conversation, seq, client_msg_id });
            }
            Point::Closed { device: Some(device), reason } => {
                self.say(voice, Told::Closed { device: *device, reason: close_reason(*reason) });
            }
            Point::Lost { device } => self.say(voice, Told::Closed { device: *device, reason: "connection gone" }),
            Point::CommitFailed { .. } => self.say(voice, Told::DiskFailed),
            Point::LinkUp { to } => self.say(voice, Told::LinkUp { to: (*to).to_owned() }),
            // What else a point says is told by a hop of its own, or of nobody's message.
            _ => {}
        }
    }

    /// There is more of something here than ever before.
    pub(super) fn follow_level(&self, voice: &Voice, level: Level, items: u64) {
        self.say(voice, Told::MoreThanEver { what: level.name(), items });
    }

    /// A hop of the server's code.
    pub(super) fn follow(&self, voice: &Voice, hop: &Hop<'_>) {
        match *hop {
            Hop::Asked { user, device, frame } => {
                if let Some((conversation, asked)) = asked(frame) {
                    self.say(voice, Told::Received { user, device, conversation, asked });
                }
            }
            Hop::HeadsAsked { user, device } => self.say(voice, Told::HeadsAsked { user, device }),
            Hop::Answered { device, frame: frame @ ServerFrame::Receipts { .. } } => {
                self.each_receipt(voice, frame, |conversation, told| Told::Answered {
                    device,
                    conversation,
                    told,
                });
            }
            Hop::Answered { device, frame } => {
                if let Some((conversation, told)) = told(frame) {
                    self.say(voice, Told::Answered { device, conversation, told });
                }
            }
            Hop::HeadsTold { device, heads, last } => {
                let count = heads.len() as u64;
                let named = |filter: &Filter| {
                    let named = heads.iter().filter(|head| filter.wants_conversation(head.conversation));
                    named.map(|head| (head.conversation, head.head)).collect::<Vec<_>>()
                };
                let named = voice.followed.ask(named);
                if named.is_empty() {
                    self.say(voice, Told::HeadsTold { device, conversation: None, head: None, count, last });
                }
                for (conversation, head) in named {
                    let (conversation, head) = (Some(conversation), Some(head));
                    self.say(voice, Told::HeadsTold { device, conversation, head, count, last });
                }
            }
            Hop::Handed { device, frame: ServerFrame::Heads { heads } } => {
                let wanted = |filter: &Filter| {
                    let wanted = heads.iter().filter(|head| filter.wants_conversation(head.conversation));
                    wanted.map(|head| (head.conversation, head.head)).collect::<Vec<_>>()
                };
                for (conversation, head) in voice.followed.ask(wanted) {
                    self.say(voice, Told::HeadsHanded { device, conversation, head });
                }
            }
            Hop::Handed { device, frame: frame @ ServerFrame::Receipts { .. } } => {
                self.each_receipt(voice, frame, |conversation, told| Told::Handed { device, conversation, told });
            }
            Hop::Handed { device, frame } => {
                if let Some((conversation, told)) = told(frame) {
                    self.say(voice, Told::Handed { device, conversation, told });
                }
            }
            Hop::Astray { device, frame } => {
                if let Some((conversation, told)) = told(frame) {
                    self.say(voice, Told::Astray { device, conversation, told });
                }
            }
            Hop::Staged { conversation, entry } => {
                let Entry { seq, device, client_msg_id, client_seq, .. } = *entry;
                let extent = Extent::of(&entry.payload);
                self.say(voice, Told::Staged { device, conversation, client_msg_id, client_seq, seq, extent });
            }
            Hop::Recognised { conversation, device, client_msg_id, seq } => {
                self.say(voice, Told::Recognised { device, conversation, client_msg_id, seq });
            }
            Hop::Committing { batch } => {
                voice.synced_before.store(self.good_syncs(), Ordering::Relaxed);
                for new in &batch.entries {
                    self.say(voice, Told::Committing { conversation: new.conversation, seq: new.entry.seq });
                }
                for (user, device, _) in &batch.fences {
                    self.say(voice, Told::Fenced { user: *user, device: *device });
                }
            }
            Hop::CommitFailed { batch } => {
                for new in &batch.entries {
                    self.say(voice, Told::CommitFailed { conversation: new.conversation, seq: new.entry.seq });
                }
            }
            Hop::Recovered { entries, dispatched } => self.say(voice, Told::Recovered { entries, dispatched }),
            Hop::Planned { conversation, seq, registry, readers } => {
                if voice.followed.ask(|filter| filter.wants_conversation(conversation)) {
                    self.say(
                        voice,
                        Told::Planned {
                            conversation,
                            seq,
                            registry,
                            users: readers.of(registry as usize).collect(),
                        },
                    );
                }
            }
            Hop::PlannedAgain { conversation, seq, registry } => {
                self.say(voice, Told::PlannedAgain { conversation, seq, registry });
            }
            Hop::LookedUp { conversation, seq, registry, readers, found } => {
                if voice.followed.ask(|filter| filter.wants_conversation(conversation)) {
                    let is_reader = |location: &&Location| readers.contains(registry as usize, location.user);
                    let found = found.iter().filter(is_reader);
                    let found = found.map(place).collect();
                    self.say(voice, Told::LookedUp { conversation, seq, registry, found });
                }
            }
            Hop::Published { conversation, entry, gateway, targets } => {
                if voice.followed.ask(|filter| filter.wants_conversation(conversation)) {
                    let (seq, stored_at_ms) = (entry.seq, entry.stored_at_ms);
                    let to = targets.iter().map(place).collect();
                    self.say(voice, Told::Forwarded { conversation, seq, stored_at_ms, gateway, to });
                }
            }
            Hop::Reminded { conversation, device, head, gateway } => {
                self.say(voice, Told::Redelivered { conversation, device, head, gateway });
            }
            Hop::CalledBack { device, gateway } => self.say(voice, Told::CalledBack { device, gateway }),
            Hop::Vanished { conversation, device } => self.say(voice, Told::Vanished { conversation, device }),
            Hop::Carried { gateway, payload, subscribed } => self.carried(voice, gateway, payload, subscribed),
            Hop::Registering { user, device, registry, connect_count } => {
                self.say(voice, Told::Registering { user, device, registry, connect_count });
            }
            Hop::Registered { user, device, gateway, connect_count, seen } => {
                let outcome = match seen {
                    Seen::Visible { created: true } => "created",
                    Seen::Visible { created: false } => "visible",
                    Seen::Superseded => "superseded",
                    Seen::Ignored => "ignored",
                };
                self.say(voice, Told::Registered { user, device, gateway, connect_count, outcome });
            }
            Hop::Unregistered { user, device, gateway, removed } => {
                self.say(voice, Told::Unregistered { user, device, gateway, removed });
            }
            Hop::Followed { conversation, have } => self.say(voice, Told::Followed { conversation, have }),
            Hop::Unfollowed { conversation } => self.say(voice, Told::Unfollowed { conversation }),
            Hop::Member { device, conversation, from, as_of } => {
                self.say(voice, Told::Member { device, conversation, from, as_of });
            }
            Hop::TailTold { conversation, from, to } => self.say(voice, Told::TailTold { conversation, from, to }),
            Hop::TailTaken { conversation, from, to } => {
                self.say(voice, Told::TailTaken { conversation, from, to })
            }
            Hop::Noticed { frame, to } => self.noticed(voice, frame, to),
            Hop::Leased { conversation, watcher, granted } => {
                let granted = granted.to_vec();
                self.say(voice, Told::Leased { conversation, watcher, granted });
            }
            Hop::Subscribed { user, gateway } => self.say(voice, Told::Subscribed { user, gateway }),
            Hop::Present { user, device, gateway, said: OfDevice::Here { connect_count, invisible: hides } } => {
                self.say(voice, Told::Present { user, device, gateway, connect_count, hides });
            }
            Hop::Present { user, device, gateway, said: OfDevice::Gone { seen_ago } } => {
                let seen_ago_ms = seen_ago.as_millis() as u64;
                self.say(voice, Told::Absent { user, device, gateway, seen_ago_ms });
            }
            Hop::PresenceTold { user, gateway, presence, seen_ago_ms } => {
                let state = match presence.state {
                    Online::Online => "online",
                    Online::Offline => "offline",
                    Online::Unknown => "unknown",
                };
                self.say(voice, Told::PresenceTold { user, gateway, state, seen_ago_ms });
            }
            Hop::SentAway { device } => self.say(voice, Told::SentAway { device }),
        }
    }

    /// What is told of receipts in each conversation that is wanted.
    fn each_receipt(&self, voice: &Voice, frame: &ServerFrame, hop: impl Fn(ConversationId, Answer) -> Told) {
        for (conversation, told) in receipts(frame) {
            self.say(voice, hop(conversation, told));
        }
    }

    fn noticed(&self, voice: &Voice, frame: &ServerFrame, to: &[UserId]) {
        let hop = |(conversation, told)| Told::Noticed { conversation, told, to: to.to_vec() };
        for hop in receipts(frame).chain(told(frame)).map(hop) {
            self.say(voice, hop);
        }
    }

    fn carried(&self, voice: &Voice, gateway: u32, payload: &[u8], subscribed: bool) {
        let Ok(message) = ToGateway::decode(payload) else { return };
        let Some(to_gateway::Message::Delivery(delivery)) = message.message else { return };
        let Some(Ok(span)) = delivery.span.map(protobuf::span_from_wire) else { return };
        let devices = delivery.targets.iter().map(|target| DeviceId(target.device)).collect();
        let LogSpan { conversation, from, to, .. } = span;
        self.say(voice, Told::Carried { conversation, from, to, gateway, devices, subscribed });
    }
}
