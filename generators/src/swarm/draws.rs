//! Draws for the swarm: values of proptest's strategies, all from one seed.

use crate::rng::key;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use squall_scenarios::Span;

/// Draws from strategies, one after the other, all from one seed.
pub(super) struct Draws(TestRunner);

impl Draws {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        for (n, part) in (0..).zip(bytes.chunks_exact_mut(8)) {
            part.copy_from_slice(&key(seed ^ n << 60, "swarm").to_le_bytes());
        }
        Draws(TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)))
    }

    /// A stream of their own for rights, so that the others are drawn as they were.
    pub fn rights(seed: u64) -> Self {
        Draws::new(key(seed, "rights"))
    }

    /// The same for what people say of their writing.
    pub fn typing(seed: u64) -> Self {
        Draws::new(key(seed, "typing"))
    }

    /// A stream of their own for receipts, for the same reason.
    pub fn receipts(seed: u64) -> Self {
        Draws::new(key(seed, "receipts"))
    }

    /// The same for who watches whom.
    pub fn presence(seed: u64) -> Self {
        Draws::new(key(seed, "presence"))
    }

    /// One for what came later still.
    pub fn elsewhere(seed: u64) -> Self {
        Draws::new(key(seed, "elsewhere"))
    }

    /// A value of this strategy.
    pub fn of<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.0).expect("none of our strategies rejects").current()
    }

    /// One of these, each with the same chance.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.of(0..items.len())]
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.of(proptest::bool::weighted(share))
    }

    /// A time between the two, in milliseconds.
    pub fn ms(&mut self, from: u64, to: u64) -> Span {
        Span::from_millis(self.of(from..=to))
    }

    /// A share between the two, of two digits.
    pub fn share(&mut self, from_percent: u32, to_percent: u32) -> f64 {
        f64::from(self.of(from_percent..=to_percent)) / 100.0
    }
}
