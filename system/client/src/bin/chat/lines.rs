//! What a person types: a line, and what it asks for.

use squall_protocol::{ConversationId, Holders, Payload, Rank, Right, UserId};

pub const HELP: &str = "\
/direct USER text        write to a person
/say GROUP text          write into a group, CREATOR/NUMBER as on the screen
/group NUMBER USER USER… create a group of yours with these people
/channel NUMBER USER…    create one in which only you and your admins write
/name GROUP text         name a group
/add GROUP USER USER…    put people in, all of them or none
/remove GROUP USER USER… take people away
/leave GROUP             leave; with 'for good' after it, nobody may add you
/return GROUP            after that: you may be added again
/promote GROUP USER      make a member an admin
/demote GROUP USER       make an admin a member
/handover GROUP USER     make somebody the owner in your place
/allow GROUP RIGHT WHO   add, remove, rename, promote or post: owner, admins or members
/block USER              block the conversation with a person
/unblock USER            take that back
/typing USER             tell a person that you are writing to them
/typing GROUP            tell a group
/read WHERE              you have read it all, of a person or CREATOR/NUMBER: the others are told, and your other devices
/unread                  how much you have not read, and where; or of one: /unread WHERE
/who USER or GROUP       tell from now on who of them is online, or when they last were
/invisible on|off        look offline to everybody
/quit                    end (so does Ctrl-D)";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Nothing,
    Help,
    Quit,
    Direct {
        to: UserId,
        text: &'a str,
    },
    Group {
        number: u64,
        channel: bool,
        others: Vec<UserId>,
    },
    Change {
        conversation: ConversationId,
        payload: Payload,
    },
    Leave {
        conversation: ConversationId,
    },
    Block {
        with: UserId,
        is_so: bool,
    },
    TypingTo {
        with: UserId,
    },
    Typing {
        conversation: ConversationId,
    },
    Say {
        conversation: ConversationId,
        text: &'a str,
    },
    Read {
        place: Place,
    },
    /// In one place, or everywhere.
    Unread {
        place: Option<Place>,
    },
    Who {
        place: Place,
    },
    Invisible {
        on: bool,
    },
}

/// A conversation as a person names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    With(UserId),
    In(ConversationId),
}

impl Place {
    pub fn conversation(self, own: UserId) -> ConversationId {
        match self {
            Place::With(user) => ConversationId::direct(own, user),
            Place::In(conversation) => conversation,
        }
    }
}

pub fn parse(line: &str) -> Result<Line<'_>, String> {
    let line = line.trim();
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    let number = |word: &str, what: &str| {
        word.parse::<u64>().map_err(|_| format!("{command}: expected {what}, found '{word}'"))
    };
    let user = |word: &str| match number(word, "the number of a user").map(UserId)? {
        user if user.is_valid() => Ok(user),
        user => Err(format!("{command}: no user has the number {user}")),
    };
    let group = |word: &str| {
        let Some((creator, chosen)) = word.split_once('/') else {
            return Err(format!("{command}: expected a group as CREATOR/NUMBER, found '{word}'"));
        };
        Ok(ConversationId::group(user(creator)?, number(chosen, "the number of a group")?))
    };
    let users = |rest: &str| match rest.split_whitespace().map(user).collect::<Result<Vec<_>, _>>()? {
        users if users.is_empty() => Err(format!("{command}: expected at least one user")),
        users => Ok(users),
    };
    let text_after = |what: &str| {
        let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let text = text.trim_start();
        if text.is_empty() {
            Err(format!("{command}: expected a text after the {what}"))
        } else {
            Ok((word, text))
        }
    };
    match command {
        "" => Ok(Line::Nothing),
        "/help" => Ok(Line::Help),
        "/quit" => Ok(Line::Quit),
        "/direct" => {
            let to = user(rest.split(' ').next().unwrap_or_default())?;
            text_after("user").map(|(_, text)| Line::Direct { to, text })
        }
        "/say" => {
            let conversation = group(rest.split(' ').next().unwrap_or_default())?;
            text_after("group").map(|(_, text)| Line::Say { conversation, text })
        }
        "/name" => {
            let conversation = group(rest.split(' ').next().unwrap_or_default())?;
            let (_, name) = text_after("group")?;
            Ok(Line::Change { conversation, payload: Payload::Named(name.to_owned()) })
        }
        "/group" | "/channel" => {
            let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = number(first, "the number of a group")?;
            Ok(Line::Group { number, channel: command == "/channel", others: users(rest)? })
        }
        "/add" | "/remove" | "/promote" | "/demote" | "/handover" | "/allow" | "/return" | "/leave" => {
            let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let conversation = group(first)?;
            let role = |rank| match users(rest)?[..] {
                [user] => Ok(Payload::Role { user, rank }),
                _ => Err(format!("{command}: expected one user, found '{rest}'")),
            };
            let payload = match (command, rest.trim()) {
                ("/add", _) => Payload::Joined(users(rest)?.into()),
                ("/remove", _) => Payload::Left(users(rest)?.into()),
                ("/promote", _) => role(Rank::Admin)?,
                ("/demote", _) => role(Rank::Member)?,
                ("/handover", _) => role(Rank::Owner)?,
                ("/allow", words) => setting(words).ok_or_else(|| {
                    format!("{command}: expected a right and whose it is, such as 'post admins', found '{words}'")
                })?,
                ("/return", "") => Payload::ForGood(false),
                ("/leave", "for good") => Payload::ForGood(true),
                ("/leave", "") => return Ok(Line::Leave { conversation }),
                (_, more) => return Err(format!("{command}: '{more}' is too much")),
            };
            Ok(Line::Change { conversation, payload })
        }
        "/typing" if rest.contains('/') => Ok(Line::Typing { conversation: group(rest.trim())? }),
        "/typing" => Ok(Line::TypingTo { with: user(rest.trim())? }),
        "/block" | "/unblock" => Ok(Line::Block { with: user(rest.trim())?, is_so: command == "/block" }),
        "/unread" if rest.is_empty() => Ok(Line::Unread { place: None }),
        "/read" | "/unread" | "/who" => {
            let place = match rest.trim() {
                word if word.contains('/') => Place::In(group(word)?),
                word => Place::With(user(word)?),
            };
            Ok(match command {
                "/read" => Line::Read { place },
                "/unread" => Line::Unread { place: Some(place) },
                _ => Line::Who { place },
            })
        }
        "/invisible" => match rest.trim() {
            "on" => Ok(Line::Invisible { on: true }),
            "off" => Ok(Line::Invisible { on: false }),
            other => Err(format!("{command}: expected on or off, found '{other}'")),
        },
        _ => Err(format!("'{command}' is no command; /help lists them")),
    }
}

/// `post admins` as a setting.
fn setting(words: &str) -> Option<Payload> {
    let (right, who) = words.split_once(' ')?;
    let right = Right::ALL.into_iter().find(|known| word(known) == right)?;
    let who = Holders::ALL.into_iter().find(|known| word(known) == who.trim())?;
    Some(Payload::Setting { right, who })
}

/// How a person writes a rank, a right, or whose it is.
pub fn word(of: &impl std::fmt::Debug) -> String {
    format!("{of:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_to_do_or_what_is_wrong_with_it() {
        assert_eq!(parse("/direct 7 hi  there "), Ok(Line::Direct { to: UserId(7), text: "hi  there" }));
        let others = vec![UserId(1), UserId(2)];
        assert_eq!(parse("/group 5 1 2"), Ok(Line::Group { number: 5, channel: false, others }));
        let conversation = ConversationId::group(UserId(9), 5);
        let change = |payload| Ok(Line::Change { conversation, payload });
        assert_eq!(parse("/add 9/5 1 2"), change(Payload::Joined(vec![UserId(1), UserId(2)].into())));
        assert_eq!(parse("/promote 9/5 2"), change(Payload::Role { user: UserId(2), rank: Rank::Admin }));
        let post = Payload::Setting { right: Right::Post, who: Holders::Admins };
        assert_eq!(parse("/allow 9/5 post admins"), change(post));
        assert_eq!(parse("/leave 9/5"), Ok(Line::Leave { conversation }));
        assert_eq!(parse("/leave 9/5 for good"), change(Payload::ForGood(true)));
        assert_eq!(parse("/unblock 7"), Ok(Line::Block { with: UserId(7), is_so: false }));
        assert_eq!(parse("/typing 7"), Ok(Line::TypingTo { with: UserId(7) }));
        assert_eq!(parse("/typing 9/5"), Ok(Line::Typing { conversation }));
        assert_eq!(parse("/who 7"), Ok(Line::Who { place: Place::With(UserId(7)) }));
        assert_eq!(parse("/who 9/5"), Ok(Line::Who { place: Place::In(conversation) }));
        assert_eq!(parse("/unread 7"), Ok(Line::Unread { place: Some(Place::With(UserId(7))) }));
        assert_eq!(parse("/unread"), Ok(Line::Unread { place: None }));
        assert_eq!(parse("/invisible on"), Ok(Line::Invisible { on: true }));
        assert_eq!(parse("/say 9/5 x"), Ok(Line::Say { conversation, text: "x" }));
        assert_eq!(parse("  "), Ok(Line::Nothing));
        for (wrong, word) in [
            ("/direct x hi", "found 'x'"),
            ("/direct 7", "expected a text"),
            ("/group 5", "at least one user"),
            ("/group", "number of a group"),
            ("/direct 9223372036854775808 hi", "no user has the number"),
            ("/say 5 hi", "CREATOR/NUMBER"),
            ("/say 1/5", "expected a text"),
            ("/promote 1/5 2 3", "expected one user"),
            ("/allow 1/5 post nobody", "a right and whose it is"),
            ("/leave 1/5 now", "too much"),
            ("/who x", "found 'x'"),
            ("/invisible maybe", "on or off"),
            ("hello", "/help"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }
}
