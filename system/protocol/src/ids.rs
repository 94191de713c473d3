//! Identifiers as types, so that a device cannot be passed where a user is meant.
//!
//! In JSON an identifier is a string, because a JavaScript number cannot hold 64 bits; sequence numbers are numbers.
//!
//! **Invariant:** a conversation's name says whose it is. Two people's and a group's are never the same, and who may create
//! one follows from the name alone ([`ConversationId::founded_by`]). Guarded by the tests below and, on real sockets, by
//! `server/tests/names.rs`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Why a text is no number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a number has decimal digits, no sign and no leading zeros, and is not too large")]
struct NotANumber;

/// A number, of which there is one spelling.
fn number<N: FromStr>(text: &str) -> Result<N, NotANumber> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = !text.starts_with('0') || text == "0";
    if digits && shortest { text.parse().map_err(|_| NotANumber) } else { Err(NotANumber) }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident: $number:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", { self.0 })
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), { self.0 })
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&{ self.0 })
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                number(&text).map($name).map_err(de::Error::custom)
            }
        }
    };
}

identifier!(
    /// A person. Valid ones are below [`UserId::LIMIT`].
    UserId: u64
);
identifier!(
    /// A device of a person, unique among all devices.
    DeviceId: u64
);
identifier!(
    /// A conversation, by a name that says what it is: [`ConversationId::name`].
    ///
    /// Aligned like its halves: a device, a shard and the checks hold one for each conversation, most of them beside
    /// numbers of 64 bits.
    #[repr(Rust, packed(8))]
    ConversationId: u128
);

/// A device of a user. A number alone names nobody: whoever hands out tokens gives none twice, and whoever guesses another's has a
/// device of their own.
pub type Who = (UserId, DeviceId);

impl UserId {
    /// The first number that is no user's: the name of a conversation holds two of them and a bit each.
    pub const LIMIT: u64 = 1 << 63;

    pub const fn is_valid(self) -> bool {
        self.0 < Self::LIMIT
    }
}

/// What a conversation's id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The conversation of two people, the lower number first.
    Direct { low: UserId, high: UserId },
    /// A group, by whoever created it and a number of their choice.
    Group { creator: UserId, number: u64 },
}

/// The bit that a group's name has and two people's has not.
const GROUP_BIT: u64 = 1 << 63;

impl ConversationId {
    /// The direct conversation of two people, the same whoever asks: their two numbers, 64 bits each, the lower one first.
    ///
    /// # Panics
    /// If one of them is no valid user. Whether it is one person twice is not asked; nobody can create that.
    pub const fn direct(a: UserId, b: UserId) -> Self {
        assert!(a.is_valid() && b.is_valid(), "no user has such a number");
        let (low, high) = if a.0 <= b.0 { (a.0, b.0) } else { (b.0, a.0) };
        Self::of_halves(low, high)
    }

    /// A group: the top bit, its creator, and a number that the creator has for no other group.
    ///
    /// # Panics
    /// If the creator is no valid user.
    pub const fn group(creator: UserId, number: u64) -> Self {
        assert!(creator.is_valid(), "no user has such a number");
        Self::of_halves(GROUP_BIT | creator.0, number)
    }

    /// What the id names; `None` for a number that names nothing.
    pub const fn name(self) -> Option<Name> {
        let (high, low) = self.halves();
        if high & GROUP_BIT != 0 {
            Some(Name::Group { creator: UserId(high & !GROUP_BIT), number: low })
        } else if high < low && low < UserId::LIMIT {
            Some(Name::Direct { low: UserId(high), high: UserId(low) })
        } else {
            None
        }
    }

    /// Whether the name is this user's own: one of its two people, or its creator. Nobody else may create it, and to
    /// two people's conversation nobody else is ever admitted.
    pub fn founded_by(self, user: UserId) -> bool {
        match self.name() {
            Some(Name::Direct { low, high }) => user == low || user == high,
            Some(Name::Group { creator, .. }) => user == creator,
            None => false,
        }
    }

    /// Whether the name leaves open that this user has a part in it: in a group anybody may.
    pub fn is_open_to(self, user: UserId) -> bool {
        matches!(self.name(), Some(Name::Group { .. })) || self.founded_by(user)
    }

    /// The upper and the lower 64 bits.
    pub const fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    pub const fn of_halves(high: u64, low: u64) -> Self {
        ConversationId((high as u128) << 64 | low as u128)
    }

    /// 64 bits that depend on all of the name, to place it somewhere. Two names may share them.
    pub const fn spread(self) -> u64 {
        let (high, low) = self.halves();
        mix(mix(high) ^ low)
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of 64 bits that spreads every input bit.
pub const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Rendezvous hashing (Thaler, Ravishankar 1996): the index of the node that owns `key` among `nodes`.
pub fn rendezvous(key: u64, nodes: u32) -> u32 {
    (0..nodes).max_by_key(|node| mix(key ^ mix(u64::from(*node) + 1))).unwrap_or(0)
}

/// The place of an entry in a conversation's log: dense from 1. 0 is "before the first".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    pub const ZERO: Seq = Seq(0);
    /// The one after; a peer may name the last number there is, which stays.
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
    /// The one before; 0 stays 0.
    pub const fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The place of a send among those of one device in one conversation: dense from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientSeq(pub u64);

impl ClientSeq {
    pub const FIRST: ClientSeq = ClientSeq(1);
    pub const fn next(self) -> ClientSeq {
        ClientSeq(self.0 + 1)
    }
}

/// The UUID that a device gives a message, the same on every resend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientMsgId(pub u128);

impl fmt::Display for ClientMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (v >> 96) as u32,
            (v >> 80) as u16,
            (v >> 64) as u16,
            (v >> 48) as u16,
            v & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for ClientMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientMsgId({self})")
    }
}

/// A string that is no UUID.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a UUID has 32 hexadecimal digits, 8-4-4-4-12")]
pub struct NotAUuid;

impl FromStr for ClientMsgId {
    type Err = NotAUuid;
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let mut value = 0u128;
        let mut digits = 0;
        for c in text.bytes().filter(|c| *c != b'-') {
            let digit = (c as char).to_digit(16).ok_or(NotAUuid)?;
            digits += 1;
            if digits > 32 {
                return Err(NotAUuid);
            }
            value = value << 4 | u128::from(digit);
        }
        if digits == 32 { Ok(ClientMsgId(value)) } else { Err(NotAUuid) }
    }
}

impl Serialize for ClientMsgId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientMsgId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_conversation_is_the_same_from_both_sides() {
        assert_eq!(ConversationId::direct(UserId(3), UserId(9)), ConversationId::direct(UserId(9), UserId(3)));
        assert_ne!(ConversationId::direct(UserId(3), UserId(9)), ConversationId::direct(UserId(3), UserId(8)));
    }

    #[test]
    fn a_name_says_what_it_names_and_who_may_create_it() {
        let last = UserId(UserId::LIMIT - 1);
        for (a, b) in [(UserId(0), UserId(1)), (UserId(3), UserId(9)), (UserId(9), last), (UserId(0), last)] {
            let id = ConversationId::direct(b, a);
            assert_eq!(id.name(), Some(Name::Direct { low: a, high: b }));
            assert!(id.founded_by(a) && id.founded_by(b) && id.is_open_to(a));
            assert!(!id.founded_by(UserId(5)) && !id.is_open_to(UserId(5)));
        }
        for (creator, number) in [(UserId(0), 0), (UserId(3), 9), (last, u64::MAX)] {
            let id = ConversationId::group(creator, number);
            assert_eq!(id.name(), Some(Name::Group { creator, number }));
            assert!(id.founded_by(creator) && !id.founded_by(UserId(5)) && id.is_open_to(UserId(5)));
        }
        assert_ne!(ConversationId::direct(UserId(3), UserId(9)), ConversationId::group(UserId(3), 9));
    }

    #[test]
    fn what_names_nothing_is_nobodys() {
        let same = ConversationId::direct(UserId(3), UserId(3));
        let unordered = ConversationId::of_halves(9, 3);
        let beyond = ConversationId::of_halves(3, UserId::LIMIT);
        for id in [ConversationId(0), same, unordered, beyond] {
            assert_eq!(id.name(), None, "{id}");
            assert!([0, 3, 9, UserId::LIMIT].iter().all(|user| !id.is_open_to(UserId(*user))), "{id}");
        }
    }

    #[test]
    fn an_id_takes_sixteen_bytes_and_is_one_string_in_json() {
        assert_eq!((size_of::<ConversationId>(), align_of::<ConversationId>()), (16, 8));
        assert_eq!(size_of::<(ConversationId, Seq)>(), 24);
        let id = ConversationId::direct(UserId(1), UserId(2));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"18446744073709551618\"");
        let last = ConversationId(u128::MAX);
        assert_eq!(serde_json::from_str::<ConversationId>(&serde_json::to_string(&last).unwrap()).unwrap(), last);
    }

    #[test]
    fn a_number_has_one_spelling() {
        let read = |text: &str| serde_json::from_str::<ConversationId>(&format!("\"{text}\"")).ok();
        assert_eq!([read("0"), read("10")], [Some(ConversationId(0)), Some(ConversationId(10))]);
        assert_eq!(read(&u128::MAX.to_string()), Some(ConversationId(u128::MAX)));
        for wrong in
            ["", "+1", "-1", "01", "00", " 1", "1 ", "1_0", "0x1", "340282366920938463463374607431768211456"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(serde_json::from_str::<UserId>("\"+7\"").is_err());
    }

    #[test]
    fn a_uuid_survives_text_and_back() {
        let id = ClientMsgId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        assert_eq!(id.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "0", "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899-aabbccddeeff0"] {
            assert_eq!(wrong.parse::<ClientMsgId>(), Err(NotAUuid));
        }
    }

    #[test]
    fn rendezvous_spreads_keys_and_moves_few_when_a_node_is_added() {
        let mut counts = [0u32; 5];
        let mut moved = 0;
        for key in 0..10_000u64 {
            let owner = rendezvous(mix(key), 5);
            counts[owner as usize] += 1;
            moved += u32::from(rendezvous(mix(key), 6) != owner);
        }
        assert!(counts.iter().all(|c| (1_800..2_200).contains(c)), "{counts:?}");
        assert!((1_400..1_950).contains(&moved), "{moved}");
    }
}
