use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use futures_core::Stream;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::{Job, JobHandle, JobId, Kind, Overlap, PerformError, Schedule};

/// Something that makes jobs until it ends: a schedule, or a stream that is received.
///
/// Dropping it lets it go on.
#[derive(Debug, Clone)]
pub struct Recurring {
    /// Ends it.
    stop: CancellationToken,
    /// Fires once it has ended, whatever ended it.
    ended: CancellationToken,
}

impl Recurring {
    /// Makes no more jobs. Those that were made go on.
    pub fn cancel(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended: cancelled, or its stream closed, or its worker stopped.
    ///
    /// # Cancel safety
    ///
    /// Waiting again is fine.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Runs `task` until it ends by itself, or this is cancelled, or the worker's token fires.
    fn spawn(worker: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) -> Self {
        let recurring = Self { stop: worker.child_token(), ended: CancellationToken::new() };
        let Self { stop, ended } = recurring.clone();
        tokio::spawn(async move {
            let _ended = ended.drop_guard();
            stop.run_until_cancelled(task).await;
        });
        recurring
    }
}

/// The first run is accepted before this returns, so that a job that is refused is refused here.
pub(super) async fn every<W: Worker>(
    worker: &W,
    stop: &CancellationToken,
    job: Job,
    schedule: Schedule,
) -> Result<Recurring, PerformError> {
    let (worker, start) = (worker.clone(), Instant::now());
    let mut last = Some(worker.perform(next_run(&job)).await?);
    Ok(Recurring::spawn(stop, async move {
        let mut ticks = tokio::time::interval_at(start + schedule.interval(), schedule.interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            if let (Overlap::Skip, Some(handle)) = (schedule.overlaps(), last.take()) {
                let _ = handle.outcome().await;
                // Runs that fell due meanwhile are not made up for.
                while std::future::poll_fn(|cx| Poll::Ready(ticks.poll_tick(cx).is_ready())).await {}
            }
            ticks.tick().await;
            last = perform_or_log(&worker, next_run(&job)).await;
        }
    }))
}

fn next_run(job: &Job) -> Job {
    job.clone().with_id(JobId::new()).fresh()
}

/// Takes the next item only when the one before it was accepted.
pub(super) fn receive<W, T>(worker: &W, stop: &CancellationToken, kind: Kind, items: T) -> Recurring
where
    W: Worker,
    T: Stream<Item: Serialize + Send + Sync + 'static> + Send + 'static,
{
    let worker = worker.clone();
    Recurring::spawn(stop, async move {
        let mut items = pin!(items);
        while let Some(item) = std::future::poll_fn(|cx| items.as_mut().poll_next(cx)).await {
            drop(perform_or_log(&worker, Job::new(kind.clone(), item)).await);
        }
    })
}

async fn perform_or_log<W: Worker>(worker: &W, job: Job) -> Option<JobHandle> {
    let kind = job.kind().clone();
    worker.perform(job).await.inspect_err(|error| tracing::error!(job.kind = %kind, %error, "a job was refused")).ok()
}
