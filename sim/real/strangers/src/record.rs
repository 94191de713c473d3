//! What one measurement came to: a line of JSON.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Record {
    pub server: String,
    pub measured: Measured,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    Load(Load),
    Idle(Idle),
    Lost(Lost),
    Disk(Disk),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Latency { p50_us: histogram.value_at_quantile(0.5), p99_us: histogram.value_at_quantile(0.99) }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Load {
    pub pairs: u64,
    pub window: u64,
    /// Messages that became acked and shown within the period.
    pub messages_a_second: f64,
    pub to_ack: Latency,
    pub to_show: Latency,
    /// A message.
    pub server_cpu_us: f64,
    pub client_cpu_us: f64,
    pub server_cores: f64,
    pub client_cores: f64,
    /// How often the disk emptied its cache, a message.
    pub flushes: f64,
    pub peak_mib: f64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Idle {
    pub connections: u64,
    pub opened_a_second: f64,
    /// A connection.
    pub open_cpu_us: f64,
    pub memory_kib: f64,
    /// All of them together, doing nothing.
    pub idle_cores: f64,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Lost {
    pub acked: u64,
    /// Acked, and the sender cannot fetch it.
    pub gone_for_sender: u64,
    /// Acked, and the receiver cannot fetch it.
    pub gone_for_receiver: u64,
    /// The receiver has seen it, and cannot fetch it.
    pub shown_and_gone: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Disk {
    pub syncs_a_second: f64,
    pub took: Latency,
}
