//! The keys under which a gateway checks tokens, which can be others tomorrow without a restart.

use crate::plant::{Plant, planted};
use squall_protocol::token::{Claims, KeySet, Token, TokenError};
use std::sync::{Arc, PoisonError, RwLock};

/// The keys in force. Clones share them: what replaces them counts everywhere from the next token on. Who is connected stays so until their
/// token expires, whatever becomes of its key.
#[derive(Debug, Clone)]
pub struct Keys(Arc<RwLock<KeySet>>);

impl Keys {
    pub fn replace(&self, keys: KeySet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Whom the token speaks for, by a clock that says `wall_ms`.
    pub fn check(&self, token: &Token, wall_ms: u64) -> Result<Claims, TokenError> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.check(token.as_str(), wall_ms).or_else(|error| match error {
            TokenError::Expired if planted(Plant::ExpiredTokenTaken) => token.unproven_claims().ok_or(error),
            TokenError::WrongAlgorithm if planted(Plant::AlgorithmFromTheToken) => {
                token.unproven_claims().ok_or(error)
            }
            _ => Err(error),
        })
    }
}

impl From<KeySet> for Keys {
    fn from(keys: KeySet) -> Self {
        Keys(Arc::new(RwLock::new(keys)))
    }
}
