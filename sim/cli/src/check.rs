//! `squall check`: says whether scenario files are right, and everything that is wrong with them; with `--explain`, what they
//! come to.

use crate::exit::Exit;
use crate::input;
use crate::output;
use squall_reports::number::grouped;
use squall_scenarios::Scenario;
use squall_world::Forecast;
use squall_world::memory::{MemoryEstimate, available_bytes, size};
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say what each scenario means: expected messages, deliveries, connects, bytes a second, and peak memory.
    #[arg(long)]
    explain: bool,
    /// The seed for which it is said; the file's own, or 0, when absent.
    #[arg(long, requires = "explain")]
    seed: Option<u64>,
}

pub fn main(args: Args) -> Exit {
    let files = match input::expand(&args.files) {
        Ok(files) => files,
        Err(exit) => return exit,
    };
    let mut worst = Exit::Pass;
    for file in files {
        match input::load(&file) {
            Ok(mut scenario) => {
                scenario.seed = Some(args.seed.or(scenario.seed).unwrap_or(0));
                let forecast = Forecast::of(&scenario);
                output::line!(
                    "{}: ok; hosts {}, devices {}, faults {}",
                    file.display(),
                    scenario.topology.hosts(),
                    forecast.clients,
                    scenario.faults.len()
                );
                if args.explain {
                    output::line!("{}", explain(&scenario, &forecast));
                }
            }
            Err(exit) => worst = exit,
        }
    }
    worst
}

/// What a scenario means, in expectation and without its faults.
fn explain(scenario: &Scenario, f: &Forecast) -> String {
    let mut out = String::new();
    let n = |value: f64| grouped(value.round() as u64);
    let phases = &scenario.phases;
    let quiet = phases.liveness_bound.map_or_else(|| "115s".to_owned(), |bound| bound.to_string());
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<12} {text}");
    };
    if !scenario.description.is_empty() {
        line("puts to test", scenario.description.clone());
    }
    line("seed", format!("{}; without what faults add", scenario.seed.unwrap_or(0)));
    line("phases", format!("ramp {}, load {}, quiet {quiet}", phases.ramp, phases.load));
    line(
        "people",
        format!(
            "{} users, {} devices ({:.2} each), {:.1} % of them connected of their own accord",
            n(f64::from(f.users)),
            n(f64::from(f.clients)),
            f.devices_per_user,
            100.0 * f.online_share
        ),
    );
    if f.largest_group > 0 {
        let groups = scenario.population.groups as usize + scenario.population.giants.len();
        line(
            "groups",
            format!("{groups}, {:.1} members on average, at most {}", f.group_members, f.largest_group),
        );
    }
    line(
        "connects",
        format!("{} until the load ends; {:.1} a second of load come back", n(f.connects), f.reconnects_per_s),
    );
    line(
        "messages",
        format!(
            "{}, {:.1} a second of load, {:.1} at the busiest; {} of them create a conversation; {:.0} bytes each",
            n(f.sends),
            f.sends_per_s,
            f.peak_sends_per_s,
            n(f.conversations),
            f.body_bytes
        ),
    );
    let fan_out = if f.sends > 0.0 { f.deliveries / f.sends } else { 0.0 };
    line("deliveries", format!("{}, {:.1} a second, {fan_out:.2} a message", n(f.deliveries), f.deliveries_per_s));
    line(
        "wire",
        format!(
            "{} frames, {} KB from devices and {} KB to them, a second of load",
            n(f.frames_per_s),
            n(f.up_bytes_per_s / 1e3),
            n(f.down_bytes_per_s / 1e3)
        ),
    );
    let memory = MemoryEstimate::of(scenario);
    let available =
        available_bytes().map_or_else(String::new, |bytes| format!(", {} available here", size(bytes as f64)));
    line("peak memory", format!("about {}{available}", size(memory.bytes() as f64)));
    out.push_str(&memory.to_string().lines().map(|line| format!("  {line}\n")).collect::<String>());
    out
}
