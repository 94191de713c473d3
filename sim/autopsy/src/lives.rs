//! Devices that begin anew: the system knows all lives of one by the same number, and the history each as a device of its own.
//!
//! **Invariant:** in a story what hosts say of a device is said of the life that it was: of the one whose message it is about, else of the
//! last one that had begun. Without it a rule would look for what befell a device among what befell its former life.

use squall_history::{Asked, Entity, Event, Hop, Kind, Told};
use squall_protocol::{ClientMsgId, DeviceId};
use std::collections::BTreeMap;

/// Puts in what hosts say lives in the place of numbers.
pub fn tell_apart(events: &mut [Event]) {
    if !events.iter().any(|event| matches!(event.kind, Kind::Reinstalled { .. })) {
        return;
    }
    // Of each number the life that is on, and of each life its number.
    let (mut lives, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    let mut senders: BTreeMap<ClientMsgId, DeviceId> = BTreeMap::new();
    for event in events {
        if let (Kind::Reinstalled { number, .. }, Entity::Device(life)) = (&event.kind, event.at) {
            lives.insert(*number, life);
            numbers.insert(life, *number);
        }
        if let (Kind::Send { client_msg_id, .. }, Entity::Device(life)) = (&event.kind, event.at) {
            senders.insert(*client_msg_id, life);
        }
        let number_of = |life: DeviceId| numbers.get(&life).copied().unwrap_or(life);
        let now = |number: &mut DeviceId| *number = lives.get(number).copied().unwrap_or(*number);
        match &mut event.kind {
            Kind::Publish { devices, .. } => devices.iter_mut().for_each(now),
            Kind::Hop(hop) => {
                let sender = message_of(hop).and_then(|message| senders.get(&message)).copied();
                hop.devices_mut(|device| match sender.filter(|life| number_of(*life) == *device) {
                    Some(life) => *device = life,
                    None => now(device),
                });
            }
            _ => {}
        }
    }
}

/// The message that a device asks or is told about.
fn message_of(hop: &Hop) -> Option<ClientMsgId> {
    match hop {
        Hop::Received { asked: Asked::Send { client_msg_id, .. }, .. }
        | Hop::Staged { client_msg_id, .. }
        | Hop::Recognised { client_msg_id, .. }
        | Hop::Logged { client_msg_id, .. }
        | Hop::Answered { told: Told::Sent { client_msg_id, .. } | Told::Refused { client_msg_id, .. }, .. }
        | Hop::Handed { told: Told::Sent { client_msg_id, .. } | Told::Refused { client_msg_id, .. }, .. } => {
            Some(*client_msg_id)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_history::What;
    use squall_protocol::{ConversationId, Seq, UserId};

    #[test]
    fn what_is_said_of_a_number_is_said_of_the_life_that_it_was() {
        let (number, life) = (DeviceId(3), DeviceId(1 << 48 | 3));
        let (conversation, user) = (ConversationId(5), UserId(9));
        let message = ClientMsgId(1);
        let hop = |t, hop| Event { t, at: Entity::Host(0), kind: Kind::Hop(hop) };
        let vanished = |t| hop(t, Hop::Vanished { conversation, device: number });
        let told = Told::Sent { client_msg_id: message, seq: Seq(1), stored_at_ms: 0 };
        let send = Kind::Send {
            conversation,
            sender: user,
            client_msg_id: message,
            body_hash: 0,
            what: What::Text,
            members: Vec::new(),
        };
        let mut events = vec![
            Event { t: 1, at: Entity::Device(number), kind: send },
            vanished(2),
            Event { t: 3, at: Entity::Device(life), kind: Kind::Reinstalled { user, number } },
            vanished(4),
            hop(5, Hop::Answered { device: number, conversation, told }),
        ];
        tell_apart(&mut events);
        let devices: Vec<Option<DeviceId>> = events
            .iter()
            .map(|event| match &event.kind {
                Kind::Hop(hop) => hop.device(),
                _ => None,
            })
            .collect();
        assert_eq!(devices, [None, Some(number), None, Some(life), Some(number)]);
    }
}
