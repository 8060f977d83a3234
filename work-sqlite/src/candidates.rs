//! Rows that a filter may mean, from the indexes that tell.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use work_core::store::{JobFilter, Order};
use work_core::{JobId, JobState};

use crate::search::{ENTRIES, Search, comparison, edge};

/// Rows that may be meant, in order.
pub(crate) struct Candidates {
    pub(crate) rows: Vec<i64>,
    /// The last row that is certain, if there may be more after it.
    pub(crate) until: Option<i64>,
}

/// The rows that may be meant, if an index tells; otherwise the table is read in order.
pub(crate) fn candidates(
    connection: &Connection,
    search: &Search,
    entries: &mut usize,
) -> rusqlite::Result<Option<Candidates>> {
    let filter = &search.filter;
    let mut arms = Arms { connection, search, rows: Vec::new(), until: None, each: ENTRIES };
    if !filter.ids.is_empty() {
        arms.ids(&filter.ids)?;
    } else if let Some(tag) = filter.tags.first() {
        arms.arm(&tag_sql(search.order), &[tag])?;
    } else if !arms.states()? {
        *entries += arms.rows.len();
        return Ok(None);
    }
    *entries += arms.rows.len();
    Ok(Some(arms.finish()))
}

/// Reads several ordered parts of indexes, and merges them.
struct Arms<'a> {
    connection: &'a Connection,
    search: &'a Search,
    rows: Vec<i64>,
    /// The first place where an arm was cut off.
    until: Option<i64>,
    /// Entries of one arm, at most.
    each: usize,
}

pub(crate) fn tag_sql(order: Order) -> String {
    let (comes_after, direction) = comparison(order);
    format!("SELECT job FROM tags WHERE tag = ?3 AND job {comes_after} ?1 ORDER BY job {direction} LIMIT ?2")
}

pub(crate) fn dead_sql(order: Order, state: JobState) -> String {
    let (comes_after, direction) = comparison(order);
    format!(
        "SELECT seq FROM jobs INDEXED BY jobs_dead WHERE state = '{state}' AND queue = ?3 AND kind = ?4
         AND seq {comes_after} ?1 ORDER BY seq {direction} LIMIT ?2"
    )
}

/// Not in order: all of them, if they are few.
pub(crate) fn open_sql(state: JobState) -> String {
    let index = if state == JobState::Running { "jobs_leases" } else { "jobs_ready" };
    format!("SELECT seq FROM jobs INDEXED BY {index} WHERE state = '{state}' LIMIT ?1")
}

pub(crate) const READY_OF_QUEUE: &str =
    "SELECT seq FROM jobs INDEXED BY jobs_ready WHERE state = 'available' AND queue = ?2 LIMIT ?1";

impl Arms<'_> {
    fn ids(&mut self, ids: &[JobId]) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached("SELECT seq FROM jobs WHERE id = ?1")?;
        for id in ids {
            let id = id.as_uuid().as_bytes().as_slice();
            self.rows.extend(statement.query_row([id], |row| row.get::<_, i64>(0)).optional()?);
        }
        Ok(())
    }

    /// By state. False if no index has it, or if there are too many to put in order.
    fn states(&mut self) -> rusqlite::Result<bool> {
        let filter = &self.search.filter;
        if filter.states.is_empty() || filter.states.contains(&JobState::Completed) {
            return Ok(false);
        }
        let (open, dead): (Vec<JobState>, Vec<JobState>) = filter.states.iter().partition(|state| !state.is_terminal());
        for state in open {
            if !self.open(state)? {
                return Ok(false);
            }
        }
        let mut groups = Vec::new();
        for state in dead {
            groups.extend(groups_of(self.connection, filter, state)?.into_iter().map(|group| (state, group)));
        }
        if groups.len() > ENTRIES / 10 {
            return Ok(false);
        }
        self.each = ENTRIES / groups.len().max(1);
        for (state, (queue, kind)) in groups {
            self.arm(&dead_sql(self.search.order, state), &[&queue, &kind])?;
        }
        Ok(true)
    }

    fn open(&mut self, state: JobState) -> rusqlite::Result<bool> {
        let (from, most) = (self.rows.len(), i64::try_from(ENTRIES + 1).unwrap_or(i64::MAX));
        let queues = &self.search.filter.queues;
        if state == JobState::Available && !queues.is_empty() {
            let mut statement = self.connection.prepare_cached(READY_OF_QUEUE)?;
            for queue in queues {
                let left = most - i64::try_from(self.rows.len() - from).unwrap_or(i64::MAX);
                if left <= 0 {
                    break;
                }
                let rows = statement.query_map(params![left, queue.as_str()], |row| row.get::<_, i64>(0))?;
                self.rows.extend(rows.collect::<Result<Vec<_>, _>>()?);
            }
        } else {
            let mut statement = self.connection.prepare_cached(&open_sql(state))?;
            let rows = statement.query_map([most], |row| row.get::<_, i64>(0))?;
            self.rows.extend(rows.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(self.rows.len() - from <= ENTRIES)
    }

    /// Reads a part of an index, in order, from where the page starts.
    fn arm(&mut self, sql: &str, more: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let (from, limit) = (edge(self.search), i64::try_from(self.each).unwrap_or(i64::MAX));
        let mut all: Vec<&dyn ToSql> = vec![&from, &limit];
        all.extend(more);
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(&*all, |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
        if rows.len() >= self.each
            && let Some(last) = rows.last()
        {
            let nearer = self.until.is_none_or(|until| self.is_before(*last, until));
            self.until = if nearer { Some(*last) } else { self.until };
        }
        self.rows.extend(rows);
        Ok(())
    }

    fn is_before(&self, a: i64, b: i64) -> bool {
        match self.search.order {
            Order::OldestFirst => a < b,
            Order::NewestFirst => a > b,
        }
    }

    fn finish(mut self) -> Candidates {
        let mut rows = std::mem::take(&mut self.rows);
        let after = self.search.after;
        rows.retain(|row| {
            after.is_none_or(|after| self.is_before(after, *row))
                && self.until.is_none_or(|until| !self.is_before(until, *row))
        });
        rows.sort_unstable();
        rows.dedup();
        if self.search.order == Order::NewestFirst {
            rows.reverse();
        }
        Candidates { rows, until: self.until }
    }
}

/// The queues and kinds of what is in a state, as far as a filter asks for them. Each step is one place in the index.
pub(crate) fn groups_of(
    connection: &Connection,
    filter: &JobFilter,
    state: JobState,
) -> rusqlite::Result<Vec<(Text, Text)>> {
    let mut groups = Vec::new();
    let index = format!("FROM jobs INDEXED BY jobs_dead WHERE state = '{state}'");
    let step = |column: &str, given: &str, before: Option<Text>, more: &[&dyn ToSql]| {
        let after = if before.is_some() { format!("AND {column} > ?{}", more.len() + 1) } else { String::new() };
        let mut statement = connection.prepare_cached(&format!("SELECT min({column}) {index} {given} {after}"))?;
        let mut values = more.to_vec();
        values.extend(before.iter().map(|before| before as &dyn ToSql));
        statement.query_row(&*values, |row| Ok(Text::of(row.get_ref(0)?)))
    };
    let mut queue = None;
    while let Some(found) = step("queue", "", queue.take(), &[])? {
        let mut kind = None;
        let wanted = filter.queues.is_empty() || filter.queues.iter().any(|one| found.is(one.as_str()));
        while wanted && let Some(of_kind) = step("kind", "AND queue = ?1", kind.take(), &[&found])? {
            if filter.kinds.is_empty() || filter.kinds.iter().any(|one| of_kind.is(one.as_str())) {
                groups.push((found.clone(), of_kind.clone()));
            }
            kind = Some(of_kind);
        }
        queue = Some(found);
    }
    Ok(groups)
}

/// A text of a row, which need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    fn of(value: ValueRef<'_>) -> Option<Self> {
        value.as_bytes().ok().map(|bytes| Self(bytes.to_vec()))
    }

    pub(crate) fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.0 == name.as_bytes()
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}
