//! Who is there and what they do: populations, workloads, and the fleet of virtual clients.
//!
//! Nothing here assumes a simulation: the fleet speaks real WebSocket bytes over whatever `LastMile` it is given, and
//! everything random comes from named streams of one seed.

pub mod calendar;
pub mod fleet;
pub mod forecast;
pub mod liars;
pub mod population;
pub mod rate;
pub mod rng;
pub mod swarm;
pub mod websocket;
pub mod workload;

pub use fleet::{Fleet, FleetTotals, LastMile, Latency, Meddle, Meddled, Signal, Sink};
pub use forecast::Forecast;
pub use liars::Liars;
pub use population::Population;
