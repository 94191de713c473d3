//! What a shard has taken and not yet made durable: bounded in entries and bytes, each user to a share of the bytes.
//!
//! **Invariant:** an entry counts until its commit has succeeded, so that a slow disk and a large batch do not add up to twice the
//! bound. Guarded by the tests below; in every simulated run by `sim/checks/src/bounded.rs`.

use crate::storage::NewEntry;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{MAX_STAGED, MAX_STAGED_BYTES, MAX_STAGED_SHARE_BYTES};
use squall_protocol::{Entry, Payload, UserId};

/// What an entry takes beside its payload, about.
const ENVELOPE_BYTES: usize = 128;

/// The entries that a shard has staged, and the weight of those that it is committing.
#[derive(Default)]
pub struct Staged {
    entries: Vec<NewEntry>,
    /// Staged and being committed.
    held: usize,
    bytes: usize,
    /// A row only while something of the user's is held.
    by_user: FxHashMap<UserId, usize>,
}

fn weight(payload: &Payload) -> usize {
    ENVELOPE_BYTES + payload.size()
}

impl Staged {
    /// Whether this user may stage so much more.
    pub fn has_room_for(&self, user: UserId, payload: &Payload) -> bool {
        let bytes = weight(payload);
        let own = self.by_user.get(&user).copied().unwrap_or(0);
        self.held < MAX_STAGED && self.bytes + bytes <= MAX_STAGED_BYTES && own + bytes <= MAX_STAGED_SHARE_BYTES
    }

    /// In append order.
    pub fn push(&mut self, new: NewEntry) {
        let bytes = weight(&new.entry.payload);
        self.held += 1;
        self.bytes += bytes;
        *self.by_user.entry(new.entry.sender).or_default() += bytes;
        self.entries.push(new);
    }

    /// Takes all that is staged, to be committed.
    pub fn cut(&mut self) -> Vec<NewEntry> {
        std::mem::take(&mut self.entries)
    }

    /// The entry is durable.
    pub fn handle_durable(&mut self, entry: &Entry) {
        let bytes = weight(&entry.payload);
        self.held -= 1;
        self.bytes -= bytes;
        if let Some(own) = self.by_user.get_mut(&entry.sender) {
            *own -= bytes;
            if *own == 0 {
                self.by_user.remove(&entry.sender);
            }
        }
    }

    /// Entries that no commit has taken yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries that are staged or being committed.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq};

    fn new(sender: u64, seq: u64, bytes: usize) -> NewEntry {
        let entry = Entry {
            seq: Seq(seq),
            sender: UserId(sender),
            device: DeviceId(sender),
            client_msg_id: ClientMsgId(u128::from(seq)),
            client_seq: ClientSeq(seq),
            payload: Payload::Text("x".repeat(bytes)),
            stored_at_ms: 0,
        };
        NewEntry { position: seq - 1, conversation: ConversationId::group(UserId(1), 1), entry }
    }

    #[test]
    fn a_user_has_a_share_and_what_is_being_committed_counts() {
        let mut staged = Staged::default();
        let large = new(1, 1, 16 * 1024);
        let mut pushed = Vec::new();
        while staged.has_room_for(UserId(1), &large.entry.payload) {
            let next = new(1, pushed.len() as u64 + 1, 16 * 1024);
            pushed.push(next.entry.clone());
            staged.push(next);
        }
        assert!(staged.bytes() <= MAX_STAGED_SHARE_BYTES && pushed.len() > 500, "{}", pushed.len());
        assert!(staged.has_room_for(UserId(2), &large.entry.payload), "nobody else is harmed");
        assert_eq!(staged.cut().len(), pushed.len());
        assert!(!staged.has_room_for(UserId(1), &large.entry.payload), "nothing is durable yet");
        assert_eq!((staged.len(), staged.held()), (0, pushed.len()));
        pushed.iter().for_each(|entry| staged.handle_durable(entry));
        assert!(staged.has_room_for(UserId(1), &large.entry.payload));
        assert_eq!((staged.held(), staged.bytes(), staged.by_user.len()), (0, 0, 0));
    }

    #[test]
    fn all_together_have_a_bound() {
        let mut staged = Staged::default();
        let payload = Payload::Text("x".repeat(16 * 1024));
        let users = 2 * (MAX_STAGED_BYTES / MAX_STAGED_SHARE_BYTES) as u64;
        for n in 0u64.. {
            let user = UserId(n % users);
            if !staged.has_room_for(user, &payload) {
                break;
            }
            staged.push(new(user.0, n + 1, 16 * 1024));
        }
        assert!(staged.bytes() <= MAX_STAGED_BYTES && staged.bytes() > MAX_STAGED_BYTES - 32 * 1024);
    }
}
