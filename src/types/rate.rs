//! How fast a count grows: per second, over the last few seconds.

use std::collections::VecDeque;

/// Of which time the rate is: long enough to be calm, short enough to show that something has stopped.
const WINDOW_US: i64 = 5_000_000;

/// Samples are so far apart, apart from the newest two, so that few are kept.
const STEP_US: i64 = 250_000;

/// How fast a count grows.
///
/// Always: at most one sample is older than the window.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Time (microseconds) and count, the oldest first.
    samples: VecDeque<(i64, u64)>,
}

impl Rate {
    /// Notes that the count has grown.
    pub fn note(&mut self, now_micros: i64, from: u64, to: u64) {
        if self.samples.is_empty() {
            self.samples.push_back((now_micros, from));
        }
        while self.samples.get(1).is_some_and(|(time, _)| *time <= now_micros - WINDOW_US) {
            self.samples.pop_front();
        }
        let mut newest = self.samples.iter().rev().map(|(time, _)| *time);
        if let (Some(last), Some(before)) = (newest.next(), newest.next())
            && last - before < STEP_US
        {
            self.samples.pop_back();
        }
        self.samples.push_back((now_micros, to));
    }

    /// By how much the count grew per second, if it is `count` now. In the first seconds, since the first sample, as if that were a second ago at
    /// the least.
    pub fn per_second(&self, now_micros: i64, count: u64) -> f64 {
        let before = self.samples.iter().rev().find(|(time, _)| *time <= now_micros - WINDOW_US);
        let Some((time, base)) = before.or(self.samples.front()) else { return 0.0 };
        let elapsed = (now_micros - time).clamp(1_000_000, WINDOW_US);
        count.saturating_sub(*base) as f64 * 1e6 / elapsed as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, WINDOW_US};

    #[test]
    fn a_rate_is_of_the_last_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(0, 100), 0.0);
        // A thousand rows a second, in batches of a hundred.
        for step in 0..200 {
            rate.note(step * 100_000, step as u64 * 100, (step as u64 + 1) * 100);
        }
        let (end, count) = (200 * 100_000, 20_000);
        let now = rate.per_second(end, count);
        assert!((900.0..=1_100.0).contains(&now), "{now}");
        assert!(rate.samples.len() < 30, "{rate:?}");
        // Then nothing more comes.
        let later = rate.per_second(end + WINDOW_US / 2, count);
        assert!((400.0..=600.0).contains(&later), "{later}");
        assert_eq!(rate.per_second(end + 2 * WINDOW_US, count), 0.0);
    }

    #[test]
    fn the_first_rows_are_as_of_one_second() {
        let mut rate = Rate::default();
        rate.note(7, 40, 140);
        assert_eq!(rate.per_second(8, 140), 100.0);
        assert_eq!(rate.per_second(2_000_007, 140), 50.0);
        // A clock that goes back does no harm.
        assert_eq!(rate.per_second(-9_000_000, 140), 100.0);
    }
}
