use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::board::{Board, End, Ending};
use super::groups;
use super::turns::Ticket;
use crate::compose::Following;
use crate::context::Run;
use crate::execution::Execution;
use crate::pool::Execute;
use crate::router::{LastRoute, Routes};
use crate::store::{ErrorRecord, GROUP_KIND, Lease, LeaseKey, NewJob, Settle, Settlement};
use crate::{Context, DEFAULT_MAX_ARGS, InvalidJob, Job, Kind, Outcome, RetryPolicy, Status};

/// Performs leased jobs and decides what becomes of them.
pub(super) struct Leases {
    board: Arc<Board>,
    routes: Routes,
}

/// A leased job and the context of its execution.
pub(super) struct Item {
    lease: Lease,
    context: Context,
    /// Counts it among those of its queue that run here.
    ticket: Option<Ticket>,
}

impl Item {
    pub(super) fn new(lease: Lease, ticket: Option<Ticket>) -> Self {
        let job = Some((lease.key.id, lease.job.parts.kind.clone()));
        let max_attempts = RetryPolicy::max_attempts(&lease.job);
        let run = Run { job, attempt: lease.attempt, max_attempts, fence: Some(lease.key.fence), origin: None };
        Self { lease, context: Context::of(run), ticket }
    }

    pub(super) const fn key(&self) -> LeaseKey {
        self.lease.key
    }

    pub(super) const fn held(&self) -> (LeaseKey, &Kind, &Context) {
        (self.lease.key, &self.lease.job.parts.kind, &self.context)
    }
}

impl Leases {
    pub(super) const fn new(board: Arc<Board>, routes: Routes) -> Self {
        Self { board, routes }
    }

    /// Decides what becomes of the job, and what follows from that.
    fn end(&self, key: LeaseKey, (attempt, most): (u32, u32), outcome: Outcome, following: Option<&Following>) -> End {
        let settings = &self.board.settings;
        let (outcome, mut then) = self.followed(outcome, following);
        let settlement = settings.retry.decide(&outcome, attempt, most, settings.clock.now());
        if !matches!(settlement, Settlement::Complete { .. }) {
            then.clear();
        }
        let kept = (!self.board.waiters.is_empty()).then(|| outcome.clone());
        let status = outcome.status();
        let error = outcome.into_parts().1.or_else(|| silent_failure(&settlement, status));
        if settlement == Settlement::Discard {
            then.extend(following.and_then(|following| following.failed(status, attempt, error.as_ref())));
        }
        End { settle: Settle { key, status, settlement, error, then }, outcome: kept }
    }

    /// The jobs that follow if this is completed. If they, or the output, cannot be kept, the outcome is another one.
    fn followed(&self, mut outcome: Outcome, following: Option<&Following>) -> (Outcome, Vec<NewJob>) {
        let (size, limit) = (outcome.output_json().map_or(0, Bytes::len), self.board.settings.max_output);
        if size > limit {
            let why = format!("the output has {size} bytes; at most {limit} are kept: store it elsewhere");
            return (Outcome::discard(why).with_status(Status::INTERNAL_ERROR), Vec::new());
        }
        let mut then = match stored(outcome.take_then()) {
            Ok(then) => then,
            Err(error) => return (Outcome::from_error(error), Vec::new()),
        };
        if let Some(following) = following.filter(|_| outcome.is_completed()) {
            match following.next(outcome.output_json()) {
                Ok(next) => then.extend(next),
                Err(error) => return (Outcome::discard(error.to_string()), Vec::new()),
            }
        }
        (outcome, then)
    }
}

/// Every attempt that did not go well leaves a record, also if its outcome says nothing but a status.
fn silent_failure(settlement: &Settlement, status: Status) -> Option<ErrorRecord> {
    let silent = matches!(settlement, Settlement::Retry { .. } | Settlement::Discard);
    silent.then(|| ErrorRecord::new(format!("ended with status {}", status.code())))
}

fn stored(jobs: Vec<Job>) -> Result<Vec<NewJob>, InvalidJob> {
    jobs.into_iter().map(|job| job.into_stored(DEFAULT_MAX_ARGS)).collect()
}

impl Execute for Leases {
    type Item = Item;
    type Tag = ();
    type Book = ();
    type End = ();
    type Local = LastRoute;

    fn tag(_: &mut Item) {}

    async fn execute(&self, item: Item, slot: u32, last: &mut LastRoute) {
        let Item { lease, context, ticket: _ticket } = item;
        let (key, attempt, max_attempts) = (lease.key, lease.attempt, context.max_attempts());
        context.set_worker(slot);
        if self.board.settings.timings {
            let due = lease.job.parts.scheduled_at.map(|due| self.board.settings.clock.now() - due);
            context.start_times(due.and_then(|queued| queued.to_std().ok()).unwrap_or_default());
        }
        let following = Following::of(&lease.job.parts);
        let started = self.board.settings.ramp.is_some().then(Instant::now);
        let outcome = if lease.job.parts.kind.as_str() == GROUP_KIND {
            groups::look(&self.board, &lease, &context).await
        } else {
            let mut job = Job::from_stored(lease.job);
            job.set_context(context.clone());
            Execution::run(&self.routes, job, last).await
        };
        if let Some(started) = started {
            self.board.tally.note(outcome.status(), started.elapsed());
        }
        let ending = if context.is_cancelled() { self.board.ending(key) } else { None };
        // A job that ended well while it was told to stop has ended well.
        if ending == Some(Ending::Shutdown) && !outcome.status().is_complete() {
            self.board.release(key);
            return;
        }
        self.board.end(self.end(key, (attempt, max_attempts), outcome, following.as_deref()));
    }
}
