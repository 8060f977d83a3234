use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::error::OpenError;

/// The schema, one step for each version. A step that was released is never edited.
const STEPS: &[&str] = &[
    include_str!("sql/1_jobs.sql"),
    include_str!("sql/2_operate.sql"),
    include_str!("sql/3_queues.sql"),
    include_str!("sql/4_rates.sql"),
    include_str!("sql/5_capacities.sql"),
];

/// The newest version that this program knows.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// Refuses a database of a newer program, and one whose table `jobs` is another program's. Answers the version.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let from_sqlite = |error| OpenError::from_sqlite(path.to_owned(), error);
    // In this order: another process may migrate in between, and both tables come with one commit.
    let has_jobs = has_table(connection, "jobs").map_err(from_sqlite)?;
    match version(connection).map_err(from_sqlite)? {
        Some(found) if found > VERSION => Err(OpenError::NewerSchema { path: path.to_owned(), found, known: VERSION }),
        Some(found) => Ok(found),
        None if has_jobs => Err(OpenError::Foreign { path: path.to_owned() }),
        None => Ok(0),
    }
}

/// Brings the schema to our version; two processes may do so at once.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let from_sqlite = |error| OpenError::from_sqlite(path.to_owned(), error);
    if check(connection, path)? == VERSION {
        return match missing(connection).map_err(from_sqlite)? {
            Some(missing) => Err(OpenError::Incomplete { path: path.to_owned(), missing }),
            None => Ok(()),
        };
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(from_sqlite)?;
    // Another process may have been here since the look above.
    let found = check(&transaction, path)?;
    run(&transaction, usize::try_from(found).unwrap_or_default()).map_err(from_sqlite)?;
    transaction.commit().map_err(from_sqlite)
}

fn run(connection: &Connection, from: usize) -> rusqlite::Result<()> {
    connection.execute_batch("CREATE TABLE IF NOT EXISTS work_schema (version INTEGER NOT NULL) STRICT")?;
    for step in STEPS.iter().skip(from) {
        connection.execute_batch(step)?;
    }
    connection.execute("DELETE FROM work_schema", [])?;
    connection.execute("INSERT INTO work_schema (version) VALUES (?1)", [VERSION])?;
    Ok(())
}

/// What the tables of this program have, and these have not.
fn missing(connection: &Connection) -> rusqlite::Result<Option<String>> {
    const PARTS: &str = "SELECT name FROM sqlite_schema UNION ALL
        SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'";
    static NEEDED: OnceLock<Vec<String>> = OnceLock::new();
    let parts = |connection: &Connection| -> rusqlite::Result<Vec<String>> {
        connection.prepare(PARTS)?.query_map([], |row| row.get(0))?.collect()
    };
    let needed = match NEEDED.get() {
        Some(needed) => needed,
        None => {
            let new = Connection::open_in_memory()?;
            run(&new, 0)?;
            let needed = parts(&new)?;
            NEEDED.get_or_init(|| needed)
        }
    };
    let found = HashSet::<String>::from_iter(parts(connection)?);
    Ok(needed.iter().find(|part| !found.contains(*part)).cloned())
}

fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !has_table(connection, "work_schema")? {
        return Ok(None);
    }
    connection.query_row("SELECT max(version) FROM work_schema", [], |row| row.get(0)).optional().map(Option::flatten)
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1", [name], |row| {
        row.get::<_, i64>(0).map(|tables| tables > 0)
    })
}
