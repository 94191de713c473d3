//! A compact table: rows in the order in which they came, found by key through an index of four bytes a slot.
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
    /// Open addressing with linear probing over a power of two; at most three quarters full.
    slots: Vec<u32>,
}

impl<R: Row> Table<R> {
    pub fn new() -> Self {
        Table { chunks: Vec::new(), len: 0, slots: vec![VACANT; 16] }
    }

    pub fn find(&self, key: R::Key) -> Option<u32> {
        let slot = self.probe(key);
        Some(self.slots[slot]).filter(|row| *row != VACANT)
    }

    /// The row with this key, made if there is none yet.
    pub fn find_or_insert(&mut self, key: R::Key, make: impl FnOnce() -> R) -> u32 {
        let slot = self.probe(key);
        if self.slots[slot] != VACANT {
            return self.slots[slot];
        }
        let number = u32::try_from(self.len).expect("a run has fewer than 2^32 rows");
        assert!(number != VACANT, "a run has fewer than 2^32 - 1 rows");
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
        self.slots[slot] = number;
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
        let mask = self.slots.len() - 1;
        let mut slot = R::hash(key) as usize & mask;
        loop {
            let row = self.slots[slot];
            if row == VACANT || self[row].key() == key {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![VACANT; mask + 1];
        for (number, row) in self.chunks.iter().flatten().enumerate() {
            let mut slot = R::hash(row.key()) as usize & mask;
            while slots[slot] != VACANT {
                slot = (slot + 1) & mask;
            }
            slots[slot] = number as u32;
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
            // Few values, so that probing is exercised.
            mix(key) & 0xff
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
