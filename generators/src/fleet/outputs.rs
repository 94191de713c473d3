//! Carries out what a client's session wants, and tells what its person sees.

use super::{Corner, Delivered, Fleet, FrameFaults, LastMile, Latency, Sink, Wire};
use squall_core::Time;
use squall_core::client::{Output, ResendCause, Shown, Via as ShownVia};
use squall_history::{Entity, Event, Kind, Via, What, payload_hash};
use squall_protocol::ids::Name;
use squall_protocol::{ClientFrame, Payload, Receipts, Refusal, Seen, Seq};
use std::time::Duration;

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    pub(super) fn carry_out(&mut self, index: u32, output: Output, now: Time, sink: &mut impl Sink) {
        let client = &mut self.clients[index];
        let at = Entity::Device(client.device());
        let mut event = |kind| sink.event(Event { t: now.0, at, kind });
        match output {
            Output::Connect => {
                let (user, attempt) = (client.session.user(), client.session.connect_count());
                let failed = client.failed.then_some(client.gateway);
                client.gateway = self.balancer.choose(user, index, attempt, failed);
                client.wire = Wire::Opening;
                client.conn = Some(self.last_mile.open(index, client.gateway.into()));
            }
            Output::Disconnect(reason) => {
                self.corners.gives_up(reason);
                if let Some(conn) = client.conn {
                    self.last_mile.close(conn);
                }
                self.forget_connection(index, reason, now, sink);
            }
            Output::Transmit(frame) => {
                let Some(conn) = client.conn else { return };
                if matches!(frame, ClientFrame::Sync { .. }) {
                    self.corners.asks_for_page(&client.session);
                }
                self.transmit(index, conn, frame, now, sink);
            }
            Output::FetchToken => {
                // One that is not connected gets its token when it shows it.
                if client.session.is_online() && !self.tokens.is_away(now) {
                    let token = self.issue(index, now);
                    let mut refresh = Vec::new();
                    self.clients[index].session.handle_token(token, now, &mut refresh);
                    refresh.into_iter().for_each(|output| self.carry_out(index, output, now, sink));
                }
            }
            Output::TokenRefused => self.token_is_given_up(index, now, sink),
            Output::Online => {
                let expires_s = self.token_is_taken(index);
                let client = &mut self.clients[index];
                client.was_online = true;
                self.totals.online += 1;
                self.totals.online_peak = self.totals.online_peak.max(self.totals.online);
                self.totals.connects += 1;
                self.balancer.connected(client.gateway);
                let mut gone = client.gone.take().map(|gone| *gone).unwrap_or_default();
                self.missing.remove(&mut gone.missing_since);
                let gateway = client.gateway;
                event(Kind::Connect {
                    user: client.session.user(),
                    gateway,
                    connect_count: client.session.connect_count(),
                    expires_s,
                });
                if gone.lost_at != Time::NEVER {
                    self.totals.reconnects += 1;
                    let waited = now.since(gone.lost_at).as_micros() as u64;
                    sink.latency(match gone.by_choice {
                        true => Latency::ReconnectByChoice(waited),
                        false => Latency::Reconnect(waited),
                    });
                }
            }
            // Told as the end of its connection.
            Output::Stopped => {}
            Output::Resent { conversation, client_msg_id, cause } => {
                self.totals.resent += 1;
                self.corners.count(Corner::Resent);
                event(Kind::Resend { conversation, client_msg_id, cause: cause_name(cause) });
            }
            Output::Stored { conversation, client_msg_id, seq, stored_at_ms } => {
                self.totals.acked += 1;
                self.corners.is_stored(seq);
                event(Kind::Sent { conversation, client_msg_id, seq, stored_at_ms });
            }
            Output::Refused { conversation, client_msg_id, reason } => {
                self.totals.refused += 1;
                if reason == Refusal::NotAMember {
                    self.corners.count(Corner::RefusedAfterLeaving);
                }
                self.kept.forget(index, conversation, client_msg_id);
                event(Kind::Refused { conversation, client_msg_id, reason: refusal_name(reason) });
            }
            Output::ToldToWait { conversation, client_msg_id, retry_after_ms } => {
                event(Kind::Wait { conversation, client_msg_id, retry_after_ms });
            }
            Output::Arrived { conversation, from, to, entries, via } => {
                self.totals.delivered += u64::from(entries);
                if via == ShownVia::Page {
                    self.totals.synced += u64::from(entries);
                }
                if from > client.session.shown(conversation).next() {
                    self.corners.comes_ahead(&client.session, conversation, from);
                }
                self.arrived_to = to;
                let held = std::mem::take(&mut self.arriving);
                event(Kind::Deliver { conversation, from, to, entries, via: via_of(via), held });
            }
            Output::Shown(shown) => self.show(index, shown, now, sink),
            Output::Typing { conversation, user } => {
                self.totals.typing_shown += 1;
                event(Kind::TypingShown { conversation, user });
            }
            Output::TypingOver { conversation, user } => event(Kind::TypingOver { conversation, user }),
            Output::Skipped { conversation, from, to } => {
                if from == Seq::ZERO.next() {
                    self.corners.count(Corner::HistoryWithheld);
                }
                event(Kind::Skip { conversation, from, to });
            }
            Output::Receipts(Receipts { conversation, users, counts }) => {
                self.totals.receipts += 1;
                event(Kind::Receipts { conversation, users, counts });
            }
            Output::Presence { user, state, last_seen_ms } => {
                self.totals.presences += 1;
                event(Kind::Presence { user, state: seen_name(state), last_seen_ms });
            }
            Output::Discarded { conversation, seq, client_msg_id } => {
                self.totals.discarded += 1;
                event(Kind::Discard { conversation, seq, client_msg_id });
            }
        }
    }

    fn show(&mut self, index: u32, shown: Shown, now: Time, sink: &mut impl Sink) {
        self.totals.displayed += 1;
        if shown.via == ShownVia::Deliver && shown.entry.seq > self.arrived_to {
            self.corners.count(Corner::GapFilled);
        }
        let client = &self.clients[index];
        let Shown { conversation, entry, via } = shown;
        // What a page brings of a group may be from before this one joined; of two people nobody joins.
        let is_counted = match via {
            ShownVia::Deliver => true,
            ShownVia::Page => matches!(conversation.name(), Some(Name::Direct { .. })),
            ShownVia::Ack => false,
        };
        if let (Payload::Text(text), true) = (&entry.payload, is_counted)
            && entry.device != client.session.device()
            && let Some(sent) = crate::text::sent_at(text)
            && let Some(there) = client.presence.between(Time(sent), now)
        {
            let waited = self.waited.get(&entry.client_msg_id).map_or(Duration::ZERO, |waited| waited.until(now));
            let sending = self.population.index_of(entry.device);
            let own = sending.and_then(|sending| self.clients.get(sending));
            sink.latency(Latency::SendToDeliver(Delivered {
                took_us: there.saturating_sub(waited).as_micros() as u64,
                sent_at_us: sent,
                conversation,
                sender: entry.sender,
                receiver: client.session.user(),
                gateways: [own.map_or(client.gateway, |sending| sending.gateway), client.gateway],
                message: entry.client_msg_id,
                is_from_elsewhere: own.is_none() && sending.is_some(),
            }));
        }
        let is_others = entry.sender != client.session.user() && matches!(entry.payload, Payload::Text(_));
        sink.event(Event {
            t: now.0,
            at: Entity::Device(client.device()),
            kind: Kind::Display {
                user: client.session.user(),
                conversation,
                seq: entry.seq,
                sender: entry.sender,
                client_msg_id: entry.client_msg_id,
                body_hash: payload_hash(&entry.payload),
                what: What::of(&entry.payload),
                via: via_of(via),
            },
        });
        if is_others {
            self.is_to_be_read(index, conversation, entry.seq, now);
        }
    }
}

/// How an entry came, for the history.
fn via_of(via: ShownVia) -> Via {
    match via {
        ShownVia::Deliver => Via::Deliver,
        ShownVia::Page => Via::Page,
        ShownVia::Ack => Via::Ack,
    }
}

/// Why something is said again, for the history.
fn cause_name(cause: ResendCause) -> &'static str {
    match cause {
        ResendCause::Connected => "connected",
        ResendCause::Overdue => "overdue",
        ResendCause::Refused => "refused",
    }
}

/// Whether somebody is online, for the history.
pub(crate) fn seen_name(seen: Seen) -> &'static str {
    match seen {
        Seen::Online => "online",
        Seen::Offline => "offline",
        Seen::Unknown => "unknown",
    }
}

/// A refusal, for the history.
fn refusal_name(reason: Refusal) -> &'static str {
    match reason {
        Refusal::ExpectedClientSeq(_) => "expected_client_seq",
        Refusal::UnknownConversation => "unknown_conversation",
        Refusal::NotAMember => "not_a_member",
        Refusal::BodyTooLarge => "body_too_large",
        Refusal::GroupTooLarge => "group_too_large",
        Refusal::Conflict => "conflict",
        Refusal::NotAllowed => "not_allowed",
        Refusal::Blocked => "blocked",
        Refusal::Busy => "busy",
        Refusal::TooOften { .. } => "too_often",
    }
}
