//! The links between roles: gRPC over whatever stream the connector gives, long-lived, batched, reopened when lost.

mod beside;
mod codec;
mod fill;
mod grpc;
mod queue;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod tests;

pub use beside::Beside;
pub use codec::SliceCodec;
pub use fill::{Fill, tell_fill};
pub use grpc::{Dialler, LinkError, dial, guarded, incoming, keep_open, serve_grpc};
pub use queue::{Pushed, Queue};

/// The services, as tonic generates them.
pub mod services {
    #![allow(clippy::all)]
    pub mod messages {
        include!(concat!(env!("OUT_DIR"), "/squall.messages.v1.rs"));
    }
    pub mod registry {
        include!(concat!(env!("OUT_DIR"), "/squall.registry.v1.rs"));
    }
    pub mod presence {
        include!(concat!(env!("OUT_DIR"), "/squall.presence.v1.rs"));
    }
    pub mod bus {
        include!(concat!(env!("OUT_DIR"), "/squall.bus.v1.rs"));
    }
}

/// The response half of a streaming call.
pub type Replies<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, tonic::Status>> + Send>>;
