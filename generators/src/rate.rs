//! How busy people are over time: a day's curve, and crowds on top of it.
//!
//! Gaps are drawn in *work*, of which one µs passes in one µs of time at the usual rate; where people write three times as
//! often, three pass. So every arrival process keeps its shape, and the mean of a whole day is the one that was asked for
//! (time rescaling of a point process: Daley and Vere-Jones 2003, theorem 7.4.I).

use squall_scenarios::model::Workload;

/// The rate of writing over a run, relative to the usual.
#[derive(Debug, Clone)]
pub struct Rate {
    /// When the load begins, in µs of the run: curve and crowds count from there.
    origin: u64,
    /// Factors of the parts of a day, of mean 1; one part when there is no curve.
    curve: Vec<f64>,
    part: u64,
    /// Crowds: from, until (µs of the load), factor. No two at a time.
    crowds: Vec<(u64, u64, f64)>,
    /// How long the load is. Nobody asks for what comes after it.
    load: u64,
}

impl Rate {
    pub fn new(model: &Workload, origin: u64, load: u64) -> Self {
        let parts = model.day_curve.len().max(1);
        let mean = model.day_curve.iter().sum::<f64>() / parts as f64;
        let curve = match model.day_curve.is_empty() {
            true => vec![1.0],
            false => model.day_curve.iter().map(|part| part / mean).collect(),
        };
        let crowds = model.flash_crowds.iter().map(|crowd| {
            let at = crowd.at.as_micros();
            (at, at.saturating_add(crowd.lasts.as_micros()), crowd.times)
        });
        let part = (model.day_length.as_micros() / parts as u64).max(1);
        Rate { origin, curve, part, crowds: crowds.collect(), load }
    }

    fn is_steady(&self) -> bool {
        self.curve.len() == 1 && self.crowds.is_empty()
    }

    /// The crowds at a moment of the run, by their place in the scenario.
    pub fn crowds_at(&self, now: u64) -> impl Iterator<Item = usize> + '_ {
        let at = now.saturating_sub(self.origin);
        self.crowds
            .iter()
            .enumerate()
            .filter(move |(_, (from, until, _))| (*from..*until).contains(&at))
            .map(|(i, _)| i)
    }

    /// The factor at a moment of the load.
    fn factor(&self, at: u64) -> f64 {
        let day = self.curve[(at / self.part) as usize % self.curve.len()];
        self.crowds
            .iter()
            .filter(|(from, until, _)| (*from..*until).contains(&at))
            .fold(day, |factor, (_, _, times)| factor * times)
    }

    /// When the factor next changes after a moment of the load.
    fn next_change(&self, at: u64) -> u64 {
        let part = if self.curve.len() > 1 { (at / self.part + 1) * self.part } else { u64::MAX };
        let crowds = self.crowds.iter().flat_map(|(from, until, _)| [*from, *until]);
        crowds.filter(|change| *change > at).fold(part, u64::min)
    }

    /// When the next crowd begins or ends after a moment of the load; its end if none does.
    fn next_crowd(&self, at: u64) -> u64 {
        let changes = self.crowds.iter().flat_map(|(from, until, _)| [*from, *until]);
        changes.filter(|change| *change > at).fold(self.load.max(at + 1), u64::min)
    }

    /// The work of a whole day from a moment on, and how many whole days pass before a crowd begins or ends. A day has the
    /// mean factor 1 whenever it is counted from.
    fn whole_days(&self, at: u64) -> (f64, u64) {
        let day = self.part * self.curve.len() as u64;
        let crowd: f64 =
            self.crowds.iter().filter(|(f, u, _)| (*f..*u).contains(&at)).map(|(_, _, times)| times).product();
        (day as f64 * crowd, (self.next_crowd(at) - at) / day)
    }

    /// The moment of the run, in µs, at which `work` more has passed than at `from`; never, if that is after the load.
    pub fn after(&self, from: u64, work: f64) -> u64 {
        if self.is_steady() {
            return from.saturating_add(work as u64);
        }
        let (mut at, mut rest) = (from.saturating_sub(self.origin), work);
        while at < self.load {
            let (day, days) = self.whole_days(at);
            let days = days.min((rest / day) as u64);
            if days > 0 {
                at += days * self.part * self.curve.len() as u64;
                rest -= days as f64 * day;
                continue;
            }
            let (factor, change) = (self.factor(at), self.next_change(at));
            let passes = factor * (change - at) as f64;
            if passes >= rest {
                return self.origin.saturating_add(at.saturating_add((rest / factor) as u64));
            }
            rest -= passes;
            at = change;
        }
        u64::MAX
    }

    /// The work that passes between two moments of the load, in µs from its beginning: messages, over the usual gap between them.
    pub fn work_between(&self, from: u64, until: u64) -> f64 {
        let (mut at, mut work) = (from, 0.0);
        while at < until {
            let (day, days) = self.whole_days(at);
            let length = self.part * self.curve.len() as u64;
            let days = days.min((until - at) / length);
            let change = if days > 0 { at + days * length } else { self.next_change(at).min(until) };
            work += if days > 0 { days as f64 * day } else { self.factor(at) * (change - at) as f64 };
            at = change;
        }
        work
    }

    /// The highest factor in the load.
    pub fn peak(&self) -> f64 {
        let (mut at, mut peak) = (0, 0.0_f64);
        while at < self.load {
            let crowd = self.next_crowd(at);
            let day = at.saturating_add(self.part * self.curve.len() as u64);
            let mut part = at;
            while part < crowd.min(day) {
                peak = peak.max(self.factor(part));
                part = self.next_change(part);
            }
            at = crowd;
        }
        peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::Span;
    use squall_scenarios::people::FlashCrowd;

    fn rate(curve: &[f64], crowds: &[(u64, u64, f64)]) -> Rate {
        let crowd = |(at, lasts, times): &(u64, u64, f64)| FlashCrowd {
            at: Span::from_micros(*at),
            lasts: Span::from_micros(*lasts),
            times: *times,
            to: None,
        };
        let model = Workload {
            day_curve: curve.to_vec(),
            day_length: Span::from_micros(100 * curve.len().max(1) as u64),
            flash_crowds: crowds.iter().map(crowd).collect(),
            ..Workload::default()
        };
        Rate::new(&model, 1_000, 1_000_000)
    }

    #[test]
    fn at_the_usual_rate_work_is_time() {
        assert_eq!(rate(&[], &[]).after(1_500, 250.9), 1_750);
        assert_eq!(rate(&[], &[]).work_between(0, 777), 777.0);
    }

    #[test]
    fn a_crowd_makes_gaps_short_while_it_lasts() {
        let rate = rate(&[], &[(200, 100, 5.0)]);
        assert_eq!(rate.after(1_000, 100.0), 1_100);
        assert_eq!(rate.after(1_100, 200.0), 1_220, "100 before it, 100 / 5 in it");
        assert_eq!(rate.after(1_200, 600.0), 1_400, "500 in it, 100 after it");
        assert_eq!(rate.work_between(0, 400), 800.0);
        assert_eq!(rate.crowds_at(1_200).count() + rate.crowds_at(1_300).count(), 1);
    }

    #[test]
    fn what_comes_after_the_load_never_comes_and_many_days_take_no_time() {
        let rate = rate(&[0.0, 3.0], &[(700_100, 100, 2.0)]);
        assert_eq!(rate.after(1_000, 2e6), u64::MAX);
        assert_eq!(rate.work_between(0, 1_000_000), 1_000_200.0);
        assert_eq!(rate.after(1_000, 600_050.0), 601_125);
        assert_eq!(rate.peak(), 4.0);
        let week = 7 * 86_400_000_000;
        let model =
            Workload { day_curve: vec![0.5; 1_440], day_length: Span::from_millis(100), ..Workload::default() };
        let rate = Rate::new(&model, 0, week);
        assert_eq!(rate.after(5, week as f64 / 2.0), week / 2 + 5);
        assert!((rate.work_between(0, week) / week as f64 - 1.0).abs() < 1e-9 && rate.peak() == 1.0);
    }

    #[test]
    fn a_day_has_the_mean_that_was_asked_for_and_comes_again() {
        let rate = rate(&[0.0, 3.0], &[]);
        assert_eq!(rate.work_between(0, 200), 200.0);
        assert_eq!(rate.after(1_000, 50.0), 1_125, "nothing in the first part, twice as much in the second");
        assert_eq!(rate.after(1_125, 200.0), 1_325);
    }
}
