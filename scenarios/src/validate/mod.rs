//! What a scenario's values must satisfy beyond their types: bounds, and that they fit each other.

mod faults;
mod findings;
mod kinds;
mod people;
mod targets;

pub use findings::Finding;

use crate::model::{Backbone, Scenario, Topology};
use crate::span::Span;
use findings::{Findings, WEEK};
use squall_protocol::{Role, limits};

impl Scenario {
    /// Everything that no run could mean; empty when the scenario can run. `parse` has asked already: this is for scenarios
    /// that are built or changed in code.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Findings::default();
        findings.name("name", &self.name);
        findings.span("tick", self.tick.0, Span::from_micros(100)..=Span::from_millis(100));
        topology(self, &mut findings);
        limits(self, &mut findings);
        findings.span("tokens.lifetime", self.tokens.lifetime, Span::from_secs(1)..=Span::from_secs(30 * 86_400));
        findings.number("typing.before", self.typing.before, 0.0..=1.0);
        findings.span("typing.for", self.typing.lasts, Span::from_millis(1)..=Span::from_secs(600));
        findings.span("typing.every", self.typing.every, Span::from_millis(10)..=Span::from_secs(600));
        findings.number("typing.everywhere", self.typing.everywhere, 0.0..=1.0);
        findings.number("typing.given_up", self.typing.given_up, 0.0..=1.0);
        findings.number("receipts.readers", self.receipts.readers, 0.0..=1.0);
        findings.span("receipts.within", self.receipts.within, Span::from_millis(1)..=Span::from_secs(600));
        presence(self, &mut findings);
        findings.span("tokens.away_from", self.tokens.away_from, Span::ZERO..=WEEK);
        findings.span("tokens.away_for", self.tokens.away_for, Span::ZERO..=WEEK);
        network(self, &mut findings);
        costs(self, &mut findings);
        population(self, &mut findings);
        away(self, &mut findings);
        workload(self, &mut findings);
        people::people(self, &mut findings);
        findings.span("phases.ramp", self.phases.ramp, Span::ZERO..=WEEK);
        findings.span("phases.load", self.phases.load, Span::from_millis(100)..=WEEK);
        if let Some(bound) = self.phases.liveness_bound {
            findings.span("phases.liveness_bound", bound, Span::from_secs(1)..=DAY);
        }
        // Host names are built for the targets: not for the billions of hosts that a slip may ask for.
        if self.topology.roles().all(|(_, count)| count <= MOST_HOSTS) {
            faults::faults(self, &mut findings);
        }
        service_levels(self, &mut findings);
        bystanders(self, &mut findings);
        findings.into_all()
    }
}

/// How much later than it is meant to a heartbeat may come over a bad last mile.
const SIGNS_OF_LIFE_LATE: Span = Span::from_secs(10);
const DAY: Span = Span::from_secs(86_400);
/// The most hosts of the role that may have most.
const MOST_HOSTS: u32 = 200;

/// The largest limit of a user: none that anybody reaches.
const MOST_OF_A_LIMIT: u32 = 1_000_000;

/// The most hosts of a role.
const fn most_hosts(role: Role) -> u32 {
    match role {
        Role::Gateway => MOST_HOSTS,
        Role::Messages => 64,
        Role::Registry | Role::Bus | Role::Presence => 16,
    }
}

/// The fewest: nobody needs to know who is online.
const fn fewest_hosts(role: Role) -> u32 {
    match role {
        Role::Gateway | Role::Messages | Role::Registry | Role::Bus => 1,
        Role::Presence => 0,
    }
}

fn topology(scenario: &Scenario, findings: &mut Findings) {
    let topology = &scenario.topology;
    for (role, count) in topology.roles() {
        findings.count(&format!("topology.{}", Topology::key(role)), count, fewest_hosts(role)..=most_hosts(role));
    }
    findings.span("topology.commit_latency", topology.commit_latency, Span::ZERO..=Span::from_secs(10));
}

fn limits(scenario: &Scenario, findings: &mut Findings) {
    for (key, limit) in scenario.limits.keys() {
        findings.count(&format!("limits.{key}"), limit, 1..=MOST_OF_A_LIMIT);
    }
}

fn presence(scenario: &Scenario, findings: &mut Findings) {
    let presence = &scenario.presence;
    findings.count("presence.watches", presence.watches, 0..=limits::MAX_WATCHES as u32);
    let most = limits::MAX_WATCHED_AT_ONCE as u32;
    findings.count("presence.watched_at_most", presence.watched_at_most, 1..=most);
    findings.span("presence.looks_every", presence.looks_every, Span::from_secs(1)..=Span::from_secs(3_600));
    findings.number("presence.invisible", presence.invisible, 0.0..=1.0);
    let span = |duration: std::time::Duration| Span::from_micros(duration.as_micros() as u64);
    findings.span("presence.ttl", presence.ttl, span(limits::PRESENCE_TTL_MIN)..=span(limits::PRESENCE_TTL));
    findings.span("presence.grace", presence.grace, Span::ZERO..=Span::from_secs(60));
    if presence.watches == 0 {
        return;
    }
    if scenario.topology.presences == 0 {
        let message = "devices watch, but there is no host that knows who is online".to_owned();
        findings.add("presence.watches", &["topology"], message, "write presences = 1 in [topology]");
    }
    let heartbeat = scenario.workload.heartbeat_interval;
    if heartbeat.as_micros() + SIGNS_OF_LIFE_LATE.as_micros() > presence.ttl.as_micros() {
        let message = format!(
            "ttl is {}, but devices send a sign of life every {heartbeat}, which may come {SIGNS_OF_LIFE_LATE} late",
            presence.ttl
        );
        findings.add("presence.ttl", &["workload"], message, "make ttl longer, or heartbeat_interval shorter");
    }
}

fn network(scenario: &Scenario, findings: &mut Findings) {
    let last_mile = &scenario.network.last_mile;
    let place = "network.last_mile";
    if let Some(share) = last_mile.values().find(|share| !(**share >= 0.0 && share.is_finite())) {
        let message = format!("last_mile has a share of {share}, but a share is 0 or more");
        findings.add(place, &[], message, "leave that profile out");
    } else if last_mile.values().sum::<f64>() <= 0.0 {
        let message = "last_mile gives no profile to any device".to_owned();
        findings.add(place, &["network"], message, "write e.g. last_mile = { wifi = 1.0 }");
    }
}

/// The most that a unit of work may cost, in ns: a second.
const MOST_NS: u64 = 1_000_000_000;

fn costs(scenario: &Scenario, findings: &mut Findings) {
    let Some(costs) = &scenario.costs else { return };
    findings.count("costs.cores", costs.cores, 1..=1_024);
    for (key, price) in costs.prices() {
        findings.bound(&format!("costs.{key}"), price, 0..=MOST_NS, u64::to_string);
    }
    if scenario.network.backbone == Backbone::Turmoil {
        let message =
            "work has prices, but the backbone is \"turmoil\", whose hosts cannot be kept from running".to_owned();
        findings.add(
            "costs",
            &["network"],
            message,
            "leave [costs] out, or write backbone = \"simulated\" in [network]",
        );
    }
}

fn population(scenario: &Scenario, findings: &mut Findings) {
    let population = &scenario.population;
    let users = population.users;
    // One user would have nobody to write to.
    findings.count("population.users", users, 2..=10_000_000);
    findings.count("population.groups", population.groups, 0..=1_000_000);
    findings.number("population.group_size_exponent", population.group_size_exponent, 0.0..=10.0);
    if population.groups == 0 {
        if population.direct_conversations_per_user.most() == 0 && population.giants.is_empty() {
            let message = "there are no conversations: neither direct ones nor groups".to_owned();
            let help = "set groups or direct_conversations_per_user to 1 or more";
            findings.add("population.direct_conversations_per_user", &["population"], message, help);
        }
        return;
    }
    let (min, max) = (population.group_size_min, population.group_size_max);
    findings.count("population.group_size_min", min, 2..=limits::MAX_GROUP_MEMBERS as u32);
    findings.count("population.group_size_max", max, 2..=limits::MAX_GROUP_MEMBERS as u32);
    if min > max {
        let message = format!("group_size_min is {min}, but group_size_max is {max}");
        findings.add(
            "population.group_size_min",
            &["population"],
            message,
            format!("write group_size_min = {max}, or less"),
        );
    } else if max > users {
        let message = format!("group_size_max is {max}, but there are {users} users");
        let help = format!("write group_size_max = {users}, or set users to {max} or more");
        findings.add("population.group_size_max", &["population"], message, help);
    }
}

fn away(scenario: &Scenario, findings: &mut Findings) {
    let (share, until) = (scenario.population.away_share, scenario.population.away_until);
    findings.number("population.away_share", share, 0.0..=1.0);
    let load_ends = scenario.phases.ramp + scenario.phases.load;
    let place = "population.away_until";
    if share > 0.0 && until.is_zero() {
        let message = format!("away_share is {share}, but away_until is \"0s\": nobody would be away");
        findings.add(place, &["population"], message, "write e.g. away_until = \"20s\"");
    } else if share > 0.0 && until > load_ends {
        let message =
            format!("away_until is \"{until}\", but the load ends \"{load_ends}\" after the start of the run");
        let help = format!("write away_until = \"{load_ends}\", or less");
        findings.add(place, &["population", "phases"], message, help);
    }
}

fn workload(scenario: &Scenario, findings: &mut Findings) {
    let workload = &scenario.workload;
    findings.span("workload.send_interval", workload.send_interval, Span::from_millis(1)..=WEEK);
    findings.number("workload.direct_share", workload.direct_share, 0.0..=1.0);
    findings.number("workload.follow_up_share", workload.follow_up_share, 0.0..=1.0);
    findings.count("workload.follow_ups", workload.follow_ups, 1..=1_000);
    findings.span("workload.membership_interval", workload.membership_interval, Span::ZERO..=WEEK);
    findings.number("workload.rights_share", workload.rights_share, 0.0..=1.0);
    findings.number("workload.block_share", workload.block_share, 0.0..=1.0);
    findings.count("workload.names_at_once", workload.names_at_once, 1..=limits::MAX_NAMED_USERS as u32);
    // A gateway closes after so much silence, and one heartbeat may be late by as long as they are usually apart.
    let most = limits::SILENCE_LIMIT - limits::HEARTBEAT_INTERVAL;
    findings.span(
        "workload.heartbeat_interval",
        workload.heartbeat_interval,
        Span::from_millis(100)..=most.into(),
    );
}

/// A bound on less than the median says nothing of a service, and a share of 1 is no percentile.
const PERCENTILES: std::ops::RangeInclusive<f64> = 50.0..=100.0;

/// What somebody probably meant who wrote this: 0.99 is the 99th percentile, said as a share.
fn meant_percentile(written: f64) -> String {
    // To the thousandth of a percent: 0.999 times 100 is not 99.9 in binary.
    let percent = (written * 100_000.0).round() / 1_000.0;
    match written <= 1.0 && PERCENTILES.contains(&percent) {
        true => format!("write percentile = {percent}"),
        false => "write e.g. percentile = 99".to_owned(),
    }
}

fn bystanders(scenario: &Scenario, findings: &mut Findings) {
    let Some(level) = &scenario.checks.bystanders else { return };
    findings.number("checks.bystanders.percentile", level.percentile, PERCENTILES);
    findings.number("checks.bystanders.factor", level.factor, 1.0..=1_000.0);
    let gathers = scenario.workload.flash_crowds.iter().any(|crowd| crowd.to.is_some());
    if scenario.faults.is_empty() && !gathers && !scenario.typing.is_storm() {
        let message = "bystanders are to be judged, but there is no fault that could touch the others".to_owned();
        findings.add(
            "checks.bystanders",
            &["faults"],
            message,
            "add [[faults]], or leave [checks.bystanders] out",
        );
    }
}

fn service_levels(scenario: &Scenario, findings: &mut Findings) {
    for (index, level) in scenario.checks.service_levels.iter().enumerate() {
        let place = format!("checks.service_levels[{index}]");
        if !(PERCENTILES.contains(&level.percentile)) {
            let message = format!(
                "percentile is {}, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum",
                level.percentile
            );
            findings.add(&format!("{place}.percentile"), &[], message, meant_percentile(level.percentile));
        }
        if level.at_most.is_zero() {
            let message = "at_most is \"0s\", which no latency can meet".to_owned();
            findings.add(&format!("{place}.at_most"), &[], message, "write e.g. at_most = \"500ms\"");
        }
    }
}
