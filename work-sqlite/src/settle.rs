use rusqlite::{CachedStatement, Connection, params};
use work_core::Status;
use work_core::store::{ErrorRecord, Settle, Settled, Settlement};

use crate::insert::{insert, text_or_bytes};
use crate::row::millis;
use crate::store::Shared;

/// Every settlement goes by row and fence, and only while the row is running. The id is compared too, since SQLite
/// gives the number of a deleted row to the next one.
const COMPLETE: &str = "UPDATE jobs SET state = 'completed', status = ?3, output = ?4, finished_at = ?5,
    lease_until = NULL WHERE seq = ?1 AND fence = ?2 AND id = ?6 AND state = 'running'";

const END: &str = "UPDATE jobs SET state = ?4, status = ?3, finished_at = ?5, lease_until = NULL
    WHERE seq = ?1 AND fence = ?2 AND id = ?6 AND state = 'running'";

const AGAIN: &str = "UPDATE jobs SET state = 'available', status = ?3, scheduled_at = ?4, attempt = attempt - ?5,
    lease_until = NULL, progress = NULL, progress_at = NULL
    WHERE seq = ?1 AND fence = ?2 AND id = ?6 AND state = 'running'";

const END_ROW: &str = "UPDATE jobs SET state = ?2, status = ?3, finished_at = ?4, lease_until = NULL WHERE seq = ?1";

const RECORD: &str = "INSERT INTO attempts (job, attempt, status, message, backtrace, at)
    SELECT seq, max(attempt, 0), ?2, ?3, ?4, ?5 FROM jobs WHERE seq = ?1";

pub(crate) fn settle(connection: &Connection, shared: &Shared, done: &[Settle]) -> rusqlite::Result<Vec<Settled>> {
    let mut settling = Settling {
        connection,
        shared,
        now: shared.now(),
        complete: connection.prepare_cached(COMPLETE)?,
        end: connection.prepare_cached(END)?,
        again: connection.prepare_cached(AGAIN)?,
    };
    done.iter().map(|done| settling.settle(done)).collect()
}

/// The statements are looked up once for a batch: for one row, the look-up would cost as much as the change.
struct Settling<'c> {
    connection: &'c Connection,
    shared: &'c Shared,
    now: i64,
    complete: CachedStatement<'c>,
    end: CachedStatement<'c>,
    again: CachedStatement<'c>,
}

impl Settling<'_> {
    fn settle(&mut self, done: &Settle) -> rusqlite::Result<Settled> {
        if self.change(done)? == 0 {
            return Ok(Settled::Lost);
        }
        if let Some(error) = &done.error {
            record(self.connection, done.key.row, done.status, error, self.now)?;
        }
        if !done.then.is_empty() {
            insert(self.connection, self.shared, &done.then)?;
        }
        Ok(Settled::Done)
    }

    /// Answers how many rows had this lease: one, or none if it is no longer current.
    fn change(&mut self, done: &Settle) -> rusqlite::Result<usize> {
        let (seq, fence, status) = (done.key.row, done.key.fence.0.cast_signed(), done.status.code());
        let (now, id) = (self.now, done.key.id.as_uuid().as_bytes().as_slice());
        let (at, refund) = match &done.settlement {
            Settlement::Complete { output } => {
                let output = output.as_deref().map(text_or_bytes);
                return self.complete.execute(params![seq, fence, status, output, now, id]);
            }
            Settlement::Cancel => {
                return self.end.execute(params![seq, fence, status, Ended::Cancelled.name(), now, id]);
            }
            Settlement::Retry { at } => (*at, 0),
            Settlement::Snooze { at } => (*at, 1),
            // A settlement that this version does not know must not run again by itself.
            _ => return self.end.execute(params![seq, fence, status, Ended::Discarded.name(), now, id]),
        };
        self.shared.made_available();
        self.again.execute(params![seq, fence, status, millis(at), refund, id])
    }
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
