use std::time::Instant;

use tokio::sync::mpsc;
use work_sqlite::SqliteStore;

use crate::figure::{Bench, BoxError, Printer, in_turn, runtime, sorted};
use crate::place::Place;
use crate::queued::{self, WARM_UP, seconds};
use crate::raw::{self, PAYLOAD, Row};

pub(crate) const PICKUP: Bench = Bench {
    name: "sqlite_pickup",
    what: "from perform to the handler of an idle worker, p50 and p99, against a raw commit that wakes a task",
    run: pickup,
};

/// Jobs of a run that are timed, one at a time.
const JOBS: usize = 500;

fn pickup(printer: &Printer) -> Result<(), BoxError> {
    printer.ranks("sqlite_pickup", [None, None], &in_turn(ours, raw)?);
    Ok(())
}

fn ours() -> Result<Vec<f64>, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let delays = runtime.block_on(async { queued::pickups(SqliteStore::open(place.file()).await?, JOBS).await })?;
    drop(runtime);
    place.closed()?;
    Ok(delays)
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
        let mut delays = Vec::with_capacity(WARM_UP + JOBS);
        for _ in 0..WARM_UP + JOBS {
            let start = Instant::now();
            writer.send(Row { args: PAYLOAD.to_owned(), reply: reply.clone() }).await?;
            delays.push(seconds(start, started.recv().await)?);
        }
        Ok::<_, BoxError>(delays.split_off(WARM_UP))
    })?;
    drop(runtime);
    place.closed()?;
    Ok(sorted(delays))
}
