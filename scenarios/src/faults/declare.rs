//! How a kind of fault is declared: a row of the catalogue, from which all that is asked of the kind follows.
//!
//! A row is the kind as people read it: what it does, its name, its keys, and what follows from it.
//!
//! ```text
//! /// The processes die one after the other, each until it is started again after `for`.
//! RollingRestart "rolling-restart" {
//!     target: Targets = r#"["gateway-0"]"#,      a key that a file must have, and what it could say
//!     /// Between the start of one and the end of the next.
//!     gap: Span => default,                     a key that a file may leave out
//! } is lasting(Hosts, A_RESTART);
//! ```
//!
//! A key of type [`Targets`](crate::Targets) is a list of targets; a key named `share` is the share that the fault strikes.

use squall_protocol::Role;

/// What a kind strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strikes {
    /// Hosts, named by `target`.
    Hosts,
    /// Hosts that have a disk, named by `target`.
    Disks,
    /// What travels between two sides, hosts or devices, each named by a key of its own.
    Links,
    /// Devices and what they send and are sent: a share of it, or without choice.
    Devices,
}

/// The names of checks that a kind must expose: those beside the first roles of which it strikes hosts of each.
///
/// **Invariant:** only what the fault provokes in every scenario is named, since a check that is named and not exposed makes the
/// run inconclusive. Nothing for a fault that need not break anything: a latency, a short hold. That checks of these names exist
/// is tested where both are known, in `sim/cli/tests/catalogue.rs`.
pub(crate) type Exposes = &'static [(&'static [Role], &'static [&'static str])];

/// What is so for a kind whatever its keys say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub strikes: Strikes,
    pub is_instant: bool,
    pub exposes: Exposes,
    pub heals_late: bool,
}

/// A kind that lasts for a time.
pub(crate) const fn lasting(strikes: Strikes, exposes: Exposes) -> Row {
    Row { strikes, is_instant: false, exposes, heals_late: false }
}

/// A kind that happens at one instant.
pub(crate) const fn instant(strikes: Strikes, exposes: Exposes) -> Row {
    Row { strikes, is_instant: true, exposes, heals_late: false }
}

impl Row {
    /// It takes long until all is well after its end: silence must be noticed, or a backlog must pass a slow network.
    pub(crate) const fn that_heals_late(self) -> Row {
        Row { heals_late: true, ..self }
    }
}

/// Declares every kind of fault: [`FaultKind`](crate::FaultKind) and [`KindName`](crate::KindName).
macro_rules! kinds_of_faults {
    ($(#[$about:meta])* FaultKind; $(
        $(#[$doc:meta])*
        $kind:ident $name:literal {
            $($(#[$key_doc:meta])* $key:ident: $type:ty $(= $example:literal)? $(=> $default:ident)?,)*
        } is $row:expr;
    )*) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind")]
        pub enum FaultKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind {
                $($(#[$key_doc])* $(#[serde($default)])? $key: $type,)*
            },)*
        }

        /// Every kind of fault, without what a file says of it. Prints itself as files name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum KindName {
            $($(#[$doc])* $kind,)*
        }

        impl KindName {
            /// Every kind, in the order of the catalogue.
            pub const ALL: &[KindName] = &[$(KindName::$kind,)*];

            /// The kind, as files name it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(KindName::$kind => $name,)*
                }
            }

            pub(super) const fn row(self) -> Row {
                match self {
                    $(KindName::$kind => $row,)*
                }
            }

            /// Reads the keys of a fault of this kind.
            pub(crate) fn read(self, table: &mut Table<'_, '_>) -> Option<FaultKind> {
                match self {
                    $(KindName::$kind => {
                        // All are read before the first that is missing ends it: every problem is told.
                        $(let $key = $(table.required(stringify!($key), $example))?
                            $(Some(table.take(stringify!($key)).unwrap_or_else(Default::$default)))?;)*
                        Some(FaultKind::$kind { $($key: $key?,)* })
                    })*
                }
            }

            /// The keys that a file may leave out, each with what is so without it, where that can be written.
            pub(crate) fn defaults(self) -> Vec<(&'static str, toml::Value)> {
                let all: Vec<(&str, Option<toml::Value>)> = match self {
                    $(KindName::$kind => vec![
                        $($((stringify!($key), toml::Value::try_from(<$type as Default>::$default()).ok()),)?)*
                    ],)*
                };
                all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
            }

            /// The lines of a file that a fault of this kind must have, beside when it happens.
            #[cfg(test)]
            pub(crate) fn example(self) -> String {
                let keys: &[(&str, &str)] = match self {
                    $(KindName::$kind => &[$($((stringify!($key), $example),)?)*],)*
                };
                let keys = keys.iter().map(|(key, example)| format!("{key} = {example}\n"));
                format!("kind = \"{self}\"\n{}", keys.collect::<String>())
            }
        }

        impl FaultKind {
            /// Every kind, as files name it.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// Its kind alone.
            pub fn kind_name(&self) -> KindName {
                match self {
                    $(FaultKind::$kind { .. } => KindName::$kind,)*
                }
            }

            /// Its keys, each with its value.
            pub(super) fn keys(&self) -> Vec<(&'static str, &dyn Any)> {
                match self {
                    $(FaultKind::$kind { $($key,)* } => vec![$((stringify!($key), $key),)*],)*
                }
            }

            /// The values of its keys.
            pub(super) fn keys_mut(&mut self) -> Vec<&mut dyn Any> {
                match self {
                    $(FaultKind::$kind { $($key,)* } => vec![$($key,)*],)*
                }
            }
        }
    };
}

pub(crate) use kinds_of_faults;
