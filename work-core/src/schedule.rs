use std::time::Duration;

use chrono::{DateTime, Utc};

/// When a recurring job is due.
///
/// ```
/// use std::time::Duration;
/// use work_core::{Overlap, Schedule};
///
/// let schedule = Schedule::every(Duration::from_secs(60))?.overlap(Overlap::Allow);
/// assert_eq!(schedule.interval(), Some(Duration::from_secs(60)));
/// assert!(Schedule::every(Duration::ZERO).is_err());
/// # Ok::<(), work_core::InvalidSchedule>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
    overlap: Overlap,
}

/// What happens when a run is due while the one before it still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overlap {
    /// It does not take place.
    #[default]
    Skip,
    /// Both run.
    Allow,
}

/// A schedule that could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("interval {given:?} is too short; use at least 1 ms")]
pub struct InvalidSchedule {
    given: Duration,
}

impl Schedule {
    /// At once, and then every `interval`. Runs that were missed are not made up for.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] for less than a millisecond, which is as fine as timers go.
    pub const fn every(interval: Duration) -> Result<Self, InvalidSchedule> {
        if interval.as_nanos() < 1_000_000 {
            return Err(InvalidSchedule { given: interval });
        }
        Ok(Self { interval, overlap: Overlap::Skip })
    }

    /// Says what happens when a run is due while the one before it still runs; by default it is skipped.
    #[must_use]
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// The time from one run to the next, if that is all there is to it.
    #[must_use]
    pub const fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    /// The first slot after an instant.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(crate::clock::later(after, self.interval))
    }

    /// Whether runs may overlap.
    #[must_use]
    pub const fn overlaps(&self) -> Overlap {
        self.overlap
    }
}
