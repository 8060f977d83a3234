//! Queues: paused and resumed, and looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use work_core::store::{JobFilter, QueueInfo};
use work_core::{JobState, Queue};

use crate::candidates::groups_of;
use crate::inspect::{COUNT_DEAD, COUNT_READY};
use crate::keys::forget_limits;
use crate::lease::first_due;
use crate::row::instant;
use crate::store::Shared;
use crate::workers::workers;
use crate::{capacity, rates};

pub(crate) const NEXT_QUEUE: &str = "SELECT min(queue) FROM jobs INDEXED BY jobs_ready WHERE state = 'available'";

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

/// Answers whether it was not kept before.
pub(crate) fn keep(connection: &Connection, _: &Shared, prefix: &Queue) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached("INSERT OR IGNORE INTO kept (prefix) VALUES (?1)")?.execute([prefix.as_str()])? == 1)
}

/// Answers whether it was kept.
pub(crate) fn release(connection: &Connection, _: &Shared, prefix: &Queue) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached("DELETE FROM kept WHERE prefix = ?1")?.execute([prefix.as_str()])? == 1)
}

/// Answers whether nothing is to be leased from it.
pub(crate) fn is_paused(connection: &Connection, queue: &Queue) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM paused WHERE queue = ?1")?.exists([queue.as_str()])
}

/// Answers whether any queue has a limit.
pub(crate) fn any_limits(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM limits LIMIT 1")?.exists([])
}

fn limit(connection: &Connection, queue: &Queue) -> rusqlite::Result<Option<u32>> {
    let mut statement = connection.prepare_cached("SELECT at_most FROM limits WHERE queue = ?1")?;
    let at_most = statement.query_row([queue.as_str()], |row| row.get(0).map(limit_of)).optional();
    at_most.map(Option::flatten)
}

/// A number that is no limit, which nothing of ours writes, limits nothing.
pub(crate) fn limit_of(at_most: i64) -> Option<u32> {
    u32::try_from(at_most).ok()
}

/// How many jobs of a queue may be leased now. Nobody else leases until this transaction has ended.
pub(crate) fn room(connection: &Connection, queue: &Queue) -> rusqlite::Result<usize> {
    let Some(at_most) = limit(connection, queue)? else { return Ok(usize::MAX) };
    let mut statement = connection.prepare_cached(COUNT_RUNNING)?;
    let running: i64 = statement.query_row([queue.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(i64::from(at_most) - running).unwrap_or(0))
}

pub(crate) const COUNT_RUNNING: &str =
    "SELECT count(*) FROM jobs INDEXED BY jobs_leases WHERE state = 'running' AND queue = ?1";

/// Answers the limit that stands.
pub(crate) fn declare(connection: &Connection, _: &Shared, (queue, at_most): &(Queue, u32)) -> rusqlite::Result<u32> {
    let sql = "INSERT OR IGNORE INTO limits (queue, at_most) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![queue.as_str(), at_most])?;
    Ok(limit(connection, queue)?.unwrap_or(*at_most))
}

/// Answers the limit before.
pub(crate) fn set_limit(
    connection: &Connection,
    shared: &Shared,
    (queue, at_most): &(Queue, Option<u32>),
) -> rusqlite::Result<Option<u32>> {
    let before = limit(connection, queue)?;
    forget_limits(connection, "limits", queue)?;
    let name = queue.as_str();
    match at_most {
        Some(_) => connection
            .prepare_cached("INSERT OR REPLACE INTO limits (queue, at_most) VALUES (?1, ?2)")?
            .execute(params![name, at_most])?,
        None => connection.prepare_cached("DELETE FROM limits WHERE queue = ?1")?.execute([name])?,
    };
    shared.made_available();
    Ok(before)
}

pub(crate) type Queues = BTreeMap<String, QueueInfo>;

/// All but their jobs.
pub(crate) fn base(connection: &Connection, shared: &Shared) -> rusqlite::Result<Queues> {
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
    let mut statement = connection.prepare_cached("SELECT queue, at_most FROM limits")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        info(&mut queues, row.get_ref(0)?.as_str().unwrap_or_default()).at_most = limit_of(row.get(1)?);
    }
    for (queue, rate) in rates::all(connection)? {
        info(&mut queues, &queue).rate = Some(rate);
    }
    for (queue, jobs) in capacity::all(connection)? {
        info(&mut queues, &queue).capacity = Some(jobs);
    }
    Ok(queues)
}

pub(crate) fn queues(connection: &Connection, shared: &Shared, (): &()) -> rusqlite::Result<Vec<QueueInfo>> {
    let (now, mut queues) = (shared.now(), base(connection, shared)?);
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
        info(queues, &queue).oldest_ready_for = oldest_ready(connection, now, &queue)?;
        found = next.query_row([&queue], text)?;
    }
    Ok(())
}

/// How long the job that has been due longest waits.
pub(crate) fn oldest_ready(connection: &Connection, now: i64, queue: &str) -> rusqlite::Result<Option<Duration>> {
    let first = first_due(connection, &Queue::from(queue.to_owned()))?.filter(|at| *at <= now);
    Ok(first.map(|at| Duration::from_millis(now.saturating_sub(at).unsigned_abs())))
}

pub(crate) fn info<'q>(queues: &'q mut Queues, queue: &str) -> &'q mut QueueInfo {
    queues.entry(queue.to_owned()).or_insert_with(|| QueueInfo::new(Queue::from(queue.to_owned())))
}

pub(crate) fn count(queues: &mut Queues, queue: &str, state: JobState, jobs: i64) {
    *info(queues, queue).counts.0.entry(state).or_default() += u64::try_from(jobs).unwrap_or_default();
}
