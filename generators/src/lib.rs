//! Who is there and what they do: scenarios drawn from seeds, populations, workloads, the fleet of virtual clients that acts
//! them out, and liars and insiders beside it.
//!
//! **Invariant:** nothing here assumes a simulation. Fleet and liars speak real WebSocket bytes over whatever `LastMile` they
//! are given and have their frames faulted by whatever `FrameFaults`; time is handed in with every call; and everything random
//! comes from named streams of one seed (`rng.rs`).
//!
//! | module | is |
//! |---|---|
//! | `population`, `workload`, `rate` | who people are; what they do, and when |
//! | `places` | on which last mile each device is |
//! | `run_id`, `tokens` | what a run's people are called; where their devices get tokens from |
//! | `membership`, `text` | who comes and goes; what they write |
//! | `forecast` | what a scenario will come to, before it runs |
//! | `fleet` | all honest clients, in a slab; `websocket`, `calendar` are its parts |
//! | `client_faults` | what faults do to single clients and frames |
//! | `liars`, `insiders` | clients that are nobody's; members who attack |
//! | `swarm` | a scenario for every seed |

pub mod calendar;
pub mod client_faults;
pub mod fleet;
pub mod forecast;
pub mod insiders;
pub mod liars;
mod membership;
pub mod places;
pub mod population;
pub mod rate;
mod rights;
pub mod rng;
mod run_id;
pub mod swarm;
pub mod text;
pub mod tokens;
pub mod websocket;
pub mod workload;

pub use fleet::{
    Corner, Corners, Delivered, Fleet, FleetTotals, FrameFault, FrameFaults, FrameKind, GatewayTotals, LastMile,
    Latency, NoFrameFaults, Part, Signal, Sink, Who,
};
pub use forecast::Forecast;
pub use insiders::Insiders;
pub use liars::Liars;
pub use population::Population;
pub use run_id::RunId;
pub use tokens::{Backend, SharedTokens, Tokens};
