//! How a job goes through a [`LocalWorker`](super::LocalWorker).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::Run;
use crate::execution::Execution;
use crate::pool::{Execute, Pool};
use crate::router::Routes;
use crate::store::Settlement;
use crate::{Clock, Context, Job, JobHandle, JobId, Outcome, RetryPolicy, Status};

/// What the pool's loops share.
pub(super) struct Local {
    pub(super) routes: Routes,
    pub(super) capacity: usize,
    pub(super) retry: RetryPolicy,
    pub(super) clock: Clock,
    /// Fires when the worker stops: nothing more is accepted, recurring jobs end.
    pub(super) stopping: CancellationToken,
    /// Jobs that are not due yet, so that `cancel` can reach them.
    pub(super) delayed: Mutex<HashMap<JobId, Context>>,
}

/// A job on its way.
pub(super) struct Entry {
    job: Job,
    /// The context of the next execution.
    context: Context,
    attempt: u32,
    /// Where the handle looks: the context of the first execution.
    ticket: Ticket,
}

/// Tells the handle if the job is dropped before it has ended.
struct Ticket(Context);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.completion().abandon();
    }
}

impl Entry {
    pub(super) fn new(job: Job) -> Self {
        let context = Context::of(Run { id: Some(job.id()), attempt: 1, fence: None });
        Self { job, ticket: Ticket(context.clone()), context, attempt: 1 }
    }

    pub(super) fn handle(&self) -> JobHandle {
        JobHandle::local(self.job.id(), self.ticket.0.clone())
    }

    pub(super) fn into_job(self) -> Job {
        self.job
    }
}

impl Execute for Local {
    type Item = Entry;
    type Tag = Context;

    fn tag(entry: &Entry) -> Context {
        entry.context.clone()
    }

    async fn execute(&self, pool: &Pool<Self>, entry: Entry, slot: u32) {
        let Entry { mut job, context, attempt, ticket } = entry;
        if let Some(outcome) = self.refusal(&job, &context) {
            ticket.0.completion().finish(outcome);
            return;
        }
        context.set_worker(slot);
        // Only a job that may run again is copied: the copy makes its args go through JSON.
        let again = job.parts().max_attempts.map(|max| (max, job.clone()));
        job.set_context(context);
        let mut outcome = Execution::start(&self.routes, job).await;
        let then = outcome.take_then();
        match again.map(|(max, job)| (self.retry.decide(&outcome, attempt, max, self.clock.now()), job)) {
            Some((Settlement::Retry { at }, job)) => self.again(pool, job, at, attempt + 1, ticket),
            Some((Settlement::Snooze { at }, job)) => self.again(pool, job, at, attempt, ticket),
            _ => {
                if outcome.status().is_complete() {
                    then.into_iter().for_each(|job| self.follow(pool, job));
                }
                ticket.0.completion().finish(outcome);
            }
        }
    }
}

impl Local {
    /// Why a job is not started at all.
    fn refusal(&self, job: &Job, context: &Context) -> Option<Outcome> {
        if context.is_cancelled() {
            return Some(Outcome::new(Status::CANCELLED));
        }
        let expired = job.parts().expires_at.is_some_and(|at| at <= self.clock.now());
        expired.then(|| Outcome::discard("it expired before it started"))
    }

    fn again(&self, pool: &Pool<Self>, job: Job, at: chrono::DateTime<chrono::Utc>, attempt: u32, ticket: Ticket) {
        let context = Context::of(Run { id: Some(job.id()), attempt, fence: None });
        let delay = (at - self.clock.now()).to_std().unwrap_or_default();
        submit_in(pool, Entry { job: job.fresh(), context, attempt, ticket }, delay);
    }

    fn follow(&self, pool: &Pool<Self>, job: Job) {
        if let Err(error) = self.routes.check_kind(job.kind()) {
            tracing::error!(job.kind = %job.kind(), %error, "a follow-up job was refused");
            return;
        }
        resubmit(pool, Entry::new(job));
    }

    fn delayed(&self) -> MutexGuard<'_, HashMap<JobId, Context>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a job whatever the capacity says: it was accepted before.
fn resubmit(pool: &Pool<Local>, entry: Entry) {
    pool.submit_all([entry]);
}

/// Takes a job once it is due. Until then it holds no slot; if the worker stops first, it is dropped.
pub(super) fn submit_in(pool: &Pool<Local>, entry: Entry, delay: Duration) {
    let pool = pool.clone();
    let (id, context) = (entry.job.id(), entry.context.clone());
    pool.executor().delayed().insert(id, context.clone());
    tokio::spawn(async move {
        let cancelled = context.cancellation();
        let stopping = pool.executor().stopping.clone();
        let due = cancelled.run_until_cancelled(tokio::time::sleep(delay));
        let stopped = stopping.run_until_cancelled(due).await.is_none();
        pool.executor().delayed().remove(&id);
        // A cancelled job is told so where every other one is.
        if !stopped {
            resubmit(&pool, entry);
        }
    });
}

/// The context of a job that is delayed, waits or runs.
pub(super) fn find(pool: &Pool<Local>, id: JobId) -> Option<Context> {
    let delayed = pool.executor().delayed().get(&id).cloned();
    delayed.or_else(|| {
        pool.find(
            |context| (context.job_id() == Some(id)).then(|| context.clone()),
            |entry| (entry.job.id() == id).then(|| entry.context.clone()),
        )
    })
}
