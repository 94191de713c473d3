//! The clients of a fleet, by their number among all devices of the population.

use std::ops::{Index, IndexMut, Range};

/// One row for each client from a first number on.
pub(super) struct Rows<C> {
    first: u32,
    rows: Vec<C>,
}

impl<C> Rows<C> {
    pub fn new(numbers: Range<u32>, make: impl Fn(u32) -> C) -> Self {
        Rows { first: numbers.start, rows: numbers.map(make).collect() }
    }

    pub fn numbers(&self) -> Range<u32> {
        self.first..self.first + self.rows.len() as u32
    }

    pub fn iter(&self) -> impl Iterator<Item = &C> {
        self.rows.iter()
    }

    pub fn get(&self, number: u32) -> Option<&C> {
        self.rows.get(number.wrapping_sub(self.first) as usize)
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut C> {
        self.rows.get_mut(number.wrapping_sub(self.first) as usize)
    }

    /// Bytes of the rows themselves.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<C>()
    }

    /// Gives all rows back.
    pub fn release(&mut self) {
        self.rows = Vec::new();
    }
}

impl<C> Index<u32> for Rows<C> {
    type Output = C;

    fn index(&self, number: u32) -> &C {
        &self.rows[number.wrapping_sub(self.first) as usize]
    }
}

impl<C> IndexMut<u32> for Rows<C> {
    fn index_mut(&mut self, number: u32) -> &mut C {
        &mut self.rows[number.wrapping_sub(self.first) as usize]
    }
}
