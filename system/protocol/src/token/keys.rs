//! The keys under which tokens are made and checked: several at once, so that one can follow another without anybody being locked out.
//!
//! **Invariant:** a key is for one algorithm: a secret for HS256 (RFC 7518, section 3.2), an Ed25519 key for EdDSA (RFC 8037). A token names its
//! key by `kid`; one without is checked under the key without an id, if there is one. No key is ever tried that a token does not name.

use super::jws::{self, Header};
use super::{Claims, Token, TokenError};
use crate::limits::MAX_TOKEN_KEYS;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// What RFC 7518 asks of a secret for HS256.
const SHORTEST_SECRET: usize = 32;

#[derive(Clone)]
enum Algorithm {
    /// With the secret taken in.
    Hs256(Hmac<Sha256>),
    /// The private key is only there where tokens are made.
    EdDsa(Box<(VerifyingKey, Option<SigningKey>)>),
}

impl Algorithm {
    fn name(&self) -> &'static str {
        match self {
            Algorithm::Hs256(_) => "HS256",
            Algorithm::EdDsa(_) => "EdDSA",
        }
    }

    fn of_secret(secret: &[u8]) -> Self {
        Algorithm::Hs256(Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.algorithm.name(), self.id)
    }
}

/// The keys under which tokens are checked. Clones share them.
#[derive(Debug, Clone)]
pub struct KeySet(Arc<[Key]>);

/// What makes tokens, as an app's backend does: a key with which it can sign.
#[derive(Clone)]
pub struct Issuer {
    key: Key,
    /// The header of all its tokens, encoded.
    header: String,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({:?})", self.key)
    }
}

/// Why keys cannot be used. It names no part of any key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("not a JWK Set: {0}")]
    Malformed(String),
    #[error("it has {0} keys: expected 1 to {MAX_TOKEN_KEYS}")]
    Count(usize),
    #[error("{0}: kty is {1:?}; expected \"oct\" (HS256) or \"OKP\" (EdDSA)")]
    Type(Named, String),
    #[error("{0}: alg is {1:?}, which is not what a key of this type is for")]
    Algorithm(Named, String),
    #[error("{0}: crv is {1:?}; expected \"Ed25519\"")]
    Curve(Named, String),
    #[error("{0}: `{1}` is missing")]
    Missing(Named, &'static str),
    #[error("{0}: `{1}` is not base64url without padding, of as many bytes as it must have")]
    NotAKey(Named, &'static str),
    #[error("{0}: the secret is shorter than {SHORTEST_SECRET} bytes")]
    Short(Named),
    #[error("{0}: `d` is not the private key of `x`")]
    Apart(Named),
    #[error("{0} is there twice: a token could mean either")]
    Twice(Named),
    #[error("there is no {0} with which tokens can be made: a secret, or a private key (`d`)")]
    CannotSign(Named),
}

/// A key as people are told of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Named(Option<String>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(id) => write!(f, "key {id:?}"),
            None => f.write_str("key without `kid`"),
        }
    }
}

/// A key in bytes, for whoever does not read it from a file.
#[derive(Clone, Copy)]
pub enum Material<'a> {
    /// For HS256.
    Secret(&'a [u8]),
    /// The private key of a pair for EdDSA.
    Pair([u8; 32]),
}

impl Material<'_> {
    fn key(self, id: &str) -> Key {
        let algorithm = match self {
            Material::Secret(secret) => Algorithm::of_secret(secret),
            Material::Pair(private) => {
                let private = SigningKey::from_bytes(&private);
                Algorithm::EdDsa(Box::new((private.verifying_key(), Some(private))))
            }
        };
        Key { id: Some(id.to_owned()), algorithm }
    }
}

/// The public key of a pair for EdDSA, by its private one.
pub fn public_key(private: [u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(&private).verifying_key().to_bytes()
}

impl KeySet {
    /// These keys, by their ids.
    ///
    /// # Panics
    /// When two have one id.
    pub fn of(keys: &[(&str, Material<'_>)]) -> Self {
        let all: Vec<Key> = keys.iter().map(|(id, material)| material.key(id)).collect();
        assert!(!all.iter().enumerate().any(|(n, key)| all[..n].iter().any(|k| k.id == key.id)), "an id twice");
        KeySet(all.into())
    }

    /// One secret for HS256, without an id: tokens under it need no `kid`.
    pub fn of_secret(secret: impl AsRef<[u8]>) -> Self {
        KeySet([Key { id: None, algorithm: Algorithm::of_secret(secret.as_ref()) }].into())
    }

    /// The keys of a JWK Set (RFC 7517).
    pub fn of_jwk_set(json: &str) -> Result<Self, KeyError> {
        let read: JwkSet = serde_json::from_str(json).map_err(|error| KeyError::Malformed(what_of(&error)))?;
        if !(1..=MAX_TOKEN_KEYS).contains(&read.keys.len()) {
            return Err(KeyError::Count(read.keys.len()));
        }
        let keys: Vec<Key> = read.keys.into_iter().map(Jwk::into_key).collect::<Result<_, _>>()?;
        if let Some((_, twice)) =
            keys.iter().enumerate().find(|(n, key)| keys[..*n].iter().any(|k| k.id == key.id))
        {
            return Err(KeyError::Twice(Named(twice.id.clone())));
        }
        Ok(KeySet(keys.into()))
    }

    /// Makes tokens with the key of this id, or with the first that can.
    pub fn issuer(&self, id: Option<&str>) -> Result<Issuer, KeyError> {
        let can = |key: &&Key| id.is_none_or(|id| key.id.as_deref() == Some(id)) && Issuer::can(key);
        let key = self.0.iter().find(can).cloned();
        key.map(Issuer::new).ok_or(KeyError::CannotSign(Named(id.map(str::to_owned))))
    }

    /// Ids and algorithms, for people.
    pub fn names(&self) -> impl Iterator<Item = (Option<&str>, &'static str)> {
        self.0.iter().map(|key| (key.id.as_deref(), key.algorithm.name()))
    }

    /// Reads a token whose signature is by the key that it names. When it is good is not asked here.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let parts = jws::take_apart(token)?;
        let header = Header::read(&parts.header)?;
        let named = |key: &&Key| key.id.as_deref() == header.kid.as_deref();
        let key = self.0.iter().find(named).ok_or(TokenError::UnknownKey)?;
        if header.alg != key.algorithm.name() {
            return Err(TokenError::WrongAlgorithm);
        }
        key.verify(parts.message, &parts.signature)?;
        jws::read_claims(parts.payload)
    }
}

impl Key {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        match &self.algorithm {
            Algorithm::Hs256(mac) => mac.clone().chain_update(message).verify_slice(signature).map_err(drop),
            Algorithm::EdDsa(keys) => Signature::from_slice(signature)
                .and_then(|signature| keys.0.verify_strict(message, &signature))
                .map_err(drop),
        }
        .map_err(|()| TokenError::Forged)
    }
}

impl Issuer {
    /// With a secret and without an id, as [`KeySet::of_secret`] checks it.
    pub fn of_secret(secret: impl AsRef<[u8]>) -> Self {
        Issuer::new(Key { id: None, algorithm: Algorithm::of_secret(secret.as_ref()) })
    }

    /// With this key alone.
    pub fn of(id: &str, material: Material<'_>) -> Self {
        Issuer::new(material.key(id))
    }

    fn can(key: &Key) -> bool {
        match &key.algorithm {
            Algorithm::Hs256(_) => true,
            Algorithm::EdDsa(keys) => keys.1.is_some(),
        }
    }

    fn new(key: Key) -> Self {
        let header = Header {
            alg: key.algorithm.name().into(),
            kid: key.id.as_deref().map(Into::into),
            crit: None,
            typ: "JWT",
        };
        let json = serde_json::to_vec(&header).expect("a header is text");
        let mut header = String::new();
        jws::encode(&json, &mut header);
        Issuer { key, header }
    }

    pub fn issue(&self, claims: &Claims) -> Token {
        let mut token = String::with_capacity(self.header.len() + 224);
        token.push_str(&self.header);
        token.push('.');
        jws::write_claims(claims, &mut token);
        let signature = match &self.key.algorithm {
            Algorithm::Hs256(mac) => mac.clone().chain_update(&token).finalize().into_bytes().to_vec(),
            Algorithm::EdDsa(keys) => {
                let private = keys.1.as_ref().expect("who issues has a private key");
                private.sign(token.as_bytes()).to_bytes().to_vec()
            }
        };
        token.push('.');
        jws::encode(&signature, &mut token);
        token.into()
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// A key as RFC 7517 has it, with the members of a secret (RFC 7518, section 6.4) or of an octet key pair (RFC 8037, section 2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    x: Option<String>,
    d: Option<String>,
}

impl Jwk {
    fn into_key(self) -> Result<Key, KeyError> {
        let named = || Named(self.kid.clone());
        let bytes = |member: &'static str, value: &Option<String>| {
            let text = value.as_ref().ok_or_else(|| KeyError::Missing(named(), member))?;
            jws::decode(text).map_err(|_| KeyError::NotAKey(named(), member))
        };
        let of_32 = |member: &'static str, value: &Option<String>| {
            <[u8; 32]>::try_from(bytes(member, value)?).map_err(|_| KeyError::NotAKey(named(), member))
        };
        let algorithm = match self.kty.as_str() {
            "oct" => {
                let secret = bytes("k", &self.k)?;
                if secret.len() < SHORTEST_SECRET {
                    return Err(KeyError::Short(named()));
                }
                Algorithm::of_secret(&secret)
            }
            "OKP" => {
                match self.crv.as_deref() {
                    Some("Ed25519") => {}
                    Some(other) => return Err(KeyError::Curve(named(), other.to_owned())),
                    None => return Err(KeyError::Missing(named(), "crv")),
                }
                let public = VerifyingKey::from_bytes(&of_32("x", &self.x)?).ok().filter(|key| !key.is_weak());
                let public = public.ok_or_else(|| KeyError::NotAKey(named(), "x"))?;
                let private = self.d.is_some().then(|| of_32("d", &self.d)).transpose()?;
                let private = private.map(|d| SigningKey::from_bytes(&d));
                if private.as_ref().is_some_and(|private| private.verifying_key() != public) {
                    return Err(KeyError::Apart(named()));
                }
                Algorithm::EdDsa(Box::new((public, private)))
            }
            other => return Err(KeyError::Type(named(), other.to_owned())),
        };
        match self.alg {
            Some(alg) if alg != algorithm.name() => Err(KeyError::Algorithm(Named(self.kid), alg)),
            _ => Ok(Key { id: self.kid, algorithm }),
        }
    }
}

/// What is wrong with a text that should be JSON, and where; never what it says there, which may be part of a key.
fn what_of(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => {
            "expected {\"keys\": [{\"kty\": …, \"kid\": …, …}]} with text in each member"
        }
        _ => "it is no JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, UserId};

    /// The secret of RFC 7515, appendix A.1, and the key pair of RFC 8037, appendix A.1.
    const SET: &str = r#"{"keys":[
        {"kty":"oct","kid":"a","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
        {"kty":"OKP","kid":"b","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const PRIVATE: &str = r#"{"keys":[{"kty":"OKP","kid":"b","alg":"EdDSA","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const CLAIMS: Claims = Claims { user: UserId(7), device: DeviceId(71), expires_s: 9, not_before_s: None };

    /// A token with this header and this signature over whatever is signed.
    fn token(header: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let mut token = String::new();
        jws::encode(header.as_bytes(), &mut token);
        token.push('.');
        jws::encode(payload.as_bytes(), &mut token);
        let signature = sign(token.as_bytes());
        token.push('.');
        jws::encode(&signature, &mut token);
        token
    }

    fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
        let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        move |message| mac.clone().chain_update(message).finalize().into_bytes().to_vec()
    }

    #[test]
    fn the_examples_of_the_rfcs_hold() {
        let keys = KeySet::of_jwk_set(SET).unwrap();
        // RFC 7515, appendix A.1.
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = jws::decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        assert_eq!(keys.0[0].verify(message.as_bytes(), &signature), Ok(()));
        // RFC 8037, appendix A.4.
        let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            jws::decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
                .unwrap();
        assert_eq!(keys.0[1].verify(message.as_bytes(), &signature), Ok(()));
        assert_eq!(keys.0[1].verify(b"another", &signature), Err(TokenError::Forged));
    }

    #[test]
    fn each_key_checks_its_own_tokens_and_no_others() {
        let keys = KeySet::of_jwk_set(SET).unwrap();
        assert_eq!(keys.names().collect::<Vec<_>>(), [(Some("a"), "HS256"), (Some("b"), "EdDSA")]);
        let secret = keys.issuer(None).unwrap();
        let pair = KeySet::of_jwk_set(PRIVATE).unwrap().issuer(Some("b")).unwrap();
        assert_eq!(keys.verify(secret.issue(&CLAIMS).as_str()), Ok(CLAIMS));
        assert_eq!(keys.verify(pair.issue(&CLAIMS).as_str()), Ok(CLAIMS));
        let from = Claims { not_before_s: Some(5), ..CLAIMS };
        assert_eq!(keys.verify(pair.issue(&from).as_str()), Ok(from));
        // The key without an id is not among these, nor are these it.
        assert_eq!(keys.verify(Issuer::of_secret("s").issue(&CLAIMS).as_str()), Err(TokenError::UnknownKey));
        assert_eq!(KeySet::of_secret("s").verify(secret.issue(&CLAIMS).as_str()), Err(TokenError::UnknownKey));
        let cannot = keys.issuer(Some("b")).unwrap_err();
        assert_eq!(cannot, KeyError::CannotSign(Named(Some("b".into()))));
    }

    #[test]
    fn the_key_and_not_the_header_says_which_algorithm() {
        let keys = KeySet::of_jwk_set(SET).unwrap();
        let payload = r#"{"sub":"7","device":"71","exp":9}"#;
        let public = jws::decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        // A MAC under what everybody may know of the other key.
        for (header, found) in [
            (r#"{"alg":"HS256","kid":"b"}"#, TokenError::WrongAlgorithm),
            (r#"{"alg":"EdDSA","kid":"b"}"#, TokenError::Forged),
            (r#"{"alg":"EdDSA","kid":"a"}"#, TokenError::WrongAlgorithm),
            (r#"{"alg":"HS512","kid":"a"}"#, TokenError::WrongAlgorithm),
            (r#"{"alg":"hs256","kid":"a"}"#, TokenError::WrongAlgorithm),
            (r#"{"alg":"HS256","kid":"c"}"#, TokenError::UnknownKey),
            (r#"{"alg":"HS256"}"#, TokenError::UnknownKey),
            (r#"{"alg":"HS256","kid":"a","crit":["exp"]}"#, TokenError::Critical),
            (r#"{"alg":"HS256","alg":"none","kid":"a"}"#, TokenError::Malformed),
            (r#"{"kid":"a"}"#, TokenError::Malformed),
            ("alg", TokenError::Malformed),
        ] {
            assert_eq!(keys.verify(&token(header, payload, hs256(&public))), Err(found), "{header}");
        }
        for none in ["none", "None", ""] {
            let header = format!(r#"{{"alg":"{none}","kid":"a"}}"#);
            assert_eq!(keys.verify(&token(&header, payload, |_| Vec::new())), Err(TokenError::WrongAlgorithm));
        }
        assert_eq!(
            keys.verify(&token(r#"{"alg":"HS256","kid":"a"}"#, payload, |_| Vec::new())),
            Err(TokenError::Forged)
        );
    }

    #[test]
    fn claims_are_a_user_a_device_and_an_expiry() {
        let keys = KeySet::of_secret("s");
        let read = |payload: &str| keys.verify(&token(r#"{"alg":"HS256"}"#, payload, hs256(b"s")));
        assert_eq!(read(r#"{"sub":"7","device":"71","exp":9,"iat":1,"aud":["x"]}"#), Ok(CLAIMS));
        assert_eq!(read(r#"{"sub":"7","device":"71","exp":9.75}"#), Ok(CLAIMS));
        assert_eq!(read(r#"{"sub":"7","device":"71","exp":-1}"#).map(|claims| claims.expires_s), Ok(0));
        assert_eq!(read(r#"{"sub":"7","device":"71","exp":1e300}"#).map(|claims| claims.expires_s), Ok(u64::MAX));
        for wrong in [
            r#"{"sub":"7","device":"71"}"#,
            r#"{"sub":"7","exp":9}"#,
            r#"{"device":"71","exp":9}"#,
            r#"{"sub":7,"device":"71","exp":9}"#,
            r#"{"sub":"07","device":"71","exp":9}"#,
            r#"{"sub":"9223372036854775808","device":"71","exp":9}"#,
            r#"{"sub":"7","device":"x","exp":9}"#,
            r#"{"sub":"7","device":"71","exp":"9"}"#,
            r#"{"sub":"7","sub":"8","device":"71","exp":9}"#,
            r#"{"sub":"7","device":"71","exp":9,"nbf":"1"}"#,
            r#"["7","71",9]x"#,
            "",
        ] {
            assert_eq!(read(wrong), Err(TokenError::WrongClaims), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_written_in_one_way_and_is_of_bounded_length() {
        let keys = KeySet::of_secret("s");
        let good = Issuer::of_secret("s").issue(&CLAIMS);
        let good = good.as_str();
        assert_eq!(keys.verify(good), Ok(CLAIMS));
        let long = good.replacen('.', &format!(".{}", "A".repeat(crate::limits::MAX_TOKEN_BYTES)), 1);
        let (message, signature) = good.rsplit_once('.').unwrap();
        // 43 characters hold two bits more than a MAC has.
        let last = signature.chars().last().unwrap();
        let other = char::from_u32(last as u32 + 1).unwrap();
        let loose = format!("{message}.{}{other}", &signature[..signature.len() - 1]);
        for wrong in [
            "",
            ".",
            "..",
            message,
            &format!("{good}="),
            &format!("{good}."),
            &format!(" {good}"),
            "é.é.é",
            &long,
            &loose,
        ] {
            assert!(matches!(keys.verify(wrong), Err(TokenError::Malformed | TokenError::Forged)), "{wrong}");
        }
    }

    #[test]
    fn keys_that_cannot_be_are_told_why_and_never_shown() {
        let one = |jwk: &str| KeySet::of_jwk_set(&format!("{{\"keys\":[{jwk}]}}")).unwrap_err().to_string();
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        for (jwk, words) in [
            ("", "it has 0 keys"),
            (r#"{"kty":"RSA","kid":"q"}"#, "key \"q\": kty is \"RSA\""),
            (r#"{"kty":"oct","kid":"q","k":"c2hvcnQ"}"#, "shorter than 32 bytes"),
            (r#"{"kty":"oct","kid":"q","k":"not base64"}"#, "`k` is not base64url"),
            (r#"{"kty":"oct"}"#, "key without `kid`: `k` is missing"),
            (r#"{"kty":"OKP","kid":"q","crv":"Ed448","x":"AA"}"#, "expected \"Ed25519\""),
            (r#"{"kty":"OKP","kid":"q","crv":"Ed25519","x":"AA"}"#, "`x` is not base64url"),
            (
                &format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","d":"{x}"}}"#),
                "`d` is not the private key of `x`",
            ),
            (&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"HS256"}}"#), "alg is \"HS256\""),
            (&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, "A".repeat(43)), "`x` is not base64url"),
            (r#"{"kty":"oct","k":5}"#, "expected {\"keys\""),
            ("{", "no JSON (line 1"),
        ] {
            let said = one(jwk);
            assert!(said.contains(words), "{jwk}: {said}");
            assert!(!said.contains(x) && !said.contains("c2hvcnQ"), "{said}");
        }
        let pair = format!(r#"{{"kty":"OKP","kid":"q","crv":"Ed25519","x":"{x}"}}"#);
        assert!(one(&format!("{pair},{pair}")).contains("key \"q\" is there twice"));
    }
}
