//! Limits on how often something may happen, without any I/O: fixed windows, sliding windows, token buckets.
//!
//! | limit | what it promises | memory |
//! |---|---|---|
//! | [`FixedWindow`] | at most `count` in a window, which begins with its first permit | constant |
//! | [`SlidingWindow`] | at most `count` in **any** span of `per` | 16 bytes a permit, at most `count` of them |
//! | [`Gcra`] | evenly spaced at `count / per`, and a burst of so many | constant |
//! | [`Adaptive`] | close below what the other side takes, which it finds out | constant |
//! | [`Aimd`] | the plain rule: one more a second, half after a refusal | constant |
//!
//! How many jobs run at once is another thing: [`Gradient`] finds that out by how long they take.
//!
//! Each of those answers at once whether there is a permit at an instant, and if not, when to look again. [`Limiter`] waits for
//! one, in order. Time is tokio's, so that a test may pause it. All of this is about one process: two processes have two
//! limits. A [`Rate`] is one limit for all of them: the store keeps it.

mod adaptive;
mod adapts;
mod aimd;
mod bucket;
mod error;
mod fixed_window;
mod gcra;
mod gradient;
mod latencies;
mod limiter;
mod rate;
mod sliding_window;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use adaptive::Adaptive;
pub use adapts::{Adapts, Answer};
pub use aimd::Aimd;
pub use error::InvalidLimit;
pub use fixed_window::FixedWindow;
pub use gcra::Gcra;
pub use gradient::Gradient;
pub use limiter::Limiter;
pub use rate::{Rate, Shape, Taken};
pub use sliding_window::{MAX_SLIDING, SlidingWindow};

/// Says whether something may happen now.
///
/// It is asked from many threads at once, so the instants that it is given may be slightly out of order.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_core::limit::{FixedWindow, Limit};
///
/// let limit = FixedWindow::new(2, Duration::from_secs(1))?;
/// let start = Instant::now();
/// assert_eq!(limit.try_acquire(start), Ok(()));
/// assert_eq!(limit.try_acquire(start), Ok(()));
/// assert_eq!(limit.try_acquire(start), Err(Duration::from_secs(1)));
/// assert_eq!(limit.try_acquire(start + Duration::from_secs(1)), Ok(()));
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
pub trait Limit: Send + Sync {
    /// Takes a permit if there is one at this instant.
    ///
    /// # Errors
    ///
    /// How long from `now` there can be no permit: look again then. Nothing was taken.
    fn try_acquire(&self, now: Instant) -> Result<(), Duration>;

    /// Gives back a permit that was taken at this instant, since nothing came of it. What was promised still holds. By
    /// default the permit is lost.
    fn give_back(&self, taken: Instant) {
        let _ = taken;
    }

    /// True if nothing that was taken before this instant counts any more: a [`fresh`](Self::fresh) one would answer
    /// the same.
    fn is_idle(&self, now: Instant) -> bool;

    /// The same limit with nothing taken: so that each key can have its own.
    fn fresh(&self) -> Box<dyn Limit>;
}

/// A pointer to a limit is that limit.
macro_rules! limit_of_pointer {
    ($($pointer:ident),*) => {$(
        impl<L: Limit + ?Sized> Limit for $pointer<L> {
            fn try_acquire(&self, now: Instant) -> Result<(), Duration> {
                (**self).try_acquire(now)
            }

            fn give_back(&self, taken: Instant) {
                (**self).give_back(taken);
            }

            fn is_idle(&self, now: Instant) -> bool {
                (**self).is_idle(now)
            }

            fn fresh(&self) -> Box<dyn Limit> {
                (**self).fresh()
            }
        }
    )*};
}

limit_of_pointer!(Arc, Box);
