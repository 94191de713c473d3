//! The tables of a page.

use super::markup::{bar, cell, escape, name_cell, names_cell, number, table};
use crate::number::{bytes, grouped, milliseconds, seconds};
use crate::record::{RunRecord, ratio};
use crate::summary::{NOT_BEGUN, bound, found, hits};
use std::fmt::Write;

pub fn checks(out: &mut String, run: &RunRecord) {
    let rows = run.checks.iter().map(|check| {
        let verdict = check.verdict.name();
        vec![
            cell(&check.name),
            format!("<td class=\"verdict {verdict}\">{verdict}</td>"),
            number(grouped(check.evaluated)),
            number(grouped(check.exposed)),
            number(grouped(check.violations)),
        ]
    });
    table(out, "Checks", &["check", "verdict", "#judged", "#exposed", "#violations"], rows);
}

pub fn faults(out: &mut String, run: &RunRecord) {
    let share = |ms: u64| ratio(ms, run.length_ms().max(1));
    let rows = run.faults.iter().map(|fault| {
        let begun = run.has_begun(fault);
        vec![
            name_cell(&fault.name),
            if begun { bar(share(fault.at_ms), share(fault.until_ms)) } else { cell("") },
            number(seconds(fault.at_ms)),
            number(seconds(fault.until_ms)),
            number(fault.all_back_ms.map_or_else(String::new, seconds)),
            cell(&fault.kind),
            names_cell(&fault.targets),
            cell(&if begun { hits(&fault.affected) } else { NOT_BEGUN.to_owned() }),
            cell(&fault.missed_in_words().join(", ")),
        ]
    });
    let header = ["fault", "in the run", "#from", "#until", "#all back after", "kind", "targets", "hit", "missed"];
    table(out, "Faults", &header, rows);
}

pub fn work(out: &mut String, run: &RunRecord) {
    if run.work.is_empty() {
        return;
    }
    let rows = run.work.iter().map(|(host, work)| {
        let share = 100.0 * ratio(work.busy_ms, run.simulated_ms);
        let done =
            work.done.iter().map(|(kind, amount)| format!("{} {}", kind.replace('_', " "), grouped(*amount)));
        vec![
            cell(host),
            number(format!("{share:.1} %")),
            number(seconds(work.longest_ms)),
            cell(&done.collect::<Vec<_>>().join(", ")),
        ]
    });
    table(out, "Work of the hosts", &["host", "#busy", "#most that waited", "what it did"], rows);
}

pub fn service_levels(out: &mut String, run: &RunRecord) {
    if run.service_levels.is_empty() {
        return;
    }
    let rows = run.service_levels.iter().map(|level| {
        let verdict = level.verdict.name();
        vec![
            cell(&level.measure.replace('_', " ")),
            number(format!("p{}", level.percentile)),
            format!("<td class=\"verdict {verdict}\">{verdict}</td>"),
            number(found(level)),
            number(bound(level)),
        ]
    });
    let header = ["measured", "#percentile", "verdict", "#found", "#at most"];
    table(out, "Service levels, in simulated milliseconds", &header, rows);
}

/// How many devices each gateway had: at its peak, and when all were back after each fault.
pub fn gateways(out: &mut String, run: &RunRecord) {
    let faults: Vec<_> = run.faults.iter().filter(|fault| !fault.connected_after.is_empty()).collect();
    let after: Vec<String> = faults.iter().map(|fault| format!("#after {}", fault.name)).collect();
    let header: Vec<&str> = ["gateway", "#peak"].into_iter().chain(after.iter().map(String::as_str)).collect();
    let rows = run.hosts.iter().map(|(name, host)| {
        let connected = faults.iter().map(|fault| fault.connected_after.get(name).copied().unwrap_or(0));
        let counts = [host.connected_peak].into_iter().chain(connected);
        std::iter::once(cell(name)).chain(counts.map(|count| number(grouped(count)))).collect()
    });
    table(out, "Devices connected to each gateway", &header, rows);
    if !run.hosts.is_empty() {
        out.push_str("<p class=\"under\">Peak: the most at once, at whatever time. After a fault: when every device was back.</p>\n");
    }
}

pub fn latencies(out: &mut String, run: &RunRecord) {
    let rows = run.latency_ms.iter().map(|(name, p)| {
        let mut row = vec![cell(&name.replace('_', " ")), number(grouped(p.count))];
        row.extend(p.shown().map(number));
        row
    });
    let header = ["measured", "#count", "#p50", "#p90", "#p99", "#p99.9", "#max"];
    table(out, "Latency, in simulated milliseconds", &header, rows);
}

pub fn counts(out: &mut String, run: &RunRecord) {
    let (m, c) = (&run.messages, &run.clients);
    let mut messages = vec![
        ("sent", m.sent),
        ("acked", m.acked),
        ("unknown", m.unknown),
        ("resent", m.resent),
        ("delivered", m.delivered),
        ("displayed", m.displayed),
        ("duplicates discarded", m.duplicates_discarded),
        ("synced", m.synced),
        ("refused", m.refused),
    ];
    if m.reads + m.receipts > 0 {
        messages.extend([("reads", m.reads), ("receipts told", m.receipts)]);
    }
    if m.watches + m.presence_told > 0 {
        messages.extend([("watches", m.watches), ("presence told", m.presence_told)]);
    }
    if m.typing_said > 0 {
        messages.extend([("typing said", m.typing_said), ("typing told", m.typing_shown)]);
    }
    let clients = [
        ("virtual", c.virtual_clients),
        ("connected at most", c.connected_peak),
        ("connects", c.connects),
        ("reconnects", c.reconnects),
    ];
    for (title, values) in [("Messages", &messages[..]), ("Clients", &clients[..])] {
        let rows = values.iter().map(|(name, count)| vec![cell(name), number(grouped(*count))]);
        table(out, title, &["what", "#count"], rows);
    }
}

pub fn sometimes(out: &mut String, run: &RunRecord) {
    let (passed, never): (Vec<_>, Vec<_>) = run.sometimes.iter().partition(|point| point.hits > 0);
    let rows = passed.iter().map(|point| vec![cell(&point.name), number(grouped(point.hits))]);
    table(out, "Points reached", &["sometimes", "#hits"], rows);
    if !never.is_empty() {
        let never: Vec<String> = never.iter().map(|point| escape(&point.name)).collect();
        let _ = writeln!(out, "<p class=\"under\">never: {}</p>", never.join(", "));
    }
}

pub fn phases(out: &mut String, run: &RunRecord) {
    let rows = run.phases.iter().map(|phase| {
        let values =
            [milliseconds(phase.simulated_ms as f64), milliseconds(phase.wall_ms as f64), grouped(phase.frames)];
        std::iter::once(cell(&phase.name)).chain(values.map(number)).collect()
    });
    table(out, "Phases, in milliseconds", &["phase", "#simulated", "#wall", "#frames"], rows);
}

pub fn ledger(out: &mut String, run: &RunRecord) {
    let most = run.memory.ledger.values().copied().max().unwrap_or(0).max(1);
    let rows = run.memory.ledger.iter().map(|(component, held)| {
        let share = 100.0 * *held as f64 / most as f64;
        vec![
            cell(component),
            number(bytes(*held)),
            format!("<td><div class=\"bar\" style=\"width:{share:.1}%\"></div></td>"),
        ]
    });
    let title = format!(
        "Memory: peak {}, {} bytes a client",
        bytes(run.memory.peak_rss_bytes),
        grouped(run.memory.bytes_per_client.max(0.0).round() as u64)
    );
    table(out, &title, &["component", "#held", "share of the largest"], rows);
}
