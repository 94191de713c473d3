//! The token that a device shows in its first frame: `user.device.mac`, the MAC being HMAC-SHA-256 (RFC 2104) in
//! hexadecimal over `user.device` under a secret that issuer and gateways share.

use crate::ids::{DeviceId, UserId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write;

/// The secret under which tokens are made and checked.
#[derive(Clone)]
pub struct TokenSecret(Vec<u8>);

/// Why a token was refused. A gateway tells the device no more than that it was.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("a token is user.device.mac")]
    Malformed,
    #[error("the token's MAC is not ours")]
    Forged,
    #[error("no user has such a number")]
    NoSuchUser,
}

impl TokenSecret {
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        TokenSecret(secret.into())
    }

    fn mac(&self, claims: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(claims.as_bytes());
        mac
    }

    /// A token for one device of one user.
    pub fn issue(&self, user: UserId, device: DeviceId) -> String {
        let mut token = format!("{user}.{device}");
        let mac = self.mac(&token).finalize().into_bytes();
        token.push('.');
        for byte in mac {
            let _ = write!(token, "{byte:02x}");
        }
        token
    }

    /// Who the token speaks for: a valid user. Compares in constant time.
    pub fn check(&self, token: &str) -> Result<(UserId, DeviceId), TokenError> {
        let (claims, mac) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (user, device) = claims.split_once('.').ok_or(TokenError::Malformed)?;
        let user = user.parse().map(UserId).map_err(|_| TokenError::Malformed)?;
        let device = device.parse().map(DeviceId).map_err(|_| TokenError::Malformed)?;
        let mac = from_hex(mac).ok_or(TokenError::Malformed)?;
        self.mac(claims).verify_slice(&mac).map_err(|_| TokenError::Forged)?;
        if !UserId::is_valid(user) {
            return Err(TokenError::NoSuchUser);
        }
        Ok((user, device))
    }
}

/// Bytes of their one spelling: digits in lower case.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).filter(|_| !c.is_ascii_uppercase()).map(|d| d as u8);
    let digits: Vec<u8> = text.chars().map(digit).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_speaks_for_the_device_it_was_issued_to_and_no_other() {
        let secret = TokenSecret::new("s");
        let token = secret.issue(UserId(7), DeviceId(71));
        assert_eq!(secret.check(&token), Ok((UserId(7), DeviceId(71))));
        assert_eq!(secret.check(&token.replacen("7.71", "8.71", 1)), Err(TokenError::Forged));
        assert_eq!(TokenSecret::new("t").check(&token), Err(TokenError::Forged));
        let beyond = secret.issue(UserId(UserId::LIMIT), DeviceId(71));
        assert_eq!(secret.check(&beyond), Err(TokenError::NoSuchUser));
        assert!(secret.check(&secret.issue(UserId(UserId::LIMIT - 1), DeviceId(71))).is_ok());
        let (claims, mac) = token.rsplit_once('.').unwrap();
        assert_ne!(mac, mac.to_uppercase());
        assert_eq!(secret.check(&format!("{claims}.{}", mac.to_uppercase())), Err(TokenError::Malformed));
        for wrong in ["", "7", "7.71", "7.71.zz", "x.71.00", "7.71.é"] {
            assert!(secret.check(wrong).is_err(), "{wrong}");
        }
    }
}
