//! A gateway's session with a shard: what is quick is done as it comes; what reads the disk waits for its user's turn.
//!
//! **Invariants:** nobody's send, ack or page stands behind more than one page of another user, however many that one has asked
//! for; nothing is read for a gateway that does not take its answers. Guarded by
//! `whoever_asks_for_a_thousand_pages_waits_behind_himself` in `tests.rs`.

use super::followers;
use super::requests;
use super::shard::Shard;
use crate::hop::Hop;
use crate::level::Level;
use crate::links::{Queue, tell_fill};
use crate::observer::{Observer, Point, Unfit};
use crate::work::Work;
use squall_core::plant::{Plant, planted};
use squall_core::turns::Turns;
use squall_protocol::wire::messages::request::Request as Kind;
use squall_protocol::wire::messages::{Reply, Request};
use squall_protocol::{ClientFrame, DeviceId, Seq, UserId, limits, protobuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One gateway's session.
pub struct Session {
    pub replies: Queue<Reply>,
    reads: Mutex<Turns<Request>>,
    asked: Notify,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            replies: Queue::default(),
            reads: Mutex::new(Turns::new(limits::MAX_READS_WAITING, limits::MAX_READS_WAITING_SHARE)),
            asked: Notify::new(),
        }
    }
}

impl Session {
    fn reads(&self) -> MutexGuard<'_, Turns<Request>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one request: at once, or to be read in its user's turn.
    pub fn handle(self: &Arc<Self>, shard: &Shard, request: Request) {
        let user = request.caller.as_ref().map(|caller| UserId(caller.user));
        match (&request.request, user) {
            (Some(Kind::Sync(_) | Kind::Heads(_)), Some(user)) => {
                if self.reads().push(user, request) {
                    self.asked.notify_one();
                } else {
                    shard.observer.passed(&Point::ReadRefused { user });
                }
            }
            (Some(Kind::Follow(_) | Kind::Took(_) | Kind::Unfollow(_)), _) => self.handle_channel(shard, request),
            (Some(Kind::Typing(_)), _) => handle_typing(shard, request),
            (Some(Kind::Gone(_)), Some(user)) => {
                shard.observer.worked(Work::Request, 1);
                shard.state().cursors.handle_gone(user);
            }
            _ => requests::handle(shard, request, &self.replies),
        }
    }

    /// Takes what the gateway says for itself.
    fn handle_channel(self: &Arc<Self>, shard: &Shard, request: Request) {
        shard.observer.worked(Work::Request, 1);
        // What is another shard's, or cannot be read, is not from a gateway of ours.
        let own = |id| protobuf::conversation_from_wire(id).ok().filter(|id| shard.share.has(*id));
        match request.request {
            Some(Kind::Follow(follow)) => {
                if let Some(conversation) = own(follow.conversation) {
                    followers::handle_follow(shard, self, conversation, follow.have.map(Seq));
                }
            }
            Some(Kind::Took(took)) => {
                if let Some(conversation) = own(took.conversation) {
                    followers::handle_took(shard, self, conversation, Seq(took.up_to));
                }
            }
            Some(Kind::Unfollow(conversation)) => {
                if let Some(conversation) = own(Some(conversation)) {
                    shard.followers.unfollow(self, conversation);
                }
            }
            _ => {}
        }
    }

    /// Reads what is waited for, until nobody takes the answers any more.
    pub async fn read(&self, shard: &Shard) {
        let mut at_once = 0;
        while self.replies.room(limits::MAX_REPLY_BYTES_FOR_READS).await {
            let Some(request) = self.next() else {
                self.asked.notified().await;
                continue;
            };
            requests::handle(shard, request, &self.replies);
            at_once = (at_once + 1) % limits::READS_AT_ONCE;
            if at_once == 0 {
                tokio::task::yield_now().await;
            }
            shard.let_others().await;
        }
    }

    fn next(&self) -> Option<Request> {
        self.reads().pop()
    }

    /// Nothing more comes. What has been answered is still sent.
    pub fn close(&self) {
        self.replies.close();
        if !planted(Plant::ReadsOutliveTheirLink) {
            self.asked.notify_one();
        }
    }
}

/// Somebody is writing: it waits to be judged. What is another shard's, or cannot be read, is not from a gateway of ours.
fn handle_typing(shard: &Shard, request: Request) {
    let (Some(caller), Some(Kind::Typing(typing))) = (request.caller, request.request) else { return };
    let Ok(conversation) = protobuf::conversation_from_wire(typing.conversation) else { return };
    let user = UserId(caller.user);
    if !shard.share.has(conversation) || !conversation.is_open_to(user) {
        return;
    }
    let (device, now) = (DeviceId(caller.device), shard.clock.now());
    shard.observer.hop(&Hop::Asked { user, device, frame: &ClientFrame::Typing { conversation } });
    if !shard.notices.handle_typing(user, device, conversation, now) {
        shard.observer.passed(&Point::TypingDropped { user, why: Unfit::NoRoom });
    }
}

/// The sessions of a shard.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<Vec<Arc<Session>>>,
    /// The shard is to end: nothing more is taken.
    closing: AtomicBool,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(&self) -> Arc<Session> {
        let session = Arc::<Session>::default();
        self.lock().push(Arc::clone(&session));
        session
    }

    pub fn close(&self, session: &Arc<Session>) {
        session.close();
        self.lock().retain(|open| !Arc::ptr_eq(open, session));
    }

    /// The shard is to end: no session takes anything more.
    pub fn close_all(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub fn are_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether no answer waits for its link.
    pub fn have_answered(&self) -> bool {
        self.lock().iter().all(|open| open.replies.is_empty())
    }

    /// How full they are.
    pub fn tell_levels(&self, observer: &dyn Observer) {
        let (fills, reads): (Vec<_>, Vec<usize>) =
            self.lock().iter().map(|open| (open.replies.take_fill(), open.reads().len())).unzip();
        tell_fill(observer, Level::Replies, Level::ReplyBytes, fills);
        let reads = reads.into_iter().max().unwrap_or(0);
        observer.stands(Level::Reads, reads, reads);
    }
}
