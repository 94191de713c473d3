//! `squall check`: says whether scenario files are right, and everything that is wrong with them; with `--explain`, what they
//! come to.

use crate::exit::Exit;
use crate::input;
use crate::output;
use squall_reports::number::grouped;
use squall_scenarios::{Fault, Scenario};
use squall_world::Forecast;
use squall_world::memory::{MemoryEstimate, available_bytes, size};
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say what each scenario means: expected messages, deliveries, connects, bytes a second, peak memory, and each fault.
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

/// What a scenario means: traffic in expectation and without what the faults do to it, then the faults.
fn explain(scenario: &Scenario, f: &Forecast) -> String {
    let mut out = String::new();
    let n = |value: f64| grouped(value.round() as u64);
    let phases = &scenario.phases;
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "  {what:<12} {text}");
    };
    if !scenario.description.is_empty() {
        line("puts to test", squall_scenarios::printable(&scenario.description).into_owned());
    }
    line("seed", format!("{}; without what faults add", scenario.seed.unwrap_or(0)));
    line("phases", format!("ramp {}, load {}, quiet {}", phases.ramp, phases.load, phases.quiet()));
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
    if scenario.faults.is_empty() {
        line("faults", "none".to_owned());
    }
    for fault in &scenario.faults {
        line("fault", in_words(fault, scenario));
    }
    let memory = MemoryEstimate::of(scenario);
    let available =
        available_bytes().map_or_else(String::new, |bytes| format!(", {} available here", size(bytes as f64)));
    line("peak memory", format!("about {}{available}", size(memory.bytes() as f64)));
    out.push_str(&memory.to_string().lines().map(|line| format!("  {line}\n")).collect::<String>());
    out
}

/// A fault: whom it strikes, when, for how long, and which checks it must expose.
fn in_words(fault: &Fault, scenario: &Scenario) -> String {
    let mut words = format!("{:?}: {}", fault.name, fault.kind.name());
    for (key, targets) in fault.kind.targets() {
        let _ = write!(words, ", {key} {targets}");
    }
    if let Some(share) = fault.kind.share() {
        let _ = write!(words, ", share {share}");
    }
    let times = fault.occurrences(scenario.phases.load).len();
    let _ = write!(words, "; at {}", fault.at);
    if let Some(within) = fault.within {
        let _ = write!(words, " or up to {within} later");
    }
    if let Some(every) = fault.every {
        let _ = write!(words, " and every {every}, {times} times in all");
    }
    match fault.lasts {
        _ if fault.kind.is_instant() => {}
        Some(lasts) => {
            let _ = write!(words, ", for {lasts}");
        }
        None => words.push_str(", until the load ends"),
    }
    match fault.must_expose(&scenario.topology) {
        [] => words.push_str("; need not break anything"),
        checks => {
            let _ = write!(words, "; must expose {}", checks.join(", "));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::parse;
    use std::path::Path;

    #[test]
    fn a_fault_is_told_with_whom_it_strikes_when_and_against_what() {
        for (keys, expected) in [
            (
                "kind = \"crash\"\ntarget = [\"gateway-0\", \"one of gateway-*\"]\nat = \"5s\"\nfor = \"3s\"\nevery = \"10s\"",
                "\"crash-1\": crash, target gateway-0, one of gateway-*; at 5s and every 10s, 3 times in all, for 3s; must expose no-loss",
            ),
            (
                "kind = \"hold\"\nbetween = [\"gateway-*\"]\nand = [\"messages-0\"]\nat = \"5s\"",
                "\"hold-1\": hold, between gateway-*, and messages-0; at 5s, until the load ends; need not break anything",
            ),
            (
                "kind = \"disconnect\"\nshare = 0.5\nat = \"5s\"\nwithin = \"2s\"",
                "\"disconnect-1\": disconnect, share 0.5; at 5s or up to 2s later; must expose no-loss",
            ),
        ] {
            let scenario = parse(&format!("[[faults]]\n{keys}"), Path::new("x.toml")).unwrap();
            assert_eq!(in_words(&scenario.faults[0], &scenario), expected);
        }
    }
}
