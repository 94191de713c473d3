//! The server's observer in a simulated host: it tells the world what the host passes, and carries out what strikes exactly there.
//!
//! **Invariant:** a point is passed before the effect that follows it, so a cut at a point comes before that effect. The ack is
//! the exception: `acked` strikes at the end of the tick, so that the ack leaves.

use super::bill::Bill;
use super::commits::Unheard;
use super::hops::Voice;
use super::mailbox::SharedMailbox;
use super::points::{Armed, ArmedPoints, Cut, Struck, names, scenario_point};
use crate::disk::Disk;
use squall_generators::client_faults::SharedClientFaults;
use squall_history::{Entity, Event, Kind, payload_hash};
use squall_network::{CloseStyle, HostId, Network};
use squall_protocol::{ConversationId, Cursors, DeviceId, Entry, UserId};
use squall_scenarios::model;
use squall_server::Stop;
use squall_server::hop::Hop;
use squall_server::inspect::Inspect;
use squall_server::level::Level;
use squall_server::observer::{Observer, Point};
use squall_server::work::Work;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One host's power, process and voice.
pub struct Probe {
    pub index: u16,
    pub host: HostId,
    pub network: Network,
    pub disk: Option<Disk>,
    pub mailbox: SharedMailbox,
    pub armed: ArmedPoints,
    pub client_faults: SharedClientFaults,
    /// The process runs and has power.
    pub alive: AtomicBool,
    /// Blocks that this disk had lost by the last power cut.
    pub blocks_lost: AtomicU64,
    /// Cursors that commits were to move of which nobody has heard.
    pub unheard: Unheard,
    /// Simulated µs, set by the world.
    pub now: Arc<AtomicU64>,
    /// What the host's work costs; `None`: nothing.
    pub bill: Option<Bill>,
    /// For whoever follows something.
    pub voice: Option<Voice>,
    /// How the process that runs is asked to end, and by which fault it was.
    pub stop: Mutex<(Stop, Option<usize>)>,
    /// How the memory of the process that runs is looked at.
    pub inspect: Inspect,
}

impl Probe {
    fn event(&self, kind: Kind) -> Event {
        Event { t: self.now.load(Ordering::Relaxed), at: Entity::Host(self.index), kind }
    }

    fn stop(&self) -> MutexGuard<'_, (Stop, Option<usize>)> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process begins, which nobody has asked to end.
    pub fn begins(&self) -> Stop {
        let stop = Stop::default();
        *self.stop() = (stop.clone(), None);
        stop
    }

    /// A fault asks the process to end, a gateway over this window.
    pub fn ask_to_end(&self, fault: usize, window: Duration) {
        let mut stop = self.stop();
        stop.1 = Some(fault);
        stop.0.request(window);
    }

    /// Whether this fault has asked the process to end, which runs on.
    pub fn was_asked_by(&self, fault: usize) -> bool {
        self.alive.load(Ordering::Relaxed) && self.stop().1 == Some(fault)
    }

    /// The role has ended in good order, and with it the process, at the end of this tick. False: nobody had asked it to.
    pub fn exits(&self) -> bool {
        let asked = self.stop().1.take();
        asked.inspect(|fault| self.armed.has_ended(self.index, *fault)).is_some()
    }

    /// The process has ended by itself: its kernel closes what is left.
    pub fn has_exited(&self, fault: usize) {
        self.end(fault, CloseStyle::Fin, Kind::Exit);
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
    pub fn cursor_stands_at(&self, user: UserId, conversation: ConversationId, cursors: Cursors) {
        let Cursors { delivered: up_to, read } = cursors;
        self.mailbox.lock().tell(self.event(Kind::Cursor { conversation, up_to, read, user }));
    }

    /// At this instant the host has no power: nothing leaves it, nothing unsynced survives.
    pub fn lose_power(&self, fault: usize) {
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
        self.mailbox.lock().tell(self.event(Kind::PowerLoss { unsynced_blocks }));
        self.armed.has_struck(Struck { host: self.index, fault, lost_power: true, unsynced_blocks, connections });
    }

    /// The disk's own power cut has struck in the middle of a commit: the whole host goes dark with it.
    pub fn lose_power_mid_commit(&self) {
        if let Some(armed) = self.armed.take(self.index, model::Point::MidCommit) {
            self.lose_power(armed.fault);
        }
    }

    /// Carries out a cut here and now.
    pub fn strike(&self, armed: Armed) {
        match armed.cut {
            Cut::Power => self.lose_power(armed.fault),
            Cut::Process(style) => self.die(armed.fault, style),
        }
    }

    /// At this instant the process is dead; its kernel says good-bye for it.
    fn die(&self, fault: usize, style: CloseStyle) {
        self.end(fault, style, Kind::Crash);
    }

    fn end(&self, fault: usize, style: CloseStyle, kind: Kind) {
        if !self.alive.swap(false, Ordering::Relaxed) {
            return;
        }
        let connections = self.network.connections_of(self.host).len() as u64;
        self.network.crash(self.host, style);
        if let Some(disk) = &self.disk {
            disk.process_died();
        }
        self.mailbox.lock().tell(self.event(kind));
        self.armed.has_struck(Struck {
            host: self.index,
            fault,
            lost_power: false,
            unsynced_blocks: 0,
            connections,
        });
    }

    /// A fault may cut the connection of the message's sender before the shard can ack it.
    fn cut_sender(&self, device: DeviceId) {
        let Some(fault) = self.client_faults.cuts_sent_ack() else { return };
        // A device's token on the last mile is its number among the clients.
        let token = device.0 - 1;
        if let Some(conn) = self.network.connection_for_token(token)
            && self.network.cut(conn)
        {
            self.client_faults.lock().hit(fault, "connections", 1);
        }
    }

    fn tell(&self, point: &Point<'_>) {
        let mut mailbox = self.mailbox.lock();
        names(point).iter().for_each(|name| mailbox.count(name));
        match point {
            Point::Found { conversation, entry } => {
                mailbox.found(*conversation, entry.seq, || self.append(*conversation, entry));
            }
            Point::Committed { conversation, entry } => {
                mailbox.committed(self.index, *conversation, entry.seq, self.append(*conversation, entry));
            }
            Point::Published { conversation, seq, targets } => {
                let devices = targets.iter().map(|l| l.device).collect();
                mailbox.tell(self.event(Kind::Publish { conversation: *conversation, seq: *seq, devices }));
            }
            // They are counted, and are no event of the history.
            Point::Acked { .. }
            | Point::SyncPage { .. }
            | Point::Recovering
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
            | Point::Lost { .. } => {}
        }
    }
}

impl Observer for Probe {
    fn worked(&self, work: Work, amount: usize) {
        if let Some(bill) = &self.bill {
            bill.add(work, amount as u64);
        }
    }

    fn hop(&self, hop: &Hop<'_>) {
        if let Some(voice) = &self.voice
            && self.alive.load(Ordering::Relaxed)
        {
            self.follow(voice, hop);
        }
    }

    fn stands(&self, level: Level, now: usize, most: usize) {
        if self.alive.load(Ordering::Relaxed) {
            let is_highest = self.mailbox.lock().stands(self.index, level, now as u64, most as u64);
            if let (true, Some(voice)) = (is_highest, &self.voice) {
                self.follow_level(voice, level, most as u64);
            }
        }
    }

    fn passed(&self, point: &Point<'_>) {
        if !self.alive.load(Ordering::Relaxed) {
            return;
        }
        if let Some(voice) = &self.voice {
            self.follow_point(voice, point);
        }
        self.tell(point);
        if let Point::Committed { entry, .. } = point {
            self.cut_sender(entry.device);
        }
        let Some(reached) = scenario_point(point) else { return };
        let Some(armed) = self.armed.take(self.index, reached) else { return };
        if reached == model::Point::Acked {
            self.armed.strike_later(armed);
        } else {
            self.strike(armed);
        }
    }
}
