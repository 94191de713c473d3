//! What was violated first in which runs: by property, and where the autopsy has named it, by cause.

use super::{SweepRecord, SweepRun, Violated};
use crate::html::markup::{escape, section};
use crate::record::Verdict;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Runs of one group that are shown with their message; of the others only the seed.
const MOST_SHOWN: usize = 5;

/// The property, and the cause where it is known.
type Group<'s> = (&'s str, Option<&'s str>);

pub fn render(out: &mut String, sweep: &SweepRecord) {
    let mut groups: BTreeMap<Group<'_>, Vec<(&SweepRun, &Violated)>> = BTreeMap::new();
    for run in &sweep.runs {
        if let Some(first) = run.violated.first() {
            groups.entry((&first.check, run.cause.as_deref())).or_default().push((run, first));
        }
    }
    if !groups.is_empty() {
        section(out, "What was violated first");
    }
    for ((check, cause), runs) in groups {
        let _ = writeln!(
            out,
            "<div class=\"case\">\n<h3><span class=\"violated\">{}</span>: {}</h3>",
            escape(check),
            crate::compare::counted(runs.len(), "run")
        );
        if let Some(cause) = cause {
            let _ = writeln!(out, "<p><strong>{}</strong></p>", escape(cause));
        }
        for (run, first) in runs.iter().take(MOST_SHOWN) {
            let at = format!("{}.{:06} s", first.t / 1_000_000, first.t % 1_000_000);
            let _ = writeln!(out, "<p>{} at {at}: {}</p>", name(run), escape(&first.message));
            let _ =
                writeln!(out, "<p class=\"under\">{}<br><code>{}</code></p>", links(run), escape(&run.reproduce));
        }
        if runs.len() > MOST_SHOWN {
            let more = runs.iter().skip(MOST_SHOWN).map(|(run, _)| format!("{} ({})", name(run), links(run)));
            let _ = writeln!(out, "<p class=\"under\">and {}</p>", more.collect::<Vec<_>>().join(", "));
        }
        out.push_str("</div>\n");
    }
    others(out, sweep);
}

/// Runs that did not finish, and those that prove too little.
fn others(out: &mut String, sweep: &SweepRecord) {
    for (title, verdict) in
        [("Runs that did not finish", None), ("Runs that prove too little", Some(Verdict::Inconclusive))]
    {
        let runs: Vec<&SweepRun> = sweep.runs.iter().filter(|run| run.verdict == verdict).collect();
        if runs.is_empty() {
            continue;
        }
        section(out, title);
        out.push_str("<ul>\n");
        for run in runs {
            let because = escape(&run.because.join("; "));
            let links = if run.verdict.is_some() { format!(" ({})", links(run)) } else { String::new() };
            let _ = writeln!(
                out,
                "<li>{}{links}: {because}<br><code>{}</code></li>",
                name(run),
                escape(&run.reproduce)
            );
        }
        out.push_str("</ul>\n");
    }
}

fn name(run: &SweepRun) -> String {
    format!("{} seed {}", escape(&run.scenario), run.seed)
}

/// Its page, record, scenario and history.
fn links(run: &SweepRun) -> String {
    let link = |file: &str, name: &str| format!("<a href=\"{}/{file}\">{name}</a>", escape(&run.folder));
    let mut links =
        vec![link("report.html", "report"), link("run.json", "record"), link("scenario.toml", "scenario")];
    if run.has_history {
        links.push(link("history.jsonl", "history"));
    }
    links.join(", ")
}
