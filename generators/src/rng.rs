//! Randomness: one stream for each concern, derived from the seed by name, so that drawing more for one never
//! changes another.

use squall_protocol::ids::mix;

/// A stream of random numbers: xoshiro256++ (Blackman, Vigna 2019), seeded through SplitMix64.
#[derive(Debug, Clone)]
pub struct Stream([u64; 4]);

/// A 64-bit key for a concern: the seed and the name, mixed.
pub fn key(seed: u64, name: &str) -> u64 {
    mix(seed ^ squall_history::body_hash(name.as_bytes()))
}

impl Stream {
    pub fn new(seed: u64, name: &str) -> Self {
        Self::from_key(key(seed, name))
    }

    pub fn from_key(key: u64) -> Self {
        Stream([mix(key), mix(key ^ 1), mix(key ^ 2), mix(key ^ 3)])
    }

    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `0..bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        below(self.next_u64(), bound)
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        unit(self.next_u64())
    }

    /// True with this chance.
    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }
}

/// Puts items in an order drawn from the stream (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], stream: &mut Stream) {
    for last in (1..items.len()).rev() {
        items.swap(last, stream.below(last as u64 + 1) as usize);
    }
}

/// Maps 64 random bits to `0..bound` (Lemire's multiply-shift; the bias is below 2^-32 for our bounds).
pub fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// Maps 64 random bits to `0..1`, 53 of them used.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// An exponential gap with this mean, in the mean's unit. libm's logarithm, since the platform's may round differently.
pub fn exponential(bits: u64, mean: f64) -> f64 {
    -libm::log(1.0 - unit(bits)) * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_by_name_and_repeat_by_seed() {
        let draw = |seed, name| {
            (0..4).map(|_| 0).scan(Stream::new(seed, name), |s, _: u8| Some(s.next_u64())).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn an_exponential_gap_has_its_mean() {
        let mut stream = Stream::new(7, "gaps");
        let mean = (0..100_000).map(|_| exponential(stream.next_u64(), 10.0)).sum::<f64>() / 100_000.0;
        assert!((9.8..10.2).contains(&mean), "{mean}");
    }
}
