use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::BoxFuture;

/// Lets a runner lease only into slots that somebody else leaves free.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    others: Box<dyn Others>,
    held: AtomicUsize,
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
        Self(Arc::new(Inner { others: Box::new(others), held: AtomicUsize::new(0) }))
    }

    /// How many jobs the runner had when it looked last.
    pub(crate) fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    pub(super) fn free(&self, held: usize) -> usize {
        self.0.held.store(held, Ordering::Relaxed);
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
