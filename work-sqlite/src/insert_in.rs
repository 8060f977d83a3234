use rusqlite::Transaction;
use work_core::store::{Inserted, NewJob};
use work_core::{Clock, DEFAULT_MAX_ARGS, StoreError};

use crate::capacity::{Rooms, insert_within};
use crate::error::{Phase, store_error};
use crate::insert::check;

/// Inserts jobs in a transaction of your own: they exist exactly if what you write beside them does.
///
/// For tables of yours in the file of an [`SqliteStore`](crate::SqliteStore), which has to have been opened once, so that
/// its tables are there. Begin with `TransactionBehavior::Immediate`: a transaction that only becomes a writer later is
/// refused while another one writes. Runners of all processes see the jobs a moment after your commit.
///
/// ```
/// use rusqlite::{Connection, TransactionBehavior};
/// use work_core::{Job, store::Inspect};
/// use work_sqlite::{SqliteStore, insert_in};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("jobs.db");
/// let store = SqliteStore::open(&path).await?;
/// let mut connection = Connection::open(&path)?;
/// connection.execute_batch("CREATE TABLE users (name TEXT)")?;
///
/// let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
/// transaction.execute("INSERT INTO users VALUES ('Ann')", [])?;
/// let inserted = insert_in(&transaction, &[Job::new("greet", "Ann").into_stored(1024)?])?;
/// assert!(store.get(inserted[0].id()).await?.is_none(), "not before the commit");
/// transaction.commit()?;
/// assert!(store.get(inserted[0].id()).await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`StoreError`] if a job is invalid or its [queue full](StoreError::queue_full), then nothing was inserted, or if SQLite refuses, then roll back: some may have been.
pub fn insert_in(transaction: &Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Inserted>, StoreError> {
    jobs.iter().try_for_each(|job| check(job, DEFAULT_MAX_ARGS))?;
    let now = Clock::system().now().timestamp_millis();
    let answers = insert_within(transaction, &Rooms::default(), now, jobs);
    Ok(answers.map_err(|error| store_error(&error, Phase::Run))??)
}
