use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poll_, Poll};

use futures_util::task::AtomicWaker;

use crate::error::WaitError;
use crate::store::BoxFuture;
use crate::{Context, JobId, Outcome};

/// A job that was accepted. Drop it and the job goes on; await [`outcome`](Self::outcome) to see how it ends.
pub struct JobHandle {
    id: JobId,
    accepted: Accepted,
    wait: Wait,
}

/// What accepting a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is new.
    New,
    /// A job with this id or unique key was there already, and the handle is that job's.
    Duplicate,
}

enum Wait {
    Local(Context),
    Store(Arc<dyn Waits>),
}

/// Who knows the outcome of a stored job.
pub(crate) trait Waits: Send + Sync {
    fn wait(self: Arc<Self>, id: JobId) -> BoxFuture<'static, Result<Outcome, WaitError>>;
}

impl JobHandle {
    pub(crate) fn local(id: JobId, context: Context) -> Self {
        Self { id, accepted: Accepted::New, wait: Wait::Local(context) }
    }

    pub(crate) fn stored(id: JobId, accepted: Accepted, store: Arc<dyn Waits>) -> Self {
        Self { id, accepted, wait: Wait::Store(store) }
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Whether it is new, or was there already.
    #[must_use]
    pub const fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// Waits until the job has ended for good, after its last attempt.
    ///
    /// # Errors
    ///
    /// [`WaitError`] if the worker goes away first, or the store cannot be asked. The job itself may still run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the answer, not the job.
    pub async fn outcome(self) -> Result<Outcome, WaitError> {
        match self.wait {
            Wait::Local(context) => LocalOutcome { id: self.id, context }.await,
            Wait::Store(store) => store.wait(self.id).await,
        }
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("id", &self.id).field("accepted", &self.accepted).finish_non_exhaustive()
    }
}

struct LocalOutcome {
    id: JobId,
    context: Context,
}

impl Future for LocalOutcome {
    type Output = Result<Outcome, WaitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let completion = self.context.completion();
        completion.waiter.register(cx.waker());
        match completion.take() {
            Some(Some(outcome)) => Poll::Ready(Ok(outcome)),
            Some(None) => Poll::Ready(Err(WaitError::WorkerGone(self.id))),
            None => Poll::Pending,
        }
    }
}

/// Where an execution leaves its outcome for the one handle that may wait for it. Part of the context, so that a job
/// costs no allocation for it.
#[derive(Default)]
pub(crate) struct Completion {
    slot: Mutex<Slot>,
    waiter: AtomicWaker,
}

#[derive(Default)]
enum Slot {
    #[default]
    Open,
    Done(Outcome),
    /// Nobody is left to finish it.
    Gone,
}

impl Completion {
    pub(crate) fn finish(&self, outcome: Outcome) {
        self.put(Slot::Done(outcome));
    }

    /// The worker went away; an outcome that is there stays.
    pub(crate) fn abandon(&self) {
        self.put(Slot::Gone);
    }

    fn put(&self, slot: Slot) {
        let mut now = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*now, Slot::Open) {
            *now = slot;
            drop(now);
            self.waiter.wake();
        }
    }

    /// `None` while open, `Some(None)` if it never will be done.
    fn take(&self) -> Option<Option<Outcome>> {
        let mut now = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *now, Slot::Gone) {
            Slot::Open => {
                *now = Slot::Open;
                None
            }
            Slot::Done(outcome) => Some(Some(outcome)),
            Slot::Gone => Some(None),
        }
    }
}
