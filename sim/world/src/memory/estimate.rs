//! What memory a run will take, before it takes it: so many of each thing, so many bytes each.
//!
//! The bytes were read from the ledgers of runs of 50,000 to 3,000,000 clients (`run.json`, `memory.ledger`); see
//! `sim/ARCHITECTURE.md`. An estimate is within a fifth of what such runs took. What is on its way at once was read from small runs with groups of
//! 20 to 5,000 members and bodies of 200 B to 16 KiB; there an estimate is between 0.7 and 2 times what they took, as a test holds
//! (`sim/cli/tests/forecast.rs`). Faults that make backlogs are not in it; that people are away is.

use squall_generators::Forecast;
use squall_protocol::limits;
use squall_scenarios::Scenario;
use std::fmt;

/// One line of the arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub component: &'static str,
    /// So many things of so many bytes, by name.
    pub terms: Vec<(f64, f64, &'static str)>,
}

impl Line {
    pub fn bytes(&self) -> f64 {
        self.terms.iter().map(|(count, bytes, _)| count * bytes).sum()
    }
}

/// The estimate of a run's peak, by component.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryEstimate {
    pub lines: Vec<Line>,
    pub clients: u32,
}

const MIB: f64 = 1_048_576.0;
/// How long what is sent to a device is somewhere between its shard and its screen, copies and blocks that it leaves free included.
const ON_ITS_WAY_S: f64 = 0.25;
/// What the first entry of a group takes for each member that it names, at each device that is told of it: text, lists and copies.
const MEMBER_TOLD: f64 = 48.0;
/// Buffers of a device that is written to at the same moment as all others of its group.
const AT_ONCE: f64 = 40_000.0;
/// Turns of a gateway that tells a channel's members, before those of the first have taken theirs.
const TURNS_ON_THE_WAY: f64 = 16.0;
/// So many copies of a message are there at a time for each device of the largest group, when it reaches all of them.
const COPIES: f64 = 4.0;
/// Bodies that a shard and its links hold while they are committed and sent on, blocks that they leave free included.
const BODIES_A_SHARD: f64 = 1_500.0;
/// Pages that are on their way to a device that comes back to a backlog, with their copies.
const PAGES: f64 = 6.0;
/// Blocks that the allocator holds free at the peak: at least so much, more for the first clients, and a share of the rest.
const FREE_AT_LEAST: f64 = 30.0 * MIB;
const FREE_A_CLIENT: f64 = 600.0;
const FREE_CLIENTS: f64 = 50_000.0;
const FREE_SHARE: f64 = 0.08;

impl MemoryEstimate {
    pub fn of(scenario: &Scenario) -> Self {
        let f = Forecast::of(scenario);
        let clients = f64::from(f.clients);
        let texts = f.sends - f.conversations;
        let topology = &scenario.topology;
        let hosts = f64::from(topology.hosts());
        // A link between two hosts has its streams and windows at either end.
        let [gateways, shards, registries, buses] =
            [topology.gateways, topology.messages, topology.registries, topology.buses].map(f64::from);
        // Everybody whom one entry reaches is written to at once.
        let members = (f64::from(f.largest_group) * f.devices_per_user).min(clients);
        // Of a channel that is told in turns.
        let is_channel = f.largest_group > scenario.limits.channel_above;
        let a_turn = gateways * limits::TOLD_A_TURN as f64 * TURNS_ON_THE_WAY;
        let at_once = if is_channel { members.min(a_turn) } else { members };
        // Whom a creation names is told of all of them, whoever is added later of those who are added together.
        let founders = f64::from(f.largest_group).min(limits::MAX_FOUNDERS as f64);
        let told = members.min(founders * f.devices_per_user) * founders;
        let all_away = clients * scenario.population.away_share;
        let page = (f.backlog_bytes / clients.max(1.0)).min(limits::PAGE_BYTES as f64);
        let line = |component, terms: &[(f64, f64, &'static str)]| Line { component, terms: terms.to_vec() };
        let mut lines = vec![
            line("program", &[(1.0, 12.0 * MIB, "binary and its libraries"), (hosts, 0.1 * MIB, "hosts")]),
            line("fleet", &[(clients, 260.0, "clients"), (f.memberships, 52.0, "conversations of a device")]),
            line("network", &[(clients, 220.0, "connections")]),
            line(
                "gateways",
                &[(clients, 495.0, "connections"), (gateways * (shards + registries + buses), 75_000.0, "links")],
            ),
            line("registries", &[(clients, 115.0, "connections"), (gateways * registries, 60_000.0, "links")]),
            line("buses", &[(gateways * buses, 10_000.0, "links")]),
            line(
                "messages",
                &[(f64::from(topology.messages), 14.0 * MIB, "shards"), (f.conversations, 470.0, "conversations")],
            ),
            line(
                "disks",
                &[
                    (texts, 0.75 * f.body_bytes + 90.0, "messages"),
                    (texts, 0.4 * f.body_bytes, "messages while they are read at the end"),
                    (f.conversations, 150.0, "conversations"),
                    (f.memberships, 20.0, "conversations of a device"),
                ],
            ),
            line(
                "checks",
                &[
                    (f.sends, 66.0, "messages"),
                    (f.memberships, 78.0, "conversations of a device"),
                    (f.conversations, 80.0, "conversations"),
                    (clients, 90.0, "clients"),
                ],
            ),
        ];
        lines.push(line(
            "on the way",
            &[
                (f.down_bytes_per_s * ON_ITS_WAY_S, 1.0, "bytes"),
                (at_once, AT_ONCE + COPIES * f.body_bytes, "devices of a group at once"),
                (told, MEMBER_TOLD, "members told to them"),
                (shards, BODIES_A_SHARD * f.body_bytes, "shards"),
                (all_away, PAGES * page, "devices that come back at once"),
            ],
        ));
        let used: f64 = lines.iter().map(Line::bytes).sum();
        lines.push(line(
            "free blocks",
            &[
                (1.0, FREE_AT_LEAST + used * FREE_SHARE, "allocator"),
                (clients.min(FREE_CLIENTS), FREE_A_CLIENT, "clients"),
            ],
        ));
        MemoryEstimate { lines, clients: f.clients }
    }

    /// The expected peak in bytes.
    pub fn bytes(&self) -> u64 {
        self.lines.iter().map(Line::bytes).sum::<f64>() as u64
    }
}

/// The arithmetic, a line for each component and their sum.
impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let terms: Vec<String> = line
                .terms
                .iter()
                .map(|(count, bytes, what)| match *count as u64 {
                    1 => (*what).to_owned(),
                    count => format!("{count} {what} x {bytes:.0} B"),
                })
                .collect();
            writeln!(f, "  {:<12} {:>10}  {}", line.component, size(line.bytes()), terms.join(" + "))?;
        }
        let each = self.bytes() as f64 / f64::from(self.clients.max(1));
        write!(f, "  {:<12} {:>10}  {each:.0} B a client", "together", size(self.bytes() as f64))
    }
}

/// Bytes as people read them.
pub fn size(bytes: f64) -> String {
    if bytes >= 1024.0 * MIB {
        format!("{:.2} GiB", bytes / 1024.0 / MIB)
    } else {
        format!("{:.0} MiB", bytes / MIB)
    }
}

/// Bytes that this process may still take: what the kernel has available, and no more than its control group's limit, whose
/// file cache the kernel gives up when asked. `None` where the kernel does not say.
pub fn available_bytes() -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let meminfo = read("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").map(|limit| {
        let stat = read("/sys/fs/cgroup/memory.stat").unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix("file ")?.trim().parse::<u64>().ok());
        let taken = number("/sys/fs/cgroup/memory.current").unwrap_or(0).saturating_sub(cache.unwrap_or(0));
        limit.saturating_sub(taken)
    });
    Some((kib * 1024).min(group.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_people_take_more_memory_and_the_arithmetic_adds_up() {
        let of = |users| {
            let mut scenario = Scenario::default();
            scenario.population.users = users;
            MemoryEstimate::of(&scenario)
        };
        let (small, large) = (of(1_000), of(1_000_000));
        assert!(large.bytes() > 20 * small.bytes());
        assert!((1_000.0..6_000.0).contains(&(large.bytes() as f64 / 1e6)), "{large}");
        let text = large.to_string();
        assert!(text.contains("1000000 connections x 495 B") && text.contains("together"), "{text}");
    }

    /// 200 gateways, 16 shards, 8 registries and 8 buses took 845 MiB with 2,000 people, of which gateways' links were 437.
    #[test]
    fn many_hosts_take_memory_for_their_links() {
        let mut scenario = Scenario::default();
        scenario.population.users = 2_000;
        let topology = &mut scenario.topology;
        (topology.gateways, topology.messages, topology.registries, topology.buses) = (200, 16, 8, 8);
        let mib = MemoryEstimate::of(&scenario).bytes() as f64 / MIB;
        assert!((700.0..1_050.0).contains(&mib), "{mib} MiB");
    }

    #[test]
    fn the_kernel_says_what_is_available() {
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
