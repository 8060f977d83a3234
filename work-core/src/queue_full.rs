use crate::Queue;

/// A queue with a [capacity](crate::store::Inspect::bound_queue) that has no room for what was given. Nothing was stored; the
/// same jobs may fit a little later.
///
/// ```
/// use work_core::store::{Inspect, MemoryStore};
/// use work_core::{Job, PerformError, QueueWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// store.bound_queue("mail".into(), Some(1)).await?;
/// let worker = QueueWorker::new(store, Router::new().route("greet", async || {}));
/// worker.perform(Job::new("greet", "Ann").queue("mail")).await?;
///
/// let refused = worker.perform(Job::new("greet", "Bob").queue("mail")).await;
/// let Err(PerformError::QueueFull(full)) = refused else { panic!("{refused:?}") };
/// assert_eq!((full.queue.as_str(), full.capacity, full.depth), ("mail", 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "queue {queue} is full: {depth} of its {capacity} jobs wait or run, and {given} more do not fit; try again later, or \
     raise its capacity"
)]
#[non_exhaustive]
pub struct QueueFull {
    /// Which queue.
    pub queue: Queue,
    /// How many jobs may wait or run in it.
    pub capacity: u32,
    /// How many do, at least.
    pub depth: u64,
    /// How many new ones were given for it.
    pub given: u64,
}

impl QueueFull {
    /// For authors of stores.
    #[must_use]
    pub const fn new(queue: Queue, capacity: u32, depth: u64, given: u64) -> Self {
        Self { queue, capacity, depth, given }
    }

    /// How many jobs would have fitted.
    #[must_use]
    pub fn room(&self) -> u64 {
        u64::from(self.capacity).saturating_sub(self.depth)
    }
}
