//! Who is in a conversation, as far as its shown entries tell, and what is known of whether they are online: for a screen.

use squall_core::client::Shown;
use squall_protocol::{ConversationId, Name, Payload, Seen, UserId, limits};
use std::collections::{BTreeMap, BTreeSet};

/// Members by what a device has shown, in every conversation.
#[derive(Debug, Default)]
pub struct Who {
    members: BTreeMap<ConversationId, BTreeSet<UserId>>,
}

impl Who {
    /// Takes in who comes and goes with an entry.
    pub fn note(&mut self, shown: &Shown) {
        let members = self.members.entry(shown.conversation).or_default();
        match &shown.entry.payload {
            Payload::Created { members: first, .. } => members.extend(first),
            Payload::Joined(users) => members.extend(users.iter()),
            _ => {}
        }
        // Whoever writes is there, though they may have come before this device was shown anything.
        members.insert(shown.entry.sender);
        for user in shown.entry.takes_away() {
            members.remove(user);
        }
    }

    /// Every conversation of which something has been shown.
    pub fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        self.members.keys().copied()
    }

    /// The others of a conversation, as many as one watch takes.
    pub fn others(&self, conversation: ConversationId, own: UserId) -> Vec<UserId> {
        let named = match conversation.name() {
            Some(Name::Direct { low, high }) => vec![low, high],
            _ => Vec::new(),
        };
        let shown = self.members.get(&conversation).into_iter().flatten().copied();
        let all: BTreeSet<UserId> = named.into_iter().chain(shown).filter(|user| *user != own).collect();
        all.into_iter().take(limits::MAX_WATCHED_AT_ONCE).collect()
    }
}

/// How it stands with somebody, as a person reads it at this moment, in ms since the epoch.
pub fn in_words(user: UserId, state: Seen, last_seen_ms: u64, now_ms: u64) -> String {
    match (state, last_seen_ms) {
        (Seen::Online, _) => format!("{user} is online"),
        (Seen::Unknown, _) => format!("whether {user} is online is not known"),
        (Seen::Offline, 0) => format!("{user} is offline"),
        (Seen::Offline, _) => {
            format!("{user} is offline, last seen {} ago", ago(now_ms.saturating_sub(last_seen_ms)))
        }
    }
}

fn ago(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_core::client::Via;
    use squall_protocol::{ClientMsgId, ClientSeq, DeviceId, Entry, Seq};

    #[test]
    fn whoever_comes_is_listed_and_whoever_goes_is_not() {
        let conversation = ConversationId::group(UserId(1), 5);
        let mut who = Who::default();
        let mut shown = |payload| {
            let entry = Entry {
                seq: Seq(1),
                sender: UserId(1),
                device: DeviceId(1),
                client_msg_id: ClientMsgId(1),
                client_seq: ClientSeq(1),
                stored_at_ms: 0,
                payload,
            };
            who.note(&Shown { conversation, entry, via: Via::Deliver });
        };
        shown(Payload::Created { direct: false, channel: false, members: vec![UserId(1), UserId(2)] });
        shown(Payload::Joined(vec![UserId(3), UserId(4)].into()));
        shown(Payload::left(UserId(2)));
        assert_eq!(who.others(conversation, UserId(1)), [UserId(3), UserId(4)]);
        assert_eq!(who.others(ConversationId::direct(UserId(1), UserId(7)), UserId(1)), [UserId(7)]);
    }

    #[test]
    fn a_time_is_told_as_people_say_it() {
        let words = |state, last| in_words(UserId(7), state, last, 10_000_000);
        assert_eq!(words(Seen::Online, 0), "7 is online");
        assert_eq!(words(Seen::Offline, 9_995_000), "7 is offline, last seen 5 s ago");
        assert_eq!(words(Seen::Offline, 9_700_000), "7 is offline, last seen 5 min ago");
        assert_eq!(words(Seen::Offline, 0), "7 is offline");
    }
}
