//! How far one simulation reaches on this machine: the tables of `sim/MEASURED.md`.
//!
//! `cargo reach small` runs the small library and the reference load at 10,000 clients, in about a minute; `cargo reach full`
//! adds 100,000 and 1,000,000 clients, in about ten; `cargo reach large` adds the large scenario files, with their
//! faults, in about half an hour. Figures are of whole processes, one at a time; quote them with the machine they come from.

mod common {
    pub mod record;
}

use serde_json::Value;
use std::path::{Path, PathBuf};

/// Clients a gateway of the reference load.
const CLIENTS_PER_GATEWAY: u64 = 50_000;

struct Run {
    verdict: String,
    record: Value,
}

impl Run {
    fn of(file: &Path, out: &Path) -> Self {
        let record = common::record::of(file, out);
        Run { verdict: record["verdict"].as_str().unwrap_or("?").to_owned(), record }
    }

    fn number(&self, path: &str) -> f64 {
        self.record.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn phase(&self, name: &str, field: &str) -> f64 {
        let phases = self.record["phases"].as_array().expect("a record has phases");
        phases
            .iter()
            .find(|phase| phase["name"] == name)
            .and_then(|phase| phase[field].as_f64())
            .unwrap_or(f64::NAN)
    }

    /// Wall seconds until all clients are connected.
    fn connect_s(&self) -> f64 {
        (self.phase("build", "wall_ms") + self.phase("ramp", "wall_ms")) / 1_000.0
    }

    /// Simulated over wall time, under load.
    fn steady(&self) -> f64 {
        self.phase("load", "simulated_ms") / self.phase("load", "wall_ms")
    }

    /// Wall µs a WebSocket frame, under load.
    fn frame_us(&self) -> f64 {
        self.phase("load", "wall_ms") * 1_000.0 / self.phase("load", "frames")
    }

    fn bytes_per_client(&self) -> f64 {
        self.number("/memory/bytes_per_client")
    }

    fn row(&self, name: &str) {
        println!(
            "| {name} | {} | {:.0} | {:.1} s | {:.2} | {:.1} µs | {:.0} s |",
            self.verdict,
            self.bytes_per_client(),
            self.connect_s(),
            self.steady(),
            self.frame_us(),
            self.number("/wall_ms") / 1_000.0
        );
    }
}

/// The reference load of `DESIGN.md` for so many clients, without faults: the same for each but its size.
fn reference(clients: u64) -> String {
    let gateways = clients.div_ceil(CLIENTS_PER_GATEWAY).max(2);
    let (shards, groups) = (gateways.div_ceil(5).max(2), clients / 50);
    format!(
        "description = \"The reference load with {clients} clients.\"\ntick = \"10ms\"\n\
         [topology]\ngateways = {gateways}\nmessages = {shards}\nregistries = 2\nbuses = 2\n\
         [network]\nlast_mile = {{ wifi = 0.6, lte = 0.4 }}\n\
         [population]\nusers = {clients}\ndirect_conversations_per_user = 2\ngroups = {groups}\n\
         [workload]\nsend_interval = \"60s\"\nfollow_up_share = 0.0\ncodec = \"protobuf\"\nsession_length = \"50m\"\n\
         [phases]\nramp = \"60s\"\nload = \"60s\"\nliveness_bound = \"20s\"\n"
    )
}

fn library(root: &Path, out: &Path) {
    let mut speeds: Vec<(f64, String)> = squall_scenarios::files_in(&root.join("scenarios"))
        .expect("the library is a folder")
        .iter()
        .map(|file| {
            let run = Run::of(file, out);
            let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            (run.number("/speed"), format!("{name} ({})", run.verdict))
        })
        .collect();
    speeds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (slowest, median, fastest) = (&speeds[0], &speeds[speeds.len() / 2], &speeds[speeds.len() - 1]);
    println!("\nThe small library, {} files, simulated over wall time, from start to end:", speeds.len());
    println!(
        "slowest {:.0} ({}), median {:.0}, fastest {:.0} ({})",
        slowest.0, slowest.1, median.0, fastest.0, fastest.1
    );
}

fn head() {
    println!(
        "| run | verdict | bytes a client | all connected after | steady, x real time | a frame | whole run |"
    );
    println!("|---|---|---|---|---|---|---|");
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there");
    let out: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reach");
    std::fs::create_dir_all(&out).expect("the target folder can be written");
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |what: &str| wanted.iter().any(|arg| arg == what);
    if !["small", "full", "large"].iter().any(|size| wants(size)) {
        // `cargo bench` comes by here, too.
        return println!(
            "reach: say how far, as in `cargo reach small`, `cargo reach full` or `cargo reach large`"
        );
    }
    library(&root, &out);
    println!("\nThe reference load, by size:\n");
    head();
    let sizes: &[u64] = if wants("small") { &[10_000] } else { &[10_000, 100_000, 1_000_000] };
    let mut first = f64::NAN;
    for clients in sizes {
        let file = out.join(format!("reference-{clients}.toml"));
        std::fs::write(&file, reference(*clients)).expect("the target folder can be written");
        let run = Run::of(&file, &out);
        run.row(&format!("{clients} clients"));
        if first.is_nan() {
            first = run.frame_us();
        } else {
            println!("| | | | | | {:.2} x that of {} | |", run.frame_us() / first, sizes[0]);
        }
    }
    if wants("large") {
        println!("\nThe large scenarios, with their faults:\n");
        head();
        for name in ["million-clients", "three-million-clients"] {
            Run::of(&root.join(format!("scenarios/large/{name}.toml")), &out).row(&format!("`{name}.toml`"));
        }
    }
}
