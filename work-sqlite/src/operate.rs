//! What people do to jobs.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use work_core::JobId;
use work_core::store::{Act, Acted, CancelOutcome, Change, DeleteOutcome, JobVersion};

use crate::after::{go_on, text};
use crate::change::{cancel_one, retry};
use crate::insert::text_or_bytes;
use crate::store::Shared;
use crate::{inspect, row};

/// One that waits for another job goes on doing so, and is due then.
const RUN_NOW: &str = "UPDATE jobs SET due_at = min(due_at, ?2),
    scheduled_at = CASE WHEN after_key IS NULL THEN min(scheduled_at, ?2) ELSE scheduled_at END
    WHERE id = ?1 AND state = 'available'";

const EDIT: &str = "UPDATE jobs SET args = ?2 WHERE id = ?1 AND state <> 'running'";

pub(crate) fn run_now(connection: &Connection, shared: &Shared, id: &JobId) -> rusqlite::Result<bool> {
    let id = id.as_uuid().as_bytes().as_slice();
    let waits = connection.prepare_cached(RUN_NOW)?.execute(params![id, shared.now()])? == 1;
    if waits {
        shared.made_available();
    }
    Ok(waits)
}

pub(crate) fn edit(connection: &Connection, _: &Shared, (id, args): &(JobId, Bytes)) -> rusqlite::Result<bool> {
    let id = id.as_uuid().as_bytes().as_slice();
    Ok(connection.prepare_cached(EDIT)?.execute(params![id, text_or_bytes(args)])? == 1)
}

/// Nobody else writes until this transaction has ended.
pub(crate) fn act_if(
    connection: &Connection,
    shared: &Shared,
    (id, seen, act): &(JobId, JobVersion, Act),
) -> rusqlite::Result<Acted> {
    match inspect::get(connection, shared, id)? {
        None => return Ok(Acted::NotFound),
        Some(stored) if JobVersion::of(&stored) != *seen => return Ok(Acted::Changed),
        Some(_) => {}
    }
    let done = match act {
        Act::Retry => retry(connection, shared, id)?,
        Act::RunNow => run_now(connection, shared, id)?,
        Act::Cancel => CancelOutcome::is_change(cancel_one(connection, shared, *id)?),
        Act::Delete => delete_one(connection, shared, *id)? == DeleteOutcome::Deleted,
        Act::Edit(args) => edit(connection, shared, &(*id, args.clone()))?,
        Act::EditAndRetry(args) => retry(connection, shared, id)? && edit(connection, shared, &(*id, args.clone()))?,
        // What this version does not know.
        _ => false,
    };
    Ok(if done { Acted::Done } else { Acted::Refused })
}

pub(crate) fn delete(connection: &Connection, shared: &Shared, ids: &[JobId]) -> rusqlite::Result<Vec<DeleteOutcome>> {
    ids.iter().map(|id| delete_one(connection, shared, *id)).collect()
}

fn delete_one(connection: &Connection, shared: &Shared, id: JobId) -> rusqlite::Result<DeleteOutcome> {
    let id = id.as_uuid().as_bytes().as_slice();
    let mut find = connection.prepare_cached("SELECT seq, state = 'running', unique_key FROM jobs WHERE id = ?1")?;
    let found = find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get_ref(2).map(text)?))).optional()?;
    let (seq, key): (i64, Option<String>) = match found {
        None => return Ok(DeleteOutcome::NotFound),
        Some((_, true, _)) => return Ok(DeleteOutcome::Running),
        Some((seq, false, key)) => (seq, key),
    };
    delete_row(connection, seq)?;
    if let Some(key) = key {
        go_on(connection, shared, &key)?;
    }
    Ok(DeleteOutcome::Deleted)
}

/// With all that is known of it, also where the connection does not follow references.
pub(crate) fn delete_row(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    let mut tags = connection.prepare_cached("SELECT tags FROM jobs WHERE seq = ?1 AND tags IS NOT NULL")?;
    if let Some(tags) =
        tags.query_row([seq], |row| row.get_ref(0).map(|tags| row::text(tags).unwrap_or_default())).optional()?
    {
        let tags: Vec<String> = serde_json::from_str(&tags).unwrap_or_default();
        let mut forget = connection.prepare_cached("DELETE FROM tags WHERE tag = ?1 AND job = ?2")?;
        tags.iter().try_for_each(|tag| forget.execute(params![tag, seq]).map(drop))?;
    }
    connection.prepare_cached("DELETE FROM attempts WHERE job = ?1")?.execute([seq])?;
    connection.prepare_cached("DELETE FROM jobs WHERE seq = ?1")?.execute([seq]).map(drop)
}

/// Changes these jobs, as far as the change still suits them. Answers how many.
pub(crate) fn change(
    connection: &Connection,
    shared: &Shared,
    (change, ids): &(Change, Vec<JobId>),
) -> rusqlite::Result<u64> {
    let mut changed = 0;
    for id in ids {
        let done = match change {
            Change::Retry => retry(connection, shared, id)?,
            Change::Cancel => CancelOutcome::is_change(cancel_one(connection, shared, *id)?),
            Change::Delete => delete_one(connection, shared, *id)? == DeleteOutcome::Deleted,
        };
        changed += u64::from(done);
    }
    Ok(changed)
}
