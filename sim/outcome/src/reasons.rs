//! Why a run without a violation proves nothing, and what else of a record follows from checks and counts.

use squall_checks::CheckReport;
use squall_generators::FleetTotals;
use squall_reports::Verdict;
use squall_reports::record::{
    CheckRecord, FaultRecord, FirstViolation, LevelRecord, MessageCounts, ServiceLevelRecord,
};
use squall_scenarios::{FaultKind, Scenario};

/// What a run is judged by.
pub struct Judged<'a> {
    pub scenario: &'a Scenario,
    /// It was stopped before its end: nothing more can be expected of it.
    pub stopped: bool,
    pub totals: FleetTotals,
    pub faults: &'a [FaultRecord],
    pub checks: &'a [CheckRecord],
    pub service_levels: &'a [ServiceLevelRecord],
}

/// Why the run proves nothing, if no property is violated; empty where it does.
pub fn reasons(judged: &Judged<'_>) -> Vec<String> {
    let Judged { scenario, stopped, totals, faults, checks, service_levels } = judged;
    if *stopped {
        return vec!["the run was stopped before its end".into()];
    }
    let mut because: Vec<String> = Vec::new();
    if totals.acked == 0 {
        because.push(format!(
            "nothing was acked ({} sent), so there was nothing to judge: let people write more often (send_interval), for longer (load), or to a system that can answer",
            totals.sent
        ));
    }
    because.extend(faults.iter().filter(|f| !f.has_hit()).map(|f| hit_nothing(scenario, &f.name)));
    because.extend(faults.iter().filter(|f| f.has_hit() && !f.missed.is_empty()).map(|f| missed(scenario, f)));
    let unmeasured = service_levels.iter().filter(|level| level.verdict == Verdict::Inconclusive);
    because.extend(unmeasured.map(|level| {
        format!("of {} nothing was measured, so its service level says nothing", level.measure.replace('_', "-"))
    }));
    // Where nothing was acked, that is the reason of them all.
    for check in checks.iter().filter(|c| totals.acked > 0 && c.verdict == Verdict::Inconclusive) {
        because
            .push(format!("check {} judged {} and was exposed to {}", check.name, check.evaluated, check.exposed));
    }
    because
}

/// Why a fault proves nothing.
fn hit_nothing(scenario: &Scenario, name: &str) -> String {
    let why = if waits_for_a_point(scenario, name) { ": its point was not passed while it waited" } else { "" };
    format!("fault {name} hit nothing{why}")
}

/// Why a fault proves less than it says.
fn missed(scenario: &Scenario, fault: &FaultRecord) -> String {
    let FaultRecord { name, missed, targets, .. } = fault;
    let in_words = fault.missed_in_words();
    let never_begun = missed.iter().filter(|target| !targets.contains(target)).count();
    let why = if waits_for_a_point(scenario, name) {
        ": its point was not passed there while it waited"
    } else if never_begun == missed.len() {
        ": the load was over before their turn; give it more time, or begin earlier"
    } else {
        ""
    };
    format!("fault {name} missed {}{why}", in_words.join(", "))
}

fn waits_for_a_point(scenario: &Scenario, name: &str) -> bool {
    let fault = scenario.faults.iter().find(|fault| fault.name == name);
    fault.is_some_and(|fault| match fault.kind {
        FaultKind::Crash { point, .. } | FaultKind::PowerLoss { point, .. } => point.is_some(),
        _ => false,
    })
}

pub fn message_counts(totals: &FleetTotals) -> MessageCounts {
    MessageCounts {
        sent: totals.sent,
        acked: totals.acked,
        refused: totals.refused,
        unknown: totals.sent - totals.acked - totals.refused,
        resent: totals.resent,
        delivered: totals.delivered,
        displayed: totals.displayed,
        duplicates_discarded: totals.discarded,
        synced: totals.synced,
        typing_said: totals.typed,
        typing_shown: totals.typing_shown,
        reads: totals.reads,
        receipts: totals.receipts,
        watches: totals.watches,
        presence_told: totals.presences,
    }
}

/// A check as a record has it.
pub fn check_record(report: CheckReport) -> CheckRecord {
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
            conversation: v.conversation.map_or(String::new(), |conversation| conversation.to_string()),
            seq: v.seq.map(|seq| seq.0),
            client_msg_id: v.client_msg_id.map(|id| id.to_string()),
            device: v.device.map(|device| device.to_string()),
            user: v.user.map(|user| user.to_string()),
            level: v.level.map(|level| LevelRecord {
                host: level.host,
                what: level.what.to_owned(),
                limit: level.limit,
                before: level.before,
                highest: level.highest,
                end: level.end,
            }),
            message: v.message,
        }),
    }
}
