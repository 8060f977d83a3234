//! On a server: the store and the worker against raw SQL doing the same work, with its default settings.

pub(crate) mod backlog;
pub(crate) mod bulk;
pub(crate) mod costs;
pub(crate) mod drain;
pub(crate) mod history;
pub(crate) mod mixed;
pub(crate) mod pickup;
pub(crate) mod pinned;
mod raw;
pub(crate) mod slow;

use tokio_postgres::{Client, NoTls};
use work_core::{JobId, QueueWorker, Router};
use work_postgres::PostgresStore;

use crate::figure::{BoxError, runtime};

/// Where the server is, which `cargo xtask bench` starts.
const VARIABLE: &str = "WORK_TEST_POSTGRES";

/// What `run` makes of a store of its own.
fn fresh<T>(run: impl AsyncFnOnce(&PostgresStore) -> Result<T, BoxError>) -> Result<T, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    runtime.block_on(async {
        let result = run(&schema.store().await?).await?;
        schema.closed().await?;
        Ok(result)
    })
}

/// A schema for one run.
struct Schema {
    url: String,
    name: String,
}

impl Schema {
    fn new() -> Result<Self, BoxError> {
        let url = std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} is not set; use `cargo xtask bench`"))?;
        Ok(Self { url, name: format!("b_{}", JobId::new().as_uuid().simple()) })
    }

    async fn store(&self) -> Result<PostgresStore, BoxError> {
        Ok(PostgresStore::builder(&self.url).schema(&self.name).connect().await?)
    }

    /// A worker that only makes jobs.
    async fn worker(&self) -> Result<QueueWorker, BoxError> {
        Ok(QueueWorker::new(self.store().await?, Router::new().route("noop", async || {})))
    }

    async fn connect(&self) -> Result<Client, BoxError> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// What one run leaves behind must not be written out during the next.
    async fn closed(self) -> Result<(), BoxError> {
        let client = self.connect().await?;
        client.batch_execute(&format!("DROP SCHEMA {} CASCADE; CHECKPOINT", self.name)).await?;
        Ok(())
    }
}
