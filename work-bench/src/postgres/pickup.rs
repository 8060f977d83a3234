use std::future::poll_fn;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{AsyncMessage, NoTls};
use work_core::{QueueWorker, Router, Worker};

use super::{Schema, job, raw};
use crate::figure::{Bench, BoxError, Pairs, Printer, Unit, in_turn, runtime, sorted};

pub(crate) const PICKUP: Bench = Bench {
    name: "postgres_pickup",
    what: "from perform to the handler of an idle worker, p50 and p99, against raw insert, NOTIFY and claim",
    run: pickup,
};

/// Jobs of a run, one at a time.
const JOBS: usize = 300;

/// The goals: at most one and a half times as long, and two and a half times for the slowest of a hundred.
fn pickup(printer: &Printer) -> Result<(), BoxError> {
    let runs = in_turn(ours, raw)?;
    for (name, goal, rank) in [("postgres_pickup_p50", 0.67, JOBS / 2), ("postgres_pickup_p99", 0.4, JOBS * 99 / 100)] {
        // As rates, so that more is better here too.
        let pairs: Pairs = runs.iter().map(|(ours, raw)| (1.0 / ours[rank], 1.0 / raw[rank])).collect();
        printer.line(name, Some(goal), Unit::Micros, &pairs);
    }
    Ok(())
}

/// Seconds from the call to the start of the handler, in ascending order.
fn ours() -> Result<Vec<f64>, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let delays = runtime.block_on(async {
        let (sender, mut started) = mpsc::channel(1);
        let handler = move || {
            let sender = sender.clone();
            async move { sender.send(Instant::now()).await }
        };
        let worker = QueueWorker::new(schema.store().await?, Router::new().route("noop", handler));
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
    runtime.block_on(schema.closed())?;
    Ok(sorted(delays))
}

/// Seconds from the insert to the rows of the claim, which another connection makes when it is told.
fn raw() -> Result<Vec<f64>, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let delays = runtime.block_on(async {
        let client = raw::open(&schema).await?;
        let (listener, mut connection) = tokio_postgres::connect(&schema.url, NoTls).await?;
        let (sender, mut told) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message {
                    let _ = sender.send(()).await;
                }
            }
        });
        listener.batch_execute(&format!("LISTEN {}", schema.name)).await?;
        let taker = raw::Taker::new(&schema, schema.connect().await?).await?;
        let notifying = raw::Maker::new(&schema, &client).await?;
        let (taken, mut times) = mpsc::channel(1);
        tokio::spawn(async move {
            while told.recv().await.is_some() {
                if taker.take().await? > 0 {
                    taken.send(Instant::now()).await?;
                }
            }
            Ok::<_, BoxError>(())
        });
        let mut delays = Vec::with_capacity(JOBS);
        for _ in 0..JOBS {
            let start = Instant::now();
            notifying.make().await?;
            delays.push(seconds(start, times.recv().await)?);
        }
        Ok::<_, BoxError>(delays)
    })?;
    runtime.block_on(schema.closed())?;
    Ok(sorted(delays))
}

fn seconds(start: Instant, end: Option<Instant>) -> Result<f64, BoxError> {
    let end = end.ok_or("the job never started")?;
    Ok(end.duration_since(start).as_secs_f64())
}
