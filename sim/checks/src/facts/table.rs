//! A compact table: rows in the order in which they came, found by key through an index of four bytes a slot. What a slot does not need
//! for the number of its row is filled from the hash of the row's key, so that rows of other keys are seldom looked at: each would cost
//! a cache miss.
//!
//! **Invariant:** rows never move and are never removed, so a row's number names it for the whole run, and walking the
//! rows visits them in the same order on every machine.

use std::ops::{Index, IndexMut};

/// What a table needs to know of its rows.
pub(crate) trait Row {
    type Key: Copy + Eq;
    fn key(&self) -> Self::Key;
    /// A well-spread hash of the key.
    fn hash(key: Self::Key) -> u64;
}

const VACANT: u32 = u32::MAX;

/// Rows lie in chunks, so that growth neither copies them nor doubles their room.
const CHUNK: usize = 1 << 12;

/// Rows found by key, numbered from 0.
pub(crate) struct Table<R> {
    chunks: Vec<Vec<R>>,
    len: usize,
    /// Open addressing with linear probing over a power of two; at most three quarters full. Lower bits: a row, or `VACANT` as far
    /// as they go; upper bits: of its hash.
    slots: Vec<u32>,
}

/// How a hash is spread over an index of a power of two.
#[derive(Clone, Copy)]
struct Spread {
    mask: usize,
}

impl Spread {
    fn over(slots: &[u32]) -> Self {
        Spread { mask: slots.len() - 1 }
    }

    fn first(self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    fn next(self, slot: usize) -> usize {
        (slot + 1) & self.mask
    }

    /// The bits of a slot that a row's number needs: there are always more slots than rows, so that a number is never all ones.
    fn row(self) -> u32 {
        self.mask as u32
    }

    /// The bits of a slot beside them: of those of the hash that do not choose the slot.
    fn tag(self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.row()
    }

    fn is_vacant(self, content: u32) -> bool {
        content & self.row() == self.row()
    }
}

impl<R: Row> Table<R> {
    pub fn new() -> Self {
        Table { chunks: Vec::new(), len: 0, slots: vec![VACANT; 16] }
    }

    pub fn find(&self, key: R::Key) -> Option<u32> {
        let spread = Spread::over(&self.slots);
        let content = self.slots[self.probe(key)];
        (!spread.is_vacant(content)).then_some(content & spread.row())
    }

    /// The row with this key, made if there is none yet.
    pub fn find_or_insert(&mut self, key: R::Key, make: impl FnOnce() -> R) -> u32 {
        let spread = Spread::over(&self.slots);
        let slot = self.probe(key);
        if !spread.is_vacant(self.slots[slot]) {
            return self.slots[slot] & spread.row();
        }
        let number = u32::try_from(self.len).expect("a run has fewer than 2^32 rows");
        let row = make();
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => {
                if chunk.len() == chunk.capacity() {
                    // Only the first chunk is ever not whole from the start: small runs stay small.
                    chunk.reserve_exact(chunk.len().min(CHUNK - chunk.len()));
                }
                chunk.push(row);
            }
            last => {
                let mut chunk = Vec::with_capacity(if last.is_some() { CHUNK } else { 16 });
                chunk.push(row);
                self.chunks.push(chunk);
            }
        }
        self.len += 1;
        self.slots[slot] = number | spread.tag(R::hash(key));
        if self.len * 4 > self.slots.len() * 3 {
            self.grow();
        }
        number
    }

    /// How many rows there are.
    pub fn len(&self) -> u32 {
        self.len as u32
    }

    pub fn rows(&self) -> impl Iterator<Item = &R> {
        self.chunks.iter().flatten()
    }

    /// The slot of the key, or the vacant one where it would go.
    fn probe(&self, key: R::Key) -> usize {
        let spread = Spread::over(&self.slots);
        let hash = R::hash(key);
        let tag = spread.tag(hash);
        let mut slot = spread.first(hash);
        loop {
            let content = self.slots[slot];
            if spread.is_vacant(content) {
                return slot;
            }
            if content & !spread.row() == tag && self[content & spread.row()].key() == key {
                return slot;
            }
            slot = spread.next(slot);
        }
    }

    fn grow(&mut self) {
        let mut slots = vec![VACANT; self.slots.len() * 2];
        assert!(u32::try_from(slots.len()).is_ok(), "a run has fewer than 2^31 rows");
        let spread = Spread::over(&slots);
        for (number, row) in self.chunks.iter().flatten().enumerate() {
            let hash = R::hash(row.key());
            let mut slot = spread.first(hash);
            while !spread.is_vacant(slots[slot]) {
                slot = spread.next(slot);
            }
            slots[slot] = number as u32 | spread.tag(hash);
        }
        self.slots = slots;
    }
}

impl<R> Index<u32> for Table<R> {
    type Output = R;
    fn index(&self, number: u32) -> &R {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }
}

impl<R> IndexMut<u32> for Table<R> {
    fn index_mut(&mut self, number: u32) -> &mut R {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::ids::mix;
    use std::collections::BTreeMap;

    struct Cell(u64);
    impl Row for Cell {
        type Key = u64;
        fn key(&self) -> u64 {
            self.0
        }
        fn hash(key: u64) -> u64 {
            // Few values in either half, so that probing is exercised past rows of the same tag and of others.
            mix(key) & 0x3_0000_00ff
        }
    }

    #[test]
    fn finds_every_row_by_its_key_and_numbers_them_in_order() {
        let mut table = Table::new();
        let mut model = BTreeMap::new();
        for step in 0..5_000u64 {
            let key = mix(step) % 1_500;
            let expected = *model.entry(key).or_insert(table.rows().count() as u32);
            assert_eq!(table.find_or_insert(key, || Cell(key)), expected);
        }
        for key in 0..1_500 {
            assert_eq!(table.find(key), model.get(&key).copied());
        }
    }
}
