//! Notices: what members' devices are told if there is room, and nobody is owed: who is writing, and who has come how far (`receipts`).
//!
//! What a gateway says of somebody's writing waits here, is judged a few at a time by what is in memory, and goes to the members' devices by a
//! lane of its own for each registry, which has one look-up open at a time: what comes meanwhile goes together with the next. What a registry does
//! not answer in time is dropped, and so is what has waited too long or finds no room, always here first: sends, acks and
//! pages take nothing of this and wait for nothing of it.
//!
//! **Invariants:** nobody is told but members, of nobody but whoever may write there; no disk is read for a notice; everything is bounded in items,
//! and the users in a look-up are (`MAX_NOTICE_USERS`). Guarded by `sim/checks/src/typing_holds.rs` and `server/tests/typing.rs`.

use super::dispatcher::Dispatcher;
use super::shard::Shard;
use super::state::ShardState;
use crate::hop::Hop;
use crate::links::Fill;
use crate::observer::{Point, Unfit};
use crate::work::Work;
use squall_core::Time;
use squall_core::messages::targets_by_gateway;
use squall_core::plant::{Plant, planted};
use squall_core::registry::Location;
use squall_core::typing::TypingRates;
use squall_protocol::limits::{
    LOOKUP_RETRY_AFTER, MAX_NOTICE_USERS, MAX_NOTICES, MAX_NOTICES_SHARE, MAX_TYPING_MEMBERS, NOTICE_STALE_AFTER,
    NOTICES_A_TURN,
};
use squall_protocol::{ConversationId, DeviceId, Payload, Receipts, ServerFrame, UserId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Comings and goings that a group may have seen for each of the most members of whom it is told who is writing: all of them are looked through.
const STAYS_A_MEMBER: usize = 4;

/// The numbers of these look-ups are beyond all of the planner's and before those of reminders.
const FIRST_NOTICE: u64 = 1 << 62;

/// What devices are told.
pub struct Notice {
    /// Whose doing it is: of what fills up nobody has more than a share.
    pub cause: UserId,
    pub frame: ServerFrame,
}

/// What a gateway says of somebody's writing.
#[derive(Clone, Copy)]
struct Said {
    at: Time,
    user: UserId,
    device: DeviceId,
    conversation: ConversationId,
}

/// A notice for these users of one registry.
struct Waiting {
    at: Time,
    notice: Arc<Notice>,
    users: Vec<UserId>,
}

/// A look-up without an answer.
struct Open {
    id: u64,
    asked_at: Time,
    notices: Vec<Waiting>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    open: Option<Open>,
}

#[derive(Default)]
struct Inner {
    said: VecDeque<Said>,
    most_said: usize,
    rates: TypingRates,
    /// By registry.
    lanes: Vec<Lane>,
    last_id: u64,
}

/// All notices of a shard that are on their way.
pub struct Notices {
    inner: Mutex<Inner>,
    news: Notify,
}

impl Notices {
    pub fn new(registries: usize) -> Self {
        let lanes = (0..registries).map(|_| Lane::default()).collect();
        Notices { inner: Mutex::new(Inner { lanes, ..Inner::default() }), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gateway says that somebody is writing. False: there is no room for it.
    pub fn handle_typing(&self, user: UserId, device: DeviceId, conversation: ConversationId, now: Time) -> bool {
        let mut inner = self.lock();
        if inner.said.len() >= MAX_NOTICES {
            return false;
        }
        inner.said.push_back(Said { at: now, user, device, conversation });
        inner.most_said = inner.most_said.max(inner.said.len());
        drop(inner);
        self.news.notify_one();
        true
    }

    /// How much waits to be judged.
    pub fn take_fill(&self) -> Fill {
        let mut inner = self.lock();
        let items = inner.said.len();
        Fill { items, most_items: std::mem::replace(&mut inner.most_said, items), ..Fill::default() }
    }

    /// Takes some of what waits to be judged.
    fn take_said(&self, now: Time) -> Vec<Said> {
        let mut inner = self.lock();
        let count = inner.said.len().min(NOTICES_A_TURN);
        let taken = inner.said.drain(..count);
        taken.filter(|said| now.since(said.at) < NOTICE_STALE_AFTER || planted(Plant::StaleNoticeTold)).collect()
    }

    /// Sends a notice on its way to whichever devices of these users the registries know.
    pub fn tell(&self, dispatcher: &Dispatcher, notice: Notice, users: Vec<UserId>, now: Time) {
        let notice = Arc::new(notice);
        let mut by_registry: BTreeMap<u32, Vec<UserId>> = BTreeMap::new();
        for user in users {
            by_registry.entry(dispatcher.registry_of(user)).or_default().push(user);
        }
        by_registry.values_mut().for_each(|users| users.sort_unstable());
        let mut inner = self.lock();
        for (registry, users) in by_registry {
            let lane = &mut inner.lanes[registry as usize];
            let share = lane.waiting.iter().filter(|waiting| waiting.notice.cause == notice.cause).count();
            if lane.waiting.len() < MAX_NOTICES && share < MAX_NOTICES_SHARE {
                lane.waiting.push_back(Waiting { at: now, notice: Arc::clone(&notice), users });
            }
            ask(&mut inner, dispatcher, registry, now);
        }
    }

    /// A registry has answered: who of those that were asked for is to be told what. `None`: it was asked for something else.
    fn handle_answer(&self, dispatcher: &Dispatcher, registry: u32, id: u64, now: Time) -> Option<Vec<Waiting>> {
        if !(FIRST_NOTICE..2 * FIRST_NOTICE).contains(&id) {
            return None;
        }
        let mut inner = self.lock();
        let open = inner.lanes[registry as usize].open.take_if(|open| open.id == id);
        ask(&mut inner, dispatcher, registry, now);
        Some(open.map_or_else(Vec::new, |open| open.notices))
    }

    /// Gives up what has had no answer in time, and asks for what waits; how many notices that cost.
    fn handle_timeout(&self, dispatcher: &Dispatcher, now: Time) -> usize {
        let mut inner = self.lock();
        let mut given_up = 0;
        for registry in 0..inner.lanes.len() as u32 {
            let lane = &mut inner.lanes[registry as usize];
            let overdue = lane.open.take_if(|open| now.since(open.asked_at) >= LOOKUP_RETRY_AFTER);
            given_up += overdue.map_or(0, |open| open.notices.len());
            given_up += drop_stale(lane, now);
            ask(&mut inner, dispatcher, registry, now);
        }
        given_up
    }
}

/// Drops what has waited too long for its look-up; how many notices that was.
fn drop_stale(lane: &mut Lane, now: Time) -> usize {
    let before = lane.waiting.len();
    while lane.waiting.front().is_some_and(|waiting| now.since(waiting.at) >= NOTICE_STALE_AFTER) {
        lane.waiting.pop_front();
    }
    before - lane.waiting.len()
}

/// Asks a registry for the next ones, if it is not being asked and there is a link to it.
fn ask(inner: &mut Inner, dispatcher: &Dispatcher, registry: u32, now: Time) {
    let lane = &mut inner.lanes[registry as usize];
    if lane.open.is_some() || lane.waiting.is_empty() || !dispatcher.has_link(registry) {
        return;
    }
    drop_stale(lane, now);
    let (mut notices, mut users) = (Vec::new(), Vec::new());
    while let Some(next) = lane.waiting.front()
        && (notices.is_empty() || users.len() + next.users.len() <= MAX_NOTICE_USERS)
    {
        users.extend_from_slice(&next.users);
        notices.extend(lane.waiting.pop_front());
    }
    if notices.is_empty() {
        return;
    }
    users.sort_unstable();
    users.dedup();
    inner.last_id = (inner.last_id + 1) % FIRST_NOTICE;
    let id = FIRST_NOTICE + inner.last_id;
    inner.lanes[registry as usize].open = Some(Open { id, asked_at: now, notices });
    dispatcher.ask(registry, id, &users);
}

/// Judges what gateways say of people's writing, for as long as the shard lives.
pub async fn run(shard: Arc<Shard>) {
    loop {
        let now = shard.clock.now();
        let said = shard.notices.take_said(now);
        if said.is_empty() {
            shard.notices.news.notified().await;
            continue;
        }
        judge(&shard, &said, now);
        shard.let_others().await;
        tokio::task::yield_now().await;
    }
}

fn judge(shard: &Shard, said: &[Said], now: Time) {
    shard.observer.worked(Work::Request, said.len());
    let state = shard.state();
    let judged: Vec<Result<Vec<UserId>, Unfit>> = said.iter().map(|said| readers(&state, said)).collect();
    drop(state);
    for (Said { user, device, conversation, .. }, readers) in said.iter().copied().zip(judged) {
        let readers = readers.and_then(|readers| {
            let in_time = shard.notices.lock().rates.take(user, device, conversation, now);
            if in_time { Ok(readers) } else { Err(Unfit::TooSoon) }
        });
        match readers {
            Ok(readers) => {
                shard.observer.worked(Work::Member, readers.len());
                let frame = ServerFrame::Typing { conversation, user };
                shard.observer.hop(&Hop::Noticed { frame: &frame, to: &readers });
                shard.notices.tell(&shard.dispatcher, Notice { cause: user, frame }, readers, now);
            }
            Err(why) => shard.observer.passed(&Point::TypingDropped { user, why }),
        }
    }
}

/// Who is to be told that somebody is writing, by what is in memory.
fn readers(state: &ShardState, Said { user, conversation, .. }: &Said) -> Result<Vec<UserId>, Unfit> {
    let log = state.cache.peek(*conversation).ok_or(Unfit::NotInMemory)?;
    let (membership, end) = (log.membership(), log.durable());
    let may_write = membership.check(*user, &Payload::Text(String::new())).is_ok();
    if !may_write || !membership.was_member(*user, end) {
        return Err(Unfit::NotAllowed);
    }
    let is_large = membership.present() as usize > MAX_TYPING_MEMBERS
        || membership.stretches().len() > STAYS_A_MEMBER * MAX_TYPING_MEMBERS;
    if is_large || log.regime().is_channel(end) {
        return Err(Unfit::TooLarge);
    }
    if planted(Plant::TypingOutlivesLeaving) {
        return Ok(membership.stretches().users().filter(|reader| reader != user).collect());
    }
    // The last entry may say who leaves: they were a member when it was stored, and are none any more.
    let members = membership.members_at(end).filter(|reader| membership.is_member(*reader));
    Ok(members.filter(|reader| reader != user || planted(Plant::TypingShownToItsAuthor)).collect())
}

/// A registry has answered: publishes what waited for it. False: it was asked for something else.
pub fn handle_answer(shard: &Shard, registry: u32, id: u64, locations: &[Location]) -> bool {
    let answered = shard.notices.handle_answer(&shard.dispatcher, registry, id, shard.clock.now());
    let Some(answered) = answered else { return false };
    for Waiting { notice, users, .. } in answered {
        let places = locations.iter().filter(|location| users.binary_search(&location.user).is_ok());
        let by_gateway = targets_by_gateway(places.copied(), None);
        shard.observer.worked(Work::Publication, by_gateway.len());
        let devices = by_gateway.values().map(Vec::len).sum();
        match &notice.frame {
            ServerFrame::Typing { conversation, user } => {
                shard.observer.passed(&Point::TypingTold { conversation: *conversation, user: *user, devices });
            }
            ServerFrame::Receipts { receipts } => {
                for Receipts { conversation, .. } in receipts {
                    shard.observer.passed(&Point::Noticed { conversation: *conversation, devices });
                }
            }
            _ => {}
        }
        for (gateway, targets) in by_gateway {
            shard.dispatcher.notify(gateway, &notice, &targets);
        }
    }
    true
}

/// Looks at what waits for registries.
pub fn look_again(shard: &Shard) {
    let notices = shard.notices.handle_timeout(&shard.dispatcher, shard.clock.now());
    if notices > 0 {
        shard.observer.passed(&Point::NoticesUnanswered { notices });
    }
}
