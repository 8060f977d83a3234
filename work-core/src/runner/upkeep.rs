//! What has to be done all the time, beside keeping leases: say that we live, hear who is to stop, tell how far jobs are,
//! make the jobs of schedules, forget what is old.

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join5;
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::schedules;
use crate::StoreError;
use crate::store::WorkerInfo;

/// How often the store is asked whether a job is to stop, while there is one.
const STOPS: Duration = Duration::from_millis(500);

/// How often the progress of jobs is told, where there is news.
const PROGRESS: Duration = Duration::from_secs(1);

/// How often we say that we live: several times in the minute after which we would count as gone.
const BEAT: Duration = Duration::from_secs(15);

/// When we say so first. A runner that is gone before that need not be known.
const FIRST_BEAT: Duration = Duration::from_millis(500);

/// How often to look for jobs that are no longer to be kept.
const PRUNE: Duration = Duration::from_secs(60);

/// Between two batches, if there is more to forget.
const PRUNE_ON: Duration = Duration::from_millis(20);

/// When to look first, since others may do so already.
const FIRST_PRUNE: Duration = Duration::from_secs(5);

/// Jobs that are forgotten at a time.
const PRUNE_BATCH: usize = 1_000;

/// How long a store that fails is left alone by what asks often.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// How long a store may take for any of this.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn keep_up(board: &Board) {
    join5(stops(board), progress(board), beats(board), prunes(board), schedules::run(board)).await;
}

/// The answer, unless the store fails or takes too long; then that is logged.
pub(super) async fn answer<T>(what: &str, call: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    let failed = |error: &dyn Display| tracing::warn!(%error, "{what}");
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&"the store did not answer in time"),
    }
    None
}

async fn stops(board: &Board) {
    loop {
        // At once, if this process cancelled the job.
        let _ = timeout(STOPS, board.cancelled.notified()).await;
        if board.holds_any() {
            match answer("nobody could be asked which jobs are to stop", board.store.stop_requests()).await {
                Some(asked) => board.stop(&asked),
                None => sleep(AGAIN).await,
            }
        }
    }
}

async fn progress(board: &Board) {
    loop {
        sleep(PROGRESS.min(board.settings.lease_for / 3)).await;
        let news = board.take_progress();
        if !news.is_empty() {
            answer("the progress of jobs could not be told", board.store.set_progress(news)).await;
        }
    }
}

async fn beats(board: &Board) {
    sleep(FIRST_BEAT).await;
    loop {
        if answer("the store could not be told that this worker lives", board.store.beat(info(board))).await.is_some() {
            board.is_known.store(true, Ordering::Relaxed);
        }
        sleep(BEAT).await;
    }
}

fn info(board: &Board) -> WorkerInfo {
    let settings = &board.settings;
    let mut info = WorkerInfo::new(settings.worker.as_str());
    info.host = super::host();
    info.pid = std::process::id();
    info.version.clone_from(&settings.version);
    info.queues.clone_from(&settings.queues.names);
    info.slots = settings.slots();
    info.running = board.count_held();
    info
}

/// Says good-bye, if anybody was told of us. Who stops does not wait long for that.
pub(super) async fn leave(board: &Board) {
    const PATIENCE: Duration = Duration::from_secs(1);
    if board.is_known.load(Ordering::Relaxed) {
        let _ = timeout(PATIENCE, board.store.leave(board.settings.worker.clone())).await;
    }
}

async fn prunes(board: &Board) {
    let retention = board.settings.retention;
    if retention.is_forever() {
        return;
    }
    sleep(FIRST_PRUNE).await;
    loop {
        let pruned = answer("old jobs could not be forgotten", board.store.prune(retention, PRUNE_BATCH)).await;
        let more = pruned.is_some_and(|pruned| pruned >= PRUNE_BATCH as u64);
        sleep(if more { PRUNE_ON } else { PRUNE }).await;
    }
}
