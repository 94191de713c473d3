//! Corners that a device can come to, counted from outside its session: limits that it met, ways that it seldom goes.
//!
//! They stand beside the points that hosts pass, and a campaign says which of both no run has reached.

use squall_core::Time;
use squall_core::client::{ClientSession, Phase};
use squall_protocol::limits::{
    BACKOFF_MAX, HEADS_PER_FRAME, INDEX_CHUNK, MAX_BODY_BYTES, MAX_SENDS_IN_FLIGHT, MAX_SYNCS_OPEN, PAGE_ENTRIES,
};
use squall_protocol::{ConversationId, Payload, Seq, ServerFrame};

macro_rules! corners {
    ($($(#[$doc:meta])* $corner:ident $name:literal,)*) => {
        /// A corner that a device has come to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Corner {
            $($(#[$doc])* $corner),*
        }

        impl Corner {
            pub const ALL: &[Corner] = &[$(Corner::$corner),*];

            /// Its name in records.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Corner::$corner => $name),*
                }
            }
        }
    };
}

corners! {
    /// A span came ahead of what it follows and was held back.
    GapMet "gap_met",
    /// An entry that had been held back was shown when what was missing came.
    GapFilled "gap_filled",
    /// A span came ahead and found no room among those that are held back.
    HeldNoMore "held_as_many_as_it_may",
    /// A gap lasted for so long that the device asked for what was missing.
    GapWaitedFor "gap_waited_for",
    /// A page did not come in time and was asked for again.
    PageAskedAgain "page_asked_again",
    /// A message had to wait until others of its conversation were answered.
    WindowFull "window_of_sends_full",
    /// As many conversations as may be were being caught up at once.
    SyncsFull "syncs_all_open",
    /// A connection was left because nothing was answered on it.
    NoAnswer "left_without_answer",
    /// A connection was given up before its welcome.
    NoWelcome "left_without_welcome",
    /// A message was sent again.
    Resent "resent",
    /// The wait before the next attempt had grown to its longest.
    LongestBackOff "back_off_at_its_longest",
    /// A part of the heads was full: there were more.
    HeadsFull "heads_part_full",
    /// A page was full of entries.
    PageFull "page_of_most_entries",
    /// A page ended early, for its bodies were large: there were more entries.
    PageCutByBytes "page_cut_by_bytes",
    /// A device whose acks were missing was told how far its log goes.
    Reminded "told_how_far_the_log_goes",
    /// A newcomer may not see what stood before.
    HistoryWithheld "history_withheld_from_newcomer",
    /// A body as long as may be was sent.
    LongestBody "body_of_most_bytes",
    /// A body of more than plain letters was sent.
    EveryScript "body_of_every_script",
    /// A log became longer than one row of its index.
    SecondIndexRow "log_longer_than_an_index_row",
    /// Somebody who had left or been taken away wrote, and was refused.
    RefusedAfterLeaving "refused_to_no_member",
    /// Two gateways, one after the other, refused a device's tokens.
    TokenRefusedTwice "token_refused_twice",
}

/// How often each has been come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Corners([u64; Corner::ALL.len()]);

impl Corners {
    pub fn count(&mut self, corner: Corner) {
        self.0[corner as usize] += 1;
    }

    fn count_if(&mut self, corner: Corner, reached: bool) {
        self.0[corner as usize] += u64::from(reached);
    }

    /// By name; `None` for a name that is none of these.
    pub fn hits(&self, name: &str) -> Option<u64> {
        Corner::ALL.iter().find(|corner| corner.name() == name).map(|corner| self.0[*corner as usize])
    }

    /// A person sends, and the session has taken it.
    pub(super) fn sends(&mut self, session: &ClientSession, conversation: ConversationId, payload: Option<&str>) {
        if let Some(text) = payload {
            self.count_if(Corner::LongestBody, text.len() == MAX_BODY_BYTES);
            self.count_if(Corner::EveryScript, !text.is_ascii());
        }
        self.count_if(Corner::WindowFull, session.unanswered_in(conversation) > MAX_SENDS_IN_FLIGHT);
    }

    /// A frame of the server is about to be handed to the session.
    pub(super) fn receives(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Heads { heads, .. } => self.count_if(Corner::HeadsFull, heads.len() == HEADS_PER_FRAME),
            ServerFrame::Page { span, head, .. } => {
                let more = *head > span.to && !span.entries.is_empty();
                let full = span.entries.len() == PAGE_ENTRIES;
                self.count_if(Corner::PageFull, full && more);
                self.count_if(Corner::PageCutByBytes, !full && more && is_large(&span.entries));
            }
            ServerFrame::Deliver(span) => {
                self.count_if(Corner::Reminded, span.entries.is_empty());
            }
            _ => {}
        }
    }

    /// The session's time has come: what it is about to ask for, and why.
    pub(super) fn times_out(&mut self, session: &ClientSession, now: Time) {
        let (gaps, pages) = session.overdue(now);
        self.count_if(Corner::GapWaitedFor, gaps);
        self.count_if(Corner::PageAskedAgain, pages);
    }

    /// A span that came ahead of what it follows has been held back, or found no room.
    pub(super) fn comes_ahead(&mut self, session: &ClientSession, conversation: ConversationId, from: Seq) {
        self.count(Corner::GapMet);
        self.count_if(Corner::HeldNoMore, !session.holds(conversation, from));
    }

    pub(super) fn asks_for_page(&mut self, session: &ClientSession) {
        self.count_if(Corner::SyncsFull, session.syncs_open() == MAX_SYNCS_OPEN);
    }

    pub(super) fn is_stored(&mut self, seq: Seq) {
        self.count_if(Corner::SecondIndexRow, seq.0 == INDEX_CHUNK as u64 + 1);
    }

    /// The device is without a connection.
    pub(super) fn waits(&mut self, session: &ClientSession, now: Time) {
        // The jitter is over the upper half of a step, and the last step but one is as long as the half of the longest.
        if let Phase::Offline { retry_at } = session.phase() {
            self.count_if(Corner::LongestBackOff, retry_at > now + BACKOFF_MAX / 2 + BACKOFF_MAX / 8);
        }
    }

    pub(super) fn gives_up(&mut self, reason: &'static str) {
        self.count_if(Corner::NoAnswer, reason == "no answer");
        self.count_if(Corner::NoWelcome, reason == "no welcome");
    }
}

/// Whether these bodies are enough to end a page early, with the one that found no room.
fn is_large(entries: &[squall_protocol::Entry]) -> bool {
    let bytes =
        |entry: &squall_protocol::Entry| if let Payload::Text(text) = &entry.payload { text.len() } else { 0 };
    let all: usize = entries.iter().map(bytes).sum();
    all + MAX_BODY_BYTES > squall_protocol::limits::PAGE_BYTES
}
