//! Rows that somebody wrote by hand into a file, while it is in use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use work_core::store::{ErrorRecord, Inspect, JobFilter, Order, Settle, Settlement, Store, StoredJob, Want};
use work_core::{JobState, QueueWorker, Status, Worker};
use work_sqlite::{SqliteStore, insert_in};

use crate::enqueue::{job, router};
use crate::table::{Case, Table};

/// What is written into a column of a job of kind `bad`, and how the dead letter names it.
pub(crate) type Cell = (u32, &'static str, &'static str, &'static str);

/// The dead letters, the oldest first.
pub(crate) async fn dead(store: &dyn Inspect) -> Vec<StoredJob> {
    let filter = JobFilter::all().state(JobState::Discarded);
    store.list(filter, Order::OldestFirst, None, 100).await.unwrap().jobs
}

pub(crate) async fn lease(store: &dyn Store, limit: usize) -> Vec<String> {
    let want = Want { limit, worker: "test".into(), ..Want::default() };
    let leased = store.lease(want).await.unwrap().jobs;
    leased.into_iter().map(|lease| lease.job.parts.kind.as_str().to_owned()).collect()
}

/// Each row is a dead letter that says why, and the job behind them is leased.
pub(crate) async fn are_dead_letters(table: &mut Table, store: &dyn Inspect, cells: &[Cell]) {
    assert_eq!(lease(store, 100).await, ["known"]);
    let dead = dead(store).await;
    assert_eq!(dead.len(), cells.len());
    for (job, (row, column, value, shown)) in dead.iter().zip(cells) {
        let what = format!("{column} = {value}");
        table.says(Case(*row, &what, shown), &job.last_error().unwrap().message);
    }
}

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: SqliteStore,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let store = SqliteStore::builder(&path).max_args(1_000).open().await.unwrap();
        Self { _dir: dir, path, store }
    }

    fn sql(&self, sql: &str) -> rusqlite::Result<()> {
        Connection::open(&self.path)?.execute_batch(sql)
    }

    fn worker(&self) -> QueueWorker {
        QueueWorker::new(self.store.clone(), router())
    }
}

const CELLS: [Cell; 19] = [
    (62, "kind", "'no spaces'", "\"no spaces\""),
    (62, "kind", "''", "\"\""),
    (62, "kind", "CAST(x'ff' AS TEXT)", "U+FFFD"),
    (62, "kind", "hex(zeroblob(100000))", "200000 bytes"),
    (62, "queue", "'default', id = x'00'", "`id`"),
    (62, "unique_key", "''", "\"\""),
    (62, "headers", "'{\"a\": \"\\u0007\"}'", "\"a\""),
    (62, "args", "hex(zeroblob(25000000))", "50000000 bytes"),
    (62, "expires_at", "1", "it expired"),
    (62, "timeout_ms", "-1", "timeout_ms -1"),
    (63, "priority", "-1", "priority -1"),
    (63, "priority", "9223372036854775807", "9223372036854775807"),
    (63, "max_attempts", "-5", "max_attempts -5"),
    (63, "max_attempts", "9223372036854775807", "9223372036854775807"),
    (63, "attempt", "-9", "attempt -8"),
    (63, "attempt", "25", "attempt 26 of at most 25"),
    (63, "attempt", "9223372036854775807", "9223372036854775807"),
    (63, "fence", "-9223372036854775808", "-9223372036854775807"),
    (63, "fence", "9223372036854775807", "9223372036854775807"),
];

#[tokio::test]
async fn rows_that_are_no_jobs_are_dead_letters_and_the_queue_goes_on() {
    let place = Place::new().await;
    for (_, column, value, _) in CELLS {
        place.sql("INSERT INTO jobs (kind) VALUES ('bad')").unwrap();
        let last = "WHERE seq = (SELECT max(seq) FROM jobs)";
        place.sql(&format!("UPDATE jobs SET {column} = {value} {last}")).unwrap();
    }
    place.worker().perform(job()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut table = Table::of("rows_of_a_file");
    are_dead_letters(&mut table, &place.store, &CELLS).await;
    for (what, sql) in [
        ("a state that there is not", "INSERT INTO jobs (kind, state) VALUES ('greet', 'flying')"),
        ("a text as a number", "INSERT INTO jobs (kind, attempt) VALUES ('greet', 'many')"),
        ("no due time", "INSERT INTO jobs (kind, scheduled_at) VALUES ('greet', NULL)"),
        ("no kind", "INSERT INTO jobs (queue) VALUES ('default')"),
    ] {
        let said = async { place.sql(sql).map_err(|error| error.to_string().replace("\n       ", "")) };
        table.refused_for_good(Case(64, what, ""), said).await;
    }
    table.stays();
}

#[tokio::test]
async fn times_written_by_hand_are_now_or_never_and_a_lease_without_an_end_can_be_ended() {
    let mut table = Table::of("times_of_a_file");
    let place = Place::new().await;
    for at in [i64::MIN, 0, i64::MAX] {
        place.sql(&format!("INSERT INTO jobs (kind, scheduled_at, created_at) VALUES ('known', {at}, {at})")).unwrap();
    }
    assert_eq!(lease(&place.store, 10).await.len(), 2);
    for (what, then) in [("due long before 1970", "now"), ("due in 1970", "now"), ("due at the end of time", "never")] {
        table.accepted(Case(67, what, then), async { Ok::<_, std::fmt::Error>(()) }).await;
    }
    let columns = "kind, state, worker, attempt, lease_until";
    let far = "VALUES ('held', 'running', 'nobody', 1, 4948156800000)";
    place.sql(&format!("INSERT INTO jobs ({columns}) {far}")).unwrap();
    let held = place.store.list(JobFilter::all().kind("held"), Order::OldestFirst, None, 10).await.unwrap().jobs;
    let id = held[0].job.parts.id;
    assert_eq!(place.store.rescue(10, 3).await.unwrap().available, 0, "its time has not come");
    place.sql("UPDATE jobs SET lease_until = 0 WHERE kind = 'held'").unwrap();
    assert_eq!(place.store.rescue(10, 3).await.unwrap().available, 1);
    let cancelled = place.store.cancel(vec![id]);
    table.accepted(Case(68, "held for a century", "it runs again once the lease is ended by hand"), cancelled).await;
    table.stays();
}

#[tokio::test]
async fn a_job_without_a_handler_is_a_dead_letter_and_can_be_tried_again() {
    let place = Place::new().await;
    place.sql("INSERT INTO jobs (kind) VALUES ('unknown')").unwrap();
    let worker = place.worker();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let found = async {
        loop {
            if let Some(job) = dead(&place.store).await.pop() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let job = tokio::time::timeout(Duration::from_secs(10), found).await.unwrap();
    running.abort();
    let mut table = Table::of("unknown_kinds");
    table.says(Case(66, "a kind that a newer program made", "\"unknown\""), &job.last_error().unwrap().message);
    assert_eq!(job.status.unwrap().code(), 404);
    assert!(place.store.retry(job.job.parts.id).await.unwrap());
    table.stays();
}

#[tokio::test]
async fn a_table_that_somebody_changed_is_named_by_what_fails() {
    let mut table = Table::of("tables_of_a_file");
    for (what, change, shown) in [
        ("no table of jobs", "PRAGMA foreign_keys = off; DROP TABLE jobs", "jobs"),
        ("no table of attempts", "DROP TABLE attempts", "attempts"),
        ("no column for headers", "ALTER TABLE jobs RENAME COLUMN headers TO heads", "headers"),
        ("no index of what is due", "DROP INDEX jobs_ready", "jobs_ready"),
        ("no index of unique keys", "DROP INDEX jobs_unique", "jobs_unique"),
    ] {
        let place = Place::new().await;
        place.worker().perform(job()).await.unwrap();
        place.sql(change).unwrap();
        let path = place.path.clone();
        table.hide(path.to_str().unwrap(), "[file]");
        drop(place.store);
        let used = async {
            let store = SqliteStore::open(&path).await.map_err(|error| error.to_string())?;
            let want = Want { limit: 1, worker: "test".into(), ..Want::default() };
            store.insert(vec![job().into_stored(100).unwrap()]).await.map_err(|error| error.to_string())?;
            let leased = store.lease(want).await.map_err(|error| error.to_string())?;
            let failed = leased.jobs.iter().map(|lease| Settle {
                key: lease.key,
                status: Status::BAD_REQUEST,
                settlement: Settlement::Discard,
                error: Some(ErrorRecord::new("bad")),
                then: Vec::new(),
            });
            store.settle(failed.collect()).await.map_err(|error| error.to_string())
        };
        table.refused_for_good(Case(69, what, shown), used).await;
    }
    let place = Place::new().await;
    place
        .sql("ALTER TABLE jobs ADD COLUMN extra TEXT; CREATE TABLE other (x); CREATE INDEX mine ON jobs (extra)")
        .unwrap();
    let more = Case(69, "a column, a table and an index of somebody else's", "they are no harm");
    table.accepted(more, SqliteStore::open(&place.path)).await;
    table.stays();
}

#[tokio::test]
async fn a_transaction_of_another_database_is_refused_by_what_is_missing() {
    let mut table = Table::of("transactions_of_a_file");
    let place = Place::new().await;
    let new = || [job().into_stored(100).unwrap()];
    let mut other = Connection::open_in_memory().unwrap();
    let inserted = async {
        let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        insert_in(&transaction, &new())
    };
    table.refused_for_good(Case(61, "another database", "capacities"), inserted).await;
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let mut reader = Connection::open_with_flags(&place.path, flags).unwrap();
    let inserted = async {
        let transaction = reader.transaction().unwrap();
        insert_in(&transaction, &new())
    };
    table.refused_for_good(Case(61, "a transaction that may only read", "read-only"), inserted).await;
    let store: Arc<dyn Inspect> = Arc::new(place.store.clone());
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 0);
    table.stays();
}
