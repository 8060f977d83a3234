use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{InvalidLimit, Limit};

/// A token bucket: `count` permits per `per`, evenly spaced, and a burst of so many at once after a pause.
///
/// The bucket starts full. In any span of length `t` there are at most `burst + t × count / per` permits; with the
/// default burst, a tenth of the count, that is at most 110 in the first second at 100 a second. The arithmetic is exact:
/// no rate is rounded. (The generic cell rate algorithm, hence the name.)
///
/// Timers have a resolution of a millisecond. One who waits for single permits gets at most a burst in each, so above
/// 1,000 permits a second keep a burst of at least a thousandth of the rate; the default is a hundred times that.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_core::limit::{Gcra, Limit};
///
/// let limit = Gcra::new(10, Duration::from_secs(1))?.burst(2)?;
/// let start = Instant::now();
/// assert_eq!(limit.try_acquire(start), Ok(()));
/// assert_eq!(limit.try_acquire(start), Ok(()));
/// assert_eq!(limit.try_acquire(start), Err(Duration::from_millis(100)));
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug)]
pub struct Gcra {
    count: u32,
    per: Duration,
    burst: u32,
    /// A std mutex: it is held for a comparison.
    bucket: Mutex<Option<Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What `full` counts from.
    origin: Instant,
    /// When the bucket will be full again, in parts: `count` of them are a nanosecond, so that a permit is a whole number
    /// of them. No sum overflows: below 2⁶⁴ ns × 2³² parts, and 2⁵⁵ ns × a burst of 2³².
    full: u128,
}

impl Gcra {
    /// `count` permits per `per`, with a burst of a tenth of the count, at least 1.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for a count of 0, and for a length of zero or more than 366 days.
    pub fn new(count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_count("count", count)?;
        InvalidLimit::check_per(per)?;
        Ok(Self { count, per, burst: (count / 10).max(1), bucket: Mutex::new(None) })
    }

    /// So many permits at once after a pause. 1 spaces them all evenly.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for 0, which would let nothing pass.
    pub fn burst(mut self, burst: u32) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_count("burst", burst)?;
        self.burst = burst;
        Ok(self)
    }

    /// An instant in parts since the origin.
    fn parts(&self, origin: Instant, now: Instant) -> u128 {
        now.saturating_duration_since(origin).as_nanos() * u128::from(self.count)
    }
}

impl Limit for Gcra {
    fn try_acquire(&self, now: Instant) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket.get_or_insert(Bucket { origin: now, full: 0 });
        let at = self.parts(bucket.origin, now);
        let permit = self.per.as_nanos();
        let earliest = bucket.full.saturating_sub(permit * u128::from(self.burst - 1));
        if at < earliest {
            let nanos = (earliest - at).div_ceil(u128::from(self.count));
            return Err(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        }
        bucket.full = bucket.full.max(at) + permit;
        Ok(())
    }

    fn give_back(&self, _: Instant) {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = bucket.as_mut() {
            bucket.full = bucket.full.saturating_sub(self.per.as_nanos());
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.is_none_or(|bucket| bucket.full <= self.parts(bucket.origin, now))
    }

    fn fresh(&self) -> Box<dyn Limit> {
        Box::new(Self { count: self.count, per: self.per, burst: self.burst, bucket: Mutex::new(None) })
    }
}
