use std::future::poll_fn;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls};

use super::{Schema, raw};
use crate::figure::{Bench, BoxError, Printer, in_turn, runtime, sorted};
use crate::queued::{self, WARM_UP, seconds};

pub(crate) const PICKUP: Bench = Bench {
    name: "postgres_pickup",
    what: "from perform to the handler of an idle worker, p50 and p99, against raw insert, NOTIFY and claim",
    run: pickup,
};

/// Jobs of a run that are timed, one at a time.
const JOBS: usize = 500;

/// The goals: at most one and a half times as long, and two and a half times for the slowest of a hundred.
fn pickup(printer: &Printer) -> Result<(), BoxError> {
    printer.ranks("postgres_pickup", [Some(0.67), Some(0.4)], &in_turn(ours, raw)?);
    Ok(())
}

fn ours() -> Result<Vec<f64>, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let delays = runtime.block_on(async { queued::pickups(schema.store().await?, JOBS).await })?;
    runtime.block_on(schema.closed())?;
    Ok(delays)
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
        let mut delays = Vec::with_capacity(WARM_UP + JOBS);
        for _ in 0..WARM_UP + JOBS {
            let start = Instant::now();
            notifying.make().await?;
            delays.push(seconds(start, times.recv().await)?);
        }
        Ok::<_, BoxError>(delays.split_off(WARM_UP))
    })?;
    runtime.block_on(schema.closed())?;
    Ok(sorted(delays))
}
