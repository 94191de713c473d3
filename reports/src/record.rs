//! The record of a run, field by field as `run.json` has it. Others rely on these names: they only ever grow.

use crate::latency::Percentiles;
use crate::merge::MergedRun;
use crate::series::Series;
use crate::story::Diagram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What became of a run, or of one property in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Violated,
    /// Too little was judged or exposed to say that the property holds.
    Inconclusive,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Violated => "violated",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Everything that is known of a run when it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub verdict: Verdict,
    /// Why a run without a violation proves nothing; empty otherwise.
    #[serde(default)]
    pub inconclusive_because: Vec<String>,
    /// The scenario's name or file.
    pub scenario: String,
    pub seed: u64,
    /// The salt of what the network drew, where it was not the seed's own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub salt: u64,
    /// The bug that was planted for this run, by its name in `squall bugs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// The run was stopped before its end, by a person or a signal: another run will not come to the same digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// The rolling digest of the run, in hexadecimal; of an interrupted one, of what it had done until then.
    pub digest: String,
    pub simulated_ms: u64,
    pub wall_ms: u64,
    /// Simulated over wall time, as [`ratio`] makes it.
    pub speed: f64,
    /// The parts of the run in order, each with its own time and work: build, ramp, load, quiet, audit.
    #[serde(default)]
    pub phases: Vec<PhaseRecord>,
    /// The command that runs this again.
    pub reproduce: String,
    pub clients: ClientCounts,
    pub messages: MessageCounts,
    pub checks: Vec<CheckRecord>,
    /// What the autopsy says of the first violations, the first by simulated time first; empty where the run was too large to be run
    /// again at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub autopsies: Vec<AutopsyRecord>,
    /// The scenario's bounds on latencies, each with what was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_levels: Vec<ServiceLevelRecord>,
    pub faults: Vec<FaultRecord>,
    /// What hosts carried, by name: of gateways, how many devices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, HostRecord>,
    /// What the work of each host cost it, by name; empty where the scenario gives work no price, so that the server's CPU is free.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub work: BTreeMap<String, WorkRecord>,
    pub sometimes: Vec<SometimesRecord>,
    /// Faults that have met: the second began while the first lasted, or in its recovery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PairRecord>,
    /// By what was measured: `send_to_ack`, `send_to_deliver`, `reconnect`, `reconnect_by_choice`, `all_back`, ….
    pub latency_ms: BTreeMap<String, Percentiles>,
    /// The same latencies whole: histograms in the V2 format of HdrHistogram, deflated, in base64; µs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency_hdr: BTreeMap<String, String>,
    /// What happened when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    pub memory: MemoryRecord,
    /// The format of this record; it grows when something is taken away or means something else.
    #[serde(default)]
    pub format: u32,
    /// What made it, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<AboutRecord>,
    /// The runs that this record is of, where `squall merge` has made it of several; empty where it is of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedRun>,
    /// What a run against a real server was, and what it took; absent where the server was simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadRecord>,
    /// Checks that this world cannot judge. They make no run inconclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<NotJudged>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The format of records that are written today.
pub const FORMAT: u32 = 1;

/// What a replay of the run has told of a check's first violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutopsyRecord {
    pub check: String,
    /// A sentence that names the cause.
    pub cause: String,
    /// The steps of the message.
    #[serde(default)]
    pub diagram: Diagram,
}

/// What made a record, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutRecord {
    pub build: BuildRecord,
    pub machine: MachineRecord,
    /// RFC 3339, UTC.
    pub started: String,
}

/// The program that made a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub version: String,
    /// The commit that it was built from, where that is known.
    pub commit: Option<String>,
    /// When it was built nothing was changed beside the commit.
    pub clean: bool,
    /// A hash of the program itself (XXH3, 128 bits): of two records with the same one, the same seed gives the same run.
    pub program: Option<String>,
}

/// The machine on which a record was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    pub processor: Option<String>,
    pub cores: u64,
    pub memory_bytes: u64,
    pub system: String,
}

/// A check that was not judged, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotJudged {
    pub name: String,
    pub because: String,
}

/// A run against a real server, from beside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// What people, devices and messages were named by, in hexadecimal.
    pub run_id: String,
    pub urls: Vec<String>,
    /// Threads that drove connections.
    pub threads: u64,
    /// Whether what devices wrote and read was held back as their profile says.
    pub profiles: bool,
    /// Faults of the scenario that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// CPU time of the generator, user and system, its checks included.
    pub cpu_ms: u64,
    /// WebSocket frames that devices sent and received.
    pub frames: u64,
    /// In the load, of the threads that drove connections: connecting, the audit and judging are no part of it.
    pub cpu_us_per_frame: f64,
    /// Messages that were acked in the load, a second: what is acked later is no throughput.
    #[serde(default)]
    pub acks_per_s: f64,
    /// What of `cpu_ms` judging took, with histograms and the history.
    #[serde(default)]
    pub judge_cpu_ms: u64,
    /// Bytes of the rows of a device, its conversations, timers and socket, at the end of the load; `memory` has the whole process, with what judging
    /// and the audit hold.
    #[serde(default)]
    pub row_bytes_per_client: f64,
    /// How long after its time a send left.
    pub late_p50_ms: f64,
    pub late_p99_ms: f64,
    pub late_max_ms: f64,
    /// Of several generators: how far their clocks may be apart, in ms, which latencies from one to another are off by.
    #[serde(default)]
    pub clock_error_ms: f64,
    /// Entries that fresh devices have read at the end.
    pub audited_entries: u64,
    /// Users whose fresh and other devices had not shown the same when the time for it was over.
    pub unread_users: u64,
    /// Bytes that were written to and read from sockets.
    pub wire_bytes: u64,
    /// Which part of the people this generator had, where several shared a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRecord>,
    /// The server's processes, where they were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerRecord>,
}

/// A generator of several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// From 1.
    pub number: u64,
    pub of: u64,
    /// When the run began by this machine's clock, in ms since the Unix epoch.
    pub began_at_ms: f64,
    /// By how much the server's clock is ahead of this machine's, in ms, and how far that may be off: measured by the stamps of acks.
    pub clock_ahead_ms: f64,
    pub clock_error_ms: f64,
}

/// What the processes of a server took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// CPU time within the run, user and system.
    pub cpu_ms: u64,
    pub peak_rss_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCounts {
    /// Devices of the population.
    #[serde(rename = "virtual")]
    pub virtual_clients: u64,
    /// The most that were connected at once.
    pub connected_peak: u64,
    pub connects: u64,
    /// Connects of a device that had been connected before.
    pub reconnects: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    pub sent: u64,
    pub acked: u64,
    /// Sends that the server refused for good, such as creating a conversation that exists.
    #[serde(default)]
    pub refused: u64,
    /// Sends that had no answer when the run ended.
    pub unknown: u64,
    pub resent: u64,
    /// Entries that reached devices.
    pub delivered: u64,
    pub displayed: u64,
    pub duplicates_discarded: u64,
    /// Entries that reached devices in pages.
    pub synced: u64,
    /// Times that devices said that their people were writing, and that one was told so of somebody else; absent where nobody said so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub typing_said: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub typing_shown: u64,
    /// Frames that said how far a person has read, and times that a device learnt how far others have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reads: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub receipts: u64,
    /// Conversations that devices began to watch, and times that one was told how it stands with somebody; absent where nobody watches.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub watches: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_told: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    pub name: String,
    pub verdict: Verdict,
    /// Items judged.
    pub evaluated: u64,
    /// Items that a fault could have broken.
    pub exposed: u64,
    pub violations: u64,
    pub first: Option<FirstViolation>,
}

/// The first violation of a check. Identifiers are written as in `history.jsonl`, so that one can be looked up there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstViolation {
    /// Simulated microseconds since the start of the run.
    pub t: u64,
    pub conversation: String,
    pub seq: Option<u64>,
    pub client_msg_id: Option<String>,
    pub device: Option<String>,
    /// Of whom it was told something: who is shown as online or writing, or whose receipt it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What of a host was too full, for what is about no conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LevelRecord>,
    /// A sentence: which message, who, what was expected and what was seen.
    pub message: String,
}

/// How full something of a host was, in items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelRecord {
    pub host: String,
    /// What is counted, in the plural.
    pub what: String,
    /// How many there may be, where that is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most before the first fault, the most of all, and how many at the end.
    pub before: u64,
    pub highest: u64,
    pub end: u64,
}

/// A bound on a latency, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceLevelRecord {
    /// What is measured, as `latency_ms` names it.
    pub measure: String,
    /// In a hundred.
    pub percentile: f64,
    pub found_ms: f64,
    pub at_most_ms: f64,
    /// How many were measured; with none of them it says nothing.
    pub count: u64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    pub name: String,
    pub kind: String,
    pub at_ms: u64,
    pub until_ms: u64,
    /// The hosts that it was on, drawn ones as they were drawn; for links, each with its side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Those that it names, or that were drawn for it, and that it never hit: a run with such a fault is inconclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
    /// What it hit, counted by kind of thing.
    pub affected: BTreeMap<String, u64>,
    /// Of a fault that does many things, those that it never did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// From its end to the moment when every device that was missing then was connected; the longest of its occurrences. As long as
    /// the run went on, if some never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_back_ms: Option<u64>,
    /// Devices connected to each gateway at that moment, after its last occurrence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connected_after: BTreeMap<String, u64>,
}

/// What a host carried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The most devices that were connected to it at once.
    pub connected_peak: u64,
}

/// What a host did, and how long it was busy with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// How long it was busy, of the whole run.
    pub busy_ms: u64,
    /// The most work that ever waited in front of it.
    pub longest_ms: u64,
    /// What it did, by kind of work.
    pub done: BTreeMap<String, u64>,
}

impl RunRecord {
    /// Which run this is among those of its scenario: its seed, or how many were merged.
    pub fn which(&self) -> String {
        match self.merged.len() {
            0 if self.salt > 0 => format!("seed {} salt {}", self.seed, self.salt),
            0 => format!("seed {}", self.seed),
            n => format!("{n} runs merged"),
        }
    }

    /// From the beginning to the end of the run; of several that were merged, which begin together on its page, of one of them on average.
    pub fn length_ms(&self) -> u64 {
        self.simulated_ms / (self.merged.len() as u64).max(1)
    }

    /// Whether the time of a fault had come when the run ended, which may have been stopped.
    pub fn has_begun(&self, fault: &FaultRecord) -> bool {
        !self.interrupted || !self.merged.is_empty() || fault.at_ms < self.length_ms()
    }

    /// One more reason for which the run proves less than it should.
    pub fn add_reason(&mut self, reason: impl Into<String>) {
        self.inconclusive_because.push(reason.into());
        self.verdict = overall_verdict(&self.checks, &self.inconclusive_because);
    }
}

impl FaultRecord {
    /// Whether it hit anything.
    /// Those that it never hit, in words: of a fault of links, each with the list that names it.
    pub fn missed_in_words(&self) -> Vec<String> {
        let words = |missed: &String| match missed.split_once(' ') {
            Some((list, host)) => format!("{host} of its \"{list}\""),
            None => missed.clone(),
        };
        self.missed.iter().map(words).collect()
    }

    pub fn has_hit(&self) -> bool {
        self.affected.values().any(|count| *count > 0)
    }
}

/// One part of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    pub name: String,
    /// 0 for what takes no simulated time: building the world, and the audit.
    pub simulated_ms: u64,
    pub wall_ms: u64,
    /// WebSocket frames that devices sent and received.
    pub frames: u64,
}

/// A point that a healthy campaign reaches at least once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SometimesRecord {
    pub name: String,
    pub hits: u64,
}

/// Two sides that faults befell, such as `registry process` and `bus link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRecord {
    pub first: String,
    pub second: String,
    pub hits: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    pub peak_rss_bytes: u64,
    pub bytes_per_client: f64,
    /// Bytes by component at the peak.
    pub ledger: BTreeMap<String, u64>,
}

/// `part` over `whole`, 0 where there is no whole: `run.json` cannot hold what is not finite.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The verdict of a run: violated beats inconclusive, which beats pass. A run in which nothing was checked is
/// inconclusive.
pub fn overall_verdict(checks: &[CheckRecord], inconclusive_because: &[String]) -> Verdict {
    let any = |verdict| checks.iter().any(|check| check.verdict == verdict);
    if any(Verdict::Violated) {
        Verdict::Violated
    } else if checks.is_empty() || !inconclusive_because.is_empty() || any(Verdict::Inconclusive) {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn violated_beats_inconclusive_beats_pass() {
        let check = |verdict| CheckRecord { verdict, ..testing::check("no-loss") };
        let (pass, violated, open) =
            (check(Verdict::Pass), check(Verdict::Violated), check(Verdict::Inconclusive));
        let reason = ["the fault cut-1 hit nothing".to_owned()];
        assert_eq!(overall_verdict(std::slice::from_ref(&pass), &[]), Verdict::Pass);
        assert_eq!(overall_verdict(std::slice::from_ref(&pass), &reason), Verdict::Inconclusive);
        assert_eq!(overall_verdict(&[pass.clone(), open.clone()], &[]), Verdict::Inconclusive);
        assert_eq!(overall_verdict(&[pass, open, violated], &reason), Verdict::Violated);
        assert_eq!(overall_verdict(&[], &[]), Verdict::Inconclusive);
    }

    #[test]
    fn the_fields_are_those_that_others_rely_on() {
        let json = serde_json::to_value(testing::violated()).unwrap();
        let keys =
            |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(
            keys(&json),
            "checks clients digest faults format hosts inconclusive_because latency_ms memory messages phases reproduce scenario seed \
             service_levels simulated_ms sometimes speed verdict wall_ms"
        );
        assert_eq!(keys(&json["clients"]), "connected_peak connects reconnects virtual");
        assert_eq!(
            keys(&json["messages"]),
            "acked delivered displayed duplicates_discarded refused resent sent synced unknown"
        );
        assert_eq!(keys(&json["checks"][0]), "evaluated exposed first name verdict violations");
        assert_eq!(
            keys(&json["faults"][0]),
            "affected all_back_ms at_ms connected_after kind missed name until_ms"
        );
        assert_eq!(keys(&json["phases"][0]), "frames name simulated_ms wall_ms");
        assert_eq!(keys(&json["sometimes"][0]), "hits name");
        assert_eq!(keys(&json["latency_ms"]["send_to_ack"]), "count max p50 p90 p99 p999");
        assert_eq!(keys(&json["memory"]), "bytes_per_client ledger peak_rss_bytes");
        assert_eq!(json["verdict"], "violated");
    }
}
