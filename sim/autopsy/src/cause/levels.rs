//! Something of a host that is bounded and grew beyond its bound, or that was to be as empty as before and is not.

use crate::case::Case;
use crate::story::at;
use squall_history::{Entity, Hop, Kind};
use squall_reports::record::LevelRecord;

/// A stop or a fault that is over for longer before a level grew has little to do with it, in µs.
const AFTER_US: u64 = 10_000_000;

/// A level was higher than ever before.
struct Growth {
    t: u64,
    items: u64,
}

pub fn cause(case: &Case<'_>) -> Option<String> {
    let level = case.subject.level.as_ref()?;
    let LevelRecord { host, what, limit, before, highest, end } = level;
    let limit = limit.filter(|limit| highest > limit);
    let (found, bound) = match limit {
        Some(limit) => (format!("{host} had {highest} {what} at the most, and may have {limit}"), limit),
        None => (
            format!(
                "{host} has {end} {what} at the end of the quiet, and had at most {before} before the first fault"
            ),
            *before,
        ),
    };
    let beyond = growths(case, level, bound);
    let Some(first) = beyond.first() else { return Some(format!("{found}; when they grew is not told")) };
    let troubles: Vec<Option<Trouble>> = beyond.iter().map(|growth| trouble(case, growth.t)).collect();
    let began = troubles[0].as_ref().map_or(String::new(), |trouble| format!(", {}", trouble.clause()));
    let mut text = format!("{found}: there were {} for the first time at {}{began}", first.items, at(first.t));
    if let [_, .., last] = &beyond[..] {
        let each = match &troubles[0] {
            Some(trouble) if is_each_time(&troubles) => format!(", more each time after {}", trouble.of),
            _ => String::new(),
        };
        text.push_str(&format!("{each}, and {} at {}", last.items, at(last.t)));
    }
    if limit.is_none() {
        let kept =
            if *end >= *highest { "; none of them has gone since" } else { "; they never became as few again" };
        text.push_str(kept);
    }
    Some(text)
}

/// Whether the same befell the same host before each growth, a time of its own for each.
fn is_each_time(troubles: &[Option<Trouble>]) -> bool {
    troubles.windows(2).all(|pair| match pair {
        [Some(one), Some(next)] => one.of == next.of && one.t < next.t,
        _ => false,
    })
}

/// When there was more of it than ever, and more than its bound.
fn growths(case: &Case<'_>, level: &LevelRecord, bound: u64) -> Vec<Growth> {
    let host = case.story.index_of(&level.host).map(Entity::Host);
    let hops = case.story.hops().filter(|(event, _)| Some(event.at) == host);
    hops.filter_map(|(event, hop)| match hop {
        Hop::MoreThanEver { what, items } if *what == level.what && *items > bound => {
            Some(Growth { t: event.t, items: *items })
        }
        _ => None,
    })
    .collect()
}

/// What befell a host, or began to.
struct Trouble {
    t: u64,
    /// What it is of, so that its next time is known again.
    of: String,
    text: String,
}

impl Trouble {
    fn clause(&self) -> String {
        format!("after {} at {}", self.text, at(self.t))
    }
}

/// The last thing that befell a host before this time.
fn trouble(case: &Case<'_>, t: u64) -> Option<Trouble> {
    let recent = |event: &&squall_history::Event| (t.saturating_sub(AFTER_US)..=t).contains(&event.t);
    case.story.events.iter().rev().filter(recent).find_map(|event| {
        let (of, text) = match (&event.kind, event.at) {
            (Kind::Crash, Entity::Host(host)) => {
                let name = case.story.host(host);
                (format!("{name} stopped"), format!("{name} had crashed"))
            }
            (Kind::PowerLoss { .. }, Entity::Host(host)) => {
                let name = case.story.host(host);
                (format!("{name} stopped"), format!("{name} had lost power"))
            }
            (Kind::Fault { name, active: true, .. }, _) => {
                (format!("the fault \"{name}\" began"), format!("the fault \"{name}\" had begun"))
            }
            _ => return None,
        };
        Some(Trouble { t: event.t, of, text })
    })
}
