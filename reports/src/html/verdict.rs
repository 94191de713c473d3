//! What a run came to: a sentence for whoever has a minute, and then everything that was broken, the first of it first.

use super::markup::{escape, section};
use crate::number::{bytes, grouped, seconds};
use crate::record::{CheckRecord, FirstViolation, LoadRecord, NotJudged, RunRecord, Verdict};
use crate::story;
use crate::summary::digest;
use std::fmt::Write;

pub fn render(out: &mut String, run: &RunRecord) {
    let (scenario, verdict) = (escape(&run.scenario), run.verdict.name());
    let _ = writeln!(out, "<h1><span class=\"badge {verdict}\">{verdict}</span> {scenario}</h1>");
    let _ = writeln!(out, "<p class=\"sentence\">{}</p>", escape(&sentence(run)));
    made(out, run);
    because(out, run);
    for (check, first) in in_time(run) {
        case(out, check, first);
        autopsy(out, run, check);
    }
    unexplained(out, run);
}

/// Which run it was, by which build on which machine, and which bug was planted.
pub fn made(out: &mut String, run: &RunRecord) {
    match &run.load {
        Some(load) => against(out, run, load),
        None => {
            let _ = writeln!(
                out,
                "<p class=\"under\">{}, {} simulated in {} ({:.1} &times; real time), digest <code>{}</code></p>",
                run.which(),
                seconds(run.simulated_ms),
                seconds(run.wall_ms),
                run.speed,
                escape(&digest(run))
            );
        }
    }
    if let Some(about) = &run.about {
        let commit = about.build.commit.as_deref().map_or("unknown", |commit| &commit[..commit.len().min(12)]);
        let changed = if about.build.clean { "" } else { ", with changes beside it" };
        let _ = writeln!(
            out,
            "<p class=\"under\">{}, squall {}, commit <code>{}</code>{changed}; {}, {} cores, {}</p>",
            escape(&about.started),
            escape(&about.build.version),
            escape(commit),
            escape(about.machine.processor.as_deref().unwrap_or("unknown processor")),
            about.machine.cores,
            bytes(about.machine.memory_bytes)
        );
    }
    if let Some(bug) = &run.planted {
        let _ = writeln!(out, "<p>Planted on purpose: <code>{}</code></p>", escape(bug));
    }
}

/// Which server it was, and what it and the generator took.
fn against(out: &mut String, run: &RunRecord, load: &LoadRecord) {
    let _ = writeln!(
        out,
        "<p class=\"under\">{} against <code>{}</code>, run id <code>{}</code>, {} on real sockets</p>",
        run.which(),
        escape(&load.urls.join(", ")),
        escape(&load.run_id),
        seconds(run.wall_ms)
    );
    let server = load.server.as_ref().map_or_else(String::new, |server| {
        format!("; server: {} of CPU, at most {} resident", seconds(server.cpu_ms), bytes(server.peak_rss_bytes))
    });
    let _ = writeln!(
        out,
        "<p class=\"under\">Generator: {:.1} &micro;s of CPU a frame, {} in all, {} of it to judge; a hundredth of all sends left {:.1} ms late or more{server}. \
         {} entries were read back over the wire.</p>",
        load.cpu_us_per_frame,
        seconds(load.cpu_ms),
        seconds(load.judge_cpu_ms),
        load.late_p99_ms,
        grouped(load.audited_entries)
    );
    if !load.left_out.is_empty() {
        let _ = writeln!(out, "<p>Faults that were left out: {}</p>", escape(&load.left_out.join(", ")));
    }
    let row =
        |check: &NotJudged| format!("<li><code>{}</code>: {}</li>", escape(&check.name), escape(&check.because));
    let rows: String = run.not_judged.iter().map(row).collect();
    let _ = writeln!(
        out,
        "<details><summary>{} checks are not judged here</summary><ul>{rows}</ul></details>",
        run.not_judged.len()
    );
}

/// The verdict for somebody who knows none of the words of the rest.
pub fn sentence(run: &RunRecord) -> String {
    let messages = format!(
        "{} messages were sent, {} of them confirmed, and {} shown",
        grouped(run.messages.sent),
        grouped(run.messages.acked),
        grouped(run.messages.displayed)
    );
    let trouble = match run.faults.iter().filter(|fault| fault.has_hit()).count() {
        0 => "nothing went wrong on purpose".to_owned(),
        1 => "one fault struck".to_owned(),
        n => format!("{n} faults struck"),
    };
    if run.interrupted {
        return format!("This run was stopped after {} and proves nothing.", seconds(run.simulated_ms));
    }
    match run.verdict {
        Verdict::Pass => format!("Every promise was kept while {trouble}: {messages}."),
        Verdict::Inconclusive => {
            format!(
                "Nothing was found broken, but this run proves too little to say that nothing is. {messages} while {trouble}."
            )
        }
        Verdict::Violated => match in_time(run).first() {
            Some((check, first)) => {
                let others = match in_time(run).len() - 1 {
                    0 => String::new(),
                    1 => " Another promise was broken after it.".to_owned(),
                    n => format!(" {n} other promises were broken after it."),
                };
                format!(
                    "A promise was broken, {} after {} of the run: {}.{others}",
                    check.name,
                    at(first),
                    broken(&check.name)
                )
            }
            None => "A promise was broken.".to_owned(),
        },
    }
}

/// What it means for people that a check is violated.
fn broken(check: &str) -> &'static str {
    match check {
        "acked-is-durable" => "a message that had been confirmed to its sender is not stored",
        "no-loss" => "somebody was not shown a message that was meant for them",
        "no-duplicates" => "a message was stored or shown twice",
        "dense-sequence" => "places in a conversation are missing or were given twice",
        "same-order" => "people were shown the same conversation differently",
        "sender-order" => "messages of one sender stand in another order than they were sent in",
        "nothing-unsent" => "something was shown or stored that nobody had sent like that",
        "members-only" => "somebody was shown what is none of their business",
        "every-send-answered" => "a sender was never told what became of a message",
        "cursor-behind-acks" | "cursor-never-back" => {
            "the system believes that somebody has read what they have not"
        }
        "cursor-follows-acks" => {
            "the system does not take note of what somebody has read, and tells them of it again"
        }
        "current-routes" => "messages were sent to a connection that had long been gone",
        "tables-agree" => "a disk says two things of the same conversation",
        "in-time" => "somebody who was there had to wait for a message until something else woke the system",
        "no-vain-syncs" => "a device asked for the same thing again and again, and was given nothing",
        "wire-privacy" => {
            "a device was sent what is none of its user's business, or not all of what it was told it had"
        }
        "same-stamps" => "copies of one message do not agree on who wrote it and when",
        "bounded-and-back" => "something grew beyond its limit, or stayed full after the trouble was over",
        "drains-gently" => "a gateway that was to end did so in bad order",
        "typing-holds" => "somebody was shown as writing who was not, or to somebody whom it does not concern",
        "limits-hold" => "somebody did more than a user may, or was told to wait who had not",
        "service-levels" => "it was slower than agreed",
        "nobody-harmed" => "people who had nothing to do with the trouble had to wait for it",
        _ => "something that must always hold did not",
    }
}

/// What was violated, the first by simulated time first.
fn in_time(run: &RunRecord) -> Vec<(&CheckRecord, &FirstViolation)> {
    let violated = run.checks.iter().filter(|check| check.verdict == Verdict::Violated);
    let mut found: Vec<_> = violated.filter_map(|check| Some((check, check.first.as_ref()?))).collect();
    found.sort_by_key(|(_, first)| first.t);
    found
}

fn because(out: &mut String, run: &RunRecord) {
    if run.inconclusive_because.is_empty() {
        return;
    }
    section(out, "Why this run proves too little");
    out.push_str("<ul>\n");
    for reason in &run.inconclusive_because {
        let _ = writeln!(out, "<li>{}</li>", escape(reason));
    }
    out.push_str("</ul>\n");
}

fn at(first: &FirstViolation) -> String {
    format!("{}.{:06} s", first.t / 1_000_000, first.t % 1_000_000)
}

fn case(out: &mut String, check: &CheckRecord, first: &FirstViolation) {
    let _ = writeln!(
        out,
        "<div class=\"case\">\n<h3><span class=\"violated\">{}</span>: {} {}</h3>",
        escape(&check.name),
        grouped(check.violations),
        if check.violations == 1 { "violation" } else { "violations" }
    );
    let _ = writeln!(out, "<p>{}</p>", escape(&first.message));
    let optional = |name: &str, value: Option<String>| {
        value.map_or(String::new(), |value| format!(", {name} <code>{}</code>", escape(&value)))
    };
    let conversation = Some(first.conversation.clone()).filter(|name| !name.is_empty());
    let _ = writeln!(
        out,
        "<p class=\"under\">first at {}{}{}{}{}</p>\n</div>",
        at(first),
        optional("conversation", conversation),
        optional("seq", first.seq.map(|seq| seq.to_string())),
        optional("message", first.client_msg_id.clone()),
        optional("device", first.device.clone())
    );
}

/// Why it was violated, and the way of the message.
fn autopsy(out: &mut String, run: &RunRecord, check: &CheckRecord) {
    let Some(autopsy) = run.autopsies.iter().find(|autopsy| autopsy.check == check.name) else { return };
    let _ = writeln!(out, "<p><strong>Why:</strong> {}.</p>", escape(&autopsy.cause));
    if !autopsy.diagram.steps.is_empty() {
        story::render(out, &autopsy.diagram, &format!("The way of the message, {}", check.name));
    }
}

/// What a run that was too long to be run again at once does not say, and how to ask for it.
fn unexplained(out: &mut String, run: &RunRecord) {
    if run.verdict != Verdict::Violated || !run.autopsies.is_empty() || run.interrupted {
        return;
    }
    let _ = writeln!(
        out,
        "<p>Why: <code>squall explain DIR</code> with the folder of this page runs it again, which takes about {}, and tells the way of the message.</p>",
        seconds(run.wall_ms)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_sentence_names_what_broke_first() {
        let mut run = testing::violated();
        assert_eq!(
            sentence(&run),
            "A promise was broken, no-loss after 31.004005 s of the run: somebody was not shown a message that was meant for them."
        );
        let earlier = FirstViolation { t: 5, ..run.checks[1].first.clone().unwrap() };
        run.checks[0] = CheckRecord {
            verdict: Verdict::Violated,
            violations: 1,
            first: Some(earlier),
            ..testing::check("members-only")
        };
        assert!(sentence(&run).starts_with("A promise was broken, members-only after 0.000005 s"));
        assert!(sentence(&run).ends_with("Another promise was broken after it."));
        assert!(
            sentence(&testing::passed())
                .starts_with("Every promise was kept while 2 faults struck: 12,000 messages")
        );
        run.interrupted = true;
        assert_eq!(sentence(&run), "This run was stopped after 60.000 s and proves nothing.");
    }
}
