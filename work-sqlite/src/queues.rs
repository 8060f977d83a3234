//! Queues: paused and resumed, and looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use work_core::store::{JobFilter, QueueInfo};
use work_core::{JobState, Queue};

use crate::candidates::groups_of;
use crate::inspect::{COUNT_DEAD, COUNT_READY};
use crate::lease::first_due;
use crate::row::instant;
use crate::store::Shared;
use crate::workers::workers;

const NEXT_QUEUE: &str = "SELECT min(queue) FROM jobs INDEXED BY jobs_ready WHERE state = 'available'";

/// Answers whether it was at work before.
pub(crate) fn pause(connection: &Connection, shared: &Shared, queue: &Queue) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO paused (queue, at) VALUES (?1, ?2)")?;
    Ok(statement.execute(params![queue.as_str(), shared.now()])? == 1)
}

/// Answers whether it was paused.
pub(crate) fn resume(connection: &Connection, shared: &Shared, queue: &Queue) -> rusqlite::Result<bool> {
    let resumed = connection.prepare_cached("DELETE FROM paused WHERE queue = ?1")?.execute([queue.as_str()])? == 1;
    if resumed {
        shared.made_available();
    }
    Ok(resumed)
}

/// Those of these queues that are not paused.
pub(crate) fn at_work<'q>(connection: &Connection, queues: &'q [Queue]) -> rusqlite::Result<Vec<&'q Queue>> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM paused WHERE queue = ?1")?;
    let mut at_work = Vec::with_capacity(queues.len());
    for queue in queues {
        if statement.query_row([queue.as_str()], |_| Ok(())).optional()?.is_none() {
            at_work.push(queue);
        }
    }
    Ok(at_work)
}

type Queues = BTreeMap<String, QueueInfo>;

pub(crate) fn queues(connection: &Connection, shared: &Shared, (): &()) -> rusqlite::Result<Vec<QueueInfo>> {
    let now = shared.now();
    let mut queues = Queues::new();
    for worker in workers(connection, shared, &())? {
        worker.queues.iter().for_each(|queue| _ = info(&mut queues, queue.as_str()));
    }
    let mut statement = connection.prepare_cached("SELECT queue, at FROM paused")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let at = row.get::<_, i64>(1).map(instant)?;
        info(&mut queues, row.get_ref(0)?.as_str().unwrap_or_default()).paused_at = Some(at);
    }
    ready(connection, now, &mut queues)?;
    let sql = "SELECT queue, count(*) FROM jobs INDEXED BY jobs_leases WHERE state = 'running' GROUP BY queue";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        count(&mut queues, row.get_ref(0)?.as_str().unwrap_or_default(), JobState::Running, row.get(1)?);
    }
    for state in [JobState::Discarded, JobState::Cancelled] {
        let mut statement = connection.prepare_cached(COUNT_DEAD)?;
        for (queue, kind) in groups_of(connection, &JobFilter::all(), state)? {
            let jobs = statement.query_row(params![state.name(), queue, kind], |row| row.get(0))?;
            count(&mut queues, &queue.lossy(), state, jobs);
        }
    }
    Ok(queues.into_values().collect())
}

/// One place in the index for each queue, and for each level of its priorities.
fn ready(connection: &Connection, now: i64, queues: &mut Queues) -> rusqlite::Result<()> {
    let mut jobs = connection.prepare_cached(&format!("{COUNT_READY} AND queue = ?1"))?;
    let mut next = connection.prepare_cached(&format!("{NEXT_QUEUE} AND queue > ?1"))?;
    let text = |row: &rusqlite::Row<'_>| {
        row.get_ref(0).map(|name| name.as_bytes().ok().map(|name| String::from_utf8_lossy(name).into_owned()))
    };
    let mut found = connection.prepare_cached(NEXT_QUEUE)?.query_row([], text)?;
    while let Some(queue) = found {
        count(queues, &queue, JobState::Available, jobs.query_row([&queue], |row| row.get(0))?);
        let first = first_due(connection, &Queue::from(queue.clone()))?.filter(|at| *at <= now);
        let waits = first.map(|at| Duration::from_millis(now.saturating_sub(at).unsigned_abs()));
        info(queues, &queue).oldest_ready_for = waits;
        found = next.query_row([&queue], text)?;
    }
    Ok(())
}

fn info<'q>(queues: &'q mut Queues, queue: &str) -> &'q mut QueueInfo {
    queues.entry(queue.to_owned()).or_insert_with(|| QueueInfo::new(Queue::from(queue.to_owned())))
}

fn count(queues: &mut Queues, queue: &str, state: JobState, jobs: i64) {
    *info(queues, queue).counts.0.entry(state).or_default() += u64::try_from(jobs).unwrap_or_default();
}
