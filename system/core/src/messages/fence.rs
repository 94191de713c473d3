//! What keeps a refusal final: copies of a refused message that are still on some way are never stored.
//!
//! A refusal that follows from the log (nobody's member, in conflict) could be wrong a moment later, for an older copy of the same
//! message in another gateway's queue. So before a device is refused for good, its fence is made durable: sends with a lower
//! connect count than the floor are stale, and those of the floor's own connection are known by id. A device believes a refusal
//! on the connection that it has, so no copy can have a higher count.
//!
//! **Invariant:** what a fence has refused it never lets pass. Guarded by the tests below and `server/tests/refusals.rs`.

use squall_protocol::limits::MAX_REFUSED_REMEMBERED;
use squall_protocol::{ClientMsgId, ConversationId, Refusal};

/// A message, by the name of its conversation and its own.
pub type MessageId = (ConversationId, ClientMsgId);

/// The fence of one device of one user, on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    floor: u64,
    refused: Vec<(MessageId, Refusal)>,
}

/// What a fence says of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// Nothing: the log decides.
    No,
    /// It comes from a connection that the device has left, or is to leave: its next one counts more than this.
    Stale { highest: u64 },
    /// It was refused before, with this reason.
    Refused(Refusal),
}

impl Fence {
    /// A fence as the disk has it.
    pub fn load(floor: u64, refused: Vec<(MessageId, Refusal)>) -> Self {
        Fence { floor, refused }
    }

    /// Sends with a lower connect count are stale.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The refused messages of the connection that the floor counts.
    pub fn refused(&self) -> &[(MessageId, Refusal)] {
        &self.refused
    }

    pub fn judge(&self, connect_count: u64, id: MessageId) -> Fenced {
        if connect_count < self.floor {
            return Fenced::Stale { highest: self.floor - 1 };
        }
        let known = self.refused.iter().find(|(refused, _)| connect_count == self.floor && *refused == id);
        known.map_or(Fenced::No, |(_, reason)| Fenced::Refused(*reason))
    }

    /// Refuses for good a message of which the fence has said `No`. A connection with too many refusals is retired: all that it
    /// still sends is stale. False where no count is left to retire it with.
    pub fn refuse(&mut self, connect_count: u64, id: MessageId, reason: Refusal) -> bool {
        assert!(connect_count >= self.floor, "a stale send is not refused");
        if connect_count > self.floor {
            *self = Fence { floor: connect_count, refused: Vec::new() };
        }
        if self.refused.len() >= MAX_REFUSED_REMEMBERED {
            let Some(next) = connect_count.checked_add(1) else { return false };
            *self = Fence { floor: next, refused: Vec::new() };
        } else {
            self.refused.push((id, reason));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = id(7);

    const fn id(n: u128) -> MessageId {
        (ConversationId(5), ClientMsgId(n))
    }

    const fn stale(highest: u64) -> Fenced {
        Fenced::Stale { highest }
    }

    #[test]
    fn no_copy_of_a_refused_message_passes() {
        let mut fence = Fence::default();
        assert_eq!(fence.judge(3, ID), Fenced::No);
        assert!(fence.refuse(3, ID, Refusal::NotAMember));
        assert_eq!(fence.judge(3, ID), Fenced::Refused(Refusal::NotAMember));
        assert_eq!((fence.judge(2, ID), fence.judge(2, id(8))), (stale(2), stale(2)));
        // Other messages of this connection, also of that id elsewhere, and whatever comes on a later one.
        assert_eq!(fence.judge(3, (ConversationId(6), ID.1)), Fenced::No);
        assert_eq!((fence.judge(3, id(8)), fence.judge(4, id(8))), (Fenced::No, Fenced::No));
    }

    #[test]
    fn a_later_connection_s_refusal_makes_the_earlier_connection_stale() {
        let mut fence = Fence::default();
        fence.refuse(3, ID, Refusal::NotAMember);
        fence.refuse(5, id(8), Refusal::Conflict);
        assert_eq!((fence.judge(3, ID), fence.judge(4, ID)), (stale(4), stale(4)));
        assert_eq!(fence.judge(5, id(8)), Fenced::Refused(Refusal::Conflict));
        assert_eq!((fence.floor(), fence.refused().len()), (5, 1));
    }

    #[test]
    fn a_connection_with_more_refusals_than_are_remembered_is_retired() {
        let mut fence = Fence::default();
        for n in 0..=MAX_REFUSED_REMEMBERED as u128 {
            assert_eq!(fence.judge(3, id(n)), Fenced::No);
            assert!(fence.refuse(3, id(n), Refusal::NotAMember));
        }
        assert!((0..200).all(|n| fence.judge(3, id(n)) == stale(3)));
        assert_eq!((fence.judge(4, ID), fence.refused()), (Fenced::No, &[][..]));

        let mut last = Fence::default();
        let refused = (0..).take_while(|n| last.refuse(u64::MAX, id(*n), Refusal::Conflict)).count();
        assert_eq!(refused, MAX_REFUSED_REMEMBERED);
        assert_eq!(last.judge(u64::MAX, id(0)), Fenced::Refused(Refusal::Conflict));
    }
}
