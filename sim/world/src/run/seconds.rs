//! The end of every simulated second: its digests, its trace, the ledger of memory, progress.

use super::observatory::Trace;
use super::options::SecondDigest;
use super::world::World;
use crate::disk::Disk;
use crate::memory::accounts::Account;
use squall_network::SegmentTrace;
use squall_outcome::Progress;
use squall_protocol::ids::mix;
use squall_reports::series::Sample;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

impl World<'_> {
    pub(crate) fn end_second(&mut self, second: u64) {
        let names = self.machines.iter().map(|m| m.name.clone()).chain(self.sites.iter().cloned());
        let wire: Vec<(String, u64)> =
            names.zip(self.network.take_digests().into_iter().map(|(_, digest)| digest)).collect();
        let disks: Vec<(String, u64)> = self
            .machines
            .iter()
            .filter_map(|m| m.probe.disk.as_ref().map(|disk| (m.name.clone(), disk.take_digest())))
            .collect();
        let all = SecondDigest { second, history: self.observatory.digest, wire, disks };
        self.digest = mix(self.digest ^ all.history);
        for (_, digest) in all.wire.iter().chain(&all.disks) {
            self.digest = mix(self.digest ^ digest);
        }
        if let Some(on_second) = &mut self.options.on_second {
            on_second(&all);
        }
        self.end_trace();
        if self.options.trace_second == Some(second + 1) {
            self.begin_trace();
        }
        self.look_at_memory();
        self.sample();
        self.stopped |= self.options.stop.load(Ordering::Relaxed);
        self.report_progress();
    }

    /// One more second of the series.
    fn sample(&mut self) {
        let wall_us = self.started.elapsed().as_micros() as u64;
        let (totals, stats) = (self.fleet.totals(), self.network.stats());
        let stamped = self.mailbox.lock().stamped_in_all();
        let disks = self.machines.iter().filter_map(|machine| machine.probe.disk.as_ref()).map(Disk::written);
        let (syncs, bytes) = disks.fold((0, 0), |all, disk| (all.0 + disk.0, all.1 + disk.1));
        let watching = [("presence_changes_told", totals.presences), ("watches", totals.watches)];
        let watching = watching.into_iter().filter(|_| self.scenario.presence.watches > 0);
        let mut sample = Sample {
            levels: vec![("connected", totals.online), ("backlog", self.observatory.checks.owed_to_absent())],
            totals: vec![
                ("connects", totals.connects),
                ("reconnects", totals.reconnects),
                ("sends", totals.sent),
                ("acks", totals.acked),
                ("refusals", totals.refused),
                ("resends", totals.resent),
                ("deliveries", totals.delivered),
                ("displays", totals.displayed),
                ("typing_said", totals.typed),
                ("typing_told", totals.typing_shown),
                ("wire_bytes", stats.bytes),
                ("entries_committed", stamped),
                ("disk_syncs", syncs),
                ("disk_bytes", bytes),
                ("wall_us", wall_us),
            ]
            .into_iter()
            .chain(watching)
            .collect(),
            memory_bytes: self.peak.latest(),
        };
        if self.scenario.receipts.are_kept() {
            sample.totals.extend([("reads", totals.reads), ("receipts_told", totals.receipts)]);
        }
        let _account = Account::Histograms.enter();
        self.observatory.latencies.end_second(sample);
    }

    /// Draws up the ledger of memory if the process has grown.
    pub(crate) fn look_at_memory(&mut self) {
        self.machines.iter().filter_map(|m| m.probe.disk.as_ref()).for_each(Disk::settle);
        self.threads.iter().for_each(|thread| thread.settle());
        // SAFETY: every commit that had begun is over, the threads of other hosts have nothing in hand until the next tick, and
        // nothing else of a run has a thread of its own.
        unsafe { self.peak.look(self.started) };
    }

    /// Keeps every event and every delivered segment from here on.
    fn begin_trace(&mut self) {
        let lines = Trace::default();
        self.observatory.trace = Some(Arc::clone(&lines));
        let names: Vec<String> =
            self.machines.iter().map(|m| m.name.clone()).chain(self.sites.iter().cloned()).collect();
        self.network.set_trace(Some(Box::new(move |s: &SegmentTrace| {
            let line = format!(
                "{{\"t\":{},\"host\":\"{}\",\"kind\":\"segment\",\"from\":\"{}\",\"segment\":\"{:?}\",\"len\":{},\"hash\":\"{:016x}\"}}",
                s.at, names[s.to.0 as usize], names[s.from.0 as usize], s.kind, s.len, s.hash
            );
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        })));
    }

    fn end_trace(&mut self) {
        let Some(lines) = self.observatory.trace.take() else { return };
        self.network.set_trace(None);
        if let Some(on_trace) = &mut self.options.on_trace {
            lines.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|line| on_trace(line));
        }
    }

    fn report_progress(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "wall time is shown to the user and enters no run")]
        let wall_now = Instant::now();
        if wall_now.duration_since(self.last_progress) < Duration::from_millis(100) {
            return;
        }
        self.last_progress = wall_now;
        let totals = self.fleet.totals();
        let progress = Progress {
            phase: self.phase,
            simulated: Duration::from_micros(self.now),
            total: Duration::from_micros(self.end),
            wall: wall_now.duration_since(self.started),
            connected: totals.online,
            clients: self.fleet.clients().len() as u64,
            displayed: totals.displayed,
        };
        if let Some(on_progress) = &mut self.options.on_progress {
            on_progress(&progress);
        }
    }
}
