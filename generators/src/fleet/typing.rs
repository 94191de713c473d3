//! People who write for a while before they send, and whose devices say so.
//!
//! A row a user who writes at the moment. What is being written is drawn anew each time that it is said, as it will be if it is sent.

use super::{Fleet, FrameFaults, LastMile, Sink, Timer};
use squall_core::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// The next text of a user: its number, and when it is sent.
#[derive(Debug, Clone, Copy)]
struct Writing {
    n: u32,
    sent_at: Time,
}

/// Who is writing at the moment, or about to.
#[derive(Debug, Default)]
pub(super) struct Writers(BTreeMap<u32, Writing>);

impl Writers {
    /// Bytes that they hold, roughly.
    pub fn held_bytes(&self) -> usize {
        self.0.len() * 2 * size_of::<(u32, Writing)>()
    }
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// A user has sent, or begun, at `after`, and sends for the `n`th time at `sent_at`: perhaps it is said before that they write.
    pub(super) fn schedule_typing(&mut self, user: u32, n: u32, after: Time, sent_at: Time) {
        let Some(lasts) = self.workload.typing_before(user, n) else { return };
        let begins = after.max(Time(sent_at.0.saturating_sub(lasts)));
        self.writers.0.insert(user, Writing { n, sent_at });
        self.queue.push(begins, Timer::Typing(user, n));
    }

    /// It is said that a user is writing, and again after a while if they still are.
    pub(super) fn says_typing(&mut self, user: u32, n: u32, now: Time, sink: &mut impl Sink) {
        let Some(Writing { sent_at, .. }) = self.writers.0.get(&user).copied().filter(|writing| writing.n == n)
        else {
            return;
        };
        if let Some(act) = self.workload.writes(&self.population, user, n, sent_at.0) {
            let conversation = act.conversation.id;
            let owner = self.population.owner(act.device);
            let first = self.population.first_device(owner);
            let devices = match self.workload.is_typed_everywhere(user, n) {
                true => first..first + self.population.devices_of(owner),
                false => act.device..act.device + 1,
            };
            for device in devices {
                // What somebody of another part writes is said there; and nobody writes where they have heard of nothing.
                if self.clients.get(device).is_some_and(|client| client.session.knows(conversation)) {
                    self.act(device, now, sink, |session, out| session.typing(conversation, out));
                }
            }
        }
        let next = now + Duration::from_micros(self.workload.typing().every.as_micros());
        if next < sent_at {
            self.queue.push(next, Timer::Typing(user, n));
        } else {
            self.writers.0.remove(&user);
        }
    }
}
