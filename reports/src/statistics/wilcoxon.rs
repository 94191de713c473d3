//! Wilcoxon's signed-rank test for pairs, exact with ties.
//!
//! F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945), 80–83: differences of zero are left out, the others
//! ranked by their size, and the ranks of the positive ones added up. If neither side is larger, every rank is as likely on one side as on the
//! other, so all 2ⁿ ways to give them their signs are equally likely. Their sums are counted as in Streitberg and Röhmel, "Exact distributions
//! for permutation and rank tests", Statistical Software Newsletter 12 (1986), 10–17: with mean ranks doubled, so that they are whole
//! numbers, ties are as exact as anything else. Percentiles of runs are often tied, and published crates are exact without ties only.
//!
//! Guarded by a test that goes through all ways, and by published examples.

/// Up to so many differences all ways are counted; beyond, the normal approximation with the variance of the tied ranks is as good.
const MOST_EXACT: usize = 200;

/// How likely differences at least as one-sided as these are, where neither side is larger: two-sided, from 0 to 1.
pub fn p_value(differences: &[f64]) -> f64 {
    let mut differences: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    if differences.is_empty() {
        return 1.0;
    }
    differences.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let ranks = doubled_ranks(&differences);
    let positive = differences.iter().zip(&ranks).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
    match ranks.len() <= MOST_EXACT {
        true => exact(&ranks, positive),
        false => approximate(&ranks, positive),
    }
}

/// Twice the rank of each of these differences, which are in the order of their size; tied ones share the mean of their ranks.
fn doubled_ranks(sorted: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    while ranks.len() < sorted.len() {
        let first = ranks.len();
        let tied = sorted[first..].iter().take_while(|d| d.abs() == sorted[first].abs()).count();
        // The ranks first + 1 to first + tied, their mean doubled.
        ranks.resize(first + tied, 2 * first + tied + 1);
    }
    ranks
}

fn exact(ranks: &[usize], positive: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // How likely each sum is; that of no rank at all is 0.
    let mut likely = vec![0.0_f64; total + 1];
    likely[0] = 1.0;
    let mut largest = 0;
    for rank in ranks {
        largest += rank;
        for sum in (0..=largest).rev() {
            let with = if sum >= *rank { likely[sum - rank] } else { 0.0 };
            likely[sum] = (likely[sum] + with) / 2.0;
        }
    }
    // The sums lie as far below their mean as above it.
    let smaller = positive.min(total - positive);
    (2.0 * likely[..=smaller].iter().sum::<f64>()).min(1.0)
}

fn approximate(ranks: &[usize], positive: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    let variance: f64 = ranks.iter().map(|rank| (*rank as f64 / 2.0).powi(2)).sum();
    // Doubled ranks make every distance from the mean whole; half a rank is taken off because sums are not continuous.
    let distance = ((positive as f64 - total as f64 / 2.0).abs() - 1.0).max(0.0);
    libm::erfc(distance / variance.sqrt() / std::f64::consts::SQRT_2).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All ways to give the ranks their signs, one by one.
    fn by_enumeration(differences: &[f64]) -> f64 {
        let mut sorted: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
        sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let rank = |d: &f64| {
            let (below, tied) = (
                sorted.iter().filter(|o| o.abs() < d.abs()).count(),
                sorted.iter().filter(|o| o.abs() == d.abs()).count(),
            );
            below as f64 + (tied as f64 + 1.0) / 2.0
        };
        let ranks: Vec<f64> = sorted.iter().map(rank).collect();
        let mean = ranks.iter().sum::<f64>() / 2.0;
        let positive: f64 = sorted.iter().zip(&ranks).filter(|(d, _)| **d > 0.0).map(|(_, r)| r).sum();
        let ways = 1_u32 << ranks.len();
        let sum = |way: u32| -> f64 {
            ranks.iter().enumerate().filter(|(n, _)| way >> n & 1 == 1).map(|(_, r)| r).sum()
        };
        let as_far = (0..ways).filter(|way| (sum(*way) - mean).abs() >= (positive - mean).abs()).count();
        as_far as f64 / f64::from(ways)
    }

    proptest! {
        #[test]
        fn it_is_what_all_ways_come_to(differences in prop::collection::vec(-6_i32..=6, 0..11)) {
            let differences: Vec<f64> = differences.into_iter().map(f64::from).collect();
            let (found, expected) = (p_value(&differences), by_enumeration(&differences));
            prop_assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }

        #[test]
        fn it_does_not_matter_which_side_is_which(differences in prop::collection::vec(-1e6_f64..1e6, 0..300)) {
            let turned: Vec<f64> = differences.iter().map(|d| -d).collect();
            prop_assert!((p_value(&differences) - p_value(&turned)).abs() < 1e-12);
        }
    }

    #[test]
    fn published_examples_come_out_as_published() {
        let pairs = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        // Hollander and Wolfe, "Nonparametric Statistical Methods" (1973), table 3.1: a thousandfold: V = 40, one-sided p = 0.01953 = 5/256.
        let before = [1830.0, 500.0, 1620.0, 2480.0, 1680.0, 1880.0, 1550.0, 3060.0, 1300.0];
        let after = [878.0, 647.0, 598.0, 2050.0, 1060.0, 1290.0, 1060.0, 3140.0, 1290.0];
        assert!((p_value(&pairs(&before, &after)) - 2.0 * 5.0 / 256.0).abs() < 1e-9);
        // Bortz, Lienert and Boehnke's example with ties and zeros, as R's exactRankTests has it: V = 13, p = 0.1367.
        let x = [9.0, 14.0, 8.0, 11.0, 14.0, 10.0, 8.0, 14.0, 12.0, 14.0, 13.0, 9.0, 15.0, 12.0, 9.0];
        let y = [13.0, 15.0, 9.0, 12.0, 16.0, 10.0, 8.0, 13.0, 12.0, 16.0, 9.0, 10.0, 16.0, 12.0, 9.0];
        assert!((p_value(&pairs(&x, &y)) - 0.1367).abs() < 5e-5);
    }

    #[test]
    fn nothing_that_differs_is_no_difference_and_six_of_one_sign_are_one_in_thirty_two() {
        assert_eq!(p_value(&[]), 1.0);
        assert_eq!(p_value(&[0.0; 20]), 1.0);
        assert!((p_value(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) - 2.0 / 64.0).abs() < 1e-12);
    }

    #[test]
    fn where_counting_ends_the_approximation_goes_on() {
        for lean in [0.0, 8.0, 20.0] {
            // Alternating signs, the positive ones a little larger.
            let differences: Vec<f64> =
                (0..MOST_EXACT).map(|n| if n % 2 == 0 { n as f64 + lean } else { -(n as f64) }).collect();
            let mut sorted: Vec<f64> = differences.into_iter().filter(|d| *d != 0.0).collect();
            sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
            let ranks = doubled_ranks(&sorted);
            let positive = sorted.iter().zip(&ranks).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
            let (counted, normal) = (exact(&ranks, positive), approximate(&ranks, positive));
            assert!((counted - normal).abs() < 2e-3, "{counted} and {normal}");
        }
    }
}
