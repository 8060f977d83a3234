//! Queues that take only so many jobs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use work_core::store::{Inserted, NewJob};
use work_core::{Queue, QueueFull};

use crate::insert::insert_rows;
use crate::queues::limit_of;
use crate::row::text;
use crate::store::Shared;
use crate::thread::statement;

/// The two states of jobs that have not ended, by one index each, and no further than asked.
const DEPTH: &str = "SELECT
    (SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE state = 'available' AND queue = ?1 LIMIT ?2))
    + (SELECT count(*) FROM jobs INDEXED BY jobs_leases WHERE state = 'running' AND queue = ?1)";

/// What is known of capacities, within a transaction in which nobody else writes. Jobs that end in it are not seen before
/// the next one.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether any queue has a capacity.
    any: Option<bool>,
    queues: BTreeMap<Queue, Option<Room>>,
}

/// Of a queue with a capacity.
#[derive(Debug, Clone, Copy)]
struct Room {
    capacity: u32,
    depth: u64,
}

impl Rooms {
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whether one of these jobs is for a queue with a capacity.
    fn bound(&self, connection: &Connection, jobs: &[NewJob]) -> rusqlite::Result<bool> {
        let mut known = self.known();
        let any = match known.any {
            Some(any) => any,
            None => connection.prepare_cached("SELECT 1 FROM capacities LIMIT 1")?.exists([])?,
        };
        known.any = Some(any);
        let mut bound = false;
        for queue in jobs.iter().map(|job| &job.parts.queue).filter(|_| any) {
            let room = match known.queues.get(queue) {
                Some(room) => *room,
                None => {
                    let room = room(connection, queue)?;
                    known.queues.insert(queue.clone(), room);
                    room
                }
            };
            bound |= room.is_some();
        }
        Ok(bound)
    }

    /// Counts what was inserted, unless it does not fit.
    fn take(&self, jobs: &[NewJob], answers: &[Inserted]) -> Result<(), QueueFull> {
        let mut given: BTreeMap<&Queue, u64> = BTreeMap::new();
        let new = jobs.iter().zip(answers).filter(|(_, answer)| matches!(answer, Inserted::New(_)));
        new.for_each(|(job, _)| *given.entry(&job.parts.queue).or_default() += 1);
        let mut known = self.known();
        for (queue, given) in &given {
            if let Some(Some(Room { capacity, depth })) = known.queues.get(*queue)
                && depth + given > u64::from(*capacity)
            {
                return Err(QueueFull::new((*queue).clone(), *capacity, *depth, *given));
            }
        }
        for (queue, given) in given {
            if let Some(Some(room)) = known.queues.get_mut(queue) {
                room.depth += given;
            }
        }
        Ok(())
    }
}

fn room(connection: &Connection, queue: &Queue) -> rusqlite::Result<Option<Room>> {
    let Some(capacity) = capacity(connection, queue)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(DEPTH)?;
    let depth: i64 = statement.query_row(params![queue.as_str(), capacity], |row| row.get(0))?;
    Ok(Some(Room { capacity, depth: u64::try_from(depth).unwrap_or_default() }))
}

/// Inserts all of the jobs, or none if they do not fit.
pub(crate) fn insert_within(
    connection: &Connection,
    rooms: &Rooms,
    now: i64,
    jobs: &[NewJob],
) -> rusqlite::Result<Result<Vec<Inserted>, QueueFull>> {
    if !rooms.bound(connection, jobs)? {
        return insert_rows(connection, now, jobs).map(Ok);
    }
    statement(connection, "SAVEPOINT within")?;
    // Inserted first: of jobs that are there already there are no more afterwards.
    let answers = insert_rows(connection, now, jobs)?;
    let fits = rooms.take(jobs, &answers);
    if fits.is_err() {
        statement(connection, "ROLLBACK TO within")?;
    }
    statement(connection, "RELEASE within")?;
    Ok(fits.map(|()| answers))
}

/// The capacity of a queue.
fn capacity(connection: &Connection, queue: &Queue) -> rusqlite::Result<Option<u32>> {
    let mut statement = connection.prepare_cached("SELECT jobs FROM capacities WHERE queue = ?1")?;
    let capacity = statement.query_row([queue.as_str()], |row| row.get(0).map(limit_of)).optional();
    capacity.map(Option::flatten)
}

/// The capacities of all queues.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(String, u32)>> {
    let mut statement = connection.prepare_cached("SELECT queue, jobs FROM capacities")?;
    let all = statement.query_map([], |row| Ok((text(row.get_ref(0)?).unwrap_or_default(), limit_of(row.get(1)?))))?;
    let all: Vec<(String, Option<u32>)> = all.collect::<rusqlite::Result<_>>()?;
    Ok(all.into_iter().filter_map(|(queue, jobs)| Some((queue, jobs?))).collect())
}

/// Answers the capacity before.
pub(crate) fn set(
    connection: &Connection,
    shared: &Shared,
    (queue, jobs): &(Queue, Option<u32>),
) -> rusqlite::Result<Option<u32>> {
    let before = capacity(connection, queue)?;
    let name = queue.as_str();
    match jobs {
        Some(_) => connection
            .prepare_cached("INSERT OR REPLACE INTO capacities (queue, jobs) VALUES (?1, ?2)")?
            .execute(params![name, jobs])?,
        None => connection.prepare_cached("DELETE FROM capacities WHERE queue = ?1")?.execute([name])?,
    };
    shared.rooms.forget();
    Ok(before)
}
