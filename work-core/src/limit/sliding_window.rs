use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{InvalidLimit, Limit};

/// At most `count` permits in **any** span of length `per`: a permit counts for exactly `per`.
///
/// It remembers when each permit was taken, 16 bytes each.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_core::limit::{Limit, SlidingWindow};
///
/// let limit = SlidingWindow::new(2, Duration::from_millis(1000))?;
/// let start = Instant::now();
/// let at = |ms| start + Duration::from_millis(ms);
/// assert_eq!(limit.try_acquire(at(0)), Ok(()));
/// assert_eq!(limit.try_acquire(at(900)), Ok(()));
/// assert_eq!(limit.try_acquire(at(1000)), Ok(()));
/// // A window that began anew at 1000 would let this pass: three within 100 ms.
/// assert_eq!(limit.try_acquire(at(1000)), Err(Duration::from_millis(900)));
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug)]
pub struct SlidingWindow {
    count: u32,
    per: Duration,
    /// The permits that count, in order. A std mutex: it is held for a few comparisons.
    taken: Mutex<VecDeque<Instant>>,
}

/// The highest count that a [`SlidingWindow`] takes, since it remembers every permit.
pub const MAX_SLIDING: u32 = 1_000_000;

impl SlidingWindow {
    /// At most `count` in any span of `per`.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for a count of 0 or more than [`MAX_SLIDING`], and for a length of zero or more than 366 days.
    pub fn new(count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        if count == 0 || count > MAX_SLIDING {
            return Err(InvalidLimit::new("count", count, "1 to 1000000"));
        }
        InvalidLimit::check_per(per)?;
        Ok(Self { count, per, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit for SlidingWindow {
    fn try_acquire(&self, now: Instant) -> Result<(), Duration> {
        let mut taken = self.taken();
        // Another thread may have read its clock later and come first: the order is kept.
        let at = taken.back().map_or(now, |last| now.max(*last));
        while taken.front().is_some_and(|first| *first + self.per <= at) {
            taken.pop_front();
        }
        if taken.len() < self.count as usize {
            taken.push_back(at);
            return Ok(());
        }
        Err(taken.front().map_or(Duration::ZERO, |first| (*first + self.per).duration_since(now)))
    }

    fn give_back(&self, taken: Instant) {
        let mut all = self.taken();
        // Whichever of those it may be, what is left counts for as long or longer.
        let at = all.partition_point(|at| *at < taken);
        all.remove(at);
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.taken().back().is_none_or(|last| *last + self.per <= now)
    }

    fn fresh(&self) -> Box<dyn Limit> {
        Box::new(Self { count: self.count, per: self.per, taken: Mutex::default() })
    }
}
