//! The jobs of a filter, a page at a time, however few of a million they are.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use work_core::store::{JobFilter, Order, StoredJob, TimeRange};

use crate::candidates::{Candidates, candidates};
use crate::inspect::{MORE, attempts, stored};
use crate::row::{COLUMNS, WIDTH, instant};

/// Rows that are read for one page, at most, those of attempts that a filter asks for included.
pub(crate) const ROWS: usize = 5_000;

/// Entries of an index that are read for the jobs of one kind of state, at most.
pub(crate) const ENTRIES: usize = 2_000;

/// What a page is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) filter: JobFilter,
    pub(crate) order: Order,
    pub(crate) after: Option<i64>,
    pub(crate) limit: usize,
    /// Rows that are read, at most.
    pub(crate) look: usize,
}

/// A page: rows with what is stored in them, without their attempts unless the filter needed those.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) jobs: Vec<(i64, StoredJob)>,
    pub(crate) next: Option<i64>,
    /// Entries of indexes that were read.
    pub(crate) entries: usize,
    /// Rows that were read.
    pub(crate) rows: usize,
}

/// What was read of a row: who had to look at its attempts has read those too.
struct Fitting {
    job: Option<StoredJob>,
    attempts: usize,
}

impl Found {
    fn take(&mut self, seq: i64, fitting: Option<Fitting>) {
        let Some(Fitting { job, attempts }) = fitting else { return };
        self.rows += attempts;
        self.jobs.extend(job.map(|job| (seq, job)));
    }

    /// Rows and entries that were read.
    pub(crate) const fn looked(&self) -> usize {
        self.rows + self.entries
    }
}

pub(crate) fn search(connection: &Connection, search: &Search) -> rusqlite::Result<Found> {
    let mut found = Found::default();
    match candidates(connection, search, &mut found.entries)? {
        Some(candidates) => of_rows(connection, search, candidates, &mut found)?,
        None => scan(connection, search, &mut found)?,
    }
    Ok(found)
}

/// Reads these rows, one after the other.
fn of_rows(
    connection: &Connection,
    search: &Search,
    Candidates { rows, until }: Candidates,
    found: &mut Found,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS}, {MORE} FROM jobs WHERE seq = ?1"))?;
    let mut before = search.after;
    for seq in rows {
        if found.jobs.len() == search.limit || found.rows >= search.look {
            found.next = before;
            return Ok(());
        }
        found.rows += 1;
        let job = statement.query_row([seq], |row| fitting(connection, search, seq, row)).optional()?;
        found.take(seq, job.flatten());
        before = Some(seq);
    }
    found.next = until;
    Ok(())
}

/// The statement that reads the table in order.
pub(crate) fn scan_sql(order: Order) -> String {
    let (comes_after, direction) = comparison(order);
    format!(
        "SELECT {COLUMNS}, {MORE} FROM jobs NOT INDEXED WHERE seq {comes_after} ?1 ORDER BY seq {direction} LIMIT ?2"
    )
}

/// Reads the table from the place where the page starts.
fn scan(connection: &Connection, search: &Search, found: &mut Found) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&scan_sql(search.order))?;
    let mut rows = statement.query([edge(search), i64::try_from(search.look.saturating_add(1)).unwrap_or(i64::MAX)])?;
    let mut before = search.after;
    while let Some(row) = rows.next()? {
        if found.jobs.len() == search.limit || found.rows >= search.look {
            found.next = before;
            return Ok(());
        }
        found.rows += 1;
        let seq = row.get(0)?;
        let job = fitting(connection, search, seq, row)?;
        found.take(seq, job);
        before = Some(seq);
    }
    Ok(())
}

/// The row as a job, if it is one that the filter means.
fn fitting(connection: &Connection, search: &Search, seq: i64, row: &Row<'_>) -> rusqlite::Result<Option<Fitting>> {
    let filter = &search.filter;
    if !may_fit(filter, row)? {
        return Ok(None);
    }
    let (mut job, mut read) = (stored(row)?, 0);
    if filter.error_contains.is_some() {
        job.attempts = attempts(connection, seq)?;
        read = job.attempts.len();
    }
    Ok(Some(Fitting { job: filter.fits(&job).then_some(job), attempts: read }))
}

/// What can be told without making a job of the row.
fn may_fit(filter: &JobFilter, row: &Row<'_>) -> rusqlite::Result<bool> {
    let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default());
    let in_range = |range: &TimeRange, column| {
        Ok::<_, rusqlite::Error>(match row.get_ref(column)? {
            _ if range.is_all() => true,
            ValueRef::Integer(at) => range.contains(instant(at)),
            _ => false,
        })
    };
    let (queue, kind, state) = (text(4)?, text(2)?, text(WIDTH)?);
    Ok((filter.states.is_empty() || filter.states.iter().any(|one| one.name() == state))
        && (filter.queues.is_empty() || filter.queues.iter().any(|one| one.as_str() == queue))
        && (filter.kinds.is_empty() || filter.kinds.iter().any(|one| one.as_str() == kind))
        && in_range(&filter.created, 7)?
        && in_range(&filter.due, 6)?
        && in_range(&filter.finished, WIDTH + 4)?)
}

pub(crate) const fn comparison(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::OldestFirst => (">", "ASC"),
        Order::NewestFirst => ("<", "DESC"),
    }
}

/// Where a page starts: rows that come after this.
pub(crate) fn edge(search: &Search) -> i64 {
    search.after.unwrap_or(match search.order {
        Order::OldestFirst => i64::MIN,
        Order::NewestFirst => i64::MAX,
    })
}
