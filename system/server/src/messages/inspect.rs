//! Compares what a shard has in memory with what its disk says.

use super::shard::Shard;
use crate::inspect::{Differs, Inspected};
use squall_core::messages::Conversation;

/// All conversations in memory that have nothing staged. Nothing while the disk is not open, or while a commit is under way.
pub fn inspect(shard: &Shard) -> Inspected {
    let state = shard.state();
    let mut found = Inspected::default();
    let is_settled = !state.is_committing && state.staged.held() == 0;
    let Some(storage) = state.storage.as_deref().filter(|_| is_settled) else { return found };
    for log in state.cache.all() {
        // What cannot be read is another check's.
        let Ok(disk) = storage.conversation(log.id()) else { continue };
        // What no entry has created is on no disk.
        let disk = disk.unwrap_or_else(|| Conversation::new(log.id()));
        found.compared += 1;
        let senders = || {
            log.senders().iter().find_map(|sender| {
                let differs = match storage.sender(log.id(), sender.who) {
                    Ok(on_disk) => !sender.is_as_on_disk(on_disk.as_ref()),
                    Err(_) => false,
                };
                differs.then_some("a device that has sent")
            })
        };
        let differs = log.differs_from(&disk).or_else(senders);
        found.differ.extend(differs.map(|what| Differs { conversation: log.id(), what }));
    }
    found
}
