//! Jobs that ended long ago are forgotten. The table is read from its oldest rows on, off the thread that writes: an
//! index of the ends would cost every job.

use rusqlite::Connection;
use work_core::JobState;
use work_core::store::Retention;

use crate::operate::delete_row;
use crate::row::instant;
use crate::store::Shared;

/// Rows that are read at once, at most.
const ROWS: i64 = 10_000;

/// So many rows in a row that are too young to be forgotten say that those behind them are, too.
const YOUNG: usize = 1_000;

const READ: &str = "SELECT seq, state, finished_at, created_at, queue FROM jobs NOT INDEXED WHERE seq > ?1
    ORDER BY seq LIMIT ?2";

const KEPT: &str = "SELECT 1 FROM kept WHERE substr(?1, 1, length(prefix)) = prefix";

/// What to look for, and from which row on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    pub(crate) retention: Retention,
    pub(crate) after: i64,
    pub(crate) limit: usize,
}

/// Rows to forget.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) rows: Vec<i64>,
    /// Where to go on, if there may be more.
    pub(crate) next: Option<i64>,
}

pub(crate) fn sweep(connection: &Connection, shared: &Shared, wanted: &Sweep) -> rusqlite::Result<Swept> {
    let now = instant(shared.now());
    let until = |state: JobState| wanted.retention.until(state, now).map(|at| at.timestamp_millis());
    // Nothing that was accepted later can have ended before it.
    let young = JobState::ALL.into_iter().filter_map(until).max().unwrap_or(i64::MIN);
    let mut statement = connection.prepare_cached(READ)?;
    let mut rows = statement.query([wanted.after, ROWS])?;
    let (mut swept, mut read, mut in_a_row) = (Swept::default(), 0, 0);
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        read += 1;
        in_a_row = if row.get::<_, i64>(3)? >= young { in_a_row + 1 } else { 0 };
        if in_a_row >= YOUNG {
            return Ok(swept);
        }
        if is_old(row, &until)? && !is_kept(connection, row.get_ref(4)?)? {
            swept.rows.push(seq);
        }
        if read == ROWS || swept.rows.len() >= wanted.limit {
            swept.next = Some(seq);
            return Ok(swept);
        }
    }
    Ok(swept)
}

fn is_old(row: &rusqlite::Row<'_>, until: &impl Fn(JobState) -> Option<i64>) -> rusqlite::Result<bool> {
    let Ok(state) = row.get_ref(1)?.as_str().unwrap_or_default().parse() else { return Ok(false) };
    let (until, finished_at) = (until(state), row.get::<_, Option<i64>>(2)?);
    Ok(until.zip(finished_at).is_some_and(|(until, finished_at)| finished_at < until))
}

fn is_kept(connection: &Connection, queue: rusqlite::types::ValueRef<'_>) -> rusqlite::Result<bool> {
    queue.as_str().map_or(Ok(false), |queue| connection.prepare_cached(KEPT)?.exists([queue]))
}

/// Forgets these, as far as they still are to be forgotten. Answers how many.
pub(crate) fn forget(
    connection: &Connection,
    shared: &Shared,
    (retention, rows): &(Retention, Vec<i64>),
) -> rusqlite::Result<u64> {
    let now = instant(shared.now());
    let until = |state: JobState| retention.until(state, now).map(|at| at.timestamp_millis());
    let mut look = connection.prepare_cached("SELECT seq, state, finished_at, queue FROM jobs WHERE seq = ?1")?;
    let mut forgotten = 0;
    for seq in rows {
        let mut found = look.query([seq])?;
        let old = match found.next()? {
            Some(row) => is_old(row, &until)? && !is_kept(connection, row.get_ref(3)?)?,
            None => false,
        };
        drop(found);
        if old {
            delete_row(connection, *seq)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
