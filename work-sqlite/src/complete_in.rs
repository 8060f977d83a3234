use rusqlite::Transaction;
use work_core::store::{CompleteError, Completing, Settled};
use work_core::{Context, IntoOutcome};

use crate::error::{Phase, store_error};
use crate::settle::settle;
use crate::store::Shared;

/// Completes the job that a handler performs in a transaction of the handler's own: what it writes there and the end of the
/// job are committed together, so the effect is there exactly once, whatever crashes when.
///
/// For tables of yours in the file of the [`SqliteStore`](crate::SqliteStore) that the job was leased from. `outcome` is
/// what the handler would return: `()`, [`Json`](work_core::Json), an [`Outcome`](work_core::Outcome) with
/// [follow-up jobs](work_core::Outcome::then). Call it last, commit at once, and return `Ok` only after the commit: while
/// the transaction is open nobody else writes, and from this call on the lease is not extended.
///
/// What the handler returns counts only if the transaction was not committed: an error is tried again as any other, and a
/// handler that ends well without a commit has failed. After the commit the job stays completed, also if the handler
/// fails, is timed out or cancelled.
///
/// Begin with `TransactionBehavior::Immediate`, and on a thread that may block.
///
/// ```
/// use rusqlite::{Connection, TransactionBehavior};
/// use work_core::{Args, BoxError, Context, Job, QueueWorker, Router, Worker};
/// use work_sqlite::{SqliteStore, complete_in};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("jobs.db");
/// let store = SqliteStore::open(&path).await?;
/// Connection::open(&path)?.execute_batch("CREATE TABLE ledger (amount INTEGER)")?;
///
/// let file = path.clone();
/// let pay = move |Args(amount): Args<i64>, context: Context| {
///     let file = file.clone();
///     async move {
///         let pay = tokio::task::spawn_blocking(move || {
///             let mut connection = Connection::open(file)?;
///             let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
///             transaction.execute("INSERT INTO ledger VALUES (?1)", [amount])?;
///             complete_in(&transaction, &context, ())?;
///             transaction.commit()?;
///             Ok::<(), BoxError>(())
///         });
///         pay.await?
///     }
/// };
/// let worker = QueueWorker::new(store, Router::new().route("pay", pay));
/// let paid = worker.perform(Job::new("pay", 7)).await?;
/// let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
/// assert!(paid.outcome().await?.status().is_complete());
/// let sum: i64 = Connection::open(&path)?.query_row("SELECT sum(amount) FROM ledger", [], |row| row.get(0))?;
/// assert_eq!(sum, 7);
/// # running.abort();
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`CompleteError::Lost`] if the lease is no longer current; [`CompleteError`] if the outcome cannot be kept, or SQLite
/// refuses. Roll back in every case: return the error, and drop the transaction.
pub fn complete_in(
    transaction: &Transaction<'_>,
    context: &Context,
    outcome: impl IntoOutcome,
) -> Result<(), CompleteError> {
    let completing = Completing::new(context, outcome)?;
    let settled = settle(transaction, &Shared::of_nobody(), std::slice::from_ref(completing.settle()));
    let answers = settled.map_err(|error| store_error(&error, Phase::Run))?;
    completing.settled(answers.first().copied().unwrap_or(Settled::Lost))
}
