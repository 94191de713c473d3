//! The tokens that devices show: JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, issued by the app's own backend.
//!
//! **Invariants:** the key decides which algorithm a token has; the header's `alg` can only agree with it. Nothing of a token counts before its
//! signature holds. Time is passed in. Neither a token nor a key is ever printed: their `Debug` has no secrets. Guarded by the tests here
//! and in `keys.rs`, on real sockets by `server/tests/tokens.rs`.

mod jws;
mod keys;

pub use keys::{Issuer, KeyError, KeySet, Material, public_key};

use crate::ids::{DeviceId, UserId};
use crate::limits::{MAX_TOKEN_BYTES, TOKEN_LEEWAY};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A token as it goes over the wire.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the token says, as whoever holds it may read it. Only a gateway can tell whether it is true.
    pub fn unproven_claims(&self) -> Option<Claims> {
        jws::read_claims(jws::take_apart(&self.0).ok()?.payload).ok()
    }
}

impl<T: Into<String>> From<T> for Token {
    fn from(token: T) -> Self {
        Token(token.into())
    }
}

/// Whoever has a token is its device: it belongs in no log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// What a token says of whoever shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    pub user: UserId,
    pub device: DeviceId,
    /// `exp`, in seconds since the Unix epoch.
    pub expires_s: u64,
    /// `nbf`, if there is one.
    pub not_before_s: Option<u64>,
}

impl Claims {
    /// When a clock has passed it by the leeway, in milliseconds since the epoch: from then on the token is good for nothing.
    pub fn is_refused_from_ms(&self) -> u64 {
        refused_from_ms(self.expires_s)
    }
}

/// From when on, by a gateway's clock, a token with this `exp` is good for nothing.
pub fn refused_from_ms(expires_s: u64) -> u64 {
    expires_s.saturating_add(TOKEN_LEEWAY.as_secs()).saturating_mul(1_000)
}

/// Why a token was refused. A gateway tells the device no more than whether a newer one might do.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("a token is a JWT in its compact form, of at most {MAX_TOKEN_BYTES} bytes")]
    Malformed,
    #[error("a header of the token is critical, and nobody here understands it")]
    Critical,
    #[error("none of our keys has the token's id")]
    UnknownKey,
    #[error("the token's algorithm is not its key's")]
    WrongAlgorithm,
    #[error("the token's signature is not ours")]
    Forged,
    #[error("the token lacks a user, a device or an expiry that can be one")]
    WrongClaims,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
}

impl KeySet {
    /// Whom the token speaks for: a valid user. `wall_ms` is the clock of whoever asks.
    pub fn check(&self, token: &str, wall_ms: u64) -> Result<Claims, TokenError> {
        let claims = self.verify(token)?;
        if wall_ms >= claims.is_refused_from_ms() {
            return Err(TokenError::Expired);
        }
        let soon_ms = wall_ms.saturating_add(TOKEN_LEEWAY.as_millis() as u64);
        if claims.not_before_s.is_some_and(|from_s| soon_ms < from_s.saturating_mul(1_000)) {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_500;
    const NOW_S: u64 = 1_800_000_000;

    fn claims(user: u64, expires_s: u64) -> Claims {
        Claims { user: UserId(user), device: DeviceId(71), expires_s, not_before_s: None }
    }

    #[test]
    fn a_token_speaks_for_the_device_it_was_issued_to_and_no_other() {
        let (issuer, keys) = (Issuer::of_secret("s"), KeySet::of_secret("s"));
        let mine = claims(7, NOW_S);
        let token = issuer.issue(&mine);
        assert_eq!(keys.check(token.as_str(), NOW_MS), Ok(mine));
        assert_eq!(token.unproven_claims(), Some(mine));
        assert_eq!(Token::from("7.71.ab").unproven_claims(), None);
        assert_eq!(KeySet::of_secret("t").check(token.as_str(), NOW_MS), Err(TokenError::Forged));
        let others = issuer.issue(&claims(8, NOW_S));
        let parts = |token: &Token| token.as_str().split('.').map(str::to_owned).collect::<Vec<_>>();
        let (mine, others) = (parts(&token), parts(&others));
        let swapped = format!("{}.{}.{}", mine[0], others[1], mine[2]);
        assert_eq!(keys.check(&swapped, NOW_MS), Err(TokenError::Forged));
        let beyond = issuer.issue(&claims(UserId::LIMIT, NOW_S));
        assert_eq!(keys.check(beyond.as_str(), NOW_MS), Err(TokenError::WrongClaims));
        assert!(keys.check(issuer.issue(&claims(UserId::LIMIT - 1, NOW_S)).as_str(), NOW_MS).is_ok());
    }

    #[test]
    fn a_token_counts_for_a_minute_beyond_its_expiry_and_from_a_minute_before_its_beginning() {
        let (issuer, keys) = (Issuer::of_secret("s"), KeySet::of_secret("s"));
        let check = |claims: Claims| keys.check(issuer.issue(&claims).as_str(), NOW_MS).map(|_| ());
        assert_eq!(check(claims(1, NOW_S - 59)), Ok(()));
        assert_eq!(check(claims(1, NOW_S - 60)), Err(TokenError::Expired));
        assert_eq!(check(claims(1, u64::MAX)), Ok(()));
        let from = |from_s| Claims { not_before_s: Some(from_s), ..claims(1, u64::MAX) };
        assert_eq!(check(from(NOW_S + 60)), Ok(()));
        assert_eq!(check(from(NOW_S + 61)), Err(TokenError::NotYet));
        assert_eq!(check(from(u64::MAX)), Err(TokenError::NotYet));
        // One that is forged *and* expired is forged.
        let others = Issuer::of_secret("t").issue(&claims(1, 0));
        assert_eq!(keys.check(others.as_str(), NOW_MS), Err(TokenError::Forged));
    }

    #[test]
    fn nothing_that_is_said_of_frames_shows_a_token() {
        let token = Issuer::of_secret("s").issue(&claims(7, NOW_S));
        let frame = crate::ClientFrame::Hello { token: token.clone(), connect_count: 1, invisible: false };
        let said = format!("{frame:?} {:?} {:?}", Issuer::of_secret("sesame"), KeySet::of_secret("sesame"));
        assert!(token.as_str().split('.').all(|part| !said.contains(part)) && !said.contains("sesame"), "{said}");
    }
}
