//! On disk: the store and the worker against raw SQLite doing the same work, WAL and FULL.

pub(crate) mod backlog;
pub(crate) mod bulk;
pub(crate) mod drain;
pub(crate) mod perform;
pub(crate) mod pickup;

use work_core::{QueueWorker, Router};
use work_sqlite::SqliteStore;

use crate::figure::BoxError;
use crate::place::Place;

/// A worker that only makes jobs.
async fn worker(place: &Place) -> Result<QueueWorker, BoxError> {
    let store = SqliteStore::open(place.file()).await?;
    Ok(QueueWorker::new(store, Router::new().route("noop", async || {})))
}
