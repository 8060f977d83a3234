//! How many jobs of a queue start in a time.

use std::collections::VecDeque;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use work_core::Queue;
use work_core::limit::{Rate, Shape, Taken};

use crate::keys::forget_limits;
use crate::row::text;
use crate::store::Shared;

const RATE: &str = "SELECT shape, count, per_ns, burst, name FROM rates";

/// Answers whether any queue has a rate.
pub(crate) fn any_rates(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM rates LIMIT 1")?.exists([])
}

/// A row that is no rate, which nothing of ours writes, limits nothing.
pub(crate) fn rate_of_row(row: &Row<'_>) -> rusqlite::Result<Option<Rate>> {
    let shape = row.get_ref(0)?.as_str().ok().and_then(Shape::of);
    let (count, per_ns, burst): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let name = text(row.get_ref(4)?).map(Queue::from);
    let (Some(shape), Ok(count), Ok(burst)) = (shape, u32::try_from(count), u32::try_from(burst)) else {
        return Ok(None);
    };
    Ok(Rate::from_parts(shape, count, Duration::from_nanos(per_ns.unsigned_abs()), burst, name).ok())
}

fn find(connection: &Connection, sql: &str, value: &str) -> rusqlite::Result<Option<Rate>> {
    connection.prepare_cached(sql)?.query_row([value], rate_of_row).optional().map(Option::flatten)
}

/// The rate of a queue.
pub(crate) fn rate(connection: &Connection, queue: &Queue) -> rusqlite::Result<Option<Rate>> {
    find(connection, &format!("{RATE} WHERE queue = ?1"), queue.as_str())
}

/// The permits of a queue, in a transaction in which nobody else leases.
pub(crate) struct Permits {
    rate: Rate,
    bucket: String,
    taken: Taken,
    now: i64,
}

impl Permits {
    /// None if the queue has no rate.
    pub(crate) fn of(connection: &Connection, queue: &Queue, now_ms: i64) -> rusqlite::Result<Option<Self>> {
        let Some(rate) = rate(connection, queue)? else { return Ok(None) };
        let bucket = rate.bucket(queue);
        let mut statement = connection.prepare_cached("SELECT at, used, log FROM permits WHERE bucket = ?1")?;
        let taken = statement.query_row([&bucket], taken).optional()?.unwrap_or_default();
        Ok(Some(Self { rate, bucket, taken, now: now_ms.saturating_mul(1_000_000) }))
    }

    /// How many jobs may start now.
    pub(crate) fn room(&self) -> usize {
        self.taken.room(&self.rate, self.now) as usize
    }

    /// When it is worth looking again, in milliseconds, if there is no permit now.
    pub(crate) fn next(&self) -> Option<i64> {
        let wait = || i64::try_from(self.taken.wait(&self.rate, self.now).as_nanos()).unwrap_or(i64::MAX);
        // The clock of a store has milliseconds.
        (self.room() == 0).then(|| self.now.saturating_add(wait()) / 1_000_000 + 1)
    }

    pub(crate) fn take(mut self, connection: &Connection, jobs: usize) -> rusqlite::Result<()> {
        if jobs == 0 {
            return Ok(());
        }
        self.taken.take(&self.rate, self.now, u32::try_from(jobs).unwrap_or(u32::MAX));
        let log = serde_json::to_string(&self.taken.log).unwrap_or_else(|_| "[]".into());
        let sql = "INSERT OR REPLACE INTO permits (bucket, at, used, log) VALUES (?1, ?2, ?3, ?4)";
        connection.prepare_cached(sql)?.execute(params![self.bucket, self.taken.at, self.taken.used, log])?;
        Ok(())
    }
}

fn taken(row: &Row<'_>) -> rusqlite::Result<Taken> {
    let log: VecDeque<(i64, u32)> =
        row.get_ref(2)?.as_str().ok().and_then(|log| serde_json::from_str(log).ok()).unwrap_or_default();
    Ok(Taken { at: row.get(0)?, used: u32::try_from(row.get::<_, i64>(1)?).unwrap_or(u32::MAX), log })
}

/// Answers the rate that stands.
pub(crate) fn declare(connection: &Connection, _: &Shared, (queue, given): &(Queue, Rate)) -> rusqlite::Result<Rate> {
    let stands = match (rate(connection, queue)?, given.name()) {
        (None, Some(name)) => find(connection, &format!("{RATE} WHERE name = ?1 LIMIT 1"), name.as_str())?,
        (stands, _) => stands,
    };
    if let Some(stands) = stands.filter(|stands| stands != given) {
        return Ok(stands);
    }
    put(connection, queue, given)?;
    Ok(given.clone())
}

fn put(connection: &Connection, queue: &Queue, rate: &Rate) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO rates (queue, shape, count, per_ns, burst, name) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let per_ns = i64::try_from(rate.per().as_nanos()).unwrap_or(i64::MAX);
    let (shape, name) = (rate.shape().name(), rate.name().map(Queue::as_str));
    let row = params![queue.as_str(), shape, rate.count(), per_ns, rate.max_burst(), name];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Answers the rate before.
pub(crate) fn set(
    connection: &Connection,
    shared: &Shared,
    (queue, given): &(Queue, Option<Rate>),
) -> rusqlite::Result<Option<Rate>> {
    let before = rate(connection, queue)?;
    forget_limits(connection, "rates", queue)?;
    match given {
        None => _ = connection.prepare_cached("DELETE FROM rates WHERE queue = ?1")?.execute([queue.as_str()])?,
        Some(rate) => {
            let named = match rate.name() {
                Some(name) => queues_of(connection, name)?,
                None => Vec::new(),
            };
            for queue in named.iter().chain([queue]) {
                put(connection, queue, rate)?;
            }
        }
    }
    shared.made_available();
    Ok(before)
}

fn queues_of(connection: &Connection, name: &Queue) -> rusqlite::Result<Vec<Queue>> {
    let mut statement = connection.prepare_cached("SELECT queue FROM rates WHERE name = ?1")?;
    let queues =
        statement.query_map([name.as_str()], |row| Ok(Queue::from(text(row.get_ref(0)?).unwrap_or_default())))?;
    queues.collect()
}

/// All rates, with their queues.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(String, Rate)>> {
    let mut statement = connection.prepare_cached("SELECT shape, count, per_ns, burst, name, queue FROM rates")?;
    let rates = statement.query_map([], |row| Ok((text(row.get_ref(5)?).unwrap_or_default(), rate_of_row(row)?)))?;
    let mut found = Vec::new();
    for rate in rates {
        let (queue, rate) = rate?;
        found.extend(rate.map(|rate| (queue, rate)));
    }
    Ok(found)
}
