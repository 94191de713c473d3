//! Several generators that shared a run: their events, put into one order, are judged together.
//!
//! Each has told what it saw by its own clock. Where the clocks differ by more than is known of them, the later ones are moved; what
//! remains unknown is taken off the times of sends, so that nothing is shown before it was sent.

use crate::conclude::{ONE_OF_SEVERAL, judged};
use crate::judge::Judge;
use crate::options::LoadOptions;
use crate::target::Target;
use squall_generators::{Backend, Insiders, Part, Population, RunId, Who};
use squall_history::{Event, Kind};
use squall_outcome::{Judged, reasons};
use squall_protocol::token::Issuer;
use squall_reports::record::{LoadRecord, ShardRecord, overall_verdict};
use squall_reports::{RunRecord, store};
use squall_scenarios::{FaultKind, Scenario};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is not known of two clocks at least, in ms: how exactly a process begins at a time.
const LEAST_ERROR_MS: f64 = 2.0;

/// A shard as it was found.
pub struct Shard {
    pub dir: PathBuf,
    pub record: RunRecord,
}

/// Why shards cannot be judged together.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    #[error("{}: {what}", dir.display())]
    Unfit { dir: PathBuf, what: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}:{line}: this is no event: {what}", path.display())]
    NoEvent { path: PathBuf, line: usize, what: String },
}

fn part_of(record: &RunRecord) -> Option<(&LoadRecord, ShardRecord)> {
    record.load.as_ref().and_then(|load| Some((load, load.shard?)))
}

/// Whether a record is one shard of several.
pub fn is_shard(record: &RunRecord) -> bool {
    part_of(record).is_some()
}

/// A shard's events, with what is to be added to their times.
struct Told {
    path: PathBuf,
    hosts: Vec<String>,
    lines: std::io::Lines<BufReader<File>>,
    number: usize,
    moved_us: i64,
    /// The next one, and its place in the common order.
    next: Option<(i64, Event)>,
}

impl Told {
    fn step(&mut self, lead_us: i64) -> Result<Option<Event>, ShardError> {
        let taken = self.next.take().map(|(_, event)| event);
        if let Some(line) = self.lines.next() {
            self.number += 1;
            let line = line.map_err(|source| ShardError::Io { path: self.path.clone(), source })?;
            let mut event = Event::from_json(&line, &self.hosts).map_err(|error| ShardError::NoEvent {
                path: self.path.clone(),
                line: self.number,
                what: error.to_string(),
            })?;
            event.t = event.t.saturating_add_signed(self.moved_us);
            let lead = if matches!(event.kind, Kind::Send { .. }) { lead_us } else { 0 };
            self.next = Some((event.t as i64 - lead, event));
        }
        Ok(taken)
    }
}

/// Judges all shards of a run together. `merged` is what their records come to otherwise.
///
/// # Errors
/// A shard is missing or of another run, or its events cannot be read.
pub fn judge_together(shards: &[Shard], scenario: &Scenario, merged: RunRecord) -> Result<RunRecord, ShardError> {
    let unfit = |shard: &Shard, what: String| ShardError::Unfit { dir: shard.dir.clone(), what };
    let Some(first) = shards.first() else { return Ok(merged) };
    let mut numbers = BTreeSet::new();
    let mut parts = Vec::new();
    for shard in shards {
        let (load, part) =
            part_of(&shard.record).ok_or_else(|| unfit(shard, "this is no shard of a run".into()))?;
        let (of_first, part_of_first) =
            part_of(&first.record).ok_or_else(|| unfit(first, "this is no shard".into()))?;
        if load.run_id != of_first.run_id || part.of != part_of_first.of || shard.record.seed != first.record.seed
        {
            return Err(unfit(
                shard,
                format!("this is of run {}, and {} of run {}", load.run_id, first.dir.display(), of_first.run_id),
            ));
        }
        if !numbers.insert(part.number) {
            return Err(unfit(shard, format!("shard {} of {} stands here twice", part.number, part.of)));
        }
        parts.push(part);
    }
    let of = parts[0].of;
    if let Some(missing) = (1..=of).find(|number| !numbers.contains(number)) {
        return Err(unfit(first, format!("shard {missing} of {of} is missing; name its folder, too")));
    }
    let (moved, error_ms) = align(&parts);
    let (mut judge, who) =
        judge_of(first, scenario).map_err(|source| ShardError::Io { path: first.dir.clone(), source })?;
    let lead_us = (error_ms * 1_000.0) as i64;
    let mut told = Vec::new();
    for (shard, moved_us) in shards.iter().zip(moved) {
        let path = shard.dir.join(store::HISTORY_FILE);
        let file = File::open(&path).map_err(|source| ShardError::Io { path: path.clone(), source })?;
        let hosts = std::iter::once("server".to_owned());
        let urls = shard.record.load.iter().flat_map(|load| load.urls.clone());
        let lines = BufReader::with_capacity(1 << 20, file).lines();
        let mut one = Told { path, hosts: hosts.chain(urls).collect(), lines, number: 0, moved_us, next: None };
        one.step(lead_us)?;
        told.push(one);
    }
    while let Some(earliest) =
        told.iter_mut().filter(|one| one.next.is_some()).min_by_key(|one| one.next.as_ref().map(|(at, _)| *at))
    {
        if let Some(event) = earliest.step(lead_us)? {
            judge.event(&event);
        }
    }
    Ok(conclude(judge, &who, scenario, merged, shards, error_ms))
}

/// By how many µs each shard's times are moved, and how far they may still be apart, in ms.
fn align(parts: &[ShardRecord]) -> (Vec<i64>, f64) {
    let server = |part: &ShardRecord| part.began_at_ms + part.clock_ahead_ms;
    let mut error_ms = LEAST_ERROR_MS;
    let moved = parts.iter().map(|part| {
        let by_stamps = server(part) - server(&parts[0]);
        let error = part.clock_error_ms + parts[0].clock_error_ms;
        let by_clocks = part.began_at_ms - parts[0].began_at_ms;
        // As long as the stamps do not contradict them, the machines' own clocks are believed: they are finer.
        let ms = if (by_stamps - by_clocks).abs() <= error {
            by_clocks
        } else {
            error_ms = error_ms.max(error);
            by_stamps
        };
        (ms * 1_000.0) as i64
    });
    (moved.collect(), error_ms)
}

fn judge_of(first: &Shard, scenario: &Scenario) -> io::Result<(Judge, Who)> {
    let (seed, load) = (first.record.seed, first.record.load.as_ref());
    let run = load.and_then(|load| u64::from_str_radix(&load.run_id, 16).ok()).unwrap_or(0);
    let target = |url: &String| Target {
        url: url.clone(),
        is_secure: false,
        authority: String::new(),
        host: String::new(),
        path: String::new(),
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let who = Who {
        run: RunId(run),
        ..Who::everybody(seed, Arc::new(Backend::new(Issuer::of_secret(""), 0, Duration::from_secs(60))))
    };
    let options = LoadOptions {
        seed,
        run: RunId(run),
        part: Part::WHOLE,
        targets: load.iter().flat_map(|load| load.urls.iter().map(target)).collect(),
        tokens: Arc::clone(&who.tokens),
        tls: None,
        with_profiles: load.is_some_and(|load| load.profiles),
        threads: 1,
        connections: 0,
        late_at_most: Duration::MAX,
        servers: Vec::new(),
        begins_at_ms: None,
        history: None,
        reproduce: String::new(),
        on_progress: None,
        left_out: Vec::new(),
        stop: Arc::default(),
    };
    let judge = Judge::new(scenario, &options).map_err(io::Error::other)?;
    Ok((judge, who))
}

fn conclude(
    mut judge: Judge,
    who: &Who,
    scenario: &Scenario,
    merged: RunRecord,
    shards: &[Shard],
    error_ms: f64,
) -> RunRecord {
    let population = Population::new(&scenario.population, who.seed).of_run(who.run);
    let insiders: Insiders<()> = Insiders::new(scenario, who);
    let stopped = merged.interrupted;
    let devices = (0..population.devices()).map(|device| {
        let reachable = !stopped && !insiders.are(population.owner(device));
        (population.device(device), population.user_of_device(device), reachable)
    });
    let attacks = scenario
        .faults
        .iter()
        .filter(|fault| matches!(fault.kind, FaultKind::Liars { .. } | FaultKind::Insiders { .. }));
    let attacks: BTreeSet<&str> = attacks.map(|fault| fault.name.as_str()).collect();
    let lies = merged
        .faults
        .iter()
        .filter(|fault| attacks.contains(fault.name.as_str()))
        .flat_map(|fault| fault.affected.values())
        .sum();
    let mut checks = judged(&mut judge, devices, lies);
    checks.extend(merged.checks.iter().filter(|check| check.name == "service-levels").cloned());
    let totals = squall_generators::FleetTotals {
        sent: merged.messages.sent,
        acked: merged.messages.acked,
        refused: merged.messages.refused,
        ..Default::default()
    };
    let mut because = reasons(&Judged {
        scenario,
        stopped,
        totals,
        faults: &merged.faults,
        checks: &checks,
        service_levels: &merged.service_levels,
    });
    let own = |reason: &&String| {
        reason.starts_with("the generator") || reason.contains("connections could not be begun")
    };
    because.extend(shards.iter().flat_map(|shard| shard.record.inconclusive_because.iter().filter(own).cloned()));
    debug_assert!(!because.iter().any(|reason| reason == ONE_OF_SEVERAL));
    let longest = |of: fn(&RunRecord) -> u64| shards.iter().map(|shard| of(&shard.record)).max().unwrap_or(0);
    let loads: Vec<&LoadRecord> = shards.iter().filter_map(|shard| shard.record.load.as_ref()).collect();
    let sum = |of: fn(&LoadRecord) -> u64| loads.iter().map(|load| of(load)).sum::<u64>();
    let most = |of: fn(&LoadRecord) -> f64| loads.iter().map(|load| of(load)).fold(0.0, f64::max);
    let lost = judge.read.lost;
    if lost > 0 {
        because.push(format!("{lost} entries that fresh devices read found no room until they were shown: whether they are durable is unknown"));
    }
    let load = loads.first().map(|first| LoadRecord {
        threads: sum(|load| load.threads),
        cpu_ms: sum(|load| load.cpu_ms),
        frames: sum(|load| load.frames),
        row_bytes_per_client: most(|load| load.row_bytes_per_client),
        acks_per_s: loads.iter().map(|load| load.acks_per_s).sum(),
        judge_cpu_ms: sum(|load| load.judge_cpu_ms),
        cpu_us_per_frame: most(|load| load.cpu_us_per_frame),
        late_p50_ms: most(|load| load.late_p50_ms),
        late_p99_ms: most(|load| load.late_p99_ms),
        late_max_ms: most(|load| load.late_max_ms),
        audited_entries: judge.read.log.len() as u64,
        unread_users: sum(|load| load.unread_users),
        wire_bytes: sum(|load| load.wire_bytes),
        clock_error_ms: error_ms,
        shard: None,
        ..(*first).clone()
    });
    RunRecord {
        verdict: overall_verdict(&checks, &because),
        inconclusive_because: because,
        checks,
        clients: squall_reports::record::ClientCounts {
            connected_peak: shards.iter().map(|shard| shard.record.clients.connected_peak).sum(),
            ..merged.clients
        },
        simulated_ms: longest(|record| record.simulated_ms),
        wall_ms: longest(|record| record.wall_ms),
        speed: 1.0,
        load,
        ..merged
    }
}

/// The scenario that a shard's folder holds.
pub fn scenario_of(dir: &Path) -> PathBuf {
    dir.join(store::SCENARIO_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64, began_at_ms: f64, clock_ahead_ms: f64, clock_error_ms: f64) -> ShardRecord {
        ShardRecord { number, of: 2, began_at_ms, clock_ahead_ms, clock_error_ms }
    }

    #[test]
    fn clocks_that_agree_are_believed_and_one_that_is_off_is_moved() {
        let (moved, error) = align(&[part(1, 1_000.0, 0.4, 3.0), part(2, 1_000.5, -1.0, 3.0)]);
        assert_eq!((moved, error), (vec![0, 500], LEAST_ERROR_MS));
        // Its clock is five seconds behind: it says that it began five seconds earlier than it did.
        let (moved, error) = align(&[part(1, 9_000.0, 0.0, 2.0), part(2, 4_000.0, 5_000.0, 3.0)]);
        assert_eq!((moved, error), (vec![0, 0], 5.0));
    }
}
