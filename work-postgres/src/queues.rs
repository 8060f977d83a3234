//! Queues: paused and resumed, and looked at.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use work_core::store::{BoxFuture, QueueInfo};
use work_core::{JobState, Queue};

use crate::call::{Param, Session};
use crate::instant::Instant;
use crate::rates;
use crate::row::text;
use crate::workers::workers;

/// Answers whether it was at work before.
pub(crate) fn pause<'c>(session: &'c Session, queue: &'c Queue) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(async move {
        let now = session.shared.now();
        let params: [Param<'_>; 2] = [(&queue.as_str(), Type::TEXT), (&now, Type::TIMESTAMPTZ)];
        Ok(!session.query(&session.shared.sql.pause, &params).await?.is_empty())
    })
}

/// Answers whether it was paused.
pub(crate) fn resume<'c>(session: &'c Session, queue: &'c Queue) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(async move {
        let params: [Param<'_>; 1] = [(&&*text(queue.as_str()), Type::TEXT)];
        Ok(!session.query(&session.shared.sql.resume, &params).await?.is_empty())
    })
}

/// Answers whether it was not kept before.
pub(crate) fn keep<'c>(session: &'c Session, prefix: &'c Queue) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(async move {
        let params: [Param<'_>; 1] = [(&prefix.as_str(), Type::TEXT)];
        Ok(!session.query(&session.shared.sql.keep, &params).await?.is_empty())
    })
}

/// Answers whether it was kept.
pub(crate) fn release<'c>(session: &'c Session, prefix: &'c Queue) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(async move {
        let params: [Param<'_>; 1] = [(&&*text(prefix.as_str()), Type::TEXT)];
        Ok(!session.query(&session.shared.sql.release, &params).await?.is_empty())
    })
}

/// Answers the limit that stands.
pub(crate) fn declare<'c>(
    session: &'c Session,
    (queue, at_most): &'c (Queue, u32),
) -> BoxFuture<'c, Result<u32, Error>> {
    Box::pin(async move {
        let at_most_number = number(*at_most);
        let params: [Param<'_>; 2] = [(&queue.as_str(), Type::TEXT), (&at_most_number, Type::INT4)];
        let stands = answered(&session.query(&session.shared.sql.declare_limit, &params).await?)?;
        Ok(if stands == Some(at_most_number.cast_unsigned()) { *at_most } else { stands.unwrap_or(*at_most) })
    })
}

/// Answers the limit before.
pub(crate) fn set_limit<'c>(
    session: &'c Session,
    (queue, at_most): &'c (Queue, Option<u32>),
) -> BoxFuture<'c, Result<Option<u32>, Error>> {
    Box::pin(async move {
        let at_most = at_most.map(number);
        let params: [Param<'_>; 2] = [(&queue.as_str(), Type::TEXT), (&at_most, Type::INT4)];
        answered(&session.query(&session.shared.sql.limit_queue, &params).await?)
    })
}

/// More than Postgres can say is no limit either way.
pub(crate) fn number(at_most: u32) -> i32 {
    i32::try_from(at_most).unwrap_or(i32::MAX)
}

/// The number of the first row, if that is one.
pub(crate) fn answered(rows: &[Row]) -> Result<Option<u32>, Error> {
    let found = rows.first().map(|row| row.try_get::<_, Option<i32>>(0)).transpose()?.flatten();
    Ok(found.and_then(|at_most| u32::try_from(at_most).ok()))
}

/// The time, what is limited and what is paused.
const BASE: &str = "SELECT NULL::text AS queue, NULL::text AS what, NULL::bigint AS jobs,
        coalesce($1, clock_timestamp()) AS at
    UNION ALL SELECT queue, 'limit', at_most, NULL FROM work.limits
    UNION ALL SELECT queue, 'capacity', jobs, NULL FROM work.capacities
    UNION ALL SELECT queue, 'paused', NULL, at FROM work.paused";

/// What waits or runs, and what ended badly.
const JOBS: &str = "SELECT queue, state, count(*), min(scheduled_at) FROM work.jobs GROUP BY queue, state
    UNION ALL SELECT queue, state, count(*), NULL FROM work.history
        WHERE state IN ('discarded', 'cancelled') GROUP BY queue, state";

/// All of them but for their jobs, and the time.
pub(crate) async fn base(session: &Session) -> Result<(BTreeMap<Queue, QueueInfo>, DateTime<Utc>), Error> {
    let mut queues = BTreeMap::new();
    for worker in workers(session, &()).await? {
        worker.queues.into_iter().for_each(|queue| _ = info(&mut queues, queue));
    }
    let now = session.shared.now();
    let rows = session.query_anew(&session.shared.sql.schema.in_sql(BASE), &[(&now, Type::TIMESTAMPTZ)]).await?;
    let mut now = DateTime::<Utc>::MIN_UTC;
    for row in &rows {
        let at = row.try_get::<_, Option<Instant>>(3)?.map(DateTime::from);
        let Some(queue) = row.try_get::<_, Option<String>>(0)? else {
            now = at.unwrap_or(now);
            continue;
        };
        let info = info(&mut queues, Queue::from(queue));
        match row.try_get::<_, Option<&str>>(1)? {
            Some("limit") => info.at_most = u32::try_from(row.try_get::<_, i64>(2)?).ok(),
            Some("capacity") => info.capacity = u32::try_from(row.try_get::<_, i64>(2)?).ok(),
            _ => info.paused_at = at,
        }
    }
    for (queue, rate) in rates::all(session).await? {
        info(&mut queues, queue).rate = Some(rate);
    }
    Ok((queues, now))
}

pub(crate) fn queues<'c>(session: &'c Session, (): &'c ()) -> BoxFuture<'c, Result<Vec<QueueInfo>, Error>> {
    Box::pin(async move {
        let (mut queues, now) = base(session).await?;
        for row in session.query_anew(&session.shared.sql.schema.in_sql(JOBS), &[]).await? {
            let info = info(&mut queues, Queue::from(row.try_get::<_, String>(0)?));
            let Ok(state) = row.try_get::<_, &str>(1)?.parse() else { continue };
            let jobs = u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default();
            *info.counts.0.entry(state).or_default() += jobs;
            if state == JobState::Available {
                let at = row.try_get::<_, Option<Instant>>(3)?.map(DateTime::from);
                info.oldest_ready_for = at.and_then(|at: DateTime<Utc>| (now - at).to_std().ok());
            }
        }
        Ok(queues.into_values().collect())
    })
}

pub(crate) fn info(queues: &mut BTreeMap<Queue, QueueInfo>, queue: Queue) -> &mut QueueInfo {
    queues.entry(queue.clone()).or_insert_with(|| QueueInfo::new(queue))
}
