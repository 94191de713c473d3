//! One connection: the opening handshake, then frames in the codec that it chose.

use crate::dial::{BoxStream, Dial};
use futures_util::{SinkExt, StreamExt};
use squall_protocol::{ClientFrame, Codec, ServerFrame, limits};
use std::io;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

/// Why a connection could not be opened or is lost.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect: {0}")]
    Dial(#[source] io::Error),
    #[error("the gateway refused the handshake: {0}")]
    Handshake(#[source] Box<tungstenite::Error>),
    #[error("the connection is lost: {0}")]
    Lost(#[source] Box<tungstenite::Error>),
    #[error("the gateway closed the connection: {text} ({code})")]
    Closed { code: u16, text: String },
    #[error("the connection ended")]
    Ended,
    #[error("the gateway takes nothing")]
    Stuck,
    #[error("the gateway sent a frame that cannot be read: {0}")]
    Unreadable(#[source] squall_protocol::FrameError),
    #[error("the gateway sent a frame of another codec")]
    OtherCodec,
}

/// An open connection.
pub struct Link {
    socket: WebSocketStream<BoxStream>,
    codec: Codec,
}

/// Dials and shakes hands. The caller bounds the time.
pub async fn open(dial: Arc<dyn Dial>, attempt: u64, codec: Codec) -> Result<Link, LinkError> {
    let dialled = dial.dial(attempt).await.map_err(LinkError::Dial)?;
    let handshake = |error| LinkError::Handshake(Box::new(error));
    let mut request = format!("ws://{}/", dialled.authority).into_client_request().map_err(handshake)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(codec.subprotocol()));
    let config = WebSocketConfig::default().read_buffer_size(limits::READ_BYTES);
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, dialled.stream, Some(config))
        .await
        .map_err(handshake)?;
    Ok(Link { socket, codec })
}

impl Link {
    /// Puts frames on the wire; a gateway that takes nothing for `ANSWER_LIMIT` is lost.
    pub async fn write(&mut self, frames: &mut Vec<ClientFrame>) -> Result<(), LinkError> {
        let write = async {
            for frame in frames.drain(..) {
                self.socket.feed(message(self.codec, &frame)).await?;
            }
            self.socket.flush().await
        };
        match tokio::time::timeout(limits::ANSWER_LIMIT, write).await {
            Ok(done) => done.map_err(|error| LinkError::Lost(Box::new(error))),
            Err(_) => Err(LinkError::Stuck),
        }
    }

    /// The next frame. Cancel-safe.
    pub async fn read(&mut self) -> Result<ServerFrame, LinkError> {
        loop {
            let message = match self.socket.next().await {
                None => return Err(LinkError::Ended),
                Some(Err(error)) => return Err(LinkError::Lost(Box::new(error))),
                Some(Ok(message)) => message,
            };
            let bytes = match (&message, self.codec) {
                (Message::Text(text), Codec::Json) => text.as_bytes(),
                (Message::Binary(bytes), Codec::Protobuf) => bytes.as_ref(),
                (Message::Text(_) | Message::Binary(_), _) => return Err(LinkError::OtherCodec),
                (Message::Close(Some(frame)), _) => {
                    let text = frame.reason.as_str().to_owned();
                    return Err(LinkError::Closed { code: frame.code.into(), text });
                }
                (Message::Close(None), _) => return Err(LinkError::Ended),
                (Message::Ping(_) | Message::Pong(_) | Message::Frame(_), _) => continue,
            };
            return self.codec.decode_server(bytes).map_err(LinkError::Unreadable);
        }
    }

    /// Says good-bye, as far as the gateway listens.
    pub async fn close(mut self) {
        let bye = tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::from_static(squall_protocol::close::CloseReason::Normal.text()),
        };
        let _ = tokio::time::timeout(limits::LINGER, self.socket.close(Some(bye))).await;
    }
}

fn message(codec: Codec, frame: &ClientFrame) -> Message {
    let bytes = codec.encode_client(frame);
    match codec {
        Codec::Protobuf => Message::Binary(bytes.into()),
        Codec::Json => Message::Text(String::from_utf8(bytes).expect("our JSON encoder writes UTF-8").into()),
    }
}
