use tokio_postgres::Client;

use super::{Schema, raw};
use crate::figure::{Bench, BoxError, Printer, Unit, in_turn, runtime};
use crate::queued;

pub(crate) const COSTS: Bench = Bench {
    name: "postgres_costs",
    what: "bytes of log and transactions of a job that is inserted in 1,000s and drained, against raw SQL",
    run: costs,
};

const JOBS: u64 = 50_000;

/// What the server counts, now or between two instants.
struct Counts {
    bytes: i64,
    transactions: i64,
}

impl Counts {
    /// Transactions that only read have no number, and are not in it. What the server does by itself is.
    async fn read(client: &Client) -> Result<Self, BoxError> {
        let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint,
            pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        let row = client.query_one(sql, &[]).await?;
        Ok(Self { bytes: row.get(0), transactions: row.get(1) })
    }

    async fn since(&self, client: &Client) -> Result<Self, BoxError> {
        let now = Self::read(client).await?;
        Ok(Self { bytes: now.bytes - self.bytes, transactions: now.transactions - self.transactions })
    }
}

fn costs(printer: &Printer) -> Result<(), BoxError> {
    let runs = in_turn(ours, raw)?;
    let of = |value: fn(&Counts) -> i64| {
        let rate = |counts| JOBS as f64 / value(counts) as f64;
        runs.iter().map(|(ours, raw)| (rate(ours), rate(raw))).collect()
    };
    printer.line("postgres_costs_wal", None, Unit::Bytes, &of(|counts| counts.bytes));
    printer.line("postgres_costs_commits", None, Unit::Commits, &of(|counts| counts.transactions));
    Ok(())
}

fn ours() -> Result<Counts, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    runtime.block_on(async {
        let (store, client) = (schema.store().await?, schema.connect().await?);
        let start = Counts::read(&client).await?;
        queued::insert(&store, JOBS).await?;
        queued::drain(store.clone(), JOBS, |worker| worker).await?;
        let counts = start.since(&client).await?;
        queued::check_completed(&store, JOBS).await?;
        drop(store);
        schema.closed().await?;
        Ok(counts)
    })
}

fn raw() -> Result<Counts, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    runtime.block_on(async {
        let client = raw::open(&schema).await?;
        let start = Counts::read(&client).await?;
        raw::insert(&schema, &client, JOBS, raw::BATCH).await?;
        raw::drain(&schema, &client, raw::BATCH).await?;
        let counts = start.since(&client).await?;
        schema.closed().await?;
        Ok(counts)
    })
}
