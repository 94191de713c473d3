//! Which message stands at each place of a conversation, as witnesses have it.
//!
//! Most conversations have a handful of entries, and there are as many logs as conversations: the first four lie in the row itself.

use super::rows::NONE;

const FEW: usize = 4;

/// The rows of messages by place, from 0; `NONE` where nobody has seen one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// `NONE` after the last one.
    Few([u32; FEW]),
    Many(Vec<u32>),
}

const _: () = assert!(size_of::<Log>() == size_of::<Vec<u32>>());

impl Default for Log {
    fn default() -> Self {
        Log::Few([NONE; FEW])
    }
}

impl Log {
    /// All places up to the last at which a message has been seen.
    pub fn places(&self) -> &[u32] {
        match self {
            Log::Few(few) => &few[..few.iter().rposition(|message| *message != NONE).map_or(0, |last| last + 1)],
            Log::Many(many) => many,
        }
    }

    pub fn len(&self) -> usize {
        self.places().len()
    }

    pub fn is_empty(&self) -> bool {
        self.places().is_empty()
    }

    pub fn get(&self, place: usize) -> Option<u32> {
        match self {
            Log::Few(few) => few.get(place).copied(),
            Log::Many(many) => many.get(place).copied(),
        }
    }

    /// A message has been seen at this place.
    pub fn set(&mut self, place: usize, message: u32) {
        match self {
            Log::Few(few) if place < FEW => few[place] = message,
            Log::Few(few) => {
                let mut many = Vec::with_capacity((place + 1).max(FEW + FEW / 2));
                many.extend(*few);
                many.resize(place + 1, NONE);
                many[place] = message;
                *self = Log::Many(many);
            }
            Log::Many(many) => {
                if place >= many.len() {
                    // It outgrows its room by half, not by its double.
                    let (room, len) = (many.capacity(), many.len());
                    if place >= room {
                        many.reserve_exact((place + 1).max(room + room / 2) - len);
                    }
                    many.resize(place + 1, NONE);
                }
                many[place] = message;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_log_is_a_list_of_places(sets in proptest::collection::vec((0usize..12, 0u32..100), 0..12)) {
            let (mut log, mut model) = (Log::default(), Vec::new());
            for (place, message) in sets {
                log.set(place, message);
                model.resize(model.len().max(place + 1), NONE);
                model[place] = message;
                prop_assert_eq!(log.places(), &model[..]);
                prop_assert_eq!((log.len(), log.is_empty()), (model.len(), false));
                for place in 0..14 {
                    let (found, expected) = (log.get(place), model.get(place).copied());
                    prop_assert_eq!(found.filter(|m| *m != NONE), expected.filter(|m| *m != NONE));
                }
            }
        }
    }
}
