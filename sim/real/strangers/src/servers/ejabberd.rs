//! ejabberd: XMPP on TCP, with stream management (XEP-0198) on both sides and the message archive (XEP-0313) on the server's.
//!
//! **What `<a h='…'/>` promises:** the server has handled so many stanzas of this connection. A connection's process handles one after the other and
//! waits for its row in the *sender's* archive, so PostgreSQL has committed what is acked. The row in the receiver's archive is written by the receiver's
//! process, before it delivers (the delivery names it: `stanza-id`), and an ack does not wait for that.
//! The library's ready-made client asks for an ack only when a connection has been silent, so this file speaks on the stream below it.

use super::{End, Receiving, Sending, Server, number};
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use sasl::common::Credentials;
use std::borrow::Cow;
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio_xmpp::Stanza;
use tokio_xmpp::jid::{BareJid, Jid};
use tokio_xmpp::parsers::bind::BindQuery;
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::message::{Lang, Message};
use tokio_xmpp::parsers::presence::Presence;
use tokio_xmpp::parsers::{mam, ns, rsm, sm};
use tokio_xmpp::xmlstream::{
    FallibleStreamElement, StreamHeader, Timeouts, XmlStream, XmppStreamElement, initiate_stream,
};

const DOMAIN: &str = "localhost";
/// What `measure` gives every account.
const PASSWORD: &str = "try";
/// Messages in a page of the archive.
const PAGE: usize = 200;

pub struct Ejabberd {
    pub address: String,
}

impl Ejabberd {
    /// Logs in, takes a resource, asks for stream management, and says that the person is there.
    async fn open(&self, user: &str) -> Result<Link> {
        let stream = TcpStream::connect(&self.address).await.context("ejabberd cannot be reached")?;
        stream.set_nodelay(true)?;
        let header = || StreamHeader { to: Some(Cow::Borrowed(DOMAIN)), from: None, id: None };
        let greeted =
            initiate_stream(BufStream::new(stream), ns::JABBER_CLIENT, header(), Timeouts::default()).await?;
        let (features, stream) = greeted.recv_features().await?;
        let credentials = Credentials::default().with_username(user).with_password(PASSWORD);
        let stream = tokio_xmpp::client_login(stream, features.sasl_mechanisms, credentials).await?;
        let (_, stream) = stream.send_header(header()).await?.recv_features().await?;
        let mut link = Link { stream, handled: 0, asked: false };
        link.write(Iq::from_set("bind", BindQuery::new(Some("bench".to_owned()))).into()).await?;
        match link.read().await? {
            XmppStreamElement::Stanza(Stanza::Iq(Iq::Result { .. })) => {}
            other => bail!("ejabberd answered bind with {other:?}"),
        }
        link.nonza(sm::Nonza::Enable(sm::Enable::new())).await?;
        link.flush().await?;
        match link.read().await? {
            XmppStreamElement::SM(sm::Nonza::Enabled(_)) => link.handled = 0,
            other => bail!("ejabberd answered enable with {other:?}"),
        }
        link.write(Presence::available().into()).await?;
        Ok(link)
    }
}

struct Link {
    stream: XmlStream<BufStream<TcpStream>, FallibleStreamElement>,
    /// Stanzas that came since stream management began.
    handled: u32,
    /// The server wants to know how many.
    asked: bool,
}

impl Link {
    async fn feed(&mut self, stanza: Stanza) -> Result<()> {
        Ok(self.stream.feed(&XmppStreamElement::Stanza(stanza)).await?)
    }

    async fn write(&mut self, stanza: Stanza) -> Result<()> {
        Ok(self.stream.send(&XmppStreamElement::Stanza(stanza)).await?)
    }

    async fn nonza(&mut self, nonza: sm::Nonza) -> Result<()> {
        Ok(self.stream.feed(&XmppStreamElement::SM(nonza)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(SinkExt::<&XmppStreamElement>::flush(&mut self.stream).await?)
    }

    async fn read(&mut self) -> Result<XmppStreamElement> {
        let element = self.stream.next().await.context("ejabberd closed the connection")??.into_read_error()?;
        match &element {
            XmppStreamElement::Stanza(_) => self.handled += 1,
            XmppStreamElement::SM(sm::Nonza::Req(_)) => self.asked = true,
            XmppStreamElement::StreamError(error) => bail!("ejabberd ended the stream: {error}"),
            _ => {}
        }
        Ok(element)
    }

    async fn answer(&mut self) -> Result<()> {
        if std::mem::take(&mut self.asked) {
            self.nonza(sm::Nonza::Ack(sm::A::new(self.handled))).await?;
            self.flush().await?;
        }
        Ok(())
    }
}

impl Server for Ejabberd {
    type Sending = Sender;
    type Receiving = Receiver;

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn receiver(&self, pair: u64) -> Result<Receiver> {
        let mut link = self.open(&format!("r{pair}")).await?;
        // The server sends a person's presence back to them: from then on messages find this connection.
        loop {
            if let XmppStreamElement::Stanza(Stanza::Presence(_)) = link.read().await? {
                return Ok(Receiver { link });
            }
        }
    }

    async fn sender(&self, pair: u64) -> Result<Sender> {
        let link = self.open(&format!("s{pair}")).await?;
        let to = BareJid::new(&format!("r{pair}@{DOMAIN}"))?.into();
        Ok(Sender { link, to, unasked: false })
    }

    async fn stored(&self, pair: u64, end: End) -> Result<Vec<u64>> {
        // Everybody has an archive of their own.
        let mut link = self.open(&format!("{}{pair}", if end == End::Sender { 's' } else { 'r' })).await?;
        let (mut numbers, mut after) = (Vec::new(), None);
        loop {
            let set = rsm::SetQuery { max: Some(PAGE), after, before: None, index: None };
            let query = mam::Query { queryid: None, node: None, form: None, set: Some(set), flip_page: false };
            link.write(Iq::from_set("archive", query).into()).await?;
            let page = loop {
                match link.read().await? {
                    XmppStreamElement::Stanza(Stanza::Message(mut message)) => {
                        if let Some(result) = message.extract_valid_payload::<mam::Result_>() {
                            numbers.push(number_of(&result.forwarded.message)?);
                        }
                    }
                    XmppStreamElement::Stanza(Stanza::Iq(Iq::Result { id, payload: Some(payload), .. }))
                        if id == "archive" =>
                    {
                        break mam::Fin::try_from(payload)?;
                    }
                    XmppStreamElement::Stanza(Stanza::Iq(Iq::Error { error, .. })) => {
                        bail!("ejabberd cannot read the archive: {error:?}")
                    }
                    _ => {}
                }
                link.answer().await?;
            };
            if page.complete {
                return Ok(numbers);
            }
            after = page.set.last;
            ensure!(after.is_some(), "a page of the archive has neither an end nor a next one");
        }
    }
}

fn number_of(message: &Message) -> Result<u64> {
    let body = message.bodies.values().next().context("a message without a body")?;
    number(body.as_bytes())
}

pub struct Sender {
    link: Link,
    to: Jid,
    /// Something was sent for which no ack has been asked.
    unasked: bool,
}

impl Sending for Sender {
    async fn send(&mut self, body: String) -> Result<()> {
        self.unasked = true;
        let message = Message::chat(self.to.clone()).with_body(Lang::default(), body);
        self.link.feed(message.into()).await
    }

    async fn flush(&mut self) -> Result<()> {
        if std::mem::take(&mut self.unasked) {
            self.link.nonza(sm::Nonza::Req(sm::R)).await?;
        }
        self.link.flush().await
    }

    async fn acked(&mut self) -> Result<u64> {
        loop {
            match self.link.read().await? {
                // The first stanza was the presence.
                XmppStreamElement::SM(sm::Nonza::Ack(ack)) => return Ok(u64::from(ack.h.saturating_sub(1))),
                XmppStreamElement::Stanza(Stanza::Message(message)) => {
                    bail!("ejabberd sent a message back: {message:?}")
                }
                _ => self.link.answer().await?,
            }
        }
    }
}

pub struct Receiver {
    link: Link,
}

impl Receiving for Receiver {
    async fn next(&mut self) -> Result<u64> {
        loop {
            if let XmppStreamElement::Stanza(Stanza::Message(message)) = self.link.read().await? {
                let archived = message.payloads.iter().any(|payload| payload.is("stanza-id", ns::SID));
                ensure!(archived, "a message was delivered that is not in the archive");
                return number_of(&message);
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<()> {
        self.link.answer().await
    }
}
