use rusqlite::{Connection, OptionalExtension, Row, params};
use work_core::store::{AttemptRecord, Counts, ErrorRecord, JobFilter, NewJob, Page, StoredJob};
use work_core::{JobId, JobState, Kind, Parts, Queue, Status};

use crate::row::{self, BadRow, COLUMNS, WIDTH, bytes, id_of, instant};
use crate::store::Shared;

const FILTER: &str = "(?1 IS NULL OR queue = ?1) AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR state = ?3)";

const MORE: &str = "state, crashes, status, output, finished_at";

pub(crate) fn get(connection: &Connection, _: &Shared, id: &JobId) -> rusqlite::Result<Option<StoredJob>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS}, {MORE} FROM jobs WHERE id = ?1"))?;
    let id = id.as_uuid().as_bytes().as_slice();
    let found = statement.query_row([id], |row| Ok((row.get(0)?, stored(row)?))).optional()?;
    found.map(|(seq, job)| with_attempts(connection, seq, job)).transpose()
}

pub(crate) fn list(
    connection: &Connection,
    _: &Shared,
    (filter, after, limit): &(JobFilter, Option<i64>, usize),
) -> rusqlite::Result<Page> {
    let sql = format!("SELECT {COLUMNS}, {MORE} FROM jobs WHERE {FILTER} AND seq > ?4 ORDER BY seq LIMIT ?5");
    let (queue, kind, state) = names(filter);
    // One more than asked for tells whether there is a next page.
    let limit_and_one = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let after = after.unwrap_or(i64::MIN);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![queue, kind, state, after, limit_and_one], |row| {
        Ok((row.get::<_, i64>(0)?, stored(row)?))
    })?;
    let mut found = rows.collect::<Result<Vec<_>, _>>()?;
    let more = found.len() > *limit;
    found.truncate(*limit);
    let next = if more { found.last().map(|(seq, _)| *seq) } else { None };
    let jobs = found.into_iter().map(|(seq, job)| with_attempts(connection, seq, job)).collect::<Result<_, _>>()?;
    Ok(Page { jobs, next })
}

pub(crate) fn counts(connection: &Connection, _: &Shared, filter: &JobFilter) -> rusqlite::Result<Counts> {
    let (queue, kind, state) = names(filter);
    let mut statement =
        connection.prepare_cached(&format!("SELECT state, count(*) FROM jobs WHERE {FILTER} GROUP BY state"))?;
    let mut counts = Counts::default();
    let mut rows = statement.query(params![queue, kind, state])?;
    while let Some(row) = rows.next()? {
        if let Ok(state) = row.get_ref(0)?.as_str().unwrap_or_default().parse() {
            counts.0.insert(state, u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default());
        }
    }
    Ok(counts)
}

fn names(filter: &JobFilter) -> (Option<&str>, Option<&str>, Option<&str>) {
    let queue = filter.queue.as_ref().map(Queue::as_str);
    (queue, filter.kind.as_ref().map(Kind::as_str), filter.state.map(JobState::name))
}

/// A row that is no job is shown all the same: its parts are what could be read of it.
fn stored(row: &Row<'_>) -> rusqlite::Result<StoredJob> {
    let (job, created_at, attempt) = match row::job(row)? {
        Ok(stored) => (stored.job, stored.created_at, stored.attempt),
        Err(BadRow(_)) => (unreadable(row)?, instant(row.get(7)?), 0),
    };
    let mut stored = StoredJob::new(job, created_at);
    stored.attempt = attempt;
    stored.state = row.get_ref(WIDTH)?.as_str().unwrap_or_default().parse().unwrap_or(JobState::Discarded);
    stored.crashes = row.get::<_, i64>(WIDTH + 1)?.try_into().unwrap_or(u32::MAX);
    stored.status = row.get::<_, Option<i64>>(WIDTH + 2)?.and_then(status);
    stored.output = bytes(row.get_ref(WIDTH + 3)?);
    stored.finished_at = row.get::<_, Option<i64>>(WIDTH + 4)?.map(instant);
    Ok(stored)
}

fn unreadable(row: &Row<'_>) -> rusqlite::Result<NewJob> {
    let id = id_of(row.get_ref(1)?).unwrap_or_else(|_| uuid::Uuid::nil().into());
    let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default().to_owned());
    let parts = Parts::new(id, Kind::from(text(2)?), Queue::from(text(4)?));
    Ok(NewJob { parts, args: bytes(row.get_ref(3)?).unwrap_or_default() })
}

fn status(code: i64) -> Option<Status> {
    u16::try_from(code).ok().and_then(|code| Status::new(code).ok())
}

fn with_attempts(connection: &Connection, seq: i64, mut job: StoredJob) -> rusqlite::Result<StoredJob> {
    let mut statement = connection
        .prepare_cached("SELECT attempt, status, message, backtrace, at FROM attempts WHERE job = ?1 ORDER BY rowid")?;
    let records = statement.query_map([seq], |row| {
        let error = ErrorRecord { message: row.get(2)?, backtrace: row.get(3)? };
        let status = status(row.get(1)?).unwrap_or(Status::INTERNAL_ERROR);
        Ok(AttemptRecord {
            attempt: row.get::<_, i64>(0)?.try_into().unwrap_or(0),
            status,
            error,
            at: instant(row.get(4)?),
        })
    })?;
    job.attempts = records.collect::<Result<_, _>>()?;
    Ok(job)
}
