//! The end of a run: the audit, the verdict, and the record of everything.

use super::audit;
use super::options::RunError;
use super::world::World;
use crate::hosts::group::Group;
use crate::hosts::machine::Machine;
use crate::memory::accounts::{Account, resident_bytes};
use crate::nemesis::Nemesis;
use squall_checks::{AuditDevice, AuditLevel, Checks, Config};
use squall_generators::GatewayTotals;
use squall_history::{Entity, Event, Hop, Kind};
use squall_outcome::{Judged, check_record, message_counts, reasons, service_level_check, service_levels};
use squall_protocol::Role;
use squall_reports::RunRecord;
use squall_reports::record::{
    CheckRecord, ClientCounts, FORMAT, HostRecord, MemoryRecord, SometimesRecord, WorkRecord, overall_verdict,
    ratio,
};
use squall_server::inspect::Inspected;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

impl World<'_> {
    /// What shards that run have in memory, beside what their disks say. Those that are not settled say nothing.
    fn look_into_memories(&self) -> Vec<(String, Inspected)> {
        let runs = |machine: &&Machine| machine.probe.alive.load(Ordering::Relaxed);
        let look = |machine: &Machine| {
            let mut inspected = machine.probe.inspect.ask();
            inspected.differ.sort_by_key(|differs| differs.conversation);
            (machine.name.clone(), inspected)
        };
        self.machines.iter().filter(runs).map(look).collect()
    }

    /// Audits the disks, lets the checks conclude, and writes the record.
    pub(crate) fn conclude(mut self) -> Result<RunRecord, RunError> {
        let totals = self.fleet.totals();
        self.with_nemesis(Nemesis::settle);
        let (hosts, work) = (self.hosts(), self.work());
        let memories = self.look_into_memories();
        self.release();
        let mut checks = std::mem::replace(&mut self.observatory.checks, Checks::new(Config::default()));
        for index in 0..self.machines.len() {
            let machine = &self.machines[index];
            if let Some(disk) = &machine.probe.disk {
                let (observatory, t) = (&mut self.observatory, self.now);
                let mut tell =
                    |hop| observatory.record(&Event { t, at: Entity::Host(index as u16), kind: Kind::Hop(hop) });
                let logged = self.options.follow.then_some(&mut tell as &mut dyn FnMut(Hop));
                audit::read_shard(disk, self.options.seed, &mut checks, logged)
                    .map_err(|source| RunError::Audit { host: machine.name.clone(), source })?;
                self.look_at_memory();
            }
        }
        for (host, Inspected { compared, differ }) in &memories {
            checks.audit_memory(
                host,
                *compared,
                differ.iter().map(|differs| (differs.conversation, differs.what)),
            );
        }
        // After an early stop nothing need have returned yet.
        for (host, level, filled) in self.mailbox.lock().levels().filter(|_| !self.stopped) {
            checks.audit_level(AuditLevel {
                host: self.machines[usize::from(host)].name.clone(),
                what: level.name(),
                limit: level.limit().map(|limit| limit as u64),
                returns: level.returns(),
                before: filled.before,
                highest: filled.highest,
                end: filled.end(level.passes()),
            });
        }
        let lies = self.liars.lies() + self.insiders.hits().map(|(_, hits)| hits).sum::<u64>();
        ["members-only", "nothing-unsent"].iter().for_each(|name| checks.expose(name, lies));
        checks.expose("tokens-hold", self.liars.lies());
        let charged = Account::Checks.enter();
        let population = self.fleet.population();
        for client in 0..population.devices() {
            checks.audit_device(&AuditDevice {
                device: self.fleet.device(client),
                user: population.user_of_device(client),
                // Everything has been healed for the whole bound: who is not connected by now is no excuse.
                // After an early stop nothing is owed yet.
                // What befalls an insider's own devices is the insider's own doing.
                reachable: !self.stopped && !self.insiders.are(population.owner(client)),
            });
        }
        drop(charged);
        let history = self.observatory.finish_history();
        let history_path = self.options.history.clone().unwrap_or_default();
        let mut checks: Vec<CheckRecord> = checks.finish().into_iter().map(check_record).collect();
        let faults = self.nemesis.records(self.scenario);
        // Of a run that was stopped nothing is judged.
        let service_levels = match self.stopped {
            true => Vec::new(),
            false => service_levels(&self.scenario.checks.service_levels, &self.observatory.latencies),
        };
        if !service_levels.is_empty() {
            checks.push(service_level_check(&service_levels, self.now));
        }
        let because = reasons(&Judged {
            scenario: self.scenario,
            stopped: self.stopped,
            totals,
            faults: &faults,
            checks: &checks,
            service_levels: &service_levels,
        });
        self.close_phase();
        // The heal takes no time of its own: it belongs to the quiet that follows.
        self.phases.retain(|phase| phase.name != "heal");
        let wall_ms = self.started.elapsed().as_millis() as u64;
        let simulated_ms = self.now / 1_000;
        let peak_rss_bytes = resident_bytes("VmHWM:");
        let clients = u64::from(self.fleet.population().devices());
        let record = RunRecord {
            verdict: overall_verdict(&checks, &because),
            inconclusive_because: because,
            scenario: self.scenario.name.clone(),
            seed: self.options.seed,
            salt: self.options.salt,
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
            messages: message_counts(&totals),
            checks,
            autopsies: Vec::new(),
            service_levels,
            faults,
            hosts,
            work,
            sometimes: self.sometimes(),
            pairs: self.nemesis.pairs(self.scenario),
            latency_ms: self.observatory.latencies.percentiles(),
            latency_hdr: self.observatory.latencies.histograms(),
            series: Some(self.observatory.latencies.take_series()).filter(|series| series.points() > 0),
            memory: MemoryRecord {
                peak_rss_bytes,
                bytes_per_client: ratio(peak_rss_bytes, clients),
                ledger: self.peak.into_ledger(),
            },
            format: FORMAT,
            about: None,
            merged: Vec::new(),
            load: None,
            not_judged: Vec::new(),
        };
        match history {
            Ok(()) => Ok(record),
            Err(source) => Err(RunError::History { path: history_path, source, ended: Some(Box::new(record)) }),
        }
    }

    /// How many devices each gateway had at its peak.
    fn hosts(&self) -> BTreeMap<String, HostRecord> {
        let gateways = (0..).zip(self.fleet.gateways());
        let record = |totals: &GatewayTotals| HostRecord { connected_peak: totals.connected_peak };
        gateways.map(|(n, totals)| (Role::Gateway.host(n).to_string(), record(totals))).collect()
    }

    /// What the work of each host cost it.
    fn work(&self) -> BTreeMap<String, WorkRecord> {
        let record = |machine: &Machine| {
            let bill = machine.probe.bill.as_ref()?;
            let done = bill.done().filter(|(_, amount)| *amount > 0);
            let work = WorkRecord {
                busy_ms: machine.busy.total_us() / 1_000,
                longest_ms: machine.busy.longest_us() / 1_000,
                done: done.map(|(work, amount)| (work.name().to_owned(), amount)).collect(),
            };
            Some((machine.name.clone(), work))
        };
        self.machines.iter().filter_map(record).collect()
    }

    /// Every point with its hits: what hosts and world have passed, and what the fleet has seen.
    fn sometimes(&self) -> Vec<SometimesRecord> {
        let corners = self.fleet.corners();
        let with_fleets = |name: &str, hits: u64| corners.hits(name).unwrap_or(hits);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RunOptions, run};
    use squall_reports::Verdict;
    use squall_scenarios::parse;
    use std::path::Path;

    fn record(workload: &str, rest: &str) -> RunRecord {
        let phases = "[phases]\nload = \"30s\"\nliveness_bound = \"20s\"\n";
        let text =
            format!("[population]\nusers = 10\n[workload]\nsend_interval = \"1s\"\n{workload}{phases}{rest}");
        let scenario = parse(&text, Path::new("x.toml")).unwrap_or_else(|p| panic!("{}\n{text}", p[0]));
        let run = std::thread::spawn(move || run(&scenario, RunOptions::default()).expect("a run that ends"));
        run.join().expect("a run does not panic")
    }

    fn level(measure: &str, at_most: &str) -> String {
        format!("[[checks.service_levels]]\nmeasure = \"{measure}\"\npercentile = 100\nat_most = \"{at_most}\"\n")
    }

    #[test]
    fn an_absence_by_choice_is_in_no_latency_of_the_system() {
        let away = "session_length = \"6s\"\naway_length = \"5s\"\n";
        let measures = ["send-to-ack", "send-to-deliver", "reconnect-by-choice", "reconnect"];
        let record = record(away, &measures.map(|measure| level(measure, "2s")).concat());
        let verdicts: Vec<Verdict> = record.service_levels.iter().map(|level| level.verdict).collect();
        let (pass, open) = (Verdict::Pass, Verdict::Inconclusive);
        assert_eq!(verdicts, [pass, pass, pass, open], "{:?}", record.service_levels);
        assert!(record.service_levels[..3].iter().all(|level| level.count > 10 && level.at_most_ms == 2_000.0));
        assert_eq!(record.verdict, open);
        let because = "of reconnect nothing was measured, so its service level says nothing";
        assert!(record.inconclusive_because.contains(&because.to_owned()), "{:?}", record.inconclusive_because);
    }

    #[test]
    fn an_outage_counts_though_everybody_gives_up() {
        let stays = "session_length = [{ share = 1, from = \"2s\", to = \"6s\" }]\naway_length = \"500ms\"\n";
        let fault = "[[faults]]\nkind = \"crash\"\ntarget = [\"gateway-*\"]\nat = \"5s\"\nfor = \"20s\"\n";
        let measures = ["send-to-ack", "send-to-deliver", "reconnect"];
        let record = record(stays, &(fault.to_owned() + &measures.map(|measure| level(measure, "8s")).concat()));
        for level in &record.service_levels {
            assert_eq!(level.verdict, Verdict::Violated, "{level:?}");
        }
    }

    #[test]
    fn after_a_fault_everybody_is_back_and_the_record_says_where() {
        let fault = "[[faults]]\nkind = \"power-loss\"\ntarget = [\"gateway-0\"]\nat = \"5s\"\nfor = \"1s\"\n";
        let record = record("", &format!("{fault}{}{}", level("all-back", "1ms"), level("reconnect", "20s")));
        let fault = &record.faults[0];
        let on = |gateway: &str| fault.connected_after[gateway];
        // Its devices find out when the host is back and resets what they say.
        assert!(fault.all_back_ms.is_some_and(|after| (100..30_000).contains(&after)), "{fault:?}");
        assert_eq!(on("gateway-0") + on("gateway-1"), record.clients.virtual_clients);
        assert_eq!(record.hosts.len(), 2);
        assert!(record.hosts["gateway-1"].connected_peak >= on("gateway-1"));
        let verdicts: Vec<Verdict> = record.service_levels.iter().map(|level| level.verdict).collect();
        assert_eq!(verdicts, [Verdict::Violated, Verdict::Pass], "{:?}", record.service_levels);
        let check = record.checks.iter().find(|check| check.name == "service-levels").expect("the check");
        assert!(check.first.as_ref().is_some_and(|first| first.message.starts_with("all-back p100 is ")));
    }
}
