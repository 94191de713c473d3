//! How violations name messages, devices and conversations.

use super::Facts;
use super::rows::known;
use crate::report::Violation;
use squall_protocol::Seq;

impl Facts {
    /// "message 0011… (send 3 of device 9 in conversation 4)".
    pub fn name(&self, message: u32) -> String {
        let row = &self.messages[message];
        if !row.is(known::SENT) {
            return format!("message {} (which no device has sent)", row.id());
        }
        let pair = &self.pairs[row.pair];
        let (device, conversation) = (self.devices[pair.device].id, self.conversations[pair.conversation].id);
        format!("message {} (send {} of device {device} in conversation {conversation})", row.id(), row.order)
    }

    /// "device 9 of user 4".
    pub fn name_device(&self, device: u32) -> String {
        let row = &self.devices[device];
        match row.user() {
            Some(user) => format!("device {} of user {user}", row.id),
            None => format!("device {}", row.id),
        }
    }

    /// "user 4", whose device this is.
    pub fn name_user(&self, device: u32) -> String {
        let row = &self.devices[device];
        row.user().map_or_else(|| self.name_device(device), |user| format!("user {user}"))
    }

    /// A violation that a device saw.
    pub fn seen_by(&self, check: &'static str, pair: u32, seq: Seq, message: u32, sentence: String) -> Violation {
        let row = &self.pairs[pair];
        self.violation(check, row.conversation, Some(row.device), Some(seq), Some(message), sentence)
    }

    /// A violation that stands in a log; the device is the message's sender.
    pub fn in_log(
        &self,
        check: &'static str,
        conversation: u32,
        seq: Option<Seq>,
        message: u32,
        sentence: String,
    ) -> Violation {
        let row = &self.messages[message];
        let sender = row.is(known::SENT).then(|| self.pairs[row.pair].device);
        self.violation(check, conversation, sender, seq, Some(message), sentence)
    }

    /// A violation at this time, its sentence begun with a capital.
    pub fn violation(
        &self,
        check: &'static str,
        conversation: u32,
        device: Option<u32>,
        seq: Option<Seq>,
        message: Option<u32>,
        mut sentence: String,
    ) -> Violation {
        if let Some(first) = sentence.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Violation {
            conversation: Some(self.conversations[conversation].id),
            seq,
            client_msg_id: message.map(|message| self.messages[message].id()),
            device: device.map(|device| self.devices[device].id),
            ..self.at_large(check, sentence)
        }
    }

    /// A violation, found now, that is about no conversation.
    pub fn at_large(&self, check: &'static str, message: String) -> Violation {
        Violation {
            t: self.now,
            check,
            conversation: None,
            seq: None,
            client_msg_id: None,
            device: None,
            user: None,
            level: None,
            message,
        }
    }
}
