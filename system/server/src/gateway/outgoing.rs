//! A frame on its way to devices: encoded once for each codec, however many devices it goes to.

use bytes::Bytes;
use squall_protocol::Codec;
use squall_protocol::ServerFrame;

/// A frame and its encodings as they become needed.
pub struct Outgoing {
    frame: ServerFrame,
    encoded: [Option<Bytes>; 2],
}

impl Outgoing {
    pub fn new(frame: ServerFrame) -> Self {
        Outgoing { frame, encoded: [None, None] }
    }

    pub fn frame(&self) -> &ServerFrame {
        &self.frame
    }

    pub fn bytes(&mut self, codec: Codec) -> Bytes {
        let slot = &mut self.encoded[usize::from(codec.is_binary())];
        slot.get_or_insert_with(|| codec.encode_server(&self.frame).into()).clone()
    }
}
