//! How each type of value is read, and what is said when it cannot be.

use crate::model::{Arrival, Backbone, Codec, FaultKind, Measure, Point, Profile, Tick};
use crate::reader::{Field, Place, Reader, Value, entries, nearest, quote};
use crate::span::{Span, SpanError, UNIT_NAMES};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::collections::BTreeMap;
use std::fmt;
use toml::de::{DeInteger, DeValue};

impl Field for String {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<String> {
        let DeValue::String(text) = value.get_ref() else {
            reader.wrong_type(value, place, "text", format!("write it in quotes, e.g. {} = \"…\"", place.label));
            return None;
        };
        Some(text.clone().into_owned())
    }
}

impl Field for Vec<String> {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Vec<String>> {
        match value.get_ref() {
            DeValue::Array(values) => {
                let mut texts = Vec::new();
                for (index, value) in values.iter().enumerate() {
                    let element = place.element(index);
                    reader.remember(&element.path, value.span());
                    texts.push(String::read(value, &element, reader));
                }
                texts.into_iter().collect()
            }
            DeValue::String(text) => {
                let help = format!("write {} = [{}]", place.label, quote(text));
                reader.wrong_type(value, place, "a list of texts", help);
                None
            }
            _ => {
                let help = format!("write e.g. {} = [\"gateway-0\"]", place.label);
                reader.wrong_type(value, place, "a list of texts", help);
                None
            }
        }
    }
}

impl Field for u32 {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<u32> {
        whole_number(value, place, reader, u64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
    }
}

impl Field for u64 {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<u64> {
        whole_number(value, place, reader, u64::MAX)
    }
}

impl Field for f64 {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<f64> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => integer(number).map(|number| number as f64),
            DeValue::Float(number) => number.as_str().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        };
        if number.is_none() {
            reader.wrong_type(value, place, "a number", number_help(value, place, "0.5"));
        }
        number
    }
}

impl Field for Span {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Span> {
        let label = &place.label;
        let number = match value.get_ref() {
            DeValue::String(text) => {
                return text
                    .parse()
                    .map_err(|error: SpanError| {
                        let message = format!("{label} is {}, but {}", quote(text), error.expectation());
                        reader.report(&place.path, value.span(), message, error.next_step());
                    })
                    .ok();
            }
            DeValue::Integer(number) => integer(number).map(|number| number.to_string()),
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            _ => None,
        };
        match number.filter(|number| number.chars().all(|c| c.is_ascii_digit() || c == '.')) {
            Some(number) => {
                let message = format!("{label} is {number}, but a duration needs a unit ({UNIT_NAMES})");
                reader.report(&place.path, value.span(), message, format!("write e.g. {label} = \"{number}s\""));
            }
            None => reader.wrong_type(
                value,
                place,
                &format!("a duration ({UNIT_NAMES})"),
                format!("write e.g. {label} = \"2s\""),
            ),
        }
        None
    }
}

impl Field for Tick {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Tick> {
        Span::read(value, place, reader).map(Tick)
    }
}

impl Field for BTreeMap<Profile, f64> {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<BTreeMap<Profile, f64>> {
        let DeValue::Table(table) = value.get_ref() else {
            let help = format!("write e.g. {} = {{ wifi = 0.7, lte = 0.3 }}", place.label);
            reader.wrong_type(value, place, "a table of shares by profile", help);
            return None;
        };
        let mut shares = BTreeMap::new();
        for (key, (at, value)) in entries(table) {
            let profile = match variant::<Profile>(key) {
                Ok(profile) => profile,
                Err(known) => {
                    reader.unknown_key(&place.path, at, key, &format!("in {}", place.label), known.to_vec());
                    continue;
                }
            };
            let share = Place { path: format!("{}.{key}", place.path), label: key.to_owned() };
            reader.remember(&share.path, value.span());
            if let Some(number) = f64::read(value, &share, reader) {
                shares.insert(profile, number);
            }
        }
        Some(shares)
    }
}

/// The kind of a fault, by name.
pub(crate) struct Kind(pub &'static str);

impl Field for Kind {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Kind> {
        let known = FaultKind::NAMES;
        word(value, place, reader, |text| {
            known.iter().find(|name| **name == text).map(|name| Kind(name)).ok_or(known)
        })
    }
}

macro_rules! words {
    ($($name:ident),*) => {$(
        impl Field for $name {
            fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<$name> {
                word(value, place, reader, variant)
            }
        }
    )*};
}

words!(Arrival, Backbone, Codec, Measure, Point, Profile);

/// Reads one of a fixed set of words.
fn word<T>(
    value: &Value<'_>,
    place: &Place,
    reader: &mut Reader,
    parse: impl Fn(&str) -> Result<T, &'static [&'static str]>,
) -> Option<T> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.as_ref(),
        _ => "",
    };
    match (parse(text), value.get_ref()) {
        (Ok(found), _) => Some(found),
        (Err(known), DeValue::String(_)) => {
            let message =
                format!("{} is {}, but one of {} is expected", place.label, quote(text), known.join(", "));
            let help = match nearest(text, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "write one of those".to_owned(),
            };
            reader.report(&place.path, value.span(), message, help);
            None
        }
        (Err(known), _) => {
            let help =
                format!("write one of those in quotes, e.g. {} = {:?}", place.label, known.first().unwrap_or(&""));
            reader.wrong_type(value, place, &format!("one of {}", known.join(", ")), help);
            None
        }
    }
}

/// Finds the variant that serde would; where there is none, the names that serde knows.
fn variant<T: for<'de> Deserialize<'de>>(name: &str) -> Result<T, &'static [&'static str]> {
    T::deserialize(IntoDeserializer::<Variants>::into_deserializer(name)).map_err(|Variants(known)| known)
}

/// The names that serde expected.
#[derive(Debug)]
struct Variants(&'static [&'static str]);

impl std::error::Error for Variants {}

impl fmt::Display for Variants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl serde::de::Error for Variants {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Variants(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Variants(expected)
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn whole_number(value: &Value<'_>, place: &Place, reader: &mut Reader, most: u64) -> Option<u64> {
    let DeValue::Integer(number) = value.get_ref() else {
        reader.wrong_type(value, place, "a whole number", number_help(value, place, "2"));
        return None;
    };
    let fitting = integer(number).and_then(|number| u64::try_from(number).ok()).filter(|number| *number <= most);
    if fitting.is_none() {
        let expected = format!("a whole number within 0..={most}");
        reader.wrong_type(value, place, &expected, format!("write e.g. {} = 2", place.label));
    }
    fitting
}

/// What to write where a number is expected: the same without quotes, if that is all that is wrong.
fn number_help(value: &Value<'_>, place: &Place, example: &str) -> String {
    match value.get_ref() {
        DeValue::String(text) if text.parse::<f64>().is_ok_and(f64::is_finite) => {
            format!("write {} = {text}, without quotes", place.label)
        }
        _ => format!("write e.g. {} = {example}", place.label),
    }
}
