use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::BoxFuture;

/// Lets a runner lease only into slots that somebody else leaves free.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    others: Box<dyn Others>,
    /// Counts the jobs that the runner has.
    held: Mutex<Option<Box<dyn Fn() -> usize + Send>>>,
}

/// Who has the slots first.
pub(crate) trait Others: Send + Sync {
    /// Slots that are free, if the runner has so many.
    fn free(&self, held: usize) -> usize;

    /// Resolves when one may be free, if the runner has so many.
    fn freed(&self, held: usize) -> BoxFuture<'_, ()>;
}

impl Gate {
    pub(crate) fn new(others: impl Others + 'static) -> Self {
        Self(Arc::new(Inner { others: Box::new(others), held: Mutex::default() }))
    }

    /// How many jobs the runner has.
    pub(crate) fn held(&self) -> usize {
        self.counts().as_ref().map_or(0, |held| held())
    }

    /// Says how to count them; `None` when there are none any more.
    pub(super) fn count(&self, held: Option<Box<dyn Fn() -> usize + Send>>) {
        *self.counts() = held;
    }

    fn counts(&self) -> MutexGuard<'_, Option<Box<dyn Fn() -> usize + Send>>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn free(&self, held: usize) -> usize {
        self.0.others.free(held)
    }

    pub(super) async fn freed(&self, held: usize) {
        self.0.others.freed(held).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("held", &self.held()).finish_non_exhaustive()
    }
}
