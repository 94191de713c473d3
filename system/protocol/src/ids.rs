//! Identifiers as types, so that a device cannot be passed where a user is meant.
//!
//! In JSON an identifier is a string, because a JavaScript number cannot hold 64 bits; sequence numbers are numbers.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map($name).map_err(de::Error::custom)
            }
        }
    };
}

identifier!(
    /// A person.
    UserId
);
identifier!(
    /// A device of a person, unique among all devices.
    DeviceId
);
identifier!(
    /// A conversation. A direct one is named by its two members (`ConversationId::direct`), a group by its creator's choice.
    ConversationId
);

impl ConversationId {
    /// The direct conversation of two people: the same whoever asks.
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a.0, b.0) } else { (b.0, a.0) };
        ConversationId(mix(mix(low ^ 0x6469_7265_6374_0001) ^ high))
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
