//! On disk: the store and the worker against raw SQLite doing the same work, WAL and FULL.

pub(crate) mod backlog;
pub(crate) mod bulk;
pub(crate) mod costs;
pub(crate) mod drain;
pub(crate) mod history;
pub(crate) mod mixed;
pub(crate) mod perform;
pub(crate) mod pickup;
pub(crate) mod slow;
mod wal;

use work_core::{QueueWorker, Router};
use work_sqlite::SqliteStore;

use crate::figure::{BoxError, runtime};
use crate::place::Place;

/// What `run` makes of a store of its own.
fn fresh<T>(run: impl AsyncFnOnce(&SqliteStore) -> Result<T, BoxError>) -> Result<T, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let result = runtime.block_on(async { run(&SqliteStore::open(place.file()).await?).await })?;
    drop(runtime);
    place.closed()?;
    Ok(result)
}

/// A worker that only makes jobs.
async fn worker(place: &Place) -> Result<QueueWorker, BoxError> {
    let store = SqliteStore::open(place.file()).await?;
    Ok(QueueWorker::new(store, Router::new().route("noop", async || {})))
}
