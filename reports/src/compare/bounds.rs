//! The file of bounds: how much worse each measure may get, and what it may never be, however few runs there are.
//!
//! ```toml
//! [[bounds]]
//! measure = "send to ack p99"     # as `squall compare` prints it
//! worse_by_at_most = 10           # in a hundred, the median of the pairs
//!
//! [[bounds]]
//! measure = "speed"
//! at_least = 100                  # B's median, in the unit that is printed
//! ```

use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// What one measure may come to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub measure: String,
    /// Of the pairs' differences, in a hundred of A, the median: so much worse at most.
    pub worse_by_at_most: Option<f64>,
    /// B's median.
    pub at_most: Option<f64>,
    pub at_least: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    bounds: Vec<Bound>,
}

/// Why a file of bounds cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    #[error("{}: cannot read it: {source}; name a file of bounds with --bounds", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}: {found}; write e.g. [[bounds]] with measure = \"send to ack p99\" and worse_by_at_most = 10 under it", path.display())]
    NotBounds { path: PathBuf, line: usize, column: usize, found: String },
    #[error(
        "{}: the bound on {measure:?} says nothing; give it worse_by_at_most (in a hundred), at_most or at_least, each 0 or more",
        path.display()
    )]
    SaysNothing { path: PathBuf, measure: String },
    #[error("{}: it holds no bounds; write e.g. [[bounds]] with measure = \"send to ack p99\" and worse_by_at_most = 10 under it", path.display())]
    Empty { path: PathBuf },
    #[error("{}: nothing that these runs measure is named {measure:?}; they measure {known}", path.display())]
    UnknownMeasure { path: PathBuf, measure: String, known: String },
}

/// Bounds and the file that they come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    pub path: PathBuf,
    pub bounds: Vec<Bound>,
}

impl Bounds {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, or not such a file.
    pub fn read(path: &Path) -> Result<Bounds, BoundsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| BoundsError::Read { path: path.to_owned(), source })?;
        Bounds::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Bounds, BoundsError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            let found = error.message().replace('\n', " ");
            BoundsError::NotBounds { path: path.to_owned(), line, column, found }
        })?;
        for bound in &file.bounds {
            let values: Vec<f64> =
                [bound.worse_by_at_most, bound.at_most, bound.at_least].into_iter().flatten().collect();
            if values.is_empty() || values.iter().any(|value| !value.is_finite() || *value < 0.0) {
                return Err(BoundsError::SaysNothing { path: path.to_owned(), measure: bound.measure.clone() });
            }
        }
        match file.bounds.is_empty() {
            true => Err(BoundsError::Empty { path: path.to_owned() }),
            false => Ok(Bounds { path: path.to_owned(), bounds: file.bounds }),
        }
    }

    /// Refuses a bound on something that is not measured: it would never be broken.
    ///
    /// # Errors
    /// One of them is.
    pub fn must_name(&self, measures: &[&str]) -> Result<(), BoundsError> {
        match self.bounds.iter().find(|bound| !measures.iter().any(|measure| same(measure, &bound.measure))) {
            None => Ok(()),
            Some(bound) => Err(BoundsError::UnknownMeasure {
                path: self.path.clone(),
                measure: bound.measure.clone(),
                known: measures.join(", "),
            }),
        }
    }

    /// The bounds on a measure.
    pub fn on<'b>(&'b self, measure: &'b str) -> impl Iterator<Item = &'b Bound> {
        self.bounds.iter().filter(move |bound| same(measure, &bound.measure))
    }
}

/// Whether two names are of one measure: `send-to-ack p99` is `send to ack p99`.
pub fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace(['-', '_'], " ").to_lowercase();
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_or_told_what_is_wrong_with_it() {
        let read = |text: &str| Bounds::parse(Path::new("b.toml"), text);
        let good = read("[[bounds]]\nmeasure = \"send-to-ack p99\"\nworse_by_at_most = 10\n").unwrap();
        assert_eq!(good.on("send to ack p99").count(), 1);
        assert!(good.must_name(&["send to ack p99"]).is_ok());
        let told = |text: &str| read(text).unwrap_err().to_string();
        for (text, expected) in [
            ("[[bounds]]\nmeasure = \"speed\"\nat_mots = 1\n", "b.toml:3:1: unknown field `at_mots`"),
            ("[[bounds]]\nat_most = 1\n", "missing field `measure`"),
            ("[[bounds]]\nmeasure = \"speed\"\nat_most = \"fast\"\n", "b.toml:3:11: invalid type: string"),
            ("measure = ", "b.toml:1:"),
            ("[[bounds]]\nmeasure = \"speed\"\n", "the bound on \"speed\" says nothing"),
            ("[[bounds]]\nmeasure = \"speed\"\nat_least = -1\n", "the bound on \"speed\" says nothing"),
            ("# nothing yet\n", "it holds no bounds"),
        ] {
            assert!(told(text).contains(expected), "{} is not {expected}", told(text));
        }
        let unknown = good.must_name(&["speed", "acked"]).unwrap_err().to_string();
        assert!(unknown.contains("\"send-to-ack p99\"; they measure speed, acked"), "{unknown}");
        let missing = Bounds::read(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(missing.contains("no/such.toml: cannot read it: No such file"), "{missing}");
    }
}
