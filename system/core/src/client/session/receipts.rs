//! What a device says of what its person has read, and what it makes of what it is told of others.

use super::{ClientSession, Output, Shown};
use crate::client::ReceiptBook;
use crate::client::receipts::Told;
use crate::time::Time;
use squall_protocol::{ClientFrame, ConversationId, Payload, Receipts, Seq, UserId};

impl ClientSession {
    /// The device keeps receipts from now on: it says what is read, and tells who has come how far.
    pub fn keep_receipts(&mut self) {
        self.aside.get_or_insert_default().receipts.get_or_insert_default();
    }

    pub(super) fn book(&mut self) -> Option<&mut ReceiptBook> {
        self.aside.as_mut()?.receipts.as_mut()
    }

    /// What is known of who has read what, if the device keeps that.
    pub fn receipts(&self) -> Option<&ReceiptBook> {
        self.aside.as_ref()?.receipts.as_ref()
    }

    /// The person has read everything up to here, as far as it is shown. It is said at once, or as soon as the device is connected, and
    /// until the server tells it back.
    pub fn read(&mut self, conversation: ConversationId, up_to: Seq, now: Time, out: &mut Vec<Output>) {
        let up_to = up_to.min(self.shown(conversation));
        let Some(book) = self.book() else { return };
        if book.read(conversation, up_to) && self.is_online() {
            out.push(Output::Transmit(ClientFrame::Read { conversation, up_to_seq: up_to }));
            if let Some(book) = self.book() {
                book.handle_said(conversation, now);
            }
        }
    }

    /// Says what has been read and is not known to the server.
    pub(super) fn say_read(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(book) = self.book() else { return };
        while let Some((conversation, up_to_seq)) = book.poll_read(now) {
            out.push(Output::Transmit(ClientFrame::Read { conversation, up_to_seq }));
        }
        while let Some((conversation, up_to_seq)) = book.poll_ack(now) {
            out.push(Output::Transmit(ClientFrame::Ack { conversation, up_to_seq }));
        }
    }

    pub(super) fn handle_receipts(&mut self, receipts: Vec<Receipts>, out: &mut Vec<Output>) {
        for told in receipts {
            let (conversation, user) = (told.conversation, self.user);
            let shown = self.shown(conversation);
            let Some(book) = self.book() else { return };
            let Told { users, counts, ack } = book.handle_receipts(user, told, shown);
            if !users.is_empty() || counts.is_some() {
                out.push(Output::Receipts(Receipts { conversation, users, counts }));
            }
            if ack && self.is_online() {
                out.push(Output::Transmit(ClientFrame::Ack { conversation, up_to_seq: shown }));
            }
        }
    }

    /// Others' texts that were just shown are unread.
    pub(super) fn count_unread(&mut self, conversation: ConversationId, shown: &[Output]) {
        let user: UserId = self.user;
        let Some(book) = self.book() else { return };
        for output in shown {
            if let Output::Shown(Shown { entry, .. }) = output
                && entry.sender != user
                && matches!(entry.payload, Payload::Text(_))
            {
                book.handle_text(conversation, entry.seq);
            }
        }
    }
}
