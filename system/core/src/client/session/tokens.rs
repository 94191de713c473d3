//! The device's token: it shows a newer one before the one that it has shown counts no longer, and one more when that is refused.
//!
//! The token itself is whoever drives the session's: it is asked for one (`Output::FetchToken`), and keeps it.
//!
//! **Invariant:** how long a token counts is what the gateway says, for the device's own clock may be wrong; and a device whose token one
//! gateway refuses shows a fresh one to another before it gives up, for that one's clock may be. Guarded by `core/tests/tokens.rs`.

use super::{ClientSession, Output, Phase};
use crate::time::Time;
use squall_protocol::ClientFrame;
use squall_protocol::close::CloseReason;
use squall_protocol::ids::mix;
use squall_protocol::limits::{MAX_TOKEN_REFUSALS, REFRESH_RETRY_AFTER};
use squall_protocol::token::Token;
use std::time::Duration;

impl ClientSession {
    /// The gateway closes the connection, for this reason. After it the connection is lost.
    pub fn handle_closed(&mut self, code: u16, now: Time, out: &mut Vec<Output>) {
        let is = |reason: CloseReason| code == reason.code();
        let was_welcomed = !matches!(self.phase, Phase::Connecting { .. } | Phase::Greeting { .. });
        let refused = is(CloseReason::BadToken) || is(CloseReason::TokenExpired) && !was_welcomed;
        self.handle_disconnected(now);
        if matches!(self.phase, Phase::Away | Phase::Stopped) {
            return;
        }
        if refused {
            self.refusals += 1;
        }
        if self.refusals >= MAX_TOKEN_REFUSALS {
            self.phase = Phase::Stopped;
            out.push(Output::TokenRefused);
        } else if refused || is(CloseReason::TokenExpired) {
            out.push(Output::FetchToken);
        }
    }

    /// Here is the newer token that was asked for. A device that is not connected shows it when it is.
    pub fn handle_token(&mut self, token: Token, now: Time, out: &mut Vec<Output>) {
        if self.is_online() {
            self.refresh_at = now + REFRESH_RETRY_AFTER;
            out.push(Output::Transmit(ClientFrame::Refresh { token }));
        }
    }

    /// The token that was shown counts for so long. A newer one is shown after three quarters of it to nine tenths: devices that have come at
    /// the same time do not all come back to it at the same time.
    pub(super) fn token_counts_for(&mut self, expires_in_ms: u64, now: Time) {
        let percent = 75 + mix(mix(self.device.0) ^ self.connect_count) % 16;
        let wait = Duration::from_micros(expires_in_ms.saturating_mul(10 * percent));
        self.refresh_at = now + wait.max(REFRESH_RETRY_AFTER);
    }

    /// Asks for a newer token, and again if nothing comes of it.
    pub(super) fn refresh_if_due(&mut self, now: Time, out: &mut Vec<Output>) {
        if now >= self.refresh_at {
            self.refresh_at = now + REFRESH_RETRY_AFTER;
            out.push(Output::FetchToken);
        }
    }
}
