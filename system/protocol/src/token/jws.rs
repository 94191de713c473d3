//! The compact form of a signed JSON text (RFC 7515, section 7.1), as JWTs have it: `header.payload.signature`, each in base64url.
//!
//! **Invariant:** there is one way to write the three parts: no padding, no bits that are left over, no further dots. Guarded by the tests
//! in `keys.rs`, which has the RFCs' own examples.

use super::{Claims, TokenError};
use crate::ids::{DeviceId, UserId};
use crate::limits::MAX_TOKEN_BYTES;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A token taken apart, of which nothing has been believed yet.
pub struct Parts<'a> {
    pub header: Vec<u8>,
    /// What is signed.
    pub message: &'a [u8],
    pub payload: &'a str,
    pub signature: Vec<u8>,
}

pub fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)
}

pub fn encode(bytes: &[u8], into: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, into);
}

pub fn take_apart(token: &str) -> Result<Parts<'_>, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    Ok(Parts { header: decode(header)?, message: message.as_bytes(), payload, signature: decode(signature)? })
}

/// What a header says that matters here (RFC 7515, section 4.1).
#[derive(Serialize, Deserialize)]
pub struct Header<'a> {
    #[serde(borrow)]
    pub alg: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing)]
    pub crit: Option<IgnoredAny>,
    #[serde(skip_deserializing)]
    pub typ: &'static str,
}

impl<'a> Header<'a> {
    pub fn read(json: &'a [u8]) -> Result<Self, TokenError> {
        let header: Header<'a> = serde_json::from_slice(json).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        Ok(header)
    }
}

#[derive(Deserialize)]
struct Payload {
    sub: UserId,
    device: DeviceId,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
}

/// Reads the claims of a payload whose signature holds.
pub fn read_claims(payload: &str) -> Result<Claims, TokenError> {
    let json = decode(payload)?;
    let payload: Payload = serde_json::from_slice(&json).map_err(|_| TokenError::WrongClaims)?;
    if !payload.sub.is_valid() {
        return Err(TokenError::WrongClaims);
    }
    Ok(Claims {
        user: payload.sub,
        device: payload.device,
        expires_s: payload.exp.0,
        not_before_s: payload.nbf.map(|from| from.0),
    })
}

/// Writes the claims as a payload.
pub fn write_claims(claims: &Claims, into: &mut String) {
    let Claims { user, device, expires_s, not_before_s } = claims;
    let nbf = not_before_s.map_or(String::new(), |from| format!(",\"nbf\":{from}"));
    encode(format!("{{\"sub\":\"{user}\",\"device\":\"{device}\",\"exp\":{expires_s}{nbf}}}").as_bytes(), into);
}

/// Seconds since the epoch, of which RFC 7519 allows fractions.
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the epoch")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<NumericDate, E> {
                Ok(NumericDate(seconds))
            }

            /// A date before the epoch is as good as the epoch.
            fn visit_i64<E>(self, seconds: i64) -> Result<NumericDate, E> {
                Ok(NumericDate(seconds.max(0) as u64))
            }

            /// The part of a second is cut off; what is larger than any number of ours is the largest.
            fn visit_f64<E>(self, seconds: f64) -> Result<NumericDate, E> {
                Ok(NumericDate(seconds as u64))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
