use std::io;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::event::{End, What};
use super::recorder::Recorder;
use crate::store::{BoxFuture, Inserted, Inspect, LeaseKey, Leased, NewJob, Settle, Settled, Settlement, Store, Want};
use crate::{JobId, Queue, StoreError};

/// A store that writes down what it is asked and what it answers: inserts, leases and settlements.
///
/// A job is `offered` before it is inserted, also if it follows another one; the rest is written when the store has answered,
/// with the instant before it was asked.
///
/// ```
/// use work_core::testing::history::{End, History, RecordedStore, Recorder, What};
/// use work_core::{Clock, Job, JobId, QueueWorker, Router, Worker, store::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let file = std::env::temp_dir().join(format!("recorded-{}", JobId::new()));
/// let store = RecordedStore::new(MemoryStore::new(), Recorder::append(&file, Clock::system())?);
/// let worker = QueueWorker::new(store, Router::new().route("mail", async || {}));
/// let handle = worker.perform(Job::new("mail", ())).await?;
/// let id = handle.id();
/// worker.clone().run_until(async { drop(handle.outcome().await) }).await?;
///
/// let history = History::read([&file])?;
/// let last = history.lines().last().ok_or("no line")?;
/// assert_eq!(last.event.what, What::Settled { job: id, fence: 1, end: End::Completed });
/// # std::fs::remove_file(file)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RecordedStore<S> {
    store: S,
    recorder: Recorder,
}

impl<S> RecordedStore<S> {
    /// Records what happens to a store.
    pub const fn new(store: S, recorder: Recorder) -> Self {
        Self { store, recorder }
    }

    /// Before the store is asked. A history with a gap would accuse the store, so nothing is done without a line.
    fn announce(&self, what: impl Iterator<Item = What>) -> Result<DateTime<Utc>, StoreError> {
        let now = self.recorder.now();
        let noted = self.recorder.note_since(now, what);
        noted.map_err(unwritten).map(|()| now)
    }

    /// After the store has answered: what it did is done, whether it can be written down or not.
    fn answered(&self, since: DateTime<Utc>, what: impl IntoIterator<Item = What>) {
        if let Err(error) = self.recorder.note_since(since, what) {
            tracing::error!(%error, "the history has a gap");
        }
    }
}

fn unwritten(error: io::Error) -> StoreError {
    StoreError::rejected("the history cannot be written", error)
}

fn inserted((id, inserted): (&JobId, &Inserted)) -> What {
    match *inserted {
        Inserted::Duplicate(holder) if holder != *id => What::Duplicate { job: *id, holder },
        Inserted::New(_) | Inserted::Duplicate(_) => What::Accepted { job: *id },
    }
}

fn end(settlement: &Settlement) -> End {
    match settlement {
        Settlement::Complete { .. } => End::Completed,
        Settlement::Retry { .. } => End::Retried,
        Settlement::Snooze { .. } => End::GivenBack,
        Settlement::Discard => End::Discarded,
        Settlement::Cancel => End::Cancelled,
    }
}

impl<S: Store> Store for RecordedStore<S> {
    crate::forward_upkeep!(self => self.store);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        Box::pin(async move {
            let since = self.announce(jobs.iter().map(|job| What::offer(&job.parts)))?;
            let ids: Vec<JobId> = jobs.iter().map(|job| job.parts.id).collect();
            let answer = self.store.insert(jobs).await;
            match &answer {
                Ok(answers) => self.answered(since, ids.iter().zip(answers).map(inserted)),
                Err(error) if error.is_unknown() => {}
                Err(_) => self.answered(since, ids.into_iter().map(|job| What::Refused { job })),
            }
            answer
        })
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move {
            let since = self.recorder.now();
            let leased = self.store.lease(want).await?;
            let lines = leased.jobs.iter().map(|lease| What::Leased {
                job: lease.key.id,
                fence: lease.key.fence.0,
                attempt: lease.attempt,
                until: lease.until,
            });
            self.answered(since, lines);
            Ok(leased)
        })
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        Box::pin(async move {
            let since = self.recorder.now();
            let held = self.store.extend(leases, lease_for).await?;
            // The store counts from when it was asked, or later, and may do so in milliseconds.
            let lease_for = TimeDelta::from_std(lease_for).unwrap_or(TimeDelta::zero());
            let until = since + lease_for - TimeDelta::milliseconds(1);
            let extended = |key: &LeaseKey| What::Extended { job: key.id, fence: key.fence.0, until };
            self.answered(since, held.iter().map(extended));
            Ok(held)
        })
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(async move {
            let follow = done.iter().flat_map(|done| &done.then).map(|job| What::offer(&job.parts));
            let settling = |done: &Settle| What::Settling { job: done.key.id, fence: done.key.fence.0 };
            let since = self.announce(follow.chain(done.iter().map(settling)))?;
            let ends: Vec<(LeaseKey, End)> = done.iter().map(|done| (done.key, end(&done.settlement))).collect();
            let answers = self.store.settle(done).await?;
            let lines = ends.iter().zip(&answers).map(|((key, end), answer)| match answer {
                Settled::Done => What::Settled { job: key.id, fence: key.fence.0, end: *end },
                Settled::Lost => What::Stale { job: key.id, fence: key.fence.0 },
            });
            self.answered(since, lines);
            Ok(answers)
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl<S: Inspect> Inspect for RecordedStore<S> {
    crate::forward_inspect!(self => self.store);
}
