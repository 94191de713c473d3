//! What the generator itself took, and whether it was what held the run up; and what can be seen of the server's processes from beside them.

use rustix::time::{ClockId, clock_gettime};
use squall_reports::Histogram;
use std::time::Duration;

/// CPU time of this thread so far.
pub fn thread_time() -> Duration {
    of_clock(ClockId::ThreadCPUTime)
}

/// CPU time of the process so far, user and system.
pub fn process_time() -> Duration {
    of_clock(ClockId::ProcessCPUTime)
}

/// This thread leaves the cores to others that want them. Where the system does not let it, it is as it was.
pub fn yield_to_others(niceness: i32) {
    // On Linux "the process itself" is the calling thread.
    let own = rustix::process::getpriority_process(None).unwrap_or(0);
    let _ = rustix::process::setpriority_process(None, own.max(niceness));
}

fn of_clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Why the generator was what held the run up, if it was: a hundredth of all sends left later than this.
pub fn bottleneck(late: &Histogram, at_most: Duration, busy: f64) -> Option<String> {
    let p99 = late.percentile_us(99.0);
    (p99 > at_most.as_micros() as u64).then(|| {
        let late = p99 as f64 / 1_000.0;
        let busy_percent = busy * 100.0;
        let why = match busy < 0.5 {
            true => format!("though its busiest thread worked only {busy_percent:.0} % of the time: something else had this machine's cores"),
            false => format!("for its busiest thread worked {busy_percent:.0} % of the time: give it more cores (--threads), more machines (--shard), or less to do"),
        };
        format!("the generator came late: a hundredth of all sends left {late:.0} ms or more after their time, {why}")
    })
}

/// What the system knows of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_us: u64,
    pub rss_bytes: u64,
}

/// Of a process that is there; user and system time, and the memory that it has resident.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let pages: u64 = fields.get(21)?.parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Usage {
        cpu_us: ticks * 1_000_000 / per_second.max(1),
        rss_bytes: pages * rustix::param::page_size() as u64,
    })
}

/// Memory that the kernel holds for TCP sockets of this machine, in bytes.
pub fn socket_memory() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = stat.lines().find(|line| line.starts_with("TCP:"))?;
    let pages: u64 = line.split_whitespace().skip_while(|word| *word != "mem").nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_in_time_is_no_bottleneck_and_a_late_one_says_so() {
        let (mut late, at_most) = (Histogram::new(), Duration::from_millis(25));
        (0..1_000).for_each(|_| late.record_us(900));
        assert_eq!(bottleneck(&late, at_most, 0.4), None);
        (0..20).for_each(|_| late.record_us(80_000));
        let said = bottleneck(&late, at_most, 0.97).unwrap();
        assert!(said.contains("80 ms") && said.contains("97 %") && said.contains("--threads"), "{said}");
        assert!(bottleneck(&late, at_most, 0.1).unwrap().contains("something else"));
    }

    #[test]
    fn a_process_tells_what_it_takes() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.rss_bytes > 100_000, "{own:?}");
        assert_eq!(usage(u32::MAX), None);
        assert!(process_time() >= thread_time());
    }
}
