//! NATS JetStream: one stream in files for everybody, a subject a pair, a durable consumer for each receiver.
//!
//! **What a publish acknowledgement promises:** the stream has taken the message and given it a number. When it is on the disk is another
//! matter: the server syncs a stream's files at an interval of minutes, and no ack waits for it.

use super::{End, Receiving, Sending, Server, number};
use anyhow::{Context, Result};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use std::future::IntoFuture;
use std::time::Duration;

const STREAM: &str = "chat";

pub struct Nats {
    pub address: String,
}

fn subject(pair: u64) -> String {
    format!("pair.{pair}")
}

impl Nats {
    async fn open(&self) -> Result<jetstream::Context> {
        let client = async_nats::connect(&self.address).await.context("NATS cannot be reached")?;
        Ok(jetstream::new(client))
    }
}

impl Server for Nats {
    type Sending = Sender;
    type Receiving = Receiver;

    async fn prepare(&self) -> Result<()> {
        let config = jetstream::stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["pair.*".to_owned()],
            storage: jetstream::stream::StorageType::File,
            num_replicas: 1,
            ..Default::default()
        };
        self.open().await?.create_stream(config).await?;
        Ok(())
    }

    async fn receiver(&self, pair: u64) -> Result<Receiver> {
        let config = pull::Config {
            durable_name: Some(format!("receiver-{pair}")),
            filter_subject: subject(pair),
            // Cumulative, as a device of chatd and a client with stream management acknowledge.
            ack_policy: AckPolicy::All,
            ..Default::default()
        };
        let consumer = self.open().await?.create_consumer_on_stream(config, STREAM).await?;
        Ok(Receiver { messages: consumer.messages().await?, last: None })
    }

    async fn sender(&self, pair: u64) -> Result<Sender> {
        let (context, subject) = (self.open().await?, subject(pair));
        Ok(Sender { context, subject, unacked: FuturesOrdered::new(), acked: 0 })
    }

    /// Both ends read the same stream.
    async fn stored(&self, pair: u64, _: End) -> Result<Vec<u64>> {
        let config =
            pull::Config { filter_subject: subject(pair), ack_policy: AckPolicy::None, ..Default::default() };
        let consumer = self.open().await?.create_consumer_on_stream(config, STREAM).await?;
        let pending = consumer.cached_info().num_pending as usize;
        let mut numbers = Vec::with_capacity(pending);
        let mut messages = consumer.messages().await?;
        while numbers.len() < pending {
            let next = tokio::time::timeout(Duration::from_secs(10), messages.next()).await?;
            let message = next.context("NATS ended the consumer")??;
            numbers.push(number(&message.payload)?);
        }
        Ok(numbers)
    }
}

pub struct Sender {
    context: jetstream::Context,
    subject: String,
    unacked: FuturesOrdered<<PublishAckFuture as IntoFuture>::IntoFuture>,
    acked: u64,
}

impl Sending for Sender {
    async fn send(&mut self, body: String) -> Result<()> {
        let ack = self.context.publish(self.subject.clone(), body.into()).await?;
        self.unacked.push_back(ack.into_future());
        Ok(())
    }

    /// The library's own task writes, and gathers what it finds.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn acked(&mut self) -> Result<u64> {
        match self.unacked.next().await {
            Some(ack) => {
                ack?;
                self.acked += 1;
                Ok(self.acked)
            }
            None => std::future::pending().await,
        }
    }
}

pub struct Receiver {
    messages: pull::Stream,
    last: Option<jetstream::Message>,
}

impl Receiving for Receiver {
    async fn next(&mut self) -> Result<u64> {
        let message = self.messages.next().await.context("NATS ended the consumer")??;
        let number = number(&message.payload)?;
        self.last = Some(message);
        Ok(number)
    }

    async fn acknowledge(&mut self) -> Result<()> {
        match self.last.take() {
            Some(message) => message.ack().await.map_err(|error| anyhow::anyhow!(error)),
            None => Ok(()),
        }
    }
}
