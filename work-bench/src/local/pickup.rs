use std::time::Instant;

use tokio::sync::mpsc;
use work_core::{Args, Job, LocalWorker, Router, Worker};

use crate::figure::{Bench, BoxError, Printer, in_turn, runtime, sorted};

pub(crate) const PICKUP: Bench = Bench {
    name: "local_pickup",
    what: "from perform to the handler of an idle worker, p50 and p99, against a channel and a waiting task",
    run: pickup,
};

/// Jobs of a run, one at a time.
const JOBS: usize = 20_000;

fn pickup(printer: &Printer) -> Result<(), BoxError> {
    // Twice the time is half of the rate.
    printer.ranks("local_pickup", [Some(0.5), Some(0.5)], &in_turn(ours, raw)?);
    Ok(())
}

/// Seconds from the call to the start of the handler, in ascending order.
fn ours() -> Result<Vec<f64>, BoxError> {
    runtime()?.block_on(async {
        let (sender, mut started) = mpsc::channel(1);
        let handler = move |Args(start): Args<Stamp>| {
            let delay = start.0.elapsed();
            let sender = sender.clone();
            async move { sender.send(delay).await }
        };
        let worker = LocalWorker::new(Router::new().route("stamp", handler));
        let mut delays = Vec::with_capacity(JOBS);
        for _ in 0..JOBS {
            drop(worker.perform(Job::new("stamp", Stamp(Instant::now()))).await?);
            delays.push(started.recv().await.ok_or("the job never started")?.as_secs_f64());
        }
        Ok(sorted(delays))
    })
}

fn raw() -> Result<Vec<f64>, BoxError> {
    runtime()?.block_on(async {
        let (sender, mut started) = mpsc::channel(1);
        let (to_task, mut from_us) = mpsc::channel::<Stamp>(1);
        tokio::spawn(async move {
            while let Some(start) = from_us.recv().await {
                let _ = sender.send(start.0.elapsed()).await;
            }
        });
        let mut delays = Vec::with_capacity(JOBS);
        for _ in 0..JOBS {
            to_task.send(Stamp(Instant::now())).await?;
            delays.push(started.recv().await.ok_or("the task is gone")?.as_secs_f64());
        }
        Ok(sorted(delays))
    })
}

/// An instant has no JSON form, and in process needs none.
struct Stamp(Instant);

impl serde::Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self(Instant::now()))
    }
}
