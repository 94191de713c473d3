//! What faults do to single clients and frames while they last, and what they hit there.
//!
//! **Invariant:** every active fault draws from a stream of its own, even after another has struck, so that no fault changes what
//! another strikes.

use crate::fleet::{FrameFault, FrameFaults, FrameKind};
use crate::rng::{Stream, unit};
use squall_protocol::ids::mix;
use squall_scenarios::Profile;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A share of something that a fault strikes while it lasts.
#[derive(Debug, Clone)]
pub struct Share {
    pub fault: usize,
    pub share: f64,
    pub stream: Stream,
}

/// The clients that a fault is about: a share of them, the same as long as it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Cohort {
    pub fault: usize,
    pub key: u64,
    pub share: f64,
}

impl Cohort {
    /// Whether this client is one of them.
    pub fn has(&self, client: u32) -> bool {
        unit(mix(self.key ^ mix(u64::from(client)))) < self.share
    }
}

/// Something that a fault does to clients or frames as long as it lasts.
#[derive(Debug, Clone)]
pub enum ClientFault {
    /// The connection of a sender is cut between the commit of its message and the ack.
    CutSentAcks(Share),
    /// The connection of a device is cut before its ack of a delivery leaves.
    CutDeviceAcks(Share),
    /// This happens to frames of these sorts.
    Frames { share: Share, frames: &'static [FrameKind], what: FrameFault },
    /// Clients do not read.
    SlowReaders(Cohort),
    /// Clients are on another last-mile profile than their own.
    ProfileChange { cohort: Cohort, profile: Profile },
}

impl ClientFault {
    fn fault(&self) -> usize {
        match self {
            ClientFault::CutSentAcks(share)
            | ClientFault::CutDeviceAcks(share)
            | ClientFault::Frames { share, .. } => share.fault,
            ClientFault::SlowReaders(cohort) | ClientFault::ProfileChange { cohort, .. } => cohort.fault,
        }
    }
}

/// All that is in force, in the order in which it began.
#[derive(Default)]
pub struct ClientFaults {
    active: Vec<ClientFault>,
    /// Clients with something to read that do not read.
    unread: BTreeSet<u32>,
    /// What faults have hit, by fault and what it was.
    hits: BTreeMap<(usize, &'static str), u64>,
}

/// The faults of clients, shared by the last mile, the hosts' probes and the nemesis.
#[derive(Clone, Default)]
pub struct SharedClientFaults {
    faults: Arc<Mutex<ClientFaults>>,
    /// Some fault has been about single clients or frames: only then is anybody asked for each of them.
    ever: Arc<AtomicBool>,
}

impl SharedClientFaults {
    pub fn lock(&self) -> MutexGuard<'_, ClientFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there has been one at all: a run without them does not pay for the questions.
    pub fn ever(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }

    pub fn begin(&self, fault: ClientFault) {
        self.lock().active.push(fault);
        self.ever.store(true, Ordering::Relaxed);
    }

    /// Ends all that this fault does; clients that read again because of it.
    pub fn end(&self, fault: usize) -> Vec<u32> {
        let mut faults = self.lock();
        faults.active.retain(|active| active.fault() != fault);
        faults.take_readers()
    }

    /// Whether something may cut a connection from inside a host or the fleet, in the middle of a tick.
    pub fn may_cut(&self) -> bool {
        let cuts = |fault: &ClientFault| match fault {
            ClientFault::CutSentAcks(_) | ClientFault::CutDeviceAcks(_) => true,
            ClientFault::Frames { .. } | ClientFault::SlowReaders(_) | ClientFault::ProfileChange { .. } => false,
        };
        self.ever() && self.lock().active.iter().any(cuts)
    }

    /// The fault that cuts a sender off from the ack that would come now. Whoever finds a connection counts the hit.
    pub fn cuts_sent_ack(&self) -> Option<usize> {
        if self.ever() { self.lock().cuts_sent_ack() } else { None }
    }
}

impl FrameFaults for SharedClientFaults {
    fn fault(&mut self, _client: u32, frame: FrameKind) -> FrameFault {
        if !self.ever() {
            return FrameFault::Pass;
        }
        let mut faults = self.lock();
        if frame == FrameKind::Ack && faults.cuts_device_ack() {
            return FrameFault::Cut;
        }
        faults.frame_fault(frame)
    }

    fn reads(&mut self, client: u32) -> bool {
        !self.ever() || self.lock().reads(client)
    }
}

impl ClientFaults {
    fn cuts_sent_ack(&mut self) -> Option<usize> {
        first_that_strikes(self.active.iter_mut().filter_map(|fault| match fault {
            ClientFault::CutSentAcks(share) => Some(share),
            _ => None,
        }))
    }

    /// Whether a fault strikes this ack of a delivery; counts it.
    fn cuts_device_ack(&mut self) -> bool {
        let fault = first_that_strikes(self.active.iter_mut().filter_map(|fault| match fault {
            ClientFault::CutDeviceAcks(share) => Some(share),
            _ => None,
        }));
        fault.is_some_and(|fault| {
            self.hit(fault, "connections", 1);
            true
        })
    }

    /// What all faults that strike it do to such a frame together; counts each of them.
    fn frame_fault(&mut self, frame: FrameKind) -> FrameFault {
        let mut struck = Vec::new();
        for fault in &mut self.active {
            if let ClientFault::Frames { share, frames, what } = fault
                && frames.contains(&frame)
                && share.stream.chance(share.share)
            {
                struck.push((share.fault, *what));
            }
        }
        struck.into_iter().fold(FrameFault::Pass, |all, (fault, what)| {
            self.hit(fault, "frames", 1);
            together(all, what)
        })
    }

    /// Whether the client reads; counts it when it does not.
    fn reads(&mut self, client: u32) -> bool {
        let Some(fault) = self.slow_reader(client) else { return true };
        self.hit(fault, "reads", 1);
        self.unread.insert(client);
        false
    }

    /// The fault that keeps this client from reading.
    fn slow_reader(&self, client: u32) -> Option<usize> {
        self.active.iter().find_map(|fault| match fault {
            ClientFault::SlowReaders(cohort) if cohort.has(client) => Some(cohort.fault),
            _ => None,
        })
    }

    fn take_readers(&mut self) -> Vec<u32> {
        let unread = std::mem::take(&mut self.unread);
        let (still, again): (BTreeSet<u32>, BTreeSet<u32>) =
            unread.into_iter().partition(|client| self.slow_reader(*client).is_some());
        self.unread = still;
        again.into_iter().collect()
    }

    /// The profile that the latest of the faults has put this client on.
    pub fn profile_of(&self, client: u32) -> Option<Profile> {
        self.active.iter().rev().find_map(|fault| match fault {
            ClientFault::ProfileChange { cohort, profile } if cohort.has(client) => Some(*profile),
            _ => None,
        })
    }

    pub fn hit(&mut self, fault: usize, what: &'static str, by: u64) {
        *self.hits.entry((fault, what)).or_default() += by;
    }

    pub fn take_hits(&mut self) -> BTreeMap<(usize, &'static str), u64> {
        std::mem::take(&mut self.hits)
    }

    /// What every active fault says of itself here.
    pub fn in_force(&self) -> Vec<String> {
        let said = |fault: &ClientFault| match fault {
            ClientFault::CutSentAcks(share) => format!("sent acks {}", share.share),
            ClientFault::CutDeviceAcks(share) => format!("device acks {}", share.share),
            ClientFault::Frames { share, frames, what } => format!("{frames:?} {what:?} {}", share.share),
            ClientFault::SlowReaders(cohort) => format!("slow readers {}", cohort.share),
            ClientFault::ProfileChange { cohort, profile } => format!("profile {} {profile:?}", cohort.share),
        };
        self.active.iter().map(said).collect()
    }
}

/// What two faults do to one frame: it comes as late as the later of them says, and twice if one of them says so.
fn together(a: FrameFault, b: FrameFault) -> FrameFault {
    let parts = |fault| match fault {
        FrameFault::Pass => Some((false, None)),
        FrameFault::Twice => Some((true, None)),
        FrameFault::Late(by) => Some((false, Some(by))),
        FrameFault::LateTwice(by) => Some((true, Some(by))),
        FrameFault::Cut => None,
    };
    let Some(((a_twice, a_late), (b_twice, b_late))) = parts(a).zip(parts(b)) else { return FrameFault::Cut };
    match (a_twice || b_twice, a_late.max(b_late)) {
        (false, None) => FrameFault::Pass,
        (true, None) => FrameFault::Twice,
        (false, Some(by)) => FrameFault::Late(by),
        (true, Some(by)) => FrameFault::LateTwice(by),
    }
}

/// The first of the shares that strikes. Every one draws, even after one has struck, so that each keeps its own sequence.
fn first_that_strikes<'a>(shares: impl Iterator<Item = &'a mut Share>) -> Option<usize> {
    let struck = shares.filter_map(|share| share.stream.chance(share.share).then_some(share.fault));
    struck.fold(None, |first, fault| first.or(Some(fault)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn two_faults_that_strike_one_frame_both_have_their_way_and_their_hit() {
        let faults = SharedClientFaults::default();
        let late = Duration::from_secs(2);
        let all = [(0, FrameFault::Twice), (1, FrameFault::Late(late)), (2, FrameFault::Late(late / 2))];
        for (fault, what) in all {
            let share = Share { fault, share: 1.0, stream: Stream::new(7, "frames") };
            faults.begin(ClientFault::Frames { share, frames: &[FrameKind::Ack], what });
        }
        assert_eq!(faults.clone().fault(3, FrameKind::Ack), FrameFault::LateTwice(late));
        assert_eq!(faults.clone().fault(3, FrameKind::Sent), FrameFault::Pass);
        assert_eq!(faults.lock().take_hits(), [((0, "frames"), 1), ((1, "frames"), 1), ((2, "frames"), 1)].into());
    }
}
