//! The curve: how often it is violated when a fault strikes at another time, which shows when the run turned.
//!
//! Times are spread over the load first, the record's own among them; then the widest step of the curve is halved, again and again.

use super::search::Tally;
use squall_scenarios::Span;

/// Times that are spread over the load.
const SPREAD: u64 = 8;
/// How often the widest step is halved.
const HALVINGS: u32 = 4;
/// Steps that are no longer are not halved.
const FINEST: Span = Span::from_millis(10);
/// Shares that differ by less are no step.
const LEAST_STEP: f64 = 0.5;

/// One time of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When the fault strikes, as its `at` says.
    pub at: Span,
    pub tally: Tally,
    /// Whether it is the time at which it struck.
    pub own: bool,
}

/// The curve of a fault that strikes at `own`, in the order of time; what was seen until then where no more could be.
pub fn curve<S>(
    load: Span,
    own: Span,
    mut at: impl FnMut(Span) -> Result<Option<Tally>, S>,
) -> (Vec<Point>, Option<S>) {
    let mut points = Vec::new();
    let stop = draw(&mut points, load, own, &mut at).err();
    points.sort_by_key(|point| point.at);
    (points, stop)
}

fn draw<S>(
    points: &mut Vec<Point>,
    load: Span,
    own: Span,
    at: &mut impl FnMut(Span) -> Result<Option<Tally>, S>,
) -> Result<(), S> {
    let step = load.as_micros() / SPREAD;
    // Its own time takes the place of the one that it is nearest to.
    let near = |time: u64| time.abs_diff(own.as_micros()) * 2 <= step;
    let spread = (0..SPREAD).map(|number| number * step).filter(|time| !near(*time));
    let whole = |time: u64| Span::from_millis(time / 1_000);
    for time in [own].into_iter().chain(spread.map(whole)) {
        if let Some(tally) = at(time)? {
            points.push(Point { at: time, tally, own: time == own });
        }
    }
    for _ in 0..HALVINGS {
        points.sort_by_key(|point| point.at);
        let Some((before, after)) = turn(points) else { break };
        let middle = whole((before.at.as_micros() + after.at.as_micros()) / 2);
        if after.at - before.at <= FINEST {
            break;
        }
        match at(middle)? {
            Some(tally) => points.push(Point { at: middle, tally, own: false }),
            None => break,
        }
    }
    Ok(())
}

/// The two neighbours between which the share steps widest; of equal steps the one nearest to the fault's own time. `None` where there is no
/// step.
pub fn turn(points: &[Point]) -> Option<(Point, Point)> {
    let own = points.iter().find(|point| point.own).map_or(Span::ZERO, |point| point.at).as_micros();
    let step = |pair: &[Point]| (pair[0].tally.share() - pair[1].tally.share()).abs();
    let away = |pair: &[Point]| pair.iter().map(|point| point.at.as_micros().abs_diff(own)).min();
    let steps = points.windows(2).filter(|pair| step(pair) >= LEAST_STEP);
    let widest = steps.max_by(|a, b| step(a).total_cmp(&step(b)).then_with(|| away(b).cmp(&away(a))));
    widest.map(|pair| (pair[0], pair[1]))
}

/// The whole way from before the turn to after it: the widest step, with those on both sides that go the same way.
pub fn way(points: &[Point]) -> Option<(Point, Point)> {
    let (from, to) = turn(points)?;
    let rises = to.tally.share() > from.tally.share();
    let goes_on = |pair: &[Point]| match rises {
        true => pair[1].tally.share() > pair[0].tally.share(),
        false => pair[1].tally.share() < pair[0].tally.share(),
    };
    let place = |point: Point| points.iter().position(|other| other.at == point.at).unwrap_or(0);
    let (mut first, mut last) = (place(from), place(to));
    while first > 0 && goes_on(&points[first - 1..=first]) {
        first -= 1;
    }
    while last + 1 < points.len() && goes_on(&points[last..=last + 1]) {
        last += 1;
    }
    Some((points[first], points[last]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(violated: impl Fn(u64) -> u32, own: u64) -> Vec<Point> {
        let tally = |at: Span| Ok::<_, ()>(Some(Tally { violated: violated(at.as_millis()), of: 4 }));
        let (points, stop) = curve(Span::from_secs(16), Span::from_millis(own), tally);
        assert!(stop.is_none() && points.is_sorted_by_key(|point| point.at), "{points:?}");
        assert_eq!(
            points.iter().filter(|point| point.own).map(|point| point.at.as_millis()).collect::<Vec<_>>(),
            [own]
        );
        points
    }

    #[test]
    fn the_moment_of_the_turn_is_found_to_a_sixteenth_of_a_step() {
        let points = seen(|at| if at < 9_130 { 4 } else { 0 }, 7_000);
        let (before, after) = turn(&points).unwrap();
        assert!(before.at.as_millis() < 9_130 && after.at.as_millis() >= 9_130, "{points:?}");
        assert!((after.at - before.at).as_millis() <= 200, "{points:?}");
        assert_eq!((before.tally.violated, after.tally.violated), (4, 0));
    }

    #[test]
    fn of_two_turns_the_one_beside_the_fault_is_sought() {
        let points = seen(|at| if (5_000..9_000).contains(&at) { 4 } else { 0 }, 8_000);
        let (before, after) = turn(&points).unwrap();
        assert!(before.at.as_millis() >= 8_000 && after.at.as_millis() <= 10_000, "{points:?}");
    }

    #[test]
    fn where_it_is_all_the_same_there_is_no_turn() {
        let points = seen(|_| 4, 0);
        assert_eq!((points.len(), turn(&points)), (8, None));
    }

    #[test]
    fn a_turn_that_takes_its_time_is_told_from_end_to_end() {
        let point =
            |ms, violated| Point { at: Span::from_millis(ms), tally: Tally { violated, of: 4 }, own: ms == 0 };
        let ends = |points: &[Point]| way(points).map(|(from, to)| (from.at.as_millis(), to.at.as_millis()));
        let rising = [point(0, 0), point(500, 0), point(625, 1), point(632, 3), point(640, 4), point(700, 4)];
        assert_eq!(ends(&rising), Some((500, 640)));
        let falling = [point(0, 4), point(500, 3), point(625, 1), point(632, 1), point(640, 4)];
        assert_eq!(ends(&falling), Some((632, 640)));
        assert_eq!(ends(&falling[..4]), Some((0, 625)));
        assert_eq!(ends(&rising[..2]), None);
    }

    #[test]
    fn what_was_seen_before_the_end_stays() {
        let mut asked = 0;
        let (points, stop) = curve(Span::from_secs(16), Span::from_secs(3), |_| {
            asked += 1;
            if asked > 3 { Err("the time is up") } else { Ok(Some(Tally { violated: 1, of: 1 })) }
        });
        assert_eq!((points.len(), stop), (3, Some("the time is up")));
    }
}
