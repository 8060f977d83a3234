use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

/// Makes the connections of a pool.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) config: Config,
}

/// How long a connection attempt takes at most, if the URL does not say.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

impl Connector {
    pub(crate) fn new(mut config: Config) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WITHIN);
        }
        if config.get_application_name().is_none() {
            config.application_name("work");
        }
        Self { config }
    }

    /// Host and database, without the password.
    pub(crate) fn server(&self) -> String {
        let host = self.config.get_hosts().first().map_or_else(String::new, |host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{host}:{port}/{database}")
    }
}

/// A connection, and the statements that it knows.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    /// Tells its task that it is gone.
    _held: oneshot::Sender<()>,
}

/// How long a connection that is given up may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Reads and writes as long as somebody uses the connection. By itself it would wait for every answer that is still to come:
/// where these are lost, for good, and the server would keep its side too.
async fn serve(connection: impl Future<Output = Result<(), Error>>, dropped: oneshot::Receiver<()>) {
    let mut connection = pin!(connection);
    // Its error is also that of every call that waits.
    if let Either::Right(_) = select(connection.as_mut(), dropped).await {
        drop(timeout(FAREWELL, connection).await);
    }
}

impl Connected {
    /// Prepared once: later calls need not be parsed again.
    pub(crate) async fn statement(&self, sql: &str, types: &[Type]) -> Result<Statement, Error> {
        let known = self.locked().get(sql).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let statement = self.client.prepare_typed(sql, types).await?;
        self.locked().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager for Connector {
    type Type = Connected;
    type Error = Error;

    async fn create(&self) -> Result<Connected, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let (held, dropped) = oneshot::channel();
        tokio::spawn(serve(connection, dropped));
        // Each statement of ours must see what was committed before it, whatever the default of the database is.
        client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        Ok(Connected { client, statements: Mutex::default(), _held: held })
    }

    async fn recycle(&self, connected: &mut Connected, _: &Metrics) -> RecycleResult<Error> {
        if connected.client.is_closed() { Err(RecycleError::message("closed")) } else { Ok(()) }
    }
}
