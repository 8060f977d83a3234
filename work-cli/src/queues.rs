use comfy_table::Cell;
use serde_json::{Value, json};
use work_core::store::QueueInfo;
use work_core::{JobState, Queue};

use crate::cli::{QueueArgs, QueuesCommand};
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::table::{Rows, alarming, cell, notable};
use crate::text;
use crate::time::{rfc3339, rough};

const HEADINGS: &[&str] =
    &["QUEUE", "AVAILABLE", "RUNNING", "DEAD", "CANCELLED", "OLDEST READY", "AT MOST", "CAPACITY", "PAUSED"];

/// What is done with queues.
pub(crate) async fn run(command: QueuesCommand, session: &Session, out: &mut Out) -> Result<(), CliError> {
    match command {
        QueuesCommand::List => list(session, out).await,
        QueuesCommand::Pause(args) => {
            known(&args, session).await?;
            let changed = session.store.pause(args.queue.clone()).await?;
            answer(&args.queue, "paused", changed, out)
        }
        QueuesCommand::Resume(args) => {
            known(&args, session).await?;
            let changed = session.store.resume(args.queue.clone()).await?;
            answer(&args.queue, "resumed", changed, out)
        }
        QueuesCommand::Limit(args) => {
            known(&args.queue, session).await?;
            let (queue, at_most) = (args.queue.queue, args.at_most.0);
            let before = session.store.limit_queue(queue.clone(), at_most).await?;
            let changed = before != at_most;
            let json = json!({ "queue": queue.as_str(), "at_most": at_most, "before": before, "changed": changed });
            let words = |limit: Option<u32>| limit.map_or_else(|| "any number".to_owned(), |n| format!("at most {n}"));
            let now = if changed { format!("now, before {}", words(before)) } else { "already".to_owned() };
            out.answer(&json, &format!("queue {queue}: {} at once {now}", words(at_most)))
        }
        QueuesCommand::Bound(args) => {
            known(&args.queue, session).await?;
            let (queue, capacity) = (args.queue.queue, args.capacity.0);
            let before = session.store.bound_queue(queue.clone(), capacity).await?;
            let changed = before != capacity;
            let json = json!({ "queue": queue.as_str(), "capacity": capacity, "before": before, "changed": changed });
            let words =
                |jobs: Option<u32>| jobs.map_or_else(|| "any number of jobs".to_owned(), |n| format!("{n} jobs"));
            let now = if changed { format!("now, before {}", words(before)) } else { "already".to_owned() };
            out.answer(&json, &format!("queue {queue}: {} may wait or run {now}", words(capacity)))
        }
    }
}

async fn list(session: &Session, out: &mut Out) -> Result<(), CliError> {
    let queues = session.store.queues().await?;
    if out.is_json() {
        return queues.iter().try_for_each(|queue| out.value(&to_json(queue)));
    }
    if queues.is_empty() {
        out.note("No queue holds a job that has not ended well, is paused, or is drained by a worker.");
    }
    table(&queues, session, out)
}

/// Prints queues as a table.
pub(crate) fn table(queues: &[QueueInfo], session: &Session, out: &mut Out) -> Result<(), CliError> {
    let now = session.now();
    let row = |info: &QueueInfo| {
        let paused = info.paused_at.map(|at| crate::time::relative(at, now));
        vec![
            cell(info.queue.as_str()),
            Cell::new(info.counts.of(JobState::Available)),
            Cell::new(info.counts.of(JobState::Running)),
            alarming(info.counts.of(JobState::Discarded)),
            Cell::new(info.counts.of(JobState::Cancelled)),
            Cell::new(info.oldest_ready_for.map_or_else(|| "-".to_owned(), rough)),
            Cell::new(info.at_most.map_or_else(|| "-".to_owned(), |n| n.to_string())),
            Cell::new(info.capacity.map_or_else(|| "-".to_owned(), |n| n.to_string())),
            paused.map_or_else(|| cell("-"), notable),
        ]
    };
    Rows::new(HEADINGS).print(queues.iter().map(row).collect(), out)
}

/// A queue as `--json` prints it.
pub(crate) fn to_json(info: &QueueInfo) -> Value {
    json!({
        "queue": info.queue.as_str(),
        "available": info.counts.of(JobState::Available),
        "running": info.counts.of(JobState::Running),
        "discarded": info.counts.of(JobState::Discarded),
        "cancelled": info.counts.of(JobState::Cancelled),
        "oldest_ready_ms": info.oldest_ready_for.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        "at_most": info.at_most,
        "capacity": info.capacity,
        "paused_at": info.paused_at.map(rfc3339),
    })
}

/// Refuses a name that is probably misspelt.
async fn known(args: &QueueArgs, session: &Session) -> Result<(), CliError> {
    let queues = session.store.queues().await?;
    if args.force || queues.iter().any(|info| info.queue == args.queue) {
        return Ok(());
    }
    let meant = text::did_you_mean(args.queue.as_str(), queues.iter().map(|info| info.queue.as_str()));
    let how = "--force does it all the same, `work queues list` shows them";
    Err(CliError::not_found(format!("there is no queue `{}`{meant}; {how}", args.queue)))
}

fn answer(queue: &Queue, done: &str, changed: bool, out: &mut Out) -> Result<(), CliError> {
    let before = if changed { "" } else { " already" };
    let answer = json!({ "queue": queue.as_str(), "outcome": done, "changed": changed });
    out.answer(&answer, &format!("queue {queue} {done}{before}"))
}
