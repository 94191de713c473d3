//! The tables of `README.md`: of each figure the median over rounds, and how far the rounds were apart.

use crate::record::{Measured, Record};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Median, least and greatest.
fn spread(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    Some((middle, low, high))
}

/// Three digits, or all that stand before the point.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.995 => 2,
        _ => 3,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// With commas between thousands.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

fn median(values: Vec<f64>) -> String {
    spread(values).map_or("–".to_owned(), |(middle, _, _)| figure(middle))
}

fn median_and_spread(values: Vec<f64>) -> String {
    spread(values).map_or("–".to_owned(), |(middle, low, high)| {
        format!("{} ({} … {})", figure(middle), figure(low), figure(high))
    })
}

struct Records(Vec<Record>);

impl Records {
    /// What `pick` finds in the records of a server.
    fn of<T>(&self, server: &str, pick: impl Fn(&Measured) -> Option<T>) -> Vec<T> {
        self.0
            .iter()
            .filter(|record| record.server == server)
            .filter_map(|record| pick(&record.measured))
            .collect()
    }

    fn servers(&self) -> Vec<&str> {
        let mut servers: Vec<&str> = Vec::new();
        for record in &self.0 {
            if !servers.contains(&record.server.as_str()) {
                servers.push(&record.server);
            }
        }
        servers
    }
}

pub fn print(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let records = Records(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?);
    let servers: Vec<&str> = records.servers().into_iter().filter(|server| *server != "disk").collect();
    loads(&records, &servers);
    idle(&records, &servers);
    lost(&records, &servers);
    let disk = records.of("disk", |m| if let Measured::Disk(disk) = m { Some(*disk) } else { None });
    println!(
        "\nThe disk alone: {} synced writes of 4 KiB a second; p50 {} µs, p99 {} µs.",
        median_and_spread(disk.iter().map(|d| d.syncs_a_second).collect()),
        median(disk.iter().map(|d| d.took.p50_us as f64).collect()),
        median(disk.iter().map(|d| d.took.p99_us as f64).collect()),
    );
    Ok(())
}

fn loads(records: &Records, servers: &[&str]) {
    let mut shapes = records.0.iter().filter_map(|record| match &record.measured {
        Measured::Load(load) => Some((load.pairs, load.window)),
        Measured::Idle(_) | Measured::Lost(_) | Measured::Disk(_) => None,
    });
    let mut seen: Vec<(u64, u64)> = Vec::new();
    while let Some(shape) = shapes.find(|shape| !seen.contains(shape)) {
        seen.push(shape);
    }
    println!(
        "| pairs × in flight | server | messages/s | to ack: p50, p99 (ms) | to the other end: p50, p99 (ms) | server, CPU µs a message | \
         client, CPU µs a message | cores: server, client | flushes a message | peak memory (MiB) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (pairs, window) in seen {
        for server in servers {
            let loads = records.of(server, |m| match m {
                Measured::Load(load) if (load.pairs, load.window) == (pairs, window) => Some(*load),
                _ => None,
            });
            let of = |pick: fn(&crate::record::Load) -> f64| loads.iter().map(pick).collect::<Vec<f64>>();
            println!(
                "| {pairs} × {window} | {server} | {} | {}, {} | {}, {} | {} | {} | {}, {} | {} | {} |",
                median_and_spread(of(|l| l.messages_a_second)),
                median(of(|l| l.to_ack.p50_us as f64 / 1e3)),
                median(of(|l| l.to_ack.p99_us as f64 / 1e3)),
                median(of(|l| l.to_show.p50_us as f64 / 1e3)),
                median(of(|l| l.to_show.p99_us as f64 / 1e3)),
                median(of(|l| l.server_cpu_us)),
                median(of(|l| l.client_cpu_us)),
                median(of(|l| l.server_cores)),
                median(of(|l| l.client_cores)),
                median(of(|l| l.flushes)),
                median(of(|l| l.peak_mib)),
            );
        }
    }
}

fn idle(records: &Records, servers: &[&str]) {
    println!(
        "\n| idle connections | server | memory a connection (KiB) | CPU to open one (µs) | opened/s | cores for all of them |"
    );
    println!("|---|---|---|---|---|---|");
    for server in servers {
        let idle = records.of(server, |m| if let Measured::Idle(idle) = m { Some(*idle) } else { None });
        let of = |pick: fn(&crate::record::Idle) -> f64| idle.iter().map(pick).collect::<Vec<f64>>();
        println!(
            "| {} | {server} | {} | {} | {} | {} |",
            median(of(|i| i.connections as f64)),
            median_and_spread(of(|i| i.memory_kib)),
            median_and_spread(of(|i| i.open_cpu_us)),
            median(of(|i| i.opened_a_second)),
            median(of(|i| i.idle_cores)),
        );
    }
}

fn lost(records: &Records, servers: &[&str]) {
    println!(
        "\n| server | times killed | acked before | gone for the receiver | gone for the sender | shown and gone |"
    );
    println!("|---|---|---|---|---|---|");
    for server in servers {
        let lost = records.of(server, |m| if let Measured::Lost(lost) = m { Some(*lost) } else { None });
        let sum = |pick: fn(&crate::record::Lost) -> u64| grouped(&lost.iter().map(pick).sum::<u64>().to_string());
        println!(
            "| {server} | {} | {} | {} | {} | {} |",
            lost.len(),
            sum(|l| l.acked),
            sum(|l| l.gone_for_receiver),
            sum(|l| l.gone_for_sender),
            sum(|l| l.shown_and_gone),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_groups() {
        let shown = [0.0, 0.0123, 0.5, 1.0, 12.34, 123.4, 1234.0, 1_234_567.0].map(figure);
        assert_eq!((grouped("52"), grouped("108528")), ("52".to_owned(), "108,528".to_owned()));
        assert_eq!(shown, ["0", "0.012", "0.500", "1.00", "12.3", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn a_spread_is_median_least_and_greatest() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(spread(vec![4.0, 1.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(spread(vec![]), None);
    }
}
