//! Connections of receivers to whom nobody writes: what each costs to open, to have, and to keep.

use crate::meter::Meter;
use crate::record::Idle;
use crate::servers::Server;
use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const AT_ONCE: usize = 16;
/// What a server does after a connection is opened is over by then.
const SETTLE: Duration = Duration::from_secs(2);

pub async fn run<S: Server>(
    server: &Arc<S>,
    meter: &Meter,
    first_pair: u64,
    connections: u64,
    hold: Duration,
) -> Result<Idle> {
    // The first one is for what a server sets up once.
    let _first = server.receiver(first_pair).await?;
    sleep(SETTLE).await;
    let (memory, before, began) = (Meter::memory_bytes(&meter.pids()?), meter.read()?, Instant::now());
    let opening = stream::iter(first_pair + 1..=first_pair + connections).map(|pair| server.receiver(pair));
    let held: Vec<S::Receiving> = opening.buffer_unordered(AT_ONCE).try_collect().await?;
    let took = began.elapsed();
    sleep(SETTLE).await;
    let (opened, with_all) = (meter.read()?, Meter::memory_bytes(&meter.pids()?));
    sleep(hold).await;
    let kept = meter.read()?;
    drop(held);
    let each = |total: f64| total / connections as f64;
    Ok(Idle {
        connections,
        opened_a_second: connections as f64 / took.as_secs_f64(),
        open_cpu_us: each(1e6 * (opened.server_cpu_s - before.server_cpu_s)),
        memory_kib: each((with_all as f64 - memory as f64) / 1024.0),
        idle_cores: (kept.server_cpu_s - opened.server_cpu_s) / hold.as_secs_f64(),
    })
}
