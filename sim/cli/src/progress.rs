//! What is shown while a run goes on: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use squall_world::Progress;
use std::io::IsTerminal;
use std::time::Duration;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress on standard error.
pub struct Display {
    bar: Option<ProgressBar>,
    last_line: Duration,
    quiet: bool,
}

impl Display {
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is a constant");
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Display { bar, last_line: Duration::ZERO, quiet }
    }

    pub fn show(&mut self, progress: &Progress) {
        if self.quiet {
            return;
        }
        let speed = progress.simulated.as_secs_f64() / progress.wall.as_secs_f64().max(0.001);
        let text = format!(
            "{:<5} {:>4.0} of {:.0} s simulated, {} of {} connected, {} shown, {speed:.1} x real time",
            progress.phase,
            progress.simulated.as_secs_f64(),
            progress.total.as_secs_f64(),
            progress.connected,
            progress.clients,
            progress.displayed,
        );
        match &self.bar {
            Some(bar) => {
                let share = progress.simulated.as_secs_f64() / progress.total.as_secs_f64().max(0.001);
                bar.set_position((share * 1_000.0) as u64);
                bar.set_message(text);
            }
            None if progress.wall >= self.last_line + LINE_INTERVAL => {
                self.last_line = progress.wall;
                eprintln!("{text}");
            }
            None => {}
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
