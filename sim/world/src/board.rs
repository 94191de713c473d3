//! What hosts tell while they run, and what strikes them exactly there.
//!
//! Each host has a `Probe`, the server's observer. It counts what is passed, writes the host's events, and carries out
//! what the nemesis has armed: a power cut at a named point, a sender's connection cut between commit and ack.

use crate::disk::Disk;
use rustc_hash::{FxHashMap, FxHashSet};
use squall_generators::rng::{Stream, unit};
use squall_generators::{FrameFault, FrameKind};
use squall_history::{Entity, Event, Kind, payload_hash};
use squall_network::{CloseStyle, HostId, Network, ProfileId};
use squall_protocol::ids::{mix, rendezvous};
use squall_protocol::{ConversationId, DeviceId, Entry, Seq};
use squall_scenarios::model;
use squall_server::observer::{Observer, Point};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Points that a healthy campaign reaches at least once, in the order of reports.
pub const SOMETIMES: &[&str] = &[
    "committed",
    "commit_failed",
    "recovery_failed",
    "ack_sent",
    "duplicate_met_dedup",
    "old_send_looked_up",
    "client_seq_gap",
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
    "closed_for_silence",
    "closed_as_too_slow",
    "closed_otherwise",
    "link_down",
    "gap_met",
    "gap_filled",
    "shard_restarted_with_sends_waiting",
];

/// What a point counts as.
fn names(point: &Point<'_>) -> &'static [&'static str] {
    use squall_protocol::close::CloseReason;
    match point {
        Point::Committed { .. } => &["committed"],
        Point::CommitFailed { .. } => &["commit_failed"],
        Point::RecoveryFailed { .. } => &["recovery_failed"],
        Point::Acked { .. } => &["ack_sent"],
        Point::DuplicateMet { .. } => &["duplicate_met_dedup"],
        Point::OldSendLookedUp { .. } => &["old_send_looked_up"],
        Point::ClientSeqGap { .. } => &["client_seq_gap"],
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
        Point::SnapshotSent { connections: 0 } => &[],
        Point::SnapshotSent { .. } => &["registry_rebuilt_from_connections"],
        Point::EntriesCleared { .. } => &["registry_entries_cleared"],
        Point::ResyncAfterRegistration { .. } => &["resync_after_registration"],
        Point::TopicDropped { .. } => &["topic_dropped"],
        Point::Closed { reason: CloseReason::Silence, .. } => &["closed_for_silence"],
        Point::Closed { reason: CloseReason::TooSlow, .. } => &["closed_as_too_slow"],
        Point::Closed { .. } => &["closed_otherwise"],
        Point::LinkDown { .. } => &["link_down"],
        Point::Lost { .. } | Point::LinkUp { .. } => &[],
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

/// A share of something that a fault strikes while it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    pub fault: usize,
    pub share: f64,
}

/// The clients that a fault is about: a share of them, the same as long as it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Covered {
    pub fault: usize,
    pub key: u64,
    pub share: f64,
}

impl Covered {
    fn has(&self, client: u32) -> bool {
        unit(mix(self.key ^ mix(u64::from(client)))) < self.share
    }
}

/// Clients that are on another profile than their own.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub covered: Covered,
    pub profile: ProfileId,
}

/// What a fault does to single frames.
#[derive(Debug, Clone, Copy)]
pub struct Meddler {
    pub share: Share,
    pub frames: &'static [FrameKind],
    pub what: FrameFault,
}

/// What hosts and world share.
pub struct Board {
    events: Vec<Event>,
    /// Entries that have an `append` event, kept when a history is written: an entry that a power cut left on the disk
    /// without a word gets its event when recovery finds it.
    appended: Option<FxHashSet<(ConversationId, Seq)>>,
    found: Vec<Event>,
    sometimes: FxHashMap<&'static str, u64>,
    pub armed: Vec<Armed>,
    pub struck: Vec<Struck>,
    /// Strikes that wait for the end of the tick, so that what the point announces still leaves.
    late: Vec<Armed>,
    /// Entries that each host has stamped with its clock and committed.
    pub stamped: FxHashMap<u16, u64>,
    pub sent_ack_cuts: Vec<Share>,
    pub device_ack_cuts: Vec<Share>,
    pub meddlers: Vec<Meddler>,
    pub slow_readers: Vec<Covered>,
    pub moved: Vec<Moved>,
    /// Clients with something to read that do not read.
    unread: BTreeSet<u32>,
    /// What faults have hit, by fault and what it was.
    pub hits: BTreeMap<(usize, &'static str), u64>,
    /// Lies told in this run.
    pub lies: u64,
    /// Entries by conversation, counted where a fault asks for the busiest.
    busiest: Option<FxHashMap<ConversationId, u64>>,
    meddling_stream: Stream,
    sent_stream: Stream,
    device_stream: Stream,
}

/// The board, shared.
#[derive(Clone)]
pub struct SharedBoard {
    board: Arc<Mutex<Board>>,
    /// Some fault has been about single clients or frames: only then is the board asked for each of them.
    roused: Arc<AtomicBool>,
}

impl SharedBoard {
    /// With `watches`, entries are counted by conversation.
    pub fn new(seed: u64, with_history: bool, watches: bool) -> Self {
        let board = Board {
            events: Vec::new(),
            appended: with_history.then(FxHashSet::default),
            found: Vec::new(),
            sometimes: FxHashMap::default(),
            armed: Vec::new(),
            struck: Vec::new(),
            late: Vec::new(),
            stamped: FxHashMap::default(),
            sent_ack_cuts: Vec::new(),
            device_ack_cuts: Vec::new(),
            meddlers: Vec::new(),
            slow_readers: Vec::new(),
            moved: Vec::new(),
            unread: BTreeSet::new(),
            hits: BTreeMap::new(),
            lies: 0,
            busiest: watches.then(FxHashMap::default),
            sent_stream: Stream::new(seed, "sent ack cuts"),
            device_stream: Stream::new(seed, "device ack cuts"),
            meddling_stream: Stream::new(seed, "meddling"),
        };
        SharedBoard { board: Arc::new(Mutex::new(board)), roused: Arc::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the board is asked for every frame and client.
    pub fn rouse(&self) {
        self.roused.store(true, Ordering::Relaxed);
    }

    pub fn is_roused(&self) -> bool {
        self.roused.load(Ordering::Relaxed)
    }
}

impl Board {
    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        into.append(&mut self.events);
    }

    /// Appends that belong in the history and are no event of the run.
    pub fn take_found(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.found)
    }

    /// Whether something may strike from inside a host or the fleet, and act on the world in the middle of a tick.
    pub fn may_strike_inside(&self) -> bool {
        !self.armed.is_empty() || !self.sent_ack_cuts.is_empty() || !self.device_ack_cuts.is_empty()
    }

    /// Puts what hosts have told in this tick in the order of hosts, as if they had stepped one after the other.
    pub fn sort_by_host(&mut self) {
        let host = |event: &Event| match event.at {
            Entity::Host(host) => host,
            _ => unreachable!("only hosts tell the board"),
        };
        self.events.sort_by_key(host);
        self.found.sort_by_key(host);
    }

    pub fn take_late(&mut self) -> Vec<Armed> {
        std::mem::take(&mut self.late)
    }

    /// Hits of every point, in the order of `SOMETIMES`.
    pub fn sometimes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        SOMETIMES.iter().map(|name| (*name, self.sometimes.get(name).copied().unwrap_or(0)))
    }

    /// Whether a fault strikes this ack of a delivery; counts it.
    pub fn strikes_device_ack(&mut self) -> bool {
        let fault = strike(&self.device_ack_cuts, &mut self.device_stream);
        fault.is_some_and(|fault| {
            self.hit(fault, "connections");
            true
        })
    }

    fn hit(&mut self, fault: usize, what: &'static str) {
        *self.hits.entry((fault, what)).or_default() += 1;
    }

    /// What every active fault says of itself here.
    #[cfg(test)]
    pub fn in_force(&self) -> Vec<String> {
        let shares = |name: &str, shares: &[Share]| shares.iter().map(|s| format!("{name} {}", s.share)).collect();
        let mut all: Vec<String> = shares("sent acks", &self.sent_ack_cuts);
        all.extend::<Vec<String>>(shares("device acks", &self.device_ack_cuts));
        all.extend(
            self.armed.iter().map(|a| format!("armed {} {:?} {}", a.host, a.point, matches!(a.cut, Cut::Power))),
        );
        all.extend(self.meddlers.iter().map(|m| format!("{:?} {:?} {}", m.frames, m.what, m.share.share)));
        all.extend(self.slow_readers.iter().map(|c| format!("slow readers {}", c.share)));
        all.extend(self.moved.iter().map(|m| format!("moved {} {:?}", m.covered.share, m.profile)));
        all
    }

    /// Counts a point that the world itself has reached.
    pub fn add(&mut self, name: &'static str, hits: u64) {
        debug_assert!(SOMETIMES.contains(&name), "{name} is no point");
        *self.sometimes.entry(name).or_default() += hits;
    }

    /// What a fault does to such a frame; counts it.
    pub fn meddle(&mut self, frame: FrameKind) -> FrameFault {
        let stream = &mut self.meddling_stream;
        let meddlers = self.meddlers.iter().filter(|meddler| meddler.frames.contains(&frame));
        let struck = meddlers.into_iter().find(|meddler| stream.chance(meddler.share.share)).copied();
        struck.map_or(FrameFault::Pass, |meddler| {
            self.hit(meddler.share.fault, "frames");
            meddler.what
        })
    }

    /// Whether the client reads; counts it when it does not.
    pub fn reads(&mut self, client: u32) -> bool {
        let Some(covered) = self.slow_readers.iter().find(|covered| covered.has(client)) else { return true };
        let fault = covered.fault;
        self.hit(fault, "reads");
        self.unread.insert(client);
        false
    }

    /// Clients that read again.
    pub fn take_readers(&mut self) -> Vec<u32> {
        let slow = &self.slow_readers;
        let (still, again): (BTreeSet<u32>, BTreeSet<u32>) = std::mem::take(&mut self.unread)
            .into_iter()
            .partition(|client| slow.iter().any(|covered| covered.has(*client)));
        self.unread = still;
        again.into_iter().collect()
    }

    /// The profile that the latest of the faults has put this client on.
    pub fn moved_to(&self, client: u32) -> Option<ProfileId> {
        self.moved.iter().rev().find(|moved| moved.covered.has(client)).map(|moved| moved.profile)
    }

    /// The shard that owns the conversation with most entries so far.
    pub fn busiest_shard(&self, shards: u32) -> u32 {
        let counts = self.busiest.iter().flatten();
        let busiest = counts.max_by_key(|(conversation, entries)| (**entries, conversation.0));
        busiest.map_or(0, |(conversation, _)| rendezvous(conversation.0, shards))
    }
}

/// The first of the shares that strikes.
fn strike(shares: &[Share], stream: &mut Stream) -> Option<usize> {
    shares.iter().find(|s| stream.chance(s.share)).map(|s| s.fault)
}

/// One host's power, process and voice.
pub struct Probe {
    pub index: u16,
    pub host: HostId,
    pub network: Network,
    pub disk: Option<Disk>,
    pub board: SharedBoard,
    /// The process runs and has power.
    pub alive: AtomicBool,
    /// Blocks that this disk had lost by the last power cut.
    pub blocks_lost: AtomicU64,
    /// Simulated µs, set by the world.
    pub now: Arc<AtomicU64>,
}

impl Probe {
    fn event(&self, kind: Kind) -> Event {
        Event { t: self.now.load(Ordering::Relaxed), at: Entity::Host(self.index), kind }
    }

    fn append(&self, conversation: ConversationId, entry: &Entry) -> Event {
        self.event(Kind::Append {
            conversation,
            seq: entry.seq,
            sender: entry.sender,
            client_msg_id: entry.client_msg_id,
            body_hash: payload_hash(&entry.payload),
        })
    }

    /// A commit has moved a cursor; this is where it stands on disk.
    pub fn cursor_stands_at(&self, device: DeviceId, conversation: ConversationId, up_to: Seq) {
        let event = self.event(Kind::Cursor { device, conversation, up_to });
        self.board.lock().events.push(event);
    }

    /// At this instant the host has no power: nothing leaves it, nothing unsynced survives.
    pub fn lose_power(&self, board: &mut Board, fault: usize) {
        if !self.alive.swap(false, Ordering::Relaxed) {
            return;
        }
        let connections = self.network.connections_of(self.host).len() as u64;
        self.network.power_off(self.host);
        // A cut in the middle of a commit has taken the blocks before we came here: count by what the disk has lost.
        let unsynced_blocks = self.disk.as_ref().map_or(0, |disk| {
            disk.power_loss();
            let lost = disk.stats().blocks_lost;
            lost - self.blocks_lost.swap(lost, Ordering::Relaxed)
        });
        board.events.push(self.event(Kind::PowerLoss { unsynced_blocks }));
        board.struck.push(Struck { host: self.index, fault, lost_power: true, unsynced_blocks, connections });
    }

    /// The disk's own power cut has struck in the middle of a commit: the whole host goes dark with it.
    pub fn lose_power_mid_commit(&self) {
        let mut board = self.board.lock();
        let armed = |a: &Armed| a.host == self.index && a.point == model::Point::MidCommit;
        if let Some(place) = board.armed.iter().position(armed) {
            let fault = board.armed.swap_remove(place).fault;
            self.lose_power(&mut board, fault);
        }
    }

    fn cut_sender(&self, board: &mut Board, device: DeviceId) {
        let Some(fault) = strike(&board.sent_ack_cuts, &mut board.sent_stream) else { return };
        let token = device.0 - 1;
        if let Some(conn) = self.network.connection_for_token(token)
            && self.network.cut(conn)
        {
            board.hit(fault, "connections");
        }
    }

    /// Carries out a cut here and now.
    pub fn strike(&self, board: &mut Board, armed: Armed) {
        match armed.cut {
            Cut::Power => self.lose_power(board, armed.fault),
            Cut::Process(style) => self.die(board, armed.fault, style),
        }
    }

    /// At this instant the process is dead; its kernel says good-bye for it.
    fn die(&self, board: &mut Board, fault: usize, style: CloseStyle) {
        if !self.alive.swap(false, Ordering::Relaxed) {
            return;
        }
        let connections = self.network.connections_of(self.host).len() as u64;
        self.network.crash(self.host, style);
        if let Some(disk) = &self.disk {
            disk.process_died();
        }
        board.events.push(self.event(Kind::Crash));
        board.struck.push(Struck { host: self.index, fault, lost_power: false, unsynced_blocks: 0, connections });
    }
}

/// The named point of a scenario that this is.
fn scenario_point(point: &Point<'_>) -> Option<model::Point> {
    match point {
        Point::Committed { .. } => Some(model::Point::Committed),
        Point::Acked { .. } => Some(model::Point::Acked),
        Point::Published { .. } => Some(model::Point::Published),
        Point::SyncPage { .. } => Some(model::Point::SyncPage),
        Point::Recovering => Some(model::Point::Recovering),
        _ => None,
    }
}

impl Observer for Probe {
    fn passed(&self, point: &Point<'_>) {
        if !self.alive.load(Ordering::Relaxed) {
            return;
        }
        let mut board = self.board.lock();
        for name in names(point) {
            *board.sometimes.entry(name).or_default() += 1;
        }
        if let Point::Found { conversation, entry } = point
            && board.appended.as_mut().is_some_and(|seen| seen.insert((*conversation, entry.seq)))
        {
            board.found.push(self.append(*conversation, entry));
        }
        if let Point::Committed { conversation, entry } = point {
            *board.stamped.entry(self.index).or_default() += 1;
            if let Some(busiest) = &mut board.busiest {
                *busiest.entry(*conversation).or_default() += 1;
            }
            board.events.push(self.append(*conversation, entry));
            if let Some(seen) = &mut board.appended {
                seen.insert((*conversation, entry.seq));
            }
            self.cut_sender(&mut board, entry.device);
        }
        if let Point::Published { conversation, seq, targets } = point {
            let devices = targets.iter().map(|l| l.device).collect();
            let kind = Kind::Publish { conversation: *conversation, seq: *seq, devices };
            board.events.push(self.event(kind));
        }
        if board.armed.is_empty() {
            return;
        }
        let Some(reached) = scenario_point(point) else { return };
        let Some(place) = board.armed.iter().position(|a| a.host == self.index && a.point == reached) else {
            return;
        };
        let armed = board.armed.swap_remove(place);
        if reached == model::Point::Acked {
            board.late.push(armed);
        } else {
            self.strike(&mut board, armed);
        }
    }
}
