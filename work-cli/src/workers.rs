use comfy_table::Cell;
use serde_json::{Value, json};
use work_core::Queue;
use work_core::store::WorkerInfo;

use crate::cli::WorkersCommand;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::table::{Rows, cell};
use crate::time::{relative, rfc3339};

const HEADINGS: &[&str] = &["HOST", "PID", "VERSION", "RUNNING", "SLOTS", "QUEUES", "STARTED", "LAST BEAT"];

/// What is done with workers.
pub(crate) async fn run(command: &WorkersCommand, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let WorkersCommand::List = command;
    let workers = session.store.workers().await?;
    if out.is_json() {
        return workers.iter().try_for_each(|worker| out.value(&to_json(worker)));
    }
    if workers.is_empty() {
        out.note("No worker was heard of in the last minute: start a program that runs one.");
    }
    table(&workers, session, out)
}

/// Prints workers as a table.
pub(crate) fn table(workers: &[WorkerInfo], session: &Session, out: &mut Out) -> Result<(), CliError> {
    let now = session.now();
    let row = |worker: &WorkerInfo| {
        let queues: Vec<&str> = worker.queues.iter().map(Queue::as_str).collect();
        vec![
            cell(&worker.host),
            Cell::new(worker.pid),
            cell(&worker.version),
            Cell::new(worker.running),
            Cell::new(worker.slots),
            cell(queues.join(",")),
            Cell::new(relative(worker.started_at, now)),
            Cell::new(relative(worker.last_beat, now)),
        ]
    };
    Rows::new(HEADINGS).print(workers.iter().map(row).collect(), out)
}

fn to_json(worker: &WorkerInfo) -> Value {
    json!({
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "queues": worker.queues.iter().map(Queue::as_str).collect::<Vec<_>>(),
        "slots": worker.slots,
        "running": worker.running,
        "started_at": rfc3339(worker.started_at),
        "last_beat": rfc3339(worker.last_beat),
    })
}
