//! Pairs at work for a while: messages a second, latencies, cost.

use crate::drive::{Period, Progress, drive, histogram};
use crate::meter::Meter;
use crate::record::{Latency, Load};
use crate::servers::Server;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Everything connects before the first message, and messages flow this long before they count.
const WARM_UP: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Connects these pairs.
pub async fn connect<S: Server>(
    server: &S,
    first_pair: u64,
    pairs: u64,
) -> Result<Vec<(S::Sending, S::Receiving)>> {
    let mut connected = Vec::new();
    for pair in first_pair..first_pair + pairs {
        let receiver = server.receiver(pair).await?;
        connected.push((server.sender(pair).await?, receiver));
    }
    Ok(connected)
}

pub async fn run<S: Server>(
    server: &Arc<S>,
    meter: &Meter,
    first_pair: u64,
    (pairs, window): (u64, u64),
    hold: Duration,
) -> Result<Load> {
    let connected = connect(&**server, first_pair, pairs).await?;
    let from = Instant::now() + WARM_UP;
    let period = Period { from, until: from + hold };
    let mut tasks = JoinSet::new();
    for mut pair in connected {
        tasks.spawn(async move {
            let mut progress = Progress::new(period);
            drive(&mut pair, window, &mut progress).await.map(|()| progress)
        });
    }
    sleep_until(period.from).await;
    let (before, pids) = (meter.read()?, meter.pids()?);
    let mut peak_bytes = 0;
    while Instant::now() < period.until {
        peak_bytes = peak_bytes.max(Meter::memory_bytes(&pids));
        sleep(SAMPLE_EVERY.min(period.until - Instant::now())).await;
    }
    let after = meter.read()?;

    let (mut messages, mut to_ack_us, mut to_show_us) = (0, histogram(), histogram());
    while let Some(done) = tasks.join_next().await {
        let progress = done.context("a pair's task panicked")??;
        messages += progress.counted;
        to_ack_us.add(progress.to_ack_us)?;
        to_show_us.add(progress.to_show_us)?;
    }
    let a_message = |total: f64| total / messages.max(1) as f64;
    let seconds = hold.as_secs_f64();
    Ok(Load {
        pairs,
        window,
        messages_a_second: messages as f64 / seconds,
        to_ack: Latency::of(&to_ack_us),
        to_show: Latency::of(&to_show_us),
        server_cpu_us: a_message(1e6 * (after.server_cpu_s - before.server_cpu_s)),
        client_cpu_us: a_message(1e6 * (after.client_cpu_s - before.client_cpu_s)),
        server_cores: (after.server_cpu_s - before.server_cpu_s) / seconds,
        client_cores: (after.client_cpu_s - before.client_cpu_s) / seconds,
        flushes: a_message((after.disk_flushes - before.disk_flushes) as f64),
        peak_mib: peak_bytes as f64 / f64::from(1 << 20),
    })
}
