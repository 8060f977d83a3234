//! What Postgres itself can do: prepared statements, batches of a thousand, rows kept.

use tokio_postgres::{Client, Statement};

use super::Schema;
use crate::figure::BoxError;
use crate::raw::PAYLOAD;

/// Rows at a time.
pub(super) const BATCH: usize = 1_000;

pub(super) async fn open(schema: &Schema) -> Result<Client, BoxError> {
    let client = schema.connect().await?;
    let sql = "
        CREATE SCHEMA b;
        CREATE TABLE b.jobs (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, queue text NOT NULL,
            args bytea NOT NULL, state smallint NOT NULL, priority smallint NOT NULL, scheduled_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL, attempt integer NOT NULL, max_attempts integer NOT NULL,
            lease_until timestamptz, finished_at timestamptz
        );
        CREATE INDEX ready ON b.jobs (queue, priority, scheduled_at, id) WHERE state = 0;
        CREATE INDEX leases ON b.jobs (lease_until) WHERE state = 1;";
    client.batch_execute(&schema.sql(sql)).await?;
    Ok(client)
}

impl Schema {
    /// SQL that is written for a schema `b`.
    fn sql(&self, sql: &str) -> String {
        sql.replace("SCHEMA b;", &format!("SCHEMA {};", self.name)).replace("b.jobs", &format!("{}.jobs", self.name))
    }
}

pub(super) async fn insert(schema: &Schema, client: &Client, jobs: u64, batch: usize) -> Result<(), BoxError> {
    let sql = "INSERT INTO b.jobs (kind, queue, args, state, priority, scheduled_at, created_at, attempt, max_attempts)
        SELECT kind, 'default', args, 0, 5, now(), now(), 0, 25 FROM unnest($1::text[], $2::bytea[]) AS d (kind, args)";
    let statement = client.prepare(&schema.sql(sql)).await?;
    for _ in 0..jobs / batch as u64 {
        let (kinds, args) = (vec!["noop"; batch], vec![PAYLOAD.as_bytes(); batch]);
        client.execute(&statement, &[&kinds, &args]).await?;
    }
    Ok(())
}

const CLAIM: &str = "WITH due AS MATERIALIZED (
        SELECT id FROM b.jobs WHERE state = 0 AND queue = 'default' AND scheduled_at <= now()
        ORDER BY priority, scheduled_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
    UPDATE b.jobs j SET state = 1, attempt = attempt + 1, lease_until = now() + interval '30 s'
    FROM due WHERE j.id = due.id RETURNING j.id, j.args";

/// Claims so many and completes them, until there are none. Answers how many there were.
pub(super) async fn drain(schema: &Schema, client: &Client, batch: usize) -> Result<u64, BoxError> {
    let complete = "UPDATE b.jobs SET state = 2, finished_at = now(), lease_until = NULL WHERE id = ANY($1)";
    let (claim, complete) = (client.prepare(&schema.sql(CLAIM)).await?, client.prepare(&schema.sql(complete)).await?);
    let mut done = 0;
    loop {
        let rows = client.query(&claim, &[&(batch as i64)]).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        rows.iter().for_each(|row| drop(std::hint::black_box(row.get::<_, &[u8]>(1).to_vec())));
        if ids.is_empty() {
            return Ok(done);
        }
        done += client.execute(&complete, &[&ids]).await?;
    }
}

/// Inserts one row and notifies, in one statement.
pub(super) struct Maker<'c> {
    client: &'c Client,
    statement: Statement,
}

impl<'c> Maker<'c> {
    pub(super) async fn new(schema: &Schema, client: &'c Client) -> Result<Self, BoxError> {
        let sql = format!(
            "WITH made AS (
                INSERT INTO b.jobs (kind, queue, args, state, priority, scheduled_at, created_at, attempt, max_attempts)
                VALUES ('noop', 'default', $1, 0, 5, now(), now(), 0, 25) RETURNING 1)
            SELECT pg_notify('{}', '') FROM made",
            schema.name
        );
        Ok(Self { client, statement: client.prepare(&schema.sql(&sql)).await? })
    }

    pub(super) async fn make(&self) -> Result<(), BoxError> {
        Ok(self.client.query(&self.statement, &[&PAYLOAD.as_bytes()]).await.map(drop)?)
    }
}

/// Claims one row.
pub(super) struct Taker {
    client: Client,
    statement: Statement,
}

impl Taker {
    pub(super) async fn new(schema: &Schema, client: Client) -> Result<Self, BoxError> {
        let statement = client.prepare(&schema.sql(CLAIM)).await?;
        Ok(Self { client, statement })
    }

    pub(super) async fn take(&self) -> Result<usize, BoxError> {
        Ok(self.client.query(&self.statement, &[&1_i64]).await?.len())
    }
}
