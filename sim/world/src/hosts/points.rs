//! Named points of the server's code: what each counts as, and the cuts that wait for a host to pass one.
//!
//! **Invariant:** every point of the server counts as something here or says that it does not: no match has a catch-all.

use squall_network::CloseStyle;
use squall_scenarios::model;
use squall_server::level::Level;
use squall_server::observer::{Point, Unfit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Points that a healthy campaign reaches at least once, in the order of reports.
pub const SOMETIMES: &[&str] = &[
    "committed",
    "commit_failed",
    "recovery_failed",
    "read_failed",
    "storage_down",
    "storage_up",
    "ack_sent",
    "duplicate_met_dedup",
    "old_send_looked_up",
    "client_seq_gap",
    "stale_count_told",
    "told_to_wait",
    "held_back",
    "published",
    "redelivered",
    "unacked_closed",
    "lookup_retried",
    "sync_page",
    "sync_more_than_one_page",
    "recovered",
    "recovery_found_undispatched_tail",
    "stale_entry_met",
    "registry_rebuilt_from_connections",
    "registry_entries_cleared",
    "resync_after_registration",
    "topic_dropped",
    "heads_without_registry",
    "heads_asked_again",
    "reminded_instead",
    "typing_told",
    "typing_too_soon",
    "typing_not_in_memory",
    "typing_not_allowed",
    "typing_in_a_large_group",
    "notices_dropped",
    "notices_unanswered",
    "receipts_told",
    "channel_told",
    "channel_told_again",
    "channel_followed",
    "channel_over",
    "page_from_tail",
    "page_not_in_tail",
    "page_waited_for_tail",
    "watch_refused",
    "watch_ended",
    "watch_lapsed",
    "presence_unknown",
    "presence_held_back",
    "presence_sampled",
    "devices_vanished",
    "queue_full",
    "read_refused",
    "closed_for_silence",
    "closed_as_too_slow",
    "closed_for_frame_too_large",
    "closed_for_want_of_hello",
    "closed_as_unacked",
    "closed_as_superseded",
    "closed_for_restart",
    "closed_for_an_expired_token",
    "closed_for_a_bad_token",
    "closed_otherwise",
    "link_down",
    "shard_restarted_with_sends_waiting",
    // Corners that devices come to: `generators/src/fleet/corners.rs`.
    "gap_met",
    "gap_filled",
    "held_as_many_as_it_may",
    "gap_waited_for",
    "page_asked_again",
    "window_of_sends_full",
    "syncs_all_open",
    "left_without_answer",
    "left_without_welcome",
    "resent",
    "back_off_at_its_longest",
    "heads_part_full",
    "page_of_most_entries",
    "page_cut_by_bytes",
    "told_how_far_the_log_goes",
    "history_withheld_from_newcomer",
    "body_of_most_bytes",
    "body_of_every_script",
    "log_longer_than_an_index_row",
    "refused_to_no_member",
    "token_refused_twice",
];

/// What a point counts as.
pub(super) fn names(point: &Point<'_>) -> &'static [&'static str] {
    use squall_protocol::close::CloseReason;
    match point {
        Point::Committed { .. } => &["committed"],
        Point::CommitFailed { .. } => &["commit_failed"],
        Point::RecoveryFailed { .. } => &["recovery_failed"],
        Point::ReadFailed { .. } => &["read_failed"],
        Point::StorageDown { .. } => &["storage_down"],
        Point::StorageUp => &["storage_up"],
        // No fault of a simulated disk damages a row, a simulated host has as many descriptors as it pleases, and only a planted bug misroutes.
        Point::RowDamaged { .. } | Point::DescriptorsExhausted | Point::Misrouted { .. } => &[],
        Point::Acked { .. } => &["ack_sent"],
        Point::DuplicateMet { .. } => &["duplicate_met_dedup"],
        Point::OldSendLookedUp { .. } => &["old_send_looked_up"],
        Point::ClientSeqGap { .. } => &["client_seq_gap"],
        Point::StaleSend { .. } => &["stale_count_told"],
        Point::TooOften { .. } => &["told_to_wait"],
        Point::HeldBack { .. } => &["held_back"],
        Point::Published { .. } => &["published"],
        Point::Redelivered { .. } => &["redelivered"],
        Point::UnackedClosed { .. } => &["unacked_closed"],
        Point::LookupRetried => &["lookup_retried"],
        Point::SyncPage { more: true, .. } => &["sync_page", "sync_more_than_one_page"],
        Point::SyncPage { .. } => &["sync_page"],
        Point::Recovering | Point::Found { .. } => &[],
        Point::Recovered { replanned: 0 } => &["recovered"],
        Point::Recovered { .. } => &["recovered", "recovery_found_undispatched_tail"],
        Point::StaleEntryMet { .. } => &["stale_entry_met"],
        Point::SnapshotBegun { connections: 0 } | Point::SnapshotTold | Point::StrangerRefused => &[],
        Point::SnapshotBegun { .. } => &["registry_rebuilt_from_connections"],
        Point::EntriesCleared { .. } => &["registry_entries_cleared"],
        Point::ResyncAfterRegistration { .. } => &["resync_after_registration"],
        Point::HeadsWithoutRegistry { .. } => &["heads_without_registry"],
        Point::HeadsAskedAgain { .. } => &["heads_asked_again"],
        Point::TopicDropped { .. } => &["topic_dropped"],
        Point::RemindedInstead { .. } => &["reminded_instead"],
        // Nobody else of its members is connected.
        Point::TypingTold { devices: 0, .. } => &[],
        Point::TypingTold { .. } => &["typing_told"],
        Point::TypingDropped { why: Unfit::TooSoon, .. } => &["typing_too_soon"],
        Point::TypingDropped { why: Unfit::NotInMemory, .. } => &["typing_not_in_memory"],
        Point::TypingDropped { why: Unfit::NotAllowed, .. } => &["typing_not_allowed"],
        Point::TypingDropped { why: Unfit::TooLarge, .. } => &["typing_in_a_large_group"],
        Point::TypingDropped { why: Unfit::NoRoom, .. }
        | Point::NoticesDropped { .. }
        | Point::QueueFull { what: Level::Notices, .. } => &["notices_dropped"],
        Point::NoticesUnanswered { .. } => &["notices_unanswered"],
        Point::Noticed { .. } => &["receipts_told"],
        Point::ChannelTold { again: false, .. } => &["channel_told"],
        Point::ChannelTold { again: true, .. } => &["channel_told_again"],
        Point::ChannelFollowed { .. } => &["channel_followed"],
        Point::ChannelOver { .. } => &["channel_over"],
        Point::PageFromTail { .. } => &["page_from_tail"],
        Point::PageNotInTail { .. } => &["page_not_in_tail"],
        Point::PageWaited { .. } => &["page_waited_for_tail"],
        Point::WatchRefused { .. } => &["watch_refused"],
        Point::WatchEnded { .. } => &["watch_ended"],
        Point::WatchLapsed { .. } => &["watch_lapsed"],
        Point::PresenceUnknown => &["presence_unknown"],
        Point::PresenceHeldBack { .. } => &["presence_held_back"],
        Point::PresenceSampled { .. } => &["presence_sampled"],
        Point::DevicesVanished { .. } => &["devices_vanished"],
        Point::QueueFull { .. } => &["queue_full"],
        Point::ReadRefused { .. } => &["read_refused"],
        Point::Closed { reason: CloseReason::Silence, .. } => &["closed_for_silence"],
        Point::Closed { reason: CloseReason::TooSlow, .. } => &["closed_as_too_slow"],
        Point::Closed { reason: CloseReason::TooLarge, .. } => &["closed_for_frame_too_large"],
        Point::Closed { reason: CloseReason::HelloTimeout, .. } => &["closed_for_want_of_hello"],
        Point::Closed { reason: CloseReason::Unacked, .. } => &["closed_as_unacked"],
        Point::Closed { reason: CloseReason::Superseded, .. } => &["closed_as_superseded"],
        Point::Closed { reason: CloseReason::Restart, .. } => &["closed_for_restart"],
        Point::Closed { reason: CloseReason::TokenExpired, .. } => &["closed_for_an_expired_token"],
        Point::Closed { reason: CloseReason::BadToken, .. } => &["closed_for_a_bad_token"],
        Point::Closed { .. } => &["closed_otherwise"],
        Point::LinkDown { .. } => &["link_down"],
        Point::Lost { .. } | Point::LinkUp { .. } => &[],
    }
}

/// The named point of a scenario that this is.
pub(super) fn scenario_point(point: &Point<'_>) -> Option<model::Point> {
    match point {
        Point::Committed { .. } => Some(model::Point::Committed),
        Point::Acked { .. } => Some(model::Point::Acked),
        Point::Published { .. } => Some(model::Point::Published),
        Point::SyncPage { .. } => Some(model::Point::SyncPage),
        Point::Recovering => Some(model::Point::Recovering),
        Point::Found { .. }
        | Point::CommitFailed { .. }
        | Point::RecoveryFailed { .. }
        | Point::DuplicateMet { .. }
        | Point::OldSendLookedUp { .. }
        | Point::ClientSeqGap { .. }
        | Point::StaleSend { .. }
        | Point::TooOften { .. }
        | Point::HeldBack { .. }
        | Point::Redelivered { .. }
        | Point::UnackedClosed { .. }
        | Point::LookupRetried
        | Point::Recovered { .. }
        | Point::StaleEntryMet { .. }
        | Point::SnapshotBegun { .. }
        | Point::SnapshotTold
        | Point::DescriptorsExhausted
        | Point::StrangerRefused
        | Point::EntriesCleared { .. }
        | Point::ResyncAfterRegistration { .. }
        | Point::HeadsWithoutRegistry { .. }
        | Point::HeadsAskedAgain { .. }
        | Point::TopicDropped { .. }
        | Point::RemindedInstead { .. }
        | Point::TypingTold { .. }
        | Point::TypingDropped { .. }
        | Point::NoticesDropped { .. }
        | Point::NoticesUnanswered { .. }
        | Point::Noticed { .. }
        | Point::ChannelTold { .. }
        | Point::ChannelFollowed { .. }
        | Point::ChannelOver { .. }
        | Point::PageFromTail { .. }
        | Point::PageNotInTail { .. }
        | Point::PageWaited { .. }
        | Point::WatchRefused { .. }
        | Point::WatchEnded { .. }
        | Point::WatchLapsed { .. }
        | Point::PresenceUnknown
        | Point::PresenceHeldBack { .. }
        | Point::PresenceSampled { .. }
        | Point::DevicesVanished { .. }
        | Point::QueueFull { .. }
        | Point::ReadRefused { .. }
        | Point::Closed { .. }
        | Point::LinkDown { .. }
        | Point::LinkUp { .. }
        | Point::ReadFailed { .. }
        | Point::RowDamaged { .. }
        | Point::Misrouted { .. }
        | Point::StorageDown { .. }
        | Point::StorageUp
        | Point::Lost { .. } => None,
    }
}

/// What is cut short at a point.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Power,
    /// The process, whose kernel closes its connections like this.
    Process(CloseStyle),
}

/// A cut that waits for a point.
#[derive(Debug, Clone, Copy)]
pub struct Armed {
    pub host: u16,
    pub point: model::Point,
    /// Which fault armed it.
    pub fault: usize,
    pub cut: Cut,
}

/// A cut that has struck.
#[derive(Debug, Clone, Copy)]
pub struct Struck {
    pub host: u16,
    pub fault: usize,
    /// The power is gone, not only the process.
    pub lost_power: bool,
    pub unsynced_blocks: u64,
    pub connections: u64,
}

/// Cuts that wait, and those that have struck and were not yet taken in.
#[derive(Default)]
struct Cuts {
    armed: Vec<Armed>,
    struck: Vec<Struck>,
    /// Cuts that wait for the end of the tick, so that what the point announces still leaves.
    late: Vec<Armed>,
    /// Hosts whose processes have ended by themselves in this tick, each with the fault that had asked it to.
    ended: Vec<(u16, usize)>,
}

/// The cuts of a run, shared by all hosts and the nemesis.
#[derive(Clone, Default)]
pub struct ArmedPoints {
    cuts: Arc<Mutex<Cuts>>,
    /// How many wait, so that a point costs no lock while none does.
    waiting: Arc<AtomicUsize>,
}

impl ArmedPoints {
    fn lock(&self) -> MutexGuard<'_, Cuts> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recount(&self, cuts: &Cuts) {
        self.waiting.store(cuts.armed.len(), Ordering::Relaxed);
    }

    pub fn arm(&self, cut: Armed) {
        let mut cuts = self.lock();
        cuts.armed.push(cut);
        self.recount(&cuts);
    }

    /// Forgets what this fault has armed.
    pub fn disarm(&self, fault: usize) {
        let mut cuts = self.lock();
        cuts.armed.retain(|armed| armed.fault != fault);
        self.recount(&cuts);
    }

    /// Whether some cut waits, which may act on the world in the middle of a tick.
    pub fn any(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes the cut that waits for this host at this point, if there is one.
    pub(super) fn take(&self, host: u16, point: model::Point) -> Option<Armed> {
        if !self.any() {
            return None;
        }
        let mut cuts = self.lock();
        let place = cuts.armed.iter().position(|armed| armed.host == host && armed.point == point)?;
        let armed = cuts.armed.swap_remove(place);
        self.recount(&cuts);
        Some(armed)
    }

    /// This cut strikes at the end of the tick.
    pub(super) fn strike_later(&self, cut: Armed) {
        self.lock().late.push(cut);
    }

    pub(super) fn has_struck(&self, struck: Struck) {
        self.lock().struck.push(struck);
    }

    pub fn take_late(&self) -> Vec<Armed> {
        std::mem::take(&mut self.lock().late)
    }

    /// A host's process has ended by itself: at the end of the tick its kernel closes what is left.
    pub(super) fn has_ended(&self, host: u16, fault: usize) {
        self.lock().ended.push((host, fault));
    }

    /// In the order of hosts, whichever thread was first.
    pub fn take_ended(&self) -> Vec<(u16, usize)> {
        let mut ended = std::mem::take(&mut self.lock().ended);
        ended.sort_unstable();
        ended
    }

    pub fn take_struck(&self) -> Vec<Struck> {
        std::mem::take(&mut self.lock().struck)
    }

    /// What every waiting cut says of itself.
    #[cfg(test)]
    pub fn in_force(&self) -> Vec<String> {
        let cuts = self.lock();
        let power = |armed: &Armed| matches!(armed.cut, Cut::Power);
        cuts.armed.iter().map(|armed| format!("armed {} {:?} {}", armed.host, armed.point, power(armed))).collect()
    }
}
