//! What has been found wrong so far, and how bounds are told.

use crate::span::Span;
use std::fmt;
use std::ops::RangeInclusive;

/// Longer than this, no length of time in a scenario makes sense.
pub(super) const WEEK: Span = Span::from_secs(7 * 86_400);

/// Something in a scenario that no run could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, e.g. `faults[2].target[0]`; faults are counted from 0.
    pub place: String,
    /// What was found and what was expected.
    pub message: String,
    /// The next step.
    pub help: String,
    /// The top-level keys whose values, besides the one at `place`, led to this.
    pub(crate) depends: &'static [&'static str],
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.message, self.help)
    }
}

impl std::error::Error for Finding {}

#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub fn into_all(self) -> Vec<Finding> {
        self.0
    }

    pub fn add(
        &mut self,
        place: &str,
        depends: &'static [&'static str],
        message: String,
        help: impl Into<String>,
    ) {
        self.0.push(Finding { place: place.to_owned(), message, help: help.into(), depends });
    }

    /// A name stands in reports, in XML and on terminals, which take control characters for commands, or not at all.
    pub fn name(&mut self, place: &str, name: &str) {
        if let Some(control) = name.chars().find(|c| c.is_control()) {
            let message = format!("{} has a control character, {control:?}", label(place));
            self.add(place, &[], message, "write it without");
        }
    }

    pub fn count(&mut self, place: &str, value: u32, within: RangeInclusive<u32>) {
        self.bound(place, value, within, |value| value.to_string());
    }

    pub fn number(&mut self, place: &str, value: f64, within: RangeInclusive<f64>) {
        self.bound(place, value, within, |value| value.to_string());
    }

    pub fn span(&mut self, place: &str, value: Span, within: RangeInclusive<Span>) {
        self.bound(place, value, within, |value| format!("\"{value}\""));
    }

    pub fn bound<T: PartialOrd>(
        &mut self,
        place: &str,
        value: T,
        within: RangeInclusive<T>,
        text: impl Fn(&T) -> String,
    ) {
        if within.contains(&value) {
            return;
        }
        let key = label(place);
        let (least, most) = (text(within.start()), text(within.end()));
        let near = if value < *within.start() { &least } else { &most };
        let message = format!("{key} is {}, but must be within {least} and {most}", text(&value));
        self.add(place, &[], message, format!("write e.g. {key} = {near}"));
    }
}

/// The last part of a place, as messages name it.
pub(super) fn label(place: &str) -> &str {
    place.rsplit('.').next().unwrap_or(place)
}
