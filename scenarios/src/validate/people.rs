//! What mixtures, popularity, giants and crowds must satisfy.

use super::findings::{Findings, WEEK, label};
use crate::model::Scenario;
use crate::people::{Bodies, Conversations, Devices, FlashCrowd, LengthPart, Lengths, Mix, Part, Popularity};
use crate::span::Span;
use squall_protocol::limits;
use std::collections::BTreeSet;

const MAX_BODY_BYTES: u32 = limits::MAX_BODY_BYTES as u32;
const MAX_GROUP_MEMBERS: u32 = limits::MAX_GROUP_MEMBERS as u32;

pub(super) fn people(scenario: &Scenario, findings: &mut Findings) {
    let (population, workload) = (&scenario.population, &scenario.workload);
    devices(&population.devices_per_user, findings);
    conversations(&population.direct_conversations_per_user, findings);
    shares("population.direct_lifecycle", population.direct_lifecycle.values().copied(), "long = 1.0", findings);
    findings.span("population.revisit_after", population.revisit_after, Span::from_millis(1)..=WEEK);
    findings.number("population.one_way_share", population.one_way_share, 0.0..=1.0);
    findings.number("population.silent_share", population.silent_share, 0.0..=1.0);
    findings.number("population.channel_share", population.channel_share, 0.0..=1.0);
    giants(scenario, findings);
    bodies(&workload.body_bytes, findings);
    lengths("workload.session_length", &workload.session_length, findings);
    lengths("workload.away_length", &workload.away_length, findings);
    popularity("workload.group_popularity", workload.group_popularity, findings);
    popularity("workload.partner_popularity", workload.partner_popularity, findings);
    arrival(scenario, findings);
    flash_crowds(scenario, findings);
}

/// Shares are 0 or more, and not all 0.
fn shares(place: &str, shares: impl Iterator<Item = f64>, example: &str, findings: &mut Findings) {
    let (mut total, label) = (0.0, label(place));
    for share in shares {
        if !(share >= 0.0 && share.is_finite()) {
            let message = format!("{label} has a share of {share}, but a share is 0 or more");
            return findings.add(place, &[], message, "leave that part out");
        }
        total += share;
    }
    if total <= 0.0 {
        // A part that could not be read is told already.
        let section: &'static [&'static str] =
            if place.starts_with("population") { &["population"] } else { &["workload"] };
        let message = format!("{label} has no part with a share above 0");
        findings.add(place, section, message, format!("give a part a share, e.g. {example}"));
    } else if !(1e-9..=1e9).contains(&total) {
        let message =
            format!("the shares in {label} add up to {total:e}, but must be within 1e-9 and 1e9 together");
        findings.add(place, &[], message, format!("write shares around 1, e.g. {example}"));
    }
}

fn mixture<T, P: Part>(place: &str, mix: &Mix<T, P>, findings: &mut Findings) {
    if let Mix::Mixture(parts) = mix {
        shares(place, parts.iter().map(P::share), "share = 1.0", findings);
    }
}

fn devices(devices: &Devices, findings: &mut Findings) {
    let place = "population.devices_per_user";
    mixture(place, devices, findings);
    match devices {
        Mix::One(devices) => findings.count(place, *devices, 1..=5),
        Mix::Mixture(parts) => {
            for (index, part) in parts.iter().enumerate() {
                findings.count(&format!("{place}[{index}].devices"), part.devices, 1..=5);
            }
        }
    }
}

fn conversations(conversations: &Conversations, findings: &mut Findings) {
    let place = "population.direct_conversations_per_user";
    mixture(place, conversations, findings);
    match conversations {
        Mix::One(conversations) => findings.count(place, *conversations, 0..=1_000),
        Mix::Mixture(parts) => {
            for (index, part) in parts.iter().enumerate() {
                findings.count(&format!("{place}[{index}].conversations"), part.conversations, 0..=1_000);
            }
        }
    }
}

fn bodies(bodies: &Bodies, findings: &mut Findings) {
    let place = "workload.body_bytes";
    mixture(place, bodies, findings);
    match bodies {
        Mix::One(bytes) => findings.count(place, *bytes, 1..=MAX_BODY_BYTES),
        Mix::Mixture(parts) => {
            for (index, part) in parts.iter().enumerate() {
                let place = format!("{place}[{index}]");
                findings.count(&format!("{place}.bytes"), part.bytes, 1..=MAX_BODY_BYTES);
                if let Some(up_to) = part.up_to {
                    findings.count(
                        &format!("{place}.up_to"),
                        up_to,
                        part.bytes.min(MAX_BODY_BYTES)..=MAX_BODY_BYTES,
                    );
                }
            }
        }
    }
}

fn lengths(place: &str, lengths: &Lengths, findings: &mut Findings) {
    mixture(place, lengths, findings);
    match lengths {
        Mix::One(length) => findings.span(place, *length, Span::ZERO..=WEEK),
        Mix::Mixture(parts) => {
            for (index, part) in parts.iter().enumerate() {
                length_part(&format!("{place}[{index}]"), part, findings);
            }
        }
    }
}

fn length_part(place: &str, part: &LengthPart, findings: &mut Findings) {
    let least = Span::from_millis(1);
    match (part.mean, part.from, part.to) {
        (Some(mean), None, None) => findings.span(&format!("{place}.mean"), mean, least..=WEEK),
        (None, Some(from), Some(to)) => {
            findings.span(&format!("{place}.from"), from, Span::ZERO..=WEEK);
            findings.span(&format!("{place}.to"), to, from.max(least).min(WEEK)..=WEEK);
        }
        _ => {
            let message = "a length has either a mean, or from and to".to_owned();
            let help = "write e.g. { share = 1.0, mean = \"5m\" } or { share = 1.0, from = \"1m\", to = \"9m\" }";
            findings.add(place, &[], message, help);
        }
    }
}

fn popularity(place: &str, popularity: Popularity, findings: &mut Findings) {
    match popularity {
        Popularity::Uniform => {}
        Popularity::Zipf { exponent } => findings.number(&format!("{place}.exponent"), exponent, 0.0..=10.0),
        Popularity::HotSet { share, traffic } => {
            findings.number(&format!("{place}.share"), share, 0.0..=1.0);
            findings.number(&format!("{place}.traffic"), traffic, 0.0..=1.0);
        }
    }
}

fn giants(scenario: &Scenario, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for (index, giant) in scenario.population.giants.iter().enumerate() {
        let place = format!("population.giants[{index}]");
        findings.count(&format!("{place}.members"), giant.members, 2..=MAX_GROUP_MEMBERS);
        let users = scenario.population.users;
        if giant.members > users && giant.members <= MAX_GROUP_MEMBERS {
            let message = format!("members is {}, but there are {users} users", giant.members);
            let help = format!("write members = {users}, or set users to {} or more", giant.members);
            findings.add(&format!("{place}.members"), &["population"], message, help);
        }
        findings.name(&format!("{place}.name"), &giant.name);
        if giant.name.is_empty() || !names.insert(&giant.name) {
            let message = format!("two giants are named {:?}, or one has no name", giant.name);
            findings.add(&format!("{place}.name"), &["population"], message, "give each a name of its own");
        }
    }
}

fn arrival(scenario: &Scenario, findings: &mut Findings) {
    let workload = &scenario.workload;
    findings.number("workload.burst_size", workload.burst_size, 1.0..=1_000.0);
    findings.span("workload.burst_gap", workload.burst_gap, Span::from_millis(1)..=WEEK);
    let bursts = workload.arrival == crate::model::Arrival::Bursts;
    if bursts && workload.burst_gap >= workload.send_interval {
        let message = format!(
            "burst_gap is \"{}\", but the mean between all messages is \"{}\": that is no burst",
            workload.burst_gap, workload.send_interval
        );
        findings.add("workload.burst_gap", &["workload"], message, "shorten burst_gap, or lengthen send_interval");
    }
    findings.span("workload.day_length", workload.day_length, Span::from_millis(100)..=WEEK);
    if workload.day_curve.len() > 1_440 {
        let message = format!("day_curve has {} parts, but at most 1440 are taken", workload.day_curve.len());
        findings.add("workload.day_curve", &[], message, "write one for each hour");
    } else if let Some(part) = workload.day_curve.iter().find(|part| !(**part >= 0.0 && part.is_finite())) {
        let message = format!("day_curve has a part of {part}, but nobody writes less than nothing");
        findings.add("workload.day_curve", &[], message, "write 0 for a part in which nobody writes");
    } else if !workload.day_curve.is_empty() {
        shares("workload.day_curve", workload.day_curve.iter().copied(), "day_curve = [0.4, 1.0, 1.6]", findings);
    }
}

fn flash_crowds(scenario: &Scenario, findings: &mut Findings) {
    let crowds = &scenario.workload.flash_crowds;
    for (index, crowd) in crowds.iter().enumerate() {
        let overlaps = |other: &FlashCrowd| crowd.at < other.at + other.lasts && other.at < crowd.at + crowd.lasts;
        if let Some(before) = crowds[..index].iter().position(overlaps) {
            let message = format!(
                "crowd {} (at \"{}\" for \"{}\") is not over when crowd {} begins, and two crowds cannot be one",
                before + 1,
                crowds[before].at,
                crowds[before].lasts,
                index + 1
            );
            findings.add(
                &format!("workload.flash_crowds[{index}].at"),
                &["workload"],
                message,
                "let one begin after the other's end",
            );
        }
    }
    for (index, crowd) in scenario.workload.flash_crowds.iter().enumerate() {
        let place = format!("workload.flash_crowds[{index}]");
        findings.span(&format!("{place}.for"), crowd.lasts, Span::from_millis(1)..=WEEK);
        findings.number(&format!("{place}.times"), crowd.times, 1.0..=1_000.0);
        if crowd.at >= scenario.phases.load {
            let message =
                format!("at is \"{}\", but the load is over after \"{}\"", crowd.at, scenario.phases.load);
            findings.add(&format!("{place}.at"), &["phases"], message, "let it begin earlier");
        }
        let giants = &scenario.population.giants;
        if let Some(to) = &crowd.to
            && giants.iter().all(|giant| giant.name != *to)
        {
            let names: Vec<&str> = giants.iter().map(|giant| giant.name.as_str()).collect();
            let message = format!("to is {to:?}, but the giants are {}", names.join(", "));
            let message =
                if names.is_empty() { format!("to is {to:?}, but there are no giants") } else { message };
            let help = format!("add [[population.giants]] with name = {to:?}, or leave this key out");
            findings.add(&format!("{place}.to"), &["population"], message, help);
        }
    }
}
