//! What it costs to tell the members of a group who has been shown and has read a message: the table of `sim/MEASURED.md`, "Receipts by the size of the group".
//!
//! `cargo receipts 10 32 50 100` runs groups of so many connected members, each twice: with few messages, and with more of them, all else being the
//! same; with messages one by one and in bursts of ten; while nobody reads and nobody is told, while half of all devices read within 10 s and each
//! member is named, and while they are counted.

mod common {
    pub mod record;
    pub mod sizes;
}

use common::{record, sizes};
use serde_json::Value;
use std::path::Path;

/// Seconds of load of the two runs, and between two messages of all together, without those that follow on each.
const LOADS: [u64; 2] = [60, 180];
const EVERY: u64 = 6;

/// How the members are told.
#[derive(Clone, Copy)]
enum Told {
    Nobody,
    Names,
    Counts,
}

fn scenario(members: u64, load: u64, burst: bool, told: Told, codec: &str) -> String {
    let (named_up_to, readers) = match told {
        Told::Nobody => (members, 0.0),
        Told::Names => (members, 0.5),
        Told::Counts => (1, 0.5),
    };
    let (share, most) = if burst { (0.9, 9) } else { (0.0, 1) };
    format!(
        "description = \"One message after the other to a group of {members} connected members, each with one device.\"\n\
         [topology]\ngateways = 2\nmessages = 1\n[network]\nlast_mile = {{ rack = 1.0 }}\n[costs]\n\
         [limits]\nreceipts_named_up_to = {named_up_to}\n[receipts]\nreaders = {readers}\nwithin = \"10s\"\n\
         [population]\nusers = {members}\ndirect_conversations_per_user = 0\n[[population.giants]]\nname = \"all\"\nmembers = {members}\n\
         [workload]\nsend_interval = \"{}s\"\ndirect_share = 0.0\nfollow_up_share = {share}\nfollow_ups = {most}\nheartbeat_interval = \"60s\"\n\
         codec = \"{codec}\"\n[phases]\nramp = \"5s\"\nload = \"{load}s\"\nliveness_bound = \"20s\"\n",
        members * EVERY
    )
}

/// Frames and bytes that gateways have read and written, notices that devices were told, and acked messages.
fn measured(record: &Value) -> [f64; 4] {
    let work = |kind| sizes::work(record, "gateway", kind);
    let number = |path: &str| record.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    [work("frame"), work("frame_byte"), number("/messages/receipts"), number("/messages/acked")]
}

/// The same of one message.
fn of_a_message(members: u64, burst: bool, told: Told, codec: &str, out: &Path) -> [f64; 3] {
    let [few, more] = LOADS.map(|load| {
        let file = out.join("receipts.toml");
        std::fs::write(&file, scenario(members, load, burst, told, codec))
            .expect("the target folder can be written");
        measured(&record::of(&file, out))
    });
    let messages = more[3] - few[3];
    [0, 1, 2].map(|place| (more[place] - few[place]) / messages)
}

fn main() {
    let Some((out, wanted)) = sizes::wanted("receipts", "10 32 50 100") else { return };
    println!(
        "| members | messages | codec | frames | bytes | frames, each named | bytes | told | frames, counted | bytes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for members in wanted {
        for (burst, name) in [(false, "one by one"), (true, "in bursts")] {
            for codec in ["protobuf", "json"] {
                let of = |told| of_a_message(members, burst, told, codec, &out);
                let ([frames, bytes, _], named, counted) = (of(Told::Nobody), of(Told::Names), of(Told::Counts));
                println!(
                    "| {members} | {name} | {codec} | {frames:.0} | {bytes:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
                    named[0], named[1], named[2], counted[0], counted[1]
                );
            }
        }
    }
}
