use std::time::Duration;

use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::board::{Board, End};
use super::sync::{Arc, sleep};
use crate::store::{BoxFuture, LeaseKey, Settle, Settled, Settlement};
use crate::{Backoff, Queue, StoreError};

/// Reports ends to the store: everything that ended while the report before was under way is the next one.
///
/// Ends after the board is closed and empty.
pub(super) async fn run(board: Arc<Board>) {
    loop {
        // Asked first: what is on the board by then is the last there is.
        let closed = board.closed.is_cancelled();
        let ends = board.take_ends();
        if !ends.is_empty() {
            let span = settle_span(&board, ends.len());
            report(&board, ends).instrument(span).await;
        } else if closed {
            return;
        } else {
            // A notification that comes between the look and the wait is kept for us.
            board.closed.run_until_cancelled(board.ended.notified()).await;
        }
    }
}

/// One for each report, named as OpenTelemetry's conventions for messaging have it: `settle`, and the queue if there is one.
/// Without a subscriber it costs a look at a flag.
fn settle_span(board: &Board, jobs: usize) -> Span {
    let queue = || match &*board.settings.queues.names {
        [queue] => Some(queue),
        _ => None,
    };
    tracing::info_span!(
        target: "work_core::runner",
        parent: None,
        "settle",
        otel.kind = "client",
        otel.name = queue().map(|queue| format!("settle {queue}")),
        otel.status_code = Empty,
        messaging.system = "work",
        messaging.operation.name = "settle",
        messaging.operation.type = "settle",
        messaging.destination.name = queue().map(Queue::as_str),
        messaging.batch.message_count = jobs,
        error.type = Empty,
    )
}

/// How often a report is repeated once the runner stops: by then others will take the jobs over.
const LAST_TRIES: u32 = 5;

async fn report(board: &Board, ends: Vec<End>) {
    let batch: Vec<Settle> = ends.iter().map(|end| end.settle.clone()).collect();
    let asked = until_answered(board, || board.store.settle(batch.clone())).await;
    let (answers, unknown) = asked.unwrap_or_else(|error| {
        Span::current().record("otel.status_code", "ERROR").record("error.type", "store");
        tracing::error!(%error, jobs = ends.len(), "jobs ended, but the store has not got it: they will run again");
        (Vec::new(), false)
    });
    let completed = completed_by_handlers(board, ends.iter().zip(&answers)).await;
    board.forget(ends.iter().map(|end| end.settle.key));
    for (end, answer) in ends.into_iter().zip(answers) {
        if completed.contains(&end.settle.key) {
            completed_by_handler(board, &end);
        } else {
            answered(board, end, answer, unknown);
        }
    }
}

/// Asks the store until it answers, or is closed, or the runner has stopped and asked for long enough. Answers also whether
/// an answer was lost before.
async fn until_answered<'s, A>(
    board: &Board,
    ask: impl Fn() -> BoxFuture<'s, Result<A, StoreError>>,
) -> Result<(A, bool), StoreError> {
    let backoff = Backoff::exponential(Duration::from_millis(20), 2.0).cap(Duration::from_secs(2)).jitter(0.5);
    let (mut tries, mut unknown) = (0, false);
    loop {
        match ask().await {
            Ok(answer) => return Ok((answer, unknown)),
            Err(error) if error.is_closed() || (board.closed.is_cancelled() && tries >= LAST_TRIES) => {
                return Err(error);
            }
            Err(error) => {
                tries += 1;
                unknown |= error.is_unknown();
                let delay = backoff.delay(tries);
                tracing::warn!(%error, ?delay, "ends of jobs could not be reported");
                sleep(delay).await;
            }
        }
    }
}

/// Of the ends that were refused, those whose job its handler has completed in a transaction of its own. The settlement was
/// how we found out whether that was committed: had it not been, the lease would have been ours.
async fn completed_by_handlers<'e>(
    board: &Board,
    answers: impl Iterator<Item = (&'e End, &'e Settled)>,
) -> Vec<LeaseKey> {
    let asks = |(end, answer): &(&End, &Settled)| **answer == Settled::Lost && end.context.completed().is_some();
    let keys: Vec<LeaseKey> = answers.filter(asks).map(|(end, _)| end.settle.key).collect();
    if keys.is_empty() {
        return keys;
    }
    until_answered(board, || board.store.completed(keys.clone())).await.unwrap_or_default().0
}

fn completed_by_handler(board: &Board, end: &End) {
    let Settle { key, status, error, .. } = &end.settle;
    if end.released {
        board.was_not_released();
    } else if let Some(error) = error.as_ref().filter(|_| !end.is_well) {
        tracing::warn!(job.id = %key.id, status = status.code(), error = error.message,
            "the handler completed the job in a transaction, and then failed: the job stays completed");
    }
    board.count_performed(1);
    if let Some(outcome) = end.context.completed() {
        board.waiters.resolve(key.id, &outcome);
    }
}

/// `unknown`: an answer to the same report was lost before.
fn answered(board: &Board, end: End, answer: Settled, unknown: bool) {
    let Settle { key, settlement, .. } = end.settle;
    match answer {
        Settled::Lost if unknown => {
            tracing::info!(job.id = %key.id, fence = key.fence.0, "an end was recorded already, or its lease had passed on");
        }
        Settled::Lost => {
            board.count_stale();
            #[cfg(feature = "metrics")]
            metrics::counter!("work_stale_settlements_total").increment(1);
            tracing::warn!(job.id = %key.id, fence = key.fence.0, "a stale end was refused: the lease had passed on");
        }
        Settled::Done => {
            let over = !matches!(settlement, Settlement::Retry { .. } | Settlement::Snooze { .. });
            board.count_performed(u64::from(over || matches!(settlement, Settlement::Retry { .. })));
            if let (true, Some(outcome)) = (over, end.outcome) {
                board.waiters.resolve(key.id, &outcome);
            }
        }
    }
}
