//! Receipts on the device, input by output.

use squall_core::Time;
use squall_core::client::{ClientSession, Output};
use squall_protocol::*;

const C: ConversationId = ConversationId(7);
const ME: UserId = UserId(1);
const FRIEND: UserId = UserId(2);
const MINE: DeviceId = DeviceId(10);

const fn at(ms: u64) -> Time {
    Time(ms * 1_000)
}

fn connect(s: &mut ClientSession, now: Time) -> Vec<Output> {
    let mut out = Vec::new();
    s.handle_connected("t".into(), now, &mut Vec::new());
    s.handle_frame(ServerFrame::Welcome { user: ME, device: MINE, expires_in_ms: u64::MAX }, now, &mut out);
    out
}

/// A device that keeps receipts and has been shown so many texts of a friend.
fn shown(texts: u64) -> ClientSession {
    let mut s = ClientSession::new(ME, MINE);
    s.keep_receipts();
    s.come_back(at(0), &mut Vec::new());
    connect(&mut s, at(0));
    let entry = |seq| Entry {
        seq: Seq(seq),
        sender: FRIEND,
        device: DeviceId(20),
        client_msg_id: ClientMsgId(u128::from(seq)),
        client_seq: ClientSeq(seq),
        stored_at_ms: 0,
        payload: Payload::Text("x".into()),
    };
    let entries = (1..=texts).map(entry).collect();
    let span = LogSpan { conversation: C, from: Seq(1), to: Seq(texts), entries };
    s.handle_frame(ServerFrame::Deliver(span), at(1), &mut Vec::new());
    s
}

fn tell(s: &mut ClientSession, user: UserId, delivered: u64, read: u64, now: Time) -> Vec<Output> {
    let users = vec![Receipt { user, delivered: Seq(delivered), read: Seq(read) }];
    let receipts = vec![Receipts { conversation: C, users, counts: None }];
    let mut out = Vec::new();
    s.handle_frame(ServerFrame::Receipts { receipts }, now, &mut out);
    out
}

fn reads(out: &[Output]) -> Vec<u64> {
    let read = |output: &Output| match output {
        Output::Transmit(ClientFrame::Read { up_to_seq, .. }) => Some(up_to_seq.0),
        _ => None,
    };
    out.iter().filter_map(read).collect()
}

fn read(s: &mut ClientSession, up_to: u64, now: Time) -> Vec<u64> {
    let mut out = Vec::new();
    s.read(C, Seq(up_to), now, &mut out);
    reads(&out)
}

fn unread(s: &ClientSession) -> usize {
    s.receipts().expect("it keeps receipts").unread(C)
}

#[test]
fn what_is_read_is_said_once_and_no_further_than_it_is_shown() {
    let mut s = shown(3);
    assert_eq!(unread(&s), 3);
    assert_eq!(read(&mut s, 2, at(2)), [2]);
    assert_eq!((read(&mut s, 2, at(3)), unread(&s)), (vec![], 1));
    assert_eq!((read(&mut s, 9, at(4)), unread(&s)), (vec![3], 0));
}

#[test]
fn what_is_not_told_back_is_said_again_and_then_no_more() {
    let mut s = shown(3);
    tell(&mut s, ME, 3, 0, at(2));
    read(&mut s, 3, at(10));
    assert_eq!(s.poll_timeout(), at(10_010));
    let again = |s: &mut ClientSession, ms| {
        let mut out = Vec::new();
        s.handle_timeout(at(ms), &mut out);
        reads(&out)
    };
    assert_eq!(again(&mut s, 10_009), Vec::<u64>::new());
    assert_eq!(again(&mut s, 10_010), [3]);
    assert_eq!((again(&mut s, 20_010), again(&mut s, 30_010)), (vec![], vec![3]));
    tell(&mut s, ME, 3, 3, at(30_100));
    assert_eq!(again(&mut s, 200_000), Vec::<u64>::new());
}

#[test]
fn what_is_read_without_a_connection_is_said_on_the_next() {
    let mut s = shown(3);
    s.handle_disconnected(at(100));
    assert_eq!((read(&mut s, 3, at(200)), unread(&s)), (vec![], 0));
    s.handle_timeout(at(2_000), &mut Vec::new());
    assert_eq!(reads(&connect(&mut s, at(2_010))), [3]);
}

#[test]
fn what_is_read_on_another_device_is_read_here() {
    let mut s = shown(3);
    let told = tell(&mut s, ME, 3, 2, at(2));
    assert!(told.iter().any(|output| matches!(output, Output::Receipts(_))));
    assert_eq!((unread(&s), read(&mut s, 2, at(3))), (1, vec![]));
}

#[test]
fn what_others_are_told_to_have_read_never_goes_back() {
    let mut s = shown(3);
    assert_eq!(tell(&mut s, FRIEND, 3, 2, at(2)).len(), 1);
    assert_eq!(tell(&mut s, FRIEND, 2, 1, at(3)), []);
    assert_eq!(s.receipts().unwrap().of(C, FRIEND), Cursors { delivered: Seq(3), read: Seq(2) });
}

#[test]
fn what_the_server_has_forgotten_is_acked_again_once_a_connection() {
    let ack = Output::Transmit(ClientFrame::Ack { conversation: C, up_to_seq: Seq(3) });
    let mut s = shown(3);
    assert_eq!(tell(&mut s, ME, 1, 0, at(2)).last(), Some(&ack));
    assert!(!tell(&mut s, ME, 2, 0, at(3)).contains(&ack), "what is on its way is told back soon");
}
