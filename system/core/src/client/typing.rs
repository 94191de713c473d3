//! Whom a device shows as writing: each for a while, from the last time that they were told to be, or until a message of theirs is shown.
//!
//! **Invariant:** nobody is shown for longer than [`TYPING_SHOWN_FOR`] after they were last told to be writing, whatever becomes of the
//! connection; guarded by `core/tests/typing.rs` and `sim/checks/src/typing_holds.rs`. A device on which nobody is shown holds nothing for it.

use super::output::Output;
use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::limits::{MAX_TYPING_SHOWN, TYPING_SHOWN_FOR};
use squall_protocol::{ConversationId, UserId};

#[derive(Debug, Clone, Copy)]
struct Typist {
    conversation: ConversationId,
    user: UserId,
    until: Time,
}

/// Those who are shown, at most so many; in the order in which they began.
#[derive(Debug, Clone, Default)]
pub(super) struct Typists {
    shown: Vec<Typist>,
}

impl Typists {
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Bytes that this holds.
    pub fn held_bytes(&self) -> usize {
        self.shown.capacity() * size_of::<Typist>()
    }

    /// Who is shown in this conversation.
    pub fn of(&self, conversation: ConversationId) -> impl Iterator<Item = UserId> {
        self.shown.iter().filter(move |typist| typist.conversation == conversation).map(|typist| typist.user)
    }

    /// Somebody is told to be writing. Beyond the most that are shown nobody else is.
    pub fn handle_typing(&mut self, conversation: ConversationId, user: UserId, now: Time, out: &mut Vec<Output>) {
        let until = now + TYPING_SHOWN_FOR;
        if planted(Plant::TypingExpiryRestarts) {
            self.shown.iter_mut().filter(|t| t.conversation == conversation).for_each(|t| t.until = until);
        }
        match self.shown.iter().position(|t| (t.conversation, t.user) == (conversation, user)) {
            Some(place) => self.shown[place].until = until,
            None if self.shown.len() >= MAX_TYPING_SHOWN => return,
            None => self.shown.push(Typist { conversation, user, until }),
        }
        out.push(Output::Typing { conversation, user });
    }

    /// A message of this user is shown: what they were writing is there.
    pub fn handle_shown(&mut self, conversation: ConversationId, user: UserId, out: &mut Vec<Output>) {
        let everywhere = planted(Plant::MessageEndsAllTyping);
        self.end(|t| t.user == user && (t.conversation == conversation || everywhere), out);
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Time {
        self.shown.iter().map(|typist| typist.until).min().unwrap_or(Time::NEVER)
    }

    pub fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        self.end(|typist| typist.until <= now, out);
    }

    /// The device is put away: it shows nobody any more.
    pub fn clear(&mut self, out: &mut Vec<Output>) {
        self.end(|_| true, out);
    }

    fn end(&mut self, is_over: impl Fn(&Typist) -> bool, out: &mut Vec<Output>) {
        self.shown.retain(|typist| {
            let is_over = is_over(typist);
            if is_over {
                out.push(Output::TypingOver { conversation: typist.conversation, user: typist.user });
            }
            !is_over
        });
    }
}
