//! Jobs that wait until the holder of their unique key has ended. They are due at no time, so that who looks for jobs that
//! are due does not come across them.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use work_core::JobId;

use crate::row::id_or_nil;
use crate::store::Shared;

/// When a job is due that waits for another one.
pub(crate) const NEVER: i64 = i64::MAX;

const BY_KEY: &str = "SELECT id FROM jobs WHERE after_key = ?1 AND after_key IS NOT NULL";

const RUNS: &str = "SELECT 1 FROM jobs WHERE unique_key = ?1 AND unique_key IS NOT NULL
    AND (unique_scope = 2 OR state = 'available' OR state = 'running') AND state = 'running' AND unique_scope = 1
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?2)";

const HOLD_BACK: &str = "UPDATE jobs SET after_key = ?2, due_at = scheduled_at, scheduled_at = ?3 WHERE seq = ?1";

const SOMEBODY: &str = "SELECT 1 FROM jobs INDEXED BY jobs_after WHERE after_key IS NOT NULL LIMIT 1";

/// Where another job holds the key all the same, which only somebody's hand can do, it goes on waiting.
const GO_ON: &str =
    "UPDATE jobs SET unique_key = after_key, after_key = NULL, scheduled_at = coalesce(due_at, scheduled_at),
    due_at = NULL WHERE after_key IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM jobs AS holder WHERE holder.unique_key = jobs.after_key AND holder.unique_key IS NOT NULL
        AND (holder.unique_scope = 2 OR holder.state = 'available' OR holder.state = 'running'))";

/// A key as it stands in a row; one that is no text was written by hand, and nobody waits for it.
pub(crate) fn text(key: ValueRef<'_>) -> Option<String> {
    key.as_str().ok().map(str::to_owned)
}

/// Who waits for the holder of this key.
pub(crate) fn next_of(connection: &Connection, key: &str) -> rusqlite::Result<Option<JobId>> {
    connection.prepare_cached(BY_KEY)?.query_row([key], |row| row.get_ref(0).map(id_or_nil)).optional()
}

/// True if a job with this id that is not stored yet may wait for the holder of the key: it runs, and frees the key when it
/// ends.
pub(crate) fn may_wait(connection: &Connection, key: &str, id: JobId) -> rusqlite::Result<bool> {
    let id = id.as_uuid().as_bytes().as_slice();
    Ok(connection.prepare_cached(RUNS)?.query_row(params![key, id], |_| Ok(())).optional()?.is_some())
}

/// Makes a job that was inserted without a key wait for the holder of this one.
pub(crate) fn hold_back(connection: &Connection, seq: i64, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(HOLD_BACK)?.execute(params![seq, key, NEVER]).map(drop)
}

/// True if some job waits for another one, which is rare.
pub(crate) fn somebody_waits(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached(SOMEBODY)?.exists([])
}

/// Lets go on who waits for the holder of this key, if that has ended.
pub(crate) fn go_on(connection: &Connection, shared: &Shared, key: &str) -> rusqlite::Result<()> {
    let gone_on = connection.prepare_cached(&format!("{GO_ON} AND after_key = ?1"))?.execute([key])?;
    if gone_on > 0 {
        shared.made_available();
    }
    Ok(())
}

/// As [`go_on`], for the key of this row.
pub(crate) fn go_on_after(connection: &Connection, shared: &Shared, seq: i64) -> rusqlite::Result<()> {
    if !somebody_waits(connection)? {
        return Ok(());
    }
    let mut key = connection.prepare_cached("SELECT unique_key FROM jobs WHERE seq = ?1 AND unique_key IS NOT NULL")?;
    let key = key.query_row([seq], |row| row.get_ref(0).map(text)).optional()?.flatten();
    key.map_or(Ok(()), |key| go_on(connection, shared, &key))
}

/// Lets go on all whose holder is gone, also by somebody's hand.
pub(crate) fn go_on_all(connection: &Connection, shared: &Shared) -> rusqlite::Result<()> {
    if somebody_waits(connection)? && connection.prepare_cached(GO_ON)?.execute([])? > 0 {
        shared.made_available();
    }
    Ok(())
}
