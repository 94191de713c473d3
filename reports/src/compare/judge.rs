//! From pairs of runs to a word for each measure.

use super::bounds::{Bound, Bounds, same};
use super::interleaved::in_turn;
use super::measures::{Better, Measure, all};
use super::pairs::{Pairs, Side, pair};
use super::*;
use crate::folder::Found;
use crate::record::RunRecord;
use crate::statistics::{holm, median, wilcoxon};
use std::collections::BTreeSet;

/// Compares two sides. `only` confines the measures to those that it names; the fewer are asked, the fewer pairs are needed.
///
/// # Errors
/// The sides have no run in common, or something is named that nothing measures.
pub fn compare(a: &Side, b: &Side, bounds: &Bounds, only: &[String]) -> Result<Comparison, CompareError> {
    let Pairs { different, all: every, mut notes } = pair(a, b)?;
    let (different, every) = (records(&different), records(&every));
    let measures = chosen(&different, bounds, only)?;
    let machine = in_turn(&every);
    if let (Err(why), true) = (machine, measures.iter().any(|measure| measure.of_machine)) {
        notes.push(format!("speed and memory are shown and not judged: {}", why.reason()));
    }
    let mut asked: Vec<Asked> = measures
        .iter()
        .map(|measure| match measure.of_machine {
            true => Asked::new(measure, &every, machine.is_ok()),
            false => Asked::new(measure, &different, true),
        })
        .collect();
    let tested = test(&mut asked, different.len(), &mut notes);
    let bounded = hold_against(&mut asked, bounds, &mut notes);
    let (points_a, points_b) = (points(&different, |pair| pair.0), points(&different, |pair| pair.1));
    Ok(Comparison {
        a: in_words(a, &different, |pair| pair.0),
        b: in_words(b, &different, |pair| pair.1),
        pairs: different.len(),
        turned: different.iter().filter_map(|(a, b)| turned(a, b)).collect(),
        measures: asked.into_iter().map(|asked| asked.compared).filter(|compared| compared.pairs > 0).collect(),
        lost_points: points_a.difference(&points_b).cloned().collect(),
        new_points: points_b.difference(&points_a).cloned().collect(),
        notes,
        curves: curves(&different),
        judged: tested || bounded,
    })
}

type Records<'r> = (&'r RunRecord, &'r RunRecord);

fn records<'r>(pairs: &[(&'r Found, &'r Found)]) -> Vec<Records<'r>> {
    pairs.iter().map(|(a, b)| (&a.record, &b.record)).collect()
}

/// The measures of these runs, or those of them that are named or bounded.
fn chosen(pairs: &[Records<'_>], bounds: &Bounds, only: &[String]) -> Result<Vec<Measure>, CompareError> {
    let mut measures = all(pairs.iter().flat_map(|(a, b)| [*a, *b]));
    let names: Vec<&str> = measures.iter().map(|measure| measure.name.as_str()).collect();
    bounds.must_name(&names)?;
    if let Some(unknown) = only.iter().find(|name| !names.iter().any(|known| same(known, name))) {
        return Err(CompareError::UnknownMeasure { measure: unknown.clone(), known: names.join(", ") });
    }
    measures.retain(|measure| {
        only.is_empty()
            || only.iter().any(|name| same(name, &measure.name))
            || bounds.on(&measure.name).next().is_some()
    });
    Ok(measures)
}

/// A measure and what both runs of each pair came to.
struct Asked {
    values: Vec<(f64, f64)>,
    compared: Compared,
    /// What its values say is of the two sides, and not of the machine or of nothing.
    counts: bool,
}

impl Asked {
    fn new(measure: &Measure, pairs: &[Records<'_>], counts: bool) -> Asked {
        let both = pairs.iter().filter_map(|(a, b)| (measure.of)(a).zip((measure.of)(b)));
        let values: Vec<(f64, f64)> = both.collect();
        let counts = counts && !values.is_empty();
        Asked { compared: describe(measure, &values), values, counts }
    }
}

/// Gives each measure of which there are enough pairs its word; whether any difference could have been told from chance.
fn test(asked: &mut [Asked], pairs: usize, notes: &mut Vec<String>) -> bool {
    let mut tested: Vec<&mut Asked> =
        asked.iter_mut().filter(|asked| asked.counts && asked.values.len() >= FEWEST_PAIRS).collect();
    let p: Vec<f64> = tested.iter().map(|asked| wilcoxon::p_value(&differences(&asked.values))).collect();
    for (asked, p) in tested.iter_mut().zip(holm::adjusted(&p)) {
        asked.compared.p = Some(p);
        asked.compared.word = word(&asked.compared, p);
    }
    let count = tested.len();
    let is_possible = |pairs: usize| count as f64 * 0.5_f64.powi(pairs as i32 - 1) <= LEVEL;
    let possible = tested.iter().any(|asked| is_possible(asked.values.len()));
    if count > 0 && !possible {
        let needed = (FEWEST_PAIRS..).find(|pairs| is_possible(*pairs)).unwrap_or(FEWEST_PAIRS);
        notes.push(format!(
            "with {} and {} no difference could be told from chance: make {needed} pairs, or ask for less with --only",
            counted(pairs, "pair"),
            counted(count, "measure")
        ));
    } else if count == 0 && pairs < FEWEST_PAIRS {
        notes.push(format!(
            "with fewer than {FEWEST_PAIRS} pairs nothing is called worse but what a file of bounds says"
        ));
    }
    possible
}

/// Holds measures against their bounds; whether any of them could be broken.
fn hold_against(asked: &mut [Asked], bounds: &Bounds, notes: &mut Vec<String>) -> bool {
    let mut held = false;
    for Asked { compared, counts, .. } in asked {
        let name = compared.name.clone();
        for bound in bounds.on(&name) {
            if *counts {
                held = true;
                compared.broken.extend(broken(bound, compared));
            } else {
                notes.push(format!("the bound on {name} was not judged"));
            }
        }
    }
    held
}

/// How far B is from A in each pair, as a share of both: the same for two sides that are exchanged, whatever the scale of a scenario.
fn differences(values: &[(f64, f64)]) -> Vec<f64> {
    let difference = |(a, b): &(f64, f64)| if a == b { 0.0 } else { 2.0 * (b - a) / (a.abs() + b.abs()) };
    values.iter().map(difference).collect()
}

fn describe(measure: &Measure, values: &[(f64, f64)]) -> Compared {
    let (a, b): (Vec<f64>, Vec<f64>) = values.iter().copied().unzip();
    let changes: Vec<f64> = values.iter().filter(|(a, _)| *a > 0.0).map(|(a, b)| b / a - 1.0).collect();
    let (a, b) = (median(&a).unwrap_or(0.0), median(&b).unwrap_or(0.0));
    Compared {
        name: measure.name.clone(),
        unit: measure.unit,
        better: measure.better,
        of_machine: measure.of_machine,
        pairs: values.len(),
        a,
        b,
        // Of what A never had, a share says nothing.
        change: if b > 0.0 && 2 * changes.len() < values.len() {
            None
        } else {
            Some(median(&changes).unwrap_or(0.0))
        },
        p: None,
        word: Word::NotJudged,
        broken: Vec::new(),
    }
}

fn word(measure: &Compared, p: f64) -> Word {
    let least = if measure.of_machine { LEAST_CHANGE_OF_MACHINE } else { LEAST_CHANGE };
    let change = measure.change.unwrap_or(f64::INFINITY);
    match measure.better {
        _ if p > LEVEL || change.abs() < least => Word::Same,
        Better::Neither => Word::Other,
        Better::Lower if change > 0.0 => Word::Worse,
        Better::Higher if change < 0.0 => Word::Worse,
        Better::Lower | Better::Higher => Word::Better,
    }
}

/// How a bound is broken, if it is.
fn broken(bound: &Bound, measure: &Compared) -> Vec<String> {
    let mut broken = Vec::new();
    let change = measure.change.unwrap_or(f64::INFINITY);
    let worse = match measure.better {
        Better::Lower => change,
        Better::Higher => -change,
        Better::Neither => change.abs(),
    };
    let name = &measure.name;
    // A rounding of the last bit breaks no bound.
    if let Some(most) = bound.worse_by_at_most.filter(|most| 100.0 * worse > most + 1e-9) {
        broken.push(format!("{name}: {} breaks the bound of {most} % worse", change_text(measure.change)));
    }
    if let Some(most) = bound.at_most.filter(|most| measure.b > *most) {
        broken.push(format!("{name}: {} is over the bound of {most}", measure.unit.text(measure.b)));
    }
    if let Some(least) = bound.at_least.filter(|least| measure.b < *least) {
        broken.push(format!("{name}: {} is under the bound of {least}", measure.unit.text(measure.b)));
    }
    broken
}

fn turned(a: &RunRecord, b: &RunRecord) -> Option<Turned> {
    let violated = |run: &RunRecord| -> BTreeSet<String> {
        let checks = run.checks.iter().filter(|check| check.verdict == Verdict::Violated);
        checks.map(|check| check.name.clone()).collect()
    };
    let newly_violated: Vec<String> = violated(b).difference(&violated(a)).cloned().collect();
    (a.verdict != b.verdict || !newly_violated.is_empty()).then(|| Turned {
        scenario: b.scenario.clone(),
        seed: b.seed,
        a: a.verdict,
        b: b.verdict,
        newly_violated,
        reproduce: b.reproduce.clone(),
    })
}

type Of = for<'p, 'r> fn(&'p Records<'r>) -> &'r RunRecord;

fn points(pairs: &[Records<'_>], of: Of) -> BTreeSet<String> {
    let hit = pairs.iter().flat_map(|pair| of(pair).sometimes.iter().filter(|point| point.hits > 0));
    hit.map(|point| point.name.clone()).collect()
}

fn in_words(side: &Side, pairs: &[Records<'_>], of: Of) -> SideWords {
    let mut verdicts = [0; 3];
    for pair in pairs {
        verdicts[match of(pair).verdict {
            Verdict::Pass => 0,
            Verdict::Violated => 1,
            Verdict::Inconclusive => 2,
        }] += 1;
    }
    let about = pairs.iter().map(|pair| of(pair).about.as_ref());
    let builds: BTreeSet<String> = about
        .map(|about| match about {
            None => "an unknown build".to_owned(),
            Some(about) => {
                let commit = about.build.commit.as_deref().unwrap_or("unknown");
                let changed = if about.build.clean { "" } else { " with changes" };
                format!("{} of {}{changed}", about.build.version, &commit[..commit.len().min(12)])
            }
        })
        .collect();
    let builds = match builds.len() {
        1 => builds.into_iter().collect::<String>(),
        n => format!("{n} builds"),
    };
    SideWords {
        name: side.name.clone(),
        words: format!("{}, {builds}", counted(side.runs.len(), "run")),
        verdicts,
    }
}

/// The latencies of both sides, where all of their records have them whole.
fn curves(pairs: &[Records<'_>]) -> Vec<Curves> {
    let names: BTreeSet<&String> = pairs.iter().flat_map(|(a, _)| a.latency_hdr.keys()).collect();
    let merged = |name: &str, of: Of| {
        let mut all = Histogram::new();
        for pair in pairs {
            // Where a run has measured nothing it has nothing to add.
            let Some(text) = of(pair).latency_hdr.get(name) else { continue };
            all.merge(&Histogram::from_base64(text).ok()?);
        }
        (all.count() > 0).then_some(all)
    };
    let curves = names.into_iter().filter_map(|name| {
        let (a, b) = (merged(name, |pair| pair.0)?, merged(name, |pair| pair.1)?);
        Some(Curves { name: name.clone(), a, b })
    });
    curves.collect()
}

#[cfg(test)]
mod tests {
    use super::super::pairs::tests::side;
    use super::*;
    use crate::record::{AboutRecord, BuildRecord, FirstViolation, MachineRecord};
    use crate::testing;
    use std::path::PathBuf;

    /// A run of this seed whose acks take so long, on an unknown machine.
    fn run(seed: u64, ms: f64) -> RunRecord {
        let mut run = RunRecord { seed, ..testing::passed() };
        let acks = run.latency_ms.get_mut("send_to_ack").unwrap();
        (acks.p50, acks.p99, acks.max) = (ms, 3.0 * ms, 40.0 * ms);
        run
    }

    /// Twenty runs around 20 ms, each of its own length, in the same way for every `salt`.
    fn runs(count: u64, salt: u64, factor: f64) -> Vec<RunRecord> {
        // Steele, Lea and Flood's SplitMix64 (2014).
        let noise = |seed: u64| {
            let mut mixed = (salt << 32 | seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ mixed >> 31) as f64 / u64::MAX as f64
        };
        (0..count).map(|seed| run(seed, factor * (18.0 + 4.0 * noise(seed)))).collect()
    }

    fn compared(a: Vec<RunRecord>, b: Vec<RunRecord>) -> Comparison {
        compare(&side("a", a), &side("b", b), &Bounds::default(), &[]).unwrap()
    }

    fn word_of(comparison: &Comparison, name: &str) -> Word {
        comparison.measures.iter().find(|measure| measure.name == name).unwrap().word
    }

    #[test]
    fn equal_builds_are_equal_and_a_fifth_slower_is_seen() {
        let equal = compared(runs(20, 1, 1.0), runs(20, 1, 1.0));
        assert_eq!(equal.answer(), Answer::NotWorse, "{:?}", equal.regressions());
        assert_eq!(equal.sentence(), "Nothing tells B from A in 20 pairs of runs.");
        let slower = compared(runs(20, 1, 1.0), runs(20, 2, 1.2));
        assert_eq!(slower.answer(), Answer::Worse);
        assert_eq!(word_of(&slower, "send to ack p50"), Word::Worse);
        assert_eq!(word_of(&slower, "acked"), Word::Same);
        let faster = compared(runs(20, 2, 1.2), runs(20, 1, 1.0));
        assert_eq!((faster.answer(), word_of(&faster, "send to ack p50")), (Answer::NotWorse, Word::Better));
    }

    #[test]
    fn of_two_hundred_comparisons_of_equal_sides_at_most_a_twentieth_finds_something() {
        let wrong = (0..200).filter(|n| {
            let comparison = compared(runs(20, 2 * n, 1.0), runs(20, 2 * n + 1, 1.0));
            comparison.answer() != Answer::NotWorse
        });
        assert!(wrong.count() <= 10);
    }

    #[test]
    fn few_pairs_prove_nothing_without_bounds() {
        let (a, b) = (runs(5, 1, 1.0), runs(5, 1, 3.0));
        let few = compared(a.clone(), b.clone());
        assert_eq!((few.answer(), word_of(&few, "send to ack p50")), (Answer::TooLittle, Word::NotJudged));
        assert!(few.notes.iter().any(|note| note.contains("fewer than 6 pairs")), "{:?}", few.notes);
        let seven = compared(runs(7, 1, 1.0), runs(7, 1, 3.0));
        assert_eq!(seven.answer(), Answer::TooLittle);
        assert!(seven.notes.iter().any(|note| note.contains("make 9 pairs")), "{:?}", seven.notes);
        let only = ["send-to-ack p50".to_owned()];
        let asked = compare(&side("a", runs(7, 1, 1.0)), &side("b", runs(7, 1, 3.0)), &Bounds::default(), &only);
        assert_eq!(asked.unwrap().answer(), Answer::Worse, "one question needs fewer pairs");
        let bound = |worse_by_at_most, at_most| Bounds {
            path: PathBuf::from("bounds.toml"),
            bounds: vec![Bound { measure: "send to ack p50".into(), worse_by_at_most, at_most, at_least: None }],
        };
        // The machine's part cannot be told, and a bound on it is not held.
        let speed = Bound { measure: "speed".into(), worse_by_at_most: None, at_most: None, at_least: Some(1e9) };
        for (bounds, answer) in [
            (bound(Some(150.0), None), Answer::Worse),
            (bound(Some(200.0), None), Answer::NotWorse),
            (bound(None, Some(50.0)), Answer::Worse),
            (Bounds { path: PathBuf::new(), bounds: vec![speed] }, Answer::TooLittle),
        ] {
            let comparison = compare(&side("a", a.clone()), &side("b", b.clone()), &bounds, &[]).unwrap();
            assert_eq!(comparison.answer(), answer, "{:?}", comparison.regressions());
        }
    }

    #[test]
    fn a_violation_is_a_regression_in_a_single_pair() {
        let mut broken = run(1, 20.0);
        broken.verdict = Verdict::Violated;
        broken.checks[0].verdict = Verdict::Violated;
        broken.checks[0].first = Some(FirstViolation {
            t: 1,
            conversation: String::new(),
            seq: None,
            client_msg_id: None,
            device: None,
            user: None,
            level: None,
            message: String::new(),
        });
        let comparison = compared(vec![run(1, 20.0)], vec![broken.clone()]);
        assert_eq!(comparison.answer(), Answer::Worse);
        assert!(comparison.regressions()[0].contains("acked-is-durable is violated in B"));
        assert_eq!(compared(vec![broken.clone()], vec![broken]).answer(), Answer::TooLittle);
    }

    fn on_a_machine(mut run: RunRecord, second: u64, speed: f64) -> RunRecord {
        let build = BuildRecord { version: "1".into(), commit: None, clean: true, program: None };
        let machine = MachineRecord { processor: None, cores: 2, memory_bytes: 1, system: "linux".into() };
        run.about = Some(AboutRecord { build, machine, started: format!("2026-01-01T00:00:{second:02}.000Z") });
        run.speed = speed;
        run
    }

    #[test]
    fn speed_counts_when_the_runs_were_made_in_turn() {
        let half = |first: u64, step: u64, speed: f64| -> Vec<RunRecord> {
            (0..15).map(|n| on_a_machine(run(7, 20.0), first + step * n, speed + n as f64 / 10.0)).collect()
        };
        let in_turn = compared(half(0, 2, 300.0), half(1, 2, 200.0));
        assert_eq!(word_of(&in_turn, "speed"), Word::Worse, "{:?}", in_turn.notes);
        assert_eq!(in_turn.pairs, 1, "runs of one seed are one run, whatever the machine did");
        let one_by_one = compared(half(0, 1, 300.0), half(20, 1, 200.0));
        assert_eq!(word_of(&one_by_one, "speed"), Word::NotJudged);
        assert!(one_by_one.notes.iter().any(|note| note.contains("not made in turn")), "{:?}", one_by_one.notes);
    }

    #[test]
    fn what_nothing_measures_is_refused() {
        let only = ["speeed".to_owned()];
        let error = compare(&side("a", runs(2, 1, 1.0)), &side("b", runs(2, 1, 1.0)), &Bounds::default(), &only);
        assert!(error.unwrap_err().to_string().contains("named \"speeed\"; they measure send to ack p50"));
    }
}
