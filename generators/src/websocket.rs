//! The client's end of a WebSocket over plain byte buffers: no task, no buffer while idle.
//!
//! Frame headers and masks are tungstenite's; this file only keeps what is incomplete. A server's frames are never
//! masked, and our gateways never fragment; anything else is an error.

use squall_protocol::ids::mix;
use std::io::{self, Cursor};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The most that a gateway may send in one frame.
const MAX_FRAME_BYTES: u64 = 4 * 1024 * 1024;

/// The key of an opening handshake, from anything unique.
fn handshake_key(nonce: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Sixteen bytes in base64: 21 free characters, one that carries the last two bits, and the padding.
    let bits = u128::from(mix(nonce)) << 64 | u128::from(mix(nonce ^ 1));
    let mut key: String = (0..21).map(|i| ALPHABET[(bits >> (122 - 6 * i) & 63) as usize] as char).collect();
    key.push(ALPHABET[((bits & 3) << 4) as usize] as char);
    key.push_str("==");
    key
}

/// The request of an opening handshake.
pub fn request(authority: &str, path: &str, subprotocol: &str, nonce: u64) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
        handshake_key(nonce)
    )
    .into_bytes()
}

/// Reads the answer to `request`. `None`: more bytes are needed; else how many bytes it took.
pub fn accept(bytes: &[u8], subprotocol: &str, nonce: u64) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = response.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let header = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let expected = derive_accept_key(handshake_key(nonce).as_bytes());
    let good = response.code == Some(101)
        && header("Sec-WebSocket-Accept") == Some(expected.as_bytes())
        && header("Sec-WebSocket-Protocol") == Some(subprotocol.as_bytes());
    if good { Ok(Some(len)) } else { Err(io::Error::other("the gateway refused the handshake")) }
}

/// Appends a masked frame. `mask` need not be secret here: no proxy stands between.
pub fn write(out: &mut Vec<u8>, binary: bool, payload: &[u8], mask: u32) {
    let opcode = OpCode::Data(if binary { Data::Binary } else { Data::Text });
    write_frame(out, opcode, payload, mask.to_le_bytes());
}

/// Appends a close frame that echoes `payload`, the peer's code.
pub fn write_close(out: &mut Vec<u8>, payload: &[u8], mask: u32) {
    write_frame(out, OpCode::Control(Control::Close), payload, mask.to_le_bytes());
}

fn write_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], mask: [u8; 4]) {
    let header = FrameHeader { is_final: true, opcode, mask: Some(mask), ..FrameHeader::default() };
    header.format(payload.len() as u64, out).expect("a Vec takes every write");
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// The close code, if the server gave one, and the payload to echo.
    Close(Option<u16>, &'a [u8]),
    /// A ping or pong.
    Control,
}

/// The first complete frame in `bytes` and its length; `None` when it is still torn.
pub fn read(bytes: &[u8]) -> io::Result<Option<(Incoming<'_>, usize)>> {
    let mut cursor = Cursor::new(bytes);
    let Some((header, len)) = FrameHeader::parse(&mut cursor).map_err(io::Error::other)? else {
        return Ok(None);
    };
    if len > MAX_FRAME_BYTES || header.mask.is_some() || !header.is_final {
        return Err(io::Error::other("a frame that no gateway of ours sends"));
    }
    let start = cursor.position() as usize;
    let Some(payload) = bytes.get(start..start + len as usize) else { return Ok(None) };
    let frame = match header.opcode {
        OpCode::Data(Data::Text) => Incoming::Text(payload),
        OpCode::Data(Data::Binary) => Incoming::Binary(payload),
        OpCode::Control(Control::Close) => {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            Incoming::Close(code, payload)
        }
        OpCode::Control(Control::Ping | Control::Pong) => Incoming::Control,
        OpCode::Data(Data::Continue) => {
            return Err(io::Error::other("a fragment, which no gateway of ours sends"));
        }
        OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
            return Err(io::Error::other("an opcode that means nothing"));
        }
    };
    Ok(Some((frame, start + len as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket};

    #[test]
    fn tungstenite_reads_what_we_write_and_we_read_what_it_writes() {
        for len in [0, 1, 125, 126, 300, 70_000] {
            let payload = vec![b'x'; len];
            let mut wire = Vec::new();
            write(&mut wire, true, &payload, 0x1234_5678);
            let mut server = WebSocket::from_raw_socket(Cursor::new(wire), Role::Server, None);
            assert_eq!(server.read().unwrap(), Message::binary(payload.clone()));

            let mut server = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Server, None);
            server.send(Message::binary(payload.clone())).unwrap();
            let wire = server.get_ref().get_ref().clone();
            for cut in 0..wire.len().min(20) {
                assert_eq!(read(&wire[..cut]).unwrap(), None);
            }
            assert_eq!(read(&wire).unwrap(), Some((Incoming::Binary(&payload), wire.len())));
        }
    }

    #[test]
    fn the_handshake_key_is_one_and_its_answer_is_checked() {
        let key = handshake_key(7);
        assert_eq!(key.len(), 24);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: p\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        assert_eq!(accept(answer.as_bytes(), "p", 7).unwrap(), Some(answer.len()));
        assert_eq!(accept(&answer.as_bytes()[..40], "p", 7).unwrap(), None);
        assert!(accept(answer.as_bytes(), "p", 8).is_err());
        assert!(accept(b"HTTP/1.1 400 Bad Request\r\n\r\n", "p", 7).is_err());
    }

    #[test]
    fn garbage_is_an_error_or_incomplete_but_no_panic() {
        for byte in 0..=255u8 {
            let _ = read(&[byte; 20]);
        }
    }
}
