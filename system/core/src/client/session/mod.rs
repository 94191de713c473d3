//! The device as a whole: its connection, its heartbeat, its conversations.
//!
//! **Invariants:** a send is kept until it is answered, whatever becomes of connections (`sim/checks/src/every_send_answered.rs`);
//! an ack never goes beyond what has been shown (`cursor_behind_acks.rs`). Input by output in `core/tests/client.rs`.

mod receipts;
mod timeouts;
mod tokens;
mod typing;
mod watching;

use super::output::{Output, Shown, Via};
use super::receipts::ReceiptBook;
use super::thread::{Lack, Thread};
use super::typing::Typists;
use crate::plant::{Plant, planted};
use crate::time::{MaybeTime, Time};
use squall_protocol::ids::mix;
use squall_protocol::limits::{
    BACKOFF_MAX, BACKOFF_MIN, HEARTBEAT_INTERVAL, LEAVE_LIMIT, MAX_SYNCS_OPEN, STALE_GRACE, STEADY_AFTER,
    SUPERSEDED_TWICE_WITHIN,
};
use squall_protocol::token::Token;
use squall_protocol::{
    ClientFrame, ClientMsgId, ConversationId, DeviceId, Entry, LogSpan, Payload, Refusal, Seq, ServerFrame, UserId,
};
use std::time::Duration;
use watching::Watching;

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The person has put the device away.
    Away,
    /// Waiting to connect.
    Offline {
        retry_at: Time,
    },
    Connecting {
        since: Time,
    },
    /// The connection is open; the token is on its way.
    Greeting {
        since: Time,
    },
    Online {
        next_ping: Time,
        ping_sent: MaybeTime,
        /// When the gateway last said anything.
        heard: Time,
    },
    /// Connected with a count that is not the device's highest: it hears how high that is, and then connects again.
    Stale {
        until: Time,
        connected_as: u64,
    },
    /// The gateway ends: what was asked is still answered, and nothing more is sent here.
    Leaving {
        until: Time,
        /// The device connects so long after the connection has ended, in ms.
        come_back_after: u32,
    },
    /// The device is open a second time elsewhere, and goes on there; or its tokens are refused. Only its person starts it again.
    Stopped,
}

/// One device.
#[derive(Debug, Clone)]
pub struct ClientSession {
    user: UserId,
    device: DeviceId,
    connect_count: u64,
    /// Attempts since the last connection that lasted.
    attempts: u8,
    /// When the last one was welcomed.
    welcomed: Time,
    phase: Phase,
    /// When a newer token is to be shown, or asked for once more.
    refresh_at: Time,
    /// Gateways that have refused its tokens, one after the other.
    refusals: u8,
    heartbeat_interval_ms: u32,
    /// What it sent in an earlier life is forgotten.
    forgetful: bool,
    /// Whose turn it is to be asked for once more, by place.
    next_asked_again: u32,
    /// In order of id.
    threads: Vec<Thread>,
    /// What it mostly has nothing of.
    aside: Option<Box<Aside>>,
}

/// What few devices have something of at a time: the others pay for a pointer.
#[derive(Debug, Clone, Default)]
struct Aside {
    /// When a connection with a higher count last took this one's place.
    superseded_at: MaybeTime,
    /// Whom it shows as writing.
    typists: Typists,
    /// Of a device whose person wants to know who has read what.
    receipts: Option<ReceiptBook>,
    watching: Watching,
}

impl ClientSession {
    /// A device that is away and has seen nothing yet.
    pub fn new(user: UserId, device: DeviceId) -> Self {
        ClientSession {
            user,
            device,
            connect_count: 0,
            attempts: 0,
            welcomed: Time::ZERO,
            phase: Phase::Away,
            refresh_at: Time::NEVER,
            refusals: 0,
            heartbeat_interval_ms: HEARTBEAT_INTERVAL.as_millis() as u32,
            forgetful: false,
            next_asked_again: 0,
            threads: Vec::new(),
            aside: None,
        }
    }

    pub fn set_heartbeat_interval(&mut self, interval: Duration) {
        self.heartbeat_interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
    }

    fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.heartbeat_interval_ms))
    }

    /// The next attempt counts one more than this. A device that forgets its count between two lives needs one that
    /// grows by itself, such as seconds since the epoch: the server ignores connections older than the newest. One that is too
    /// low or too high is corrected.
    pub fn set_connect_count(&mut self, count: u64) {
        self.connect_count = count;
        self.forgetful = true;
    }

    pub fn user(&self) -> UserId {
        self.user
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn connect_count(&self) -> u64 {
        self.connect_count
    }

    pub fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online { .. })
    }

    fn find(&self, conversation: ConversationId) -> Result<usize, usize> {
        self.threads.binary_search_by_key(&conversation, |t| t.id)
    }

    fn thread(&mut self, conversation: ConversationId) -> &mut Thread {
        let index = self.find(conversation).unwrap_or_else(|place| {
            if self.threads.len() == self.threads.capacity() {
                // Grow by a quarter: a doubling would cost millions of devices more than it saves.
                self.threads.reserve_exact(1 + self.threads.len() / 4);
            }
            self.threads.insert(place, Thread::new(conversation));
            place
        });
        &mut self.threads[index]
    }

    /// The last entry of the conversation that this device has shown.
    pub fn shown(&self, conversation: ConversationId) -> Seq {
        self.find(conversation).map_or(Seq::ZERO, |i| self.threads[i].shown)
    }

    /// Every conversation of which the device has shown something, with the last entry that it has.
    pub fn conversations(&self) -> impl Iterator<Item = (ConversationId, Seq)> {
        self.threads.iter().filter(|thread| thread.shown > Seq::ZERO).map(|thread| (thread.id, thread.shown))
    }

    /// Whether the device knows that the conversation exists, or is about to create it.
    pub fn knows(&self, conversation: ConversationId) -> bool {
        self.find(conversation).is_ok_and(|i| {
            let thread = &self.threads[i];
            thread.shown > Seq::ZERO || thread.head > Seq::ZERO || thread.outbox().is_some()
        })
    }

    /// Sends that have no answer yet.
    pub fn unanswered(&self) -> usize {
        self.threads.iter().filter_map(|t| t.outbox()).map(|o| o.len()).sum()
    }

    /// The messages that have no answer yet.
    pub fn unanswered_messages(&self) -> impl Iterator<Item = ClientMsgId> {
        self.threads.iter().filter_map(|t| t.outbox()).flat_map(|outbox| outbox.unanswered())
    }

    /// Sends of one conversation that have no answer yet.
    pub fn unanswered_in(&self, conversation: ConversationId) -> usize {
        let outbox = self.find(conversation).ok().and_then(|i| self.threads[i].outbox());
        outbox.map_or(0, |outbox| outbox.len())
    }

    /// Conversations of which a page has been asked for and has not come.
    pub fn syncs_open(&self) -> usize {
        self.threads.iter().filter(|t| matches!(t.lack(), Lack::Asked { .. })).count()
    }

    /// Whether a span that begins here is held back until what stands before it comes.
    pub fn holds(&self, conversation: ConversationId, from: Seq) -> bool {
        self.find(conversation).is_ok_and(|i| self.threads[i].holds(from))
    }

    /// Whether somewhere a gap has waited long enough, and whether somewhere a page has.
    pub fn overdue(&self, now: Time) -> (bool, bool) {
        let due = |is_it: fn(Lack) -> bool| {
            self.is_online() && self.threads.iter().any(|t| is_it(t.lack()) && t.is_lack_due(now))
        };
        (due(|lack| matches!(lack, Lack::GapSince(_))), due(|lack| matches!(lack, Lack::Asked { .. })))
    }

    /// Whether the device has sends without answer, or knows of entries that it lacks.
    pub fn is_busy(&self) -> bool {
        self.threads.iter().any(|t| t.outbox().is_some_and(|o| !o.is_empty()) || t.lack() != Lack::Nothing)
    }

    /// Bytes that it holds beside its own row.
    pub fn held_bytes(&self) -> usize {
        let threads = self.threads.iter().map(Thread::held_bytes).sum::<usize>();
        let aside = self.aside.as_ref().map_or(0, |aside| size_of::<Aside>() + aside.typists.held_bytes());
        let receipts = self.receipts().map_or(0, ReceiptBook::held_bytes);
        self.threads.capacity() * size_of::<Thread>() + threads + aside + receipts
    }

    /// The person takes the device up: it connects at once.
    pub fn come_back(&mut self, now: Time, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Away | Phase::Stopped) {
            self.attempts = 0;
            self.refusals = 0;
            if let Some(aside) = &mut self.aside {
                aside.superseded_at = MaybeTime::NONE;
            }
            self.tidy();
            self.connect(now, out);
        }
    }

    /// The person puts the device away: the connection is closed, nothing is forgotten.
    pub fn go_away(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Away | Phase::Offline { .. } | Phase::Stopped) {
            out.push(Output::Disconnect("away"));
        }
        self.phase = Phase::Away;
        if let Some(aside) = &mut self.aside {
            aside.typists.clear(out);
        }
        self.tidy();
    }

    fn connect(&mut self, now: Time, out: &mut Vec<Output>) {
        self.connect_count = self.connect_count.saturating_add(1);
        self.phase = Phase::Connecting { since: now };
        out.push(Output::Connect);
    }

    /// The person sends. The message is kept until it is answered, whatever becomes of connections.
    pub fn send(
        &mut self,
        conversation: ConversationId,
        id: ClientMsgId,
        payload: Payload,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let forgetful = self.forgetful;
        let thread = self.thread(conversation);
        if forgetful && thread.is_untried() {
            thread.outbox_mut().guess();
        }
        thread.outbox_mut().push(id, payload);
        self.transmit(conversation, now, out);
    }

    fn transmit(&mut self, conversation: ConversationId, now: Time, out: &mut Vec<Output>) {
        if !self.is_online() {
            return;
        }
        let Some(outbox) = self.thread(conversation).open_outbox() else { return };
        outbox.transmit(now, |t| {
            if let Some(cause) = t.resend {
                out.push(Output::Resent { conversation, client_msg_id: t.id, cause });
            }
            out.push(Output::Transmit(ClientFrame::Send {
                conversation,
                client_msg_id: t.id,
                client_seq: t.client_seq,
                payload: t.payload,
            }));
        });
    }

    /// The connection is open. `token` is this device's own.
    pub fn handle_connected(&mut self, token: Token, now: Time, out: &mut Vec<Output>) {
        self.phase = Phase::Greeting { since: now };
        let (connect_count, invisible) = (self.connect_count(), self.greets_as_invisible());
        out.push(Output::Transmit(ClientFrame::Hello { token, connect_count, invisible }));
    }

    /// The connection is lost, refused or closed.
    pub fn handle_disconnected(&mut self, now: Time) {
        if matches!(self.phase, Phase::Away | Phase::Stopped) {
            return;
        }
        // Who is welcomed and thrown out at once, again and again, comes back ever more rarely.
        if let Phase::Leaving { come_back_after, .. } = self.phase {
            self.attempts = 0;
            self.phase = Phase::Offline { retry_at: now + Duration::from_millis(come_back_after.into()) };
            return;
        }
        if matches!(self.phase, Phase::Online { .. }) && now.since(self.welcomed) >= STEADY_AFTER {
            self.attempts = 0;
        }
        let step = BACKOFF_MIN.saturating_mul(1 << self.attempts.min(16)).min(BACKOFF_MAX);
        self.attempts = self.attempts.saturating_add(1);
        // Jitter over the upper half, from what is this device's and this attempt's own: no two devices agree.
        let half = step / 2;
        let jitter = mix(mix(self.device.0) ^ self.connect_count()) % (half.as_micros() as u64 + 1);
        self.phase = Phase::Offline { retry_at: now + half + Duration::from_micros(jitter) };
    }

    fn give_up(&mut self, reason: &'static str, now: Time, out: &mut Vec<Output>) {
        out.push(Output::Disconnect(reason));
        self.handle_disconnected(now);
    }

    pub fn handle_frame(&mut self, frame: ServerFrame, now: Time, out: &mut Vec<Output>) {
        if let Phase::Online { heard, .. } = &mut self.phase {
            *heard = now;
        }
        match frame {
            ServerFrame::Welcome { expires_in_ms, .. } => self.handle_welcome(expires_in_ms, now, out),
            ServerFrame::Refreshed { expires_in_ms } => self.token_counts_for(expires_in_ms, now),
            ServerFrame::Pong => {
                if let Phase::Online { ping_sent, .. } = &mut self.phase {
                    *ping_sent = MaybeTime::NONE;
                }
            }
            ServerFrame::Sent { conversation, client_msg_id, server_seq, stored_at_ms } => {
                self.handle_sent(conversation, client_msg_id, (server_seq, stored_at_ms), now, out)
            }
            ServerFrame::Refused { conversation, client_msg_id, reason } => {
                self.handle_refused(conversation, client_msg_id, reason, now, out)
            }
            ServerFrame::Deliver(span) => self.handle_span(span, Via::Deliver, now, out),
            ServerFrame::Page { span, head } => {
                let conversation = span.conversation;
                self.thread(conversation).head = head.max(self.thread(conversation).head);
                let before = self.shown(conversation);
                self.handle_span(span, Via::Page, now, out);
                let progress = self.shown(conversation) > before;
                self.thread(conversation).handle_page_end(progress, now);
                self.sync(now, out);
            }
            ServerFrame::Heads { heads } => {
                for head in heads {
                    self.thread(head.conversation).handle_head(head.head);
                }
                self.sync(now, out);
            }
            ServerFrame::Error { conversation, .. } => {
                self.thread(conversation).handle_sync_refused();
                self.sync(now, out);
            }
            ServerFrame::Presence { user, state, last_seen_ms } => {
                out.push(Output::Presence { user, state, last_seen_ms });
            }
            ServerFrame::Stale { connect_count, superseded } => {
                self.handle_stale(connect_count, superseded, now, out)
            }
            ServerFrame::ComeBack { after_ms } if self.is_online() => {
                // Whatever is told, a device does not stay away for long.
                let come_back_after = after_ms.min(BACKOFF_MAX.as_millis() as u64) as u32;
                self.phase = Phase::Leaving { until: now + LEAVE_LIMIT, come_back_after };
            }
            // A connection that is not, or no longer, in use ends by itself.
            ServerFrame::ComeBack { .. } => {}
            ServerFrame::Typing { conversation, user } if self.is_online() => {
                self.aside.get_or_insert_default().typists.handle_typing(conversation, user, now, out);
            }
            ServerFrame::Typing { .. } => {}
            ServerFrame::Receipts { receipts } => self.handle_receipts(receipts, out),
        }
    }

    /// This connection is not the device's newest: count on from the highest, on the next one.
    ///
    /// Somebody who says this device's `hello` again has the same count. One who has a higher count goes by this device's name:
    /// another window of it. The second time that one takes its place, this device leaves it the field.
    fn handle_stale(&mut self, highest: u64, superseded: bool, now: Time, out: &mut Vec<Output>) {
        let connected_as = match self.phase {
            Phase::Online { .. } => self.connect_count,
            Phase::Stale { connected_as, .. } => connected_as,
            // Before the welcome: a count so high that no gateway takes it. The connection is closed next.
            Phase::Greeting { .. } => return self.connect_count = highest,
            // It connects anew anyway, and hears of it there.
            Phase::Leaving { .. } => return,
            Phase::Away | Phase::Offline { .. } | Phase::Connecting { .. } | Phase::Stopped => return,
        };
        if superseded && highest > connected_as {
            let before = self.aside.get_or_insert_default().superseded_at.replace(now);
            if before.is_some_and(|before| now.since(before) <= SUPERSEDED_TWICE_WITHIN) {
                self.phase = Phase::Stopped;
                out.push(Output::Disconnect("open elsewhere"));
                out.push(Output::Stopped);
                return;
            }
        }
        self.connect_count = self.connect_count.max(highest);
        let until = match self.phase {
            Phase::Stale { until, .. } => until,
            _ => now + STALE_GRACE,
        };
        self.phase = Phase::Stale { until, connected_as };
    }

    fn handle_welcome(&mut self, expires_in_ms: u64, now: Time, out: &mut Vec<Output>) {
        self.welcomed = now;
        self.refusals = if planted(Plant::RefusalsAddUp) { self.refusals } else { 0 };
        self.token_counts_for(expires_in_ms, now);
        self.phase =
            Phase::Online { next_ping: now + self.heartbeat_interval(), ping_sent: MaybeTime::NONE, heard: now };
        out.push(Output::Online);
        for index in 0..self.threads.len() {
            self.threads[index].handle_connected();
            self.transmit(self.threads[index].id, now, out);
        }
        self.sync(now, out);
        if let Some(book) = self.book() {
            book.handle_connected();
        }
        self.say_read(now, out);
        self.say_whether_it_hides(out);
        self.watch_again(out);
    }

    fn handle_sent(
        &mut self,
        conversation: ConversationId,
        id: ClientMsgId,
        (seq, stored_at_ms): (Seq, u64),
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let (user, device) = (self.user, self.device);
        let thread = self.thread(conversation);
        let Some(outbox) = thread.open_outbox() else { return };
        let Some((client_seq, payload)) = outbox.handle_stored(id, now) else { return };
        thread.tidy();
        out.push(Output::Stored { conversation, client_msg_id: id, seq, stored_at_ms });
        if seq > thread.shown {
            let entry = Entry { seq, sender: user, device, client_msg_id: id, client_seq, stored_at_ms, payload };
            let span = LogSpan { conversation, from: seq, to: seq, entries: vec![entry] };
            self.handle_span(span, Via::Ack, now, out);
        }
        self.transmit(conversation, now, out);
    }

    fn handle_refused(
        &mut self,
        conversation: ConversationId,
        id: ClientMsgId,
        reason: Refusal,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let thread = self.thread(conversation);
        let Some(outbox) = thread.open_outbox() else { return };
        match reason {
            Refusal::Busy => return outbox.handle_busy(id, now),
            Refusal::TooOften { retry_after_ms } => {
                outbox.handle_too_often(id, Duration::from_millis(retry_after_ms), now);
                return out.push(Output::ToldToWait { conversation, client_msg_id: id, retry_after_ms });
            }
            Refusal::ExpectedClientSeq(expected) => {
                if !outbox.handle_expected(id, expected, now) {
                    return;
                }
            }
            Refusal::UnknownConversation
            | Refusal::NotAMember
            | Refusal::BodyTooLarge
            | Refusal::GroupTooLarge
            | Refusal::Conflict
            | Refusal::NotAllowed
            | Refusal::Blocked => {
                let Some(refused) = outbox.handle_refused(id, now) else { return };
                thread.tidy();
                out.push(Output::Refused { conversation, client_msg_id: id, reason });
                if matches!(refused.payload, Payload::Created { .. }) && reason == Refusal::Conflict {
                    // Somebody else created it first: fetch what is there.
                    thread.set_lack(Lack::Wanted { again: false });
                    self.sync(now, out);
                }
            }
        }
        self.transmit(conversation, now, out);
    }

    fn handle_span(&mut self, span: LogSpan, via: Via, now: Time, out: &mut Vec<Output>) {
        let conversation = span.conversation;
        if via != Via::Ack {
            let entries = span.entries.len() as u32;
            out.push(Output::Arrived { conversation, from: span.from, to: span.to, entries, via });
        }
        let first = out.len();
        let ack = self.thread(conversation).handle_span(span, via, now, out);
        self.count_unread(conversation, &out[first..]);
        let thread = self.thread(conversation);
        let (ack, shown) = match planted(Plant::CursorAdvancedOnLaterReceipt) {
            true => (via != Via::Ack, thread.head),
            false => (ack, thread.shown),
        };
        if self.aside.is_some() && !planted(Plant::TypingOutlivesItsMessage) {
            self.end_typing(conversation, first, out);
        }
        if via != Via::Ack {
            self.settle_own(conversation, first, now, out);
        }
        // The ack of an own message is the server's; only what came from others is acked back.
        if ack && (via != Via::Ack || out[first..].iter().filter(|o| matches!(o, Output::Shown(_))).count() > 1) {
            out.push(Output::Transmit(ClientFrame::Ack { conversation, up_to_seq: shown }));
            if let Some(book) = self.book() {
                book.handle_acked(conversation, shown, now);
            }
        }
    }

    /// An own message that came back from the log is stored, though its ack has not come (and may never).
    fn settle_own(&mut self, conversation: ConversationId, first: usize, now: Time, out: &mut Vec<Output>) {
        let (user, device) = (self.user, self.device);
        let own: Vec<(ClientMsgId, Seq, u64)> = out[first..]
            .iter()
            .filter_map(|o| match o {
                Output::Shown(Shown { entry, .. }) if (entry.sender, entry.device) == (user, device) => {
                    Some((entry.client_msg_id, entry.seq, entry.stored_at_ms))
                }
                _ => None,
            })
            .collect();
        for (id, seq, stored_at_ms) in own {
            let thread = self.thread(conversation);
            let Some(outbox) = thread.open_outbox() else { return };
            if outbox.handle_stored(id, now).is_some() {
                thread.tidy();
                out.push(Output::Stored { conversation, client_msg_id: id, seq, stored_at_ms });
                self.transmit(conversation, now, out);
            }
        }
    }

    /// Asks for what is lacking, a few conversations at a time.
    fn sync(&mut self, now: Time, out: &mut Vec<Output>) {
        if !self.is_online() {
            return;
        }
        let mut free = MAX_SYNCS_OPEN.saturating_sub(self.syncs_open());
        for thread in self.threads.iter_mut().filter(|t| t.lack() == Lack::Wanted { again: false }).take(free) {
            thread.ask(now, false, out);
            free -= 1;
        }
        if free > 0 && self.threads.iter().any(|t| t.lack() == Lack::Wanted { again: true }) {
            self.sync_again(free, now, out);
        }
    }

    /// Asks once more for what was asked for in vain, each in its turn, and never with more than half of all syncs: whose shard is
    /// down does not stand in the way of the others.
    fn sync_again(&mut self, free: usize, now: Time, out: &mut Vec<Output>) {
        let open = self.threads.iter().filter(|t| matches!(t.lack(), Lack::Asked { again: true, .. })).count();
        let mut free = free.min((MAX_SYNCS_OPEN / 2).saturating_sub(open));
        let (count, first) = (self.threads.len(), self.next_asked_again as usize);
        for index in (0..count).map(|n| (first + n) % count) {
            if free == 0 {
                return;
            }
            if self.threads[index].lack() == (Lack::Wanted { again: true }) {
                self.threads[index].ask(now, true, out);
                self.next_asked_again = (index + 1) as u32;
                free -= 1;
            }
        }
    }
}
