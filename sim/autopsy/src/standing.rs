//! Who may do what in a conversation, folded from its log entry by entry, each with the entry that made it so.
//!
//! The fold is written from the protocol's page, as that of the checks is, and shares no code with the server.

use crate::case::Case;
use crate::log::Placed;
use squall_history::{Kind, What};
use squall_protocol::{ClientMsgId, Holders, Name, Rank, Right, Seq, UserId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How somebody came to their rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By the creation, or because they were added.
    Came,
    /// Somebody gave it to them.
    Given(UserId),
    /// They handed over, or the owner before them left.
    HandedOver,
    Succeeded(UserId),
}

#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub rank: Rank,
    pub joined: Seq,
    /// The entry that gave the rank.
    pub since: Seq,
    pub how: How,
}

#[derive(Debug, Clone, Copy)]
pub struct Gone {
    pub rank: Rank,
    pub left: Seq,
    pub for_good: bool,
}

/// Somebody who was added while they had left for good.
#[derive(Debug, Clone, Copy)]
pub struct Dragged {
    pub by: UserId,
    pub at: Seq,
    pub left: Seq,
}

/// What an entry says and who says so.
#[derive(Debug, Clone)]
pub struct Deed {
    pub message: ClientMsgId,
    pub seq: Seq,
    pub author: UserId,
    pub what: What,
    pub named: Vec<UserId>,
}

/// A conversation as far as its log has been read.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    direct: bool,
    pub members: BTreeMap<UserId, Member>,
    pub gone: BTreeMap<UserId, Gone>,
    pub dragged: BTreeMap<UserId, Dragged>,
    settings: BTreeMap<Right, (Holders, Seq)>,
    /// Who blocks it, since when.
    pub blockers: BTreeMap<UserId, Seq>,
    /// Who blocked it last and does so no more.
    pub unblocked: BTreeMap<UserId, Seq>,
}

/// Why something may not be said, in words after "though", and the entry that made it so.
#[derive(Debug, Clone)]
pub struct Objection {
    pub words: String,
    pub since: Seq,
}

pub fn rank_word(rank: Rank) -> &'static str {
    match rank {
        Rank::Owner => "the owner",
        Rank::Admin => "an admin",
        Rank::Member => "a plain member",
    }
}

fn right_words(right: Right) -> &'static str {
    match right {
        Right::Add => "add people",
        Right::Remove => "take people away",
        Right::Rename => "rename the group",
        Right::Promote => "give ranks",
        Right::Post => "write",
    }
}

/// What was said in the conversation, in the order of its log.
pub fn deeds(case: &Case<'_>, counts: impl Fn(&Placed) -> bool) -> Vec<Deed> {
    let mut said = BTreeMap::new();
    for event in case.events() {
        if let Kind::Send { client_msg_id, what, sender, members, .. } = &event.kind {
            said.entry(*client_msg_id).or_insert((*sender, *what, members));
        }
    }
    let mut log: Vec<&Placed> = case.log.iter().filter(|placed| counts(placed)).collect();
    log.sort_by_key(|placed| placed.seq);
    log.dedup_by_key(|placed| placed.seq);
    let deed = |placed: &Placed| {
        let (author, what, named) = said.get(&placed.message)?;
        let (message, seq) = (placed.message, placed.seq);
        Some(Deed { message, seq, author: *author, what: *what, named: named.to_vec() })
    };
    log.into_iter().filter_map(deed).collect()
}

impl Standing {
    pub fn of(case: &Case<'_>) -> Self {
        let direct = matches!(case.subject.conversation.name(), Some(Name::Direct { .. }));
        Standing { direct, ..Standing::default() }
    }

    /// As it stood before this place, by what is in the log in the end or was committed.
    pub fn before(case: &Case<'_>, seq: Seq) -> Self {
        let mut standing = Standing::of(case);
        let is_stored = |placed: &Placed| {
            placed.seq < seq && (placed.committed.is_some() || placed.logged.is_some() || !placed.found.is_empty())
        };
        deeds(case, is_stored).iter().for_each(|deed| standing.take(deed));
        standing
    }

    /// Who has a right, and the entry that says so; none where nobody has said anything.
    fn holders(&self, right: Right) -> (Holders, Option<Seq>) {
        let usual = if right == Right::Promote { Holders::Owner } else { Holders::Members };
        self.settings.get(&right).map_or((usual, None), |(who, seq)| (*who, Some(*seq)))
    }

    /// "an admin since seq 8, made one by user 9"
    pub fn member_words(&self, member: &Member) -> String {
        let how = match member.how {
            How::Came => String::new(),
            How::Given(by) => format!(", made so by user {by}"),
            How::HandedOver => ", with which they handed the group over".to_owned(),
            How::Succeeded(owner) => {
                format!(", with which user {owner}, the owner before, left and they came next")
            }
        };
        format!("{} since seq {}{how}", rank_word(member.rank), member.since)
    }

    fn lacks(&self, right: Right, author: UserId) -> Option<Objection> {
        let member = self.members.get(&author)?;
        let (holders, set) = self.holders(right);
        let (least, whose) = match holders {
            Holders::Owner => (Rank::Owner, "only the owner may"),
            Holders::Admins => (Rank::Admin, "only admins may"),
            Holders::Members => (Rank::Member, "every member may"),
        };
        if member.rank >= least {
            return None;
        }
        let set_words = set.map_or(String::new(), |set| format!(" since seq {set}"));
        let words =
            format!("{whose} {}{set_words}, and they are {}", right_words(right), self.member_words(member));
        Some(Objection { words, since: set.unwrap_or(member.since).max(member.since) })
    }

    fn above(&self, user: UserId, author: UserId) -> Option<Objection> {
        let (theirs, own) = (self.members.get(&user)?, self.members.get(&author)?);
        (theirs.rank > own.rank).then(|| Objection {
            words: format!(
                "user {user} is {}, and they are {}",
                self.member_words(theirs),
                self.member_words(own)
            ),
            since: theirs.since,
        })
    }

    /// What stands against this of a member as the next entry.
    pub fn objection(&self, deed: &Deed) -> Option<Objection> {
        let author = deed.author;
        match deed.what {
            What::Text if self.direct => self.blockers.iter().next().map(|(user, since)| {
                let who = if *user == author { "they block".to_owned() } else { format!("user {user} blocks") };
                Objection { words: format!("{who} the conversation since seq {since}"), since: *since }
            }),
            What::Text => self.lacks(Right::Post, author),
            What::Named => self.lacks(Right::Rename, author),
            What::Setting { right, who } if self.holders(right).0 == who => {
                let set = self.holders(right).1;
                let since = set.map_or(" from the beginning".to_owned(), |set| format!(" since seq {set}"));
                Some(Objection { words: format!("that is so already{since}"), since: set.unwrap_or(Seq(1)) })
            }
            What::Setting { .. } => {
                let own = self.members.get(&author)?;
                (own.rank != Rank::Owner).then(|| Objection {
                    words: format!("only the owner may set that, and they are {}", self.member_words(own)),
                    since: own.since,
                })
            }
            What::Role { user, rank } => {
                let (current, own) = (self.members.get(&user)?, self.members.get(&author)?);
                if current.rank == rank {
                    let words = format!("user {user} is that already, {}", self.member_words(current));
                    return Some(Objection { words, since: current.since });
                }
                if user == author && rank < current.rank {
                    return None;
                }
                if rank == Rank::Owner && own.rank != Rank::Owner {
                    return Some(Objection {
                        words: format!("only the owner hands over, and they are {}", self.member_words(own)),
                        since: own.since,
                    });
                }
                self.lacks(Right::Promote, author).or_else(|| self.above(user, author))
            }
            What::Joined(_) | What::JoinedSeveral => {
                let out = deed.what.added(&deed.named).find_map(|user| {
                    let gone = self.gone.get(&user).filter(|gone| gone.for_good)?;
                    Some(Objection {
                        words: format!(
                            "user {user} had left for good at seq {}, and nobody but they may take that back",
                            gone.left
                        ),
                        since: gone.left,
                    })
                });
                out.or_else(|| self.lacks(Right::Add, author))
            }
            What::Left(_) | What::LeftSeveral => {
                let mut others =
                    deed.what.taken(author, &deed.named).filter(|user| *user != author).collect::<Vec<_>>();
                others.sort_unstable();
                if others.is_empty() {
                    return None;
                }
                let above = others.into_iter().find_map(|user| self.above(user, author));
                self.lacks(Right::Remove, author).or(above)
            }
            What::Blocked(true) => self.blockers.get(&author).map(|since| Objection {
                words: format!("they block it already since seq {since}"),
                since: *since,
            }),
            What::Blocked(false) if !self.blockers.contains_key(&author) => {
                let since = self.unblocked.get(&author).copied()?;
                Some(Objection { words: format!("they block it no more since seq {since}"), since })
            }
            What::Created | What::CreatedChannel | What::Blocked(false) | What::ForGood(_) => None,
        }
    }

    /// Takes an entry in.
    pub fn take(&mut self, deed: &Deed) {
        let (seq, author) = (deed.seq, deed.author);
        match deed.what {
            What::Text | What::Named => {}
            What::Created | What::CreatedChannel => {
                for user in &deed.named {
                    let rank = if !self.direct && *user == author { Rank::Owner } else { Rank::Member };
                    self.members.insert(*user, Member { rank, joined: seq, since: seq, how: How::Came });
                }
                if deed.what == What::CreatedChannel {
                    let closed = [Right::Add, Right::Remove, Right::Rename, Right::Post];
                    self.settings.extend(closed.map(|right| (right, (Holders::Admins, seq))));
                }
            }
            What::Role { user, rank } => {
                if let Some(member) = self.members.get_mut(&user) {
                    (member.rank, member.since, member.how) = (rank, seq, How::Given(author));
                }
                if let Some(own) = self.members.get_mut(&author).filter(|_| rank == Rank::Owner) {
                    (own.rank, own.since, own.how) = (Rank::Admin, seq, How::HandedOver);
                }
            }
            What::Setting { right, who } => drop(self.settings.insert(right, (who, seq))),
            What::Blocked(true) => drop(self.blockers.insert(author, seq)),
            What::Blocked(false) => {
                self.blockers.remove(&author);
                self.unblocked.insert(author, seq);
            }
            What::ForGood(false) => {
                if let Some(gone) = self.gone.get_mut(&author) {
                    gone.for_good = false;
                }
                self.dragged.remove(&author);
            }
            What::Joined(_) | What::JoinedSeveral => {
                for user in deed.what.added(&deed.named) {
                    if let Some(gone) = self.gone.get(&user).filter(|gone| gone.for_good) {
                        self.dragged.insert(user, Dragged { by: author, at: seq, left: gone.left });
                    }
                    self.members.entry(user).or_insert(Member {
                        rank: Rank::Member,
                        joined: seq,
                        since: seq,
                        how: How::Came,
                    });
                }
            }
            What::Left(_) | What::LeftSeveral | What::ForGood(true) => {
                let for_good = deed.what == What::ForGood(true);
                let mut owner = None;
                for user in deed.what.taken(author, &deed.named) {
                    let Some(member) = self.members.remove(&user) else { continue };
                    if member.rank == Rank::Owner {
                        owner = Some(user);
                    }
                    self.gone.insert(user, Gone { rank: member.rank, left: seq, for_good });
                }
                let heir = |(user, member): &(&UserId, &mut Member)| (Reverse(member.rank), member.joined, **user);
                if let Some(owner) = owner
                    && let Some((_, next)) = self.members.iter_mut().min_by_key(heir)
                {
                    (next.rank, next.since, next.how) = (Rank::Owner, seq, How::Succeeded(owner));
                }
            }
        }
    }
}
