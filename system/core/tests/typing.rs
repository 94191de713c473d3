//! Whom a device shows as writing, input by output.

use squall_core::Time;
use squall_core::client::{ClientSession, Output};
use squall_protocol::limits::{MAX_TYPING_SHOWN, TYPING_SHOWN_FOR};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, ConversationId, DeviceId, Entry, LogSpan, Payload, Seq, ServerFrame,
    UserId,
};
use std::time::Duration;

const ME: UserId = UserId(1);
const C: ConversationId = ConversationId::group(UserId(9), 1);

fn at(ms: u64) -> Time {
    Time::ZERO + Duration::from_millis(ms)
}

/// A device that has been welcomed.
fn online() -> ClientSession {
    let mut session = ClientSession::new(ME, DeviceId(11));
    let mut out = Vec::new();
    session.come_back(at(0), &mut out);
    session.handle_connected("token".into(), at(0), &mut out);
    session.handle_frame(
        ServerFrame::Welcome { user: ME, device: DeviceId(11), expires_in_ms: 1 << 30 },
        at(0),
        &mut out,
    );
    session
}

fn is_told(session: &mut ClientSession, user: u64, ms: u64) -> Vec<Output> {
    let mut out = Vec::new();
    session.handle_frame(ServerFrame::Typing { conversation: C, user: UserId(user) }, at(ms), &mut out);
    out
}

fn shown(user: u64) -> Output {
    Output::Typing { conversation: C, user: UserId(user) }
}

fn over(user: u64) -> Output {
    Output::TypingOver { conversation: C, user: UserId(user) }
}

#[test]
fn whoever_is_told_to_be_writing_is_shown_for_a_while_from_the_last_time_on() {
    let mut session = online();
    let shown_for = TYPING_SHOWN_FOR.as_millis() as u64;
    assert_eq!(is_told(&mut session, 2, 100), [shown(2)]);
    assert_eq!(is_told(&mut session, 3, 1_000), [shown(3)]);
    assert_eq!(is_told(&mut session, 2, 3_100), [shown(2)]);
    assert_eq!(session.typing_in(C).collect::<Vec<_>>(), [UserId(2), UserId(3)]);
    assert_eq!(session.poll_timeout(), at(1_000 + shown_for));
    let mut out = Vec::new();
    session.handle_timeout(at(1_000 + shown_for), &mut out);
    assert_eq!(out, [over(3)]);
    // A lost connection makes nobody stay.
    session.handle_disconnected(at(1_000 + shown_for));
    out.clear();
    session.handle_timeout(at(3_100 + shown_for), &mut out);
    assert_eq!(out.first(), Some(&over(2)));
    assert_eq!(session.typing_in(C).count(), 0);
}

#[test]
fn a_message_ends_it_for_its_author() {
    let mut session = online();
    is_told(&mut session, 2, 100);
    is_told(&mut session, 3, 100);
    let entry = Entry {
        seq: Seq(1),
        sender: UserId(2),
        device: DeviceId(21),
        client_msg_id: ClientMsgId(1),
        client_seq: ClientSeq::FIRST,
        stored_at_ms: 0,
        payload: Payload::Text("there".into()),
    };
    let span = LogSpan { conversation: C, from: Seq(1), to: Seq(1), entries: vec![entry] };
    let mut out = Vec::new();
    session.handle_frame(ServerFrame::Deliver(span), at(200), &mut out);
    assert!(out.contains(&over(2)) && !out.contains(&over(3)), "{out:?}");
    assert_eq!(session.typing_in(C).collect::<Vec<_>>(), [UserId(3)]);
}

#[test]
fn a_device_shows_no_more_than_so_many_and_nobody_once_it_is_put_away() {
    let mut session = online();
    let told = (2..).take_while(|user| !is_told(&mut session, *user, 100).is_empty()).count();
    assert_eq!(told, MAX_TYPING_SHOWN);
    let mut out = Vec::new();
    session.go_away(&mut out);
    assert_eq!(out.iter().filter(|output| matches!(output, Output::TypingOver { .. })).count(), MAX_TYPING_SHOWN);
    assert_eq!(is_told(&mut session, 2, 200), []);
}

#[test]
fn that_a_person_is_writing_is_said_while_the_device_is_connected() {
    let mut session = online();
    let mut out = Vec::new();
    session.typing(C, &mut out);
    assert_eq!(out, [Output::Transmit(ClientFrame::Typing { conversation: C })]);
    session.handle_disconnected(at(100));
    out.clear();
    session.typing(C, &mut out);
    assert_eq!(out, []);
}
