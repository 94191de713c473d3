//! Reads a scenario file and says everything that is wrong with it.
//!
//! Three steps: the text's syntax, the keys and the types of their values, the meaning (`validate`). A file whose syntax
//! is wrong gets no further; the other two report together, except for what a broken part would make us say.

use crate::faults::name_faults;
use crate::model::{
    BystandersLevel, Checks, Costs, Fault, KindName, Limits, Network, Phases, Population, Scenario, ServiceLevel,
    Topology, Workload,
};
use crate::people::{FlashCrowd, Giant};
use crate::problem::{Problem, problem_at};
use crate::reader::{Reader, Table};
use crate::span::Span;
use squall_protocol::Role;
use std::path::Path;
use toml::de::DeTable;

/// Parses and validates the text of a scenario file; `file` names it in messages and, without its extension, the scenario.
///
/// # Errors
/// Every problem that was found, in the order of the text; at least one.
pub fn parse(source: &str, file: &Path) -> Result<Scenario, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        return Err(syntax_problems(source, file, &errors));
    }
    let mut reader = Reader::default();
    let mut table = Table::root(&mut reader, document.get_ref());
    let mut scenario = scenario(&mut table);
    table.finish();
    if scenario.name.is_empty() {
        scenario.name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    }
    name_faults(&mut scenario.faults);
    for finding in scenario.findings() {
        if !reader.is_broken(finding.depends) {
            let at = reader.place(&finding.place);
            reader.report(&finding.place, at, finding.message, finding.help);
        }
    }
    let flaws = reader.into_flaws();
    if flaws.is_empty() {
        return Ok(scenario);
    }
    Err(flaws.into_iter().map(|flaw| problem_at(source, file, flaw.at, flaw.message, flaw.help)).collect())
}

/// Reads, parses and validates a scenario file.
///
/// # Errors
/// As `parse`; one problem when the file cannot be read, or says nothing at all.
pub fn load(file: &Path) -> Result<Scenario, Vec<Problem>> {
    let unreadable = |what: String, help: &str| vec![problem_at("", file, 0..0, what, help.to_owned())];
    let bytes = std::fs::read(file).map_err(|error| {
        unreadable(
            format!("cannot read this file: {error}"),
            "give the path of a scenario file, e.g. scenarios/smoke.toml",
        )
    })?;
    let source = String::from_utf8(bytes)
        .map_err(|error| unreadable(format!("this file is not UTF-8: {error}"), "save it as UTF-8 text"))?;
    let says_something = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !source.lines().any(says_something) {
        return Err(unreadable(
            "this file says nothing, and a scenario needs at least its people".to_owned(),
            "write e.g. [population] with users = 40 under it; scenarios/smoke.toml is an example",
        ));
    }
    parse(&source, file)
}

fn scenario(table: &mut Table<'_, '_>) -> Scenario {
    let mut scenario = Scenario::default();
    table.field("name", &mut scenario.name);
    table.field("description", &mut scenario.description);
    scenario.seed = table.take("seed");
    table.field("tick", &mut scenario.tick);
    table.section("topology", |table| topology(table, &mut scenario.topology));
    table.section("network", |table| network(table, &mut scenario.network));
    let is_priced = table.has("costs");
    let mut prices = Costs::default();
    table.section("costs", |table| costs(table, &mut prices));
    scenario.costs = is_priced.then_some(prices);
    table.section("limits", |table| limits(table, &mut scenario.limits));
    table.section("tokens", |table| {
        table.field("lifetime", &mut scenario.tokens.lifetime);
        table.field("away_from", &mut scenario.tokens.away_from);
        table.field("away_for", &mut scenario.tokens.away_for);
    });
    table.section("typing", |table| {
        table.field("before", &mut scenario.typing.before);
        table.field("for", &mut scenario.typing.lasts);
        table.field("every", &mut scenario.typing.every);
        table.field("everywhere", &mut scenario.typing.everywhere);
        table.field("given_up", &mut scenario.typing.given_up);
    });
    table.section("receipts", |table| {
        table.field("readers", &mut scenario.receipts.readers);
        table.field("within", &mut scenario.receipts.within);
    });
    table.section("presence", |table| {
        table.field("watches", &mut scenario.presence.watches);
        table.field("watched_at_most", &mut scenario.presence.watched_at_most);
        table.field("looks_every", &mut scenario.presence.looks_every);
        table.field("invisible", &mut scenario.presence.invisible);
        table.field("ttl", &mut scenario.presence.ttl);
        table.field("grace", &mut scenario.presence.grace);
    });
    table.section("population", |table| population(table, &mut scenario.population));
    table.section("workload", |table| workload(table, &mut scenario.workload));
    if let Some(rate) = scenario.workload.rate.take() {
        scenario.set_rate(rate);
        let interval = scenario.workload.send_interval;
        if !(Span::from_millis(1)..=Span::from_secs(7 * 24 * 3_600)).contains(&interval) {
            let users = scenario.population.users;
            let message =
                format!("a rate of {rate} sends a second means that each of {users} users sends every {interval}");
            table.flaw("workload.rate", message, "each may send every 1ms to 7d: change rate, or users");
        }
    }
    table.section("phases", |table| phases(table, &mut scenario.phases));
    scenario.faults = table.list("faults", fault);
    table.section("checks", |table| checks(table, &mut scenario.checks));
    scenario
}

fn topology(table: &mut Table<'_, '_>, topology: &mut Topology) {
    for role in Role::ALL {
        table.field(Topology::key(*role), topology.count_mut(*role));
    }
    table.field("commit_latency", &mut topology.commit_latency);
}

fn network(table: &mut Table<'_, '_>, network: &mut Network) {
    table.field("backbone", &mut network.backbone);
    table.field("data_centre", &mut network.data_centre);
    table.field("last_mile", &mut network.last_mile);
}

fn costs(table: &mut Table<'_, '_>, costs: &mut Costs) {
    table.field("cores", &mut costs.cores);
    for (key, price) in costs.prices_mut() {
        table.field(key, price);
    }
}

fn limits(table: &mut Table<'_, '_>, limits: &mut Limits) {
    for (key, limit) in limits.keys_mut() {
        table.field(key, limit);
    }
}

fn population(table: &mut Table<'_, '_>, population: &mut Population) {
    table.field("users", &mut population.users);
    table.field("devices_per_user", &mut population.devices_per_user);
    table.field("direct_conversations_per_user", &mut population.direct_conversations_per_user);
    table.field("direct_lifecycle", &mut population.direct_lifecycle);
    table.field("revisit_after", &mut population.revisit_after);
    table.field("one_way_share", &mut population.one_way_share);
    table.field("silent_share", &mut population.silent_share);
    table.field("channel_share", &mut population.channel_share);
    population.giants = table.list("giants", |table| {
        let (name, members) = (table.required("name", "\"town-square\""), table.required("members", "2000"));
        Some(Giant { name: name?, members: members? })
    });
    table.field("groups", &mut population.groups);
    table.field("group_size_min", &mut population.group_size_min);
    population.group_size_max = population.unsaid_group_size_max();
    table.field("group_size_max", &mut population.group_size_max);
    table.field("group_size_exponent", &mut population.group_size_exponent);
    table.field("away_share", &mut population.away_share);
    table.field("away_until", &mut population.away_until);
}

fn workload(table: &mut Table<'_, '_>, workload: &mut Workload) {
    let says_how_often = table.has("send_interval");
    table.field("send_interval", &mut workload.send_interval);
    workload.rate = table.take("rate");
    if workload.rate.is_some() && says_how_often {
        table.flaw("rate", "rate and send_interval both say how often people send".into(), "keep one of the two");
    }
    table.field("arrival", &mut workload.arrival);
    table.field("burst_size", &mut workload.burst_size);
    table.field("burst_gap", &mut workload.burst_gap);
    table.field("day_curve", &mut workload.day_curve);
    table.field("day_length", &mut workload.day_length);
    workload.flash_crowds = table.list("flash_crowds", |table| {
        let (at, lasts) = (table.required("at", "\"20s\""), table.required("for", "\"5s\""));
        let (times, to) = (table.required("times", "10"), table.take("to"));
        Some(FlashCrowd { at: at?, lasts: lasts?, times: times?, to })
    });
    table.field("direct_share", &mut workload.direct_share);
    table.field("group_popularity", &mut workload.group_popularity);
    table.field("partner_popularity", &mut workload.partner_popularity);
    table.field("body_bytes", &mut workload.body_bytes);
    table.field("text", &mut workload.text);
    table.field("follow_up_share", &mut workload.follow_up_share);
    table.field("follow_ups", &mut workload.follow_ups);
    table.field("membership_interval", &mut workload.membership_interval);
    table.field("membership", &mut workload.membership);
    table.field("names_at_once", &mut workload.names_at_once);
    table.field("rights_share", &mut workload.rights_share);
    table.field("block_share", &mut workload.block_share);
    table.field("session_length", &mut workload.session_length);
    table.field("away_length", &mut workload.away_length);
    table.field("codec", &mut workload.codec);
    table.field("heartbeat_interval", &mut workload.heartbeat_interval);
}

fn phases(table: &mut Table<'_, '_>, phases: &mut Phases) {
    table.field("ramp", &mut phases.ramp);
    table.field("load", &mut phases.load);
    phases.liveness_bound = table.take("liveness_bound");
}

fn checks(table: &mut Table<'_, '_>, checks: &mut Checks) {
    checks.service_levels = table.list("service_levels", |table| {
        let measure = table.required("measure", "\"send-to-ack\"");
        let percentile = table.required("percentile", "99");
        let at_most = table.required("at_most", "\"500ms\"");
        Some(ServiceLevel { measure: measure?, percentile: percentile?, at_most: at_most? })
    });
    table.optional_section("bystanders", |table| {
        let (percentile, factor) = (table.required("percentile", "99"), table.required("factor", "1.5"));
        checks.bystanders =
            percentile.zip(factor).map(|(percentile, factor)| BystandersLevel { percentile, factor });
    });
}

fn fault(table: &mut Table<'_, '_>) -> Option<Fault> {
    let name: Option<String> = table.take("name");
    let kind: Option<KindName> = table.required("kind", "\"crash\"");
    let at: Option<Span> = table.required("at", "\"5s\"");
    let within = table.take("within");
    let lasts = table.take("for");
    let every = table.take("every");
    let Some(kind) = kind else {
        table.ignore_rest();
        return None;
    };
    table.describe(&format!(" of kind \"{kind}\""));
    let kind = kind.read(table);
    Some(Fault { name: name.unwrap_or_default(), at: at?, within, lasts, every, kind: kind? })
}

/// What toml found, at most once a line: one slip can confuse the rest of its line.
fn syntax_problems(source: &str, file: &Path, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let at = error.span().unwrap_or(source.len()..source.len());
        let mut problem = problem_at(source, file, at, error.message().to_owned(), String::new());
        problem.help = syntax_help(&problem.source_line);
        if problems.iter().all(|other| other.line != problem.line) {
            problems.push(problem);
        }
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

/// The next step for a line that is no TOML: mostly quotes are missing.
fn syntax_help(line: &str) -> String {
    let value = line.split_once('=').map_or("", |(_, value)| value.split('#').next().unwrap_or("").trim());
    if value.parse::<Span>().is_ok() {
        return format!("a duration is text: write \"{value}\"");
    }
    if value.starts_with(char::is_alphabetic) && value.chars().all(|c| c.is_alphanumeric() || "-_*".contains(c)) {
        return format!("text stands in quotes: write \"{value}\"");
    }
    "write this line as TOML, e.g. key = \"text\", key = 2, key = [\"a\", \"b\"], or [table]".to_owned()
}
