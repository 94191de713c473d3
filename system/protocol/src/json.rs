//! The JSON codec: serde's own form of the frames, `{"op": "send", …}`.
//!
//! The types in `frames` carry the names; here stands that encoding them cannot fail, and how the frequent ones are read faster.
//!
//! serde reads a frame that says in a field which one it is into a tree first, for that field may come last. Every encoder that we know
//! writes it first: of such a text the fields are read where they stand.
//!
//! **Invariant:** both ways read the same. Guarded by `tests/codecs.rs`.

use crate::frames::{ClientFrame, LogSpan, ServerFrame};
use crate::ids::{ClientMsgId, ClientSeq, ConversationId, Seq};
use crate::payload::Payload;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// A frame as JSON text.
pub fn encode(frame: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(frame).expect("frames have string keys and no fallible serializers")
}

/// The `op` of a text that begins with it, written without a space or an escape.
fn leading_op(text: &[u8]) -> &[u8] {
    let rest = text.strip_prefix(br#"{"op":""#).unwrap_or_default();
    rest.split(|byte| *byte == b'"').next().unwrap_or_default()
}

/// Reads the fields of one kind of frame. `op` is named so that a second one is refused, as it is otherwise.
macro_rules! fields {
    ($bytes:expr, $($frame:ident)::+ { $($field:ident: $type:ty),+ }) => {{
        #[derive(Deserialize)]
        struct Fields {
            #[serde(rename = "op")]
            _op: IgnoredAny,
            $($field: $type),+
        }
        let Fields { _op, $($field),+ } = serde_json::from_slice($bytes)?;
        $($frame)::+ { $($field),+ }
    }};
}

/// A device's frame of a JSON text.
pub fn decode_client(bytes: &[u8]) -> Result<ClientFrame, serde_json::Error> {
    Ok(match leading_op(bytes) {
        b"send" => fields!(
            bytes,
            ClientFrame::Send {
                conversation: ConversationId,
                client_msg_id: ClientMsgId,
                client_seq: ClientSeq,
                payload: Payload
            }
        ),
        b"ack" => fields!(bytes, ClientFrame::Ack { conversation: ConversationId, up_to_seq: Seq }),
        b"sync" => fields!(bytes, ClientFrame::Sync { conversation: ConversationId, since_seq: Seq }),
        _ => serde_json::from_slice(bytes)?,
    })
}

/// A gateway's frame of a JSON text.
pub fn decode_server(bytes: &[u8]) -> Result<ServerFrame, serde_json::Error> {
    Ok(match leading_op(bytes) {
        b"deliver" => ServerFrame::Deliver(fields!(bytes, LogSpan {
            conversation: ConversationId,
            from: Seq,
            to: Seq,
            entries: Vec<crate::frames::Entry>
        })),
        b"page" => fields!(bytes, ServerFrame::Page { span: LogSpan, head: Seq }),
        b"sent" => fields!(
            bytes,
            ServerFrame::Sent {
                conversation: ConversationId,
                client_msg_id: ClientMsgId,
                server_seq: Seq,
                stored_at_ms: u64
            }
        ),
        _ => serde_json::from_slice(bytes)?,
    })
}
