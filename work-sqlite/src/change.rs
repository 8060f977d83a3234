//! Everything that changes a job between its lease and its settlement.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use work_core::store::{CancelOutcome, ErrorRecord, GROUP_KIND, LeaseKey, Rescued};
use work_core::{JobId, MAX_ATTEMPTS, Status};

use crate::after::{go_on_after, go_on_all};
use crate::settle::{Ended, end, give_up, record};
use crate::store::Shared;

const EXTEND: &str = "UPDATE jobs SET lease_until = ?3
    WHERE seq = ?1 AND fence = ?2 AND id = ?4 AND state = 'running' AND cancel_requested = 0";

/// A row that runs without an end of its lease was written by hand; nobody holds it.
const EXPIRED: &str = "SELECT * FROM (
        SELECT seq, crashes, cancel_requested <> 0, kind = ?3 FROM jobs INDEXED BY jobs_leases
        WHERE state = 'running' AND lease_until < ?1 ORDER BY lease_until LIMIT ?2)
    UNION ALL SELECT seq, crashes, cancel_requested <> 0, kind = ?3 FROM jobs INDEXED BY jobs_leases
        WHERE state = 'running' AND lease_until IS NULL
    LIMIT ?2";

const CRASHED: &str = "UPDATE jobs SET crashes = ?2 WHERE seq = ?1";

const TAKE_BACK: &str = "UPDATE jobs SET state = 'available', attempt = max(attempt - 1, 0), lease_until = NULL,
    progress = NULL, progress_at = NULL WHERE seq = ?1";

const OF_WORKER: &str = "SELECT seq FROM jobs INDEXED BY jobs_leases
    WHERE state = 'running' AND worker = ?1 AND cancel_requested = 0";

/// One that waits for the holder of its key has its own again.
const CANCEL_WAITING: &str = "UPDATE jobs SET state = 'cancelled', status = 499, finished_at = ?2,
    unique_key = coalesce(unique_key, after_key), after_key = NULL, scheduled_at = coalesce(due_at, scheduled_at),
    due_at = NULL WHERE id = ?1 AND state = 'available' RETURNING seq";

const CANCEL_RUNNING: &str = "UPDATE jobs SET cancel_requested = 1 WHERE id = ?1 AND state = 'running'";

const TELL: &str = "INSERT OR IGNORE INTO stops (job) SELECT seq FROM jobs WHERE id = ?1";

const RETRY: &str = "UPDATE OR IGNORE jobs SET state = 'available', scheduled_at = ?2, finished_at = NULL, crashes = 0,
    cancel_requested = 0, progress = NULL, progress_at = NULL, attempt = min(attempt, ?3 - 1), max_attempts = min(max(max_attempts, attempt + 1), ?3)
    WHERE id = ?1 AND state IN ('discarded', 'cancelled')";

pub(crate) fn extend(
    connection: &Connection,
    shared: &Shared,
    (leases, lease_for): &(Vec<LeaseKey>, Duration),
) -> rusqlite::Result<Vec<LeaseKey>> {
    let until = shared.now().saturating_add(i64::try_from(lease_for.as_millis()).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(EXTEND)?;
    let mut held = Vec::with_capacity(leases.len());
    for key in leases {
        if statement.execute(params![
            key.row,
            key.fence.0.cast_signed(),
            until,
            key.id.as_uuid().as_bytes().as_slice()
        ])? == 1
        {
            held.push(*key);
        }
    }
    Ok(held)
}

pub(crate) fn rescue(
    connection: &Connection,
    shared: &Shared,
    (limit, max_crashes): &(usize, u32),
) -> rusqlite::Result<Rescued> {
    let now = shared.now();
    let expired: Vec<(i64, i64, bool, bool)> = connection
        .prepare_cached(EXPIRED)?
        .query_map(params![now, i64::try_from(*limit).unwrap_or(i64::MAX), GROUP_KIND], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut rescued = Rescued::default();
    for (seq, crashes, cancelled, group) in expired {
        let crashes = crashes.clamp(0, i64::from(u32::MAX) - 1) + 1;
        connection.prepare_cached(CRASHED)?.execute([seq, crashes])?;
        let error = ErrorRecord::new("crashed: the attempt ended without a report");
        if !cancelled && !group && crashes >= i64::from(*max_crashes) {
            give_up(connection, shared, seq, Status::INTERNAL_ERROR, &error)?;
            rescued.discarded += 1;
            continue;
        }
        record(connection, seq, Status::INTERNAL_ERROR, &error, now)?;
        if cancelled {
            end(connection, shared, seq, Ended::Cancelled, Status::CANCELLED)?;
        } else {
            connection.prepare_cached(TAKE_BACK)?.execute([seq])?;
            shared.made_available();
            rescued.available += 1;
        }
    }
    go_on_all(connection, shared)?;
    Ok(rescued)
}

pub(crate) fn take_back(
    connection: &Connection,
    shared: &Shared,
    (worker, held): &(String, Vec<LeaseKey>),
) -> rusqlite::Result<u64> {
    let held: HashSet<i64> = held.iter().map(|key| key.row).collect();
    let mut of_worker = connection.prepare_cached(OF_WORKER)?;
    let running = of_worker.query_map([worker], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let lost = running.iter().filter(|row| !held.contains(row));
    let mut taken = 0;
    for row in lost {
        connection.prepare_cached(TAKE_BACK)?.execute([row])?;
        shared.made_available();
        taken += 1;
    }
    Ok(taken)
}

pub(crate) fn cancel(connection: &Connection, shared: &Shared, ids: &[JobId]) -> rusqlite::Result<Vec<CancelOutcome>> {
    ids.iter().map(|id| cancel_one(connection, shared, *id)).collect()
}

pub(crate) fn cancel_one(connection: &Connection, shared: &Shared, id: JobId) -> rusqlite::Result<CancelOutcome> {
    let id = id.as_uuid().as_bytes().as_slice();
    let mut cancel = connection.prepare_cached(CANCEL_WAITING)?;
    if let Some(seq) = cancel.query_row(params![id, shared.now()], |row| row.get(0)).optional()? {
        go_on_after(connection, shared, seq)?;
        return Ok(CancelOutcome::Cancelled);
    }
    if connection.prepare_cached(CANCEL_RUNNING)?.execute([id])? == 1 {
        connection.prepare_cached(TELL)?.execute([id])?;
        return Ok(CancelOutcome::Requested);
    }
    let mut exists = connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    let exists = exists.query_row([id], |_| Ok(())).optional()?.is_some();
    Ok(if exists { CancelOutcome::Ended } else { CancelOutcome::NotFound })
}

/// Another job may hold the unique key by now; then this one stays where it is.
pub(crate) fn retry(connection: &Connection, shared: &Shared, id: &JobId) -> rusqlite::Result<bool> {
    let id = id.as_uuid().as_bytes().as_slice();
    let retried = connection.prepare_cached(RETRY)?.execute(params![id, shared.now(), MAX_ATTEMPTS])? == 1;
    if retried {
        shared.made_available();
    }
    Ok(retried)
}
