use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use work_core::store::{AttemptRecord, Counts, ErrorRecord, JobFilter, NewJob, Page, StoredJob};
use work_core::{JobId, JobState, Kind, Parts, Queue, Status};

use crate::candidates::groups_of;
use crate::row::{self, BadRow, COLUMNS, WIDTH, bytes, id_or_nil, instant, text};
use crate::search::{Found, Search, search};
use crate::store::Shared;

/// The columns that [`stored`] reads beside those of a job.
pub(crate) const MORE: &str = "state, crashes, status, output, finished_at, worker, lease_until, cancel_requested,
    progress, progress_at";

pub(crate) fn get(connection: &Connection, shared: &Shared, id: &JobId) -> rusqlite::Result<Option<StoredJob>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS}, {MORE} FROM jobs WHERE id = ?1"))?;
    let id = id.as_uuid().as_bytes().as_slice();
    let found = statement.query_row([id], |row| Ok((row.get(0)?, stored(row)?))).optional()?;
    let job = found.map(|(seq, job)| with_attempts(connection, seq, job)).transpose()?;
    shared.has_read(job.as_ref().map_or(1, |job| 1 + job.attempts.len()));
    Ok(job)
}

pub(crate) fn list(connection: &Connection, shared: &Shared, wanted: &Search) -> rusqlite::Result<Page> {
    let found = search(connection, wanted)?;
    shared.has_read(found.looked());
    let Found { jobs, next, .. } = found;
    let jobs: Vec<StoredJob> =
        jobs.into_iter().map(|(seq, job)| with_attempts(connection, seq, job)).collect::<Result<_, _>>()?;
    shared.has_read(jobs.iter().map(|job| job.attempts.len()).sum());
    Ok(Page { jobs, next })
}

/// A part of the counts of a filter that is more than coarse: what the next page of it holds.
pub(crate) fn count_page(
    connection: &Connection,
    _: &Shared,
    wanted: &Search,
) -> rusqlite::Result<(Vec<JobState>, Option<i64>)> {
    let Found { jobs, next, .. } = search(connection, wanted)?;
    Ok((jobs.into_iter().map(|(_, job)| job.state).collect(), next))
}

/// Who the jobs of a page are.
pub(crate) fn ids(connection: &Connection, _: &Shared, wanted: &Search) -> rusqlite::Result<(Vec<JobId>, Option<i64>)> {
    let Found { jobs, next, .. } = search(connection, wanted)?;
    Ok((jobs.into_iter().map(|(_, job)| job.job.parts.id).collect(), next))
}

/// The counts of a coarse filter. All jobs but those that ended well are in an index.
pub(crate) fn counts(connection: &Connection, _: &Shared, filter: &JobFilter) -> rusqlite::Result<Counts> {
    let wanted = |state: &JobState| filter.states.is_empty() || filter.states.contains(state);
    let whole = filter.queues.is_empty() && filter.kinds.is_empty();
    // Then those that ended well are what is left over.
    let by_rest = whole && wanted(&JobState::Completed);
    let mut found = BTreeMap::new();
    for state in JobState::ALL {
        let jobs = match state {
            JobState::Completed if by_rest => continue,
            _ if !by_rest && !wanted(&state) => continue,
            JobState::Available => available(connection, filter)?,
            JobState::Running => by_row(connection, "INDEXED BY jobs_leases", state, filter)?,
            JobState::Completed => by_row(connection, "NOT INDEXED", state, filter)?,
            _ => dead(connection, filter, state)?,
        };
        found.insert(state, jobs);
    }
    if by_rest {
        let all: i64 = connection.prepare_cached(COUNT_ALL)?.query_row([], |row| row.get(0))?;
        found.insert(JobState::Completed, all - found.values().sum::<i64>());
    }
    found.retain(|state, jobs| wanted(state) && *jobs > 0);
    Ok(Counts(found.into_iter().map(|(state, jobs)| (state, jobs.unsigned_abs())).collect()))
}

pub(crate) const COUNT_ALL: &str = "SELECT count(*) FROM jobs";

pub(crate) const COUNT_DEAD: &str =
    "SELECT count(*) FROM jobs INDEXED BY jobs_dead WHERE state = ?1 AND queue = ?2 AND kind = ?3
    AND (state = 'discarded' OR state = 'cancelled')";

pub(crate) const COUNT_READY: &str = "SELECT count(*) FROM jobs INDEXED BY jobs_ready WHERE state = 'available'";

fn dead(connection: &Connection, filter: &JobFilter, state: JobState) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached(COUNT_DEAD)?;
    let groups = groups_of(connection, filter, state)?;
    groups.iter().try_fold(0, |sum, (queue, kind)| {
        let jobs: i64 = statement.query_row(params![state.name(), queue, kind], |row| row.get(0))?;
        Ok(sum + jobs)
    })
}

fn available(connection: &Connection, filter: &JobFilter) -> rusqlite::Result<i64> {
    if !filter.kinds.is_empty() {
        return by_row(connection, "INDEXED BY jobs_ready", JobState::Available, filter);
    }
    if filter.queues.is_empty() {
        return connection.prepare_cached(COUNT_READY)?.query_row([], |row| row.get(0));
    }
    let mut statement = connection.prepare_cached(&format!("{COUNT_READY} AND queue = ?1"))?;
    let mut queues: Vec<&str> = filter.queues.iter().map(Queue::as_str).collect();
    queues.sort_unstable();
    queues.dedup();
    queues.into_iter().try_fold(0, |sum, queue| {
        let jobs: i64 = statement.query_row([queue], |row| row.get(0))?;
        Ok(sum + jobs)
    })
}

/// By looking at each row.
fn by_row(connection: &Connection, from: &str, state: JobState, filter: &JobFilter) -> rusqlite::Result<i64> {
    let names = |column: &str, names: &[&str]| match names.len() {
        0 => String::new(),
        count => format!("AND {column} IN ({})", vec!["?"; count].join(", ")),
    };
    let queues: Vec<&str> = filter.queues.iter().map(Queue::as_str).collect();
    let kinds: Vec<&str> = filter.kinds.iter().map(Kind::as_str).collect();
    let which = format!("{} {}", names("queue", &queues), names("kind", &kinds));
    let mut statement =
        connection.prepare(&format!("SELECT count(*) FROM jobs {from} WHERE state = '{state}' {which}"))?;
    statement.query_row(params_from_iter(queues.into_iter().chain(kinds)), |row| row.get(0))
}

/// A row that is no job is shown all the same: its parts are what could be read of it.
pub(crate) fn stored(row: &Row<'_>) -> rusqlite::Result<StoredJob> {
    let (job, created_at, attempt) = match row::job(row)? {
        Ok(stored) => (stored.job, stored.created_at, stored.attempt),
        Err(BadRow(_)) => (unreadable(row)?, instant(row.get(7)?), 0),
    };
    let mut stored = StoredJob::new(job, created_at);
    stored.attempt = attempt;
    stored.state = state_of(row.get_ref(WIDTH)?);
    stored.crashes = row.get::<_, i64>(WIDTH + 1)?.try_into().unwrap_or(u32::MAX);
    stored.status = row.get::<_, Option<i64>>(WIDTH + 2)?.and_then(status);
    stored.output = bytes(row.get_ref(WIDTH + 3)?);
    stored.finished_at = row.get::<_, Option<i64>>(WIDTH + 4)?.map(instant);
    stored.worker = row.get_ref(WIDTH + 5)?.as_str().ok().map(str::to_owned);
    stored.lease_until = row.get::<_, Option<i64>>(WIDTH + 6)?.map(instant);
    stored.stopping = stored.state == JobState::Running && row.get::<_, i64>(WIDTH + 7)? != 0;
    stored.progress = row.get::<_, Option<f64>>(WIDTH + 8)?.map(|done| done as f32);
    stored.progress_at = row.get::<_, Option<i64>>(WIDTH + 9)?.map(instant);
    Ok(stored)
}

pub(crate) fn state_of(value: ValueRef<'_>) -> JobState {
    value.as_str().unwrap_or_default().parse().unwrap_or(JobState::Discarded)
}

fn unreadable(row: &Row<'_>) -> rusqlite::Result<NewJob> {
    let id = id_or_nil(row.get_ref(1)?);
    let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default().to_owned());
    let parts = Parts::new(id, Kind::from(text(2)?), Queue::from(text(4)?));
    Ok(NewJob { parts, args: bytes(row.get_ref(3)?).unwrap_or_default() })
}

fn status(code: i64) -> Option<Status> {
    u16::try_from(code).ok().and_then(|code| Status::new(code).ok())
}

fn with_attempts(connection: &Connection, seq: i64, mut job: StoredJob) -> rusqlite::Result<StoredJob> {
    job.attempts = attempts(connection, seq)?;
    Ok(job)
}

pub(crate) fn attempts(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<AttemptRecord>> {
    let mut statement = connection
        .prepare_cached("SELECT attempt, status, message, backtrace, at FROM attempts WHERE job = ?1 ORDER BY rowid")?;
    let records = statement.query_map([seq], |row| {
        let error =
            ErrorRecord { message: text(row.get_ref(2)?).unwrap_or_default(), backtrace: text(row.get_ref(3)?) };
        let status = status(row.get(1)?).unwrap_or(Status::INTERNAL_ERROR);
        Ok(AttemptRecord {
            attempt: row.get::<_, i64>(0)?.try_into().unwrap_or(0),
            status,
            error,
            at: instant(row.get(4)?),
        })
    })?;
    records.collect()
}
