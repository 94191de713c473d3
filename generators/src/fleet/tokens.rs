//! What a client shows of tokens: it asks the app's backend for one whenever it needs one, and keeps none.

use super::{Fleet, FrameFaults, LastMile, Sink, Timer};
use squall_core::Time;
use squall_history::{Entity, Event, Kind};
use squall_protocol::close::CloseReason;
use squall_protocol::token::Token;
use std::time::Duration;

/// So long after no gateway took its token an app tries again.
const TRIES_AGAIN_AFTER: Duration = Duration::from_secs(20);

/// When the tokens that a client has shown expire, in seconds of the run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    /// The one with which it is connected.
    counts: i32,
    /// The newest, which may have no answer yet.
    newest: i32,
}

fn small(seconds: i64) -> i32 {
    seconds.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// The backend issues a token, which the client shows next.
    pub(super) fn issue(&mut self, index: u32, now: Time) -> Token {
        let client = &mut self.clients[index];
        let issued = self.tokens.issue(client.session.user(), client.session.device(), now);
        client.tokens.newest = small(issued.expires_s);
        issued.token
    }

    /// The newest token was good. When it expires, in seconds of the run.
    pub(super) fn token_is_taken(&mut self, index: u32) -> i64 {
        let tokens = &mut self.clients[index].tokens;
        tokens.counts = tokens.newest;
        tokens.counts.into()
    }

    pub(super) fn token_is_refreshed(&mut self, index: u32, now: Time, sink: &mut impl Sink) {
        let expires_s = self.token_is_taken(index);
        self.totals.refreshes += 1;
        let at = Entity::Device(self.device(index));
        sink.event(Event { t: now.0, at, kind: Kind::Refreshed { expires_s } });
    }

    /// The gateway has closed the connection for its token, or for another reason.
    pub(super) fn is_closed_for(&mut self, index: u32, code: u16, now: Time, sink: &mut impl Sink) {
        if ![CloseReason::BadToken, CloseReason::TokenExpired].map(CloseReason::code).contains(&code) {
            return;
        }
        let client = &self.clients[index];
        let Shown { counts, newest } = client.tokens;
        let expires_s = if client.was_online { counts.min(newest) } else { newest };
        self.totals.tokens_refused += 1;
        let at = Entity::Device(client.device());
        let kind = Kind::TokenRefused { gateway: client.gateway, expires_s: expires_s.into() };
        sink.event(Event { t: now.0, at, kind });
    }

    /// No gateway takes the client's tokens. Its app says so, and tries again after a while.
    pub(super) fn token_is_given_up(&mut self, index: u32, now: Time, sink: &mut impl Sink) {
        let at = Entity::Device(self.device(index));
        sink.event(Event { t: now.0, at, kind: Kind::GivenUp });
        self.corners.count(super::Corner::TokenRefusedTwice);
        self.queue.push(now + TRIES_AGAIN_AFTER, Timer::ComeBack(index));
    }
}
