//! The faults that are active on one disk, and how often each one bit.
//!
//! **Invariants:** every active fault draws from a stream of its own, so that adding or removing one fault never changes
//! what another one hits; removing a fault never undoes another; hits of removed faults are kept. Guarded by this
//! folder's tests.

/// A fault of a block device. `share` is the probability, 0 to 1, that one operation is hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFault {
    /// Reads fail.
    ReadError { share: f64 },
    /// Writes fail; a prefix of the write's blocks may have reached the page cache.
    WriteError { share: f64 },
    /// Syncs fail. Each unsynced block is made durable, or is taken for clean though it is not durable, as the seed decides.
    SyncError { share: f64 },
    /// Writes that need a new block fail with [`std::io::ErrorKind::StorageFull`]; allocated blocks can be rewritten.
    Full,
    /// Syncs answer `Ok` and make nothing durable, as a drive with a volatile cache that lies. A hit is a sync that
    /// had something to do.
    LyingSync,
    /// Each sync takes this much longer. Reported by [`super::Disk::extra_sync_delay`], never waited for here.
    SlowSync { extra_us: u64 },
    /// No sync finishes before this simulated time. Reported by [`super::Disk::extra_sync_delay`].
    Stalled { until_us: u64 },
    /// When power is lost, one unsynced block is torn: its first sectors are new, the rest is old.
    TornBlock,
    /// When power is lost, each unsynced block has this probability of having reached the platter. A hit is a block.
    UnsyncedSurvive { share: f64 },
}

/// Names one fault of one disk, from [`super::Disk::add_fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(u64);

/// What a fault hit, whether it is still active or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultHits {
    pub id: FaultId,
    pub fault: DiskFault,
    pub hits: u64,
    pub active: bool,
}

/// A stream of random draws: splitmix64, which is enough to decide whether a fault bites.
#[derive(Clone, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut draws = Self(seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        draws.0 = draws.next();
        draws
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Uniform in `0..bound`; `bound` is small, so that the bias of the multiply is of no account.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[derive(Debug)]
struct Active {
    id: FaultId,
    fault: DiskFault,
    draws: Draws,
    hits: u64,
}

/// The set of active faults of one disk.
#[derive(Debug)]
pub(super) struct FaultSet {
    seed: u64,
    next_id: u64,
    active: Vec<Active>,
    ended: Vec<FaultHits>,
}

impl FaultSet {
    pub fn new(seed: u64) -> Self {
        Self { seed, next_id: 1, active: Vec::new(), ended: Vec::new() }
    }

    /// `key` names the fault's stream: what it draws depends on nothing else.
    pub fn add(&mut self, fault: DiskFault, key: u64) -> FaultId {
        let id = FaultId(self.next_id);
        self.next_id += 1;
        self.active.push(Active { id, fault, draws: Draws::new(self.seed, key), hits: 0 });
        id
    }

    /// Ends a fault; false if it was not active.
    pub fn remove(&mut self, id: FaultId) -> bool {
        let Some(at) = self.active.iter().position(|a| a.id == id) else { return false };
        let Active { id, fault, hits, .. } = self.active.remove(at);
        self.ended.push(FaultHits { id, fault, hits, active: false });
        true
    }

    pub fn hits(&self) -> Vec<FaultHits> {
        let active =
            self.active.iter().map(|a| FaultHits { id: a.id, fault: a.fault, hits: a.hits, active: true });
        let mut all: Vec<_> = self.ended.iter().copied().chain(active).collect();
        all.sort_by_key(|f| f.id);
        all
    }

    pub fn read_fails(&mut self) -> bool {
        self.draw(|fault| if let DiskFault::ReadError { share } = fault { Some(*share) } else { None })
    }

    pub fn write_fails(&mut self) -> bool {
        self.draw(|fault| if let DiskFault::WriteError { share } = fault { Some(*share) } else { None })
    }

    pub fn sync_fails(&mut self) -> bool {
        self.draw(|fault| if let DiskFault::SyncError { share } = fault { Some(*share) } else { None })
    }

    /// Whether a sync lies; `pending` says whether it had something to make durable, which is what counts as a hit.
    pub fn sync_lies(&mut self, pending: bool) -> bool {
        self.hit_all(|fault| matches!(fault, DiskFault::LyingSync), u64::from(pending))
    }

    pub fn is_full(&self) -> bool {
        self.active.iter().any(|a| matches!(a.fault, DiskFault::Full))
    }

    pub fn hit_full(&mut self) {
        self.hit_all(|fault| matches!(fault, DiskFault::Full), 1);
    }

    pub fn tears(&self) -> bool {
        self.active.iter().any(|a| matches!(a.fault, DiskFault::TornBlock))
    }

    pub fn hit_torn(&mut self) {
        self.hit_all(|fault| matches!(fault, DiskFault::TornBlock), 1);
    }

    /// The probability that an unsynced block survives, all sources taken as independent.
    pub fn survive_share(&self, base: f64) -> f64 {
        let lost = self.active.iter().fold(1.0 - base, |lost, a| match a.fault {
            DiskFault::UnsyncedSurvive { share } => lost * (1.0 - share),
            _ => lost,
        });
        1.0 - lost
    }

    pub fn hit_survived(&mut self, blocks: u64) {
        self.hit_all(|fault| matches!(fault, DiskFault::UnsyncedSurvive { .. }), blocks);
    }

    /// By how much a sync that starts now is delayed: slow syncs add up, and a stall holds until its end.
    pub fn sync_delay_us(&mut self, now_us: u64) -> u64 {
        let (mut slow, mut stalled) = (0u64, 0u64);
        for a in &mut self.active {
            let delay = match a.fault {
                DiskFault::SlowSync { extra_us } => {
                    slow = slow.saturating_add(extra_us);
                    extra_us
                }
                DiskFault::Stalled { until_us } => {
                    let left = until_us.saturating_sub(now_us);
                    stalled = stalled.max(left);
                    left
                }
                _ => 0,
            };
            a.hits += u64::from(delay > 0);
        }
        slow.saturating_add(stalled)
    }

    /// Every matching fault draws, even after one has bitten, so that each keeps its own sequence.
    fn draw(&mut self, share: impl Fn(&DiskFault) -> Option<f64>) -> bool {
        let mut bitten = false;
        for a in &mut self.active {
            if share(&a.fault).is_some_and(|share| a.draws.chance(share)) {
                a.hits += 1;
                bitten = true;
            }
        }
        bitten
    }

    fn hit_all(&mut self, is: impl Fn(&DiskFault) -> bool, hits: u64) -> bool {
        let mut any = false;
        for a in self.active.iter_mut().filter(|a| is(&a.fault)) {
            a.hits += hits;
            any = true;
        }
        any
    }
}
