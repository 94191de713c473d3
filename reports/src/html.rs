//! `report.html`: one page of its own, without a script or anything from elsewhere, readable by day and by night.
//!
//! **Invariant:** every value of the record is escaped; a scenario's name cannot become markup.

use crate::number::{bytes, grouped, milliseconds, seconds};
use crate::record::{RunRecord, Verdict, ratio};
use crate::summary::{digest, found, hits};
use std::fmt::Write;

const STYLE: &str = "\
:root { color-scheme: light dark; --line: #d6d9de; --soft: #5c6470; --pass: #1a7f37; --violated: #c62828; --inconclusive: #9a6700; --bar: #4c7bd9; }
@media (prefers-color-scheme: dark) { :root { --line: #3a404a; --soft: #9aa3af; --pass: #4ac26b; --violated: #ff7b72; --inconclusive: #d9a441; --bar: #6b95ec; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.under { color: var(--soft); margin-top: .25rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .n { text-align: right; }
.pass { color: var(--pass); } .violated { color: var(--violated); } .inconclusive { color: var(--inconclusive); }
.verdict { font-weight: 700; } .bar { background: var(--bar); height: .6rem; border-radius: .3rem; min-width: 2px; }
code, pre { font: 13px/1.5 ui-monospace, monospace; } pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid var(--line); border-radius: .4rem; }
.case { border-left: 3px solid var(--violated); padding-left: .8rem; }
";

/// The page of a run.
pub fn render(run: &RunRecord) -> String {
    let (scenario, verdict) = (escape(&run.scenario), run.verdict.name());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{verdict}: {scenario} seed {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1><span class=\"verdict {verdict}\">{verdict}</span> {scenario}</h1>\n\
         <p class=\"under\">seed {}, {} simulated in {} ({:.1} &times; real time), digest <code>{}</code></p>\n",
        run.seed,
        run.seed,
        seconds(run.simulated_ms),
        seconds(run.wall_ms),
        run.speed,
        escape(&digest(run))
    );
    because(&mut out, run);
    violations(&mut out, run);
    checks(&mut out, run);
    faults(&mut out, run);
    service_levels(&mut out, run);
    gateways(&mut out, run);
    work(&mut out, run);
    latencies(&mut out, run);
    counts(&mut out, run);
    sometimes(&mut out, run);
    phases(&mut out, run);
    ledger(&mut out, run);
    let _ = writeln!(out, "<h2>Reproduce</h2>\n<pre>{}</pre>\n</body>\n</html>", escape(&run.reproduce));
    out
}

fn because(out: &mut String, run: &RunRecord) {
    if run.inconclusive_because.is_empty() {
        return;
    }
    out.push_str("<h2 class=\"inconclusive\">Why this run proves nothing</h2>\n<ul>\n");
    for reason in &run.inconclusive_because {
        let _ = writeln!(out, "<li>{}</li>", escape(reason));
    }
    out.push_str("</ul>\n");
}

fn violations(out: &mut String, run: &RunRecord) {
    for check in run.checks.iter().filter(|check| check.verdict == Verdict::Violated) {
        let _ = writeln!(
            out,
            "<div class=\"case\">\n<h2><span class=\"violated\">{}</span>: violations {}</h2>",
            escape(&check.name),
            grouped(check.violations)
        );
        if let Some(first) = &check.first {
            let _ = writeln!(out, "<p>{}</p>", escape(&first.message));
            let optional = |name: &str, value: Option<String>| {
                value.map_or(String::new(), |value| format!(", {name} <code>{}</code>", escape(&value)))
            };
            let _ = writeln!(
                out,
                "<p class=\"under\">first at {}.{:06} s in conversation <code>{}</code>{}{}{}</p>",
                first.t / 1_000_000,
                first.t % 1_000_000,
                escape(&first.conversation),
                optional("seq", first.seq.map(|seq| seq.to_string())),
                optional("message", first.client_msg_id.clone()),
                optional("device", first.device.clone())
            );
        }
        out.push_str("</div>\n");
    }
}

fn checks(out: &mut String, run: &RunRecord) {
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

fn faults(out: &mut String, run: &RunRecord) {
    let rows = run.faults.iter().map(|fault| {
        vec![
            cell(&fault.name),
            cell(&fault.kind),
            number(seconds(fault.at_ms)),
            number(seconds(fault.until_ms)),
            number(fault.all_back_ms.map_or_else(String::new, seconds)),
            cell(&hits(&fault.affected)),
            cell(&fault.missed.join(", ")),
        ]
    });
    table(out, "Faults", &["fault", "kind", "#from", "#until", "#all back after", "hit", "missed"], rows);
}

fn work(out: &mut String, run: &RunRecord) {
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

fn service_levels(out: &mut String, run: &RunRecord) {
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
            number(milliseconds(level.at_most_ms)),
        ]
    });
    let header = ["measured", "#percentile", "verdict", "#found", "#at most"];
    table(out, "Service levels, in simulated milliseconds", &header, rows);
}

/// How many devices each gateway had: at its peak, and when all were back after each fault.
fn gateways(out: &mut String, run: &RunRecord) {
    let faults: Vec<_> = run.faults.iter().filter(|fault| !fault.connected_after.is_empty()).collect();
    let after: Vec<String> = faults.iter().map(|fault| format!("#after {}", fault.name)).collect();
    let header: Vec<&str> = ["gateway", "#peak"].into_iter().chain(after.iter().map(String::as_str)).collect();
    let rows = run.hosts.iter().map(|(name, host)| {
        let connected = faults.iter().map(|fault| fault.connected_after.get(name).copied().unwrap_or(0));
        let counts = [host.connected_peak].into_iter().chain(connected);
        std::iter::once(cell(name)).chain(counts.map(|count| number(grouped(count)))).collect()
    });
    table(out, "Devices connected to each gateway", &header, rows);
}

fn latencies(out: &mut String, run: &RunRecord) {
    let rows = run.latency_ms.iter().map(|(name, p)| {
        let mut row = vec![cell(&name.replace('_', " ")), number(grouped(p.count))];
        row.extend([p.p50, p.p90, p.p99, p.p999, p.max].map(|ms| number(milliseconds(ms))));
        row
    });
    let header = ["measured", "#count", "#p50", "#p90", "#p99", "#p99.9", "#max"];
    table(out, "Latency, in simulated milliseconds", &header, rows);
}

fn counts(out: &mut String, run: &RunRecord) {
    let (m, c) = (&run.messages, &run.clients);
    let messages = [
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

fn sometimes(out: &mut String, run: &RunRecord) {
    let rows = run.sometimes.iter().map(|point| vec![cell(&point.name), number(grouped(point.hits))]);
    table(out, "Points reached", &["sometimes", "#hits"], rows);
}

fn phases(out: &mut String, run: &RunRecord) {
    let rows = run.phases.iter().map(|phase| {
        let values =
            [milliseconds(phase.simulated_ms as f64), milliseconds(phase.wall_ms as f64), grouped(phase.frames)];
        std::iter::once(cell(&phase.name)).chain(values.map(number)).collect()
    });
    table(out, "Phases, in milliseconds", &["phase", "#simulated", "#wall", "#frames"], rows);
}

fn ledger(out: &mut String, run: &RunRecord) {
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

/// A table with its heading. A column whose name begins with `#` holds numbers. Without rows, a word says so.
fn table(out: &mut String, title: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(out, "<h2>{}</h2>", escape(title));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        out.push_str("<p class=\"under\">None.</p>\n");
        return;
    }
    out.push_str("<div class=\"scroll\"><table>\n<tr>");
    for name in header {
        match name.strip_prefix('#') {
            Some(name) => write!(out, "<th class=\"n\">{}</th>", escape(name)),
            None => write!(out, "<th>{}</th>", escape(name)),
        }
        .expect("a string takes every write");
    }
    out.push_str("</tr>\n");
    for row in rows {
        let _ = writeln!(out, "<tr>{}</tr>", row.concat());
    }
    out.push_str("</table></div>\n");
}

fn cell(text: &str) -> String {
    format!("<td>{}</td>", escape(text))
}

fn number(text: String) -> String {
    format!("<td class=\"n\">{}</td>", escape(&text))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Markup};

    /// The page as XML: void elements closed, the one named entity replaced, the style left out.
    fn read(page: &str) -> Markup {
        let (before, rest) = page.split_once("<style>").unwrap();
        let page = format!("{before}{}", rest.split_once("</style>").unwrap().1);
        let page = page.replace("&times;", "x").replace("charset=\"utf-8\">", "charset=\"utf-8\"/>");
        Markup::read(&page.replace("initial-scale=1\">", "initial-scale=1\"/>"))
    }

    #[test]
    fn the_page_says_what_the_record_says() {
        let page = render(&testing::violated());
        let document = read(&page);
        assert_eq!(document.count("table"), 10);
        for part in [
            "<span class=\"verdict violated\">violated</span> scenarios/&lt;dark &amp; &quot;stormy&quot;&gt;.toml",
            "which has not displayed it.",
            "message <code>00000000-0000-0005-0000-00000000005a</code>",
            "<td>no-loss</td><td class=\"verdict violated\">violated</td><td class=\"n\">1,234,567</td>",
            "<td>connections closed 1,204, hosts 1</td><td>gateway-1</td>",
            "<td>gateway-1</td><td class=\"n\">39</td><td class=\"n\">39</td>",
            "<td>send to ack</td><td class=\"n\">12,000</td><td class=\"n\">0.412</td>",
            "<td class=\"n\">p99</td><td class=\"verdict pass\">pass</td><td class=\"n\">41.2</td><td class=\"n\">500</td>",
            "<td>fleet</td><td class=\"n\">8.58 MiB</td>",
            "<pre>squall run &#39;scenarios/&lt;dark",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_runs() {
        let mut run = testing::violated();
        run.scenario = "<script>alert(1)</script>".into();
        run.checks[1].first.as_mut().unwrap().message = "</p><img src=x onerror=alert(1)>".into();
        run.latency_ms.insert("<b>".into(), Default::default());
        run.memory.ledger.insert("\"><i>".into(), 1);
        run.faults[0].affected.insert("<u>".into(), 1);
        let page = render(&run);
        for forbidden in ["<script", "<img", "<b>", "<i>", "<u>", "<link", "http:", "https:", "url(", "@import"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        read(&page);
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn a_run_with_nothing_in_it_still_has_its_page() {
        let mut run = testing::passed();
        run.checks.clear();
        run.faults.clear();
        run.sometimes.clear();
        run.latency_ms.clear();
        run.memory = Default::default();
        run.verdict = Verdict::Inconclusive;
        run.inconclusive_because = vec!["nothing was acked".into()];
        let page = render(&run);
        read(&page);
        assert!(page.contains("<li>nothing was acked</li>") && page.contains("None."), "{page}");
    }
}
