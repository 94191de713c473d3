//! The seam to the app's backend, which issues tokens.

use crate::dial::BoxFuture;
use squall_protocol::token::Token;
use std::io;

/// Where a device gets its tokens.
pub trait Tokens: Send + Sync + 'static {
    /// A token that counts from now on, and for longer than the last one. An error is told, and the device asks again by itself.
    fn fetch(&self) -> BoxFuture<io::Result<Token>>;
}

/// One token, and no other when it has expired.
#[derive(Debug, Clone)]
pub struct Fixed(pub Token);

impl Tokens for Fixed {
    fn fetch(&self) -> BoxFuture<io::Result<Token>> {
        let token = self.0.clone();
        Box::pin(async move { Ok(token) })
    }
}
