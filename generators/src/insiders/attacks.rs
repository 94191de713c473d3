//! What insiders do: a table with a row for each attack, and the frames that it is made of.

use crate::population::{Conversation, Population};
use crate::rng::Stream;
use squall_protocol::limits::{MAX_BODY_BYTES, MAX_CLIENT_FRAME_BYTES, MAX_NAME_BYTES};
use squall_protocol::{ClientSeq, ConversationId, Holders, Payload, Rank, Right, Seq, UserId};

/// Messages of a flood, and pages that are asked for at once.
const FLOOD: usize = 40;
/// Groups that are made at once, and the people in each.
const GROUPS: usize = 6;
const DRAGGED_IN: usize = 5;

macro_rules! attacks {
    ($($(#[$doc:meta])* $attack:ident $name:literal,)*) => {
        /// Something that an insider does to others, or tries to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Attack {
            $($(#[$doc])* $attack),*
        }

        impl Attack {
            pub const ALL: &[Attack] = &[$(Attack::$attack),*];

            /// Its name in records.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Attack::$attack => $name),*
                }
            }
        }
    };
}

attacks! {
    /// Writes where they may, so that honest people see an insider's messages like any other's.
    Write "writes",
    /// Many messages at once.
    Flood "floods",
    /// Creates what two others have for theirs: their conversation, and a group of its name.
    CreateForeign "creates_foreign_names",
    /// Creates a group in the name of somebody else.
    CreateInAnothersName "creates_in_anothers_name",
    /// Creates groups with people who never asked for it.
    CreateWithPeople "creates_groups_with_people",
    /// Names that say nothing, members twice, and a direct conversation with oneself.
    CreateNonsense "creates_nonsense",
    /// Adds somebody to a group.
    Add "adds_people",
    /// Takes somebody away from a group: a member, or its owner.
    TakeAway "takes_people_away",
    /// Takes somebody away from a conversation that is none of theirs.
    TakeAwayElsewhere "takes_people_away_elsewhere",
    /// Makes themselves what they are not, shuts others up, and takes back what others have said of themselves.
    TakeRights "takes_rights",
    /// Blocks a conversation that is none of theirs, and their own, again and again.
    Block "blocks_conversations",
    /// Leaves and goes on writing.
    LeaveAndWrite "leaves_and_writes",
    /// The number 0.
    NumberZero "sends_number_0",
    /// A number far ahead of its turn.
    NumberAhead "sends_numbers_ahead",
    /// The largest number there is.
    LargestNumber "sends_the_largest_number",
    /// A number that another of their messages has.
    NumberAgain "sends_numbers_again",
    /// The same message many times.
    SameMessage "sends_the_same_again",
    /// Acks what nobody has been sent yet.
    AckAhead "acks_ahead",
    /// Acks less than before.
    AckBack "acks_back",
    /// Asks for pages from the beginning, again and again.
    AskForPages "asks_for_pages_without_end",
    /// Asks for pages of what is none of theirs.
    AskForForeignPages "asks_for_foreign_pages",
    /// A body and a frame that are too large.
    TooLarge "sends_what_is_too_large",
    /// Says `hello` on a connection that has said it.
    HelloAgain "says_hello_twice",
    /// A connection with a lower count than the device's own.
    LowerCount "connects_with_a_lower_count",
    /// A connection with the same count.
    EqualCount "connects_with_an_equal_count",
    /// A connection with the highest count there is.
    HighestCount "connects_with_the_highest_count",
    /// One more connection, of one more device.
    ManyConnections "holds_many_connections",
    /// Never reads.
    NeverRead "never_reads",
    /// Reads and never acks.
    NeverAck "never_acks",
    /// A device number that is somebody else's, with a good token of their own name.
    GuessDevice "guesses_device_numbers",
}

/// Attacks that are made of frames on a connection, each with its chance relative to the others.
pub(super) const BY_FRAMES: &[(Attack, u64)] = &[
    (Attack::Write, 14),
    (Attack::Flood, 4),
    (Attack::CreateForeign, 5),
    (Attack::CreateInAnothersName, 5),
    (Attack::CreateWithPeople, 4),
    (Attack::CreateNonsense, 4),
    (Attack::Add, 5),
    (Attack::TakeAway, 4),
    (Attack::TakeAwayElsewhere, 4),
    (Attack::TakeRights, 5),
    (Attack::Block, 3),
    (Attack::LeaveAndWrite, 2),
    (Attack::NumberZero, 5),
    (Attack::NumberAhead, 5),
    (Attack::LargestNumber, 5),
    (Attack::NumberAgain, 5),
    (Attack::SameMessage, 4),
    (Attack::AckAhead, 4),
    (Attack::AckBack, 4),
    (Attack::AskForPages, 4),
    (Attack::AskForForeignPages, 4),
    (Attack::TooLarge, 2),
    (Attack::HelloAgain, 2),
];

/// A frame that an attack sends, before it has numbers and ids.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shot {
    Send {
        conversation: ConversationId,
        number: Number,
        payload: Payload,
    },
    /// The last message that this device sent, word for word.
    SendAgain,
    Ack {
        conversation: ConversationId,
        up_to: Upto,
    },
    Sync {
        conversation: ConversationId,
    },
    Hello,
    /// Bytes of a frame that no gateway takes.
    Oversized,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// The one whose turn it is.
    Next,
    /// So many after it.
    Ahead(u64),
    This(ClientSeq),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upto {
    /// So far as has been shown.
    Shown,
    This(Seq),
}

/// Whom an attack is about.
pub(super) struct Victims {
    pub user: UserId,
    /// A conversation of the insider's, and a group of theirs if they are in one.
    pub own: Conversation,
    pub group: Option<Conversation>,
    /// A conversation that is none of theirs.
    pub foreign: Conversation,
    /// Somebody else.
    pub other: UserId,
    pub people: Vec<UserId>,
}

impl Victims {
    /// Drawn for the user at this index.
    pub fn draw(population: &Population, index: u32, stream: &mut Stream) -> Option<Self> {
        let user = population.user(index);
        let mut anybody = || stream.below(population.users().into()) as u32;
        let others: Vec<u32> = (0..DRAGGED_IN + 2).map(|_| anybody()).filter(|other| *other != index).collect();
        let other = *others.first()?;
        let group = population.group_of(index, stream.next_u64()).map(|group| population.group(group));
        let partner = population.partner(index, stream.below(4));
        let direct = partner.map(|partner| population.direct(index, partner));
        let own = match (&group, direct) {
            (Some(group), None) => group.clone(),
            (Some(group), Some(_)) if stream.chance(0.5) => group.clone(),
            (_, Some(direct)) => direct,
            (None, None) => return None,
        };
        let foreign = (0..4).find_map(|_| {
            let (a, k) = (stream.below(population.users().into()) as u32, stream.below(4));
            let b = population.partner(a, k)?;
            (a != index && b != index).then(|| population.direct(a, b))
        })?;
        let people = others.iter().map(|other| population.user(*other)).collect();
        Some(Victims { user, own, group, foreign, other: population.user(other), people })
    }
}

fn text() -> Payload {
    Payload::Text("You know me, I am one of you.".to_owned())
}

fn created(direct: bool, members: Vec<UserId>) -> Payload {
    Payload::Created { direct, channel: false, members }
}

impl Attack {
    /// The frames of this attack; none for what is done otherwise than by frames.
    pub(super) fn frames(self, victims: &Victims, stream: &mut Stream) -> Vec<Shot> {
        let Victims { user, own, group, foreign, other, people } = victims;
        let (own, user) = (own.id, *user);
        let send = |conversation, number, payload| Shot::Send { conversation, number, payload };
        let next = |conversation, payload| send(conversation, Number::Next, payload);
        let of_group = group.as_ref().map_or(own, |group| group.id);
        let with_me = || {
            people
                .iter()
                .copied()
                .chain([user])
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        };
        match self {
            Attack::Write => vec![next(own, text())],
            Attack::Flood => (0..FLOOD).map(|_| next(own, text())).collect(),
            Attack::CreateForeign => {
                let group = foreign.members.iter().copied().chain([user]).collect();
                vec![
                    next(foreign.id, created(true, foreign.members.clone())),
                    next(foreign.id, created(false, group)),
                ]
            }
            Attack::CreateInAnothersName => {
                let name = ConversationId::group(*other, stream.below(4) + 1);
                vec![next(name, created(false, with_me())), next(name, created(false, vec![*other]))]
            }
            Attack::CreateWithPeople => (0..GROUPS)
                .flat_map(|_| {
                    let name = ConversationId::group(user, stream.next_u64());
                    [next(name, created(false, with_me())), next(name, text())]
                })
                .collect(),
            Attack::CreateNonsense => vec![
                next(ConversationId(0), created(true, vec![user, user])),
                next(ConversationId(u128::MAX), created(false, vec![user])),
                next(ConversationId::group(user, stream.next_u64()), created(false, vec![user, *other, user])),
                next(ConversationId::group(user, stream.next_u64()), created(false, vec![user, UserId(u64::MAX)])),
                next(ConversationId::direct(user, *other), created(true, vec![user])),
            ],
            Attack::Add => vec![next(of_group, Payload::joined(*other)), next(of_group, Payload::joined(user))],
            Attack::TakeAway => {
                let members = group.as_ref().map_or(&[][..], |group| &group.members);
                let gone = members.get(stream.below(members.len() as u64) as usize).copied().unwrap_or(*other);
                vec![next(of_group, Payload::left(gone)), next(of_group, Payload::left(*other))]
            }
            Attack::TakeAwayElsewhere => foreign
                .members
                .iter()
                .flat_map(|member| {
                    [next(foreign.id, Payload::left(*member)), next(foreign.id, Payload::joined(user))]
                })
                .collect(),
            Attack::TakeRights => {
                let role = |user, rank| Payload::Role { user, rank };
                let shut = Payload::Setting { right: Right::Post, who: Holders::Owner };
                vec![
                    next(of_group, role(user, Rank::Owner)),
                    next(of_group, role(user, Rank::Admin)),
                    next(of_group, role(*other, Rank::Member)),
                    next(of_group, shut.clone()),
                    next(of_group, Payload::Named("x".repeat(MAX_NAME_BYTES + 1))),
                    next(of_group, Payload::ForGood(false)),
                    next(foreign.id, shut),
                ]
            }
            Attack::Block => [true, true, false, false]
                .into_iter()
                .flat_map(|is_so| [own, foreign.id].map(|id| next(id, Payload::Blocked(is_so))))
                .collect(),
            Attack::LeaveAndWrite => {
                vec![
                    next(of_group, Payload::left(user)),
                    next(of_group, text()),
                    next(of_group, Payload::joined(user)),
                ]
            }
            Attack::NumberZero => vec![send(own, Number::This(ClientSeq(0)), text())],
            Attack::NumberAhead => vec![send(own, Number::Ahead(1 + stream.below(50)), text())],
            Attack::LargestNumber => {
                let largest = [u64::MAX, u64::MAX - 1, i64::MAX as u64, u64::from(u32::MAX)];
                largest.into_iter().map(|number| send(own, Number::This(ClientSeq(number)), text())).collect()
            }
            Attack::NumberAgain => vec![next(own, text()), send(own, Number::This(ClientSeq::FIRST), text())],
            Attack::SameMessage => [vec![next(own, text())], vec![Shot::SendAgain; 8]].concat(),
            Attack::AckAhead => [Seq(1 << 40), Seq(u64::MAX)]
                .into_iter()
                .map(|seq| Shot::Ack { conversation: own, up_to: Upto::This(seq) })
                .collect(),
            Attack::AckBack => vec![
                Shot::Ack { conversation: own, up_to: Upto::Shown },
                Shot::Ack { conversation: own, up_to: Upto::This(Seq(1)) },
                Shot::Ack { conversation: own, up_to: Upto::This(Seq::ZERO) },
            ],
            Attack::AskForPages => vec![Shot::Sync { conversation: own }; FLOOD],
            Attack::AskForForeignPages => vec![
                Shot::Sync { conversation: foreign.id },
                Shot::Sync { conversation: ConversationId::group(*other, 1) },
                Shot::Ack { conversation: foreign.id, up_to: Upto::This(Seq(1)) },
            ],
            Attack::TooLarge => {
                vec![next(own, Payload::Text("x".repeat(MAX_BODY_BYTES + 1))), next(own, text()), Shot::Oversized]
            }
            Attack::HelloAgain => vec![Shot::Hello],
            Attack::LowerCount
            | Attack::EqualCount
            | Attack::HighestCount
            | Attack::ManyConnections
            | Attack::NeverRead
            | Attack::NeverAck
            | Attack::GuessDevice => Vec::new(),
        }
    }
}

/// The length of a frame that is larger than a gateway takes.
pub(super) const OVERSIZED: usize = MAX_CLIENT_FRAME_BYTES + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::model;
    use std::collections::BTreeSet;

    #[test]
    fn every_attack_by_frames_has_some_and_its_chance() {
        let model = model::Population { users: 20, groups: 3, group_size_max: 8, ..Default::default() };
        let population = Population::new(&model, 3);
        let mut stream = Stream::new(3, "attacks");
        let victims = Victims::draw(&population, 4, &mut stream).unwrap();
        assert!(!victims.foreign.members.contains(&victims.user) && victims.own.members.contains(&victims.user));
        let chances: BTreeSet<Attack> = BY_FRAMES.iter().map(|(attack, _)| *attack).collect();
        for attack in Attack::ALL {
            let frames = attack.frames(&victims, &mut stream);
            assert_eq!(frames.is_empty(), !chances.contains(attack), "{attack:?}");
        }
        let names: BTreeSet<_> = Attack::ALL.iter().map(|attack| attack.name()).collect();
        assert_eq!(names.len(), Attack::ALL.len());
    }
}
