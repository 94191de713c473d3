//! How long something will still take, as far as anybody can tell.
//!
//! A run does not go on at one speed: the ramp is slow, the quiet is fast. What has been seen lately counts, and nothing is said before something has
//! been seen. What is said is rounded as coarsely as it deserves, so that it does not jump about.

use std::collections::VecDeque;
use std::time::Duration;

/// Before so much time nothing is said.
const SOONEST: Duration = Duration::from_secs(3);
/// Nor before so much of it is done.
const LEAST_SHARE: f64 = 0.02;
/// What counts as lately, of the time that has passed.
const LATELY: f64 = 0.3;
/// Looks that are remembered at most.
const MOST_LOOKS: usize = 600;

/// Watches how far something is.
#[derive(Debug, Default)]
pub struct TimeLeft {
    looks: VecDeque<(Duration, f64)>,
}

impl TimeLeft {
    /// After `wall` this share is done: what is left, if it can be told.
    pub fn look(&mut self, wall: Duration, share: f64) -> Option<Duration> {
        if self.looks.len() == MOST_LOOKS {
            // Every second one will do.
            let mut keep = false;
            self.looks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.looks.push_back((wall, share));
        let since = wall.mul_f64(1.0 - LATELY);
        let (at, done) = *self.looks.iter().rev().find(|(at, _)| *at <= since)?;
        let speed = (share - done) / (wall - at).as_secs_f64().max(1e-3);
        let known = wall >= SOONEST && share >= LEAST_SHARE && speed > 0.0;
        known.then(|| Duration::from_secs_f64(((1.0 - share).max(0.0) / speed).min(1e7)))
    }
}

/// What is left, for a person: "40 s left"; nothing where nothing is known.
pub fn in_words(left: Option<Duration>) -> String {
    let Some(left) = left else { return String::new() };
    let round = |seconds: u64, to: u64| seconds.div_ceil(to) * to;
    match left.as_secs() {
        0..=4 => ", a few s left".to_owned(),
        s @ 5..=59 => format!(", {} s left", round(s, 5)),
        s @ 60..=5_399 => format!(", {} min left", s.div_ceil(60)),
        s => format!(", {:.1} h left", s as f64 / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_at(share_of: impl Fn(f64) -> f64, at: f64) -> Option<f64> {
        let mut left = TimeLeft::default();
        let mut found = None;
        for tenths in 0..=(at * 10.0) as u64 {
            let wall = tenths as f64 / 10.0;
            found = left.look(Duration::from_secs_f64(wall), share_of(wall));
        }
        found.map(|left| left.as_secs_f64())
    }

    #[test]
    fn at_one_speed_it_is_right_from_the_beginning() {
        for at in [10.0, 50.0, 200.0, 350.0] {
            let found = left_at(|wall| wall / 400.0, at).unwrap();
            assert!((found - (400.0 - at)).abs() < 0.05 * (400.0 - at), "{found} at {at}");
        }
    }

    #[test]
    fn a_new_speed_is_believed_soon() {
        // A tenth in the first 100 s, then the rest in 90 s.
        let share = |wall: f64| if wall < 100.0 { wall / 1_000.0 } else { 0.1 + (wall - 100.0) / 100.0 };
        let found = left_at(share, 145.0).unwrap();
        assert!((found - 45.0).abs() < 8.0, "{found}");
    }

    #[test]
    fn nothing_is_said_before_anything_is_known() {
        assert_eq!(left_at(|wall| wall / 4.0, 1.0), None);
        assert_eq!(left_at(|_| 0.0, 60.0), None);
        assert_eq!(left_at(|_| 0.5, 60.0), None, "it stands still");
    }

    #[test]
    fn it_is_told_as_coarsely_as_it_deserves() {
        let told = |seconds| in_words(Some(Duration::from_secs(seconds)));
        assert_eq!(
            [3, 7, 61, 5_000, 9_000].map(told),
            [", a few s left", ", 10 s left", ", 2 min left", ", 84 min left", ", 2.5 h left"]
        );
        assert_eq!(in_words(None), "");
    }
}
