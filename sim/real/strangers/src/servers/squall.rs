//! `chatd`: WebSocket frames in Protobuf, by the project's own codec.
//!
//! **What `sent` promises:** the message's transaction is on the disk, synced.

use super::{End, Receiving, Sending, Server, number};
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use squall_protocol::token::{Claims, Issuer};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, DeviceId, LogSpan, Payload, Seq, ServerFrame,
    UserId, limits,
};
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

const CODEC: Codec = Codec::Protobuf;

pub struct Squall {
    pub address: String,
    pub secret: String,
}

/// The two users of a pair and their conversation.
fn people(pair: u64) -> (UserId, UserId, ConversationId) {
    let (sender, receiver) = (UserId(2 * pair + 1), UserId(2 * pair + 2));
    (sender, receiver, ConversationId::direct(sender, receiver))
}

impl Squall {
    /// Opens a device's connection and says hello.
    async fn open(&self, user: UserId, device: DeviceId) -> Result<Link> {
        let stream = TcpStream::connect(&self.address).await.context("chatd cannot be reached")?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{}/", self.address).into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(CODEC.subprotocol()));
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let mut link = Link(socket);
        let claims = Claims { user, device, expires_s: u64::MAX / 2_000, not_before_s: None };
        let token = Issuer::of_secret(self.secret.as_bytes()).issue(&claims);
        link.write(&ClientFrame::Hello { token, connect_count: 1, invisible: false }).await?;
        link.0.flush().await?;
        match link.read().await? {
            ServerFrame::Welcome { .. } => Ok(link),
            other => bail!("chatd answered hello with {other:?}"),
        }
    }
}

struct Link(WebSocketStream<TcpStream>);

impl Link {
    async fn write(&mut self, frame: &ClientFrame) -> Result<()> {
        Ok(self.0.feed(Message::Binary(CODEC.encode_client(frame).into())).await?)
    }

    async fn read(&mut self) -> Result<ServerFrame> {
        loop {
            match self.0.next().await.context("chatd closed the connection")?? {
                Message::Binary(bytes) => return Ok(CODEC.decode_server(&bytes)?),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("chatd sent {other:?}"),
            }
        }
    }
}

impl Server for Squall {
    type Sending = Sender;
    type Receiving = Receiver;

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn receiver(&self, pair: u64) -> Result<Receiver> {
        let (_, user, conversation) = people(pair);
        let link = self.open(user, DeviceId(user.0)).await?;
        Ok(Receiver { link, conversation, next: Seq(1), arrived: VecDeque::new(), owes_ack: false })
    }

    async fn sender(&self, pair: u64) -> Result<Sender> {
        let (user, other, conversation) = people(pair);
        let link = self.open(user, DeviceId(user.0)).await?;
        let mut sender = Sender { link, conversation, sent: 0 };
        loop {
            // The conversation itself is number 0.
            sender.append(Payload::Created { direct: true, channel: false, members: vec![user, other] }).await?;
            sender.flush().await?;
            if let Ok(acked) = timeout(limits::RESEND_AFTER, sender.acked()).await {
                ensure!(acked? == 0, "the conversation was acked as something else");
                return Ok(sender);
            }
            sender.sent = 0;
        }
    }

    async fn stored(&self, pair: u64, end: End) -> Result<Vec<u64>> {
        let (sender, receiver, conversation) = people(pair);
        let user = if end == End::Sender { sender } else { receiver };
        // Another device of the same user, which has seen nothing.
        let mut link = self.open(user, DeviceId(user.0 + (1 << 32))).await?;
        let (mut numbers, mut since_seq) = (Vec::new(), Seq::ZERO);
        'pages: loop {
            link.write(&ClientFrame::Sync { conversation, since_seq }).await?;
            link.0.flush().await?;
            let (span, head) = loop {
                // As every device, it asks again: a server that has just started may have dropped what it was asked.
                let Ok(frame) = timeout(limits::SYNC_RETRY_AFTER, link.read()).await else { continue 'pages };
                match frame? {
                    ServerFrame::Page { span, head } if span.from == since_seq.next() => break (span, head),
                    ServerFrame::Error { code, .. } => bail!("chatd cannot read the conversation: {code:?}"),
                    _ => {}
                }
            };
            since_seq = span.to;
            for entry in span.entries {
                if let Payload::Text(text) = entry.payload {
                    numbers.push(number(text.as_bytes())?);
                }
            }
            if since_seq >= head {
                return Ok(numbers);
            }
        }
    }
}

pub struct Sender {
    link: Link,
    conversation: ConversationId,
    /// Entries sent, the conversation's creation included: the next `client_seq` less one.
    sent: u64,
}

impl Sender {
    async fn append(&mut self, payload: Payload) -> Result<()> {
        let client_msg_id = ClientMsgId((u128::from(self.conversation.halves().0) << 64) | u128::from(self.sent));
        self.sent += 1;
        let (conversation, client_seq) = (self.conversation, ClientSeq(self.sent));
        self.link.write(&ClientFrame::Send { conversation, client_msg_id, client_seq, payload }).await
    }
}

impl Sending for Sender {
    async fn send(&mut self, body: String) -> Result<()> {
        self.append(Payload::Text(body)).await
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.link.0.flush().await?)
    }

    async fn acked(&mut self) -> Result<u64> {
        loop {
            match self.link.read().await? {
                // One conversation's entries are acked in their order.
                ServerFrame::Sent { client_msg_id, .. } => return Ok(client_msg_id.0 as u64),
                ServerFrame::Refused { reason, .. } => bail!("chatd refused a message: {reason:?}"),
                ServerFrame::Heads { .. } | ServerFrame::Deliver(_) => {}
                other => bail!("chatd sent {other:?} to a sender"),
            }
        }
    }
}

pub struct Receiver {
    link: Link,
    conversation: ConversationId,
    /// The place in the log that comes next.
    next: Seq,
    arrived: VecDeque<u64>,
    owes_ack: bool,
}

impl Receiver {
    async fn take(&mut self, span: LogSpan) -> Result<()> {
        if span.from > self.next && span.to >= self.next {
            // Something before it was not delivered; the log has it.
            let frame = ClientFrame::Sync { conversation: self.conversation, since_seq: self.next.prev() };
            self.link.write(&frame).await?;
            return Ok(self.link.0.flush().await?);
        }
        for entry in span.entries.into_iter().filter(|entry| entry.seq >= self.next) {
            if let Payload::Text(text) = entry.payload {
                self.arrived.push_back(number(text.as_bytes())?);
            }
        }
        self.next = self.next.max(span.to.next());
        self.owes_ack = true;
        Ok(())
    }
}

impl Receiving for Receiver {
    async fn next(&mut self) -> Result<u64> {
        loop {
            if let Some(number) = self.arrived.pop_front() {
                return Ok(number);
            }
            match self.link.read().await? {
                ServerFrame::Deliver(span) | ServerFrame::Page { span, .. } => self.take(span).await?,
                ServerFrame::Heads { .. } => {}
                other => bail!("chatd sent {other:?} to a receiver"),
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<()> {
        if std::mem::take(&mut self.owes_ack) {
            let frame = ClientFrame::Ack { conversation: self.conversation, up_to_seq: self.next.prev() };
            self.link.write(&frame).await?;
            self.link.0.flush().await?;
        }
        Ok(())
    }
}
