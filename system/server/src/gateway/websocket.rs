//! The server's end of a WebSocket (RFC 6455, sections 5 and 8) over plain byte buffers.
//!
//! Frame headers are tungstenite's. Its `WebSocket` is not used here for the memory that each keeps while idle, about
//! 1.2 KB with its stream adapter; a gateway may hold a million.
//!
//! **Invariants:** between two frames a connection holds no buffer; what a client may send and what it may not is what
//! tungstenite says. Guarded by the differential test below; close codes by `server/tests/protocol.rs`.

use squall_protocol::limits::MAX_CONTROL_FRAME_BYTES;
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// A whole message or a control frame from the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// UTF-8.
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// A piece of a message that is not whole yet.
    Fragment,
    Ping(&'a [u8]),
    Pong,
    /// The payload to echo: a code and a reason, or nothing.
    Close(&'a [u8]),
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// With so many bytes at most in the next message.
    Next(usize),
    /// What has arrived is kept until the reader is fed again.
    Pause,
    /// What has arrived is nobody's.
    Stop,
}

/// Why a client is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A message that is longer than it may be.
    TooLarge,
    /// What the protocol forbids: no mask, reserved bits or codes, fragments out of turn, text that is not UTF-8.
    Protocol,
}

/// What has arrived and is not whole yet.
#[derive(Debug, Default)]
struct Incomplete {
    /// The beginning of a frame.
    frame: Vec<u8>,
    /// The fragments of a message so far; whether it is text.
    message: Option<(bool, Vec<u8>)>,
}

/// Takes bytes in, as they come, and gives messages out.
#[derive(Debug, Default)]
pub struct Reader(Option<Box<Incomplete>>);

impl Reader {
    /// Takes bytes that have arrived; calls `take` for each message that is whole, until it pauses or stops. The bytes are unmasked
    /// in place. The first message has at most `max` bytes, and each further one as many as `take` says.
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        mut max: usize,
        mut take: impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<(), Fault> {
        let mut incomplete = self.0.take().map(|kept| *kept).unwrap_or_default();
        if incomplete.frame.is_empty() {
            let Some(used) = take_frames(bytes, &mut incomplete.message, &mut max, &mut take)? else {
                return Ok(());
            };
            incomplete.frame.extend_from_slice(&bytes[used..]);
        } else {
            incomplete.frame.extend_from_slice(bytes);
            let used = take_frames(&mut incomplete.frame, &mut incomplete.message, &mut max, &mut take)?;
            let Some(used) = used else { return Ok(()) };
            incomplete.frame.drain(..used);
        }
        if !incomplete.frame.is_empty() || incomplete.message.is_some() {
            self.0 = Some(Box::new(incomplete));
        }
        Ok(())
    }
}

/// Handles the whole frames at the beginning of `bytes` until `take` pauses: how many bytes they were, `None` when it has stopped.
fn take_frames(
    bytes: &mut [u8],
    message: &mut Option<(bool, Vec<u8>)>,
    max: &mut usize,
    take: &mut impl FnMut(Incoming<'_>) -> Flow,
) -> Result<Option<usize>, Fault> {
    let mut used = 0;
    while let Some((len, flow)) = take_frame(&mut bytes[used..], message, *max, take)? {
        used += len;
        match flow {
            Flow::Next(next) => *max = next,
            Flow::Pause => break,
            Flow::Stop => return Ok(None),
        }
    }
    Ok(Some(used))
}

/// Handles the first frame of `bytes`: its length, and whether to go on; `None` when it is not whole yet.
fn take_frame(
    bytes: &mut [u8],
    message: &mut Option<(bool, Vec<u8>)>,
    max: usize,
    take: &mut impl FnMut(Incoming<'_>) -> Flow,
) -> Result<Option<(usize, Flow)>, Fault> {
    let mut cursor = Cursor::new(&*bytes);
    let Some((header, payload_len)) = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Protocol)? else {
        return Ok(None);
    };
    let start = cursor.position() as usize;
    if payload_len > max as u64 {
        return Err(Fault::TooLarge);
    }
    let Some(mask) = header.mask.filter(|_| !header.rsv1 && !header.rsv2 && !header.rsv3) else {
        return Err(Fault::Protocol);
    };
    if matches!(header.opcode, OpCode::Control(_))
        && (!header.is_final || payload_len > MAX_CONTROL_FRAME_BYTES as u64)
    {
        return Err(Fault::Protocol);
    }
    let len = start + payload_len as usize;
    let Some(payload) = bytes.get_mut(start..len) else { return Ok(None) };
    unmask(payload, mask);
    let payload = &*payload;
    let flow = match header.opcode {
        OpCode::Control(Control::Ping) => take(Incoming::Ping(payload)),
        OpCode::Control(Control::Pong) => take(Incoming::Pong),
        OpCode::Control(Control::Close) if is_close(payload) => take(Incoming::Close(payload)),
        OpCode::Control(Control::Close) => return Err(Fault::Protocol),
        OpCode::Data(Data::Text | Data::Binary) if message.is_some() => return Err(Fault::Protocol),
        OpCode::Data(kind @ (Data::Text | Data::Binary)) if header.is_final => {
            take(whole(kind == Data::Text, payload)?)
        }
        OpCode::Data(kind @ (Data::Text | Data::Binary)) => {
            *message = Some((kind == Data::Text, payload.to_vec()));
            take(Incoming::Fragment)
        }
        OpCode::Data(Data::Continue) => {
            let Some((_, fragments)) = message else { return Err(Fault::Protocol) };
            if fragments.len() + payload.len() > max {
                return Err(Fault::TooLarge);
            }
            fragments.extend_from_slice(payload);
            match message.take_if(|_| header.is_final) {
                Some((is_text, fragments)) => take(whole(is_text, &fragments)?),
                None => take(Incoming::Fragment),
            }
        }
        OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => return Err(Fault::Protocol),
    };
    Ok(Some((len, flow)))
}

/// Whether this may stand in a close frame: nothing, or a code that may be sent and a reason in UTF-8.
fn is_close(payload: &[u8]) -> bool {
    let Some((code, reason)) = payload.split_first_chunk() else { return payload.is_empty() };
    CloseCode::from(u16::from_be_bytes(*code)).is_allowed() && std::str::from_utf8(reason).is_ok()
}

fn whole(is_text: bool, payload: &[u8]) -> Result<Incoming<'_>, Fault> {
    match is_text {
        true if std::str::from_utf8(payload).is_err() => Err(Fault::Protocol),
        true => Ok(Incoming::Text(payload)),
        false => Ok(Incoming::Binary(payload)),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// Appends a message, of text or binary.
pub fn write_message(out: &mut Vec<u8>, is_text: bool, payload: &[u8]) {
    write_frame(out, OpCode::Data(if is_text { Data::Text } else { Data::Binary }), payload);
}

/// Appends the answer to a ping.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame(out, OpCode::Control(Control::Pong), payload);
}

/// Appends a close frame with this payload.
pub fn write_close(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame(out, OpCode::Control(Control::Close), payload);
}

fn write_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { is_final: true, opcode, mask: None, ..FrameHeader::default() };
    header.format(payload.len() as u64, out).expect("a Vec takes every write");
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squall_protocol::limits::MAX_CLIENT_FRAME_BYTES;
    use std::io::{Read, Write};
    use tokio_tungstenite::tungstenite::protocol::{Role as End, WebSocket, WebSocketConfig};
    use tokio_tungstenite::tungstenite::{Error, Message};

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Text(Vec<u8>),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong,
        Close(Vec<u8>),
        Fault(Fault),
    }

    fn ours(bytes: &[u8], pieces: usize) -> Vec<Seen> {
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(pieces) {
            let fed = reader.feed(&mut piece.to_vec(), MAX_CLIENT_FRAME_BYTES, |incoming| {
                seen.push(match incoming {
                    Incoming::Fragment => return Flow::Next(MAX_CLIENT_FRAME_BYTES),
                    Incoming::Text(text) => Seen::Text(text.to_vec()),
                    Incoming::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                    Incoming::Ping(payload) => Seen::Ping(payload.to_vec()),
                    Incoming::Pong => Seen::Pong,
                    Incoming::Close(payload) => Seen::Close(payload.to_vec()),
                });
                let is_over = matches!(seen.last(), Some(Seen::Close(_)));
                if is_over { Flow::Stop } else { Flow::Next(MAX_CLIENT_FRAME_BYTES) }
            });
            if let Err(fault) = fed {
                seen.push(Seen::Fault(fault));
            }
            if matches!(seen.last(), Some(Seen::Close(_) | Seen::Fault(_))) {
                break;
            }
        }
        seen
    }

    /// What a client has sent; what it is answered goes nowhere. (A cursor alone would write the answers over what is to be read.)
    struct Input(Cursor<Vec<u8>>);

    impl Read for Input {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Input {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn theirs(bytes: &[u8]) -> Vec<Seen> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_CLIENT_FRAME_BYTES))
            .max_frame_size(Some(MAX_CLIENT_FRAME_BYTES));
        let input = Input(Cursor::new(bytes.to_vec()));
        let mut socket = WebSocket::from_raw_socket(input, End::Server, Some(config));
        let mut seen = Vec::new();
        loop {
            seen.push(match socket.read() {
                Ok(Message::Text(text)) => Seen::Text(text.as_bytes().to_vec()),
                Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
                Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
                Ok(Message::Pong(_)) => Seen::Pong,
                Ok(Message::Close(frame)) => {
                    seen.push(match frame {
                        None => Seen::Close(Vec::new()),
                        // What tungstenite answers to a code that nobody may send; we close with a code of our own.
                        Some(frame) if frame.reason.as_str() == "Protocol violation" => {
                            Seen::Fault(Fault::Protocol)
                        }
                        Some(frame) => {
                            let code = u16::from(frame.code).to_be_bytes();
                            Seen::Close([&code, frame.reason.as_bytes()].concat())
                        }
                    });
                    return seen;
                }
                Ok(Message::Frame(_)) => unreachable!("reads give no raw frames"),
                Err(Error::Capacity(_)) => Seen::Fault(Fault::TooLarge),
                // The input has ended without a close frame.
                Err(Error::Protocol(p)) if p.to_string().contains("closing handshake") => return seen,
                Err(Error::Io(_)) => return seen,
                Err(_) => Seen::Fault(Fault::Protocol),
            });
            if matches!(seen.last(), Some(Seen::Fault(_))) {
                return seen;
            }
        }
    }

    /// One frame as some client might send it, right or wrong.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop_oneof![
            Just(Vec::new()),
            Just("grüße".as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..200),
            (0usize..3).prop_map(|n| vec![b'x'; [126, 70_000, MAX_CLIENT_FRAME_BYTES + 1][n]]),
        ];
        let first = prop_oneof![
            8 => prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A]),
            2 => Just(0x88u8),
            1 => any::<u8>(),
        ];
        (first, payload, any::<[u8; 4]>(), 0u8..20).prop_map(|(first, mut payload, mask, masked)| {
            if first & 0x8F != 0x81 {
                // tungstenite looks at the text of a fragment at once, we when the message is whole: not compared here.
                payload.iter_mut().for_each(|byte| *byte &= 0x7F);
            }
            if let (0x88, [high, ..]) = (first, payload.as_mut_slice()) {
                // Among the codes that may be sent, and a little around them.
                *high = 3 + *high % 2;
            }
            let mut frame = vec![first];
            let bit = if masked == 0 { 0 } else { 0x80 };
            match payload.len() {
                len @ 0..126 => frame.push(bit | len as u8),
                len @ 126..65_536 => {
                    frame.push(bit | 126);
                    frame.extend((len as u16).to_be_bytes());
                }
                len => {
                    frame.push(bit | 127);
                    frame.extend((len as u64).to_be_bytes());
                }
            }
            if bit != 0 {
                frame.extend(mask);
            }
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| if bit != 0 { b ^ m } else { *b }));
            frame
        })
    }

    proptest! {
        #[test]
        fn what_is_taken_and_what_is_refused_is_what_tungstenite_says(
            frames in proptest::collection::vec(frame(), 1..8),
            pieces in prop_oneof![1usize..40, Just(4_096), Just(1 << 20)],
        ) {
            let bytes: Vec<u8> = frames.concat();
            prop_assert_eq!(ours(&bytes, pieces.max(bytes.len() / 2_000)), theirs(&bytes));
        }
    }

    #[test]
    fn fragments_that_together_are_no_text_are_refused() {
        let wire = [0x01, 0x81, 0, 0, 0, 0, 0xC3, 0x80, 0x81, 0, 0, 0, 0, 0x28];
        assert_eq!(ours(&wire, 3), [Seen::Fault(Fault::Protocol)]);
        let wire = [0x01, 0x81, 0, 0, 0, 0, 0xC3, 0x80, 0x81, 0, 0, 0, 0, 0xBC];
        assert_eq!(ours(&wire, 3), [Seen::Text("ü".as_bytes().to_vec())]);
    }

    #[test]
    fn a_connection_between_two_frames_holds_nothing() {
        let mut reader = Reader::default();
        let mut frame = vec![0x82, 0x83, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3];
        let mut seen = 0;
        reader.feed(&mut frame[..4], MAX_CLIENT_FRAME_BYTES, |_| Flow::Next(MAX_CLIENT_FRAME_BYTES)).unwrap();
        assert!(reader.0.is_some());
        reader
            .feed(&mut frame[4..], MAX_CLIENT_FRAME_BYTES, |incoming| {
                assert_eq!(incoming, Incoming::Binary(b"abc"));
                seen += 1;
                Flow::Next(MAX_CLIENT_FRAME_BYTES)
            })
            .unwrap();
        assert!(reader.0.is_none());
        assert_eq!(seen, 1);
    }

    #[test]
    fn what_comes_behind_a_pause_is_kept_and_read_later_each_frame_once() {
        let ping = |byte: u8| [0x89, 0x81, 1, 2, 3, 4, byte ^ 1];
        let mut wire: Vec<u8> = (0..10).flat_map(ping).collect();
        let (half, rest) = wire.split_at_mut(45);
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        let mut feed = |bytes: &mut [u8]| {
            reader
                .feed(bytes, MAX_CLIENT_FRAME_BYTES, |incoming| {
                    let Incoming::Ping([byte]) = incoming else { panic!("{incoming:?}") };
                    seen.push(*byte);
                    Flow::Pause
                })
                .unwrap();
            seen.len()
        };
        assert_eq!(feed(half), 1);
        assert_eq!([feed(&mut []), feed(&mut []), feed(rest), feed(&mut [])], [2, 3, 4, 5]);
        (0..8).for_each(|_| assert!(feed(&mut []) > 5));
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert!(reader.0.is_none());
    }

    #[test]
    fn tungstenite_reads_what_we_write() {
        for len in [0, 1, 125, 126, 300, 70_000] {
            let payload = vec![b'x'; len];
            let mut wire = Vec::new();
            write_message(&mut wire, len % 2 == 0, &payload);
            write_close(&mut wire, &[]);
            let mut client = WebSocket::from_raw_socket(Cursor::new(wire), End::Client, None);
            let message = client.read().unwrap();
            assert_eq!((message.is_text(), message.into_data().to_vec()), (len % 2 == 0, payload));
            assert!(client.read().unwrap().is_close());
        }
    }
}
