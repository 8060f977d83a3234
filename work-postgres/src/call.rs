use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{Object, PoolError};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, NoTls, Row};
use work_core::store::BoxFuture;
use work_core::{Backoff, StoreError};

use crate::connector::{Connected, Connector};
use crate::error::{Failure, in_full, is_conflict, refusal};
use crate::store::Shared;

/// A parameter and its type: with the types given, a statement can do without preparation.
pub(crate) type Param<'p> = (&'p (dyn ToSql + Sync), Type);

/// What a call does with a connection. It may run again with the same input.
pub(crate) type Run<I, A> = for<'c> fn(&'c Session, &'c I) -> BoxFuture<'c, Result<A, Error>>;

/// What statements of the store are sent through: a connection of ours, or a transaction of somebody else.
pub(crate) trait Ask: Sync {
    fn shared(&self) -> &Shared;

    fn query(&self, sql: &str, params: &[Param<'_>]) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;
}

impl Ask for Session {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        Self::query(self, sql, params).await
    }
}

/// A connection for the time of a call.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    /// Only taken out when the session ends.
    client: Option<Object<Connector>>,
    /// Set while nobody else may get this connection.
    dirty: AtomicBool,
}

impl Session {
    fn connected(&self) -> &Connected {
        self.client.as_ref().expect("there until the session is dropped")
    }

    /// One round trip, and a transaction of its own unless one is open.
    pub(crate) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.guarded(self.ask(sql, params)).await
    }

    /// As [`query`](Self::query), planned for these values and for the tables as they are now: for what people ask for.
    pub(crate) async fn query_anew(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.guarded(self.connected().client.query_typed(sql, params)).await
    }

    async fn guarded(&self, ask: impl Future<Output = Result<Vec<Row>, Error>>) -> Result<Vec<Row>, Error> {
        let before = self.dirty.swap(true, Ordering::Relaxed);
        let answer = ask.await;
        // A connection that was lost may not know it yet.
        let lost = answer.as_ref().is_err_and(|error| refusal(error).is_none());
        self.dirty.store(before || lost, Ordering::Relaxed);
        answer
    }

    async fn ask(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let connected = self.connected();
        if !self.shared.prepares.load(Ordering::Relaxed) {
            return connected.client.query_typed(sql, params).await;
        }
        let (values, types): (Vec<_>, Vec<_>) = params.iter().map(|(value, ty)| (*value, ty.clone())).unzip();
        let statement = connected.statement(sql, &types).await?;
        connected.client.query(&statement, &values).await
    }

    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Error> {
        let before = self.dirty.swap(true, Ordering::Relaxed);
        let answer = self.connected().client.batch_execute(sql).await;
        self.dirty.store(before, Ordering::Relaxed);
        answer
    }

    /// Runs several statements as one transaction. If one of them fails, the server rolls back when the connection goes.
    pub(crate) async fn transaction<A>(&self, run: impl Future<Output = Result<A, Error>>) -> Result<A, Error> {
        // Whatever cuts this short leaves a connection that is thrown away.
        self.dirty.store(true, Ordering::Relaxed);
        self.execute("BEGIN").await?;
        let answer = run.await?;
        self.execute("COMMIT").await?;
        self.dirty.store(false, Ordering::Relaxed);
        Ok(answer)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && self.dirty.load(Ordering::Relaxed)
        {
            // The statement is told to stop, and its connection is not used again.
            let client = Object::take(client);
            let token = client.client.cancel_token();
            self.shared.handle.spawn(tokio::time::timeout(Duration::from_secs(5), async move {
                let _ = token.cancel_query(NoTls).await;
            }));
        }
    }
}

/// How often a call that the server rolled back is run again.
const TRIES: u32 = 5;

impl Shared {
    /// Runs a call on the thread of the store, to its end even if the caller goes away: a dropped future leaves nothing
    /// half done.
    pub(crate) fn call<I: Send + Sync + 'static, A: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        input: I,
        run: Run<I, A>,
    ) -> BoxFuture<'static, Result<A, StoreError>> {
        let shared = self.clone();
        Box::pin(async move {
            let handle = shared.handle.clone();
            let answer = handle.spawn(async move { shared.perform(name, &input, run).await }).await;
            Ok(answer.map_err(|error| Failure::unknown(format!("`{name}` did not end"), error))??)
        })
    }

    /// As [`call`](Self::call), for those that are on the thread of the store already.
    pub(crate) async fn perform<I: Sync, A>(
        self: &Arc<Self>,
        name: &'static str,
        input: &I,
        run: Run<I, A>,
    ) -> Result<A, Failure> {
        let until = Instant::now() + self.deadline;
        let backoff = Backoff::exponential(Duration::from_millis(5), 2.0).jitter(0.5);
        let mut tries = 0;
        loop {
            let session = self.session(name, until).await?;
            tries += 1;
            match timeout_at(until, run(&session, input)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if tries < TRIES && self.is_mixed_up(&error) => {}
                Ok(Err(error)) if tries < TRIES && refusal(&error).is_some_and(is_conflict) => {
                    sleep(backoff.delay(tries)).await;
                }
                Ok(Err(error)) => return Err(Failure::of(name, &error)),
                Err(late) => {
                    let within = self.deadline;
                    // Those that wait in the pool go the same way, and may be as dead: the next call is not to find out.
                    self.pool.retain(|_, _| false);
                    return Err(Failure::unknown(format!("no answer to `{name}` within {within:?}"), late));
                }
            }
        }
    }

    /// A connection, also if the server has to come back first.
    async fn session(self: &Arc<Self>, name: &'static str, until: Instant) -> Result<Session, Failure> {
        let backoff = Backoff::exponential(Duration::from_millis(50), 2.0).cap(Duration::from_secs(1)).jitter(0.5);
        let mut tries = 0;
        loop {
            let error = match timeout_at(until, self.pool.get()).await {
                Ok(Ok(client)) => {
                    return Ok(Session { shared: self.clone(), client: Some(client), dirty: AtomicBool::new(false) });
                }
                Ok(Err(error)) => error,
                Err(late) => return Err(Failure::unsent(self.no_connection(name), late)),
            };
            tries += 1;
            let delay = backoff.delay(tries);
            if !may_come_back(&error) || Instant::now() + delay >= until {
                return Err(Failure::unsent(self.no_connection(name), in_full(&error)));
            }
            sleep(delay).await;
        }
    }

    /// True if a pooler gives each transaction another connection, which does not know what was prepared. Nothing is
    /// prepared from then on.
    fn is_mixed_up(&self, error: &Error) -> bool {
        let mixed_up = refusal(error).is_some_and(|code| {
            *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT
        });
        if mixed_up && self.prepares.swap(false, Ordering::Relaxed) {
            tracing::info!("there is a transaction pooler in between: statements are not prepared any more");
        }
        mixed_up
    }

    fn no_connection(&self, name: &str) -> String {
        format!("no connection to {} for `{name}` within {:?}", self.server, self.deadline)
    }
}

/// True for a server that is away, starts, stops or is full; false for one that does not let us in.
fn may_come_back(error: &PoolError<Error>) -> bool {
    let PoolError::Backend(error) = error else { return false };
    error.code().is_none_or(|code| code.code().starts_with("57") || code.code().starts_with("53"))
}
