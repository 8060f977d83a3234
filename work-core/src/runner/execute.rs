use tokio::time::Instant;

use super::board::{Board, End, Ending};
use super::groups;
use super::pool::Execute;
use super::sync::Arc;
use super::turns::Ticket;
use crate::compose::Following;
use crate::context::{Leased, Run};
use crate::execution::Execution;
use crate::limit::Gradient;
use crate::router::{LastRoute, Routes};
use crate::store::{CompleteError, ErrorRecord, GROUP_KIND, Lease, LeaseKey, NewJob, Settle, Settlement, left_behind};
use crate::{Context, Job, Kind, Outcome, RetryPolicy, Status};

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
    pub(super) fn new(mut lease: Lease, max_output: usize, ticket: Option<Ticket>) -> Self {
        let job = Some((lease.key.id, lease.job.parts.kind.clone()));
        let max_attempts = RetryPolicy::max_attempts(&lease.job);
        let leased = Leased { key: lease.key, max_output, seal: lease.job.parts.seal.take() };
        let run = Run { job, attempt: lease.attempt, max_attempts, lease: Some(leased), origin: None };
        Self { lease, context: Context::of(run), ticket }
    }

    pub(super) fn into_held(self) -> (LeaseKey, Context) {
        (self.lease.key, self.context)
    }

    pub(super) const fn held(&self) -> (LeaseKey, &Kind, &Context) {
        (self.lease.key, &self.lease.job.parts.kind, &self.context)
    }
}

impl Leases {
    pub(super) const fn new(board: Arc<Board>, routes: Routes) -> Self {
        Self { board, routes }
    }

    /// True if the job was told to stop without anybody wanting it to be cancelled.
    fn goes_back(&self, key: LeaseKey, context: &Context) -> bool {
        context.is_cancelled() && matches!(self.board.ending(key), Some(Ending::Shutdown | Ending::Overdue))
    }

    /// Decides what becomes of the job, and what follows from that.
    fn end(&self, key: LeaseKey, attempt: u32, outcome: Outcome, context: Context) -> End {
        let settings = &self.board.settings;
        let following = context.following();
        let is_well = outcome.is_completed();
        let outcome = if is_well && context.completed().is_some() { not_committed() } else { outcome };
        let (outcome, mut then) = self.followed(outcome, following);
        let settlement = settings.retry.decide(&outcome, attempt, context.max_attempts(), settings.clock.now());
        if !matches!(settlement, Settlement::Complete { .. }) {
            then.clear();
        }
        let kept = (!self.board.waiters.is_empty()).then(|| outcome.clone());
        let status = outcome.status();
        let error = outcome.into_parts().1.or_else(|| silent_failure(&settlement, status));
        if settlement == Settlement::Discard {
            then.extend(following.and_then(|following| following.failed(status, attempt, error.as_ref())));
        }
        End {
            settle: Settle { key, status, settlement, error, then },
            outcome: kept,
            context,
            is_well,
            released: false,
        }
    }

    /// The jobs that follow if this is completed. If they, or the output, cannot be kept, the outcome is another one.
    fn followed(&self, mut outcome: Outcome, following: Option<&Following>) -> (Outcome, Vec<NewJob>) {
        match left_behind(&mut outcome, following, self.board.settings.max_output) {
            Ok(then) => (outcome, then),
            Err(CompleteError::FollowUp(error)) => (Outcome::from_error(error), Vec::new()),
            Err(CompleteError::Chain(error)) => (Outcome::discard(error.to_string()), Vec::new()),
            Err(error) => (Outcome::from_error(error), Vec::new()),
        }
    }
}

/// What an attempt came to whose handler completed the job in a transaction and said that all is well, if the store has not
/// got it: the effect is not there either.
fn not_committed() -> Outcome {
    let why = "the handler completed the job in a transaction, and did not commit it";
    Outcome::new(Status::INTERNAL_ERROR).with_error(ErrorRecord::new(why))
}

/// Every attempt that did not go well leaves a record, also if its outcome says nothing but a status.
fn silent_failure(settlement: &Settlement, status: Status) -> Option<ErrorRecord> {
    let silent = matches!(settlement, Settlement::Retry { .. } | Settlement::Discard);
    silent.then(|| ErrorRecord::new(format!("ended with status {}", status.code())))
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
        let (key, attempt) = (lease.key, lease.attempt);
        if self.goes_back(key, &context) {
            self.board.release(key, context);
            return;
        }
        context.set_worker(slot);
        if self.board.settings.timings {
            let due = lease.job.parts.scheduled_at.map(|due| self.board.settings.clock.now() - due);
            context.start_times(due.and_then(|queued| queued.to_std().ok()).unwrap_or_default());
        }
        context.set_following(Following::of(&lease.job.parts));
        let started = self.board.settings.ramp.is_some().then(Instant::now);
        let is_group = lease.job.parts.kind.as_str() == GROUP_KIND;
        let call = self.board.settings.gradient.as_ref().filter(|_| !is_group).map(Gradient::begin);
        let outcome = if is_group {
            groups::look(&self.board, &lease, &context).await
        } else {
            let mut job = Job::from_stored(lease.job);
            job.set_context(context.clone());
            Execution::run(&self.routes, job, last).await
        };
        if let Some(started) = started {
            self.board.tally.note(outcome.status(), started.elapsed());
        }
        if let Some(call) = call {
            call.end(outcome.status());
        }
        if let Some(admission) = &self.board.settings.admission
            && !is_group
        {
            admission.note(&outcome);
        }
        // A job that ended well while it was told to stop has ended well.
        if !outcome.status().is_complete() && self.goes_back(key, &context) {
            self.board.release(key, context);
            return;
        }
        self.board.end(self.end(key, attempt, outcome, context));
    }
}
