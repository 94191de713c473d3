//! Where devices get their tokens from: the app's backend.

use squall_core::Time;
use squall_protocol::token::{Claims, Issuer, Material, Token, public_key};
use squall_protocol::{DeviceId, UserId};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A token, and when it expires.
#[derive(Debug, Clone)]
pub struct Issued {
    pub token: Token,
    /// In seconds of the run.
    pub expires_s: i64,
    /// The same, for one that is not valid before.
    pub not_before_s: Option<i64>,
}

/// What can be wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Its signature is of another text.
    Forged,
    /// It has expired long ago.
    Expired,
    /// It has expired, and its leeway ends soon: whoever shows it does not last.
    Expiring,
    /// It is not valid before long.
    NotYet,
    /// A MAC under what everybody knows of a pair of keys, in that pair's name.
    OtherAlgorithm,
    /// Under a key of nobody's.
    UnknownKey,
}

impl Flaw {
    /// Its name in histories.
    pub const fn name(self) -> &'static str {
        match self {
            Flaw::Forged => "forged",
            Flaw::Expired => "expired",
            Flaw::Expiring => "expiring",
            Flaw::NotYet => "not valid yet",
            Flaw::OtherAlgorithm => "of another algorithm",
            Flaw::UnknownKey => "under an unknown key",
        }
    }
}

/// Issues tokens, as an app's backend does.
pub trait Tokens: Send + Sync {
    /// A token of a device, from now on; an empty one where there is none, which the server refuses. While nothing is issued it is one of before.
    fn issue(&self, user: UserId, device: DeviceId, now: Time) -> Issued;

    /// Whether nothing new is issued: whoever asks has no answer, and asks again.
    fn is_away(&self, _now: Time) -> bool {
        false
    }

    /// One that whoever attacks would show. `None`: such a one cannot be had here.
    fn flawed(&self, _flaw: Flaw, _user: UserId, _device: DeviceId, _now: Time) -> Option<Issued> {
        None
    }
}

/// Shared by all who connect.
pub type SharedTokens = Arc<dyn Tokens>;

/// A token with another signature than its own.
pub fn forged(mut issued: Issued) -> Issued {
    let mut text = issued.token.as_str().to_owned();
    // Of the characters before the last, each holds six bits of the signature.
    let at = text.len().saturating_sub(2);
    let wrong = if text[at..].starts_with('A') { "B" } else { "A" };
    text.replace_range(at..(at + 1).min(text.len()), wrong);
    issued.token = text.into();
    issued
}

/// How long before it is shown an expiring token has expired, and an expired one; and how long after it another becomes valid.
const EXPIRING_S: i64 = 50;
const LONG_S: i64 = 3 * 24 * 3_600;

/// A backend with the key of the server, and a clock that is right.
#[derive(Clone)]
pub struct Backend {
    issuer: Issuer,
    /// What an attacker knows of the server's other key, if it has one.
    confused: Option<Issuer>,
    /// Seconds since the Unix epoch when the run began.
    epoch_s: u64,
    lifetime_s: u64,
    /// It is out of reach meanwhile.
    away: Range<Time>,
}

impl Backend {
    /// Issues tokens that count for so long, from now on; the run has begun at `epoch_s`.
    pub fn new(issuer: Issuer, epoch_s: u64, lifetime: Duration) -> Self {
        let away = Time::ZERO..Time::ZERO;
        Backend { issuer, confused: None, epoch_s, lifetime_s: lifetime.as_secs().max(1), away }
    }

    /// It is out of reach for so long. Whoever connects shows what it has: a token that was issued as late as could be.
    pub fn away(mut self, away: Range<Time>) -> Self {
        self.away = away;
        self
    }

    /// The server has a pair of keys beside, of which everybody knows one.
    pub fn beside_pair(mut self, id: &str, private: [u8; 32]) -> Self {
        self.confused = Some(Issuer::of(id, Material::Secret(&public_key(private))));
        self
    }

    fn make(
        &self,
        issuer: &Issuer,
        (user, device): (UserId, DeviceId),
        expires_s: i64,
        not_before_s: Option<i64>,
    ) -> Issued {
        let of_the_epoch = |s: i64| self.epoch_s.saturating_add_signed(s);
        let claims = Claims {
            user,
            device,
            expires_s: of_the_epoch(expires_s),
            not_before_s: not_before_s.map(of_the_epoch),
        };
        Issued { token: issuer.issue(&claims), expires_s, not_before_s }
    }
}

fn seconds(now: Time) -> i64 {
    (now.0 / 1_000_000) as i64
}

impl Tokens for Backend {
    fn issue(&self, user: UserId, device: DeviceId, now: Time) -> Issued {
        let issued = if self.is_away(now) { self.away.start } else { now };
        let expires_s = seconds(issued).saturating_add_unsigned(self.lifetime_s);
        self.make(&self.issuer, (user, device), expires_s, None)
    }

    fn is_away(&self, now: Time) -> bool {
        self.away.contains(&now)
    }

    fn flawed(&self, flaw: Flaw, user: UserId, device: DeviceId, now: Time) -> Option<Issued> {
        let (who, s) = ((user, device), seconds(now));
        let later = s.saturating_add_unsigned(self.lifetime_s);
        Some(match flaw {
            Flaw::Forged => forged(self.issue(user, device, now)),
            Flaw::Expired => self.make(&self.issuer, who, s - LONG_S, None),
            Flaw::Expiring => self.make(&self.issuer, who, s - EXPIRING_S, None),
            Flaw::NotYet => self.make(&self.issuer, who, later + 2 * LONG_S, Some(s + LONG_S)),
            Flaw::OtherAlgorithm => self.make(self.confused.as_ref()?, who, later, None),
            Flaw::UnknownKey => self.make(&Issuer::of("nobody's", Material::Secret(&[7; 32])), who, later, None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::token::{KeySet, TokenError};

    #[test]
    fn a_backend_issues_what_the_server_takes_and_an_attacker_what_it_does_not() {
        let (secret, pair) = ([1; 32], [2; 32]);
        let keys = KeySet::of(&[("secret", Material::Secret(&secret)), ("pair", Material::Pair(pair))]);
        let issuer = keys.issuer(Some("secret")).unwrap();
        let (epoch_s, now) = (1_767_225_600, Time(5_900_000));
        let backend = Backend::new(issuer, epoch_s, Duration::from_secs(60)).beside_pair("pair", pair);
        let (user, device) = (UserId(1), DeviceId(10));
        let check = |issued: &Issued| keys.check(issued.token.as_str(), (epoch_s + 5) * 1_000 + 900);
        let good = backend.issue(user, device, now);
        assert_eq!((good.expires_s, check(&good).unwrap().expires_s), (65, epoch_s + 65));
        for (flaw, found) in [
            (Flaw::Forged, Some(TokenError::Forged)),
            (Flaw::Expired, Some(TokenError::Expired)),
            (Flaw::Expiring, None),
            (Flaw::NotYet, Some(TokenError::NotYet)),
            (Flaw::OtherAlgorithm, Some(TokenError::WrongAlgorithm)),
            (Flaw::UnknownKey, Some(TokenError::UnknownKey)),
        ] {
            let issued = backend.flawed(flaw, user, device, now).unwrap();
            assert_eq!(check(&issued).err(), found, "{}", flaw.name());
        }
    }
}
