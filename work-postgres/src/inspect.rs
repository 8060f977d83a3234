use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::store::{AttemptRecord, BoxFuture, Counts, ErrorRecord, JobFilter, NewJob, Page, StoredJob};
use work_core::{JobId, JobState, Status};

use crate::call::{Param, Session};
use crate::instant::Instant;
use crate::row::{self, BadRow, WIDTH};
use crate::search::{Found, Search, names, search, search_in, state_names, states};

pub(crate) fn get<'c>(session: &'c Session, id: &'c JobId) -> BoxFuture<'c, Result<Option<StoredJob>, Error>> {
    Box::pin(async move {
        let rows = session.query(&session.shared.sql.get, &[(id.as_uuid(), Type::UUID)]).await?;
        let jobs = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        Ok(with_attempts(session, jobs).await?.pop())
    })
}

pub(crate) fn list<'c>(session: &'c Session, wanted: &'c Search) -> BoxFuture<'c, Result<Page, Error>> {
    Box::pin(async move {
        // Their attempts too by the index: where those are few, a planner would read all that there are.
        let page = async {
            let Found { jobs, next } = search_in(session, wanted).await?;
            Ok(Page { jobs: with_attempts(session, jobs).await?, next })
        };
        session.transaction(page).await
    })
}

/// Where the next page starts, if there is one.
type After = Option<i64>;

/// Who the jobs of a page are.
pub(crate) fn ids<'c>(session: &'c Session, wanted: &'c Search) -> BoxFuture<'c, Result<(Vec<JobId>, After), Error>> {
    Box::pin(async move {
        let Found { jobs, next } = search(session, wanted).await?;
        Ok((jobs.into_iter().map(|job| job.job.parts.id).collect(), next))
    })
}

/// A part of the counts of a filter that is more than coarse: what the next page of it holds.
pub(crate) fn count_page<'c>(
    session: &'c Session,
    wanted: &'c Search,
) -> BoxFuture<'c, Result<(Counts, After), Error>> {
    Box::pin(async move {
        let mut counts = Counts::default();
        if wanted.filter.args.is_empty() {
            let (rows, next) = states(session, wanted).await?;
            count(&mut counts, &rows, 1)?;
            return Ok((counts, next));
        }
        let Found { jobs, next } = search(session, wanted).await?;
        jobs.into_iter().for_each(|job| *counts.0.entry(job.state).or_default() += 1);
        Ok((counts, next))
    })
}

/// Each table by itself, so that each is read in the way that suits it.
const COUNTS: &str = "SELECT state, count(*) FROM work.jobs WHERE ($1::text[] IS NULL OR queue = ANY ($1))
        AND ($2::text[] IS NULL OR kind = ANY ($2)) AND ($3::text[] IS NULL OR state = ANY ($3)) GROUP BY state
    UNION ALL SELECT state, count(*) FROM work.history WHERE ($1::text[] IS NULL OR queue = ANY ($1))
        AND ($2::text[] IS NULL OR kind = ANY ($2)) AND ($3::text[] IS NULL OR state = ANY ($3)) GROUP BY state";

/// The counts of a coarse filter.
pub(crate) fn counts<'c>(session: &'c Session, filter: &'c JobFilter) -> BoxFuture<'c, Result<Counts, Error>> {
    Box::pin(async move {
        let (queues, kinds, states) = (names(&filter.queues), names(&filter.kinds), state_names(filter));
        let params: [Param<'_>; 3] =
            [(&queues, Type::TEXT_ARRAY), (&kinds, Type::TEXT_ARRAY), (&states, Type::TEXT_ARRAY)];
        let rows = session.query_anew(&session.shared.sql.schema.in_sql(COUNTS), &params).await?;
        let mut counts = Counts::default();
        count(&mut counts, &rows, 0)?;
        Ok(counts)
    })
}

/// Rows of a state and a number, from a column on.
fn count(counts: &mut Counts, rows: &[Row], from: usize) -> Result<(), Error> {
    for row in rows {
        if let Ok(state) = row.try_get::<_, &str>(from)?.parse() {
            let jobs = u64::try_from(row.try_get::<_, i64>(from + 1)?).unwrap_or_default();
            *counts.0.entry(state).or_default() += jobs;
        }
    }
    Ok(())
}

/// A row that is no job is shown all the same: its parts are what could be read of it.
pub(crate) fn stored(row: &Row) -> Result<StoredJob, Error> {
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
    stored.worker = row.try_get(WIDTH + 5)?;
    stored.lease_until = row.try_get::<_, Option<Instant>>(WIDTH + 6)?.map(Into::into);
    stored.stopping = stored.state == JobState::Running && row.try_get::<_, bool>(WIDTH + 7)?;
    stored.progress = row.try_get(WIDTH + 8)?;
    stored.progress_at = row.try_get::<_, Option<Instant>>(WIDTH + 9)?.map(Into::into);
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
    for row in session.query_anew(&session.shared.sql.attempts, &[(&ids, Type::UUID_ARRAY)]).await? {
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
