//! Takes the events of a run, one by one, and says what each means in the light of those before it.
//!
//! A handful of look-ups an event and no allocation but the growth of the tables.

use super::fact::{Acked, Fact, Origin, Published, Shown, Suspect};
use super::intervals::{self, Range};
use super::rows::{CONNECTED, NONE, content, known, mark, small};
use super::{Facts, RefusedSend};
use squall_history::{Entity, Event, Kind, Via, What};
use squall_protocol::{ClientMsgId, ConversationId, Cursors, DeviceId, Seq, UserId, Who, limits};

/// A good-bye is known to the registry within this time, in µs, when nothing disturbs it: a heartbeat's interval, far more
/// than it takes.
const NOTICED_US: u64 = limits::HEARTBEAT_INTERVAL.as_micros() as u64;
/// Any end of a connection is known within this time, in µs: silence, a lease, and a heartbeat to spare.
const NOTICED_AFTER_FAULT_US: u64 =
    NOTICED_US + limits::SILENCE_LIMIT.as_micros() as u64 + limits::LEASE.as_micros() as u64;

/// The longest that a device waits for the welcome of a connection that the server has already registered, in µs.
const CONNECTING_US: u64 = limits::CONNECT_LIMIT.as_micros() as u64;
/// Deliveries under suspicion that are kept; more would say nothing new.
const MAX_SUSPECTS: usize = 1_024;

impl Facts {
    /// Takes an event. `None` when no property has to judge it.
    pub fn observe(&mut self, event: &Event) -> Option<Fact> {
        self.now = event.t;
        self.look_for_cursors();
        self.look_for_typing();
        self.presences.look(&self.promptness, event.t);
        match event.at {
            Entity::Device(device) => self.observe_device(device, &event.kind),
            Entity::Host(host) => self.observe_host(host, &event.kind),
            Entity::World => {
                if let Kind::Fault { name, active, harm, .. } = &event.kind {
                    self.drains.handle_fault(name, *active, event.t);
                    match active {
                        true => self.fault_begins(name, harm),
                        false => self.fault_ends(name, harm),
                    }
                    self.faulted |= active;
                    self.active_faults = if *active { self.active_faults + 1 } else { self.active_faults - 1 };
                    self.last_fault = Some(event.t);
                }
                None
            }
        }
    }

    fn observe_host(&mut self, host: u16, kind: &Kind) -> Option<Fact> {
        match kind {
            Kind::Clock { ahead_us } => {
                self.tokens.handle_clock(host, *ahead_us, self.now);
                None
            }
            Kind::Stopping { window } => {
                self.drains.handle_asked(host, *window, self.now);
                None
            }
            Kind::Crash | Kind::PowerLoss { .. } | Kind::Exit => {
                self.drains.handle_over(host, !matches!(kind, Kind::Exit), self.now);
                self.faulted = true;
                let stopped = self.shards.iter_mut().filter(|shard| shard.host == host);
                let acked = stopped.map(|shard| std::mem::take(&mut shard.acked)).sum();
                Some(Fact::ShardStopped { acked })
            }
            Kind::Publish { conversation, seq, devices } => {
                Some(Fact::Published(self.published(*conversation, *seq, devices)))
            }
            Kind::Cursor { conversation, up_to, read, user } => {
                let Some(pair) = self.users_row(*user, *conversation) else {
                    let conversation = self.conversation(*conversation);
                    return Some(Fact::StrayCursor { user: *user, conversation, up_to: *up_to });
                };
                self.cursors_stand(pair, Cursors { delivered: *up_to, read: *read });
                let before = std::mem::replace(&mut self.pairs[pair].cursor, small(*up_to));
                Some(Fact::CursorMoved { pair, before, up_to: *up_to })
            }
            Kind::Restart => {
                self.spent.restarts(host);
                for shard in self.shards.iter_mut().filter(|shard| shard.host == host) {
                    shard.restarts = shard.restarts.saturating_add(1);
                }
                None
            }
            _ => None,
        }
    }

    fn observe_device(&mut self, device: DeviceId, kind: &Kind) -> Option<Fact> {
        match *kind {
            Kind::Connect { user, gateway, expires_s, .. } => {
                self.tokens.handle_connected(device, gateway, expires_s, self.now);
                let id = device;
                let device = self.device(device, Some(user));
                self.presences.handle_connected(id, user, device, gateway, self.now);
                self.connected(device, gateway);
                self.typing.handle_connected(user, device);
                self.drains.handle_connected(device, self.now);
                self.syncs.evaluated += 1;
                self.devices[device].count_connect();
                self.devices[device].gone_since = CONNECTED;
                self.owe_no_more(device);
                // It was on its way: the registry knows of a connection a little before its device does.
                let now = self.now;
                self.suspects.retain(|s| s.device != device || now - s.t > CONNECTING_US);
                None
            }
            Kind::Insider { user, number } => {
                if let Some(number) = number {
                    self.guesses.add((user, number), device);
                }
                self.insiders.insert(user);
                self.presences.handle_insider(user);
                let device = self.device(device, Some(user));
                self.devices[device].set(mark::INSIDER, true);
                None
            }
            Kind::Reinstalled { user, number } => {
                let before = self.guesses.device((user, number));
                self.typing.handle_anew(before);
                self.begins_anew(device, (user, number));
                None
            }
            Kind::Refreshed { expires_s } => {
                self.tokens.handle_refreshed(device, expires_s);
                None
            }
            Kind::TokenRefused { gateway, expires_s } => {
                let unharmed_since = if self.active_faults > 0 { self.now } else { self.last_fault.unwrap_or(0) };
                self.tokens.handle_refused(device, gateway, expires_s, (unharmed_since, self.now));
                None
            }
            Kind::GivenUp => {
                self.tokens.handle_given_up(device, self.now);
                None
            }
            Kind::TokenTaken { gateway, flaw, expires_s, not_before_s, asked } => {
                self.tokens.handle_taken(device, gateway, flaw, (expires_s, not_before_s), (asked, self.now));
                None
            }
            Kind::Away => {
                self.tokens.handle_away(device);
                let device = self.device(device, None);
                self.drains.handle_away(device);
                None
            }
            Kind::Slowed { until } => {
                self.presences.handle_slowed(device, until);
                let device = self.device(device, None);
                let row = &mut self.devices[device];
                row.slow_until_ms = row.slow_until_ms.max(super::promptness::ms(until));
                None
            }
            Kind::Disconnect { reason } => {
                self.tokens.handle_disconnected(device);
                self.presences.handle_disconnected(device, reason == "away", self.now);
                if reason == "away" {
                    self.typing.handle_away(device, self.now);
                    self.tokens.handle_away(device);
                }
                let device = self.device(device, None);
                let row = &self.devices[device];
                let connection = (row.gateway, u64::from(row.connected_ms) * 1_000);
                self.drains.handle_disconnected(device, connection, reason, self.now);
                self.disconnected(device);
                self.devices[device].gone_since = self.now;
                self.devices[device].set(mark::LEFT, reason == "away");
                self.owe_from_now(device);
                let is_own_doing = self.devices[device].user().is_none_or(|user| self.insiders.contains(&user));
                (reason == "open elsewhere" && !is_own_doing).then_some(Fact::ShutOut { device })
            }
            Kind::Send { conversation, sender, client_msg_id, body_hash, what, ref members } => {
                self.presences.handle_send(client_msg_id, (conversation, sender), what, members);
                let content = content(conversation, sender, body_hash, what);
                let fact = self.send(device, conversation, sender, client_msg_id, content)?;
                self.note_kind(client_msg_id, what, members);
                if what != What::Text {
                    let conversation = self.conversation(conversation);
                    self.crowds.note(conversation, what, members);
                }
                self.typing.handle_sent(conversation, what);
                self.sends(device, what, members.len());
                self.await_answer(
                    self.messages.find(client_msg_id).map_or(NONE, |message| self.messages[message].pair),
                );
                Some(fact)
            }
            Kind::Resend { client_msg_id, .. } => {
                let message = self.messages.find(client_msg_id)?;
                self.messages[message].known |= known::RESENT;
                let device = self.device(device, None);
                self.devices[device].transmissions += 1;
                None
            }
            Kind::Sent { conversation, client_msg_id, seq, stored_at_ms } => {
                self.presences.handle_entry(client_msg_id, seq.0, self.now);
                if let Some(message) = self.messages.find(client_msg_id) {
                    let sent = u64::from(self.messages[message].sent_ms) * 1_000;
                    self.tokens.handle_answered(device, sent, self.now);
                }
                let acked = self.acked(device, conversation, client_msg_id, seq);
                let row = &self.pairs[acked.pair];
                let (device, conversation) = (row.device, row.conversation);
                self.heard(device);
                self.answered(client_msg_id, None);
                self.ack_stamp(device, conversation, client_msg_id, seq, stored_at_ms);
                Some(Fact::Acked(acked))
            }
            Kind::Wait { client_msg_id, retry_after_ms, .. } => {
                self.answered(client_msg_id, Some(retry_after_ms));
                self.told_to_wait(device, client_msg_id)
            }
            Kind::Refused { client_msg_id, reason, .. } => {
                let fact = self.refused(client_msg_id, reason);
                self.answered(client_msg_id, None);
                fact
            }
            Kind::Sync { conversation, since } => {
                let pair = self.pair(device, conversation, None);
                self.asks(pair, small(since));
                None
            }
            Kind::Watch { conversation, ref users } => {
                let row = self.device(device, None);
                if let Some(user) = self.devices[row].user() {
                    self.presences.handle_watch(device, (user, row), conversation, users, self.now);
                }
                None
            }
            Kind::Invisible { user, on } => {
                let row = self.device(device, Some(user));
                self.presences.handle_invisible(device, user, row, on, self.now);
                None
            }
            Kind::Presence { user, state, last_seen_ms } => {
                let told = (state, last_seen_ms);
                self.presences.handle_shown(&self.promptness, device, user, told, self.now);
                None
            }
            Kind::Display { user, conversation, seq, sender, client_msg_id, body_hash, what, via } => {
                self.typing.handle_displayed(device, (conversation, sender), (seq, what), self.now);
                self.presences.handle_entry(client_msg_id, seq.0, self.now);
                let pair = self.pair(device, conversation, Some(user));
                let content = content(conversation, sender, body_hash, what);
                Some(Fact::Shown(self.shown(pair, seq, client_msg_id, content, via)))
            }
            Kind::Deliver { conversation, from, to, entries, via, ref held } => {
                self.arrived(device, conversation, Range { from: small(from), to: small(to) }, held);
                let device = self.device(device, None);
                self.heard(device);
                if via == Via::Page && entries > 0 {
                    self.page_came(device);
                }
                None
            }
            Kind::Typing { conversation } => {
                self.says_typing(device, conversation);
                None
            }
            Kind::TypingShown { conversation, user } => {
                self.shows_typing(device, conversation, user);
                None
            }
            Kind::TypingOver { conversation, user } => {
                self.typing.handle_over(device, (conversation, user), self.now);
                None
            }
            Kind::Skip { conversation, from, to } => {
                let pair = self.pair(device, conversation, None);
                self.skipped_over(pair, Range { from: small(from), to: small(to) });
                None
            }
            Kind::Discard { conversation, seq, client_msg_id } => {
                let pair = self.pair(device, conversation, None);
                let message = self.message(client_msg_id);
                let taken = self.at(self.pairs[pair].conversation, small(seq)).filter(|first| *first != message);
                Some(Fact::Discarded { message, pair, seq, taken })
            }
            Kind::Ack { conversation, up_to } => {
                let pair = self.pair(device, conversation, None);
                let ahead = small(up_to) > self.pairs[pair].position;
                let own = self.users_row_of(pair);
                self.pairs[own].acked_up_to = self.pairs[own].acked_up_to.max(small(up_to));
                self.await_cursor(pair, own, small(up_to));
                ahead.then_some(Fact::AckedAhead { pair, up_to })
            }
            Kind::Read { conversation, up_to } => {
                let pair = self.pair(device, conversation, None);
                self.said_read(pair, up_to);
                None
            }
            Kind::Receipts { conversation, ref users, counts } => {
                let pair = self.pair(device, conversation, None);
                self.receipts_told(pair, users, counts);
                None
            }
            Kind::Unread { conversation, read, unread } => {
                let pair = self.pair(device, conversation, None);
                self.counts_unread(pair, read, unread);
                None
            }
            _ => None,
        }
    }

    /// A device begins a new life. What the server knows of the one before is of this one from now on.
    fn begins_anew(&mut self, device: DeviceId, who: Who) {
        let before = self.device(self.guesses.device(who), Some(who.0));
        let anew = self.device(device, Some(who.0));
        self.lives.insert(anew, before);
        self.guesses.add(who, device);
    }

    fn published(&mut self, conversation: ConversationId, seq: Seq, devices: &[DeviceId]) -> Published {
        let conversation = self.conversation(conversation);
        let mut published = Published { targets: 0, gone: 0 };
        for id in devices {
            published.targets += 1;
            // The targets are named by their numbers alone, and this one is two people's.
            if self.guesses.is_guessed(*id) {
                continue;
            }
            let device = self.device(*id, None);
            let row = &self.devices[device];
            if row.gone_since == CONNECTED {
                continue;
            }
            published.gone += 1;
            // What a fault may have kept from the server counts from its end.
            let quiet = self.active_faults == 0
                && self.last_fault.is_none_or(|end| row.gone_since.saturating_sub(end) >= NOTICED_AFTER_FAULT_US);
            let bound = if quiet && row.is(mark::LEFT) { NOTICED_US } else { NOTICED_AFTER_FAULT_US };
            let gone_for = self.now - row.gone_since;
            if gone_for > bound && self.suspects.len() < MAX_SUSPECTS {
                self.suspects.push(Suspect { t: self.now, device, conversation, seq, gone_for });
            }
        }
        published
    }

    fn send(
        &mut self,
        device: DeviceId,
        conversation: ConversationId,
        sender: UserId,
        id: ClientMsgId,
        content: u32,
    ) -> Option<Fact> {
        let message = self.message(id);
        if self.messages[message].is(known::SENT) {
            return None;
        }
        let pair = self.pair(device, conversation, Some(sender));
        let row = &mut self.pairs[pair];
        let overlapping = row.unanswered > 0;
        row.sends += 1;
        row.unanswered += 1;
        let (device, order) = (row.device, row.sends);
        let conversation = &mut self.conversations[row.conversation];
        if conversation.sender == NONE {
            conversation.sender = device;
        }
        conversation.several_senders |= conversation.sender != device;
        let to_known = if conversation.log.is_empty() { 0 } else { known::SENT_TO_KNOWN };
        let sent_ms = super::promptness::ms(self.now);
        let row = &mut self.messages[message];
        (row.pair, row.order, row.content, row.sent_ms) = (pair, order, content, sent_ms);
        row.known |= known::SENT | to_known;
        Some(Fact::Send { overlapping })
    }

    fn acked(&mut self, device: DeviceId, conversation: ConversationId, id: ClientMsgId, seq: Seq) -> Acked {
        let pair = self.pair(device, conversation, None);
        let place = small(seq);
        let (message, taken) = self.witness(self.pairs[pair].conversation, place, id);
        let row = &mut self.messages[message];
        if row.is(known::ACKED) {
            let before = Some(row.seq).filter(|first| *first != place);
            return Acked { message, pair, seq, taken, before, against: None };
        }
        let (answered, order) = (row.is(known::ANSWERED), row.order);
        row.known |= known::ACKED;
        row.seq = place;
        let conversation = self.pairs[pair].conversation;
        let shard = usize::from(self.conversations[conversation].shard);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.acked += 1;
        }
        let row = &mut self.pairs[pair];
        if !answered {
            row.unanswered = row.unanswered.saturating_sub(1);
        }
        let (last_order, last_seq) = (row.acked_order, row.acked_seq);
        let agrees = last_order == 0 || last_order == order || (order < last_order) == (place < last_seq);
        if order > last_order {
            (row.acked_order, row.acked_seq) = (order, place);
        }
        Acked { message, pair, seq, taken, before: None, against: (!agrees).then_some((last_order, last_seq)) }
    }

    fn refused(&mut self, id: ClientMsgId, reason: &'static str) -> Option<Fact> {
        let message = self.messages.find(id)?;
        let row = &mut self.messages[message];
        if !row.is(known::ANSWERED) && row.pair != NONE {
            let pair = &mut self.pairs[row.pair];
            pair.unanswered = pair.unanswered.saturating_sub(1);
        }
        row.known |= known::REFUSED;
        let named = self.messages.len();
        self.refusals.push(RefusedSend { t: self.now, message, reason, named });
        Some(Fact::Refused { message, reason })
    }

    fn shown(&mut self, pair: u32, seq: Seq, id: ClientMsgId, content: u32, via: Via) -> Shown {
        let place = small(seq);
        let conversation = self.pairs[pair].conversation;
        let (message, taken) = self.witness(conversation, place, id);
        let again = self.has_displayed(pair, place);
        if !again {
            self.look_for_lateness(pair, place, message);
        }
        let first = self.messages[message].seq;
        let elsewhere = Some(first).filter(|first| {
            *first != 0
                && *first != place
                && self.at(conversation, *first) == Some(message)
                && self.has_displayed(pair, *first)
        });
        let origin = self.origin(message, conversation, content, None);
        let row = &mut self.messages[message];
        if row.seq == 0 {
            row.seq = place;
        }
        row.known |= if row.is(known::SHOWN) { known::SHOWN_TWICE } else { known::SHOWN };
        let position = self.pairs[pair].position;
        let expected =
            (!again && position != 0 && u64::from(position) + 1 != seq.0).then(|| Seq(u64::from(position) + 1));
        self.display(pair, place);
        self.asks_no_more(pair);
        Shown { message, pair, seq, via, taken, again, elsewhere, expected, origin, after_fault: self.faulted }
    }

    pub(super) fn has_displayed(&self, pair: u32, seq: u32) -> bool {
        let run = self.pairs[pair].run;
        (run.to > 0 && run.contains(seq))
            || self.earlier_runs.get(&pair).is_some_and(|ranges| intervals::contains(ranges, seq))
    }

    fn display(&mut self, pair: u32, seq: u32) {
        let row = &mut self.pairs[pair];
        row.position = row.position.max(seq);
        if row.run.to == 0 {
            row.run = Range { from: seq, to: seq };
        } else if row.run.to.checked_add(1) == Some(seq) {
            row.run.to = seq;
        } else if !row.run.contains(seq) {
            let earlier = self.earlier_runs.entry(pair).or_default();
            if seq > row.run.to {
                intervals::add(earlier, row.run);
                row.run = Range { from: seq, to: seq };
            } else {
                intervals::add(earlier, Range { from: seq, to: seq });
            }
        }
    }

    fn skipped_over(&mut self, pair: u32, range: Range) {
        let row = &mut self.pairs[pair];
        row.position = row.position.max(range.to);
        self.asks_no_more(pair);
        intervals::add(self.skips.entry(pair).or_default(), range);
    }

    /// Whether this message was sent by a device with this number, where one is named, to this conversation and with this content.
    pub(super) fn origin(
        &self,
        message: u32,
        conversation: u32,
        content: u32,
        device: Option<DeviceId>,
    ) -> Origin {
        let row = &self.messages[message];
        if !row.is(known::SENT) {
            return Origin::Unsent;
        }
        let pair = &self.pairs[row.pair];
        if pair.conversation != conversation {
            Origin::OtherConversation
        } else if device.is_some_and(|device| self.guesses.number(self.devices[pair.device].id) != device) {
            Origin::OtherDevice
        } else if row.content != content {
            Origin::OtherContent
        } else {
            Origin::Sent
        }
    }
}
