use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Worker, log_refused, ticks};
use crate::store::BoxFuture;
use crate::{Clock, Job, JobHandle, JobId, Overlap, PerformError, Schedule};

/// Something that makes jobs until it ends: a schedule, or a source that is received.
///
/// Dropping it lets it go on.
#[derive(Debug, Clone)]
pub struct Recurring {
    /// Ends it.
    stop: CancellationToken,
    /// Fires once it has ended, whatever ended it.
    ended: CancellationToken,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    skipped: AtomicU64,
}

/// What a worker needs to have recurring jobs.
pub(super) trait Recurs: Worker {
    fn clock(&self) -> &Clock;
    fn stopping(&self) -> &CancellationToken;
    fn recurring(&self) -> &TaskTracker;
}

impl Recurring {
    /// Makes no more jobs. Those that were made go on.
    pub fn cancel(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended: cancelled, or its source closed, or its worker stopped.
    ///
    /// # Cancel safety
    ///
    /// Waiting again is fine.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// How many jobs it has made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.counts.made.load(Ordering::Relaxed)
    }

    /// How many runs of a schedule did not take place, since the one before still ran.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.counts.skipped.load(Ordering::Relaxed)
    }

    pub(super) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn count(&self, jobs: usize) {
        self.counts.made.fetch_add(jobs as u64, Ordering::Relaxed);
    }

    /// Runs a task that ends by itself when this is cancelled or its worker stops.
    pub(super) fn spawn<W, F>(worker: &W, task: impl FnOnce(Self) -> F) -> Self
    where
        W: Recurs,
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = worker.stopping().child_token();
        let recurring = Self { stop, ended: CancellationToken::new(), counts: Arc::default() };
        let ended = recurring.ended.clone().drop_guard();
        let task = task(recurring.clone());
        worker.recurring().spawn(async move {
            let _ended = ended;
            task.await;
        });
        recurring
    }
}

/// A first run that is due now is accepted before this returns, so that a job that is refused is refused here.
pub(super) async fn every<W: Recurs>(worker: &W, job: Job, schedule: Schedule) -> Result<Recurring, PerformError> {
    worker.accepts(&job)?;
    super::check_runtime()?;
    let mut runs = Runs::new(worker, job, &schedule);
    let Some(interval) = schedule.interval() else {
        return Ok(Recurring::spawn(worker, async move |recurring| {
            let stop = recurring.stop().clone();
            stop.run_until_cancelled(by_wall(runs, recurring, schedule)).await;
        }));
    };
    let start = Instant::now();
    let first = worker.perform(runs.job.another()).await?;
    Ok(Recurring::spawn(worker, async move |recurring| {
        runs.made(first, &recurring);
        let stop = recurring.stop().clone();
        stop.run_until_cancelled(by_interval(runs, recurring, start, interval)).await;
    }))
}

/// The runs of one schedule.
struct Runs<W> {
    worker: W,
    job: Job,
    overlap: Overlap,
    /// Ends with the last run, where runs must not overlap.
    last: Option<BoxFuture<'static, ()>>,
    /// The last run, where the next one cancels it.
    to_cancel: Option<JobId>,
}

impl<W: Recurs> Runs<W> {
    fn new(worker: &W, job: Job, schedule: &Schedule) -> Self {
        Self { worker: worker.clone(), job, overlap: schedule.overlaps(), last: None, to_cancel: None }
    }

    fn made(&mut self, handle: JobHandle, recurring: &Recurring) {
        recurring.count(1);
        match self.overlap {
            Overlap::Skip => self.last = Some(Box::pin(async move { drop(handle.outcome().await) })),
            Overlap::Cancel => self.to_cancel = Some(handle.id()),
            Overlap::Allow => {}
        }
    }

    /// Waits for the next slot, and sees the last run end meanwhile.
    async fn until<T>(&mut self, slot: impl Future<Output = T>) -> T {
        let mut slot = pin!(slot);
        poll_fn(|cx| {
            if self.last.as_mut().is_some_and(|last| last.as_mut().poll(cx).is_ready()) {
                self.last = None;
            }
            slot.as_mut().poll(cx)
        })
        .await
    }

    /// Makes a run, unless the one before goes on and they must not overlap.
    async fn make(&mut self, recurring: &Recurring) {
        if self.last.is_some() {
            recurring.counts.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Some(id) = self.to_cancel.take()
            && let Err(error) = self.worker.cancel(id).await
        {
            tracing::warn!(%error, job.id = %id, "the run before could not be cancelled");
        }
        match self.worker.perform(self.job.another()).await {
            Ok(handle) => self.made(handle, recurring),
            Err(error) => log_refused(self.job.kind(), &error),
        }
    }
}

async fn by_interval<W: Recurs>(mut runs: Runs<W>, recurring: Recurring, start: Instant, interval: Duration) {
    let mut ticks = ticks(start, interval);
    loop {
        runs.until(ticks.tick()).await;
        runs.make(&recurring).await;
    }
}

/// Follows wall time. Slots that a jump of the clock leaps over are one run; those that come again are none.
async fn by_wall<W: Recurs>(mut runs: Runs<W>, recurring: Recurring, schedule: Schedule) {
    let clock = runs.worker.clock().clone();
    let mut after = clock.now();
    while let Some(slot) = schedule.next_after(after) {
        runs.until(sleep_until(&clock, slot)).await;
        runs.make(&recurring).await;
        after = clock.now().max(slot);
    }
}

/// Sees a jump of the clock within a second.
async fn sleep_until(clock: &Clock, at: DateTime<Utc>) {
    const LOOK: Duration = Duration::from_secs(1);
    while let Some(left) = (at - clock.now()).to_std().ok().filter(|left| !left.is_zero()) {
        tokio::time::sleep(left.min(LOOK)).await;
    }
}
