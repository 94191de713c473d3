//! The text at the end of a run: the verdict first, the way to see it again last.
//!
//! Plain ASCII but for what a scenario names otherwise; control characters never reach the terminal.

use crate::number::{bytes, grouped, milliseconds, seconds, told_apart};
use crate::record::{
    FaultRecord, LoadRecord, PhaseRecord, RunRecord, ServiceLevelRecord, Verdict, WorkRecord, ratio,
};
use crate::text_table::{TextTable, wrapped_list};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Below this many clients, bytes a client would mostly count the process itself.
const CLIENTS_THAT_OUTWEIGH_THE_PROCESS: u64 = 1_000;

/// Points that a run has not passed and that are named; of more only the number is told.
const MOST_NAMED: usize = 24;

/// The summary of a run, coloured for a terminal when asked.
pub fn render(run: &RunRecord, coloured: bool) -> String {
    let mut out = String::new();
    let verdict = paint(run.verdict, run.verdict.name().to_uppercase(), coloured);
    let _ = writeln!(out, "{verdict}  {}  {}\n", clean(&run.scenario), run.which());
    if let Some(bug) = &run.planted {
        let _ = writeln!(out, "planted: {}\n", clean(bug));
    }
    for reason in &run.inconclusive_because {
        let _ = writeln!(out, "inconclusive: {}", clean(reason));
    }
    if !run.inconclusive_because.is_empty() {
        out.push('\n');
    }
    checks(&mut out, run, coloured);
    faults(&mut out, run);
    sometimes(&mut out, run);
    latencies(&mut out, run);
    service_levels(&mut out, run);
    totals(&mut out, run);
    not_judged(&mut out, run);
    violations(&mut out, run, coloured);
    let _ = writeln!(out, "reproduce: {}", clean(&run.reproduce));
    out
}

fn checks(out: &mut String, run: &RunRecord, coloured: bool) {
    let mut table = TextTable::new(2, &["check", "verdict", "judged", "exposed", "violations"]);
    for check in &run.checks {
        table.row(vec![
            clean(&check.name),
            check.verdict.name().to_owned(),
            grouped(check.evaluated),
            grouped(check.exposed),
            grouped(check.violations),
        ]);
    }
    table.write(out, |row, column, cell| match row.checked_sub(1).and_then(|row| run.checks.get(row)) {
        Some(check) if column == 1 => paint(check.verdict, cell, coloured),
        _ => cell,
    });
    out.push('\n');
}

fn faults(out: &mut String, run: &RunRecord) {
    if run.faults.is_empty() {
        out.push_str("  no faults\n\n");
        return;
    }
    let mut table = TextTable::new(6, &["fault", "kind", "from (run)", "until (run)", "all back", "hit"]);
    for fault in &run.faults {
        table.row(vec![
            clean(&fault.name),
            clean(&fault.kind),
            seconds(fault.at_ms),
            seconds(fault.until_ms),
            fault.all_back_ms.map_or_else(|| "-".to_owned(), seconds),
            if run.has_begun(fault) { hits_and_misses(fault) } else { NOT_BEGUN.to_owned() },
        ]);
    }
    table.write(out, |_, _, cell| cell);
    out.push('\n');
}

/// Said of a fault whose time had not come when its run was stopped.
pub(crate) const NOT_BEGUN: &str = "not begun";

/// "connections 3, clients 120", without what is zero.
pub(crate) fn hits(affected: &BTreeMap<String, u64>) -> String {
    let hit: Vec<String> = affected
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(what, count)| format!("{} {}", clean(what).replace('_', " "), grouped(*count)))
        .collect();
    if hit.is_empty() { "nothing".to_owned() } else { hit.join(", ") }
}

/// What it hit, and those of its targets that it never did.
fn hits_and_misses(fault: &FaultRecord) -> String {
    let missed: Vec<String> = fault.missed_in_words().iter().map(|target| clean(target)).collect();
    let hits = hits(&fault.affected);
    let never: Vec<String> = fault.never.iter().map(|what| clean(what).replace('_', " ")).collect();
    let but = |what: &str, list: Vec<String>| match list.is_empty() {
        true => String::new(),
        false => format!("; {what} {}", list.join(", ")),
    };
    format!("{hits}{}{}", but("missed", missed), but("never", never))
}

fn sometimes(out: &mut String, run: &RunRecord) {
    if run.sometimes.is_empty() {
        return;
    }
    let mut table = TextTable::new(1, &["sometimes", "hits"]);
    for point in run.sometimes.iter().filter(|point| point.hits > 0) {
        table.row(vec![clean(&point.name), grouped(point.hits)]);
    }
    table.write(out, |_, _, cell| cell);
    let never: Vec<String> = run.sometimes.iter().filter(|p| p.hits == 0).map(|p| clean(&p.name)).collect();
    match never.len() {
        0..=MOST_NAMED => wrapped_list(out, "never", &never),
        many => drop(writeln!(
            out,
            "  and {many} points that this run never passed; run.json and report.html name them"
        )),
    }
    out.push('\n');
}

fn latencies(out: &mut String, run: &RunRecord) {
    if run.latency_ms.is_empty() {
        return;
    }
    let mut table = TextTable::new(1, &["latency, ms", "count", "p50", "p90", "p99", "p99.9", "max"]);
    for (name, p) in &run.latency_ms {
        let mut row = vec![clean(name).replace('_', " "), grouped(p.count)];
        row.extend(p.shown());
        table.row(row);
    }
    table.write(out, |_, _, cell| cell);
    out.push('\n');
}

fn service_levels(out: &mut String, run: &RunRecord) {
    if run.service_levels.is_empty() {
        return;
    }
    let mut table = TextTable::new(3, &["service level", "percentile", "verdict", "ms", "at most"]);
    for level in &run.service_levels {
        table.row(vec![
            clean(&level.measure).replace('_', " "),
            format!("p{}", level.percentile),
            level.verdict.name().to_owned(),
            found(level),
            bound(level),
        ]);
    }
    table.write(out, |_, _, cell| cell);
    out.push('\n');
}

/// What was found, or that there was nothing to find.
pub(crate) fn found(level: &ServiceLevelRecord) -> String {
    if level.count == 0 { "nothing".to_owned() } else { told_apart(level.found_ms, level.at_most_ms).0 }
}

/// What it may be at most.
pub(crate) fn bound(level: &ServiceLevelRecord) -> String {
    if level.count == 0 { milliseconds(level.at_most_ms) } else { told_apart(level.found_ms, level.at_most_ms).1 }
}

fn totals(out: &mut String, run: &RunRecord) {
    let (m, c) = (&run.messages, &run.clients);
    let _ = writeln!(
        out,
        "  messages  {} sent, {} acked, {} refused, {} unknown, {} resent",
        grouped(m.sent),
        grouped(m.acked),
        grouped(m.refused),
        grouped(m.unknown),
        grouped(m.resent)
    );
    let _ = writeln!(
        out,
        "            {} delivered, {} displayed, {} duplicates discarded, {} synced",
        grouped(m.delivered),
        grouped(m.displayed),
        grouped(m.duplicates_discarded),
        grouped(m.synced)
    );
    if m.typing_said > 0 {
        let (said, shown) = (grouped(m.typing_said), grouped(m.typing_shown));
        let _ = writeln!(out, "  typing    {said} said, {shown} told");
    }
    if m.reads + m.receipts > 0 {
        let (reads, told) = (grouped(m.reads), grouped(m.receipts));
        let _ = writeln!(out, "  receipts  {reads} reads, {told} told");
    }
    if m.watches + m.presence_told > 0 {
        let (watches, told) = (grouped(m.watches), grouped(m.presence_told));
        let _ = writeln!(out, "  presence  {watches} watches, {told} told");
    }
    let _ = writeln!(
        out,
        "  clients   {}, at most {} connected, {} connects, {} reconnects",
        grouped(c.virtual_clients),
        grouped(c.connected_peak),
        grouped(c.connects),
        grouped(c.reconnects)
    );
    gateways(out, run);
    match &run.load {
        Some(load) => out.push_str(&against(run, load)),
        None => {
            let _ = writeln!(out, "  cpu       {}", cpu(run));
            let _ = writeln!(
                out,
                "  speed     {} simulated in {}: {:.1} x real time",
                seconds(run.simulated_ms),
                seconds(run.wall_ms),
                run.speed
            );
        }
    }
    let _ = write!(out, "  memory    peak {}", bytes(run.memory.peak_rss_bytes));
    if c.virtual_clients >= CLIENTS_THAT_OUTWEIGH_THE_PROCESS {
        let _ = write!(out, ", {} bytes a client", grouped(run.memory.bytes_per_client.max(0.0).round() as u64));
    }
    out.push('\n');
    if c.virtual_clients >= CLIENTS_THAT_OUTWEIGH_THE_PROCESS {
        let _ = writeln!(out, "  phases    {}", phases(run));
    }
    if run.load.is_none() {
        let _ = writeln!(out, "  digest    {}", digest(run));
    }
    out.push('\n');
}

/// A run against a real server: which, and what it and the generator took.
fn against(run: &RunRecord, load: &LoadRecord) -> String {
    let mut out = String::new();
    let urls: Vec<String> = load.urls.iter().map(|url| clean(url)).collect();
    let _ =
        writeln!(out, "  server    {}; run id {}, {}", urls.join(", "), clean(&load.run_id), seconds(run.wall_ms));
    if let Some(server) = &load.server {
        let _ = writeln!(
            out,
            "            {} of CPU, at most {} resident",
            seconds(server.cpu_ms),
            bytes(server.peak_rss_bytes)
        );
    }
    let _ = writeln!(
        out,
        "  generator {:.1} us of CPU a frame, {} in all, {} of it to judge; sends left {} late at the 99th percentile",
        load.cpu_us_per_frame,
        seconds(load.cpu_ms),
        seconds(load.judge_cpu_ms),
        milliseconds(load.late_p99_ms) + " ms"
    );
    let _ = writeln!(
        out,
        "            {:.0} acks a second of the load; {:.0} bytes of rows a device, {:.0} of the whole process with what judging and the audit hold",
        load.acks_per_s, load.row_bytes_per_client, run.memory.bytes_per_client
    );
    let _ = writeln!(out, "  audit     {} entries read by fresh devices", grouped(load.audited_entries));
    if !load.left_out.is_empty() {
        let _ = writeln!(
            out,
            "  left out  {}",
            load.left_out.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ")
        );
    }
    out
}

/// Checks that this world cannot judge.
fn not_judged(out: &mut String, run: &RunRecord) {
    for check in &run.not_judged {
        let _ = writeln!(out, "  not judged here: {} ({})", clean(&check.name), clean(&check.because));
    }
    if !run.not_judged.is_empty() {
        out.push('\n');
    }
}

/// How evenly the devices were spread at each gateway's peak.
fn gateways(out: &mut String, run: &RunRecord) {
    let peaks = run.hosts.values().map(|host| host.connected_peak);
    if let (Some(least), Some(most)) = (peaks.clone().min(), peaks.max()) {
        let (count, least, most) = (grouped(run.hosts.len() as u64), grouped(least), grouped(most));
        let _ = writeln!(out, "  gateways  {count}, at most {least} to {most} connected to each");
    }
}

/// How busy the busiest host of each role was, or that nobody was.
fn cpu(run: &RunRecord) -> String {
    if run.work.is_empty() {
        return "free: the scenario has no [costs]".to_owned();
    }
    let role = |host: &str| host.rsplit_once('-').map_or(host, |(role, _)| role).to_owned();
    let mut busiest: BTreeMap<String, (&String, &WorkRecord)> = BTreeMap::new();
    for (host, work) in &run.work {
        let most = busiest.entry(role(host)).or_insert((host, work));
        if work.busy_ms > most.1.busy_ms {
            *most = (host, work);
        }
    }
    let share = |work: &WorkRecord| 100.0 * ratio(work.busy_ms, run.simulated_ms);
    let one = |(host, work): &(&String, &WorkRecord)| format!("{} {:.1} %", clean(host), share(work));
    let busiest = busiest.values().map(one).collect::<Vec<_>>().join(", ");
    let longest = run.work.values().map(|work| work.longest_ms).max().unwrap_or(0);
    format!("{busiest} busy; at most {} of work waited for one", seconds(longest))
}

/// What a run that is made again must come to; one that was interrupted makes no such promise.
pub(crate) fn digest(run: &RunRecord) -> String {
    match run.interrupted {
        false => clean(&run.digest),
        true => format!("none: interrupted after {}", seconds(run.simulated_ms)),
    }
}

/// Where a large run's time went: each phase with its wall time.
fn phases(run: &RunRecord) -> String {
    let one = |phase: &PhaseRecord| match phase.simulated_ms {
        0 => format!("{} {}", clean(&phase.name), seconds(phase.wall_ms)),
        simulated => format!(
            "{} {} in {} ({:.1} x)",
            clean(&phase.name),
            seconds(simulated),
            seconds(phase.wall_ms),
            ratio(simulated, phase.wall_ms)
        ),
    };
    run.phases.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn violations(out: &mut String, run: &RunRecord, coloured: bool) {
    for check in run.checks.iter().filter(|check| check.verdict == Verdict::Violated) {
        let title = paint(Verdict::Violated, clean(&check.name), coloured);
        let count = if check.violations == 1 { "violation" } else { "violations" };
        let _ = writeln!(out, "{title}: {} {count}", grouped(check.violations));
        let Some(first) = &check.first else {
            out.push('\n');
            continue;
        };
        let mut named = Vec::new();
        if !first.conversation.is_empty() {
            named.push(format!("conversation {}", clean(&first.conversation)));
        }
        named.extend(first.seq.map(|seq| format!("seq {seq}")));
        named.extend(first.client_msg_id.as_ref().map(|id| format!("message {}", clean(id))));
        named.extend(first.device.as_ref().map(|device| format!("device {}", clean(device))));
        let t = format!("{}.{:06} s", first.t / 1_000_000, first.t % 1_000_000);
        let colon = if named.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "  first at {t}{colon}{}", named.join(", "));
        let _ = writeln!(out, "  {}", clean(&first.message));
        if let Some(autopsy) = run.autopsies.iter().find(|autopsy| autopsy.check == check.name) {
            let _ = writeln!(out, "  Why: {}.", clean(&autopsy.cause));
        }
        out.push('\n');
    }
}

fn paint(verdict: Verdict, text: String, coloured: bool) -> String {
    let colour = match verdict {
        Verdict::Pass => 32,
        Verdict::Violated => 31,
        Verdict::Inconclusive => 33,
    };
    if coloured { format!("\x1b[1;{colour}m{text}\x1b[0m") } else { text }
}

/// Text without what a terminal would obey.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SometimesRecord;
    use crate::testing;

    #[test]
    fn a_violated_run_reads_as_it_should() {
        assert_eq!(render(&testing::violated(), false), include_str!("../tests/summary.txt"));
    }

    #[test]
    fn work_that_costs_names_the_busiest_host_of_each_role() {
        let work = |busy_ms, longest_ms| WorkRecord { busy_ms, longest_ms, done: BTreeMap::new() };
        let hosts =
            [("gateway-0", work(600, 3)), ("gateway-1", work(6_000, 20)), ("messages-0", work(30_000, 1_500))];
        let work = hosts.into_iter().map(|(host, work)| (host.to_owned(), work)).collect();
        let run = RunRecord { work, ..testing::passed() };
        let line =
            "  cpu       gateway-1 10.0 %, messages-0 50.0 % busy; at most 1.500 s of work waited for one\n";
        assert!(render(&run, false).contains(line), "{}", render(&run, false));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let run = testing::violated();
        let coloured = render(&run, true);
        assert!(coloured.contains("\x1b[1;31mVIOLATED\x1b[0m"));
        let mut plain = coloured;
        for code in ["\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, render(&run, false));
    }

    #[test]
    fn a_large_run_says_where_its_time_went() {
        let mut run = testing::passed();
        assert!(!render(&run, false).contains("phases"));
        run.clients.virtual_clients = 1_000_000;
        run.phases.push(PhaseRecord { name: "audit".into(), simulated_ms: 0, wall_ms: 1_500, frames: 0 });
        let text = render(&run, false);
        assert!(text.contains("  phases    load 30.000 s in 0.300 s (100.0 x), audit 1.500 s\n"), "{text}");
    }

    #[test]
    fn a_run_that_proves_nothing_says_why() {
        let mut run = testing::passed();
        run.verdict = Verdict::Inconclusive;
        run.inconclusive_because = vec!["the fault cut-1 hit nothing".into()];
        run.faults[0].affected = [("connections".to_owned(), 0)].into();
        let text = render(&run, false);
        assert!(text.starts_with("INCONCLUSIVE  scenarios/smoke.toml  seed 7\n"), "{text}");
        assert!(text.contains("inconclusive: the fault cut-1 hit nothing\n"), "{text}");
        assert!(text.lines().any(|line| line.ends_with("  nothing")), "{text}");
    }

    #[test]
    fn an_interrupted_run_promises_no_digest() {
        let run = RunRecord { interrupted: true, ..testing::passed() };
        let text = render(&run, false);
        assert!(text.contains("  digest    none: interrupted after 60.000 s\n"), "{text}");
        let json = serde_json::to_value([&run, &testing::passed()]).unwrap();
        assert_eq!((json[0]["interrupted"].as_bool(), json[1].get("interrupted")), (Some(true), None));
    }

    #[test]
    fn a_fault_whose_time_had_not_come_is_said_to_be_not_begun() {
        let run = RunRecord { interrupted: true, simulated_ms: 15_000, ..testing::passed() };
        let text = render(&run, false);
        let not_begun: Vec<&str> = text.lines().filter(|line| line.ends_with("  not begun")).collect();
        assert!(matches!(&not_begun[..], [one] if one.starts_with("  drop-sent-acks-1 ")), "{text}");
        let page = crate::html::render(&run, None);
        assert_eq!(page.matches("<td>not begun</td>").count(), 1, "{page}");
    }

    #[test]
    fn what_was_never_reached_fits_a_terminal() {
        let mut run = testing::passed();
        run.sometimes.iter_mut().for_each(|point| point.hits = 0);
        let more = |n: u32| SometimesRecord { name: format!("point_number_{n}"), hits: 0 };
        run.sometimes.extend((0..20).map(more));
        let text = render(&run, false);
        let never = text.split("  never: ").nth(1).unwrap().split("\n\n").next().unwrap();
        assert!(never.lines().all(|line| line.len() <= 80), "{text}");
        assert!(never.contains("point_number_0") && never.contains("point_number_19"), "{text}");
    }

    #[test]
    fn a_planted_bug_is_named() {
        let run = RunRecord { planted: Some("no-redelivery".into()), ..testing::passed() };
        assert!(render(&run, false).contains("\n\nplanted: no-redelivery\n\n"));
        let json = serde_json::to_value([&run, &testing::passed()]).unwrap();
        assert_eq!((json[0]["planted"].as_str(), json[1].get("planted")), (Some("no-redelivery"), None));
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut run = testing::passed();
        run.scenario = "a\x1b[2Jb\nPASS".into();
        let text = render(&run, false);
        assert!(!text.contains('\x1b') && !text.contains("\nPASS"), "{text}");
    }
}
