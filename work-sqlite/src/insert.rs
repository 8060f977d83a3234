use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use work_core::store::{Inserted, NewJob};
use work_core::{
    ArgsError, DEFAULT_MAX_ATTEMPTS, InvalidJob, Job, JobId, OnConflict, Parts, QueueFull, StoreError, Unique,
    UniqueScope,
};

use crate::after::{hold_back, may_wait, next_of};
use crate::capacity::insert_within;
use crate::row::{id_or_nil, millis};
use crate::store::Shared;

const INSERT: &str = "INSERT INTO jobs (id, kind, args, queue, priority, scheduled_at, created_at, max_attempts,
    timeout_ms, expires_at, unique_key, unique_scope, headers, tags)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
    ON CONFLICT DO NOTHING";

const BY_ID: &str = "SELECT id FROM jobs WHERE id = ?1";

const BY_KEY: &str = "SELECT id FROM jobs WHERE unique_key = ?1
    AND unique_key IS NOT NULL AND (unique_scope = 2 OR state = 'available' OR state = 'running')";

/// A key of a job that has ended and was accepted before the window. A job that is there already frees none.
const LET_GO: &str = "UPDATE jobs SET unique_scope = 1 WHERE unique_key = ?1
    AND unique_key IS NOT NULL AND (unique_scope = 2 OR state = 'available' OR state = 'running')
    AND state <> 'available' AND state <> 'running' AND created_at <= ?3
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?2)";

const REPLACE_ARGS: &str = "UPDATE jobs SET args = ?3 WHERE unique_key = ?1
    AND unique_key IS NOT NULL AND (unique_scope = 2 OR state = 'available' OR state = 'running')
    AND state = 'available' AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?2)";

/// Refuses what could not be leased again.
pub(crate) fn check(job: &NewJob, max_args: usize) -> Result<(), StoreError> {
    let size = job.args.len();
    let fits = if size > max_args { Err(ArgsError::TooLarge { size, limit: max_args }) } else { Ok(()) };
    let valid = fits.map_err(InvalidJob::from).and_then(|()| Job::validate_parts(&job.parts));
    valid.map_err(|error| StoreError::rejected(format!("job {} is invalid", job.parts.id), error))
}

/// From outside: a queue that is full refuses, and the transaction is as it was.
pub(crate) fn accept(
    connection: &Connection,
    shared: &Shared,
    jobs: &[NewJob],
) -> rusqlite::Result<Result<Vec<Inserted>, QueueFull>> {
    let answers = insert_within(connection, &shared.rooms, shared.now(), jobs)?;
    tell(shared, answers.iter().flatten());
    Ok(answers)
}

/// What follows from jobs that were accepted, and goes into any queue.
pub(crate) fn insert(connection: &Connection, shared: &Shared, jobs: &[NewJob]) -> rusqlite::Result<Vec<Inserted>> {
    let answers = insert_rows(connection, shared.now(), jobs)?;
    tell(shared, answers.iter());
    Ok(answers)
}

fn tell<'a>(shared: &Shared, mut answers: impl Iterator<Item = &'a Inserted>) {
    if answers.any(|answer| matches!(answer, Inserted::New(_))) {
        shared.made_available();
    }
}

/// Part of a transaction that somebody else ends.
pub(crate) fn insert_rows(connection: &Connection, now: i64, jobs: &[NewJob]) -> rusqlite::Result<Vec<Inserted>> {
    let mut statement = connection.prepare_cached(INSERT)?;
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        let key = job.parts.unique.as_ref().map(Unique::key);
        let mut stored = insert_one(&mut statement, job, key, now)?;
        if !stored {
            stored = match (resolve(connection, job, now)?, key) {
                (Key::Free, _) => insert_one(&mut statement, job, key, now)?,
                (Key::After, Some(key)) if insert_one(&mut statement, job, None, now)? => {
                    hold_back(connection, connection.last_insert_rowid(), key)?;
                    true
                }
                _ => false,
            };
        }
        if stored && !job.parts.tags.is_empty() {
            insert_tags(connection, &job.parts)?;
        }
        answers.push(if stored { Inserted::New(job.parts.id) } else { Inserted::Duplicate(holder(connection, job)?) });
    }
    Ok(answers)
}

/// How a job stands with a key that was held.
#[derive(Debug, Clone, Copy)]
enum Key {
    Held,
    Free,
    /// The job may wait until the holder has ended.
    After,
}

/// Deals with a key that is held.
fn resolve(connection: &Connection, job: &NewJob, now: i64) -> rusqlite::Result<Key> {
    let Some(unique) = &job.parts.unique else { return Ok(Key::Held) };
    let id = job.parts.id.as_uuid().as_bytes().as_slice();
    if let Some(window) = unique.window() {
        let before = now.saturating_sub(whole_millis(window));
        if connection.prepare_cached(LET_GO)?.execute(params![unique.key(), id, before])? > 0 {
            return Ok(Key::Free);
        }
    }
    match unique.conflict() {
        OnConflict::ReplaceArgs => {
            connection.prepare_cached(REPLACE_ARGS)?.execute(params![unique.key(), id, text_or_bytes(&job.args)])?;
        }
        OnConflict::RunAfter
            if may_wait(connection, unique.key(), job.parts.id)? && next_of(connection, unique.key())?.is_none() =>
        {
            return Ok(Key::After);
        }
        _ => {}
    }
    Ok(Key::Held)
}

/// Answers whether the job is new.
fn insert_one(
    statement: &mut CachedStatement<'_>,
    job: &NewJob,
    key: Option<&str>,
    now: i64,
) -> rusqlite::Result<bool> {
    let parts = &job.parts;
    let id = parts.id.as_uuid().as_bytes().as_slice();
    // The defaults of most jobs cost nothing.
    let headers = if parts.headers.is_empty() { None } else { serde_json::to_string(&parts.headers).ok() };
    let scope = parts.unique.as_ref().map(|unique| match unique.scope() {
        // What held longer than the window of a later job is let go by that one.
        UniqueScope::WhileKept | UniqueScope::Within(_) => 2,
        _ => 1,
    });
    let stored = statement.execute(params![
        id,
        parts.kind.as_str(),
        text_or_bytes(&job.args),
        parts.queue.as_str(),
        parts.priority,
        parts.scheduled_at.map_or(now, millis),
        now,
        parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
        parts.timeout.map(whole_millis),
        parts.expires_at.map(millis),
        key,
        scope,
        headers,
        tags_json(parts),
    ])?;
    Ok(stored == 1)
}

fn tags_json(parts: &Parts) -> Option<String> {
    if parts.tags.is_empty() { None } else { serde_json::to_string(&parts.tags).ok() }
}

/// For who looks for one; the row was inserted just before.
fn insert_tags(connection: &Connection, parts: &Parts) -> rusqlite::Result<()> {
    let seq = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO tags (tag, job) VALUES (?1, ?2)")?;
    parts.tags.iter().try_for_each(|tag| statement.execute(params![tag, seq]).map(drop))
}

/// Rounded up: a timeout is never zero.
fn whole_millis(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

fn holder(connection: &Connection, job: &NewJob) -> rusqlite::Result<JobId> {
    let id = job.parts.id.as_uuid().as_bytes().as_slice();
    let same_id = connection.prepare_cached(BY_ID)?.query_row([id], |row| row.get_ref(0).map(id_or_nil)).optional()?;
    match (same_id, &job.parts.unique) {
        (Some(found), _) => Ok(found),
        (None, Some(unique)) => {
            if unique.conflict() == OnConflict::RunAfter
                && let Some(next) = next_of(connection, unique.key())?
            {
                return Ok(next);
            }
            connection.prepare_cached(BY_KEY)?.query_row([unique.key()], |row| row.get_ref(0).map(id_or_nil))
        }
        (None, None) => Ok(job.parts.id),
    }
}

/// Text, so that people can read it in any client; bytes only if it is no text.
pub(crate) fn text_or_bytes(json: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match std::str::from_utf8(json) {
        Ok(text) => ValueRef::Text(text.as_bytes()),
        Err(_) => ValueRef::Blob(json),
    })
}
