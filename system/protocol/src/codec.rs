//! The two encodings of frames, chosen by the WebSocket subprotocol.
//!
//! **Invariant:** each codec carries every frame there and back, and refuses what is no frame without a panic. Guarded by
//! `tests/codecs.rs`.

use crate::frames::{ClientFrame, ServerFrame};
use crate::protobuf::ProtobufError;
use crate::{json, limits, protobuf};

/// How frames are encoded on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    Json,
    Protobuf,
}

/// A frame that its codec cannot read. The connection is closed with `CloseReason::Malformed`.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("not a frame in JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
}

impl Codec {
    pub const ALL: [Codec; 2] = [Codec::Json, Codec::Protobuf];

    /// The WebSocket subprotocol that selects this codec.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Codec::Json => limits::SUBPROTOCOL_JSON,
            Codec::Protobuf => limits::SUBPROTOCOL_PROTOBUF,
        }
    }

    /// Whether frames travel as binary WebSocket messages (else text).
    pub const fn is_binary(self) -> bool {
        match self {
            Codec::Json => false,
            Codec::Protobuf => true,
        }
    }

    pub fn encode_client(self, frame: &ClientFrame) -> Vec<u8> {
        match self {
            Codec::Json => json::encode(frame),
            Codec::Protobuf => protobuf::encode_client(frame),
        }
    }

    pub fn encode_server(self, frame: &ServerFrame) -> Vec<u8> {
        match self {
            Codec::Json => json::encode(frame),
            Codec::Protobuf => protobuf::encode_server(frame),
        }
    }

    pub fn decode_client(self, bytes: &[u8]) -> Result<ClientFrame, FrameError> {
        match self {
            Codec::Json => Ok(json::decode_client(bytes)?),
            Codec::Protobuf => Ok(protobuf::decode_client(bytes)?),
        }
    }

    pub fn decode_server(self, bytes: &[u8]) -> Result<ServerFrame, FrameError> {
        match self {
            Codec::Json => Ok(json::decode_server(bytes)?),
            Codec::Protobuf => Ok(protobuf::decode_server(bytes)?),
        }
    }
}
