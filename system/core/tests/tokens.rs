//! A device and its tokens, input by output.

use squall_core::Time;
use squall_core::client::{ClientSession, Output, Phase};
use squall_protocol::close::CloseReason;
use squall_protocol::*;

const ME: UserId = UserId(1);
const MINE: DeviceId = DeviceId(10);
const REFUSED: u16 = CloseReason::BadToken.code();
const EXPIRED: u16 = CloseReason::TokenExpired.code();

const fn at(s: u64) -> Time {
    Time(s * 1_000_000)
}

fn refresh() -> Output {
    Output::Transmit(ClientFrame::Refresh { token: "newer".into() })
}

/// What a device says when its time has come; heartbeats are left out.
fn due(s: &mut ClientSession) -> (Time, Vec<Output>) {
    loop {
        let (now, mut out) = (s.poll_timeout(), Vec::new());
        s.handle_timeout(now, &mut out);
        s.handle_frame(ServerFrame::Pong, now, &mut out);
        out.retain(|output| *output != Output::Transmit(ClientFrame::Ping));
        if !out.is_empty() {
            return (now, out);
        }
    }
}

fn greet(s: &mut ClientSession, now: Time) {
    s.handle_connected("t".into(), now, &mut Vec::new());
}

fn online(expires_in_ms: u64) -> ClientSession {
    let mut s = ClientSession::new(ME, MINE);
    s.come_back(at(0), &mut Vec::new());
    greet(&mut s, at(0));
    s.handle_frame(ServerFrame::Welcome { user: ME, device: MINE, expires_in_ms }, at(0), &mut Vec::new());
    s
}

fn close(s: &mut ClientSession, code: u16, now: Time) -> Vec<Output> {
    let mut out = Vec::new();
    s.handle_closed(code, now, &mut out);
    out
}

#[test]
fn a_newer_token_is_shown_before_the_old_one_counts_no_longer_and_again_until_it_is_answered() {
    let mut s = online(600_000);
    let (asked, out) = due(&mut s);
    assert_eq!(out, [Output::FetchToken]);
    assert!((at(450)..=at(546)).contains(&asked), "{asked:?}");
    // The backend has none yet.
    let (again, out) = due(&mut s);
    assert_eq!((again, out), (asked + limits::REFRESH_RETRY_AFTER, vec![Output::FetchToken]));
    let mut out = Vec::new();
    s.handle_token("newer".into(), again, &mut out);
    assert_eq!(out, [refresh()]);
    // What was shown has no answer.
    assert_eq!(due(&mut s), (again + limits::REFRESH_RETRY_AFTER, vec![Output::FetchToken]));
    s.handle_token("newer".into(), again, &mut Vec::new());
    s.handle_frame(ServerFrame::Refreshed { expires_in_ms: 600_000 }, again, &mut Vec::new());
    let (next, _) = due(&mut s);
    assert_eq!(next.since(again), asked.since(at(0)));
}

#[test]
fn devices_that_come_together_do_not_refresh_together_and_nobody_refreshes_without_end() {
    let asked = |device: u64, expires_in_ms: u64| {
        let mut s = ClientSession::new(ME, DeviceId(device));
        s.come_back(at(0), &mut Vec::new());
        greet(&mut s, at(0));
        let welcome = ServerFrame::Welcome { user: ME, device: DeviceId(device), expires_in_ms };
        s.handle_frame(welcome, at(0), &mut Vec::new());
        due(&mut s).0
    };
    let times: std::collections::BTreeSet<Time> = (1..=200).map(|device| asked(device, 600_000)).collect();
    assert!(times.len() > 12, "{times:?}");
    // A token that has expired and counts for its leeway only.
    assert_eq!(asked(1, 0), Time::ZERO + limits::REFRESH_RETRY_AFTER);
}

#[test]
fn a_token_that_was_fetched_while_the_device_is_not_connected_waits_for_its_hello() {
    let mut s = online(600_000);
    s.handle_disconnected(at(1));
    let mut out = Vec::new();
    s.handle_token("newer".into(), at(1), &mut out);
    assert_eq!(out, []);
}

#[test]
fn a_connection_that_has_outlived_its_token_is_followed_by_one_with_a_newer_one() {
    let mut s = online(600_000);
    assert_eq!(close(&mut s, EXPIRED, at(660)), [Output::FetchToken]);
    // It was no refusal of any token: it may be refused as often as any other.
    let (now, out) = due(&mut s);
    assert_eq!(out, [Output::Connect]);
    assert!(now <= at(661), "{now:?}");
    greet(&mut s, now);
    assert_eq!(close(&mut s, EXPIRED, now), [Output::FetchToken]);
}

#[test]
fn a_device_shows_a_fresh_token_to_another_gateway_before_it_gives_up() {
    for code in [REFUSED, EXPIRED] {
        let mut s = ClientSession::new(ME, MINE);
        s.come_back(at(0), &mut Vec::new());
        greet(&mut s, at(0));
        assert_eq!(close(&mut s, code, at(0)), [Output::FetchToken]);
        // A gateway that cannot be reached says nothing of the token.
        let (now, _) = due(&mut s);
        s.handle_disconnected(now);
        let (now, out) = due(&mut s);
        assert_eq!(out, [Output::Connect]);
        greet(&mut s, now);
        assert_eq!(close(&mut s, code, now), [Output::TokenRefused]);
        assert_eq!((s.phase(), s.poll_timeout()), (Phase::Stopped, Time::NEVER));
        // Its person takes it up again.
        let mut out = Vec::new();
        s.come_back(at(60), &mut out);
        assert_eq!(out, [Output::Connect]);
        greet(&mut s, at(60));
        assert_eq!(close(&mut s, code, at(60)), [Output::FetchToken]);
    }
}

#[test]
fn a_welcome_forgets_the_refusals_before_it() {
    let mut s = online(600_000);
    for n in 0..5 {
        // A newer token is refused where the older one was good.
        assert_eq!(close(&mut s, REFUSED, at(n * 60)), [Output::FetchToken]);
        let (now, _) = due(&mut s);
        greet(&mut s, now);
        let welcome = ServerFrame::Welcome { user: ME, device: MINE, expires_in_ms: 600_000 };
        s.handle_frame(welcome, now, &mut Vec::new());
    }
}

#[test]
fn other_closes_ask_for_no_token() {
    let mut s = online(600_000);
    assert_eq!(close(&mut s, CloseReason::Silence.code(), at(90)), []);
    assert!(matches!(s.phase(), Phase::Offline { .. }));
    s.go_away(&mut Vec::new());
    assert_eq!(close(&mut s, EXPIRED, at(91)), []);
    assert_eq!(s.phase(), Phase::Away);
}
