//! The median of repeated measurements, and the interval it is known to lie in.

/// The chance that an interval misses the true median.
const MISSED: f64 = 0.05;

/// The median of some values and its 95 % confidence interval.
///
/// The interval is made of order statistics: each value lies above the true median as often as below it, whatever the
/// distribution, so the number of values below it is binomial. That needs no normal distribution, and the rounds that
/// another program disturbed move neither the median nor the ends far. Five values and fewer give no such interval;
/// then it is the smallest to the largest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The upper end.
    pub high: f64,
    /// Whether there were enough values for 95 %.
    pub is_certain: bool,
}

impl Interval {
    /// The interval of these values; sorts them.
    ///
    /// # Panics
    ///
    /// Without any value.
    pub fn of(values: &mut [f64]) -> Self {
        let median = median(values);
        let below = left_out(values.len());
        let out = below.unwrap_or(0);
        let (low, high) = (values[out], values[values.len() - 1 - out]);
        Self { low, median, high, is_certain: below.is_some() }
    }

    /// Whether the median is known to a fraction of itself: both ends are at most so far from it.
    pub fn is_within(&self, fraction: f64) -> bool {
        let widest = (self.high - self.median).max(self.median - self.low);
        self.is_certain && widest <= fraction * self.median.abs()
    }
}

/// How many of the smallest and of the largest values lie outside the interval. `None` if all of them together are too
/// few.
fn left_out(count: usize) -> Option<usize> {
    // P(at most k of `count` values are below the median), summed up from the binomial distribution.
    let mut chance = 0.5_f64.powi(i32::try_from(count).ok()?);
    let (mut below, mut left_out) = (0.0, None);
    for k in 0..count {
        below += chance;
        if 2.0 * below > MISSED {
            break;
        }
        left_out = Some(k);
        chance *= (count - k) as f64 / (k + 1) as f64;
    }
    left_out
}

/// The median, of an even number the mean of the two in the middle; sorts the values.
///
/// # Panics
///
/// Without any value.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { values[middle - 1].midpoint(values[middle]) } else { values[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
    }

    /// The ranks that tables of the sign test give for a two-sided level of 5 %.
    #[test]
    fn ranks_are_those_of_the_binomial_distribution() {
        for (count, expected) in
            [(1, None), (5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (20, Some(5)), (30, Some(9))]
        {
            assert_eq!(left_out(count), expected, "{count} values");
        }
    }

    #[test]
    fn few_values_give_their_range_and_no_certainty() {
        let few = Interval::of(&mut [1.0, 1.01, 0.99]);
        assert_eq!((few.low, few.median, few.high, few.is_certain), (0.99, 1.0, 1.01, false));
        assert!(!few.is_within(0.5));
    }

    #[test]
    fn a_disturbed_round_does_not_widen_the_interval() {
        let mut values: Vec<f64> = (0..20).map(|at| 1.0 + f64::from(at) / 1_000.0).collect();
        values.push(30.0);
        let interval = Interval::of(&mut values);
        assert!(interval.is_within(0.05), "{interval:?}");
        let mut scattered: Vec<f64> = (0..20).map(|at| 1.0 + f64::from(at) / 10.0).collect();
        assert!(!Interval::of(&mut scattered).is_within(0.05));
    }

    /// The interval covers the true median in 95 of 100 cases, of a distribution that is far from normal.
    #[test]
    fn intervals_cover_the_median() {
        let mut random = fastrand::Rng::with_seed(1);
        let true_median = 2.0_f64.ln(); // of an exponential distribution
        for count in [6, 12, 31] {
            let covered = (0..4_000).filter(|_| {
                let mut values: Vec<f64> = (0..count).map(|_| -(1.0 - random.f64()).ln()).collect();
                let interval = Interval::of(&mut values);
                (interval.low..=interval.high).contains(&true_median)
            });
            let share = covered.count() as f64 / 4_000.0;
            assert!((0.94..0.99).contains(&share), "{share} with {count} values");
        }
    }
}
