//! What somebody wants to know of a run: some conversations, some devices, or all of it.

use crate::{Entity, Event, Hop, Kind, What};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, UserId};
use std::collections::BTreeSet;

/// What is wanted. Nothing named means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    conversations: BTreeSet<ConversationId>,
    devices: BTreeSet<DeviceId>,
    /// Their conversations are wanted, too, from when they are sent on.
    messages: BTreeSet<ClientMsgId>,
    /// What hosts hear and tell of whether these are online.
    users: BTreeSet<UserId>,
    /// Of all devices, what is of no conversation: where they are connected and known.
    every_device: bool,
}

impl Filter {
    /// Conversations and devices, by their numbers.
    pub fn of_numbers(numbers: &[u128]) -> Filter {
        let devices = numbers.iter().filter_map(|number| u64::try_from(*number).ok()).map(DeviceId);
        Filter {
            conversations: numbers.iter().map(|number| ConversationId(*number)).collect(),
            devices: devices.collect(),
            ..Filter::default()
        }
    }

    pub fn of_conversation(conversation: ConversationId) -> Filter {
        Filter { conversations: BTreeSet::from([conversation]), ..Filter::default() }
    }

    pub fn of_device(device: DeviceId) -> Filter {
        Filter { devices: BTreeSet::from([device]), ..Filter::default() }
    }

    pub fn of_message(message: ClientMsgId) -> Filter {
        Filter { messages: BTreeSet::from([message]), ..Filter::default() }
    }

    pub fn and_conversation(mut self, conversation: ConversationId) -> Filter {
        self.conversations.insert(conversation);
        self
    }

    pub fn and_device(mut self, device: DeviceId) -> Filter {
        self.devices.insert(device);
        self
    }

    pub fn and_user(mut self, user: UserId) -> Filter {
        self.users.insert(user);
        self
    }

    /// The same, with the connections of all devices.
    pub fn and_every_device(mut self) -> Filter {
        self.every_device = true;
        self
    }

    pub fn is_everything(&self) -> bool {
        self.conversations.is_empty() && self.devices.is_empty() && self.messages.is_empty()
    }

    pub fn wants_conversation(&self, conversation: ConversationId) -> bool {
        self.is_everything() || self.conversations.contains(&conversation)
    }

    /// Learns where a message that is wanted belongs, and by which number hosts know a device that is wanted.
    pub fn learn(&mut self, event: &Event) {
        if let (Kind::Reinstalled { number, .. }, Entity::Device(device)) = (&event.kind, event.at)
            && self.devices.contains(&device)
        {
            self.devices.insert(*number);
        }
        if let Kind::Send { conversation, client_msg_id, .. } = &event.kind
            && self.messages.contains(client_msg_id)
        {
            self.conversations.insert(*conversation);
        }
    }

    /// Whether the event is about what is wanted, or about hosts and faults, which touch everybody.
    pub fn wants(&self, event: &Event) -> bool {
        if self.is_everything() {
            return true;
        }
        let conversation = event.kind.conversation();
        let about = match (&event.kind, event.at) {
            (Kind::Hop(hop), _) => hop.device(),
            (_, Entity::Device(device)) => Some(device),
            (_, Entity::Host(_) | Entity::World) => None,
        };
        if about.is_some_and(|device| self.devices.contains(&device)) {
            return true;
        }
        if self.every_device && is_counted(&event.kind) {
            return true;
        }
        if let Kind::Hop(hop) = &event.kind
            && let watched @ [_, ..] = hop.watched()
            && conversation.is_none_or(|conversation| !self.conversations.contains(&conversation))
        {
            return watched.iter().any(|user| self.users.contains(user));
        }
        match (conversation, about) {
            (Some(conversation), _) => self.conversations.contains(&conversation),
            (None, Some(_)) => self.every_device,
            (None, None) => true,
        }
    }
}

/// What is counted by device or user, whatever the conversation: what a shard is owed and still owes, and what people do that is limited.
fn is_counted(kind: &Kind) -> bool {
    match kind {
        Kind::Publish { .. } | Kind::Ack { .. } | Kind::Hop(Hop::Redelivered { .. }) => true,
        Kind::Wait { .. } | Kind::Append { .. } => true,
        Kind::Send { what, .. } => *what != What::Text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::Seq;

    #[test]
    fn what_some_had_no_part_in_is_left_out() {
        let ack = |device, conversation| Event {
            t: 1,
            at: Entity::Device(DeviceId(device)),
            kind: Kind::Ack { conversation: ConversationId(conversation), up_to: Seq(1) },
        };
        let gone = |device| Event {
            t: 1,
            at: Entity::Device(DeviceId(device)),
            kind: Kind::Disconnect { reason: "reset" },
        };
        let crash = Event { t: 1, at: Entity::Host(0), kind: Kind::Crash };
        let events = [ack(1, 7), ack(1, 8), ack(2, 7), ack(2, 8), gone(1), gone(2), crash];
        let kept = |only: &[u128]| {
            let filter = Filter::of_numbers(only);
            events.iter().map(|event| filter.wants(event)).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[]), [true; 7]);
        assert_eq!(kept(&[7]), [true, false, true, false, false, false, true], "a conversation");
        assert_eq!(kept(&[1]), [true, true, false, false, true, false, true], "a device");
    }
}
