//! A schema of its own for each test, in the database that `cargo xtask test` starts.

#![allow(dead_code, reason = "each test uses its part")]

use std::io::Write;

use tokio_postgres::{Client, NoTls};
use work_core::store::{Inspect, JobFilter, Lease, Leased, NewJob, Order, Settle, Settlement, Store, StoredJob, Want};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, JobState, Status};
use work_postgres::{PostgresStore, PostgresStoreBuilder};

/// Where the server for tests is.
const VARIABLE: &str = "WORK_TEST_POSTGRES";

/// The URL of the server. Without one nothing here can be tested, and the tests of this file end.
pub(crate) fn url() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        let text = format!("SKIPPED: {VARIABLE} is not set; `cargo xtask test test` starts a server and sets it\n");
        // Not by a macro, whose output is kept back.
        drop(std::io::stderr().write_all(text.as_bytes()));
        std::process::exit(0)
    })
}

pub(crate) struct Place {
    pub(crate) schema: String,
    pub(crate) url: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::at(url())
    }

    pub(crate) fn at(url: String) -> Self {
        Self { schema: format!("t_{}", JobId::new().as_uuid().simple()), url }
    }

    pub(crate) fn builder(&self) -> PostgresStoreBuilder {
        PostgresStore::builder(&self.url).schema(&self.schema).pool_size(4)
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        self.builder().connect().await.unwrap()
    }

    /// A connection of another program. `work` in its SQL is the schema.
    pub(crate) async fn other(&self) -> Other {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Other { client, schema: self.schema.clone() }
    }
}

pub(crate) struct Other {
    pub(crate) client: Client,
    schema: String,
}

impl Other {
    pub(crate) async fn run(&self, sql: &str) -> Result<(), String> {
        let sql = sql.replace("work.", &format!("{}.", self.schema));
        self.client
            .batch_execute(&sql)
            .await
            .map_err(|error| error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned()))
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        let sql = sql.replace("work.", &format!("{}.", self.schema));
        self.client.query_one(&sql, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let sql = sql.replace("work.", &format!("{}.", self.schema));
        self.client.query_one(&sql, &[]).await.unwrap().get(0)
    }
}

pub(crate) fn job(kind: &'static str, args: impl serde::Serialize + Send + Sync + 'static) -> NewJob {
    Job::new(kind, args).into_stored(DEFAULT_MAX_ARGS).unwrap()
}

pub(crate) fn want(limit: usize) -> Want {
    Want { limit, worker: "test".into(), ..Want::default() }
}

pub(crate) async fn lease(store: &PostgresStore, limit: usize) -> Leased {
    store.lease(want(limit)).await.unwrap()
}

pub(crate) fn complete(lease: &Lease) -> Settle {
    Settle {
        key: lease.key,
        status: Status::SUCCESS,
        settlement: Settlement::Complete { output: None },
        error: None,
        then: vec![],
    }
}

pub(crate) async fn in_state(store: &PostgresStore, state: JobState) -> Vec<StoredJob> {
    store.list(JobFilter::all().state(state), Order::OldestFirst, None, 10_000).await.unwrap().jobs
}

pub(crate) async fn count(store: &PostgresStore, state: JobState) -> u64 {
    store.counts(JobFilter::default()).await.unwrap().of(state)
}
