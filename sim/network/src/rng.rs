//! The network's own random numbers: xoshiro256++ seeded by splitmix64, one named stream a concern.
//!
//! **Invariant:** a draw depends on the seed, the stream's name and the draws before it, and on nothing else: no
//! platform's `libm` is involved, since logarithms are computed here from exact IEEE operations.

/// A pseudo-random stream (xoshiro256++, Blackman and Vigna).
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: [u64; 4],
}

/// splitmix64's output function: a bijection that scatters nearby inputs.
pub(crate) fn scatter(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut key = scatter(seed);
        for byte in stream.bytes() {
            key = scatter(key ^ u64::from(byte));
        }
        let mut state = [0; 4];
        for word in &mut state {
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            *word = scatter(key);
        }
        Self { state }
    }

    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
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

    /// Uniform in `0..bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `p`; draws nothing when `p` is zero or less.
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && unit(self.next_u64()) < p
    }

    /// Exponential with the given mean; draws nothing when the mean is zero.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        if mean == 0 { 0 } else { exponential_from(self.next_u64(), mean) }
    }
}

/// Maps random bits to an exponential variate.
pub(crate) fn exponential_from(bits: u64, mean: u64) -> u64 {
    (negative_ln(1.0 - unit(bits)) * mean as f64) as u64
}

/// Uniform in `[0, 1)` from the upper 53 bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// `-ln(x)` for `x` in `(0, 1]`, to about eight digits, by the area hyperbolic tangent series.
fn negative_ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let series =
        1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q / 13.0)))));
    let ln = exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series;
    (-ln).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_agrees_with_the_platform() {
        for i in 1..=1000 {
            let x = f64::from(i) / 1000.0;
            assert!((negative_ln(x) + x.ln()).abs() < 1e-6, "x = {x}");
        }
    }

    #[test]
    fn exponential_has_its_mean() {
        let mut rng = Rng::new(1, "test");
        let sum: u64 = (0..100_000).map(|_| rng.exponential(1_000)).sum();
        assert!((97_000_000..103_000_000).contains(&sum), "{sum}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |seed, stream| Rng::new(seed, stream).next_u64();
        assert_eq!(first(7, "a"), first(7, "a"));
        assert_ne!(first(7, "a"), first(7, "b"));
        assert_ne!(first(7, "a"), first(8, "a"));
    }
}
