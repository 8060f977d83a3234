use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, params};
use work_core::store::{Inserted, NewJob};
use work_core::{ArgsError, InvalidJob, Job, JobId, OnConflict, Parts, QueueFull, StoreError, Unique};

use crate::after::{hold_back, may_wait, next_of};
use crate::capacity::insert_within;
use crate::new_row::{self, AT_ONCE, MANY, ONE, whole_millis};
use crate::row::id_or_nil;
use crate::store::Shared;

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
pub(crate) fn insert(connection: &Connection, shared: &Shared, jobs: &[&NewJob]) -> rusqlite::Result<Vec<Inserted>> {
    let answers = insert_all(connection, shared.now(), jobs)?;
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
    insert_all(connection, now, &jobs.iter().collect::<Vec<_>>())
}

fn insert_all(connection: &Connection, now: i64, jobs: &[&NewJob]) -> rusqlite::Result<Vec<Inserted>> {
    let mut answers = Vec::with_capacity(jobs.len());
    let (mut one, mut many) = (None, None);
    for chunk in jobs.chunks(AT_ONCE) {
        if chunk.len() == AT_ONCE && chunk.iter().all(is_plain) {
            let many = statement(&mut many, connection, &MANY)?;
            if insert_at_once(many, chunk, now)? {
                answers.extend(chunk.iter().map(|job| Inserted::New(job.parts.id)));
                continue;
            }
        }
        let one = statement(&mut one, connection, &ONE)?;
        for job in chunk {
            answers.push(insert_or_find(connection, one, job, now)?);
        }
    }
    Ok(answers)
}

/// True if nothing but its id can keep it out, and nothing but its row is to be kept.
fn is_plain(job: &&NewJob) -> bool {
    job.parts.unique.is_none() && job.parts.tags.is_empty()
}

fn statement<'s, 'c>(
    kept: &'s mut Option<CachedStatement<'c>>,
    connection: &'c Connection,
    sql: &str,
) -> rusqlite::Result<&'s mut CachedStatement<'c>> {
    match kept {
        Some(statement) => Ok(statement),
        none => Ok(none.insert(connection.prepare_cached(sql)?)),
    }
}

/// Answers false, and has done nothing, if one of them is there already.
fn insert_at_once(many: &mut CachedStatement<'_>, jobs: &[&NewJob], now: i64) -> rusqlite::Result<bool> {
    for (n, job) in jobs.iter().enumerate() {
        new_row::bind(many, n, job, None, now)?;
    }
    match many.raw_execute() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
        result => result.map(|_| true),
    }
}

fn insert_or_find(
    connection: &Connection,
    one: &mut CachedStatement<'_>,
    job: &NewJob,
    now: i64,
) -> rusqlite::Result<Inserted> {
    let key = job.parts.unique.as_ref().map(Unique::key);
    let mut stored = new_row::insert(one, job, key, now)?;
    if !stored {
        stored = match (resolve(connection, job, now)?, key) {
            (Key::Free, _) => new_row::insert(one, job, key, now)?,
            (Key::After, Some(key)) if new_row::insert(one, job, None, now)? => {
                hold_back(connection, connection.last_insert_rowid(), key)?;
                true
            }
            _ => false,
        };
    }
    if stored && !job.parts.tags.is_empty() {
        insert_tags(connection, &job.parts)?;
    }
    if stored { Ok(Inserted::New(job.parts.id)) } else { holder(connection, job).map(Inserted::Duplicate) }
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

/// For who looks for one; the row was inserted just before.
fn insert_tags(connection: &Connection, parts: &Parts) -> rusqlite::Result<()> {
    let seq = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO tags (tag, job) VALUES (?1, ?2)")?;
    parts.tags.iter().try_for_each(|tag| statement.execute(params![tag, seq]).map(drop))
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
