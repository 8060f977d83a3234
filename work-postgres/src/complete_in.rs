use std::collections::BTreeSet;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row, Transaction};
use work_core::store::{CompleteError, Completing, NewJob};
use work_core::{Context, IntoOutcome, StoreError};

use crate::PostgresStore;
use crate::call::{Ask, Param};
use crate::error::Failure;
use crate::settle::settle_one;
use crate::store::Shared;

impl PostgresStore {
    /// Completes the job that a handler performs in a transaction of the handler's own: what it writes there and the end
    /// of the job are committed together, so the effect is there exactly once, whatever crashes when.
    ///
    /// For tables of yours in the database of this store, which the job was leased from. `outcome` is what the handler
    /// would return: `()`, [`Json`](work_core::Json), an [`Outcome`](work_core::Outcome) with
    /// [follow-up jobs](work_core::Outcome::then). Call it last, commit at once, and return `Ok` only after the commit:
    /// the job's row is locked from this call on, and its lease is not extended.
    ///
    /// What the handler returns counts only if the transaction was not committed: an error is tried again as any other, and
    /// a handler that ends well without a commit has failed. After the commit the job stays completed, also if the handler
    /// fails, is timed out or cancelled.
    ///
    /// ```no_run
    /// use work_core::{Args, BoxError, Context, State};
    /// use work_postgres::PostgresStore;
    ///
    /// async fn pay(Args(amount): Args<i64>, State(store): State<PostgresStore>, context: Context) -> Result<(), BoxError> {
    ///     let (mut client, connection) = tokio_postgres::connect("postgres://app@localhost/app", tokio_postgres::NoTls).await?;
    ///     tokio::spawn(connection);
    ///     let transaction = client.transaction().await?;
    ///     transaction.execute("INSERT INTO ledger (amount) VALUES ($1)", &[&amount]).await?;
    ///     store.complete_in(&transaction, &context, ()).await?;
    ///     Ok(transaction.commit().await?)
    /// }
    /// # let _ = work_core::Router::new().route("pay", pay);
    /// ```
    ///
    /// # Errors
    ///
    /// [`CompleteError::Lost`] if the lease is no longer current; [`CompleteError`] if the outcome cannot be kept, or the
    /// server refuses, as one does with `REPEATABLE READ` if the lease was extended since the transaction began. Roll back
    /// in every case: return the error, and drop the transaction.
    ///
    /// # Cancel safety
    ///
    /// What a future that is dropped has written is part of the transaction or not: roll back.
    pub async fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        context: &Context,
        outcome: impl IntoOutcome,
    ) -> Result<(), CompleteError> {
        let completing = Completing::new(context, outcome)?;
        let theirs = Theirs { shared: self.shared(), transaction };
        let answer = async {
            let (answer, queues) = settle_one(&theirs, completing.settle()).await?;
            tell(&theirs, queues, &completing.settle().then).await?;
            Ok(answer)
        };
        let answer = answer.await;
        completing.settled(answer.map_err(|error| StoreError::from(Failure::of("complete_in", &error)))?)
    }
}

/// After the commit, others hear of the jobs that follow, of those that waited for this one, and of room in a queue.
async fn tell(theirs: &Theirs<'_, '_>, waited: Vec<String>, then: &[NewJob]) -> Result<(), Error> {
    let mut queues: BTreeSet<String> = waited.into_iter().collect();
    queues.extend(then.iter().map(|job| job.parts.queue.as_str().to_owned()));
    queues.extend(theirs.shared.limited.all().iter().map(|queue| queue.as_str().to_owned()));
    if queues.is_empty() {
        return Ok(());
    }
    let (queues, channel): (Vec<String>, _) = (queues.into_iter().collect(), theirs.shared.sql.schema.channel());
    let params: [Param<'_>; 2] = [(&channel, Type::TEXT), (&queues, Type::TEXT_ARRAY)];
    // From nobody in particular, so that we hear it too.
    theirs.query("SELECT pg_notify($1, ':' || queue) FROM unnest($2) AS queue", &params).await.map(drop)
}

/// A transaction of somebody else: nothing is prepared on its connection.
struct Theirs<'t, 'c> {
    shared: &'t Shared,
    transaction: &'t Transaction<'c>,
}

impl Ask for Theirs<'_, '_> {
    fn shared(&self) -> &Shared {
        self.shared
    }

    async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.transaction.query_typed(sql, params).await
    }
}
