use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::Limit;

/// Waits for permits of a [`Limit`], in the order of asking. Cheap to clone; every clone is the same queue.
///
/// Only the first in the queue has a timer.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_core::limit::{Gcra, Limiter};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), work_core::limit::InvalidLimit> {
/// let limit = Limiter::new(Gcra::new(1, Duration::from_secs(1))?);
/// let start = Instant::now();
/// for _ in 0..3 {
///     limit.acquire().await;
/// }
/// assert_eq!(start.elapsed(), Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    limit: Box<dyn Limit>,
    /// One permit, held by the first in the queue; tokio's semaphore is fair.
    turn: Semaphore,
}

/// The least wait: a limit that says "now" and "no" at once does not make a busy loop.
const TICK: Duration = Duration::from_millis(1);

impl Limiter {
    /// A queue for permits of this limit.
    pub fn new(limit: impl Limit + 'static) -> Self {
        Self { shared: Arc::new(Shared { limit: Box::new(limit), turn: Semaphore::new(1) }) }
    }

    /// Waits for a permit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no permit, and gives the place in the queue to the next.
    pub async fn acquire(&self) {
        // The semaphore is never closed.
        let _turn = self.shared.turn.acquire().await;
        while let Err(after) = self.try_acquire() {
            sleep(after.max(TICK)).await;
        }
    }

    /// Takes a permit if there is one now. It does not look at the queue.
    ///
    /// # Errors
    ///
    /// How long there can be no permit. Nothing was taken.
    pub fn try_acquire(&self) -> Result<(), Duration> {
        self.shared.limit.try_acquire(Instant::now())
    }

    /// True if nobody waits, and nothing that was taken counts any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.turn.available_permits() == 1 && self.shared.limit.is_idle(Instant::now())
    }

    /// The same limit with nothing taken, and a queue of its own.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self::new(self.shared.limit.fresh())
    }
}

impl<L: Limit + 'static> From<L> for Limiter {
    fn from(limit: L) -> Self {
        Self::new(limit)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("idle", &self.is_idle()).finish_non_exhaustive()
    }
}
