//! Which connection a virtual client has, by its token.
//!
//! Tokens are mostly dense numbers from 0, for which a table of eight bytes each does; others are kept in a map.

use rustc_hash::FxHashMap;

use crate::ids::ConnId;

/// Tokens below this have a place in the table.
const DENSE: u64 = 1 << 24;
const NONE: ConnId = ConnId { slot: u32::MAX, generation: u32::MAX };

#[derive(Default)]
pub(crate) struct Tokens {
    dense: Vec<ConnId>,
    others: FxHashMap<u64, ConnId>,
}

impl Tokens {
    pub fn get(&self, token: u64) -> Option<ConnId> {
        match token < DENSE {
            true => self.dense.get(token as usize).copied().filter(|conn| *conn != NONE),
            false => self.others.get(&token).copied(),
        }
    }

    pub fn insert(&mut self, token: u64, conn: ConnId) {
        if token >= DENSE {
            self.others.insert(token, conn);
            return;
        }
        let place = token as usize;
        if place >= self.dense.len() {
            let room = self.dense.capacity();
            if place >= room {
                self.dense.reserve_exact((place + 1).max(room + room / 4) - self.dense.len());
            }
            self.dense.resize(place + 1, NONE);
        }
        self.dense[place] = conn;
    }

    /// Forgets the token if it still names this connection.
    pub fn remove(&mut self, token: u64, conn: ConnId) {
        if self.get(token) != Some(conn) {
            return;
        }
        match token < DENSE {
            true => self.dense[token as usize] = NONE,
            false => {
                self.others.remove(&token);
            }
        }
    }

    pub fn memory_bytes(&self) -> usize {
        let buckets = (self.others.capacity() * 8 / 7).next_power_of_two();
        let others = if self.others.capacity() == 0 { 0 } else { buckets * (size_of::<(u64, ConnId)>() + 1) };
        self.dense.capacity() * size_of::<ConnId>() + others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_tokens_take_ten_bytes_each_at_most() {
        let mut tokens = Tokens::default();
        (0..1_000_000).for_each(|token| tokens.insert(token, ConnId { slot: 1, generation: 0 }));
        assert!((8_000_000..10_000_001).contains(&tokens.memory_bytes()), "{}", tokens.memory_bytes());
    }

    #[test]
    fn a_token_names_the_latest_connection_until_that_one_goes() {
        let conn = |slot| ConnId { slot, generation: 0 };
        let mut tokens = Tokens::default();
        for token in [0, 7, DENSE, u64::MAX] {
            assert_eq!(tokens.get(token), None);
            tokens.insert(token, conn(1));
            tokens.insert(token, conn(2));
            tokens.remove(token, conn(1));
            assert_eq!(tokens.get(token), Some(conn(2)));
            tokens.remove(token, conn(2));
            assert_eq!(tokens.get(token), None);
        }
    }
}
