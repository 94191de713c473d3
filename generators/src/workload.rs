//! What people do and when: open-loop, drawn from the seed, the same whatever the system does.

use crate::population::{Conversation, Population};
use crate::rng::{Stream, exponential, key, unit};
use squall_protocol::ids::mix;
use squall_protocol::{ClientMsgId, Payload};
use squall_scenarios::model::{self, Arrival, Codec};

/// One act of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The device that they use, by index.
    pub device: u32,
    pub conversation: Conversation,
    pub payload: Payload,
}

/// A scenario's behaviour.
#[derive(Debug, Clone)]
pub struct Workload {
    seed: u64,
    model: model::Workload,
}

/// Length of the send time that a body begins with, in hexadecimal microseconds.
const STAMP_BYTES: usize = 12;

impl Workload {
    pub fn new(model: &model::Workload, seed: u64) -> Self {
        Workload { seed: key(seed, "workload"), model: model.clone() }
    }

    pub fn model(&self) -> &model::Workload {
        &self.model
    }

    fn bits(&self, what: u64, index: u32, n: u32) -> u64 {
        mix(self.seed ^ mix(what ^ mix(u64::from(index) << 32 | u64::from(n))))
    }

    /// The gap before the `n`th send of a user, in µs.
    pub fn send_gap(&self, user: u32, n: u32) -> u64 {
        let mean = self.model.send_interval.as_micros() as f64;
        let bits = self.bits(1, user, n);
        let gap = match self.model.arrival {
            Arrival::Poisson => exponential(bits, mean),
            // The first gap is the phase.
            Arrival::Constant if n == 0 => unit(bits) * mean,
            Arrival::Constant => mean,
        };
        (gap as u64).max(1)
    }

    /// The `n`th send of a user, at `now` µs; `None` when the user has nobody to write to.
    pub fn send(&self, population: &Population, user: u32, n: u32, now: u64) -> Option<Act> {
        let mut stream = Stream::from_key(self.bits(2, user, n));
        let device =
            user * population.devices_per_user() + stream.below(u64::from(population.devices_per_user())) as u32;
        let group = if stream.chance(self.model.direct_share) {
            None
        } else {
            population.group_of(user, stream.next_u64())
        };
        let directs = u64::from(population.directs());
        let conversation = match group {
            Some(group) => population.group(group),
            None => {
                let first = stream.below(directs);
                (0..directs).find_map(|i| population.direct(user, ((first + i) % directs) as u32)).or_else(
                    || population.group_of(user, stream.next_u64()).map(|group| population.group(group)),
                )?
            }
        };
        Some(Act { device, conversation, payload: Payload::Text(self.body(now)) })
    }

    /// Whether the `n`th send of a user is followed by another one at once.
    pub fn has_follow_up(&self, user: u32, n: u32) -> bool {
        unit(self.bits(3, user, n)) < self.model.follow_up_share
    }

    /// A body that begins with its send time, so that every reader can tell its age.
    pub fn body(&self, now: u64) -> String {
        let mut body = format!("{now:0width$x}", width = STAMP_BYTES);
        let len = self.model.body_bytes as usize;
        while body.len() < len {
            body.push_str(&" the quick brown fox jumps over the lazy dog"[..(len - body.len()).min(44)]);
        }
        body
    }

    /// The gap before the `n`th membership change of a group, in µs; `None` when groups do not change.
    pub fn membership_gap(&self, group: u32, n: u32) -> Option<u64> {
        let mean = self.model.membership_interval.as_micros();
        (mean > 0).then(|| (exponential(self.bits(4, group, n), mean as f64) as u64).max(1))
    }

    /// The `n`th membership change: the group's owner adds the guest, then removes them, and so on.
    pub fn membership(&self, population: &Population, group: u32, n: u32) -> Option<Act> {
        let guest = population.user(population.guest(group)?);
        let owner = population.group_members(group).next()?;
        let payload = if n.is_multiple_of(2) { Payload::Joined(guest) } else { Payload::Left(guest) };
        let device = owner * population.devices_per_user();
        Some(Act { device, conversation: population.group(group), payload })
    }

    /// How long the `n`th session of a device lasts, in µs; `None`: for ever.
    pub fn session_length(&self, device: u32, n: u32) -> Option<u64> {
        let mean = self.model.session_length.as_micros();
        (mean > 0).then(|| (exponential(self.bits(5, device, n), mean as f64) as u64).max(1))
    }

    pub fn codec(&self, device: u32) -> squall_protocol::Codec {
        match self.model.codec {
            Codec::Json => squall_protocol::Codec::Json,
            Codec::Protobuf => squall_protocol::Codec::Protobuf,
            Codec::Mixed if device.is_multiple_of(2) => squall_protocol::Codec::Json,
            Codec::Mixed => squall_protocol::Codec::Protobuf,
        }
    }

    /// The id of the `n`th message of a device: a version 4 UUID.
    pub fn message_id(&self, device: u32, n: u32) -> ClientMsgId {
        let (high, low) = (self.bits(6, device, n), self.bits(7, device, n));
        let bits = u128::from(high) << 64 | u128::from(low);
        ClientMsgId(bits & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62)
    }
}

/// The send time that a body begins with, in µs of the run; `None` when it is not one of ours.
pub fn sent_at(body: &str) -> Option<u64> {
    body.get(..STAMP_BYTES).and_then(|stamp| u64::from_str_radix(stamp, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (Population, Workload) {
        let p = model::Population { users: 50, groups: 5, devices_per_user: 2, ..Default::default() };
        let w = model::Workload { direct_share: 0.5, ..Default::default() };
        (Population::new(&p, 3), Workload::new(&w, 3))
    }

    #[test]
    fn a_sender_is_a_member_of_the_conversation_and_uses_an_own_device() {
        let (p, w) = setup();
        let (mut direct, mut group) = (0, 0);
        for user in 0..50 {
            for n in 0..20 {
                let act = w.send(&p, user, n, 9).unwrap();
                assert_eq!(p.user_of_device(act.device), p.user(user));
                assert!(act.conversation.members.contains(&p.user(user)));
                if act.conversation.direct { direct += 1 } else { group += 1 }
            }
        }
        assert!(direct > 300 && group > 100, "{direct} {group}");
    }

    #[test]
    fn a_body_has_the_length_asked_for_and_tells_its_send_time() {
        let (_, w) = setup();
        let body = w.body(0x1234);
        assert_eq!((body.len(), sent_at(&body)), (200, Some(0x1234)));
        assert_eq!(sent_at("short"), None);
    }

    #[test]
    fn message_ids_are_version_4_uuids() {
        let (_, w) = setup();
        let text = w.message_id(1, 2).to_string();
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]));
    }
}
