use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{InvalidLimit, Limit};

/// At most `count` permits in a window of length `per`. A window begins with its first permit.
///
/// Two windows may meet: `count` permits at the end of one and `count` at the beginning of the next. Where that is too
/// much, take [`SlidingWindow`](super::SlidingWindow).
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_core::limit::{FixedWindow, Limit};
///
/// let limit = FixedWindow::new(5, Duration::from_secs(1))?;
/// let now = Instant::now();
/// let permits = (0..12).filter(|_| limit.try_acquire(now).is_ok()).count();
/// assert_eq!(permits, 5);
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug)]
pub struct FixedWindow {
    count: u32,
    per: Duration,
    /// A std mutex: it is held for a comparison.
    window: Mutex<Option<Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    end: Instant,
    taken: u32,
}

impl FixedWindow {
    /// At most `count` in each window of length `per`.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for a count of 0, and for a length of zero or more than 366 days.
    pub fn new(count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_count("count", count)?;
        InvalidLimit::check_per(per)?;
        Ok(Self { count, per, window: Mutex::new(None) })
    }
}

impl Limit for FixedWindow {
    fn try_acquire(&self, now: Instant) -> Result<(), Duration> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match window.as_mut().filter(|window| now < window.end) {
            None => *window = Some(Window { end: now + self.per, taken: 1 }),
            Some(window) if window.taken < self.count => window.taken += 1,
            Some(window) => return Err(window.end.duration_since(now)),
        }
        Ok(())
    }

    fn give_back(&self, taken: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = window.as_mut().filter(|window| taken < window.end && taken + self.per >= window.end) {
            now.taken -= 1;
            // A window begins with a permit that was used.
            if now.taken == 0 {
                *window = None;
            }
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|window| window.end <= now)
    }

    fn fresh(&self) -> Box<dyn Limit> {
        Box::new(Self { count: self.count, per: self.per, window: Mutex::new(None) })
    }
}
