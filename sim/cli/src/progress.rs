//! What is shown while something goes on: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use squall_world::Progress;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how far something is, on standard error.
pub struct Meter {
    bar: Option<ProgressBar>,
    last_line: Duration,
    quiet: bool,
}

impl Meter {
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is a constant");
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Meter { bar, last_line: Duration::ZERO, quiet }
    }

    /// Shows the share that is done after `wall`, and a text.
    pub fn show(&mut self, share: f64, wall: Duration, text: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_position((share * 1_000.0) as u64);
                bar.set_message(text());
            }
            None if !self.quiet && wall >= self.last_line + LINE_INTERVAL => {
                self.last_line = wall;
                eprintln!("{}", text());
            }
            None => {}
        }
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
            self.aside(|| eprintln!("{}", text()));
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows the progress of one run.
pub struct Display(Meter);

impl Display {
    pub fn new(quiet: bool) -> Self {
        Display(Meter::new(quiet))
    }

    pub fn show(&mut self, progress: &Progress) {
        let speed = progress.simulated.as_secs_f64() / progress.wall.as_secs_f64().max(0.001);
        let share = progress.simulated.as_secs_f64() / progress.total.as_secs_f64().max(0.001);
        self.0.show(share, progress.wall, || {
            format!(
                "{:<5} {:>4.0} of {:.0} s simulated, {} of {} connected, {} shown, {speed:.1} x real time",
                progress.phase,
                progress.simulated.as_secs_f64(),
                progress.total.as_secs_f64(),
                progress.connected,
                progress.clients,
                progress.displayed,
            )
        });
    }

    pub fn finish(&self) {
        self.0.finish();
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
