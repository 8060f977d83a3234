use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Recurring;
use super::every::Recurs;
use crate::source::{Receipt, Source};
use crate::{InvalidJob, Job, JobHandle, Kind, PerformError, Status};

/// How a worker takes what a source hands over.
pub(super) trait Accept: Recurs {
    /// How many jobs there is room for; waits for room for one.
    fn room(&self) -> impl Future<Output = usize> + Send;

    /// Takes these jobs, in order. What comes back is empty: each is accepted, or refused and told so.
    fn take(&self, jobs: &mut Vec<(Job, Option<Receipt>)>) -> impl Future<Output = ()> + Send;
}

/// Items that are taken from a source at once, at most.
const AT_ONCE: usize = 256;

/// Takes items only while there is room for them, and accepts all that it took, also when it is stopped.
pub(super) fn receive<W: Accept, T: Source>(worker: &W, kind: Kind, source: T) -> Result<Recurring, PerformError> {
    worker.accepts(&Job::new(kind.clone(), ()))?;
    super::check_runtime()?;
    let accept = worker.clone();
    Ok(Recurring::spawn(worker, async move |recurring| {
        let stop = recurring.stop();
        let mut source = Box::pin(source);
        let mut jobs = Vec::new();
        let mut open = true;
        while open {
            let Some(room) = stop.run_until_cancelled(accept.room()).await else { break };
            let some = poll_fn(|cx| poll_some(source.as_mut(), cx, &kind, room.min(AT_ONCE), &mut jobs));
            let Some(more) = stop.run_until_cancelled(some).await else { break };
            open = more;
            recurring.count(jobs.len());
            accept.take(&mut jobs).await;
        }
    }))
}

/// Ready with what is there, once there is something; false at the end of the source.
fn poll_some<T: Source>(
    mut source: Pin<&mut T>,
    cx: &mut Context<'_>,
    kind: &Kind,
    room: usize,
    jobs: &mut Vec<(Job, Option<Receipt>)>,
) -> Poll<bool> {
    while jobs.len() < room {
        match source.as_mut().poll_receive(cx) {
            Poll::Ready(Some(delivery)) => jobs.push(delivery.into_job(kind.clone())),
            Poll::Ready(None) => return Poll::Ready(false),
            Poll::Pending if jobs.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(true)
}

/// Tells the source how the job of this handle ends.
pub(super) fn tell_later(handle: JobHandle, receipt: Option<Receipt>) {
    let Some(receipt) = receipt else { return };
    tokio::spawn(async move {
        if let Ok(outcome) = handle.outcome().await {
            receipt.tell(outcome.status());
        }
    });
}

/// An item that can never be a job.
pub(super) fn refuse(job: &Job, receipt: Option<Receipt>, error: &InvalidJob) {
    tracing::error!(job.kind = %job.kind(), %error, "an item that was received is refused");
    if let Some(receipt) = receipt {
        receipt.tell(Status::BAD_REQUEST);
    }
}

/// A job that a schedule or a source made and the worker did not take.
pub(crate) fn log_refused(kind: &Kind, error: &PerformError) {
    tracing::error!(job.kind = %kind, %error, "a job was refused");
}
