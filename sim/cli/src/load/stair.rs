//! `--stair FROM..TO/STEPS`: the largest load that a server holds.
//!
//! Each step is a run of its own, with people of its own, and has a record. The load rises by the same factor from step to step until a
//! step breaks; then the gap between the last that held and the first that broke is halved, three times.

use serde::Serialize;
use squall_reports::RunRecord;
use squall_reports::record::Verdict;
use squall_scenarios::{Scenario, Span};
use std::fmt::Write;
use std::str::FromStr;

/// How often the gap between what held and what broke is halved.
const HALVINGS: u32 = 3;
/// A step has at least so many messages, so that its 99th percentile is of a hundred of them.
const MESSAGES: f64 = 10_000.0;
/// And its load is at least so long, and at most.
const SHORTEST: Span = Span::from_secs(10);
const LONGEST: Span = Span::from_secs(120);
/// Where the scenario states no service level, a server keeps up whose acks take no longer than this at the 99th percentile.
const ACK_P99_MS: f64 = 1_000.0;
/// And that has answered such a share of what was sent by the end.
const ANSWERED: f64 = 0.99;

/// What rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Of {
    /// Sends a second of all people together.
    #[default]
    Rate,
    /// People.
    Users,
}

/// From where to where, in how many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stair {
    pub from: u64,
    pub to: u64,
    pub steps: u32,
}

impl FromStr for Stair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no stair: write FROM..TO/STEPS, e.g. 1000..50000/8, with FROM above 0, TO above FROM and 2 to 50 steps"
            )
        };
        let (range, steps) = text.split_once('/').ok_or_else(wrong)?;
        let (from, to) = range.split_once("..").ok_or_else(wrong)?;
        let stair = Stair {
            from: from.parse().map_err(|_| wrong())?,
            to: to.parse().map_err(|_| wrong())?,
            steps: steps.parse().map_err(|_| wrong())?,
        };
        (stair.from > 0 && stair.to > stair.from && (2..=50).contains(&stair.steps))
            .then_some(stair)
            .ok_or_else(wrong)
    }
}

impl Stair {
    /// The loads of all steps, the same factor apart.
    pub fn loads(self) -> Vec<u64> {
        let factor = (self.to as f64 / self.from as f64).powf(1.0 / f64::from(self.steps - 1));
        (0..self.steps).map(|n| (self.from as f64 * factor.powi(n as i32)).round() as u64).collect()
    }
}

/// What came of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub load: u64,
    pub held: bool,
    /// Why it did not hold, or why it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    pub verdict: Verdict,
    /// The generator was what held it up: it says nothing of the server.
    pub generator_was_late: bool,
    pub acks_per_s: f64,
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    pub deliver_p99_ms: f64,
    pub generator_cpu_us_per_frame: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_share: Option<f64>,
}

/// What all steps came to.
#[derive(Debug, Serialize)]
pub struct Knee {
    /// What rose.
    pub of: &'static str,
    /// The largest load that held; 0 if none did.
    pub held: u64,
    /// The smallest that did not, if one did not.
    pub broke: Option<u64>,
    pub steps: Vec<Step>,
}

/// A step's scenario.
pub fn scenario(base: &Scenario, of: Of, load: u64) -> Scenario {
    let mut scenario = base.clone();
    match of {
        Of::Rate => scenario.set_rate(load as f64),
        Of::Users => scenario.population.users = u32::try_from(load).unwrap_or(u32::MAX),
    }
    let rate = squall_generators::Forecast::of(&scenario).sends_per_s.max(0.001);
    let long = Span::from_millis((MESSAGES / rate * 1_000.0).min(1e9) as u64);
    scenario.phases.load = scenario.phases.load.max(SHORTEST).max(long).min(LONGEST.max(scenario.phases.load));
    scenario
}

/// Climbs until a step breaks or the top has held. `run` runs a step; `told` hears of each that is over.
///
/// # Errors
/// Those of `run`, with which everything ends.
pub fn climb<E>(
    stair: Stair,
    of: Of,
    mut run: impl FnMut(u64) -> Result<RunRecord, E>,
    mut told: impl FnMut(&Step),
) -> Result<Knee, E> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut held, mut broke) = (0, None);
    let mut try_it = |load: u64, steps: &mut Vec<Step>| -> Result<Option<bool>, E> {
        let record = run(load)?;
        let step = judge(load, &record);
        told(&step);
        let came = if step.generator_was_late || record.interrupted { None } else { Some(step.held) };
        steps.push(step);
        Ok(came)
    };
    for load in stair.loads() {
        match try_it(load, &mut steps)? {
            Some(true) => held = load,
            Some(false) => {
                broke = Some(load);
                break;
            }
            None => break,
        }
    }
    for _ in 0..HALVINGS {
        let Some(top) = broke.filter(|_| held > 0) else { break };
        let middle = (held as f64 * top as f64).sqrt().round() as u64;
        if middle <= held || middle >= top {
            break;
        }
        match try_it(middle, &mut steps)? {
            Some(true) => held = middle,
            Some(false) => broke = Some(middle),
            None => break,
        }
    }
    steps.sort_by_key(|step| step.load);
    let of = match of {
        Of::Rate => "sends a second",
        Of::Users => "users",
    };
    Ok(Knee { of, held, broke, steps })
}

/// Whether a server kept up with a step.
fn judge(load: u64, record: &RunRecord) -> Step {
    let p = |measure: &str| record.latency_ms.get(measure).copied().unwrap_or_default();
    let (ack, deliver) = (p("send_to_ack"), p("send_to_deliver"));
    let answered = (record.messages.acked + record.messages.refused) as f64 / record.messages.sent.max(1) as f64;
    let late = record.inconclusive_because.iter().find(|reason| reason.starts_with("the generator")).cloned();
    let violated = record.checks.iter().find(|check| check.verdict == Verdict::Violated);
    let because = match violated {
        Some(check) => {
            Some(check.first.as_ref().map_or_else(|| check.name.clone(), |first| first.message.clone()))
        }
        None if record.messages.acked == 0 => Some("nothing was acked".into()),
        None if answered < ANSWERED => Some(format!("{:.1} % of what was sent was answered", 100.0 * answered)),
        None if record.service_levels.is_empty() && ack.p99 > ACK_P99_MS => {
            Some(format!("acks took {:.0} ms at the 99th percentile", ack.p99))
        }
        None => None,
    };
    let load_record = record.load.as_ref();
    let server = load_record.and_then(|load| load.server);
    Step {
        load,
        held: because.is_none() && late.is_none(),
        generator_was_late: late.is_some() && because.is_none(),
        because: because.or(late),
        verdict: record.verdict,
        acks_per_s: load_record.map_or(0.0, |load| load.acks_per_s),
        ack_p50_ms: ack.p50,
        ack_p99_ms: ack.p99,
        deliver_p99_ms: deliver.p99,
        generator_cpu_us_per_frame: load_record.map_or(0.0, |load| load.cpu_us_per_frame),
        server_cpu_share: server.map(|server| server.cpu_ms as f64 / record.wall_ms.max(1) as f64),
    }
}

/// The curve as a table, and the knee in a sentence.
pub fn render(knee: &Knee) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "  {:>10}  {:>9}  {:>8}  {:>8}  {:>11}  held",
        knee.of.split(' ').next().unwrap_or(""),
        "acks/s",
        "ack p50",
        "ack p99",
        "deliver p99"
    );
    for step in &knee.steps {
        let _ = writeln!(
            out,
            "  {:>10}  {:>9.0}  {:>8.1}  {:>8.1}  {:>11.1}  {}",
            step.load,
            step.acks_per_s,
            step.ack_p50_ms,
            step.ack_p99_ms,
            step.deliver_p99_ms,
            if step.held { "yes".to_owned() } else { format!("no: {}", step.because.as_deref().unwrap_or("")) }
        );
    }
    let is_generators = knee.steps.iter().any(|step| step.generator_was_late);
    let _ = match (knee.held, knee.broke) {
        (0, _) => writeln!(out, "\nNo step held: begin the stair lower."),
        (held, Some(broke)) => writeln!(out, "\nThe server held {held} {} and broke at {broke}.", knee.of),
        (held, None) if is_generators => writeln!(
            out,
            "\nThe server held {held} {}; beyond that the generator was what came late, so where the server breaks is not known.",
            knee.of
        ),
        (held, None) => {
            writeln!(out, "\nThe server held the whole stair, up to {held} {}: climb higher.", knee.of)
        }
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stair_rises_by_the_same_factor_and_nonsense_is_refused() {
        let stair: Stair = "1000..8000/4".parse().unwrap();
        assert_eq!(stair.loads(), [1_000, 2_000, 4_000, 8_000]);
        for text in ["", "1..2", "0..5/3", "9..3/3", "1..9/1", "1..9/99", "a..b/3"] {
            assert!(text.parse::<Stair>().is_err_and(|said| said.contains("FROM..TO/STEPS")), "{text}");
        }
    }

    #[test]
    fn a_step_lasts_until_its_99th_percentile_means_something() {
        let base = Scenario::default();
        let slow = scenario(&base, Of::Rate, 200);
        // A little shorter than 10,000 messages at 200 a second take: conversations are created as well.
        assert!((Span::from_secs(40)..=Span::from_secs(50)).contains(&slow.phases.load), "{}", slow.phases.load);
        assert_eq!(scenario(&base, Of::Rate, 1).phases.load, LONGEST.max(base.phases.load));
        assert_eq!(scenario(&base, Of::Users, 500).population.users, 500);
    }
}
