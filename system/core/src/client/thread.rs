//! One conversation on one device: what it has shown, what it holds back, what it lacks, what it sends.
//!
//! **Invariant:** entries are shown in order of `seq`, each once, without gaps but those that the server has named as
//! invisible. Guarded by `sim/checks/src/{dense_sequence,no_duplicates,no_loss}.rs`.

use super::outbox::Outbox;
use super::output::{Output, Shown, Via};
use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::limits::{GAP_GRACE, MAX_HELD_ENTRIES, SYNC_RETRY_AFTER};
use squall_protocol::{ClientFrame, ClientSeq, ConversationId, LogSpan, Seq};

/// Whether the device lacks entries, and what it does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Nothing,
    /// An entry came that does not follow the last one: the missing ones may still arrive by themselves.
    GapSince(Time),
    /// To be asked for as soon as a sync is free; `again`, when it has been asked for in vain: its shard may be down.
    Wanted {
        again: bool,
    },
    /// Asked for.
    Asked {
        at: Time,
        again: bool,
    },
}

/// A lack in eight bytes, for a device has one in each of its conversations: which one it is stands in the lowest bits of its time.
#[derive(Debug, Clone, Copy)]
struct PackedLack(u64);

impl PackedLack {
    const BITS: u32 = 3;
    const NOTHING: u64 = 0;
    const GAP: u64 = 1;
    const WANTED: u64 = 2;
    const ASKED: u64 = 3;
    /// Beside wanted and asked for.
    const AGAIN: u64 = 4;

    fn new(lack: Lack) -> Self {
        let again = |again: bool| if again { Self::AGAIN } else { 0 };
        let (at, kind) = match lack {
            Lack::Nothing => (Time::ZERO, Self::NOTHING),
            Lack::GapSince(since) => (since, Self::GAP),
            Lack::Wanted { again: is_again } => (Time::ZERO, Self::WANTED | again(is_again)),
            Lack::Asked { at, again: is_again } => (at, Self::ASKED | again(is_again)),
        };
        PackedLack(at.0 << Self::BITS | kind)
    }

    fn lack(self) -> Lack {
        let (at, again) = (Time(self.0 >> Self::BITS), self.0 & Self::AGAIN != 0);
        match self.0 & (Self::AGAIN - 1) {
            Self::NOTHING => Lack::Nothing,
            Self::GAP => Lack::GapSince(at),
            Self::WANTED => Lack::Wanted { again },
            _ => Lack::Asked { at, again },
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Held(Vec<LogSpan>);

#[derive(Debug, Clone)]
pub struct Thread {
    pub id: ConversationId,
    /// Everything up to here has been shown (or named invisible).
    pub shown: Seq,
    /// The furthest head that the server has told of.
    pub head: Seq,
    lack: PackedLack,
    /// Spans beyond a gap; boxed, for there mostly are none.
    held: Option<Box<Held>>,
    next_client_seq: ClientSeq,
    outbox: Option<Box<Outbox>>,
}

/// There are two or three of them for each of a million devices.
const _: () = assert!(size_of::<Thread>() == 64);

impl Thread {
    pub fn new(id: ConversationId) -> Self {
        Thread {
            id,
            shown: Seq::ZERO,
            head: Seq::ZERO,
            lack: PackedLack::new(Lack::Nothing),
            held: None,
            next_client_seq: ClientSeq::FIRST,
            outbox: None,
        }
    }

    pub fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_deref()
    }

    pub fn lack(&self) -> Lack {
        self.lack.lack()
    }

    pub fn set_lack(&mut self, lack: Lack) {
        self.lack = PackedLack::new(lack);
    }

    /// Nothing has been sent or waits to be sent here.
    pub fn is_untried(&self) -> bool {
        self.outbox.is_none() && self.next_client_seq == ClientSeq::FIRST
    }

    pub fn outbox_mut(&mut self) -> &mut Outbox {
        self.outbox.get_or_insert_with(|| Box::new(Outbox::new(self.next_client_seq)))
    }

    pub fn open_outbox(&mut self) -> Option<&mut Outbox> {
        self.outbox.as_deref_mut()
    }

    /// Gives the outbox's memory back when nothing waits in it.
    pub fn tidy(&mut self) {
        if let Some(outbox) = self.outbox.take_if(|o| o.is_empty()) {
            self.next_client_seq = outbox.base();
        }
    }

    /// Bytes that it holds beside its own row.
    pub fn held_bytes(&self) -> usize {
        let of_span = |span: &LogSpan| {
            let texts = span.entries.iter().map(|entry| entry.payload.held_bytes()).sum::<usize>();
            span.entries.capacity() * size_of::<squall_protocol::Entry>() + texts
        };
        let spans = self.held.as_ref().map_or(0, |held| {
            let spans = held.0.iter().map(of_span).sum::<usize>();
            size_of::<Held>() + held.0.capacity() * size_of::<LogSpan>() + spans
        });
        spans + self.outbox().map_or(0, |outbox| size_of::<Outbox>() + outbox.held_bytes())
    }

    /// A connection is new: what was asked for on the old one is lost, what was held may be stale knowledge but not wrong.
    pub fn handle_connected(&mut self) {
        if self.lack() != Lack::Nothing {
            self.set_lack(Lack::Wanted { again: false });
        }
        if let Some(outbox) = self.open_outbox() {
            outbox.handle_connected();
        }
    }

    /// The server says how far the log goes.
    pub fn handle_head(&mut self, head: Seq) {
        self.head = self.head.max(head);
        if self.head > self.shown && !matches!(self.lack(), Lack::Asked { .. }) {
            self.set_lack(Lack::Wanted { again: false });
        }
    }

    /// Takes a delivery, a page, or the device's own message in. True when the position moved or was confirmed, so
    /// that an ack is due.
    pub fn handle_span(&mut self, span: LogSpan, via: Via, now: Time, out: &mut Vec<Output>) -> bool {
        self.head = self.head.max(span.to);
        if span.from > self.shown.next() && !planted(Plant::NoGapDetection) {
            self.hold(span, now);
            return false;
        }
        let known = span.to <= self.shown;
        self.show(span, via, out);
        if known {
            return via != Via::Ack;
        }
        while let Some(held) = self.take_next_held() {
            self.show(held, Via::Deliver, out);
        }
        if self.head <= self.shown && matches!(self.lack(), Lack::GapSince(_)) {
            self.set_lack(Lack::Nothing);
        }
        true
    }

    /// Whether a span that begins here is held back.
    pub fn holds(&self, from: Seq) -> bool {
        self.held.as_ref().is_some_and(|held| held.0.iter().any(|span| span.from == from))
    }

    /// A held span that follows on what has been shown.
    fn take_next_held(&mut self) -> Option<LogSpan> {
        let Held(spans) = self.held.as_deref_mut()?;
        let index = spans.iter().position(|s| s.from <= self.shown.next())?;
        let span = spans.swap_remove(index);
        self.held.take_if(|held| held.0.is_empty());
        Some(span)
    }

    /// Keeps what is beyond a gap. A span without entries only tells how far the log goes: there is nothing to keep.
    fn hold(&mut self, span: LogSpan, now: Time) {
        if self.lack() == Lack::Nothing {
            self.set_lack(Lack::GapSince(now));
        }
        if span.entries.is_empty() {
            return;
        }
        let Held(spans) = self.held.get_or_insert_default().as_mut();
        let held: usize = spans.iter().map(|s| s.entries.len()).sum();
        let again = spans.iter().any(|s| s.from == span.from && s.to >= span.to);
        if !again && held + span.entries.len() <= MAX_HELD_ENTRIES {
            spans.push(span);
        }
        self.held.take_if(|held| held.0.is_empty());
    }

    /// Shows what is new of a span that follows on what has been shown.
    fn show(&mut self, span: LogSpan, via: Via, out: &mut Vec<Output>) {
        let conversation = self.id;
        for entry in span.entries {
            if entry.seq <= self.shown && !planted(Plant::NoClientDedup) {
                out.push(Output::Discarded { conversation, seq: entry.seq, client_msg_id: entry.client_msg_id });
                continue;
            }
            if entry.seq > span.to {
                break;
            }
            if !planted(Plant::NoGapDetection) {
                self.skip_to(entry.seq.prev(), out);
            }
            self.shown = self.shown.max(entry.seq);
            out.push(Output::Shown(Shown { conversation, entry, via }));
        }
        self.skip_to(span.to, out);
    }

    fn skip_to(&mut self, to: Seq, out: &mut Vec<Output>) {
        if to > self.shown {
            out.push(Output::Skipped { conversation: self.id, from: self.shown.next(), to });
            self.shown = to;
        }
    }

    /// A page has arrived: ask for the next one, or be content. After a page that brought nothing new, not at once: the
    /// server may not have yet what it has promised.
    pub fn handle_page_end(&mut self, progress: bool, now: Time) {
        self.set_lack(match self.head > self.shown || self.held.is_some() {
            true if progress => Lack::Wanted { again: false },
            true => Lack::GapSince(now),
            false => Lack::Nothing,
        });
    }

    /// The server will not answer a sync of this conversation.
    pub fn handle_sync_refused(&mut self) {
        self.set_lack(Lack::Nothing);
        self.head = self.shown;
        self.held = None;
    }

    /// Asks for the page after what is shown.
    pub fn ask(&mut self, now: Time, again: bool, out: &mut Vec<Output>) {
        self.set_lack(Lack::Asked { at: now, again });
        out.push(Output::Transmit(ClientFrame::Sync { conversation: self.id, since_seq: self.shown }));
    }

    /// Whether a gap has waited long enough, or a page that was asked for has not come in time.
    pub fn is_lack_due(&self, now: Time) -> bool {
        match self.lack() {
            Lack::GapSince(since) => now.since(since) >= GAP_GRACE,
            Lack::Asked { at, .. } => now.since(at) >= SYNC_RETRY_AFTER,
            Lack::Nothing | Lack::Wanted { .. } => false,
        }
    }

    /// Either becomes a wish to sync.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.is_lack_due(now) {
            self.set_lack(Lack::Wanted { again: matches!(self.lack(), Lack::Asked { .. }) });
        }
    }

    pub fn poll_timeout(&self) -> Time {
        let sync = match self.lack() {
            Lack::GapSince(since) => since + GAP_GRACE,
            Lack::Asked { at, .. } => at + SYNC_RETRY_AFTER,
            Lack::Nothing | Lack::Wanted { .. } => Time::NEVER,
        };
        sync.min(self.outbox().map_or(Time::NEVER, Outbox::poll_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_lack_is_what_it_was() {
        let at = Time(1 << 50 | 5);
        let of =
            |again| [Lack::Wanted { again }, Lack::Asked { at, again }, Lack::Asked { at: Time::ZERO, again }];
        let others = [Lack::Nothing, Lack::GapSince(at), Lack::GapSince(Time::ZERO)];
        for lack in of(false).into_iter().chain(of(true)).chain(others) {
            assert_eq!(PackedLack::new(lack).lack(), lack);
        }
    }
}
