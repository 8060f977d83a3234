use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::store::{AttemptRecord, BoxFuture, Counts, ErrorRecord, JobFilter, NewJob, Page, StoredJob};
use work_core::{JobId, JobState, Kind, Queue, Status};

use crate::call::{Param, Session};
use crate::instant::Instant;
use crate::row::{self, BadRow, WIDTH};

pub(crate) fn get<'c>(session: &'c Session, id: &'c JobId) -> BoxFuture<'c, Result<Option<StoredJob>, Error>> {
    Box::pin(async move {
        let rows = session.query(&session.shared.sql.get, &[(id.as_uuid(), Type::UUID)]).await?;
        let jobs = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        Ok(with_attempts(session, jobs).await?.pop())
    })
}

pub(crate) fn list<'c>(
    session: &'c Session,
    (filter, after, limit): &'c (JobFilter, Option<i64>, usize),
) -> BoxFuture<'c, Result<Page, Error>> {
    Box::pin(async move {
        let (queue, kind, state) = names(filter);
        // One more than asked for tells whether there is a next page.
        let limit_and_one = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let after = after.unwrap_or(i64::MIN);
        let params: [Param<'_>; 5] = [
            (&queue, Type::TEXT),
            (&kind, Type::TEXT),
            (&state, Type::TEXT),
            (&after, Type::INT8),
            (&limit_and_one, Type::INT8),
        ];
        let mut rows = session.query(&session.shared.sql.list, &params).await?;
        let more = rows.len() > *limit;
        rows.truncate(*limit);
        let next = if more { rows.last().map(|row| row.try_get(0)).transpose()? } else { None };
        let jobs = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        Ok(Page { jobs: with_attempts(session, jobs).await?, next })
    })
}

pub(crate) fn counts<'c>(session: &'c Session, filter: &'c JobFilter) -> BoxFuture<'c, Result<Counts, Error>> {
    Box::pin(async move {
        let (queue, kind, state) = names(filter);
        let params: [Param<'_>; 3] = [(&queue, Type::TEXT), (&kind, Type::TEXT), (&state, Type::TEXT)];
        let mut counts = Counts::default();
        for row in session.query(&session.shared.sql.counts, &params).await? {
            if let Ok(state) = row.try_get::<_, &str>(0)?.parse() {
                counts.0.insert(state, u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default());
            }
        }
        Ok(counts)
    })
}

/// True if the statements here can tell which jobs are meant: at most one queue, one kind and one state.
pub(crate) fn is_known(filter: &JobFilter) -> bool {
    filter.is_coarse() && filter.queues.len() <= 1 && filter.kinds.len() <= 1 && filter.states.len() <= 1
}

fn names(filter: &JobFilter) -> (Option<&str>, Option<&str>, Option<&'static str>) {
    let (queue, kind) = (filter.queues.first().map(Queue::as_str), filter.kinds.first().map(Kind::as_str));
    (queue, kind, filter.states.first().map(|state| state.name()))
}

/// A row that is no job is shown all the same: its parts are what could be read of it.
fn stored(row: &Row) -> Result<StoredJob, Error> {
    let (job, created_at, attempt) = match row::job(row)? {
        Ok(stored) => (stored.job, stored.created_at, stored.attempt),
        Err(BadRow(_)) => {
            let args = row.try_get::<_, Option<&[u8]>>(3)?.unwrap_or_default();
            let attempt = u32::try_from(row.try_get::<_, i32>(8)?).unwrap_or_default();
            let job = NewJob { parts: row::parts(row)?, args: Bytes::copy_from_slice(args) };
            (job, row.try_get::<_, Instant>(7)?.into(), attempt)
        }
    };
    let mut stored = StoredJob::new(job, created_at);
    stored.attempt = attempt;
    stored.state = row.try_get::<_, &str>(WIDTH)?.parse().unwrap_or(JobState::Discarded);
    stored.crashes = u32::try_from(row.try_get::<_, i32>(WIDTH + 1)?).unwrap_or_default();
    stored.status = row.try_get::<_, Option<i16>>(WIDTH + 2)?.and_then(status);
    stored.output = row.try_get::<_, Option<&[u8]>>(WIDTH + 3)?.map(Bytes::copy_from_slice);
    stored.finished_at = row.try_get::<_, Option<Instant>>(WIDTH + 4)?.map(Into::into);
    Ok(stored)
}

fn status(code: i16) -> Option<Status> {
    u16::try_from(code).ok().and_then(|code| Status::new(code).ok())
}

async fn with_attempts(session: &Session, mut jobs: Vec<StoredJob>) -> Result<Vec<StoredJob>, Error> {
    let ids: Vec<Uuid> = jobs.iter().map(|stored| *stored.job.parts.id.as_uuid()).collect();
    if ids.is_empty() {
        return Ok(jobs);
    }
    let mut attempts: HashMap<JobId, Vec<AttemptRecord>> = HashMap::new();
    for row in session.query(&session.shared.sql.attempts, &[(&ids, Type::UUID_ARRAY)]).await? {
        attempts.entry(row::id(&row, 0)?).or_default().push(AttemptRecord {
            attempt: u32::try_from(row.try_get::<_, i32>(1)?).unwrap_or_default(),
            status: status(row.try_get(2)?).unwrap_or(Status::INTERNAL_ERROR),
            error: ErrorRecord { message: row.try_get(3)?, backtrace: row.try_get(4)? },
            at: row.try_get::<_, Instant>(5)?.into(),
        });
    }
    for stored in &mut jobs {
        stored.attempts = attempts.remove(&stored.job.parts.id).unwrap_or_default();
    }
    Ok(jobs)
}
