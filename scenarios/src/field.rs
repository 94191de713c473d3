//! How each type of value is read, and what is said when it cannot be.

use crate::model::{
    Arrival, Backbone, Codec, DiskOperation, FaultKind, KindName, Measure, Membership, Point, Profile, Text, Tick,
};
use crate::people::{BodyPart, ConversationsPart, DevicesPart, LengthPart, Life, Mix, Popularity};
use crate::reader::{Field, Place, Reader, Table, Value, entries};
use crate::span::{Span, SpanError, UNIT_NAMES};
use crate::target::{Target, TargetError, Targets};
use crate::words::{nearest, quote};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::collections::BTreeMap;
use std::fmt;
use toml::de::{DeInteger, DeValue};

impl<T: Field> Field for Option<T> {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Option<T>> {
        T::read(value, place, reader).map(Some)
    }
}

impl Field for String {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<String> {
        let DeValue::String(text) = value.get_ref() else {
            reader.wrong_type(value, place, "text", format!("write it in quotes, e.g. {} = \"…\"", place.label));
            return None;
        };
        Some(text.clone().into_owned())
    }
}

impl Field for Target {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Target> {
        let text = String::read(value, place, reader)?;
        let told = |error: TargetError| {
            let message = format!("{} is {}, but {}", place.label, quote(&text), error.expectation());
            reader.report(&place.path, value.span(), message, error.next_step());
        };
        text.parse().map_err(told).ok()
    }
}

impl Field for Targets {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Targets> {
        match value.get_ref() {
            DeValue::Array(values) => elements::<Target>(values, place, reader).map(Targets::from),
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

/// Every element of a list, or `None` after the reader has been told of each that is wrong.
fn elements<T: Field>(values: &[Value<'_>], place: &Place, reader: &mut Reader) -> Option<Vec<T>> {
    let mut read = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let element = place.element(index);
        reader.remember(&element.path, value.span());
        read.push(T::read(value, &element, reader));
    }
    read.into_iter().collect()
}

impl Field for bool {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            _ => {
                let help = format!("write {} = true, or leave it out", place.label);
                reader.wrong_type(value, place, "true or false", help);
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

/// A word that shares are given to.
trait Shared: Ord + for<'de> Deserialize<'de> {
    /// What a table of shares could look like.
    const EXAMPLE: &'static str;
    /// What the shares are by.
    const BY: &'static str;
}

impl Shared for Profile {
    const EXAMPLE: &'static str = "{ wifi = 0.7, lte = 0.3 }";
    const BY: &'static str = "profile";
}

impl Shared for Life {
    const EXAMPLE: &'static str = "{ one-shot = 0.6, revisited = 0.3, long = 0.1 }";
    const BY: &'static str = "kind";
}

impl<K: Shared> Field for BTreeMap<K, f64> {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<BTreeMap<K, f64>> {
        let DeValue::Table(table) = value.get_ref() else {
            let help = format!("write e.g. {} = {}", place.label, K::EXAMPLE);
            reader.wrong_type(value, place, &format!("a table of shares by {}", K::BY), help);
            return None;
        };
        let mut shares = BTreeMap::new();
        for (key, (at, value)) in entries(table) {
            let word = match variant::<K>(key) {
                Ok(word) => word,
                Err(known) => {
                    reader.unknown_key(&place.path, at, key, &format!("in {}", place.label), known.to_vec());
                    continue;
                }
            };
            let share = Place { path: format!("{}.{key}", place.path), label: key.to_owned() };
            reader.remember(&share.path, value.span());
            if let Some(number) = f64::read(value, &share, reader) {
                shares.insert(word, number);
            }
        }
        Some(shares)
    }
}

impl Field for Vec<f64> {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Vec<f64>> {
        let DeValue::Array(values) = value.get_ref() else {
            let help = format!("write e.g. {} = [0.4, 1.0, 1.6]", place.label);
            reader.wrong_type(value, place, "a list of numbers", help);
            return None;
        };
        elements(values, place, reader)
    }
}

/// A part of a mixture as a file writes it.
trait ReadPart: Sized {
    const EXAMPLE: &'static str;
    fn read_part(table: &mut Table<'_, '_>) -> Option<Self>;
}

impl ReadPart for DevicesPart {
    const EXAMPLE: &'static str = "{ share = 0.7, devices = 1 }";
    fn read_part(table: &mut Table<'_, '_>) -> Option<Self> {
        let (share, devices) = (table.required("share", "0.7"), table.required("devices", "1"));
        Some(DevicesPart { share: share?, devices: devices? })
    }
}

impl ReadPart for ConversationsPart {
    const EXAMPLE: &'static str = "{ share = 0.7, conversations = 3 }";
    fn read_part(table: &mut Table<'_, '_>) -> Option<Self> {
        let (share, conversations) = (table.required("share", "0.7"), table.required("conversations", "3"));
        Some(ConversationsPart { share: share?, conversations: conversations? })
    }
}

impl ReadPart for BodyPart {
    const EXAMPLE: &'static str = "{ share = 0.7, bytes = 256 }";
    fn read_part(table: &mut Table<'_, '_>) -> Option<Self> {
        let (share, bytes) = (table.required("share", "0.7"), table.required("bytes", "256"));
        let up_to = table.take("up_to");
        Some(BodyPart { share: share?, bytes: bytes?, up_to })
    }
}

impl ReadPart for LengthPart {
    const EXAMPLE: &'static str = "{ share = 0.7, mean = \"5m\" }";
    fn read_part(table: &mut Table<'_, '_>) -> Option<Self> {
        let share = table.required("share", "0.7");
        let (mean, from, to) = (table.take("mean"), table.take("from"), table.take("to"));
        Some(LengthPart { share: share?, mean, from, to })
    }
}

impl<T: Field, P: ReadPart> Field for Mix<T, P> {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Mix<T, P>> {
        let DeValue::Array(values) = value.get_ref() else { return T::read(value, place, reader).map(Mix::One) };
        let mut parts = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let element = place.element(index);
            let part = Table::inline(reader, value, &element, P::EXAMPLE).and_then(|mut table| {
                let part = P::read_part(&mut table);
                table.finish();
                part
            });
            parts.push(part);
        }
        parts.into_iter().collect::<Option<Vec<P>>>().map(Mix::Mixture)
    }
}

impl Field for Popularity {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Popularity> {
        let example = format!("{} = {{ kind = \"zipf\", exponent = 1.0 }}", place.label);
        if let DeValue::String(text) = value.get_ref() {
            if text == "uniform" {
                return Some(Popularity::Uniform);
            }
            let message = format!("{} is {}, but \"uniform\" or a table is expected", place.label, quote(text));
            reader.report(&place.path, value.span(), message, format!("write e.g. {example}"));
            return None;
        }
        let mut table = Table::inline(reader, value, place, &example)?;
        let Some(PopularityKind(kind)) = table.required("kind", "\"zipf\"") else {
            table.ignore_rest();
            return None;
        };
        table.describe(&format!(" of kind {kind:?}"));
        let popularity = match kind {
            "zipf" => table.required("exponent", "1.0").map(|exponent| Popularity::Zipf { exponent }),
            "hot-set" => {
                let (share, traffic) = (table.required("share", "0.01"), table.required("traffic", "0.8"));
                share.zip(traffic).map(|(share, traffic)| Popularity::HotSet { share, traffic })
            }
            _ => Some(Popularity::Uniform),
        };
        table.finish();
        popularity
    }
}

struct PopularityKind(&'static str);

impl Field for PopularityKind {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<PopularityKind> {
        const KINDS: &[&str] = &["uniform", "zipf", "hot-set"];
        word(value, place, reader, |text| {
            KINDS.iter().find(|kind| **kind == text).map(|kind| PopularityKind(kind)).ok_or(KINDS)
        })
    }
}

impl Field for KindName {
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<KindName> {
        word(value, place, reader, |text| {
            KindName::ALL.iter().copied().find(|kind| kind.name() == text).ok_or(FaultKind::NAMES)
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

words!(Arrival, Backbone, Codec, DiskOperation, Measure, Membership, Point, Profile, Text);

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
            let found = format!("{} is {}", place.label, quote(text));
            let (message, help) = match nearest(text, known) {
                Some(near) => (found, format!("did you mean {near:?}?")),
                None => {
                    let message = format!("{found}, but one of {} is expected", known.join(", "));
                    (message, "write one of those".to_owned())
                }
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
