//! How full queues are and have been, and how that is told.

use crate::level::Level;
use crate::observer::{Observer, Point};

/// What waits, the most that has waited since this was last asked, and what has found no room since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    pub items: usize,
    pub bytes: usize,
    pub most_items: usize,
    pub most_bytes: usize,
    pub refused: usize,
}

impl Fill {
    /// The fuller of two, each figure by itself, and what both have refused.
    pub fn or_fuller(self, other: Fill) -> Fill {
        Fill {
            items: self.items.max(other.items),
            bytes: self.bytes.max(other.bytes),
            most_items: self.most_items.max(other.most_items),
            most_bytes: self.most_bytes.max(other.most_bytes),
            refused: self.refused + other.refused,
        }
    }
}

/// Tells how full the fullest of some queues is, in items and in bytes, and what they have refused.
pub fn tell_fill(observer: &dyn Observer, items: Level, bytes: Level, fills: impl IntoIterator<Item = Fill>) {
    let fullest = fills.into_iter().fold(Fill::default(), Fill::or_fuller);
    observer.stands(items, fullest.items, fullest.most_items);
    observer.stands(bytes, fullest.bytes, fullest.most_bytes);
    if fullest.refused > 0 {
        observer.passed(&Point::QueueFull { what: items, refused: fullest.refused });
    }
}
