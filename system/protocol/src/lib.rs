//! What devices and servers say to each other: identifiers, frames, their two codecs, close codes, roles and limits.
//!
//! No I/O and no clock. `frames` are the domain's own types and know no encoding; `codec` chooses between `json` and
//! `protobuf`; `relay` says which frames go on to a shard; `wire` is what prost makes of the `.proto` files.

pub mod close;
pub mod cluster_secret;
pub mod codec;
pub mod frames;
pub mod ids;
pub mod json;
pub mod limits;
pub mod payload;
pub mod protobuf;
pub mod receipts;
pub mod relay;
pub mod role;
pub mod token;

/// The messages of the `.proto` files, as prost generates them.
pub mod wire {
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/squall.rs"));
    }
    pub use generated::squall::{
        bus::v1 as bus, client::v1 as client, log::v1 as log, messages::v1 as messages, presence::v1 as presence,
        registry::v1 as registry,
    };
}

pub use codec::{Codec, FrameError};
pub use frames::{ClientFrame, Entry, Head, LogSpan, Refusal, Seen, ServerFrame};
pub use ids::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Name, Seq, UserId, Who};
pub use payload::{Holders, Payload, Rank, Right, Users};
pub use receipts::{Cursors, Receipt, ReceiptCounts, Receipts};
pub use role::{HostName, PerRole, Role};
