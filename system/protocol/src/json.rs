//! The JSON codec: serde's own form of the frames, `{"op": "send", …}`.
//!
//! The types in `frames` carry the names; this file only says that encoding them cannot fail.

use serde::{Serialize, de::DeserializeOwned};

/// A frame as JSON text.
pub fn encode(frame: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(frame).expect("frames have string keys and no fallible serializers")
}

/// The frame of a JSON text.
pub fn decode<F: DeserializeOwned>(bytes: &[u8]) -> Result<F, serde_json::Error> {
    serde_json::from_slice(bytes)
}
