//! What makes people differ: mixtures, popularity, the lives of conversations, crowds.
//!
//! A mixture is a list of parts, each with a share; shares are relative to their sum. Where one value does for all, the value
//! stands alone.

use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One value for everybody, or a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Mix<T, P> {
    One(T),
    Mixture(Vec<P>),
}

/// A part of a mixture: its share, relative to the sum of all.
pub trait Part {
    fn share(&self) -> f64;
}

macro_rules! parts {
    ($($name:ident),*) => {$(
        impl Part for $name {
            fn share(&self) -> f64 {
                self.share
            }
        }
    )*};
}

parts!(DevicesPart, ConversationsPart, BodyPart, LengthPart);

/// So many devices for this share of the users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DevicesPart {
    pub share: f64,
    pub devices: u32,
}

/// So many direct conversations for this share of the users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationsPart {
    pub share: f64,
    pub conversations: u32,
}

/// A length for this share of the bodies: `bytes`, or with `up_to` any length between the two, equally likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyPart {
    pub share: f64,
    pub bytes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u32>,
}

impl BodyPart {
    /// The longest body of this part.
    pub fn longest(&self) -> u32 {
        self.up_to.unwrap_or(self.bytes).max(self.bytes)
    }
}

/// A length of time for this share of the cases: exponential around `mean`, or anything between `from` and `to`, equally
/// likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LengthPart {
    pub share: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Span>,
}

impl LengthPart {
    /// The mean length in µs.
    pub fn mean_micros(&self) -> f64 {
        let micros = |span: Option<Span>| span.unwrap_or_default().as_micros() as f64;
        self.mean.map_or_else(|| (micros(self.from) + micros(self.to)) / 2.0, |mean| mean.as_micros() as f64)
    }
}

/// How many devices a user has.
pub type Devices = Mix<u32, DevicesPart>;
/// How many direct conversations a user has.
pub type Conversations = Mix<u32, ConversationsPart>;
/// How long bodies are.
pub type Bodies = Mix<u32, BodyPart>;
/// How long something lasts.
pub type Lengths = Mix<Span, LengthPart>;

impl<T, P: Part> Mix<T, P> {
    /// The mean of what `one` and `part` say of a value and a part.
    pub fn mean(&self, one: impl Fn(&T) -> f64, part: impl Fn(&P) -> f64) -> f64 {
        match self {
            Mix::One(value) => one(value),
            Mix::Mixture(parts) => {
                let total: f64 = parts.iter().map(P::share).sum();
                parts.iter().map(|p| p.share() * part(p)).sum::<f64>() / total.max(f64::MIN_POSITIVE)
            }
        }
    }

    /// The part that a draw from `0..1` falls on; `None` where one value does for all.
    pub fn part(&self, draw: f64) -> Option<&P> {
        let Mix::Mixture(parts) = self else { return None };
        let mut rest = draw * parts.iter().map(P::share).sum::<f64>();
        parts
            .iter()
            .find(|part| {
                rest -= part.share();
                rest < 0.0
            })
            .or(parts.last())
    }
}

impl Devices {
    pub fn most(&self) -> u32 {
        match self {
            Mix::One(devices) => *devices,
            Mix::Mixture(parts) => parts.iter().map(|part| part.devices).max().unwrap_or(0),
        }
    }

    /// Users with each number of devices, among so many users: whole numbers that add up.
    pub fn classes(&self, users: u32) -> Vec<(u32, u32)> {
        let parts = match self {
            Mix::One(devices) => return vec![(users, *devices)],
            Mix::Mixture(parts) => parts,
        };
        let total: f64 = parts.iter().map(|part| part.share).sum();
        let (mut classes, mut share, mut before) = (Vec::new(), 0.0, 0);
        for (index, part) in parts.iter().enumerate() {
            share += part.share;
            let upto = if index + 1 == parts.len() { users } else { (share / total * f64::from(users)) as u32 };
            classes.push((upto - before, part.devices));
            before = upto;
        }
        classes
    }
}

impl Conversations {
    pub fn most(&self) -> u32 {
        match self {
            Mix::One(conversations) => *conversations,
            Mix::Mixture(parts) => parts.iter().map(|part| part.conversations).max().unwrap_or(0),
        }
    }
}

/// How long a direct conversation lives. `one-shot`: with somebody new each time, and never again. `revisited`: with one
/// partner for `revisit_after`, then with the next, until it is the first one's turn again. `long`: with any partner at any
/// time.
// The variants have no docs of their own: schemars describes a map's keys only where they are plain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    OneShot,
    Revisited,
    Long,
}

/// Who gets how much of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Popularity {
    /// Everybody the same.
    #[default]
    Uniform,
    /// The n-th gets a share in proportion to n to the power of minus `exponent`.
    Zipf { exponent: f64 },
    /// The first `share` of all get this share of the `traffic`.
    HotSet { share: f64, traffic: f64 },
}

/// A group with a name and a size of its own. Giants stand before the other groups in the order of popularity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Giant {
    pub name: String,
    pub members: u32,
}

/// A moment at which everybody writes more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlashCrowd {
    /// When it begins, from the start of the load.
    pub at: Span,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// How many times the usual number of messages.
    pub times: f64,
    /// The giant that the additional messages go to; without it they go where messages usually go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(parts: &[(f64, u32)]) -> Devices {
        Mix::Mixture(
            parts.iter().map(|(share, devices)| DevicesPart { share: *share, devices: *devices }).collect(),
        )
    }

    #[test]
    fn classes_are_whole_and_add_up() {
        assert_eq!(Devices::One(2).classes(7), [(7, 2)]);
        assert_eq!(devices(&[(2.0, 1), (1.0, 3), (1.0, 2)]).classes(10), [(5, 1), (2, 3), (3, 2)]);
        assert_eq!(devices(&[(1.0, 1), (1e-9, 5)]).classes(3), [(2, 1), (1, 5)]);
    }

    #[test]
    fn a_draw_falls_on_the_part_whose_share_it_is_in() {
        let mix = devices(&[(3.0, 1), (1.0, 2)]);
        let part = |draw| mix.part(draw).map(|part| part.devices);
        assert_eq!([0.0, 0.74, 0.76, 1.0].map(part), [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(Devices::One(1).part(0.5), None);
        assert_eq!(mix.mean(|n| f64::from(*n), |part| f64::from(part.devices)), 1.25);
    }
}
