//! Whom a device watches, and what it shows of them.
//!
//! Memory: 4 bytes a user who is watched, and 40 a conversation.

use squall_history::Word;
use squall_protocol::ConversationId;

/// A user, by their row.
type User = u32;

/// What a device shows of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Online,
    Offline,
    Unknown,
}

impl Shown {
    pub fn of(word: Word) -> Shown {
        match word {
            "online" => Shown::Online,
            "offline" => Shown::Offline,
            _ => Shown::Unknown,
        }
    }

    const ALL: [Shown; 4] = [Shown::Nothing, Shown::Online, Shown::Offline, Shown::Unknown];
}

/// A user and what is shown of them, in the lowest two bits.
#[derive(Debug, Clone, Copy)]
struct Row(u32);

impl Row {
    fn new(user: User, shown: Shown) -> Row {
        Row(user << 2 | shown as u32)
    }

    fn user(self) -> User {
        self.0 >> 2
    }

    fn shown(self) -> Shown {
        Shown::ALL[(self.0 & 3) as usize]
    }
}

#[derive(Debug)]
struct Watch {
    conversation: ConversationId,
    since: u64,
    rows: Box<[Row]>,
}

/// The watches of one connection.
#[derive(Debug, Default)]
pub(super) struct Watches {
    now: Vec<Watch>,
    /// Those that have ended, and when: what was on its way then still comes.
    ended: Vec<(Box<[Row]>, u64)>,
}

impl Watches {
    /// A device watches these in a conversation, in place of whom it has watched there. What has ended before `forgotten` is forgotten.
    /// Returns those whom it watches no more.
    pub fn handle_watch(
        &mut self,
        conversation: ConversationId,
        users: &[User],
        (now, forgotten): (u64, u64),
    ) -> Vec<User> {
        let rows: Box<[Row]> = users.iter().map(|user| Row::new(*user, self.shown(*user))).collect();
        self.ended.retain(|(_, at)| *at >= forgotten);
        let mut gone = Vec::new();
        if let Some(place) = self.now.iter().position(|watch| watch.conversation == conversation) {
            let before = self.now.remove(place);
            gone.extend(before.rows.iter().map(|row| row.user()).filter(|user| !users.contains(user)));
            self.ended.push((before.rows, now));
        }
        if !rows.is_empty() {
            self.now.reserve_exact(1);
            self.now.push(Watch { conversation, since: now, rows });
        }
        gone.retain(|user| !self.has(*user));
        gone
    }

    /// Forgets all of it, with its connection; those whom it watched.
    pub fn take(&mut self) -> Vec<User> {
        let mut users: Vec<User> =
            std::mem::take(self).now.iter().flat_map(|watch| watch.rows.iter()).map(|row| row.user()).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.now.iter().flat_map(|watch| watch.rows.iter().copied())
    }

    fn has(&self, user: User) -> bool {
        self.rows().any(|row| row.user() == user)
    }

    /// What is shown of a user whom it watches.
    pub fn shown(&self, user: User) -> Shown {
        self.rows().find(|row| row.user() == user).map_or(Shown::Nothing, Row::shown)
    }

    /// The device shows this of a user from now on.
    pub fn show(&mut self, user: User, shown: Shown) {
        let rows = self.now.iter_mut().flat_map(|watch| watch.rows.iter_mut());
        rows.filter(|row| row.user() == user).for_each(|row| *row = Row::new(user, shown));
    }

    /// The conversations in which it watches a user, and since when.
    pub fn of(&self, user: User) -> impl Iterator<Item = (ConversationId, u64)> {
        let has = move |watch: &&Watch| watch.rows.iter().any(|row| row.user() == user);
        self.now.iter().filter(has).map(|watch| (watch.conversation, watch.since))
    }

    /// Whether a watch of a user has ended at this time or later.
    pub fn ended_since(&self, user: User, then: u64) -> bool {
        self.ended.iter().any(|(rows, at)| *at >= then && rows.iter().any(|row| row.user() == user))
    }

    pub fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        self.now.iter().map(|watch| watch.conversation)
    }
}
