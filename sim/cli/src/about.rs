//! What made a record: the program, the machine, and when.

use squall_reports::record::{AboutRecord, BuildRecord, MachineRecord};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_128;

/// About a run that began at this time.
pub fn about(started: SystemTime) -> AboutRecord {
    AboutRecord { build: build(), machine: machine(), started: rfc3339(started) }
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

/// A time as RFC 3339 writes it, in UTC and whole seconds.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// The date of a day since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_a_calendar() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
