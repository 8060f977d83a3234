use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::board::Board;
use super::execute::Leases;
use crate::InvalidJob;
use crate::pool::Pool;
use crate::worker::check_interval;

/// Lets a runner start with one job at a time, and one more after each interval, as long as all goes well.
///
/// In an interval in which too many attempts end with an error status, or attempts take much longer than in the best
/// interval so far, the concurrency holds; in one that is far worse, it is halved. So a system that just came up, or is
/// about to go down, is not run over.
///
/// ```
/// use std::time::Duration;
/// use work_core::{QueueWorker, Router, runner::Ramp, store::MemoryStore};
///
/// let ramp = Ramp::new(Duration::from_millis(100))?.hold_above(0.05).back_off_above(0.3);
/// let worker = QueueWorker::builder(MemoryStore::new(), Router::new()).concurrency(50).ramp(ramp).build()?;
/// assert!(Ramp::new(Duration::ZERO).is_err());
/// # Ok::<(), work_core::InvalidJob>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ramp {
    interval: Duration,
    hold_above: f64,
    back_off_above: f64,
    slowdown: f64,
}

/// What ended in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Seen {
    ends: u64,
    errors: u64,
    micros: u64,
}

/// Counts what ends.
#[derive(Default)]
pub(super) struct Tally {
    ends: AtomicU64,
    errors: AtomicU64,
    micros: AtomicU64,
}

impl Tally {
    pub(super) fn note(&self, status: crate::Status, took: Duration) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(status.is_error()), Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn take(&self) -> Seen {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Seen { ends: take(&self.ends), errors: take(&self.errors), micros: take(&self.micros) }
    }
}

impl Ramp {
    /// One job more after each `interval`.
    ///
    /// # Errors
    ///
    /// [`InvalidJob::OutOfRange`] for less than a millisecond.
    pub fn new(interval: Duration) -> Result<Self, InvalidJob> {
        check_interval("start_interval", interval)?;
        Ok(Self { interval, hold_above: 0.1, back_off_above: 0.5, slowdown: 2.0 })
    }

    /// Holds in an interval in which a larger share of the attempts ended with an error status; by default 0.1. What is
    /// outside 0 to 1 is cut off.
    #[must_use]
    pub fn hold_above(mut self, share: f64) -> Self {
        self.hold_above = share.clamp(0.0, 1.0);
        self
    }

    /// Halves the concurrency after an interval in which a larger share ended with an error status; by default 0.5. What
    /// is outside 0 to 1 is cut off.
    #[must_use]
    pub fn back_off_above(mut self, share: f64) -> Self {
        self.back_off_above = share.clamp(0.0, 1.0);
        self
    }

    /// Holds in an interval in which attempts took so many times as long as in the best one, and halves at twice that; by
    /// default 2. At least 1.
    #[must_use]
    pub const fn slowdown(mut self, times: f64) -> Self {
        self.slowdown = times.max(1.0);
        self
    }

    /// The concurrency of the next interval. `best` is the mean time of the best interval so far, in microseconds.
    fn next(&self, now: usize, max: usize, seen: Seen, best: &mut Option<f64>) -> usize {
        if seen.ends == 0 {
            return (now + 1).min(max);
        }
        let errors = seen.errors as f64 / seen.ends as f64;
        let mean = seen.micros as f64 / seen.ends as f64;
        let slower = best.map_or(1.0, |best| mean / best.max(1.0));
        *best = Some(best.map_or(mean, |best| best.min(mean)));
        if errors > self.back_off_above || slower > 2.0 * self.slowdown {
            (now / 2).max(1)
        } else if errors > self.hold_above || slower > self.slowdown {
            now
        } else {
            (now + 1).min(max)
        }
    }
}

/// Changes the concurrency of the pool until the runner stops.
pub(super) async fn run(ramp: Ramp, board: Arc<Board>, pool: Pool<Leases>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + ramp.interval, ramp.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut best = None;
    let mut now = pool.concurrency();
    while board.stopping.run_until_cancelled(ticks.tick()).await.is_some() {
        let next = ramp.next(now, board.settings.concurrency, board.tally.take(), &mut best);
        if next != now {
            pool.set_concurrency(next);
            now = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Ramp {
        Ramp::new(Duration::from_millis(10)).unwrap()
    }

    const fn seen(ends: u64, errors: u64, micros: u64) -> Seen {
        Seen { ends, errors, micros: micros * ends }
    }

    #[test]
    fn it_grows_by_one_to_the_maximum_while_all_goes_well_or_nothing_happens() {
        let mut best = None;
        assert_eq!(ramp().next(1, 3, seen(0, 0, 0), &mut best), 2);
        assert_eq!(ramp().next(2, 3, seen(10, 0, 100), &mut best), 3);
        assert_eq!(ramp().next(3, 3, seen(10, 0, 100), &mut best), 3);
    }

    #[test]
    fn it_holds_while_errors_or_times_rise_and_halves_when_they_soar() {
        let mut best = Some(100.0);
        for (seen, next) in [
            (seen(10, 1, 100), 9),
            (seen(10, 2, 100), 8),
            (seen(10, 6, 100), 4),
            (seen(10, 0, 199), 9),
            (seen(10, 0, 250), 8),
            (seen(10, 0, 450), 4),
        ] {
            assert_eq!(ramp().next(8, 20, seen, &mut best), next, "{seen:?}");
        }
        assert_eq!(ramp().next(1, 20, seen(1, 1, 100), &mut best), 1, "never none");
    }
}
