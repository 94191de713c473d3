//! The end of a run: the audit that was read over the wire, the verdict, and the record.

use crate::honesty::bottleneck;
use crate::judge::{Judge, is_stopped};
use crate::options::{LoadError, LoadOptions, Plan};
use crate::station::End;
use squall_checks::{AuditDevice, AuditEntry, Checks, Config};
use squall_core::Time;
use squall_outcome::{Judged, check_record, message_counts, reasons, service_level_check, service_levels};
use squall_protocol::{DeviceId, Role, UserId};
use squall_reports::RunRecord;
use squall_reports::record::{
    CheckRecord, ClientCounts, FORMAT, FaultRecord, HostRecord, LoadRecord, MemoryRecord, NotJudged, PhaseRecord,
    ServerRecord, ShardRecord, SometimesRecord, overall_verdict, ratio,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks that need a look into the server, and what they lack here.
const NOT_JUDGED: &[(&str, &str)] = &[
    ("cursor-behind-acks", "cursors are read from the server's disk"),
    ("cursor-never-back", "cursors are read from the server's disk"),
    ("cursor-follows-acks", "cursors are read from the server's disk"),
    ("current-routes", "publications are known to the server alone"),
    ("tables-agree", "tables are read from the server's disk"),
    ("bounded-and-back", "how full queues are is known to the server alone"),
    ("drains-gently", "when a gateway was asked to end is not known here"),
    ("tokens-hold", "how far the clocks of gateways are off is not known here"),
    ("limits-hold", "what a user may do is the server's own setting"),
];

/// Cursors that nobody is told of are on the server's disk alone.
const NOBODY_READS: (&str, &str) = ("receipts-hold", "nobody reads, and so nobody is told of it");

/// Why a shard alone proves nothing.
pub const ONE_OF_SEVERAL: &str = "this is one shard of several: squall merge judges them together";

pub fn conclude(
    mut judge: Judge,
    ends: Vec<End>,
    plan: &Plan,
    options: LoadOptions,
    now: Time,
) -> Result<RunRecord, LoadError> {
    let scenario = &plan.scenario;
    let stopped = is_stopped(&options);
    let totals = judge.totals;
    let lies: u64 = ends.iter().map(|end| end.lies).sum();
    let devices = ends.iter().flat_map(|end| &end.devices);
    let devices = devices.map(|(device, user, reachable)| (*device, *user, *reachable && !stopped));
    let mut checks = match options.part.of {
        1 => judged(&mut judge, devices, lies),
        // What others have sent is not known here.
        _ => Vec::new(),
    };
    let faults = together(&ends);
    let service_levels = match stopped {
        true => Vec::new(),
        false => service_levels(&scenario.checks.service_levels, &judge.latencies),
    };
    if !service_levels.is_empty() {
        checks.push(service_level_check(&service_levels, now.0));
    }
    let mut because = reasons(&Judged {
        scenario,
        stopped,
        totals,
        faults: &faults,
        checks: &checks,
        service_levels: &service_levels,
    });
    let loaded = in_the_load(&ends);
    let load_s = scenario.phases.load.as_duration().as_secs_f64().max(0.001);
    let busiest = loaded.busiest.as_secs_f64() / load_s;
    let unread: u64 = ends.iter().map(|end| end.unread).sum();
    let failed_opens: u64 = ends.iter().map(|end| end.failed_opens).sum();
    if !stopped {
        because.extend(bottleneck(&judge.late, options.late_at_most, busiest));
        if failed_opens > 0 {
            because.push(format!(
                "{failed_opens} connections could not be begun for want of files or ports: raise ulimit -n, or spread the people over more generators (--shard)"
            ));
        }
        because.extend(
            ends.iter()
                .filter_map(|end| end.error.as_ref())
                .map(|error| format!("a thread of the generator has ended: {error}")),
        );
        if unread > 0 {
            because.push(format!(
                "the fresh and the other devices of {unread} users had not shown the same when the time for it was over: what was acked and not read is unknown"
            ));
        }
        if judge.read.lost > 0 {
            because.push(format!(
                "{} entries that fresh devices read found no room until they were shown: whether they are durable is unknown",
                judge.read.lost
            ));
        }
        if options.part.of > 1 {
            because.push(ONE_OF_SEVERAL.into());
        }
    }
    let verdict = overall_verdict(&checks, &because);
    let history = judge.finish_history();
    let history_path = options.history.clone().unwrap_or_default();
    let last = |end: &End| end.phases.last().map_or(Duration::ZERO, |last| last.cpu);
    let cpu = judge.cpu + ends.iter().map(last).sum::<Duration>();
    let record = RunRecord {
        verdict,
        inconclusive_because: because,
        scenario: scenario.name.clone(),
        seed: options.seed,
        salt: 0,
        planted: None,
        interrupted: stopped,
        digest: format!("none: run {:016x}", options.run.0),
        simulated_ms: now.0 / 1_000,
        wall_ms: now.0 / 1_000,
        speed: 1.0,
        phases: phases(&judge, now),
        reproduce: options.reproduce.clone(),
        clients: ClientCounts {
            virtual_clients: ends.iter().map(|end| end.devices.len() as u64).sum(),
            connected_peak: totals.online_peak,
            connects: totals.connects,
            reconnects: totals.reconnects,
        },
        messages: message_counts(&totals),
        checks,
        autopsies: Vec::new(),
        service_levels,
        faults,
        hosts: gateways(&ends),
        work: BTreeMap::new(),
        sometimes: corners(&ends),
        pairs: Vec::new(),
        latency_ms: judge.latencies.percentiles(),
        latency_hdr: judge.latencies.histograms(),
        series: Some(judge.latencies.take_series()).filter(|series| series.points() > 0),
        memory: own_memory(totals.online_peak),
        format: FORMAT,
        about: None,
        merged: Vec::new(),
        load: Some(LoadRecord {
            run_id: format!("{:016x}", options.run.0),
            urls: options.targets.iter().map(|target| target.url.clone()).collect(),
            threads: u64::from(options.threads.max(1)),
            profiles: options.with_profiles,
            left_out: options.left_out.clone(),
            cpu_ms: cpu.as_millis() as u64,
            frames: totals.frames,
            cpu_us_per_frame: ratio(loaded.cpu.as_micros() as u64, loaded.frames),
            acks_per_s: loaded.acked as f64 / load_s,
            row_bytes_per_client: ratio(row_bytes(&ends), totals.online_peak),
            judge_cpu_ms: judge.cpu.as_millis() as u64,
            late_p50_ms: judge.late.percentile_us(50.0) as f64 / 1_000.0,
            late_p99_ms: judge.late.percentile_us(99.0) as f64 / 1_000.0,
            late_max_ms: judge.late.percentile_us(100.0) as f64 / 1_000.0,
            clock_error_ms: 0.0,
            audited_entries: judge.read.log.len() as u64,
            unread_users: unread,
            wire_bytes: ends.iter().map(|end| end.wire_bytes).sum(),
            shard: (options.part.of > 1).then(|| {
                let (clock_ahead_ms, clock_error_ms) = judge.clock.unwrap_or((0.0, 1e12));
                ShardRecord {
                    number: u64::from(options.part.number) + 1,
                    of: u64::from(options.part.of),
                    began_at_ms: judge.began_at_ms,
                    clock_ahead_ms,
                    clock_error_ms,
                }
            }),
            server: (!options.servers.is_empty()).then_some(ServerRecord {
                cpu_ms: judge.server.cpu_us / 1_000,
                peak_rss_bytes: judge.server_peak_rss,
            }),
        }),
        not_judged: NOT_JUDGED
            .iter()
            .chain((!judge.people_read).then_some(&NOBODY_READS))
            .map(|(name, why)| NotJudged { name: (*name).to_owned(), because: (*why).to_owned() })
            .collect(),
    };
    match history {
        Ok(()) => Ok(record),
        Err(source) => Err(LoadError::History { path: history_path, source, ended: Some(Box::new(record)) }),
    }
}

/// What the checks say in the end: of what fresh devices have read, and of every device with whether everything is owed to it.
pub fn judged(
    judge: &mut Judge,
    devices: impl Iterator<Item = (DeviceId, UserId, bool)>,
    lies: u64,
) -> Vec<CheckRecord> {
    let mut checks = std::mem::replace(&mut judge.checks, Checks::new(Config::default()));
    for ((conversation, seq), read) in &judge.read.log {
        let founded = judge.founded.get(&read.arrived.client_msg_id);
        checks.audit_entry(&AuditEntry {
            conversation: *conversation,
            seq: *seq,
            sender: read.sender,
            device: read.arrived.author,
            client_msg_id: read.arrived.client_msg_id,
            client_seq: read.arrived.client_seq,
            stored_at_ms: read.arrived.stored_at_ms,
            body_hash: read.body_hash,
            what: read.what,
            members: founded.map_or(&[], |members| members.as_slice()),
        });
    }
    ["members-only", "nothing-unsent"].iter().for_each(|name| checks.expose(name, lies));
    for (device, user, reachable) in devices {
        checks.audit_device(&AuditDevice { device, user, reachable });
    }
    let is_judged = |name: &str| {
        NOT_JUDGED.iter().all(|(other, _)| *other != name) && (judge.people_read || name != NOBODY_READS.0)
    };
    checks.finish().into_iter().filter(|report| is_judged(report.name)).map(check_record).collect()
}

/// What stations did in the load: connecting and the audit are no part of it, and neither is judging.
#[derive(Default)]
struct Loaded {
    /// CPU time of their threads, and of the busiest.
    cpu: Duration,
    busiest: Duration,
    frames: u64,
    acked: u64,
}

fn in_the_load(ends: &[End]) -> Loaded {
    let mut all = Loaded::default();
    for end in ends {
        let load = end.phases.iter().position(|began| began.phase == "load");
        let edges = load.and_then(|load| Some((end.phases.get(load)?, end.phases.get(load + 1)?)));
        if let Some((from, to)) = edges {
            let cpu = to.cpu.saturating_sub(from.cpu);
            all.cpu += cpu;
            all.busiest = all.busiest.max(cpu);
            all.frames += to.totals.frames - from.totals.frames;
            all.acked += to.totals.acked - from.totals.acked;
        }
    }
    all
}

/// Bytes of the rows of all people, their conversations, timers and sockets when the load was over.
fn row_bytes(ends: &[End]) -> u64 {
    ends.iter()
        .flat_map(|end| end.phases.iter().find(|began| began.phase == "quiet"))
        .map(|began| began.bytes)
        .sum()
}

/// What each part of the run took.
fn phases(judge: &Judge, end: Time) -> Vec<PhaseRecord> {
    let ends = judge.phases.iter().skip(1).map(|(_, began, frames)| (*began, *frames));
    let ends = ends.chain([(end, judge.totals.frames)]);
    let phase = |((name, began, before), (ended, frames)): (&(&'static str, Time, u64), (Time, u64))| {
        let ms = ended.since(*began).as_millis() as u64;
        PhaseRecord { name: (*name).to_owned(), simulated_ms: ms, wall_ms: ms, frames: frames - before }
    };
    judge.phases.iter().zip(ends).map(phase).collect()
}

/// What all stations did of each fault.
fn together(ends: &[End]) -> Vec<FaultRecord> {
    let mut all: Vec<FaultRecord> = Vec::new();
    for end in ends {
        for (place, fault) in end.faults.iter().enumerate() {
            let Some(so_far) = all.get_mut(place) else {
                all.push(fault.clone());
                continue;
            };
            so_far.until_ms = so_far.until_ms.max(fault.until_ms);
            so_far.all_back_ms = so_far.all_back_ms.max(fault.all_back_ms);
            for (what, hits) in &fault.affected {
                *so_far.affected.entry(what.clone()).or_default() += hits;
            }
            for (gateway, devices) in &fault.connected_after {
                *so_far.connected_after.entry(gateway.clone()).or_default() += devices;
            }
        }
    }
    for fault in all.iter_mut().filter(|fault| fault.kind == "insiders") {
        fault.never =
            fault.affected.iter().filter(|(_, hits)| **hits == 0).map(|(what, _)| what.clone()).collect();
    }
    all
}

fn gateways(ends: &[End]) -> BTreeMap<String, HostRecord> {
    let mut all: BTreeMap<String, HostRecord> = BTreeMap::new();
    for (number, peak) in ends.iter().flat_map(|end| (0..).zip(&end.gateways)) {
        all.entry(Role::Gateway.host(number).to_string()).or_default().connected_peak += peak;
    }
    all
}

fn corners(ends: &[End]) -> Vec<SometimesRecord> {
    let mut all: Vec<SometimesRecord> = Vec::new();
    for (name, hits) in ends.iter().flat_map(|end| &end.corners) {
        match all.iter_mut().find(|corner| corner.name == *name) {
            Some(corner) => corner.hits += hits,
            None => all.push(SometimesRecord { name: (*name).to_owned(), hits: *hits }),
        }
    }
    all
}

/// What the generator's own process took at most.
fn own_memory(clients: u64) -> MemoryRecord {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let peak_rss_bytes = peak.unwrap_or(0) * 1_024;
    MemoryRecord { peak_rss_bytes, bytes_per_client: ratio(peak_rss_bytes, clients), ledger: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_reports::Verdict;

    #[test]
    fn every_check_that_is_not_judged_is_one() {
        let names: Vec<&str> = squall_checks::names().collect();
        assert!(NOT_JUDGED.iter().all(|(name, why)| names.contains(name) && !why.is_empty()));
        assert_eq!(names.len() - NOT_JUDGED.len(), 16);
        assert_eq!(overall_verdict(&[], &["one shard".into()]), Verdict::Inconclusive);
    }
}
