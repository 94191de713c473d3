//! Where devices get their tokens from.

use squall_protocol::token::TokenSecret;
use squall_protocol::{DeviceId, UserId};
use std::sync::Arc;

/// Issues tokens, as an app's backend does.
pub trait Tokens: Send + Sync {
    /// The token of a device; empty where there is none, which the server refuses.
    fn issue(&self, user: UserId, device: DeviceId) -> String;
}

/// Shared by all who connect.
pub type SharedTokens = Arc<dyn Tokens>;

impl Tokens for TokenSecret {
    fn issue(&self, user: UserId, device: DeviceId) -> String {
        TokenSecret::issue(self, user, device)
    }
}
