//! A rolling 64-bit digest for telling two runs apart. Fast and fixed, not cryptographic.
//!
//! **Invariant:** the value depends only on the sequence of words and byte strings mixed in, so two runs with equal
//! digests at the end of each second did, for practical purposes, the same things on the wire.

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;

/// The folded multiplication of wyhash: the two halves of a 128-bit product, xored.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(padded)
}

/// Hashes a byte string; its length is part of the value.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = K0 ^ bytes.len() as u64;
    let (pairs, rest) = bytes.as_chunks::<16>();
    for pair in pairs {
        let (low, high) = pair.split_at(8);
        state = fold(word(low) ^ K1, word(high) ^ state);
    }
    if !rest.is_empty() {
        let (low, high) = rest.split_at(rest.len().min(8));
        state = fold(word(low) ^ K2, word(high) ^ state);
    }
    fold(state ^ K2, K1)
}

/// Mixes one word into a running digest.
pub(crate) fn mix(state: u64, value: u64) -> u64 {
    fold(state ^ K1, value ^ K0).wrapping_add(state.rotate_left(29))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        let base: Vec<u8> = (0..100).collect();
        for len in 0..base.len() {
            let plain = hash_bytes(&base[..len]);
            assert_ne!(plain, hash_bytes(&base[..len + 1]));
            for i in 0..len {
                let mut changed = base[..len].to_vec();
                changed[i] ^= 1;
                assert_ne!(plain, hash_bytes(&changed), "len {len}, byte {i}");
            }
        }
    }

    #[test]
    fn order_counts() {
        assert_ne!(mix(mix(0, 1), 2), mix(mix(0, 2), 1));
    }
}
