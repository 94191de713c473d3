//! A map of a few: sorted, and as large as what is in it. There are as many of these as devices, most of them with a handful of rows, for
//! which a tree's first node alone would take room for eleven.

/// Rows in order of their keys.
#[derive(Debug, Clone)]
pub struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few(Vec::new())
    }
}

impl<K: Ord + Copy, V> Few<K, V> {
    fn find(&self, key: K) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(known, _)| *known)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.find(key).ok().map(|place| &self.0[place].1)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).ok().map(|place| &mut self.0[place].1)
    }

    /// Puts a row in, in place of one with this key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(key) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.put_in(place, key, value),
        }
    }

    /// Room is made for a quarter more rows than there are, and at least for this one.
    fn put_in(&mut self, place: usize, key: K, value: V) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(1 + self.0.len() / 4);
        }
        self.0.insert(place, (key, value));
    }

    /// The row with this key, which is put in first if there is none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = self.find(key).unwrap_or_else(|place| {
            self.put_in(place, key, V::default());
            place
        });
        &mut self.0[place].1
    }

    /// Takes a row out. False: there is none.
    pub fn remove(&mut self, key: K) -> bool {
        self.find(key).map(|place| self.0.remove(place)).is_ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (*key, value))
    }

    /// Bytes that its rows take, without what they point to.
    pub fn held_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(K, V)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map(rows in prop::collection::vec((0u8..40, any::<bool>()), 0..200)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (n, (key, is_put)) in rows.into_iter().enumerate() {
                if is_put {
                    few.insert(key, n);
                    map.insert(key, n);
                } else {
                    prop_assert_eq!(few.remove(key), map.remove(&key).is_some());
                }
                prop_assert!(few.iter().map(|(key, n)| (key, *n)).eq(map.iter().map(|(key, n)| (*key, *n))));
                prop_assert!(few.held_bytes() <= size_of::<(u8, usize)>() * 51);
            }
        }
    }
}
