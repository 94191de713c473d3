//! What devices and servers say to each other: identifiers, frames, their two codecs, close codes, roles and limits.
//!
//! No I/O and no clock. `frames` are the domain's own types; `wire` is what prost makes of the `.proto` files.

pub mod close;
pub mod frames;
pub mod ids;
pub mod json;
pub mod limits;
pub mod protobuf;
pub mod role;
pub mod token;

/// The messages of the `.proto` files, as prost generates them.
pub mod wire {
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/squall.rs"));
    }
    pub use generated::squall::{
        bus::v1 as bus, client::v1 as client, log::v1 as log, messages::v1 as messages, registry::v1 as registry,
    };
}

pub use frames::{ClientFrame, Codec, Entry, FrameError, Head, LogSpan, Payload, Refusal, ServerFrame};
pub use ids::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
pub use role::{HostName, PerRole, Role};
