use bytes::Bytes;

use super::{NewJob, Settle, Settled, Settlement};
use crate::compose::Following;
use crate::{
    BoxError, Context, DEFAULT_MAX_ARGS, IntoOutcome, InvalidJob, Job, JobId, MAX_FOLLOW_UPS, Outcome, Status,
    StoreError,
};

/// The completion of a running job by its own handler, as part of a transaction of the handler. For authors of stores.
///
/// It is what a runner would tell the store at the end of the attempt: the output, the follow-up jobs, the next job of a
/// chain. A store writes [`settle`](Self::settle) as any other settlement, only in a transaction that somebody else ends,
/// and says what came of it. From [`new`](Self::new) on the lease is no longer extended, since its row may be locked.
///
/// ```
/// use work_core::{Args, Context, Job, Outcome, Router, Store, runner::Runner};
/// use work_core::store::{Completing, Inspect, MemoryStore};
///
/// async fn pay(context: Context, store: MemoryStore) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let completing = Completing::new(&context, Outcome::done().with_output("7"))?;
///     // This store has no transactions of others: what it is told is so at once.
///     let answers = store.settle(vec![completing.settle().clone()]).await?;
///     Ok(completing.settled(answers[0])?)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let store = MemoryStore::new();
/// let id = store.insert(vec![Job::new("pay", ()).into_stored(1024)?]).await?[0].id();
/// let inside = store.clone();
/// let router = Router::new().route("pay", move |context: Context| pay(context, inside.clone()));
/// let settled = async {
///     while store.get(id).await.is_ok_and(|job| job.is_some_and(|job| !job.state.is_terminal())) {
///         tokio::time::sleep(std::time::Duration::from_millis(1)).await;
///     }
/// };
/// let report = Runner::new(std::sync::Arc::new(store.clone()), router).run_until(settled).await?;
/// assert_eq!((report.performed, report.stale), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the runner has to know what came of it: call `settled`"]
pub struct Completing {
    settle: Settle,
    outcome: Outcome,
    mark: Mark,
}

/// Keeps the lease from being extended until it is known what came of the completion.
#[derive(Debug)]
struct Mark(Context);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.completing_ended();
    }
}

/// Why a handler could not complete its job in its own transaction, which must be rolled back then.
///
/// A handler may return it: what would be the same the next time makes a dead letter, everything else is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// The lease has passed on: somebody else performs the job, or it was cancelled or deleted.
    #[error("the lease of job {id} is no longer current: roll back")]
    Lost {
        /// Which job.
        id: JobId,
    },
    /// The context is of no job that was leased from a store.
    #[error("there is no lease: only a job that a runner has leased from a store can be completed in a transaction")]
    NoLease,
    /// The outcome is none that completes a job.
    #[error("an outcome with status {} does not complete a job: return it from the handler instead", .0.code())]
    NotCompleted(Status),
    /// The output is larger than the runner keeps.
    #[error("the output has {size} bytes; at most {limit} are kept: store it elsewhere")]
    OutputTooLarge {
        /// Its size in bytes.
        size: usize,
        /// How many are kept.
        limit: usize,
    },
    /// There are more follow-up jobs than one job may have.
    #[error("{given} jobs follow from one; at most {limit}: let one of them insert the others", limit = MAX_FOLLOW_UPS)]
    TooManyFollowUps {
        /// How many there are.
        given: usize,
    },
    /// No store would take one of the follow-up jobs.
    #[error(transparent)]
    FollowUp(#[from] InvalidJob),
    /// The next job of the chain cannot be made.
    #[error(transparent)]
    Chain(BoxError),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CompleteError {
    /// True if the next attempt would fail in the same way.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::OutputTooLarge { .. } | Self::TooManyFollowUps { .. } | Self::Chain(_))
    }
}

impl Completing {
    /// What a handler with this context has to say at its end.
    ///
    /// # Errors
    ///
    /// [`CompleteError`] if the outcome would not complete the job, or what comes with it cannot be kept.
    pub fn new(context: &Context, outcome: impl IntoOutcome) -> Result<Self, CompleteError> {
        let lease = context.lease().ok_or(CompleteError::NoLease)?;
        let mut outcome = outcome.into_outcome();
        if !outcome.is_completed() {
            return Err(CompleteError::NotCompleted(outcome.status()));
        }
        let then = left_behind(&mut outcome, context.following(), lease.max_output)?;
        let settlement = Settlement::Complete { output: outcome.output_json().cloned() };
        let settle = Settle { key: lease.key, status: outcome.status(), settlement, error: None, then };
        let settle = match &lease.seal {
            Some(seal) => seal.seal(settle)?,
            None => settle,
        };
        context.completing_begins();
        Ok(Self { settle, outcome, mark: Mark(context.clone()) })
    }

    /// What the store has to write.
    #[must_use]
    pub const fn settle(&self) -> &Settle {
        &self.settle
    }

    /// Says what the store answered, in the transaction that is still open.
    ///
    /// # Errors
    ///
    /// [`CompleteError::Lost`] if the lease is no longer current.
    pub fn settled(self, answer: Settled) -> Result<(), CompleteError> {
        match answer {
            Settled::Lost => Err(CompleteError::Lost { id: self.settle.key.id }),
            Settled::Done => {
                self.mark.0.completed_in_transaction(self.outcome);
                Ok(())
            }
        }
    }
}

/// The jobs that exist if and only if this one is recorded as completed: those of the outcome, which are taken out, and the
/// next one of its chain.
pub(crate) fn left_behind(
    outcome: &mut Outcome,
    following: Option<&Following>,
    max_output: usize,
) -> Result<Vec<NewJob>, CompleteError> {
    let size = outcome.output_json().map_or(0, Bytes::len);
    if size > max_output {
        return Err(CompleteError::OutputTooLarge { size, limit: max_output });
    }
    let then = outcome.take_then();
    if then.len() > MAX_FOLLOW_UPS {
        return Err(CompleteError::TooManyFollowUps { given: then.len() });
    }
    let stored = |job: Job| job.into_stored(DEFAULT_MAX_ARGS);
    let mut then = then.into_iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    if let Some(following) = following.filter(|_| outcome.is_completed()) {
        then.extend(following.next(outcome.output_json()).map_err(CompleteError::Chain)?);
    }
    Ok(then)
}
