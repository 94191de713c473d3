//! What is shown while something goes on: a bar on a terminal, a line now and then elsewhere, or JSON for whoever watches by program.

use crate::output;
use crate::time_left::{TimeLeft, in_words};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use squall_world::Progress;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Between two lines of JSON.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// For whom progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For a person: a bar on a terminal, a line now and then elsewhere.
    #[default]
    Text,
    /// For a program: JSON objects, one a line, on standard error.
    Json,
}

/// Shows how far something is, on standard error.
pub struct Meter {
    bar: Option<ProgressBar>,
    last_line: Option<Duration>,
    quiet: bool,
    form: Form,
}

impl Meter {
    pub fn new(quiet: bool) -> Self {
        Meter::of(quiet, Form::Text)
    }

    /// JSON is shown even where a person wants quiet: it was asked for by name.
    pub fn of(quiet: bool, form: Form) -> Self {
        let for_a_person = !quiet && form == Form::Text;
        let bar = (for_a_person && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr_with_hz(10));
            // With a line of 66 columns it fits into 80.
            let style = ProgressStyle::with_template("{bar:12} {msg}").expect("the template is a constant");
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Meter { bar, last_line: None, quiet: !for_a_person, form }
    }

    /// Shows the share that is done after `wall`, and a text.
    pub fn show(&mut self, share: f64, wall: Duration, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position((share * 1_000.0) as u64);
            bar.set_message(text());
        } else if !self.quiet && self.is_time(wall, LINE_INTERVAL) {
            output::complaint!("{}", text());
        }
    }

    /// The same for a program, where one watches.
    pub fn report(&mut self, wall: Duration, progress: impl FnOnce() -> Value) {
        if self.form == Form::Json && self.is_time(wall, JSON_INTERVAL) {
            output::complaint!("{}", progress());
        }
    }

    /// Something that a program that watches must not miss.
    pub fn event(&self, event: impl FnOnce() -> Value) {
        if self.form == Form::Json {
            output::complaint!("{}", event());
        }
    }

    fn is_time(&mut self, wall: Duration, interval: Duration) -> bool {
        let is_time = wall >= self.last_line.map_or(interval, |last| last + interval);
        if is_time {
            self.last_line = Some(wall);
        }
        is_time
    }

    /// Prints something with the bar out of its way.
    pub fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Says something that stays, on standard error.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if !self.quiet {
            self.aside(|| output::complaint!("{}", text()));
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows the progress of one run.
pub struct Display {
    meter: Meter,
    left: TimeLeft,
}

impl Display {
    pub fn new(quiet: bool, form: Form) -> Self {
        Display { meter: Meter::of(quiet, form), left: TimeLeft::default() }
    }

    pub fn show(&mut self, progress: &Progress) {
        let share = progress.simulated.as_secs_f64() / progress.total.as_secs_f64().max(0.001);
        let left = self.left.look(progress.wall, share);
        self.meter.show(share, progress.wall, || line(progress, left));
        self.meter.report(progress.wall, || as_json(progress, share, left));
    }

    pub fn finish(&self) {
        self.meter.finish();
    }
}

fn speed(progress: &Progress) -> f64 {
    progress.simulated.as_secs_f64() / progress.wall.as_secs_f64().max(0.001)
}

/// At most 66 columns, which with the bar are 80.
fn line(progress: &Progress, left: Option<Duration>) -> String {
    format!(
        "{:<5} {:.0} of {:.0} s, {} up, {} shown, {:.1} x{}",
        progress.phase,
        progress.simulated.as_secs_f64(),
        progress.total.as_secs_f64(),
        short(progress.connected),
        short(progress.displayed),
        speed(progress),
        in_words(left)
    )
}

fn as_json(progress: &Progress, share: f64, left: Option<Duration>) -> Value {
    json!({
        "event": "progress",
        "phase": progress.phase,
        "share": share,
        "simulated_s": progress.simulated.as_secs_f64(),
        "total_s": progress.total.as_secs_f64(),
        "connected": progress.connected,
        "clients": progress.clients,
        "displayed": progress.displayed,
        "speed": speed(progress),
        "wall_s": progress.wall.as_secs_f64(),
        "left_s": left.map(|left| left.as_secs_f64()),
    })
}

/// 1,234,567 as `1.23 M`.
fn short(count: u64) -> String {
    match count {
        0..=99_999 => squall_reports::number::grouped(count),
        100_000..=999_999 => format!("{} k", count / 1_000),
        _ => format!("{:.2} M", count as f64 / 1e6),
    }
}

/// Wall time since it was started.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "wall time is shown to the user and enters no run")]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_large_run_fits_beside_its_bar() {
        let progress = Progress {
            phase: "quiet",
            simulated: Duration::from_secs(199),
            total: Duration::from_secs(220),
            wall: Duration::from_secs(3_000),
            connected: 3_000_000,
            clients: 3_000_000,
            displayed: 99_990_000,
        };
        let line = line(&progress, Some(Duration::from_secs(5_000)));
        assert_eq!(line, "quiet 199 of 220 s, 3.00 M up, 99.99 M shown, 0.1 x, 84 min left");
        assert!(line.chars().count() <= 66, "{line}");
    }
}
