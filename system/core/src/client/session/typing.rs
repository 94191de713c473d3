//! What the person of a device writes, and whom it shows as writing.

use super::{ClientSession, Output, Shown};
use squall_protocol::{ClientFrame, ConversationId, UserId};

impl ClientSession {
    /// The person is writing. Said if the device is connected, and forgotten if not.
    pub fn typing(&mut self, conversation: ConversationId, out: &mut Vec<Output>) {
        if self.is_online() {
            out.push(Output::Transmit(ClientFrame::Typing { conversation }));
        }
    }

    /// Who is shown as writing in this conversation.
    pub fn typing_in(&self, conversation: ConversationId) -> impl Iterator<Item = UserId> {
        self.aside.iter().flat_map(move |aside| aside.typists.of(conversation))
    }

    /// Whose message is shown is not writing it any more.
    pub(super) fn end_typing(&mut self, conversation: ConversationId, first: usize, out: &mut Vec<Output>) {
        let authors = out[first..].iter().filter_map(|o| match o {
            Output::Shown(Shown { entry, .. }) => Some(entry.sender),
            _ => None,
        });
        for author in authors.collect::<Vec<_>>() {
            if let Some(aside) = &mut self.aside {
                aside.typists.handle_shown(conversation, author, out);
            }
        }
        self.tidy();
    }

    /// Gives back what holds nothing.
    pub(super) fn tidy(&mut self) {
        self.aside.take_if(|aside| {
            aside.typists.is_empty()
                && aside.superseded_at.is_none()
                && aside.receipts.is_none()
                && aside.watching.is_empty()
        });
    }
}
