//! Whom the person has on the screen, and whether they want to be seen: said again on every connection.
//!
//! **Invariant:** what is shown of others is what the gateway of this connection has said; with the connection it is unknown again. Guarded by
//! `core/tests/presence.rs`.

use super::{ClientSession, Output};
use crate::few::Few;
use squall_protocol::{ClientFrame, ConversationId, UserId};

/// Whom a device watches, and whether it hides.
#[derive(Debug, Clone, Default)]
pub(super) struct Watching {
    watches: Few<ConversationId, Box<[UserId]>>,
    pub invisible: bool,
    /// What its gateway has been told of that on this connection.
    pub said_invisible: bool,
}

impl Watching {
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty() && !self.invisible && !self.said_invisible
    }
}

impl ClientSession {
    fn watching_mut(&mut self) -> &mut Watching {
        &mut self.aside.get_or_insert_default().watching
    }

    /// The person looks at these members of a conversation, in place of others there; at most
    /// [`squall_protocol::limits::MAX_WATCHED_AT_ONCE`] are told of.
    pub fn watch(&mut self, conversation: ConversationId, users: Vec<UserId>, out: &mut Vec<Output>) {
        if self.is_online() {
            out.push(Output::Transmit(ClientFrame::Watch { conversation, users: users.clone() }));
        }
        self.watching_mut().watches.insert(conversation, users.into_boxed_slice());
    }

    /// The person looks at a conversation's members no more.
    pub fn unwatch(&mut self, conversation: ConversationId, out: &mut Vec<Output>) {
        let was_watched = self.aside.as_mut().is_some_and(|aside| aside.watching.watches.remove(conversation));
        if was_watched && self.is_online() {
            out.push(Output::Transmit(ClientFrame::Unwatch { conversation }));
        }
    }

    /// The person wants to look offline, or no more.
    pub fn set_invisible(&mut self, on: bool, out: &mut Vec<Output>) {
        if self.is_invisible() == on {
            return;
        }
        self.watching_mut().invisible = on;
        if self.is_online() {
            self.say_whether_it_hides(out);
        }
    }

    /// Whether the greeting says that the person hides.
    pub(super) fn greets_as_invisible(&mut self) -> bool {
        let Some(aside) = &mut self.aside else { return false };
        aside.watching.said_invisible = aside.watching.invisible;
        aside.watching.invisible
    }

    /// Says so if the gateway has been told otherwise: by the greeting, while whose answer was on its way the person has changed it.
    pub(super) fn say_whether_it_hides(&mut self, out: &mut Vec<Output>) {
        let Some(aside) = &mut self.aside else { return };
        let on = aside.watching.invisible;
        if std::mem::replace(&mut aside.watching.said_invisible, on) != on {
            out.push(Output::Transmit(ClientFrame::Invisible { on }));
        }
    }

    pub fn is_invisible(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.watching.invisible)
    }

    /// Conversations whose members the person looks at.
    pub fn watched(&self) -> impl Iterator<Item = (ConversationId, &[UserId])> {
        let watches = self.aside.iter().flat_map(|aside| aside.watching.watches.iter());
        watches.map(|(conversation, users)| (conversation, &**users))
    }

    /// Says again what the person looks at.
    pub(super) fn watch_again(&self, out: &mut Vec<Output>) {
        for (conversation, users) in self.watched() {
            out.push(Output::Transmit(ClientFrame::Watch { conversation, users: users.to_vec() }));
        }
    }
}
