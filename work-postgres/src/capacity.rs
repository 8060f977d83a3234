//! Queues that take only so many jobs.

use serde::Deserialize;
use tokio_postgres::Error;
use tokio_postgres::types::Type;
use work_core::store::BoxFuture;
use work_core::{Queue, QueueFull};

use crate::call::{Param, Session};
use crate::queues::{answered, number};

/// What `check_capacities` raises.
const FULL: &str = "WQ001";

#[derive(Deserialize)]
struct Detail {
    queue: String,
    capacity: u32,
    depth: u64,
    given: u64,
}

/// The queue that had no room, if that is what the server said.
pub(crate) fn full(error: &Error) -> Option<QueueFull> {
    let said = error.as_db_error().filter(|said| said.code().code() == FULL)?;
    let detail: Detail = serde_json::from_str(said.detail()?).ok()?;
    Some(QueueFull::new(Queue::from(detail.queue), detail.capacity, detail.depth, detail.given))
}

/// Answers the capacity before.
pub(crate) fn set<'c>(
    session: &'c Session,
    (queue, jobs): &'c (Queue, Option<u32>),
) -> BoxFuture<'c, Result<Option<u32>, Error>> {
    Box::pin(async move {
        let jobs = jobs.map(number);
        let params: [Param<'_>; 2] = [(&queue.as_str(), Type::TEXT), (&jobs, Type::INT4)];
        answered(&session.query(&session.shared.sql.bound_queue, &params).await?)
    })
}

/// Which of some callers are worth another try together after a queue turned out to be full, given how many jobs each has for
/// it: as many as fit, in the order in which they came.
pub(crate) fn that_fit(full: &QueueFull, callers: impl Iterator<Item = u64>) -> Vec<bool> {
    let mut room = full.room();
    let fits = callers.map(|jobs| {
        let fits = jobs <= room;
        room -= if fits { jobs } else { 0 };
        fits
    });
    fits.collect()
}
