use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio_postgres::{Client, NoTls};
use work_core::Context;
use work_postgres::PostgresStore;

use super::at::Outlives;

/// A table beside those of the store: who pays writes a row in the transaction that completes its job.
#[derive(Debug, Clone)]
pub enum Ledger {
    /// In the file of the store.
    Sqlite(PathBuf, Outlives),
    /// In the schema of the store.
    Postgres {
        /// The store.
        store: PostgresStore,
        /// The server.
        url: String,
        /// The schema.
        schema: String,
    },
}

type Failed = Box<dyn Error + Send + Sync>;

impl Ledger {
    /// Makes the table, once and before anybody pays.
    ///
    /// # Errors
    ///
    /// Those of the database, as in all methods here.
    pub async fn make(&self) -> Result<(), Failed> {
        match self {
            Self::Sqlite(path, outlives) => {
                connect(path, *outlives)?.execute_batch("CREATE TABLE ledger (job TEXT)")?;
            }
            Self::Postgres { url, schema, .. } => {
                let client = client(url).await?;
                client.batch_execute(&format!("CREATE TABLE {schema}.ledger (job text)")).await?;
            }
        }
        Ok(())
    }

    /// Writes the job down and completes it, both or nothing.
    pub(super) async fn pay(&self, context: &Context) -> Result<(), Failed> {
        let job = context.job_id().map(|id| id.to_string()).unwrap_or_default();
        match self {
            Self::Sqlite(path, outlives) => {
                let (path, outlives, context) = (path.clone(), *outlives, context.clone());
                let pays = move || {
                    let mut connection = connect(&path, outlives)?;
                    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                    transaction.execute("INSERT INTO ledger VALUES (?1)", [job])?;
                    work_sqlite::complete_in(&transaction, &context, ())?;
                    Ok(transaction.commit()?)
                };
                tokio::task::spawn_blocking(pays).await?
            }
            Self::Postgres { store, url, schema } => {
                let mut client = client(url).await?;
                let transaction = client.transaction().await?;
                transaction.execute(&format!("INSERT INTO {schema}.ledger VALUES ($1)"), &[&job]).await?;
                store.complete_in(&transaction, context, ()).await?;
                Ok(transaction.commit().await?)
            }
        }
    }

    /// What jobs have paid, each as often as it did, in order.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn paid(&self) -> Result<Vec<String>, Failed> {
        Ok(match self {
            Self::Sqlite(path, outlives) => {
                let connection = connect(path, *outlives)?;
                let mut all = connection.prepare("SELECT job FROM ledger ORDER BY job")?;
                all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
            }
            Self::Postgres { url, schema, .. } => {
                let sql = format!("SELECT job FROM {schema}.ledger ORDER BY job COLLATE \"C\"");
                let rows = client(url).await?.query(&sql, &[]).await?;
                rows.iter().map(|row| row.get(0)).collect()
            }
        })
    }
}

fn connect(path: &Path, outlives: Outlives) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    if outlives == Outlives::ProcessDeath {
        // A flush here would flush what the store has written as well.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    Ok(connection)
}

async fn client(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
