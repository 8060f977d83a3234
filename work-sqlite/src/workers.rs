//! Workers: that they live, and what they say of their jobs.

use rusqlite::{Connection, params};
use work_core::Queue;
use work_core::store::{Fence, LeaseKey, WorkerInfo};

use crate::row::{id_of, instant, text};
use crate::store::Shared;

const BEAT: &str = "INSERT INTO workers (id, host, pid, version, queues, slots, running, started_at, last_beat)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
    ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, version = excluded.version,
        queues = excluded.queues, slots = excluded.slots, running = excluded.running, last_beat = excluded.last_beat";

const WORKERS: &str = "SELECT id, host, pid, version, queues, slots, running, started_at, last_beat FROM workers
    WHERE last_beat >= ?1 ORDER BY id";

/// An index of the flag would cost every job that is inserted.
const STOPS: &str = "SELECT seq, id, fence FROM stops CROSS JOIN jobs ON seq = job
    WHERE state = 'running' AND cancel_requested <> 0";

const STOPPED: &str = "DELETE FROM stops WHERE NOT EXISTS
    (SELECT 1 FROM jobs WHERE seq = job AND state = 'running' AND cancel_requested <> 0)";

const PROGRESS: &str = "UPDATE jobs SET progress = ?4, progress_at = ?5
    WHERE seq = ?1 AND fence = ?2 AND id = ?3 AND state = 'running'";

/// Who was heard of before this is gone.
fn gone_before(now: i64) -> i64 {
    now.saturating_sub(i64::try_from(WorkerInfo::GONE_AFTER.as_millis()).unwrap_or(i64::MAX))
}

pub(crate) fn beat(connection: &Connection, shared: &Shared, worker: &WorkerInfo) -> rusqlite::Result<()> {
    let now = shared.now();
    let queues: Vec<&str> = worker.queues.iter().map(Queue::as_str).collect();
    let queues = serde_json::to_string(&queues).unwrap_or_default();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (slots, running) = (number(worker.slots), number(worker.running));
    let mut statement = connection.prepare_cached(BEAT)?;
    statement.execute(params![worker.id, worker.host, worker.pid, worker.version, queues, slots, running, now])?;
    connection.prepare_cached("DELETE FROM workers WHERE last_beat < ?1")?.execute([gone_before(now)])?;
    connection.prepare_cached(STOPPED)?.execute([]).map(drop)
}

pub(crate) fn leave(connection: &Connection, _: &Shared, worker: &String) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM workers WHERE id = ?1")?.execute([worker]).map(drop)
}

pub(crate) fn workers(connection: &Connection, shared: &Shared, (): &()) -> rusqlite::Result<Vec<WorkerInfo>> {
    let mut statement = connection.prepare_cached(WORKERS)?;
    let rows = statement.query_map([gone_before(shared.now())], |row| {
        // Whatever somebody wrote there: the others are shown.
        let text = |column| row.get_ref(column).map(|value| text(value).unwrap_or_default());
        let mut worker = WorkerInfo::new(text(0)?);
        worker.host = text(1)?;
        worker.pid = u32::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
        worker.version = text(3)?;
        let queues: Vec<String> = serde_json::from_str(&text(4)?).unwrap_or_default();
        worker.queues = queues.into_iter().map(Queue::from).collect();
        worker.slots = row.get::<_, i64>(5)?.try_into().unwrap_or(usize::MAX);
        worker.running = row.get::<_, i64>(6)?.try_into().unwrap_or(usize::MAX);
        worker.started_at = instant(row.get(7)?);
        worker.last_beat = instant(row.get(8)?);
        Ok(worker)
    })?;
    let workers = rows.collect::<Result<Vec<_>, _>>()?;
    shared.has_read(workers.len());
    Ok(workers)
}

pub(crate) fn stop_requests(connection: &Connection, _: &Shared, (): &()) -> rusqlite::Result<Vec<LeaseKey>> {
    let mut statement = connection.prepare_cached(STOPS)?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        // A row that was written by hand may have no id; nobody holds it.
        if let (Ok(id), Ok(fence)) = (id_of(row.get_ref(1)?), u64::try_from(row.get::<_, i64>(2)?)) {
            keys.push(LeaseKey { id, fence: Fence(fence), row: row.get(0)? });
        }
    }
    Ok(keys)
}

pub(crate) fn set_progress(connection: &Connection, shared: &Shared, of: &[(LeaseKey, f32)]) -> rusqlite::Result<()> {
    let now = shared.now();
    let mut statement = connection.prepare_cached(PROGRESS)?;
    of.iter().try_for_each(|(key, done)| {
        let (fence, id) = (key.fence.0.cast_signed(), key.id.as_uuid().as_bytes().as_slice());
        statement.execute(params![key.row, fence, id, f64::from(*done), now]).map(drop)
    })
}
