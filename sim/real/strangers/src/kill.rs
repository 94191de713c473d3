//! Durability by experiment: every process of the server is killed in mid-load; after its restart what was acked is looked for.
//!
//! What the kernel has is not lost by this, so it tells whether a server acks what only its own memory holds. It does not tell what a loss of power
//! takes: for that see the flushes a message in `load`.

use crate::drive::{Period, Progress, drive};
use crate::load::connect;
use crate::meter::Meter;
use crate::record::Lost;
use crate::servers::{End, Server};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// What sockets still hold of a killed server's answers is read by then.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How far a pair was when the server was killed.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pair: u64,
    acked: u64,
    shown: u64,
}

/// Loads the server and kills it.
pub async fn load_and_kill<S: Server>(
    server: &Arc<S>,
    meter: &Meter,
    first_pair: u64,
    (pairs, window): (u64, u64),
    after: Duration,
) -> Result<Vec<Told>> {
    let connected = connect(&**server, first_pair, pairs).await?;
    let now = Instant::now();
    let period = Period { from: now, until: now + after + LAST_WORDS };
    let mut tasks = Vec::new();
    for (pair, mut ends) in (first_pair..).zip(connected) {
        tasks.push(tokio::spawn(async move {
            let mut progress = Progress::new(period);
            // It ends with an error or not at all, which is no news: the server is gone.
            let _ = timeout_at(period.until, drive(&mut ends, window, &mut progress)).await;
            Told { pair, acked: progress.acked, shown: progress.shown }
        }));
    }
    sleep(after).await;
    let pids = meter.pids()?;
    // One that has ended by itself meanwhile makes this fail, and one that lived on would hold the port when the server is started again.
    let _ = Command::new("kill").arg("-KILL").args(pids.iter().map(u32::to_string)).status()?;
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.context("a pair's task panicked")?);
    }
    Ok(all)
}

/// Looks for what was acked, and for what was shown, in what the restarted server has.
pub async fn audit<S: Server>(server: &Arc<S>, told: &[Told]) -> Result<Lost> {
    let mut lost = Lost::default();
    for Told { pair, acked, shown } in told {
        let for_sender = server.stored(*pair, End::Sender).await?;
        let for_receiver = server.stored(*pair, End::Receiver).await?;
        for stored in [&for_sender, &for_receiver] {
            ensure!(stored.is_sorted_by(|a, b| a < b), "what is stored of pair {pair} is out of order or doubled");
        }
        let gone =
            |from: &[u64], up_to: u64| (1..=up_to).filter(|n| from.binary_search(n).is_err()).count() as u64;
        lost.acked += acked;
        lost.gone_for_sender += gone(&for_sender, *acked);
        lost.gone_for_receiver += gone(&for_receiver, *acked);
        lost.shown_and_gone += gone(&for_receiver, *shown);
    }
    ensure!(lost.acked > 0, "nothing was acked before the server was killed");
    Ok(lost)
}
