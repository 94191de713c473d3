//! Lengths of time as scenario files write them: a number and a unit, to the microsecond.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// The units, longest first, with their length in microseconds.
const UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// The units as an error message lists them.
pub(crate) const UNIT_NAMES: &str = "us, ms, s, m, h, d";

/// What people write for a unit, and the unit they mean.
const UNIT_ALIASES: [(&str, &[&str]); 6] = [
    ("us", &["µs", "μs", "usec", "usecs", "micros", "microsecond", "microseconds"]),
    ("ms", &["msec", "msecs", "milli", "millis", "millisecond", "milliseconds"]),
    ("s", &["sec", "secs", "second", "seconds"]),
    ("m", &["min", "mins", "minute", "minutes"]),
    ("h", &["hr", "hrs", "hour", "hours"]),
    ("d", &["day", "days"]),
];

/// A length of simulated time, or a moment counted from a start that the field names.
///
/// Arithmetic saturates: no scenario file can make it panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn from_micros(micros: u64) -> Span {
        Span(micros)
    }

    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000))
    }

    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(1_000_000))
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds; what is below one is cut off.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    pub fn as_secs_f64(self) -> f64 {
        self.as_duration().as_secs_f64()
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Duration> for Span {
    /// What is below a microsecond is cut off.
    fn from(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        span.as_duration()
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Span;
    /// Zero where `other` is longer.
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Mul<u64> for Span {
    type Output = Span;
    fn mul(self, factor: u64) -> Span {
        Span(self.0.saturating_mul(factor))
    }
}

impl Div<u64> for Span {
    type Output = Span;
    /// Rounds down; a division by zero gives the longest span.
    fn div(self, divisor: u64) -> Span {
        Span(self.0.checked_div(divisor).unwrap_or(u64::MAX))
    }
}

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}; {}", self.expectation(), self.next_step())]
pub enum SpanError {
    NoUnit { number: String },
    UnknownUnit { number: String, unit: String, meant: Option<&'static str> },
    NotADuration,
    Negative,
    TooFine,
    TooLong,
}

impl SpanError {
    /// What was expected instead.
    pub fn expectation(&self) -> String {
        match self {
            SpanError::NoUnit { .. } => format!("a duration needs a unit ({UNIT_NAMES})"),
            SpanError::UnknownUnit { unit, .. } => format!("{unit:?} is not a unit of time ({UNIT_NAMES})"),
            SpanError::NotADuration => format!("a duration is one number and one unit ({UNIT_NAMES})"),
            SpanError::Negative => "a duration cannot be negative".to_owned(),
            SpanError::TooFine => "a duration is a whole number of microseconds".to_owned(),
            SpanError::TooLong => "a duration of 2^64 microseconds or more cannot be told".to_owned(),
        }
    }

    /// What to write.
    pub fn next_step(&self) -> String {
        match self {
            SpanError::NoUnit { number } => format!("write e.g. \"{number}s\""),
            SpanError::UnknownUnit { number, meant: Some(unit), .. } => format!("write \"{number}{unit}\""),
            SpanError::UnknownUnit { number, meant: None, .. } => format!("write e.g. \"{number}s\""),
            SpanError::NotADuration => "write e.g. \"250ms\", \"1.5s\" or \"2m\"".to_owned(),
            SpanError::Negative => "write e.g. \"0s\"".to_owned(),
            SpanError::TooFine => "write fewer decimals, or at least \"1us\"".to_owned(),
            SpanError::TooLong => "write e.g. \"1h\" or \"7d\"".to_owned(),
        }
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Span, SpanError> {
        if text.starts_with('-') {
            return Err(SpanError::Negative);
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, decimals) = match number.split_once('.') {
            Some((whole, decimals)) if !decimals.is_empty() => (whole, decimals),
            Some(_) => return Err(SpanError::NotADuration),
            None => (number, ""),
        };
        if whole.is_empty() || decimals.contains('.') {
            return Err(SpanError::NotADuration);
        }
        if unit.is_empty() {
            return Err(SpanError::NoUnit { number: number.to_owned() });
        }
        let Some(&(_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(wrong_unit(number, unit));
        };
        let whole: u64 = whole.parse().map_err(|_| SpanError::TooLong)?;
        let whole = whole.checked_mul(length).ok_or(SpanError::TooLong)?;
        let fraction = fraction_of(decimals.trim_end_matches('0'), length)?;
        whole.checked_add(fraction).map(Span).ok_or(SpanError::TooLong)
    }
}

/// `0.<decimals>` of a unit, in microseconds.
fn fraction_of(decimals: &str, length: u64) -> Result<u64, SpanError> {
    if decimals.is_empty() {
        return Ok(0);
    }
    // More than 12 decimals of a day are finer than a microsecond.
    let digits = u32::try_from(decimals.len()).ok().filter(|digits| *digits <= 12).ok_or(SpanError::TooFine)?;
    let numerator: u128 = decimals.parse().map_err(|_| SpanError::TooFine)?;
    let product = numerator * u128::from(length);
    let scale = 10u128.pow(digits);
    if !product.is_multiple_of(scale) {
        return Err(SpanError::TooFine);
    }
    u64::try_from(product / scale).map_err(|_| SpanError::TooLong)
}

fn wrong_unit(number: &str, unit: &str) -> SpanError {
    let word = unit.trim().to_lowercase();
    let meant = UNIT_ALIASES
        .iter()
        .find(|(name, aliases)| *name == word || aliases.contains(&word.as_str()))
        .map(|(name, _)| *name);
    if meant.is_none() && !unit.chars().all(char::is_alphabetic) {
        return SpanError::NotADuration;
    }
    SpanError::UnknownUnit { number: number.to_owned(), unit: unit.to_owned(), meant }
}

/// The shortest text that says exactly this; without a fraction where two are equally short.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let shortest = UNITS
            .iter()
            .filter_map(|&(unit, length)| in_unit(self.0, unit, length))
            .min_by_key(|text| (text.len(), text.contains('.')));
        match shortest {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}us", self.0),
        }
    }
}

/// `micros` in a unit that is not longer, when three decimals say it exactly.
fn in_unit(micros: u64, unit: &str, length: u64) -> Option<String> {
    let whole = micros / length;
    let thousandths = u128::from(micros % length) * 1_000;
    if whole == 0 || thousandths % u128::from(length) != 0 {
        return None;
    }
    match thousandths / u128::from(length) {
        0 => Some(format!("{whole}{unit}")),
        decimals => Some(format!("{whole}.{}{unit}", format!("{decimals:03}").trim_end_matches('0'))),
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: a number and a unit (us, ms, s, m, h, d).",
            "pattern": r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$",
            "examples": ["250ms", "1.5s", "2m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_parse_to_microseconds() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("7d", 604_800_000_000),
            ("10us", 10),
            ("0s", 0),
            ("0.000001s", 1),
            ("1.50s", 1_500_000),
        ] {
            assert_eq!(text.parse(), Ok(Span::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn spans_print_in_their_shortest_exact_form() {
        for (micros, text) in [
            (0, "0s"),
            (1, "1us"),
            (100, "100us"),
            (1_500, "1.5ms"),
            (100_000, "100ms"),
            (1_500_000, "1.5s"),
            (1_234_567, "1234567us"),
            (60_000_000, "1m"),
            (90_000_000, "90s"),
            (150_000_000, "150s"),
            (3_600_000_000, "1h"),
            (604_800_000_000, "7d"),
        ] {
            assert_eq!(Span::from_micros(micros).to_string(), text);
        }
    }

    #[test]
    fn wrong_texts_say_what_to_write() {
        let malformed =
            "a duration is one number and one unit (us, ms, s, m, h, d); write e.g. \"250ms\", \"1.5s\" or \"2m\"";
        for (text, message) in [
            ("5", "a duration needs a unit (us, ms, s, m, h, d); write e.g. \"5s\""),
            ("1.5", "a duration needs a unit (us, ms, s, m, h, d); write e.g. \"1.5s\""),
            ("5sec", "\"sec\" is not a unit of time (us, ms, s, m, h, d); write \"5s\""),
            ("5 s", "\" s\" is not a unit of time (us, ms, s, m, h, d); write \"5s\""),
            ("5MS", "\"MS\" is not a unit of time (us, ms, s, m, h, d); write \"5ms\""),
            ("5w", "\"w\" is not a unit of time (us, ms, s, m, h, d); write e.g. \"5s\""),
            ("soon", malformed),
            ("", malformed),
            ("1m30s", malformed),
            ("1.s", malformed),
            ("-1s", "a duration cannot be negative; write e.g. \"0s\""),
            ("0.5us", "a duration is a whole number of microseconds; write fewer decimals, or at least \"1us\""),
            (
                "99999999999999d",
                "a duration of 2^64 microseconds or more cannot be told; write e.g. \"1h\" or \"7d\"",
            ),
        ] {
            let error = text.parse::<Span>().expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_prints_parses_back(micros: u64) {
            prop_assert_eq!(Span(micros).to_string().parse(), Ok(Span(micros)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Span>();
        }
    }
}
