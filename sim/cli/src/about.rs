//! What made a record: the program, the machine, and when.

use squall_reports::date::rfc3339;
use squall_reports::record::{AboutRecord, BuildRecord, MachineRecord};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_128;

/// About a run that began at this time.
pub fn about(started: SystemTime) -> AboutRecord {
    AboutRecord { build: build(), machine: machine(), started: when(started) }
}

/// A time as records have it. With milliseconds, for small runs that were made in turn begin within one second.
pub fn when(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    rfc3339(since.as_secs() as i64, since.subsec_millis())
}

fn build() -> BuildRecord {
    let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let program = std::env::current_exe().and_then(std::fs::read);
    BuildRecord {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: said(env!("SQUALL_COMMIT")),
        clean: !env!("SQUALL_CLEAN").is_empty(),
        program: program.ok().map(|bytes| format!("{:032x}", xxh3_128(&bytes))),
    }
}

fn machine() -> MachineRecord {
    let line = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':').map(|(_, value)| value));
        value.map(|value| value.trim().to_owned())
    };
    let memory_kib = line("/proc/meminfo", "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse().ok());
    MachineRecord {
        processor: line("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        memory_bytes: memory_kib.map_or(0, |kib: u64| kib * 1_024),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}
