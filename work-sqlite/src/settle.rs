use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use work_core::store::{ErrorRecord, LeaseKey, NewJob, Settle, Settled, Settlement, on_error_job};
use work_core::{Kind, Parts, Queue, Status};

use crate::after::{go_on_after, somebody_waits};
use crate::insert::{insert, text_or_bytes};
use crate::queues::any_limits;
use crate::row::{id_or_nil, millis};
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

const COMPLETED: &str = "SELECT 1 FROM jobs WHERE seq = ?1 AND fence = ?2 AND id = ?3 AND state = 'completed'";

pub(crate) fn settle(connection: &Connection, shared: &Shared, done: &[Settle]) -> rusqlite::Result<Vec<Settled>> {
    let mut settling = Settling {
        connection,
        shared,
        now: shared.now(),
        complete: connection.prepare_cached(COMPLETE)?,
        end: connection.prepare_cached(END)?,
        again: connection.prepare_cached(AGAIN)?,
    };
    // What is the same for all of them is bound once.
    settling.complete.raw_bind_parameter(5, settling.now)?;
    let answers = done.iter().map(|done| settling.settle(done)).collect::<Result<Vec<_>, _>>()?;
    if somebody_waits(connection)? {
        done.iter().try_for_each(|done| go_on_after(connection, shared, done.key.row))?;
    }
    // When all of them have ended: a key that one of them held is free for what follows from another.
    let ended = done.iter().zip(&answers).filter(|(_, answer)| **answer == Settled::Done);
    let then: Vec<&NewJob> = ended.flat_map(|(done, _)| &done.then).collect();
    if !then.is_empty() {
        insert(connection, shared, &then)?;
    }
    if any_limits(connection)? {
        // Whoever waits may have room now.
        shared.made_available();
    }
    Ok(answers)
}

/// Those of these leases that ended by completing their job.
pub(crate) fn completed(
    connection: &Connection,
    _: &Shared,
    leases: &Vec<LeaseKey>,
) -> rusqlite::Result<Vec<LeaseKey>> {
    let mut statement = connection.prepare_cached(COMPLETED)?;
    let mut completed = Vec::new();
    for key in leases {
        if statement.exists(params![key.row, key.fence.0.cast_signed(), key.id.as_uuid().as_bytes().as_slice()])? {
            completed.push(*key);
        }
    }
    Ok(completed)
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
        Ok(Settled::Done)
    }

    /// Answers how many rows had this lease: one, or none if it is no longer current.
    fn change(&mut self, done: &Settle) -> rusqlite::Result<usize> {
        let (seq, fence, status) = (done.key.row, done.key.fence.0.cast_signed(), done.status.code());
        let (now, id) = (self.now, done.key.id.as_uuid().as_bytes().as_slice());
        let (at, refund) = match &done.settlement {
            Settlement::Complete { output } => {
                let complete = &mut self.complete;
                complete.raw_bind_parameter(1, seq)?;
                complete.raw_bind_parameter(2, fence)?;
                complete.raw_bind_parameter(3, status)?;
                complete.raw_bind_parameter(4, output.as_deref().map(text_or_bytes))?;
                complete.raw_bind_parameter(6, id)?;
                return complete.raw_execute();
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
pub(crate) fn end(
    connection: &Connection,
    shared: &Shared,
    seq: i64,
    state: Ended,
    status: Status,
) -> rusqlite::Result<()> {
    connection.prepare_cached(END_ROW)?.execute(params![seq, state.name(), status.code(), shared.now()])?;
    go_on_after(connection, shared, seq)
}

/// Makes a dead letter of a row whose runner does not say so itself.
pub(crate) fn give_up(
    connection: &Connection,
    shared: &Shared,
    seq: i64,
    status: Status,
    error: &ErrorRecord,
) -> rusqlite::Result<()> {
    let now = shared.now();
    record(connection, seq, status, error, now)?;
    end(connection, shared, seq, Ended::Discarded, status)?;
    // Most jobs have no headers, and no on-error job.
    let mut look = connection.prepare_cached(
        "SELECT id, kind, headers, attempt FROM jobs WHERE seq = ?1 AND headers LIKE '%work.on-error%'",
    )?;
    let found = look.query_row([seq], |row| {
        let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default().to_owned());
        // A row without an id that can be read is given up for that: its on-error job is made all the same.
        let id = id_or_nil(row.get_ref(0)?);
        let mut parts = Parts::new(id, Kind::from(text(1)?), Queue::DEFAULT);
        parts.headers = serde_json::from_str(&text(2)?).unwrap_or_default();
        Ok((parts, u32::try_from(row.get::<_, i64>(3)?).unwrap_or_default()))
    });
    let job = found.optional()?.and_then(|(parts, attempt)| on_error_job(&parts, status, attempt, error));
    job.map_or(Ok(()), |job| insert(connection, shared, &[&job]).map(drop))
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
