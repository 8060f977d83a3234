use rusqlite::{Connection, params};
use work_core::Status;
use work_core::store::{ErrorRecord, Settle, Settled, Settlement};

use crate::insert::{insert_one, text_or_bytes};
use crate::row::millis;
use crate::store::Shared;

/// Every settlement goes by row and fence, and only while the row is running.
const COMPLETE: &str = "UPDATE jobs SET state = 'completed', status = ?3, output = ?4, finished_at = ?5,
    lease_until = NULL WHERE seq = ?1 AND fence = ?2 AND state = 'running'";

const END: &str = "UPDATE jobs SET state = ?6, status = ?3, finished_at = ?5, lease_until = NULL
    WHERE seq = ?1 AND fence = ?2 AND state = 'running' AND ?4 IS NULL";

const AGAIN: &str = "UPDATE jobs SET state = 'available', status = ?3, scheduled_at = ?4, attempt = attempt - ?5,
    lease_until = NULL WHERE seq = ?1 AND fence = ?2 AND state = 'running'";

const END_ROW: &str = "UPDATE jobs SET state = ?2, status = ?3, finished_at = ?4, lease_until = NULL WHERE seq = ?1";

const RECORD: &str = "INSERT INTO attempts (job, attempt, status, message, backtrace, at)
    SELECT seq, max(attempt, 0), ?2, ?3, ?4, ?5 FROM jobs WHERE seq = ?1";

pub(crate) fn settle(connection: &Connection, shared: &Shared, done: &[Settle]) -> rusqlite::Result<Vec<Settled>> {
    let now = shared.now();
    done.iter().map(|done| settle_one(connection, shared, done, now)).collect()
}

fn settle_one(connection: &Connection, shared: &Shared, done: &Settle, now: i64) -> rusqlite::Result<Settled> {
    if !change(connection, shared, done, now)? {
        return Ok(Settled::Lost);
    }
    if let Some(error) = &done.error {
        record(connection, done.key.row, done.status, error, now)?;
    }
    for job in &done.then {
        insert_one(connection, shared, job, now)?;
    }
    Ok(Settled::Done)
}

/// Answers whether the lease was current.
fn change(connection: &Connection, shared: &Shared, done: &Settle, now: i64) -> rusqlite::Result<bool> {
    let (seq, fence, status) = (done.key.row, done.key.fence.0.cast_signed(), done.status.code());
    let end = |state: Ended| {
        let none: Option<i64> = None;
        connection.prepare_cached(END)?.execute(params![seq, fence, status, none, now, state.name()])
    };
    let again = |at, refund: i64| {
        shared.made_available();
        connection.prepare_cached(AGAIN)?.execute(params![seq, fence, status, millis(at), refund])
    };
    let changed = match &done.settlement {
        Settlement::Complete { output } => {
            let output = output.as_deref().map(text_or_bytes);
            connection.prepare_cached(COMPLETE)?.execute(params![seq, fence, status, output, now])?
        }
        Settlement::Retry { at } => again(*at, 0)?,
        Settlement::Snooze { at } => again(*at, 1)?,
        Settlement::Cancel => end(Ended::Cancelled)?,
        // A settlement that this version does not know must not run again by itself.
        _ => end(Ended::Discarded)?,
    };
    Ok(changed == 1)
}

/// The ends that are not well.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    Discarded,
    Cancelled,
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Ends a row that nobody holds.
pub(crate) fn end(connection: &Connection, seq: i64, state: Ended, status: Status, now: i64) -> rusqlite::Result<()> {
    connection.prepare_cached(END_ROW)?.execute(params![seq, state.name(), status.code(), now]).map(drop)
}

/// Keeps what went wrong in the attempt that the row counts.
pub(crate) fn record(
    connection: &Connection,
    seq: i64,
    status: Status,
    error: &ErrorRecord,
    now: i64,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(RECORD)?;
    statement.execute(params![seq, status.code(), error.message, error.backtrace, now]).map(drop)
}
