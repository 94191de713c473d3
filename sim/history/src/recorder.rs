//! Writes `history.jsonl`: every event of a run, or those about some conversations and devices, one JSON object a line, in
//! order of simulated time.

use crate::{Entity, Event};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A history file being written.
pub struct Recorder {
    file: BufWriter<File>,
    hosts: Vec<String>,
    /// Conversations and devices, by number; empty for everything.
    only: Vec<u128>,
    events: u64,
}

impl Recorder {
    /// Creates (or replaces) the file. `hosts` names the hosts by index. With `only`, it holds what these conversations and
    /// devices, by their numbers, had part in, and what happened to hosts.
    pub fn create(path: &Path, hosts: Vec<String>, only: Vec<u128>) -> io::Result<Self> {
        Ok(Recorder { file: BufWriter::with_capacity(1 << 20, File::create(path)?), hosts, only, events: 0 })
    }

    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        if !wanted(&self.only, event) {
            return Ok(());
        }
        self.events += 1;
        self.file.write_all(event.to_json(&self.hosts).as_bytes())?;
        self.file.write_all(b"\n")
    }

    /// Flushes and says how many events were written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.events)
    }
}

fn wanted(only: &[u128], event: &Event) -> bool {
    if only.is_empty() {
        return true;
    }
    let conversation = event.kind.conversation();
    match event.at {
        Entity::Device(device) if only.contains(&u128::from(device.0)) => true,
        Entity::Host(_) | Entity::World if conversation.is_none() => true,
        _ => conversation.is_some_and(|conversation| only.contains(&{ conversation.0 })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use squall_protocol::{ConversationId, DeviceId, Seq};

    #[test]
    fn a_history_of_some_leaves_out_what_others_did() {
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
        let kept = |only: &[u128]| events.iter().map(|event| wanted(only, event)).collect::<Vec<_>>();
        assert_eq!(kept(&[]), [true; 7]);
        assert_eq!(kept(&[7]), [true, false, true, false, false, false, true], "a conversation");
        assert_eq!(kept(&[1]), [true, true, false, false, true, false, true], "a device");
    }
}
