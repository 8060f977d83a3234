use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use work_core::{QueueWorker, Router, Worker};
use work_sqlite::SqliteStore;

use super::job;
use crate::figure::{Bench, BoxError, Pairs, Printer, Unit, in_turn, runtime, sorted};
use crate::place::Place;
use crate::raw::{self, PAYLOAD, Row};

pub(crate) const PICKUP: Bench = Bench {
    name: "sqlite_pickup",
    what: "from perform to the handler of an idle worker, p50 and p99, against a raw commit that wakes a task",
    run: pickup,
};

/// Jobs of a run, one at a time.
const JOBS: usize = 300;

fn pickup(printer: &Printer) -> Result<(), BoxError> {
    let runs = in_turn(ours, raw)?;
    for (name, rank) in [("sqlite_pickup_p50", JOBS / 2), ("sqlite_pickup_p99", JOBS * 99 / 100)] {
        // As rates, so that more is better here too.
        let pairs: Pairs = runs.iter().map(|(ours, raw)| (1.0 / ours[rank], 1.0 / raw[rank])).collect();
        printer.line(name, None, Unit::Micros, &pairs);
    }
    Ok(())
}

/// Seconds from the call to the start of the handler, in ascending order.
fn ours() -> Result<Vec<f64>, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let delays = runtime.block_on(async {
        let (sender, mut started) = mpsc::channel(1);
        let handler = move || {
            let sender = sender.clone();
            async move { sender.send(Instant::now()).await }
        };
        let router = Router::new().route("noop", handler);
        let worker = QueueWorker::new(SqliteStore::open(place.file()).await?, router);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(worker.clone().run_until(async { drop(stopped.await) }));
        let mut delays = Vec::with_capacity(JOBS);
        for _ in 0..JOBS {
            let start = Instant::now();
            let handle = worker.perform(job()).await?;
            delays.push(seconds(start, started.recv().await)?);
            // The worker is idle again once it has reported the end.
            handle.outcome().await?;
        }
        drop(stop);
        running.await??;
        Ok::<_, BoxError>(delays)
    })?;
    drop(runtime);
    place.closed()?;
    Ok(sorted(delays))
}

/// Seconds from the request to the task that is told after the commit, in ascending order.
fn raw() -> Result<Vec<f64>, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let tell = |idle: mpsc::Sender<()>| {
        let _ = idle.blocking_send(());
    };
    let writer = raw::group_commit(raw::open(&place.file())?, tell);
    let delays = runtime.block_on(async move {
        let (reply, mut committed) = mpsc::channel(1);
        let (sender, mut started) = mpsc::channel(1);
        tokio::spawn(async move {
            while committed.recv().await.is_some() {
                let _ = sender.send(Instant::now()).await;
            }
        });
        let mut delays = Vec::with_capacity(JOBS);
        for _ in 0..JOBS {
            let start = Instant::now();
            writer.send(Row { args: PAYLOAD.to_owned(), reply: reply.clone() }).await?;
            delays.push(seconds(start, started.recv().await)?);
        }
        Ok::<_, BoxError>(delays)
    })?;
    drop(runtime);
    place.closed()?;
    Ok(sorted(delays))
}

fn seconds(start: Instant, end: Option<Instant>) -> Result<f64, BoxError> {
    let end = end.ok_or("the job never started")?;
    Ok(end.duration_since(start).as_secs_f64())
}
