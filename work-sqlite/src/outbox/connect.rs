use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::builder::SqliteOutboxBuilder;
use super::check;
use super::error::OutboxError;
use super::table::{SIDE_TABLES, Table};
use crate::OpenError;
use crate::open;

/// How long a commit waits for the readers of a file that is not in WAL mode.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the file, which must be there, checks the table, and makes the tables beside it.
pub(super) fn open(settings: &SqliteOutboxBuilder) -> Result<(Connection, Table), OutboxError> {
    let connection = open::existing(&settings.path)?;
    let from_sqlite = |error| OutboxError::from(OpenError::from_sqlite(settings.path.clone(), error));
    set_up(&connection).map_err(from_sqlite)?;
    let integer_times = check::table(&connection, &settings.names)?;
    let made = "SELECT count(*) FROM sqlite_schema WHERE name IN ('work_outbox_leases', 'work_outbox_dead')";
    if connection.query_row(made, [], |row| row.get::<_, i64>(0)).map_err(from_sqlite)? < 2 {
        let transaction = immediate(&connection).map_err(from_sqlite)?;
        transaction.execute_batch(SIDE_TABLES).map_err(from_sqlite)?;
        commit(&transaction).map_err(from_sqlite)?;
    }
    Ok((connection, Table::new(&settings.names, settings.dead_rows, integer_times)))
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // A name in quotes is a name, and no text if there is no such column any more.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // What was marked must not come again after a power cut. Whether the file has a WAL is its owner's choice.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)
}

/// A transaction that writes from the start: one that only becomes a writer later is refused while another one writes.
pub(super) fn immediate(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

/// Commits, and waits for readers that are in the way.
pub(super) fn commit(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match transaction.execute_batch("COMMIT") {
            Err(error) if is_busy(&error) && began.elapsed() < COMMIT_TIMEOUT => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
