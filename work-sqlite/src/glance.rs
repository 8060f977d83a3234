//! Counts that stop: how many jobs there are, as far as so many rows tell.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use work_core::store::{JobFilter, QueueInfo, Queues, Tally};
use work_core::{JobState, Queue};

use crate::inspect::state_of;
use crate::queues::{NEXT_QUEUE, base, count, info, oldest_ready};
use crate::row::text;
use crate::search::{Found, Search, edge, search};
use crate::store::Shared;

/// A part of the table, in the order of arrival. Grouped by who asks: that needs no sorting.
pub(crate) const PART: &str = "SELECT seq, queue, state FROM jobs NOT INDEXED WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// The next queue that has jobs in a state that is over.
pub(crate) const NEXT_DEAD: &str = "SELECT min(queue) FROM jobs INDEXED BY jobs_dead WHERE state = ?1 AND queue > ?2
    AND (state = 'discarded' OR state = 'cancelled')";

pub(crate) const SOME_READY: &str = "SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 LIMIT ?2)";

pub(crate) const SOME_DEAD: &str = "SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_dead
    WHERE state = ?3 AND queue = ?1 AND (state = 'discarded' OR state = 'cancelled') LIMIT ?2)";

pub(crate) const SOME_RUNNING: &str = "SELECT queue FROM jobs INDEXED BY jobs_leases WHERE state = 'running' LIMIT ?1";

/// A part of a count.
pub(crate) fn tally(connection: &Connection, shared: &Shared, wanted: &Search) -> rusqlite::Result<Tally> {
    if wanted.filter == JobFilter::all() {
        return part(connection, shared, wanted);
    }
    let found = search(connection, wanted)?;
    shared.has_read(found.looked());
    let Found { jobs, next, .. } = found;
    let mut tally = Tally { next, ..Tally::default() };
    jobs.into_iter().for_each(|(_, job)| tally.count(job.job.parts.queue, job.state, 1));
    Ok(tally)
}

fn part(connection: &Connection, shared: &Shared, wanted: &Search) -> rusqlite::Result<Tally> {
    let mut statement = connection.prepare_cached(PART)?;
    let mut rows = statement.query(params![edge(wanted), i64::try_from(wanted.look).unwrap_or(i64::MAX)])?;
    let (mut read, mut last) = (0, None);
    let mut counted: BTreeMap<Vec<u8>, BTreeMap<JobState, u64>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        (read, last) = (read + 1, row.get(0)?);
        let (queue, state) = (row.get_ref(1)?.as_bytes().unwrap_or_default(), state_of(row.get_ref(2)?));
        if let Some(counts) = counted.get_mut(queue) {
            *counts.entry(state).or_default() += 1;
        } else {
            counted.insert(queue.to_vec(), BTreeMap::from([(state, 1)]));
        }
    }
    shared.has_read(read);
    let mut tally = Tally { next: last.filter(|_| read >= wanted.look), ..Tally::default() };
    for (queue, counts) in counted {
        let queue = Queue::from(String::from_utf8_lossy(&queue).into_owned());
        counts.into_iter().for_each(|(state, jobs)| tally.count(queue.clone(), state, jobs));
    }
    Ok(tally)
}

/// The queues, with counts that stop.
pub(crate) fn queues_up_to(connection: &Connection, shared: &Shared, entries: &usize) -> rusqlite::Result<Queues> {
    let mut look = Look { connection, shared, queues: base(connection, shared)?, complete: true };
    // A quarter each: for the names of queues, for what runs; the rest for all else.
    let quarter = (entries / 4).max(1);
    let waiting = look.names(NEXT_QUEUE, None, quarter)?;
    let mut groups: Vec<(Value, JobState)> = waiting.into_iter().map(|queue| (queue, JobState::Available)).collect();
    for state in [JobState::Discarded, JobState::Cancelled] {
        groups.extend(look.names(NEXT_DEAD, Some(state), quarter)?.into_iter().map(|queue| (queue, state)));
    }
    let each = (2 * quarter / groups.len().max(1)).max(1);
    for (queue, state) in groups {
        look.group(&queue, state, each)?;
    }
    look.running(quarter)?;
    shared.has_read(look.queues.len());
    Ok(Queues { queues: look.queues.into_values().collect(), complete: look.complete })
}

struct Look<'l> {
    connection: &'l Connection,
    shared: &'l Shared,
    queues: BTreeMap<String, QueueInfo>,
    complete: bool,
}

impl Look<'_> {
    /// The first names, each by one place in the index.
    fn names(&mut self, sql: &str, state: Option<JobState>, most: usize) -> rusqlite::Result<Vec<Value>> {
        let sql = if state.is_some() { sql.to_owned() } else { format!("{sql} AND queue > ?2 AND ?1 IS NULL") };
        let mut statement = self.connection.prepare_cached(&sql)?;
        let (mut names, mut last) = (Vec::new(), Value::Text(String::new()));
        loop {
            let next = statement.query_row(params![state.map(JobState::name), last], |row| row.get::<_, Value>(0))?;
            self.shared.has_read(1);
            if next == Value::Null {
                return Ok(names);
            }
            if names.len() == most {
                self.complete = false;
                return Ok(names);
            }
            names.push(next.clone());
            last = next;
        }
    }

    fn group(&mut self, queue: &Value, state: JobState, each: usize) -> rusqlite::Result<()> {
        let limit = i64::try_from(each + 1).unwrap_or(i64::MAX);
        let ready = state == JobState::Available;
        let mut statement = self.connection.prepare_cached(if ready { SOME_READY } else { SOME_DEAD })?;
        let jobs: i64 = if ready {
            statement.query_row(params![queue, limit], |row| row.get(0))?
        } else {
            statement.query_row(params![queue, limit, state.name()], |row| row.get(0))?
        };
        let jobs = usize::try_from(jobs).unwrap_or_default();
        self.shared.has_read(jobs);
        let name = text(queue.into()).unwrap_or_default();
        count(&mut self.queues, &name, state, jobs.min(each).try_into().unwrap_or(i64::MAX));
        let of = info(&mut self.queues, &name);
        if jobs > each {
            of.at_least.insert(state);
        }
        if ready {
            of.oldest_ready_for = oldest_ready(self.connection, self.shared.now(), &name)?;
            // One place for each level of its priorities, and one behind them.
            self.shared.has_read(usize::from(work_core::MAX_PRIORITY) + 2);
        }
        Ok(())
    }

    /// They are in the order in which their leases end: if there are more, each queue may have more.
    fn running(&mut self, most: usize) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(SOME_RUNNING)?;
        let mut rows = statement.query([i64::try_from(most + 1).unwrap_or(i64::MAX)])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            read += 1;
            if read <= most {
                count(&mut self.queues, &text(row.get_ref(0)?).unwrap_or_default(), JobState::Running, 1);
            }
        }
        self.shared.has_read(read);
        if read > most {
            self.queues.values_mut().for_each(|info| _ = info.at_least.insert(JobState::Running));
        }
        Ok(())
    }
}
