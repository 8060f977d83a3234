use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Poll_, Poll, Waker};

use serde::de::DeserializeOwned;

use crate::error::{OutputError, WaitError};
use crate::store::BoxFuture;
use crate::worker::Delayed;
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
    Local(Ticket),
    Store(Arc<dyn Waits>),
}

/// Whoever keeps the completion of a job in process.
#[derive(Clone)]
pub(crate) enum Ticket {
    /// The context of its first execution.
    Context(Context),
    /// A job that is not due yet, for which there is no context.
    Delayed(Arc<Delayed>),
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

impl Ticket {
    pub(crate) fn completion(&self) -> &Completion {
        match self {
            Self::Context(context) => context.completion(),
            Self::Delayed(delayed) => delayed.completion(),
        }
    }
}

/// Who knows the outcome of a stored job.
pub(crate) trait Waits: Send + Sync {
    fn wait(self: Arc<Self>, id: JobId) -> BoxFuture<'static, Result<Outcome, WaitError>>;
}

impl JobHandle {
    pub(crate) const fn local(id: JobId, accepted: Accepted, ticket: Ticket) -> Self {
        Self { id, accepted, wait: Wait::Local(ticket) }
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
            Wait::Local(ticket) => {
                std::future::poll_fn(|cx| ticket.completion().poll(cx)).await.ok_or(WaitError::WorkerGone(self.id))
            }
            Wait::Store(store) => store.wait(self.id).await,
        }
    }
}

impl JobHandle {
    /// Waits until the job has ended for good, and answers what it returned: `None` if it returned nothing.
    ///
    /// ```
    /// use work_core::{Args, Job, Json, LocalWorker, Router, Worker};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let router = Router::new().route("double", |Args(n): Args<u32>| async move { Json(n * 2) });
    /// let worker = LocalWorker::new(router);
    /// assert_eq!(worker.perform(Job::new("double", 21)).await?.output::<u32>().await?, Some(42));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OutputError`]: the job failed or was cancelled, its output is of another shape, or there is no answer to be had.
    ///
    /// # Cancel safety
    ///
    /// As [`outcome`](Self::outcome).
    pub async fn output<T: DeserializeOwned>(self) -> Result<Option<T>, OutputError> {
        let id = self.id;
        let outcome = self.outcome().await?;
        if outcome.is_completed() {
            return Ok(outcome.output()?);
        }
        let error = outcome.error().map(|error| error.message.clone()).unwrap_or_default();
        Err(OutputError::Failed { id, status: outcome.status(), error })
    }

    /// Waits for the outcome, and answers with it the handle of the job that follows in a chain.
    pub(crate) async fn followed(self, next: Option<JobId>) -> Result<(Outcome, Result<Self, WaitError>), WaitError> {
        let store = match &self.wait {
            Wait::Store(store) => Some(store.clone()),
            Wait::Local(_) => None,
        };
        let gone = WaitError::WorkerGone(next.unwrap_or(self.id));
        let mut outcome = self.outcome().await?;
        let ticket = outcome.take_next();
        let handle = next.and_then(|id| match (store, ticket) {
            (Some(store), _) => Some(Self::stored(id, Accepted::New, store)),
            (None, ticket) => ticket.map(|ticket| Self::local(id, Accepted::New, ticket)),
        });
        Ok((outcome, handle.ok_or(gone)))
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("id", &self.id).field("accepted", &self.accepted).finish_non_exhaustive()
    }
}

/// Where an execution leaves its outcome for the handles that may wait for it. Part of the context, so that a job costs
/// no allocation for it.
#[derive(Default)]
pub(crate) struct Completion(Mutex<Slot>);

/// The common case is one handle, or none.
#[derive(Default)]
enum Slot {
    #[default]
    Open,
    Awaited(Waker),
    /// Several handles may wait: all of them are woken, and none takes the outcome away.
    Shared(Box<Shared>),
    Ended(End),
}

#[derive(Default)]
struct Shared {
    wakers: Vec<Waker>,
    end: Option<End>,
}

/// `None` if nobody is left to finish it, or the outcome was taken.
type End = Option<Outcome>;

impl Completion {
    pub(crate) fn finish(&self, outcome: Outcome) {
        self.put(Some(outcome));
    }

    /// The worker went away; an outcome that is there stays.
    pub(crate) fn abandon(&self) {
        self.put(None);
    }

    /// From now on several handles may wait.
    pub(crate) fn share(&self) {
        let mut slot = self.lock();
        let shared = match std::mem::take(&mut *slot) {
            Slot::Open => Box::default(),
            Slot::Awaited(waker) => Box::new(Shared { wakers: vec![waker], end: None }),
            Slot::Ended(end) => Box::new(Shared { wakers: Vec::new(), end: Some(end) }),
            Slot::Shared(shared) => shared,
        };
        *slot = Slot::Shared(shared);
    }

    /// The first end stays.
    fn put(&self, end: End) {
        let mut slot = self.lock();
        match &mut *slot {
            Slot::Open | Slot::Awaited(_) => {
                let before = std::mem::replace(&mut *slot, Slot::Ended(end));
                drop(slot);
                if let Slot::Awaited(waker) = before {
                    waker.wake();
                }
            }
            Slot::Shared(shared) if shared.end.is_none() => {
                shared.end = Some(end);
                let wakers = std::mem::take(&mut shared.wakers);
                drop(slot);
                wakers.into_iter().for_each(Waker::wake);
            }
            Slot::Shared(_) | Slot::Ended(_) => {}
        }
    }

    /// The outcome, or `Ready(None)` if there never will be one.
    fn poll(&self, cx: &Poll_<'_>) -> Poll<Option<Outcome>> {
        let mut slot = self.lock();
        match &mut *slot {
            Slot::Open | Slot::Awaited(_) => {
                *slot = Slot::Awaited(cx.waker().clone());
                Poll::Pending
            }
            Slot::Shared(shared) => {
                if let Some(end) = &shared.end {
                    return Poll::Ready(end.clone());
                }
                if !shared.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    shared.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
            Slot::Ended(end) => Poll::Ready(end.take()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
