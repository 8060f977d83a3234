//! Schedules: each slot is dealt with in one transaction with the jobs that it makes.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use work_core::store::{Fired, Firing, Inserted, NewJob, StoredSchedule, options_from_json, options_to_json};
use work_core::{CatchUp, JobId, Kind, Overlap, Parts, Queue};

use crate::change::cancel_one;
use crate::insert::{insert, text_or_bytes};
use crate::row::{bytes, id_of, instant, millis};
use crate::store::Shared;

/// The right side of `SET` sees the row as it was.
const PUT: &str = "INSERT INTO schedules (name, kind, args, queue, options, schedule, overlap, catch_up, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, args = excluded.args, queue = excluded.queue,
        options = excluded.options, overlap = excluded.overlap, catch_up = excluded.catch_up,
        created_at = iif(schedule = excluded.schedule, created_at, excluded.created_at),
        last_slot = iif(schedule = excluded.schedule, last_slot, NULL), schedule = excluded.schedule";

const SCHEDULES: &str = "SELECT name, kind, args, queue, options, schedule, overlap, catch_up, paused_at, created_at,
    last_slot, last_job FROM schedules ORDER BY name";

const PASS: &str = "UPDATE schedules SET last_slot = ?3 WHERE name = ?1 AND last_slot IS ?2 AND paused_at IS NULL
    RETURNING overlap, last_job";

const GOES_ON: &str = "SELECT 1 FROM jobs WHERE id = ?1 AND (state = 'available' OR state = 'running')";

const RESUME: &str = "UPDATE schedules SET paused_at = NULL, last_slot = max(coalesce(last_slot, ?2), ?2)
    WHERE name = ?1 AND paused_at IS NOT NULL";

pub(crate) fn put(connection: &Connection, shared: &Shared, new: &StoredSchedule) -> rusqlite::Result<()> {
    let parts = &new.job.parts;
    let mut statement = connection.prepare_cached(PUT)?;
    let done = statement.execute(params![
        new.name,
        parts.kind.as_str(),
        text_or_bytes(&new.job.args),
        parts.queue.as_str(),
        options_to_json(parts),
        new.schedule,
        new.overlap.name(),
        new.catch_up.to_string(),
        shared.now(),
    ]);
    done.map(drop)
}

pub(crate) fn schedules(connection: &Connection, _: &Shared, (): &()) -> rusqlite::Result<Vec<StoredSchedule>> {
    let mut statement = connection.prepare_cached(SCHEDULES)?;
    statement.query_map([], schedule)?.collect()
}

/// What a row does not say in words that are known is as if it were not there.
fn schedule(row: &Row<'_>) -> rusqlite::Result<StoredSchedule> {
    let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default().to_owned());
    let mut parts = Parts::new(JobId::new(), Kind::from(text(1)?), Queue::from(text(3)?));
    options_from_json(&mut parts, &text(4)?);
    let job = NewJob { parts, args: bytes(row.get_ref(2)?).unwrap_or_default() };
    let at = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(instant));
    let mut stored = StoredSchedule::new(text(0)?, job, text(5)?, at(9)?.unwrap_or_default());
    stored.overlap = text(6)?.parse::<Overlap>().unwrap_or_default();
    stored.catch_up = text(7)?.parse::<CatchUp>().unwrap_or_default();
    stored.paused_at = at(8)?;
    stored.last_slot = at(10)?;
    stored.last_job = last_job(row.get_ref(11)?);
    Ok(stored)
}

fn last_job(value: ValueRef<'_>) -> Option<JobId> {
    id_of(value).ok()
}

pub(crate) fn fire(connection: &Connection, shared: &Shared, due: &[Firing]) -> rusqlite::Result<Vec<Fired>> {
    due.iter().map(|due| fire_one(connection, shared, due)).collect()
}

fn fire_one(connection: &Connection, shared: &Shared, due: &Firing) -> rusqlite::Result<Fired> {
    let mut pass = connection.prepare_cached(PASS)?;
    let after = due.planned_after.map(millis);
    let passed = pass.query_row(params![due.schedule, after, millis(due.slot)], |row| {
        let overlap = row.get_ref(0)?.as_str().unwrap_or_default().parse::<Overlap>();
        Ok((overlap.unwrap_or_default(), last_job(row.get_ref(1)?)))
    });
    let Some((overlap, last)) = passed.optional()? else { return Ok(Fired::Lost) };
    let last = last.filter(|_| !due.jobs.is_empty()).map(|id| goes_on(connection, id).map(|goes_on| (id, goes_on)));
    if let Some((id, true)) = last.transpose()? {
        match overlap {
            Overlap::Allow => {}
            Overlap::Cancel => _ = cancel_one(connection, shared, id)?,
            _ => return Ok(Fired::Done(Vec::new())),
        }
    }
    let made = insert(connection, shared, &due.jobs.iter().collect::<Vec<_>>())?;
    if let Some(last) = made.last() {
        let mut note = connection.prepare_cached("UPDATE schedules SET last_job = ?2 WHERE name = ?1")?;
        note.execute(params![due.schedule, last.id().as_uuid().as_bytes().as_slice()])?;
    }
    Ok(Fired::Done(made.into_iter().filter(|made| matches!(made, Inserted::New(_))).map(Inserted::id).collect()))
}

fn goes_on(connection: &Connection, id: JobId) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(GOES_ON)?;
    Ok(statement.query_row([id.as_uuid().as_bytes().as_slice()], |_| Ok(())).optional()?.is_some())
}

/// Answers whether it was at work before.
pub(crate) fn pause(connection: &Connection, shared: &Shared, name: &String) -> rusqlite::Result<bool> {
    let sql = "UPDATE schedules SET paused_at = ?2 WHERE name = ?1 AND paused_at IS NULL";
    Ok(connection.prepare_cached(sql)?.execute(params![name, shared.now()])? == 1)
}

/// Answers whether it was paused.
pub(crate) fn resume(connection: &Connection, shared: &Shared, name: &String) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached(RESUME)?.execute(params![name, shared.now()])? == 1)
}

/// Answers whether there was one.
pub(crate) fn remove(connection: &Connection, _: &Shared, name: &String) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached("DELETE FROM schedules WHERE name = ?1")?.execute([name])? == 1)
}
