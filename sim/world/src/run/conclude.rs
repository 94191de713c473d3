//! The end of a run: the audit, the verdict, and the record of everything.

use super::audit;
use super::options::RunError;
use super::world::World;
use crate::hosts::group::Group;
use crate::hosts::machine::Machine;
use crate::memory::accounts::{Account, resident_bytes};
use crate::nemesis::Nemesis;
use squall_checks::{AuditDevice, Checks, Config};
use squall_generators::GatewayTotals;
use squall_protocol::Role;
use squall_reports::record::{
    CheckRecord, ClientCounts, FaultRecord, FirstViolation, HostRecord, MemoryRecord, MessageCounts,
    SometimesRecord, overall_verdict, ratio,
};
use squall_reports::{Histogram, RunRecord, Verdict};
use squall_scenarios::{FaultKind, Measure, ServiceLevel};
use std::collections::BTreeMap;

impl World<'_> {
    /// Audits the disks, lets the checks conclude, and writes the record.
    pub(crate) fn conclude(mut self) -> Result<RunRecord, RunError> {
        let totals = self.fleet.totals();
        self.with_nemesis(Nemesis::settle);
        let hosts = self.hosts();
        self.release();
        let mut checks = std::mem::replace(&mut self.observatory.checks, Checks::new(Config::default()));
        for index in 0..self.machines.len() {
            let machine = &self.machines[index];
            if let Some(disk) = &machine.probe.disk {
                audit::read_shard(disk, self.options.seed, &mut checks)
                    .map_err(|source| RunError::Audit { host: machine.name.clone(), source })?;
                self.look_at_memory();
            }
        }
        let lies = self.liars.lies();
        ["members-only", "nothing-unsent"].iter().for_each(|name| checks.expose(name, lies));
        let charged = Account::Checks.enter();
        let population = self.fleet.population();
        for client in 0..population.devices() {
            checks.audit_device(&AuditDevice {
                device: population.device(client),
                user: population.user_of_device(client),
                // Everything has been healed for the whole bound: who is not connected by now is no excuse.
                // After an early stop nothing is owed yet.
                reachable: !self.stopped,
            });
        }
        drop(charged);
        self.observatory.finish_history().map_err(|source| RunError::History {
            path: self.options.history.clone().unwrap_or_default(),
            source,
        })?;
        let mut checks: Vec<CheckRecord> = checks.finish().into_iter().map(check_record).collect();
        let faults = self.nemesis.records(self.scenario);
        let latency_ms = self.latencies();
        if !self.scenario.checks.service_levels.is_empty() && !self.stopped {
            checks.push(self.service_levels());
        }
        let mut because: Vec<String> = Vec::new();
        if self.stopped {
            because.push("the run was stopped before its end".into());
        }
        // Of a run that was stopped nothing more can be expected.
        let expected = !self.stopped;
        if expected && totals.acked == 0 {
            because.push("nothing was acked".into());
        }
        because.extend(
            faults.iter().filter(|_| expected).filter(|f| !f.has_hit()).map(|f| self.hit_nothing(&f.name)),
        );
        because.extend(
            faults
                .iter()
                .filter(|_| expected)
                .filter(|f| f.has_hit() && !f.missed.is_empty())
                .map(|f| self.missed(f)),
        );
        for check in checks.iter().filter(|c| expected && c.verdict == Verdict::Inconclusive) {
            because.push(format!(
                "check {} judged {} and was exposed to {}",
                check.name, check.evaluated, check.exposed
            ));
        }
        self.close_phase();
        // The heal takes no time of its own: it belongs to the quiet that follows.
        self.phases.retain(|phase| phase.name != "heal");
        let wall_ms = self.started.elapsed().as_millis() as u64;
        let simulated_ms = self.now / 1_000;
        let peak_rss_bytes = resident_bytes("VmHWM:");
        let clients = u64::from(self.fleet.population().devices());
        Ok(RunRecord {
            verdict: overall_verdict(&checks, &because),
            inconclusive_because: because,
            scenario: self.scenario.name.clone(),
            seed: self.options.seed,
            planted: self.options.plant.map(|bug| bug.name.to_owned()),
            interrupted: self.stopped,
            digest: format!("{:016x}", self.digest),
            simulated_ms,
            wall_ms,
            speed: ratio(simulated_ms, wall_ms),
            phases: std::mem::take(&mut self.phases),
            reproduce: self.options.reproduce.clone(),
            clients: ClientCounts {
                virtual_clients: clients,
                connected_peak: totals.online_peak,
                connects: totals.connects,
                reconnects: totals.reconnects,
            },
            messages: MessageCounts {
                sent: totals.sent,
                acked: totals.acked,
                refused: totals.refused,
                unknown: totals.sent - totals.acked - totals.refused,
                resent: totals.resent,
                delivered: totals.delivered,
                displayed: totals.displayed,
                duplicates_discarded: totals.discarded,
                synced: totals.synced,
            },
            checks,
            faults,
            hosts,
            sometimes: self.sometimes(),
            latency_ms,
            memory: MemoryRecord {
                peak_rss_bytes,
                bytes_per_client: ratio(peak_rss_bytes, clients),
                ledger: self.peak.into_ledger(),
            },
        })
    }

    /// Why a fault proves nothing.
    fn hit_nothing(&self, name: &str) -> String {
        let why = if self.waits_for_a_point(name) { ": its point was not passed while it waited" } else { "" };
        format!("fault {name} hit nothing{why}")
    }

    /// Why a fault proves less than it says.
    fn missed(&self, fault: &FaultRecord) -> String {
        let FaultRecord { name, missed, targets, .. } = fault;
        let never_begun = missed.iter().filter(|target| !targets.contains(target)).count();
        let why = if self.waits_for_a_point(name) {
            ": its point was not passed there while it waited"
        } else if never_begun == missed.len() {
            ": the load was over before their turn; give it more time, or begin earlier"
        } else {
            ""
        };
        format!("fault {name} missed {}{why}", missed.join(", "))
    }

    fn waits_for_a_point(&self, name: &str) -> bool {
        let fault = self.scenario.faults.iter().find(|fault| fault.name == name);
        fault.is_some_and(|fault| match fault.kind {
            FaultKind::Crash { point, .. } | FaultKind::PowerLoss { point, .. } => point.is_some(),
            _ => false,
        })
    }

    /// How many devices each gateway had at its peak.
    fn hosts(&self) -> BTreeMap<String, HostRecord> {
        let gateways = (0..).zip(self.fleet.gateways());
        let record = |totals: &GatewayTotals| HostRecord { connected_peak: totals.connected_peak };
        gateways.map(|(n, totals)| (Role::Gateway.host(n).to_string(), record(totals))).collect()
    }

    /// Every point with its hits: what hosts and world have passed, and what the fleet has seen.
    fn sometimes(&self) -> Vec<SometimesRecord> {
        let totals = self.fleet.totals();
        let with_fleets = |name: &str, hits: u64| match name {
            "gap_met" => totals.gaps_met,
            "gap_filled" => totals.gaps_filled,
            _ => hits,
        };
        let mailbox = self.mailbox.lock();
        let points = mailbox.sometimes();
        points
            .map(|(name, hits)| SometimesRecord { name: name.to_owned(), hits: with_fleets(name, hits) })
            .collect()
    }

    /// Gives back what the audit does not need: hosts and clients, the most of a large run's memory.
    fn release(&mut self) {
        self.machines.iter().for_each(Machine::retire);
        std::mem::take(&mut self.groups).into_iter().for_each(Group::end);
        self.fleet.release_clients();
    }

    fn histograms(&self) -> [(&'static str, &Histogram); 3] {
        [
            ("send_to_ack", &self.observatory.send_to_ack),
            ("send_to_deliver", &self.observatory.send_to_deliver),
            ("reconnect", &self.observatory.reconnect),
        ]
    }

    fn latencies(&self) -> BTreeMap<String, squall_reports::Percentiles> {
        self.histograms().iter().map(|(name, h)| ((*name).to_owned(), h.percentiles())).collect()
    }

    /// Judges the scenario's bounds on latencies, as one more check.
    fn service_levels(&self) -> CheckRecord {
        let (mut evaluated, mut violations, mut first) = (0, 0, None);
        for ServiceLevel { measure, percentile, at_most } in &self.scenario.checks.service_levels {
            let [ack, deliver, reconnect] = self.histograms();
            let (name, histogram) = match measure {
                Measure::SendToAck => ack,
                Measure::SendToDeliver => deliver,
                Measure::Reconnect => reconnect,
            };
            evaluated += histogram.count();
            let found = histogram.percentile_us(*percentile);
            if found > at_most.as_micros() {
                violations += 1;
                first.get_or_insert_with(|| FirstViolation {
                    t: self.now,
                    conversation: String::new(),
                    seq: None,
                    client_msg_id: None,
                    device: None,
                    message: format!(
                        "{} p{percentile} is {:.1} ms, over the scenario's {at_most}",
                        name.replace('_', "-"),
                        found as f64 / 1_000.0
                    ),
                });
            }
        }
        let verdict = match (violations, evaluated) {
            (0, 0) => Verdict::Inconclusive,
            (0, _) => Verdict::Pass,
            _ => Verdict::Violated,
        };
        CheckRecord { name: "service-levels".into(), verdict, evaluated, exposed: evaluated, violations, first }
    }
}

fn check_record(report: squall_checks::CheckReport) -> CheckRecord {
    CheckRecord {
        name: report.name.to_owned(),
        verdict: match report.verdict {
            squall_checks::Verdict::Pass => Verdict::Pass,
            squall_checks::Verdict::Violated => Verdict::Violated,
            squall_checks::Verdict::Inconclusive => Verdict::Inconclusive,
        },
        evaluated: report.evaluated,
        exposed: report.exposed,
        violations: report.violations,
        first: report.first.map(|v| FirstViolation {
            t: v.t,
            conversation: v.conversation.to_string(),
            seq: v.seq.map(|seq| seq.0),
            client_msg_id: v.client_msg_id.map(|id| id.to_string()),
            device: v.device.map(|device| device.to_string()),
            message: v.message,
        }),
    }
}
