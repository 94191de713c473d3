//! Who may do what, on real sockets and over a restart of the server: ranks, settings, blocks, and leaving for good.

mod common;

use common::{Raw, TempDir, live};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Holders, Payload, Rank, Refusal, Right,
    ServerFrame, UserId,
};
use squall_server::local::Local;

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);
const CARL: UserId = UserId(3);
const DORA: UserId = UserId(4);
const CHANNEL: ConversationId = ConversationId::group(ANNE, 77);
const TWO: ConversationId = ConversationId::direct(ANNE, BERT);

/// Somebody's device, and how much it has sent where.
struct Person {
    raw: Raw,
    user: UserId,
    next: [u64; 2],
    said: u64,
}

impl Person {
    async fn online(local: &Local, user: UserId, next: [u64; 2], codec: Codec) -> Person {
        let raw = Raw::online(local.gateways()[0], codec, user.0, 10 * user.0).await;
        Person { raw, user, next, said: 1_000 * next[0] }
    }

    /// Whether it is stored, or why not.
    async fn say(&mut self, conversation: ConversationId, payload: Payload) -> Result<(), Refusal> {
        let next = &mut self.next[usize::from(conversation == TWO)];
        // Refused or not, each message has an id of its own; in the second life of the server others than in the first.
        self.said += 1;
        let id = ClientMsgId(u128::from(self.user.0) << 64 | u128::from(self.said));
        let client_seq = ClientSeq(*next);
        self.raw.send(ClientFrame::Send { conversation, client_msg_id: id, client_seq, payload }).await;
        let answer = self.raw.until(|frame| match frame {
            ServerFrame::Sent { client_msg_id, .. } if *client_msg_id == id => Some(Ok(())),
            ServerFrame::Refused { client_msg_id, reason, .. } if *client_msg_id == id => Some(Err(*reason)),
            _ => None,
        });
        let answer = answer.await;
        *next += u64::from(answer.is_ok());
        answer
    }
}

fn text(n: u32) -> Payload {
    Payload::Text(format!("text {n}"))
}

const NO: Result<(), Refusal> = Err(Refusal::NotAllowed);
const BLOCKED: Result<(), Refusal> = Err(Refusal::Blocked);

async fn before(local: Local) {
    let mut anne = Person::online(&local, ANNE, [1, 1], Codec::Json).await;
    let mut bert = Person::online(&local, BERT, [1, 1], Codec::Protobuf).await;
    let mut carl = Person::online(&local, CARL, [1, 1], Codec::Json).await;
    let created = Payload::Created { direct: false, channel: true, members: vec![ANNE, BERT, CARL] };
    assert_eq!(anne.say(CHANNEL, created).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, text(1)).await, NO);
    assert_eq!(bert.say(CHANNEL, Payload::joined(DORA)).await, NO);
    assert_eq!(bert.say(CHANNEL, Payload::Role { user: BERT, rank: Rank::Admin }).await, NO);
    assert_eq!(anne.say(CHANNEL, Payload::Role { user: BERT, rank: Rank::Admin }).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, text(2)).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, Payload::Named("A channel".into())).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, Payload::left(ANNE)).await, NO);
    let open = Payload::Setting { right: Right::Add, who: Holders::Members };
    assert_eq!(bert.say(CHANNEL, open.clone()).await, NO);
    assert_eq!(anne.say(CHANNEL, open).await, Ok(()));
    assert_eq!(carl.say(CHANNEL, Payload::Joined(vec![DORA, UserId(5)].into())).await, Ok(()));
    assert_eq!(carl.say(CHANNEL, Payload::Joined(vec![UserId(6), DORA].into())).await, Err(Refusal::Conflict));
    assert_eq!(carl.say(CHANNEL, Payload::ForGood(true)).await, Ok(()));

    let created = Payload::Created { direct: true, channel: false, members: vec![ANNE, BERT] };
    assert_eq!(anne.say(TWO, created).await, Ok(()));
    assert_eq!(bert.say(TWO, Payload::Blocked(true)).await, Ok(()));
    assert_eq!((anne.say(TWO, text(1)).await, bert.say(TWO, text(2)).await), (BLOCKED, BLOCKED));
}

/// The server has been started anew: all of it is as it was.
async fn after(local: Local) {
    let mut anne = Person::online(&local, ANNE, [4, 2], Codec::Json).await;
    let mut bert = Person::online(&local, BERT, [3, 2], Codec::Protobuf).await;
    let mut carl = Person::online(&local, CARL, [3, 1], Codec::Json).await;
    let mut dora = Person::online(&local, DORA, [1, 1], Codec::Json).await;
    assert_eq!((anne.say(TWO, text(3)).await, bert.say(TWO, text(4)).await), (BLOCKED, BLOCKED));
    assert_eq!(anne.say(TWO, Payload::Blocked(false)).await, Err(Refusal::Conflict));
    assert_eq!(bert.say(TWO, Payload::Blocked(false)).await, Ok(()));
    assert_eq!(anne.say(TWO, text(5)).await, Ok(()));

    assert_eq!(dora.say(CHANNEL, text(3)).await, NO);
    assert_eq!(dora.say(CHANNEL, Payload::joined(UserId(6))).await, Ok(()));
    assert_eq!(dora.say(CHANNEL, Payload::joined(CARL)).await, NO);
    assert_eq!(carl.say(CHANNEL, Payload::ForGood(false)).await, Ok(()));
    assert_eq!(dora.say(CHANNEL, Payload::joined(CARL)).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, text(4)).await, Ok(()));
    // Anne goes, and Bert, the only admin, has her channel; a removed admin who comes back is a member.
    assert_eq!(anne.say(CHANNEL, Payload::left(ANNE)).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, Payload::Role { user: DORA, rank: Rank::Admin }).await, Ok(()));
    assert_eq!(dora.say(CHANNEL, text(5)).await, Ok(()));
    assert_eq!(bert.say(CHANNEL, Payload::left(DORA)).await, Ok(()));
    assert_eq!(dora.say(CHANNEL, text(6)).await, Err(Refusal::NotAMember));
    assert_eq!(bert.say(CHANNEL, Payload::joined(DORA)).await, Ok(()));
    assert_eq!(dora.say(CHANNEL, text(7)).await, NO);
}

#[test]
fn ranks_settings_and_blocks_hold_and_outlive_the_server() {
    let dir = TempDir::new("roles");
    live(&dir.path().join("data"), before);
    live(&dir.path().join("data"), after);
}
