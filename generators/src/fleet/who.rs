//! Whose clients a fleet holds, and under which names.

use crate::population::Population;
use crate::run_id::RunId;
use crate::tokens::SharedTokens;
use std::ops::Range;

/// A part of all people, in order: several fleets can share a population, each with people of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub number: u32,
    pub of: u32,
}

impl Part {
    pub const WHOLE: Part = Part { number: 0, of: 1 };

    /// The users of this part, by index.
    pub fn users(self, population: &Population) -> Range<u32> {
        let border = |n: u32| (u64::from(population.users()) * u64::from(n) / u64::from(self.of)) as u32;
        border(self.number)..border(self.number + 1)
    }

    /// Their devices, by index.
    pub fn devices(self, population: &Population) -> Range<u32> {
        let users = self.users(population);
        let first = |user: u32| {
            if user < population.users() { population.first_device(user) } else { population.devices() }
        };
        first(users.start)..first(users.end)
    }

    /// This part, taken apart again: the `n`th of `of`.
    pub fn split(self, n: u32, of: u32) -> Part {
        Part { number: self.number * of + n, of: self.of * of }
    }
}

/// Whose clients a fleet holds.
#[derive(Clone)]
pub struct Who {
    /// Decides who people are to each other and what they do.
    pub seed: u64,
    /// Decides what they are called.
    pub run: RunId,
    pub part: Part,
    /// The number of the first device, among those of the run.
    pub first_device: u64,
    pub tokens: SharedTokens,
}

impl Who {
    /// Everybody, where nobody has been before.
    pub fn everybody(seed: u64, tokens: SharedTokens) -> Self {
        Who { seed, run: RunId::default(), part: Part::WHOLE, first_device: 1, tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::model;

    #[test]
    fn parts_are_everybody_once_and_leave_nobodys_devices_apart() {
        let people = model::Population { users: 11, ..model::Population::default() };
        let population = Population::new(&people, 3);
        let part = Part { number: 0, of: 1 };
        for of in [1, 2, 3, 7, 20] {
            let parts: Vec<Range<u32>> = (0..of).map(|n| part.split(n, of).devices(&population)).collect();
            assert_eq!(parts.iter().cloned().flatten().collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
        }
        assert_eq!(Part { number: 1, of: 2 }.split(0, 2), Part { number: 2, of: 4 });
    }
}
