//! What SQLite itself can do: prepared statements on one connection, WAL and FULL, rows kept.

use std::path::Path;

use rusqlite::{Connection, params};
use tokio::sync::mpsc;

use crate::figure::BoxError;

/// The arguments of a job, 52 bytes.
pub(crate) const PAYLOAD: &str = r#"{"user":"ann@example.org","template":"welcome-2026"}"#;

/// A row to insert, and whom to tell after the commit.
pub(crate) struct Row<R> {
    pub(crate) args: String,
    pub(crate) reply: R,
}

const SCHEMA: &str = "
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, queue TEXT NOT NULL, args TEXT NOT NULL, state INTEGER NOT NULL,
        priority INTEGER NOT NULL, scheduled_at INTEGER NOT NULL, created_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL, lease_until INTEGER, finished_at INTEGER
    );
    CREATE INDEX ready ON jobs (queue, priority, scheduled_at, id) WHERE state = 0;
    CREATE INDEX leases ON jobs (lease_until) WHERE state = 1;";

pub(crate) fn open(path: &Path) -> Result<Connection, BoxError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn insert(connection: &Connection, args: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO jobs (kind, queue, args, state, priority, scheduled_at, created_at, attempt, max_attempts)
        VALUES ('noop', 'default', ?1, 0, 5, ?2, ?2, 0, 25)";
    connection.prepare_cached(sql)?.execute(params![args, 1_800_000_000_000_i64]).map(drop)
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}

fn commit(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("COMMIT")?.execute([]).map(drop)
}

pub(crate) fn insert_batches(connection: &Connection, jobs: u64, batch: u64) -> Result<(), BoxError> {
    for _ in 0..jobs / batch {
        begin(connection)?;
        (0..batch).try_for_each(|_| insert(connection, PAYLOAD))?;
        commit(connection)?;
    }
    Ok(())
}

/// A thread that puts everything that waits into one transaction, and tells each row's owner after the commit.
pub(crate) fn group_commit<R: Send + 'static>(connection: Connection, tell: fn(R)) -> mpsc::Sender<Row<R>> {
    let (sender, mut rows) = mpsc::channel::<Row<R>>(4096);
    std::thread::spawn(move || -> rusqlite::Result<()> {
        let mut group = Vec::new();
        while rows.blocking_recv_many(&mut group, 4096) > 0 {
            begin(&connection)?;
            group.iter().try_for_each(|row| insert(&connection, &row.args))?;
            commit(&connection)?;
            group.drain(..).for_each(|row| tell(row.reply));
        }
        Ok(())
    });
    sender
}

/// Claims a thousand, and completes them, in one transaction.
pub(crate) fn drain(connection: &Connection) -> Result<u64, BoxError> {
    let claim = "UPDATE jobs SET state = 1, attempt = attempt + 1, lease_until = ?1 WHERE id IN (
            SELECT id FROM jobs WHERE state = 0 AND queue = 'default' AND scheduled_at <= ?1
            ORDER BY priority, scheduled_at, id LIMIT 1000)
        RETURNING id, args";
    let complete = "UPDATE jobs SET state = 2, finished_at = ?2, lease_until = NULL WHERE id = ?1";
    let mut done = 0;
    loop {
        begin(connection)?;
        let rows = connection
            .prepare_cached(claim)?
            .query_map([1_900_000_000_000_i64], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        let mut statement = connection.prepare_cached(complete)?;
        for (id, args) in &rows {
            std::hint::black_box(args);
            statement.execute(params![id, 1_900_000_000_000_i64])?;
        }
        commit(connection)?;
        if rows.is_empty() {
            return Ok(done);
        }
        done += rows.len() as u64;
    }
}

/// Completes so many rows in order, a thousand in a transaction, and inserts one for each of the first `inserts`.
pub(crate) fn settle_and_insert(connection: &Connection, settles: u64, inserts: u64) -> Result<(), BoxError> {
    let complete = "UPDATE jobs SET state = 2, finished_at = ?2, lease_until = NULL WHERE id = ?1";
    for batch in 0..settles / 1_000 {
        begin(connection)?;
        for id in batch * 1_000..(batch + 1) * 1_000 {
            let row = i64::try_from(id)? + 1;
            connection.prepare_cached(complete)?.execute(params![row, 1_900_000_000_000_i64])?;
            if id < inserts {
                insert(connection, PAYLOAD)?;
            }
        }
        commit(connection)?;
    }
    Ok(())
}
