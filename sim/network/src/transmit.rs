//! From written bytes to segments on the wire, and what becomes of segments whose way is closed.
//!
//! **Invariants:** segments of a direction arrive in order. A segment that left before an obstacle began passes it.
//! Lost segments come back as retransmissions after the obstacle is gone, unless their sender is dead by then.

use crate::conn::Phase;
use crate::events::Event;
use crate::fault::{FaultKind, Hits};
use crate::ids::{ConnId, Micros, NEVER};
use crate::links::Path;
use crate::profile::Profile;
use crate::queue::{Queue, Stall};
use crate::rng::{Rng, exponential_from, scatter};
use crate::segments::{Segment, SegmentKind};
use crate::state::{NetworkState, Power};

/// Payload of a full-sized segment on Ethernet with timestamps, rounded.
const MSS: usize = 1_460;
/// A write is sent in at most about this many segments, so that a large one costs little.
const BURST_SEGMENTS: usize = 8;
/// Bytes of IP and TCP headers, for the bandwidth.
const HEADER_BYTES: u64 = 52;
/// Linux's least retransmission time-out.
pub(crate) const RTO_MIN: Micros = 200_000;
/// The back-off stops doubling here, so that a healed path is used soon.
pub(crate) const RTO_MAX: Micros = 2_000_000;
/// What arrives later than this after it was sent is told as slow.
pub(crate) const SLOW: Micros = 400_000;
/// More losses in a row than this are not drawn.
const MAX_LOSSES: u32 = 16;
/// A drop lasts at most so many times its mean. Without an end to its tail no bound on liveness would hold: among three million
/// connections there always is one that is dark for longer than any.
const LONGEST_DROP: u64 = 4;
/// A loss probability above this counts as this: a total loss is a partition.
const MAX_LOSS: f64 = 0.95;

/// Why a segment does not get through now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Obstacle {
    /// For ever.
    Silent,
    /// Until a fault ends or a host returns.
    Lost,
    /// Until the release.
    Held,
    /// Until a known time: the profile's own drop.
    Dark(Micros),
}

/// When the first retransmission at or after `now` leaves, for data first sent at `since`.
pub(crate) fn retransmission_at(since: Micros, now: Micros) -> Micros {
    let mut at = since.saturating_add(RTO_MIN);
    let mut step = RTO_MIN;
    while at < now {
        step = (step * 2).min(RTO_MAX);
        at = if step == RTO_MAX { at + (now - at).div_ceil(step) * step } else { at + step };
    }
    at
}

/// Bytes a second of a link, if they are bounded.
fn rate(profile: &Profile, path: &Path) -> Option<u64> {
    match (profile.bandwidth_bytes_per_s, path.bytes_per_s) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn bytes_on_link(payload: u32) -> u64 {
    u64::from(payload) + HEADER_BYTES
}

/// The wire under one direction at one moment.
struct Wire<'a> {
    now: Micros,
    profile: &'a Profile,
    path: &'a Path,
    obstructed: bool,
    losses: u64,
}

impl Wire<'_> {
    fn push(&mut self, queue: &mut Queue, kind: SegmentKind, len: usize, rng: &mut Rng, extra: Micros) {
        let mut departs = self.now;
        if let Some(rate) = rate(self.profile, self.path) {
            departs = departs.max(queue.busy_until) + bytes_on_link(len as u32) * 1_000_000 / rate.max(1);
            queue.busy_until = departs;
        }
        departs += self.loss_delay(queue, rng);
        let latency = self.profile.latency.draw(rng) + self.path.add + rng.exponential(self.path.jitter);
        let due = (departs + latency + extra).max(queue.last_due);
        queue.last_due = due;
        queue.depart(len as u32);
        queue.segments.push_back(Segment { due, departs, len: len as u32, kind, obstructed: self.obstructed });
    }

    /// How much later the transmission that arrives leaves. With data in flight, duplicate acks give a first loss
    /// away after about one round trip; otherwise the time-out must run.
    fn loss_delay(&mut self, queue: &Queue, rng: &mut Rng) -> Micros {
        let p = (1.0 - (1.0 - self.profile.loss) * (1.0 - self.path.loss)).min(MAX_LOSS);
        let round_trip = 2 * (self.profile.latency.base + self.path.add);
        let mut wait = if queue.flight() > 0 { round_trip.clamp(1_000, RTO_MIN) } else { RTO_MIN + round_trip };
        let mut delay = 0;
        for _ in 0..MAX_LOSSES {
            if !rng.chance(p) {
                break;
            }
            self.losses += 1;
            delay += wait;
            wait = (wait.max(RTO_MIN) * 2).min(RTO_MAX);
        }
        delay
    }
}

impl NetworkState {
    /// One-way latency of a control segment from `sender`.
    pub fn draw_latency(&mut self, slot: u32, sender: usize) -> Micros {
        let path = self.path(slot, sender);
        let profile = &self.profiles[self.conns.at(slot).profile as usize];
        profile.latency.draw(&mut self.wire) + path.add + self.wire.exponential(path.jitter)
    }

    /// What stops a segment of this direction that left at `departs`.
    pub fn obstacle(&mut self, slot: u32, sender: usize, path: &Path, departs: Micros) -> Option<Obstacle> {
        let now = self.now;
        let conn = self.conns.at_mut(slot);
        if conn.drops_at <= now && !conn.frozen {
            let profile = &self.profiles[conn.profile as usize];
            let Some(mean) = profile.drop_duration else {
                conn.frozen = true;
                return Some(Obstacle::Silent);
            };
            // A drop's length and the time to the next one are functions of when it began, so that nothing
            // needs to be stored or scheduled while the connection is idle.
            let interval = profile.mean_time_between_drops.unwrap_or(NEVER);
            loop {
                let bits = scatter(self.seed ^ scatter(conn.drops_at ^ u64::from(slot) << 40));
                let lasts = exponential_from(bits, mean).min(LONGEST_DROP * mean);
                let end = conn.drops_at.saturating_add(lasts);
                if now < end {
                    return Some(Obstacle::Dark(end));
                }
                conn.drops_at = end.saturating_add(exponential_from(scatter(bits), interval).max(1));
                if conn.drops_at > now {
                    break;
                }
            }
        }
        if conn.frozen {
            Some(Obstacle::Silent)
        } else if path.blocked_since <= departs {
            Some(Obstacle::Lost)
        } else if path.held_since <= departs {
            Some(Obstacle::Held)
        } else if self.hosts[conn.hosts[1 - sender] as usize].power == Power::Off {
            Some(Obstacle::Lost)
        } else {
            None
        }
    }

    /// Makes the connection half-open if its NAT has forgotten it or a freeze covers its path.
    fn check_frozen(&mut self, slot: u32, sender: usize, path: &Path) {
        let now = self.now;
        let conn = self.conns.at_mut(slot);
        if conn.frozen {
            return;
        }
        let nat = self.profiles[conn.profile as usize].nat_idle_timeout;
        if conn.phase == Phase::Established
            && nat.is_some_and(|timeout| now.saturating_sub(conn.active_at) > timeout)
        {
            conn.frozen = true;
        }
        if path.freeze {
            self.freeze_by_fault(slot, sender);
        }
    }

    /// A freeze on the route of `sender` makes the connection half-open.
    pub fn freeze_by_fault(&mut self, slot: u32, sender: usize) {
        let conn = self.conns.at_mut(slot);
        conn.frozen = true;
        let route = conn.route(sender);
        self.links.count(&route, |kind, hits| hits.connections_cut += u64::from(kind == FaultKind::Freeze));
    }

    /// The queue of a direction, fetched from the pool if there is none.
    pub fn queue(&mut self, slot: u32, sender: usize) -> &mut Queue {
        let pool = &mut self.pool;
        self.conns.at_mut(slot).queues[sender].get_or_insert_with(|| pool.take())
    }

    /// Sends what the window allows of what is unsent, and the FIN behind it.
    pub fn transmit(&mut self, slot: u32, sender: usize) {
        self.transmit_with(slot, sender, None);
    }

    /// Sends `control` behind everything that is in flight, then what [`NetworkState::transmit`] sends.
    pub fn transmit_with(&mut self, slot: u32, sender: usize, control: Option<SegmentKind>) {
        let path = self.path(slot, sender);
        self.check_frozen(slot, sender, &path);
        let obstacle = self.obstacle(slot, sender, &path, self.now);
        self.queue(slot, sender);
        let NetworkState { now, conns, profiles, wire: rng, .. } = self;
        let conn = conns.at_mut(slot);
        conn.active_at = *now;
        let profile = &profiles[conn.profile as usize];
        let route = conn.route(sender);
        let Some(queue) = conn.queues[sender].as_deref_mut() else { return };
        let obstructed = !matches!(obstacle, None | Some(Obstacle::Held));
        let mut wire = Wire { now: *now, profile, path: &path, obstructed, losses: 0 };
        let before = (queue.segments.len(), queue.flight());
        if let Some(kind) = control {
            wire.push(queue, kind, 0, rng, 0);
        }
        let burst = MSS.max((queue.unsent() / BURST_SEGMENTS).next_multiple_of(MSS));
        loop {
            let window = (profile.recv_window as usize).saturating_sub(queue.window_used());
            let len = queue.unsent().min(window).min(burst);
            if len == 0 {
                break;
            }
            if len > 1 && rng.chance(profile.tear) {
                let first = 1 + rng.below(len as u64 - 1) as usize;
                wire.push(queue, SegmentKind::Data, first, rng, 0);
                let later = 1_000 + rng.below(1_000 + 2 * profile.latency.jitter);
                wire.push(queue, SegmentKind::Data, len - first, rng, later);
            } else {
                wire.push(queue, SegmentKind::Data, len, rng, 0);
            }
        }
        if queue.fin_pending && queue.unsent() == 0 {
            queue.fin_pending = false;
            wire.push(queue, SegmentKind::Fin, 0, rng, 0);
        }
        let sent = (queue.segments.len() - before.0, queue.flight() - before.1);
        let waiting = queue.stall != Stall::Flowing;
        let losses = wire.losses;
        let (arrives, token) = (queue.last_due, conn.fleet.then_some(conn.token));
        if sent.0 > 0 && arrives > *now + SLOW {
            self.slowed.extend(token.map(|token| (token, arrives)));
        }
        if !self.links.is_clear(&route) {
            self.links.count(&route, |kind, hits| count_sent(kind, hits, sent, losses, waiting));
        }
        self.start(slot, sender, obstacle);
    }

    /// Schedules the head segment, or stalls, if nothing is scheduled or stalled yet.
    fn start(&mut self, slot: u32, sender: usize, obstacle: Option<Obstacle>) {
        let Some(queue) = &self.conns.at(slot).queues[sender] else { return };
        if queue.segments.is_empty() || queue.scheduled != 0 || queue.stall != Stall::Flowing {
            return;
        }
        match obstacle {
            None => self.schedule_head(slot, sender),
            Some(obstacle) => self.obstruct(slot, sender, obstacle),
        }
    }

    pub fn schedule_head(&mut self, slot: u32, sender: usize) {
        let id = self.conns.id(slot);
        if let Some(queue) = &mut self.conns.at_mut(slot).queues[sender]
            && let Some(head) = queue.segments.front()
        {
            queue.scheduled = self.events.push(head.due, id, Event::Deliver(sender));
        }
    }

    /// The head segment does not get through.
    pub fn obstruct(&mut self, slot: u32, sender: usize, obstacle: Obstacle) {
        let conn = self.conns.at_mut(slot);
        let route = conn.route(sender);
        let sender_lives = conn.ends[sender].is_live();
        let Some(queue) = &mut conn.queues[sender] else { return };
        let Some(&head) = queue.segments.front() else { return };
        if obstacle != Obstacle::Held && !sender_lives {
            // Nobody is left who would send it again; an RST is never sent again anyway.
            queue.drop_undelivered();
            self.shrink(slot, sender);
            return self.settle(slot);
        }
        let (segments, bytes) = (queue.segments.len(), queue.flight());
        queue.scheduled = 0;
        queue.stuck_since = queue.stuck_since.min(head.departs);
        let since = queue.stuck_since;
        match obstacle {
            Obstacle::Dark(end) => self.resume(slot, sender, retransmission_at(since, end), false),
            Obstacle::Silent => queue.stall = Stall::Silent,
            Obstacle::Lost => queue.stall = Stall::Lost,
            Obstacle::Held => queue.stall = Stall::Held,
        }
        if matches!(obstacle, Obstacle::Lost | Obstacle::Held) {
            self.list_stalled(slot, sender);
            self.links.count(&route, |kind, hits| count_sent(kind, hits, (segments, bytes), 0, true));
        }
        self.set_patience(slot, sender);
    }

    /// Remembers that a fault's end, or a host's return, concerns this direction.
    pub fn list_stalled(&mut self, slot: u32, sender: usize) {
        let id = self.conns.id(slot);
        if let Some(queue) = &mut self.conns.at_mut(slot).queues[sender]
            && !std::mem::replace(&mut queue.listed, true)
        {
            self.stalled.push((id, sender as u8));
        }
    }

    /// Makes sure that patience is looked at when it may have run out.
    pub fn set_patience(&mut self, slot: u32, sender: usize) {
        let id = self.conns.id(slot);
        let patience = self.profile_of(slot).patience;
        let now = self.now;
        if let Some(queue) = &mut self.conns.at_mut(slot).queues[sender]
            && queue.stuck_since != NEVER
            && !std::mem::replace(&mut queue.patience_set, true)
        {
            let at = queue.stuck_since.saturating_add(patience).max(queue.grace_until + 1).max(now);
            self.events.push(at, id, Event::Patience(sender));
        }
    }

    /// What is in the queue leaves (again) at `at`. With `grace`, patience waits for the outcome.
    pub fn resume(&mut self, slot: u32, sender: usize, at: Micros, grace: bool) {
        let latency = self.draw_latency(slot, sender);
        self.release_at(slot, sender, at, at + latency, grace);
    }

    /// Every segment of the direction is due at `due` at the earliest.
    pub fn release_at(&mut self, slot: u32, sender: usize, departs: Micros, due: Micros, grace: bool) {
        let now = self.now;
        let conn = self.conns.at_mut(slot);
        let token = conn.fleet.then_some(conn.token);
        let Some(queue) = &mut conn.queues[sender] else { return };
        if due > queue.stuck_since.min(now) + SLOW {
            self.slowed.extend(token.map(|token| (token, due)));
        }
        queue.stall = Stall::Flowing;
        for segment in queue.segments.iter_mut() {
            segment.departs = departs.max(segment.departs);
            segment.due = due.max(segment.due);
            segment.obstructed = false;
        }
        queue.last_due = queue.last_due.max(due);
        if grace {
            queue.grace_until = due;
        }
        self.schedule_head(slot, sender);
    }

    /// What waits for its turn on a link goes on at the speed that the link has now, after a fault ended.
    pub fn repace(&mut self) {
        let now = self.now;
        let waits = |queue: &Option<Box<Queue>>| queue.as_ref().is_some_and(|queue| queue.busy_until > now);
        let waiting = self.conns.iter().flat_map(|(slot, conn)| {
            (0..2).filter(move |sender| waits(&conn.queues[*sender])).map(move |sender| (slot, sender))
        });
        let waiting: Vec<(u32, usize)> = waiting.collect();
        for (slot, sender) in waiting {
            self.repace_direction(slot, sender);
        }
    }

    fn repace_direction(&mut self, slot: u32, sender: usize) {
        let rate = rate(self.profile_of(slot), &self.path(slot, sender));
        let now = self.now;
        let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] else { return };
        let (mut free_at, mut last_due) = (now, 0);
        for segment in queue.segments.iter_mut() {
            if segment.departs > now {
                let takes = rate.map_or(0, |rate| bytes_on_link(segment.len) * 1_000_000 / rate.max(1));
                let travels = segment.due - segment.departs;
                free_at = (free_at + takes).min(segment.departs);
                segment.departs = free_at;
                segment.due = (free_at + travels).max(last_due);
            }
            last_due = segment.due;
        }
        queue.busy_until = free_at;
        queue.last_due = last_due;
        if queue.scheduled != 0 {
            self.schedule_head(slot, sender);
        }
    }

    /// Looks at every stalled direction again, after a fault ended or a host returned.
    pub fn retry_stalled(&mut self) {
        let list = std::mem::take(&mut self.stalled);
        for (id, sender) in list {
            let sender = sender as usize;
            if self.conns.contains(id)
                && let Some(queue) = &mut self.conns.at_mut(id.slot).queues[sender]
                && std::mem::take(&mut queue.listed)
            {
                self.retry_direction(id, sender);
            }
        }
    }

    fn retry_direction(&mut self, id: ConnId, sender: usize) {
        let (slot, now) = (id.slot, self.now);
        let path = self.path(slot, sender);
        let acks_pass = !self.path(slot, 1 - sender).is_closed();
        let obstacle = self.obstacle(slot, sender, &path, now);
        let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] else { return };
        let since = queue.stuck_since.min(now);
        let owes_ack = queue.owes_ack();
        if matches!(queue.stall, Stall::Lost | Stall::Held) {
            match obstacle {
                None if queue.stall == Stall::Held => self.release_at(slot, sender, now, now, true),
                None => self.resume(slot, sender, retransmission_at(since, now), true),
                Some(Obstacle::Dark(end)) => self.resume(slot, sender, retransmission_at(since, end), false),
                Some(Obstacle::Silent) => queue.stall = Stall::Silent,
                Some(Obstacle::Lost) => {
                    queue.stall = Stall::Lost;
                    self.list_stalled(slot, sender);
                }
                Some(Obstacle::Held) => {
                    queue.stall = Stall::Held;
                    self.list_stalled(slot, sender);
                }
            }
        }
        if owes_ack && acks_pass {
            self.set_ack(slot, sender, retransmission_at(since, now));
        } else if owes_ack {
            self.list_stalled(slot, sender);
        }
    }
}

fn count_sent(kind: FaultKind, hits: &mut Hits, sent: (usize, usize), losses: u64, waiting: bool) {
    let (segments, bytes) = (sent.0 as u64, sent.1 as u64);
    match kind {
        FaultKind::Block if waiting => {
            hits.segments_stalled += segments;
            hits.bytes_stalled += bytes;
        }
        FaultKind::Hold if waiting => {
            hits.segments_held += segments;
            hits.bytes_held += bytes;
        }
        FaultKind::Latency { .. } | FaultKind::Slow { .. } if !waiting => hits.segments_delayed += segments,
        FaultKind::Loss { .. } => hits.segments_lost += losses,
        _ => {}
    }
}
