//! What was violated first in which runs: by property, and where the autopsy has named it, by cause.

use super::{SweepRecord, SweepRun, Violated};
use crate::html::markup::{escape, section};
use crate::record::Verdict;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Runs of one group that are shown with their message; of the others only the seed.
const MOST_SHOWN: usize = 5;

/// Runs that failed alike: the property, and where it is known the kind of the cause.
type Group<'s> = (&'s str, Option<String>);

pub fn render(out: &mut String, sweep: &SweepRecord) {
    let mut groups: BTreeMap<Group<'_>, Vec<(&SweepRun, &Violated)>> = BTreeMap::new();
    for run in &sweep.runs {
        if let Some(first) = run.violated.first() {
            groups.entry((&first.check, run.cause.as_deref().map(kind))).or_default().push((run, first));
        }
    }
    if !groups.is_empty() {
        section(out, "What was violated first");
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, runs)| Reverse(runs.len()));
    for ((check, _), runs) in groups {
        let _ = writeln!(
            out,
            "<div class=\"case\">\n<h3><span class=\"violated\">{}</span>: {}</h3>",
            escape(check),
            crate::compare::counted(runs.len(), "run")
        );
        for (run, first) in runs.iter().take(MOST_SHOWN) {
            if let Some(cause) = &run.cause {
                let _ = writeln!(out, "<p><strong>{}</strong></p>", escape(cause));
            }
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

/// A sentence without what is one run's own: numbers, times, and the ids of messages (`a96d9434…`).
fn kind(cause: &str) -> String {
    let mut kind = String::with_capacity(cause.len());
    for word in cause.split_inclusive(' ') {
        match word.split_once('…') {
            Some((id, rest)) if id.len() == 8 && id.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                kind.push_str("#…");
                kind.push_str(rest);
            }
            _ => {
                let mut in_number = false;
                for c in word.chars() {
                    match (c.is_ascii_digit() || (in_number && c == '.'), in_number) {
                        (true, false) => kind.push('#'),
                        (true, true) => {}
                        (false, _) => kind.push(c),
                    }
                    in_number = c.is_ascii_digit() || (in_number && c == '.');
                }
            }
        }
    }
    kind
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::tests::sweep;

    #[test]
    fn runs_stand_together_if_property_and_kind_of_cause_are_the_same() {
        let restart = |id: &str, host: u32, at: &str| {
            format!("message {id}… of device 7: acked at {at} s by messages-{host}, whose commit was not on disk")
        };
        let violated = sweep().runs.remove(1);
        let run = |seed, check: &str, cause: Option<String>| {
            let first = Violated { check: check.into(), ..violated.violated[0].clone() };
            SweepRun { seed, cause, violated: vec![first], ..violated.clone() }
        };
        let mut sweep = sweep();
        sweep.runs = vec![
            run(1, "no-loss", Some("the registry had forgotten <device> 4".into())),
            run(2, "no-loss", Some(restart("a96d9434", 1, "9.233"))),
            run(3, "no-loss", None),
            run(4, "no-loss", Some(restart("beefbeef", 0, "12.5"))),
            run(5, "same-order", Some(restart("00000000", 1, "9.233"))),
        ];
        let mut page = String::new();
        render(&mut page, &sweep);
        let cases: Vec<&str> = page.split("<div class=\"case\">").skip(1).collect();
        let seeds =
            |case: &str| (1..=5).filter(|seed| case.contains(&format!(" seed {seed} at"))).collect::<Vec<_>>();
        let mut grouped: Vec<Vec<i32>> = cases.iter().map(|case| seeds(case)).collect();
        assert_eq!(grouped.remove(0), [2, 4], "the largest group stands first");
        grouped.sort();
        assert_eq!(grouped, [[1], [3], [5]]);
        assert!(cases[0].contains("no-loss</span>: 2 runs") && cases[0].contains("messages-0, whose"), "{page}");
        assert!(page.contains("forgotten &lt;device&gt; 4"));
    }

    #[test]
    fn a_kind_has_nothing_of_one_run() {
        assert_eq!(kind("acked at 9.233 s by messages-1."), "acked at # s by messages-#");
        assert_eq!(kind("message a96d9434… of device 35"), "message #… of device #");
        assert_eq!(kind("a word… and more"), "a word… and more");
    }
}
