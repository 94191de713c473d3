//! The answer in words, as a table and as a page.

use super::curve::{Point, way};
use super::search::{Answer, Tally};
use super::{Stop, Why};
use squall_reports::html::{WhyCurve, WhyPage, render_why};
use squall_scenarios::Span;

/// Cells of a bar.
const BAR: usize = 10;

/// Everything that was found, for a terminal of 80 columns.
pub fn text(why: &Why, title: &str, shrunk: Option<&str>, limit: Span) -> String {
    let mut text = format!("{title}\n\n{}\n", sentence(why));
    if let Some(shrunk) = shrunk {
        text.push_str(&format!("{shrunk}\n"));
    }
    text.push_str("\n  violated  of replays\n");
    for (tally, what) in sets(why) {
        text.push_str(&format!("  {}  {what}\n", bar(tally)));
    }
    for (fault, points) in &why.curves {
        let name = &why.subject.scenario.faults[*fault].name;
        text.push_str(&format!("\nwhen {name:?} strikes, counted from when the load begins\n\n"));
        for point in points {
            let own = if point.own { "  as it ran" } else { "" };
            text.push_str(&format!("  {}  {:>9}{own}\n", bar(point.tally), point.at.to_string()));
        }
        text.push_str(&format!("\n{}\n", turned(points)));
    }
    let untried = untried(why, limit);
    if !untried.is_empty() {
        text.push_str(&format!("\n{untried}\n"));
    }
    text + &format!("\n{} replays in {} s\n", why.replays, why.wall.as_secs())
}

/// The same as a page.
pub fn page(why: &Why, title: &str, shrunk: Option<&str>, limit: Span) -> String {
    let curves = why.curves.iter().map(|(fault, points)| {
        let name = &why.subject.scenario.faults[*fault].name;
        WhyCurve {
            title: format!("When {name:?} strikes"),
            points: points.iter().map(|point| (point.at.as_secs_f64(), point.tally.share() * 100.0)).collect(),
            until: why.subject.scenario.phases.load.as_secs_f64(),
            words: turned(points),
        }
    });
    let notes =
        shrunk.map(str::to_owned).into_iter().chain(Some(untried(why, limit)).filter(|text| !text.is_empty()));
    render_why(&WhyPage {
        title: title.to_owned(),
        sentence: sentence(why),
        notes: notes.collect(),
        sets: sets(why).into_iter().map(|(tally, what)| (what, tally.violated, tally.of)).collect(),
        curves: curves.collect(),
    })
}

/// The answer in a sentence or two.
pub fn sentence(why: &Why) -> String {
    let property = &why.subject.property;
    let all: Vec<usize> = (0..why.subject.scenario.faults.len()).collect();
    let of = |faults: &[usize]| why.findings.tallies.get(faults).copied().unwrap_or_default();
    let without = |fault: usize| of(&all.iter().copied().filter(|other| *other != fault).collect::<Vec<_>>());
    match &why.findings.answer {
        Answer::NeedsNone => {
            let tally = of(&[]);
            format!("It needs no fault: without any, {} replays violate {property}.", count(tally))
        }
        Answer::NotReproducible => format!(
            "It is not reproducible: {} replays under other salts of the network violate {property}, too few to say what it needs.",
            count(of(&all))
        ),
        Answer::Necessary { necessary, least } => {
            let names = quoted(&why.names(necessary));
            let (was, it) = match necessary.len() {
                1 => ("was", "it"),
                2 => ("were both", "both"),
                _ => ("were all", "all"),
            };
            let lacking: Vec<String> = necessary
                .iter()
                .map(|fault| match necessary.len() {
                    1 => format!("without it in {}", count(without(*fault))),
                    _ => format!("without {:?} in {}", why.names(&[*fault])[0], count(without(*fault))),
                })
                .collect();
            let mut told = format!(
                "{names} {was} necessary: with {it} {property} is violated in {} replays, {}.",
                count(of(&all)),
                lacking.join(", ")
            );
            if least.len() > necessary.len() {
                let more: Vec<usize> = least.iter().copied().filter(|fault| !necessary.contains(fault)).collect();
                told.push_str(&format!(" The least that suffices has {} as well.", quoted(&why.names(&more))));
            }
            told
        }
        Answer::Together(least) if all.len() == 1 => format!(
            "{} was not necessary, but makes it likelier: with it {property} is violated in {} replays, without it in {}.",
            quoted(&why.names(least)),
            count(of(&all)),
            count(of(&[]))
        ),
        Answer::Together(least) => format!(
            "No single fault was necessary. The least that suffices is {}: {} replays violate {property}.",
            quoted(&why.names(least)),
            count(of(least))
        ),
        Answer::Unknown => "Which fault was necessary was not found out.".to_owned(),
    }
}

/// A row for each set of faults that was tried, as it ran first.
fn sets(why: &Why) -> Vec<(Tally, String)> {
    let all = why.subject.scenario.faults.len();
    let mut rows: Vec<_> = why.findings.tallies.iter().collect();
    rows.sort_by_key(|(faults, _)| (all - faults.len(), (*faults).clone()));
    let told = rows.into_iter().map(|(faults, tally)| {
        let missing: Vec<usize> = (0..all).filter(|fault| !faults.contains(fault)).collect();
        let what = match (faults.len(), missing.len()) {
            (_, 0) => "as it ran".to_owned(),
            (0, _) => "without any fault".to_owned(),
            (there, gone) if gone <= there => format!("without {}", quoted(&why.names(&missing))),
            _ => format!("with {} alone", quoted(&why.names(faults))),
        };
        (*tally, what)
    });
    told.collect()
}

/// Where the curve turns.
fn turned(points: &[Point]) -> String {
    let percent = |point: &Point| (point.tally.share() * 100.0).round();
    match (way(points), points) {
        (Some((before, after)), _) => format!(
            "The run turned between {} and {}: {} % before, {} % after.",
            before.at,
            after.at,
            percent(&before),
            percent(&after)
        ),
        (None, []) => "No time was tried.".to_owned(),
        (None, [first, ..]) if points.iter().all(|point| percent(point) == percent(first)) => {
            format!("Whenever it strikes, {} % are violated.", percent(first))
        }
        (None, _) => "When it strikes makes no great difference.".to_owned(),
    }
}

/// What was not tried, and why.
fn untried(why: &Why, limit: Span) -> String {
    let mut left = why.findings.untried.clone();
    let incomplete = match (&why.stop, why.curves.last()) {
        (Some(_), Some((fault, _))) if why.findings.untried.is_empty() => {
            vec![format!("further times of {:?}", why.names(&[*fault])[0])]
        }
        _ => Vec::new(),
    };
    left.extend(incomplete);
    if why.curves_untried > 0 {
        left.push(match why.curves_untried {
            1 => "the times of one more fault".to_owned(),
            more => format!("the times of {more} more faults"),
        });
    }
    if left.is_empty() {
        return String::new();
    }
    let reason = match &why.stop {
        Some(Stop::Interrupted) => ", for it was interrupted".to_owned(),
        Some(Stop::TimeIsUp) => format!(", for {limit} were up: give more with --limit"),
        Some(Stop::Failed(reason)) => format!(": {reason}"),
        None => String::new(),
    };
    format!("Not tried: {}{reason}.", left.join(", "))
}

/// A count, and a bar of its share.
fn bar(tally: Tally) -> String {
    let full = (tally.share() * BAR as f64).round() as usize;
    format!("{:>2} of {:<2}  {}{}", tally.violated, tally.of, "█".repeat(full), "·".repeat(BAR - full))
}

fn count(tally: Tally) -> String {
    format!("{} of {}", tally.violated, tally.of)
}

/// Names as a person lists them.
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}
