//! Jobs that ended long ago are forgotten, some at a time.

use chrono::{DateTime, Utc};
use tokio_postgres::Error;
use tokio_postgres::types::Type;
use work_core::JobState;
use work_core::store::{BoxFuture, Retention};

use crate::call::{Param, Session};
use crate::instant::Instant;

/// What to look for, and from which job on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    pub(crate) retention: Retention,
    pub(crate) after: i64,
    pub(crate) limit: usize,
}

/// Jobs that are forgotten in one transaction, so that nobody waits long behind it.
pub(crate) const AT_ONCE: usize = 500;

/// Answers how many, and where to go on if there may be more.
pub(crate) fn prune<'c>(session: &'c Session, sweep: &'c Sweep) -> BoxFuture<'c, Result<(u64, Option<i64>), Error>> {
    Box::pin(async move {
        let now = match session.shared.now() {
            Some(now) => now,
            None => session.query("SELECT clock_timestamp()", &[]).await?[0].try_get::<_, Instant>(0)?,
        };
        let now = DateTime::<Utc>::from(now);
        let until = |state| sweep.retention.until(state, now).map(Instant::from);
        let limit = i32::try_from(sweep.limit).unwrap_or(i32::MAX);
        let params: [Param<'_>; 5] = [
            (&sweep.after, Type::INT8),
            (&limit, Type::INT4),
            (&until(JobState::Completed), Type::TIMESTAMPTZ),
            (&until(JobState::Discarded), Type::TIMESTAMPTZ),
            (&until(JobState::Cancelled), Type::TIMESTAMPTZ),
        ];
        let rows = session.query(&session.shared.sql.prune, &params).await?;
        let Some(row) = rows.first() else { return Ok((0, None)) };
        Ok((u64::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default(), row.try_get(1)?))
    })
}
