use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts what came in the last while, by intervals: with a total of 3 s and an interval of 1 s, three samples.
///
/// Intervals follow each other from the moment the counter is made. The newest is the one under way, so the total covers
/// between `total - interval` and `total`. Time is tokio's, which tests can pause; reading it forgets what is too old, so
/// no traffic is needed. The memory is that of `total / interval` numbers.
///
/// ```
/// use std::time::Duration;
/// use work_adapters::stats::RollingCounter;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counter = RollingCounter::new(Duration::from_secs(3), Duration::from_secs(1))?;
/// counter.add(1);
/// assert_eq!((counter.total(), counter.samples()), (1, vec![1, 0, 0]));
/// tokio::time::advance(Duration::from_secs(1)).await;
/// counter.add(5);
/// assert_eq!((counter.total(), counter.samples()), (6, vec![5, 1, 0]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RollingCounter {
    interval: Duration,
    start: Instant,
    /// A std mutex: it is held for one step through the ring.
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    /// Newest first.
    samples: VecDeque<u64>,
    /// Which interval the newest is, from 0.
    newest: u128,
}

/// A [`RollingCounter`] that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRolling {
    /// The interval is zero.
    #[error("interval 0ns is no time; use 1 ns or more")]
    NoInterval,
    /// There would be no interval, or too many.
    #[error("total {total:?} has {count} intervals of {interval:?}; use a total of 1 to 100000 whole intervals")]
    Intervals {
        /// The total that was given.
        total: Duration,
        /// The interval that was given.
        interval: Duration,
        /// How many whole intervals it has.
        count: u128,
    },
}

/// The most samples that a counter has.
const MAX_SAMPLES: usize = 100_000;

impl RollingCounter {
    /// A counter over `total`, in samples of `interval`. A rest of `total` that makes no whole interval is left out.
    ///
    /// # Errors
    ///
    /// [`InvalidRolling`] if the interval is zero, or if `total` has fewer than 1 or more than 100,000 of them.
    pub fn new(total: Duration, interval: Duration) -> Result<Self, InvalidRolling> {
        let count = total.as_nanos().checked_div(interval.as_nanos()).ok_or(InvalidRolling::NoInterval)?;
        let length = usize::try_from(count).ok().filter(|length| (1..=MAX_SAMPLES).contains(length));
        let length = length.ok_or(InvalidRolling::Intervals { total, interval, count })?;
        let ring = Ring { samples: VecDeque::from(vec![0; length]), newest: 0 };
        Ok(Self { interval, start: Instant::now(), ring: Mutex::new(ring) })
    }

    /// Counts `n` more, now.
    pub fn add(&self, n: u64) {
        let mut ring = self.ring();
        if let Some(newest) = ring.samples.front_mut() {
            *newest = newest.saturating_add(n);
        }
    }

    /// What came in all samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ring().samples.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// What came in each interval, newest first.
    #[must_use]
    pub fn samples(&self) -> Vec<u64> {
        self.ring().samples.iter().copied().collect()
    }

    /// The ring as it is now.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.start.elapsed().as_nanos() / self.interval.as_nanos();
        // A thread that looked at the time before another may come after it.
        let passed = usize::try_from(now.saturating_sub(ring.newest)).unwrap_or(usize::MAX);
        for _ in 0..passed.min(ring.samples.len()) {
            ring.samples.pop_back();
            ring.samples.push_front(0);
        }
        ring.newest = ring.newest.max(now);
        ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn three_seconds_by_one() {
        let counter = RollingCounter::new(3 * SECOND, SECOND).unwrap();
        let seen = || (counter.total(), counter.samples());
        counter.add(1);
        assert_eq!(seen(), (1, vec![1, 0, 0]));
        tokio::time::advance(SECOND).await;
        assert_eq!(seen(), (1, vec![0, 1, 0]));
        counter.add(5);
        assert_eq!(seen(), (6, vec![5, 1, 0]));
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(seen(), (5, vec![0, 0, 5]));
        tokio::time::advance(7 * SECOND).await;
        assert_eq!(seen(), (0, vec![0, 0, 0]));
    }

    #[test]
    fn what_makes_no_ring_is_refused_with_the_numbers() {
        assert_eq!(RollingCounter::new(SECOND, Duration::ZERO).unwrap_err(), InvalidRolling::NoInterval);
        let error = RollingCounter::new(SECOND, 2 * SECOND).unwrap_err().to_string();
        assert!(error.contains("1s has 0 intervals of 2s"), "{error}");
        let error = RollingCounter::new(SECOND, Duration::from_nanos(1)).unwrap_err().to_string();
        assert!(error.contains("1000000000 intervals"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_century_without_traffic_costs_one_turn_of_the_ring() {
        let counter = RollingCounter::new(100_000 * SECOND, SECOND).unwrap();
        counter.add(u64::MAX);
        counter.add(1);
        assert_eq!(counter.total(), u64::MAX, "it stops at the top");
        tokio::time::advance(365 * 24 * 3600 * 10 * SECOND).await;
        assert_eq!(counter.total(), 0);
    }
}
