//! What is owed to devices that are not connected: of each conversation in which such a device has shown something, the entries that others
//! have seen since, or have the ack of.
//!
//! Each conversation knows how many devices it is owed to, so an entry adds as many, and only who comes, goes, joins or leaves takes a walk: over
//! the conversations of the device, or the devices of the conversation. A device owes nobody an explanation for what it never opened: a
//! conversation of which it has shown nothing counts from its first display on, and what a user is left with on leaving counts no more.
//!
//! **Invariant:** the sum is that over all pairs that are counted of how far their logs go beyond them. Guarded by a test that adds it up.

use super::Facts;
use super::rows::{NONE, Pair};
use squall_protocol::UserId;

/// In which conversations a device takes part, and which devices in a conversation: lists through the rows of pairs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Links {
    of_device: u32,
    pub(super) of_conversation: u32,
}

impl Default for Links {
    fn default() -> Self {
        Links { of_device: NONE, of_conversation: NONE }
    }
}

/// What a pair had shown when its device went, where it is in the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owed(u32);

impl Owed {
    /// Its device is connected, or has shown nothing.
    pub const NO: Owed = Owed(0);
    /// Its user is no member any more.
    const LEFT: Owed = Owed(u32::MAX);

    fn beyond(self) -> Option<u32> {
        Some(self.0).filter(|_| self != Owed::NO && self != Owed::LEFT)
    }
}

impl Facts {
    /// Entries that are owed to devices which are not connected now.
    pub fn owed_to_absent(&self) -> u64 {
        self.owed
    }

    /// Few pairs are counted at a time, and hardly any have left.
    fn owed_from(&self, pair: u32) -> Owed {
        self.owed_from.get(&pair).copied().unwrap_or(Owed::NO)
    }

    fn set_owed_from(&mut self, pair: u32, owed: Owed) {
        match owed {
            Owed::NO => self.owed_from.remove(&pair),
            owed => self.owed_from.insert(pair, owed),
        };
    }

    /// A pair has come to be.
    pub(super) fn link(&mut self, pair: u32) {
        let Pair { device, conversation, .. } = self.pairs[pair];
        let of_device = std::mem::replace(&mut self.devices[device].first_pair, pair);
        let of_conversation = std::mem::replace(&mut self.conversations[conversation].first_pair, pair);
        self.pairs[pair].links = Links { of_device, of_conversation };
    }

    fn head(&self, conversation: u32) -> u32 {
        self.conversations[conversation].log.len() as u32
    }

    /// A log has grown by so many places.
    pub(super) fn owe(&mut self, conversation: u32, places: usize) {
        self.owed += u64::from(self.conversations[conversation].absent) * places as u64;
    }

    /// The device has gone.
    pub(super) fn owe_from_now(&mut self, device: u32) {
        let mut pair = self.devices[device].first_pair;
        while pair != NONE {
            let Pair { conversation, position, links, .. } = self.pairs[pair];
            let head = self.head(conversation);
            // Beyond the end of its log is only what another check tells of.
            if self.owed_from(pair) == Owed::NO && (1..=head).contains(&position) {
                self.set_owed_from(pair, Owed(position));
                self.conversations[conversation].absent += 1;
                self.owed += u64::from(head - position);
            }
            pair = links.of_device;
        }
    }

    /// The device is connected.
    pub(super) fn owe_no_more(&mut self, device: u32) {
        let mut pair = if self.owed_from.is_empty() { NONE } else { self.devices[device].first_pair };
        while pair != NONE {
            self.settle_pair(pair, Owed::NO);
            pair = self.pairs[pair].links.of_device;
        }
    }

    /// Takes a pair out of the count, if it is in it.
    fn settle_pair(&mut self, pair: u32, now: Owed) {
        let Pair { conversation, .. } = self.pairs[pair];
        if let Some(position) = self.owed_from(pair).beyond() {
            self.set_owed_from(pair, now);
            self.conversations[conversation].absent -= 1;
            self.owed -= u64::from(self.head(conversation) - position);
        }
    }

    /// An entry that changes who is a member has its place.
    pub(super) fn membership_changed(&mut self, conversation: u32, user: UserId, is_gone: bool) {
        let mut pair = self.conversations[conversation].first_pair;
        while pair != NONE {
            let Pair { device, links, .. } = self.pairs[pair];
            if self.devices[device].user() == Some(user) {
                match is_gone {
                    true => {
                        self.settle_pair(pair, Owed::LEFT);
                        self.set_owed_from(pair, Owed::LEFT);
                    }
                    // From when it is next away: what a newcomer finds is no backlog.
                    false if self.owed_from(pair) == Owed::LEFT => self.set_owed_from(pair, Owed::NO),
                    false => {}
                }
            }
            pair = links.of_conversation;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::facts::Facts;
    use squall_history::{Entity, Event, Kind, Via, What};
    use squall_protocol::ids::mix;
    use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};

    const CONVERSATIONS: u64 = 3;
    const DEVICES: u64 = 5;

    /// Two devices a user.
    fn user(device: u64) -> UserId {
        UserId(device / 2)
    }

    /// What is owed, kept as simply as can be: of each device in each conversation how much it has shown, and whether its user left.
    #[derive(Default)]
    struct Model {
        heads: [u64; CONVERSATIONS as usize],
        shown: [[u64; CONVERSATIONS as usize]; DEVICES as usize],
        /// Has said or shown something: before, nobody could know that it takes part.
        known: [[bool; CONVERSATIONS as usize]; DEVICES as usize],
        left: [[bool; CONVERSATIONS as usize]; DEVICES as usize],
        /// Joined again while away: counts from the next time that it goes.
        paused: [[bool; CONVERSATIONS as usize]; DEVICES as usize],
        away: [bool; DEVICES as usize],
    }

    impl Model {
        fn owed(&self) -> u64 {
            let pairs = (0..DEVICES as usize).flat_map(|d| (0..CONVERSATIONS as usize).map(move |c| (d, c)));
            let counts = |&(d, c): &(usize, usize)| {
                self.away[d] && self.shown[d][c] > 0 && !self.left[d][c] && !self.paused[d][c]
            };
            pairs.filter(counts).map(|(d, c)| self.heads[c] - self.shown[d][c]).sum()
        }
    }

    struct Run {
        facts: Facts,
        model: Model,
        t: u64,
        /// What stands where, by conversation.
        logs: [Vec<(ClientMsgId, What)>; CONVERSATIONS as usize],
    }

    impl Run {
        fn new() -> Run {
            let facts = Facts::new(&Config { shards: vec![9], ..Config::default() });
            let mut run = Run { facts, model: Model::default(), t: 1_000, logs: Default::default() };
            for device in 0..DEVICES {
                run.push(
                    device,
                    Kind::Connect {
                        user: user(device),
                        gateway: 0,
                        connect_count: 1,
                        expires_s: squall_history::EVER,
                    },
                );
            }
            run
        }

        fn push(&mut self, device: u64, kind: Kind) {
            self.t += 1_000;
            self.facts.observe(&Event { t: self.t, at: Entity::Device(DeviceId(device + 1)), kind });
        }

        fn connect(&mut self, device: u64) {
            self.model.away[device as usize] = false;
            self.model.paused[device as usize] = Default::default();
            self.push(
                device,
                Kind::Connect {
                    user: user(device),
                    gateway: 0,
                    connect_count: 2,
                    expires_s: squall_history::EVER,
                },
            );
        }

        fn disconnect(&mut self, device: u64) {
            self.model.away[device as usize] = true;
            self.model.paused[device as usize] = Default::default();
            self.push(device, Kind::Disconnect { reason: "away" });
        }

        /// A device says something, and has the ack.
        fn say(&mut self, device: u64, conversation: u64, what: What) {
            // Of several, everybody is meant but whoever says so.
            let several = matches!(what, What::JoinedSeveral | What::LeftSeveral);
            let others = (0..DEVICES).map(user).filter(|other| several && *other != user(device));
            let mut named: Vec<UserId> = others.collect();
            named.dedup();
            let c = conversation as usize;
            let client_msg_id = ClientMsgId(u128::from(self.t));
            let (of, sender) = (ConversationId(u128::from(conversation) + 1), user(device));
            let send =
                Kind::Send { conversation: of, sender, client_msg_id, body_hash: 0, what, members: named.clone() };
            self.push(device, send);
            self.logs[c].push((client_msg_id, what));
            self.model.known[device as usize][c] = true;
            self.model.heads[c] += 1;
            for d in 0..DEVICES as usize {
                let own = user(d as u64);
                if what.taken(user(device), &named).any(|who| who == own) {
                    self.model.left[d][c] |= self.model.known[d][c];
                }
                if what.added(&named).any(|who| who == own) && self.model.left[d][c] {
                    self.model.left[d][c] = false;
                    self.model.paused[d][c] = self.model.away[d];
                }
            }
            let seq = Seq(self.model.heads[c]);
            self.push(device, Kind::Sent { conversation: of, client_msg_id, seq, stored_at_ms: 0 });
        }

        /// A device that is connected shows what comes next.
        fn show(&mut self, device: u64, conversation: u64) {
            let (d, c) = (device as usize, conversation as usize);
            let next = self.model.shown[d][c];
            let Some((client_msg_id, what)) = self.logs[c].get(next as usize).copied() else { return };
            if self.model.away[d] {
                return;
            }
            self.model.shown[d][c] += 1;
            self.model.known[d][c] = true;
            let kind = Kind::Display {
                user: user(device),
                conversation: ConversationId(u128::from(conversation) + 1),
                seq: Seq(next + 1),
                sender: user(device),
                client_msg_id,
                body_hash: 0,
                what,
                via: Via::Deliver,
            };
            self.push(device, kind);
        }
    }

    #[test]
    fn what_is_owed_is_what_a_count_of_everything_comes_to_after_every_step() {
        let mut run = Run::new();
        let (mut most, mut returned_to_nothing) = (0, 0);
        for step in 0..20_000u64 {
            let draw = mix(step);
            let (device, conversation) = ((draw >> 8) % DEVICES, (draw >> 16) % CONVERSATIONS);
            match draw % 32 {
                0..2 => run.connect(device),
                2..4 => run.disconnect(device),
                4 => run.say(device, conversation, What::Left(user((draw >> 24) % DEVICES))),
                5 | 6 => run.say(device, conversation, What::Joined(user((draw >> 24) % DEVICES))),
                7 => run.say(device, conversation, What::LeftSeveral),
                8 | 9 => run.say(device, conversation, What::JoinedSeveral),
                10..14 => run.say(device, conversation, What::Text),
                _ => run.show(device, conversation),
            }
            let owed = run.facts.owed_to_absent();
            assert_eq!(owed, run.model.owed(), "step {step}");
            most = most.max(owed);
            returned_to_nothing += u64::from(owed == 0);
        }
        assert!(most > 20 && returned_to_nothing > 20, "{most}, {returned_to_nothing}: nothing was tried");
    }

    #[test]
    fn a_device_that_has_shown_nothing_is_owed_nothing_and_one_that_comes_back_no_more() {
        let mut run = Run::new();
        run.say(0, 0, What::Text);
        run.show(0, 0);
        run.disconnect(0);
        run.disconnect(1);
        run.say(2, 0, What::Text);
        run.say(2, 0, What::Text);
        assert_eq!(run.facts.owed_to_absent(), 2, "of device 0 alone");
        run.connect(0);
        assert_eq!(run.facts.owed_to_absent(), 0);
    }
}
