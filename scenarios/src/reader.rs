//! A walk over a TOML document that reads typed values and collects every problem on the way.
//!
//! serde's derived readers stop at the first error, know no place inside a flattened or tagged table, and cannot tell
//! a near key; this reader does. A value that cannot be read leaves its default behind, and the walk goes on.

use crate::words::{nearest, quote};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) type Value<'d> = Spanned<DeValue<'d>>;

/// Something wrong at a place in the source, in bytes.
pub(crate) struct Flaw {
    pub at: Range<usize>,
    pub message: String,
    pub help: String,
}

/// What the walk has found so far.
#[derive(Default)]
pub(crate) struct Reader {
    flaws: Vec<Flaw>,
    /// Where the value at a path such as `faults[0].target[1]` stands.
    places: BTreeMap<String, Range<usize>>,
    /// Top-level keys with something wrong below them; `*` when the top level itself is.
    broken: BTreeSet<String>,
    /// Every section and its keys, to tell where a key belongs that stands in the wrong one.
    sections: Vec<(String, Vec<&'static str>)>,
    unknown: Vec<UnknownKey>,
}

struct UnknownKey {
    at: Range<usize>,
    key: String,
    title: String,
    known: Vec<&'static str>,
}

/// A type that can be read from one value.
pub(crate) trait Field: Sized {
    /// The value, or `None` after the reader has been told why not.
    fn read(value: &Value<'_>, place: &Place, reader: &mut Reader) -> Option<Self>;
}

/// Where a value stands: its path for look-ups, its label for people.
pub(crate) struct Place {
    pub path: String,
    pub label: String,
}

impl Place {
    pub fn element(&self, index: usize) -> Place {
        Place { path: format!("{}[{index}]", self.path), label: format!("{}[{index}]", self.label) }
    }
}

impl Reader {
    pub fn report(&mut self, path: &str, at: Range<usize>, message: String, help: String) {
        self.mark_broken(path);
        self.flaws.push(Flaw { at, message, help });
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type(&mut self, value: &Value<'_>, place: &Place, expected: &str, help: String) {
        let message = format!("{} is {}, but {expected} is expected", place.label, describe(value.get_ref()));
        self.report(&place.path, value.span(), message, help);
    }

    pub fn remember(&mut self, path: &str, at: Range<usize>) {
        self.places.insert(path.to_owned(), at);
    }

    /// Forgets what stands at or below a path.
    pub fn forget(&mut self, path: &str) {
        self.places.retain(|known, _| {
            !known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
    }

    /// Where the value at `path` stands; where it is absent, the nearest table around it.
    pub fn place(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(at) = self.places.get(path) {
                return at.clone();
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = &path[..cut],
                None => return 0..0,
            }
        }
    }

    /// Whether something below one of these top-level keys could not be read.
    pub fn is_broken(&self, sections: &[&str]) -> bool {
        !sections.is_empty()
            && (self.broken.contains("*") || sections.iter().any(|section| self.broken.contains(*section)))
    }

    pub fn unknown_key(&mut self, path: &str, at: Range<usize>, key: &str, title: &str, known: Vec<&'static str>) {
        self.mark_broken(path);
        self.unknown.push(UnknownKey { at, key: key.to_owned(), title: title.to_owned(), known });
    }

    /// All that was reported, in the order of the source.
    pub fn into_flaws(mut self) -> Vec<Flaw> {
        for unknown in std::mem::take(&mut self.unknown) {
            let help = self.help_for(&unknown);
            let message = format!("unknown key {} {}", quote(&unknown.key), unknown.title);
            self.flaws.push(Flaw { at: unknown.at, message, help });
        }
        self.flaws.sort_by_key(|flaw| flaw.at.start);
        self.flaws
    }

    fn help_for(&self, unknown: &UnknownKey) -> String {
        let elsewhere = self.sections.iter().find(|(_, keys)| keys.contains(&unknown.key.as_str()));
        match (elsewhere, nearest(&unknown.key, &unknown.known)) {
            (Some((title, _)), _) => format!("it belongs {title}"),
            (None, Some(near)) => format!("did you mean {near:?}?"),
            (None, None) => format!("the keys there are {}", unknown.known.join(", ")),
        }
    }

    fn mark_broken(&mut self, path: &str) {
        let section = path.split(['.', '[']).next().filter(|section| !section.is_empty()).unwrap_or("*");
        self.broken.insert(section.to_owned());
    }
}

/// A table whose keys are taken one by one; what is left at `finish` is unknown.
pub(crate) struct Table<'r, 'd> {
    pub reader: &'r mut Reader,
    entries: BTreeMap<&'d str, (Range<usize>, &'d Value<'d>)>,
    path: String,
    /// `in [topology]`, as it ends a sentence.
    title: String,
    at: Range<usize>,
    known: Vec<&'static str>,
}

impl<'r, 'd> Table<'r, 'd> {
    /// The top level of a document.
    pub fn root(reader: &'r mut Reader, document: &'d DeTable<'d>) -> Self {
        Table {
            reader,
            entries: entries(document),
            path: String::new(),
            title: "at the top level".to_owned(),
            at: 0..0,
            known: Vec::new(),
        }
    }

    /// Reads an optional key into `slot`, which keeps its default when the key is absent or wrong.
    pub fn field<T: Field>(&mut self, key: &'static str, slot: &mut T) {
        if let Some(value) = self.take(key) {
            *slot = value;
        }
    }

    /// Reads a key that has no default; `example` is what its line could look like after the `=`.
    pub fn required<T: Field>(&mut self, key: &'static str, example: &str) -> Option<T> {
        if !self.entries.contains_key(key) {
            self.known.push(key);
            let message = format!("there is no {key:?} {}", self.title);
            self.reader.report(&self.path, self.at.clone(), message, format!("add e.g. {key} = {example}"));
            return None;
        }
        self.take(key)
    }

    /// Reads a key if it is there.
    pub fn take<T: Field>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        let (_, value) = self.entries.remove(key)?;
        let place = self.place(key);
        self.reader.remember(&place.path, value.span());
        T::read(value, &place, self.reader)
    }

    /// Says that what stands at a key, or below it, is wrong.
    pub fn flaw(&mut self, key: &str, message: String, help: &str) {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let at = self.reader.place(&path);
        self.reader.report(&path, at, message, help.to_owned());
    }

    /// Whether the file has this key, and nobody has read it yet.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reads a section that means something by being there.
    pub fn optional_section(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'_, '_>)) {
        match self.has(key) {
            true => self.section(key, read),
            false => self.known.push(key),
        }
    }

    /// Reads a section `[key]`; an absent one is read as empty.
    pub fn section(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'_, '_>)) {
        self.known.push(key);
        let place = self.place(key);
        let title = format!("in [{}]", place.path);
        let (at, entries) = match self.entries.remove(key) {
            None => (0..0, BTreeMap::new()),
            Some((at, value)) => match value.get_ref() {
                DeValue::Table(table) => (at, entries(table)),
                _ => {
                    let help = format!("begin it with [{}]", place.path);
                    return self.reader.wrong_type(value, &place, "a table", help);
                }
            },
        };
        if !at.is_empty() {
            self.reader.remember(&place.path, at.clone());
        }
        let mut table = Table { reader: self.reader, entries, path: place.path, title, at, known: Vec::new() };
        read(&mut table);
        table.reader.sections.push((table.title.clone(), table.known.clone()));
        table.finish();
    }

    /// Reads `[[key]]`; each table for which `read` has no answer is left out.
    pub fn list<T>(&mut self, key: &'static str, read: impl Fn(&mut Table<'_, '_>) -> Option<T>) -> Vec<T> {
        self.known.push(key);
        let Some((at, value)) = self.entries.remove(key) else { return Vec::new() };
        let place = self.place(key);
        self.reader.remember(&place.path, at);
        let DeValue::Array(values) = value.get_ref() else {
            self.reader.wrong_type(
                value,
                &place,
                "a list of tables",
                format!("begin each with [[{}]]", place.path),
            );
            return Vec::new();
        };
        let mut items = Vec::new();
        for (index, value) in values.iter().enumerate() {
            // The path counts what was read, as the scenario will; the label counts what the file has.
            let element = Place { path: place.element(items.len()).path, label: place.element(index).label };
            let DeValue::Table(fields) = value.get_ref() else {
                self.reader.wrong_type(value, &element, "a table", format!("begin it with [[{}]]", place.path));
                continue;
            };
            self.reader.remember(&element.path, value.span());
            let mut table = Table {
                reader: self.reader,
                entries: entries(fields),
                path: element.path.clone(),
                title: format!("in [[{}]]", place.path),
                at: value.span(),
                known: Vec::new(),
            };
            let item = read(&mut table);
            table.finish();
            match item {
                Some(item) => items.push(item),
                None => self.reader.forget(&element.path),
            }
        }
        items
    }

    /// A table inside a value, such as a part of a mixture.
    pub fn inline(reader: &'r mut Reader, value: &'d Value<'d>, place: &Place, example: &str) -> Option<Self> {
        let DeValue::Table(fields) = value.get_ref() else {
            reader.wrong_type(value, place, "a table", format!("write e.g. {example}"));
            return None;
        };
        reader.remember(&place.path, value.span());
        let title = format!("in {}", place.label);
        Some(Table {
            reader,
            entries: entries(fields),
            path: place.path.clone(),
            title,
            at: value.span(),
            known: Vec::new(),
        })
    }

    /// Adds to the title what distinguishes this table from others of its list.
    pub fn describe(&mut self, what: &str) {
        self.title.push_str(what);
    }

    /// Takes all remaining keys as they are: without knowing the kind there is nothing to say about them.
    pub fn ignore_rest(&mut self) {
        self.entries.clear();
    }

    /// Reports what nobody has asked for.
    pub fn finish(self) {
        for (key, (at, _)) in self.entries {
            self.reader.unknown_key(&self.path, at, key, &self.title, self.known.clone());
        }
    }

    fn place(&self, key: &str) -> Place {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Place { path, label: key.to_owned() }
    }
}

/// A table's values by key, each with the place of its key.
pub(crate) fn entries<'d>(table: &'d DeTable<'d>) -> BTreeMap<&'d str, (Range<usize>, &'d Value<'d>)> {
    table.iter().map(|(key, value)| (key.get_ref().as_ref(), (key.span(), value))).collect()
}

/// A value as a sentence names it.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {}", quote(text)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(date) => format!("the date or time {date}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
