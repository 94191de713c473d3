//! The opening handshake (RFC 6455, section 4.2): HTTP in, WebSocket out.
//!
//! Read by hand into a small buffer, because what a handshake leaves behind stays with each of millions of connections.

use crate::net::BoxStream;
use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use squall_protocol::Codec;
use squall_protocol::limits;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::server::{create_response, write_response};

/// A connection whose handshake is done.
pub struct Upgraded {
    pub stream: BoxStream,
    pub codec: Codec,
    /// What came behind the request: the client need not wait for the answer.
    pub rest: Vec<u8>,
}

/// Answers the request. An error has been told to the peer as far as HTTP can.
pub async fn accept(mut stream: BoxStream) -> io::Result<Upgraded> {
    let mut bytes = Vec::with_capacity(512);
    let head_len = loop {
        let head_len = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|end| end + 4);
        // What comes behind the head is not part of it.
        if head_len.unwrap_or(bytes.len()) > limits::MAX_HANDSHAKE_BYTES {
            return refuse(stream, "431 Request Header Fields Too Large", "the request's headers are too long")
                .await;
        }
        if let Some(head_len) = head_len {
            break head_len;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let Some(request) = parse(&bytes[..head_len]) else {
        return refuse(stream, "400 Bad Request", "not an HTTP request").await;
    };
    let Some(codec) = choose(&request) else {
        let text = format!("subprotocols: {}, {}", limits::SUBPROTOCOL_JSON, limits::SUBPROTOCOL_PROTOBUF);
        return refuse(stream, "400 Bad Request", &text).await;
    };
    let mut response = match create_response(&request) {
        Ok(response) => response,
        Err(error) => return refuse(stream, "426 Upgrade Required", &error.to_string()).await,
    };
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(codec.subprotocol()));
    let mut answer = Vec::with_capacity(256);
    write_response(&mut answer, &response).map_err(io::Error::other)?;
    stream.write_all(&answer).await?;
    stream.flush().await?;
    Ok(Upgraded { stream, codec, rest: bytes[head_len..].to_vec() })
}

fn parse(head: &[u8]) -> Option<http::Request<()>> {
    let mut headers = [httparse::EMPTY_HEADER; limits::MAX_HANDSHAKE_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).ok()?.is_complete() {
        return None;
    }
    let mut request = http::Request::builder()
        .method(parsed.method?)
        .uri(parsed.path?)
        .version(if parsed.version == Some(1) { http::Version::HTTP_11 } else { http::Version::HTTP_10 })
        .body(())
        .ok()?;
    for header in parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(request)
}

/// The first offered subprotocol that we speak; JSON when none is offered.
fn choose(request: &http::Request<()>) -> Option<Codec> {
    let mut offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().peekable();
    if offers.peek().is_none() {
        return Some(Codec::Json);
    }
    offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| Codec::ALL.into_iter().find(|codec| codec.subprotocol() == name.trim()))
}

async fn refuse<T>(mut stream: BoxStream, status: &str, text: &str) -> io::Result<T> {
    let length = text.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Input that nobody reads would turn the close into a reset, which can overtake the answer.
    let mut scratch = [0u8; 512];
    let drain = async { while stream.read(&mut scratch).await.is_ok_and(|n| n > 0) {} };
    let _ = tokio::time::timeout(limits::LINGER, drain).await;
    Err(io::ErrorKind::InvalidData.into())
}
