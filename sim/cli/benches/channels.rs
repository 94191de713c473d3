//! What one message costs, by the number of those whom it reaches: the table of `sim/MEASURED.md`, "One message to many".
//!
//! `cargo channels` runs conversations of 50, 5,000, 50,000 and 200,000 connected members, each twice: with few messages, and with more of them, all
//! else being the same. What the second run did beyond the first is what its further messages have cost. `cargo channels 50 5000` runs these sizes.

mod common {
    pub mod record;
    pub mod sizes;
}

use common::{record, sizes};
use serde_json::Value;
use std::path::Path;

/// Members a gateway holds.
const MEMBERS_A_GATEWAY: u64 = 10_000;
/// Seconds of load of the two runs, and between two messages of all together.
const LOADS: [u64; 2] = [60, 120];
const EVERY: u64 = 6;

/// One conversation, in which all are members, and nothing else.
fn scenario(members: u64, load: u64) -> String {
    let gateways = members.div_ceil(MEMBERS_A_GATEWAY).max(2);
    // The longest that a scenario may say is a week.
    let interval = (members * EVERY).min(7 * 24 * 3600);
    format!(
        "description = \"One message after the other to one conversation of {members} connected members, each with one device.\"\n\
         [topology]\ngateways = {gateways}\nmessages = 1\n[network]\nlast_mile = {{ rack = 1.0 }}\n[costs]\n\
         [limits]\nadditions_per_second = 1000000\nadditions_burst = 1000000\nchanges_per_second = 1000000\nchanges_burst = 1000000\n\
         [population]\nusers = {members}\ndirect_conversations_per_user = 0\n[[population.giants]]\nname = \"all\"\nmembers = {members}\n\
         [workload]\nsend_interval = \"{interval}s\"\ndirect_share = 0.0\nfollow_up_share = 0.0\nheartbeat_interval = \"60s\"\n\
         codec = \"protobuf\"\n[phases]\nramp = \"20s\"\nload = \"{load}s\"\nliveness_bound = \"10s\"\n"
    )
}

struct Run {
    record: Value,
}

impl Run {
    fn of(file: &Path, out: &Path) -> Self {
        Run { record: record::of(file, out) }
    }

    fn number(&self, path: &str) -> f64 {
        self.record.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// What all hosts of this role have done of a kind of work.
    fn work(&self, role: &str, kind: &str) -> f64 {
        sizes::work(&self.record, role, kind)
    }

    fn load_s(&self) -> f64 {
        let phases = self.record["phases"].as_array().expect("a record has phases");
        let load = phases.iter().find(|phase| phase["name"] == "load");
        load.and_then(|phase| phase["wall_ms"].as_f64()).unwrap_or(f64::NAN) / 1_000.0
    }
}

fn row(members: u64, out: &Path) {
    let runs = LOADS.map(|load| {
        let file = out.join(format!("channels-{members}-{load}.toml"));
        std::fs::write(&file, scenario(members, load)).expect("the target folder can be written");
        Run::of(&file, out)
    });
    let beyond = |of: &dyn Fn(&Run) -> f64| of(&runs[1]) - of(&runs[0]);
    let messages = beyond(&|run| run.number("/messages/acked"));
    let each = |of: &dyn Fn(&Run) -> f64| beyond(of) / messages;
    let publications = each(&|run| run.work("messages", "publication"));
    println!(
        "| {members} | {} | {messages:.0} | {publications:.1} | {} | {:.1} | {:.1} | {:.0} ms | {:.0} ms | {:.2} s | {:.0} |",
        runs[1].record["verdict"].as_str().unwrap_or("?"),
        members - 1,
        each(&|run| run.work("messages", "row")),
        each(&|run| run.work("messages", "entry")),
        runs[1].number("/latency_ms/send_to_deliver/p50"),
        runs[1].number("/latency_ms/send_to_deliver/max"),
        each(&Run::load_s),
        runs[1].number("/memory/bytes_per_client"),
    );
}

fn main() {
    let Some((out, wanted)) = sizes::wanted("channels", "50 5000 50000 200000") else { return };
    println!(
        "| members | verdict | messages | publications | one a member | rows read | entries written | half have it after | all have it after | wall time | bytes a device |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for members in wanted {
        row(members, &out);
    }
}
