//! The secret of a cluster, and the proof of it that a link between two roles carries. It is no key of tokens: whoever issues tokens
//! need not be able to read every log.
//!
//! **Invariant:** the secret itself is never sent: a proof is its HMAC-SHA-256 (RFC 2104) over a text of its own, in hexadecimal.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write;

/// What is proved. The number changes with what the proof permits.
const CLAIM: &[u8] = b"squall: a link between two roles, 1";

/// The secret that all roles of a cluster share.
#[derive(Clone)]
pub struct ClusterSecret(Vec<u8>);

impl ClusterSecret {
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        ClusterSecret(secret.into())
    }

    fn mac(&self) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(CLAIM);
        mac
    }

    /// What a link of this cluster carries.
    pub fn proof(&self) -> String {
        let mut proof = String::new();
        for byte in self.mac().finalize().into_bytes() {
            let _ = write!(proof, "{byte:02x}");
        }
        proof
    }

    /// Whether whoever sent this is of the cluster. Compares in constant time.
    pub fn is_proved_by(&self, proof: &str) -> bool {
        from_hex(proof).is_some_and(|mac| self.mac().verify_slice(&mac).is_ok())
    }
}

/// Bytes of their one spelling: digits in lower case.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).filter(|_| !c.is_ascii_uppercase()).map(|d| d as u8);
    let digits: Vec<u8> = text.chars().map(digit).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_secret_and_shows_nothing_of_it() {
        let secret = ClusterSecret::new("ours");
        assert!(secret.is_proved_by(&secret.proof()));
        assert!(!secret.proof().contains("ours"));
        for wrong in ["", "00", "é", &ClusterSecret::new("theirs").proof(), &secret.proof()[2..]] {
            assert!(!secret.is_proved_by(wrong), "{wrong}");
        }
    }
}
