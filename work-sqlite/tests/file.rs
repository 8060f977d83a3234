//! The file: what other programs write into it, what is wrong with it, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use work_core::store::{Inserted, Inspect, JobFilter, Leased, NewJob, Order, Settle, Settled, Settlement, Store, Want};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, Status};
use work_sqlite::{Durability, OpenError, SqliteStore};

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("jobs.db")
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

async fn lease(store: &SqliteStore, limit: usize) -> Leased {
    let want = Want { limit, worker: "test".to_owned(), ..Want::default() };
    store.lease(want).await.unwrap()
}

#[tokio::test]
async fn a_plain_insert_enqueues_a_job_with_the_defaults() {
    let place = Place::new();
    let store = place.open().await;
    place.sql("INSERT INTO jobs(kind, args) VALUES ('greet', '{\"a\": 1}'), ('greet', 7), ('greet', x'5b5d')");
    place.sql("INSERT INTO jobs(kind) VALUES ('greet')");
    place.sql("INSERT INTO jobs(kind, scheduled_at) VALUES ('later', 4000000000000)");
    // The default of the due time is a client's clock, to the millisecond.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let leases = lease(&store, 10).await.jobs;
    let args: Vec<_> = leases.iter().map(|lease| lease.job.args.to_vec()).collect();
    assert_eq!(args, [&b"{\"a\": 1}"[..], b"7", b"[]", b"null"]);
    for lease in &leases {
        assert_eq!((lease.job.parts.priority, lease.job.parts.max_attempts, lease.attempt), (5, Some(25), 1));
    }
    let done = leases.iter().map(|lease| Settle {
        key: lease.key,
        status: Status::SUCCESS,
        settlement: Settlement::Complete { output: None },
        error: None,
        then: Vec::new(),
    });
    assert_eq!(store.settle(done.collect()).await.unwrap(), [Settled::Done; 4]);
}

#[tokio::test]
async fn rows_that_are_no_jobs_are_dead_letters_with_their_reason_and_neighbours_go_on() {
    let place = Place::new();
    let store = SqliteStore::builder(place.path()).max_args(100).open().await.unwrap();
    let rows = [
        ("kind", "'no spaces'", "U+0020"),
        ("kind", "''", "it is empty"),
        ("id", "x'00'", "16 bytes"),
        ("priority", "77", "priority 77"),
        ("max_attempts", "0", "max_attempts 0"),
        ("max_attempts", "-5", "max_attempts -5 is out of range; use 1 to 1000"),
        ("attempt", "-9", "the next attempt -8 is out of range"),
        ("args", "hex(zeroblob(1000000))", "2000000 bytes; at most 100"),
        ("expires_at", "1", "expired before it started"),
        ("timeout_ms", "-1", "timeout_ms -1"),
    ];
    for (column, value, _) in rows {
        let kind = if column == "kind" { "kind" } else { "kind, " };
        let column = if column == "kind" { "" } else { column };
        let value = if column.is_empty() { value.to_owned() } else { format!("'greet', {value}") };
        place.sql(&format!("INSERT INTO jobs ({kind}{column}) VALUES ({value})"));
    }
    place.sql("INSERT INTO jobs (kind, headers) VALUES ('fine', 'no json')");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let leases = lease(&store, 3).await.jobs;
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].job.parts.kind.as_str(), "fine");
    let filter = JobFilter::all().state(JobState::Discarded);
    let dead = store.list(filter, Order::OldestFirst, None, 100).await.unwrap().jobs;
    assert_eq!(dead.len(), rows.len());
    for (job, (column, value, reason)) in dead.iter().zip(rows) {
        let message = &job.last_error().unwrap().message;
        assert!(message.contains(reason), "{column} = {value}: {message}");
    }
}

#[tokio::test]
async fn an_impossible_state_is_refused_by_the_table() {
    let place = Place::new();
    let _store = place.open().await;
    let other = Connection::open(place.path()).unwrap();
    let error = other.execute("INSERT INTO jobs (kind, state) VALUES ('greet', 'flying')", []).unwrap_err();
    assert!(error.to_string().contains("CHECK constraint failed"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_a_store_is_refused_with_a_message_of_its_own() {
    let place = Place::new();
    let path = |name: &str| place.dir.path().join(name);
    std::fs::write(path("text"), "x".repeat(5_000)).unwrap();
    Connection::open(path("newer"))
        .unwrap()
        .execute_batch("CREATE TABLE work_schema (version); INSERT INTO work_schema VALUES (99)")
        .unwrap();
    Connection::open(path("foreign")).unwrap().execute_batch("CREATE TABLE jobs (x)").unwrap();
    let known = SqliteStore::SCHEMA_VERSION;
    let newer =
        format!("the schema has version 99, and this program knows versions up to {known}; run a newer program");
    for (name, expected) in [
        ("text", "this is not an SQLite database; give another path, or move the file away"),
        ("newer", newer.as_str()),
        ("foreign", "this database has a table `jobs` of another program; give another path"),
        ("no/folder", "does not exist; create it first"),
        (".", "this is a folder; give the path of a file"),
    ] {
        let error = SqliteStore::open(path(name)).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(path(name).to_str().unwrap()), "{name}: {error}");
    }
    assert!(matches!(SqliteStore::open(":memory:").await, Err(OpenError::InMemory { .. })));
    let damaged = path("damaged");
    drop(SqliteStore::open(&damaged).await.unwrap());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[100..].fill(0xff);
    std::fs::write(&damaged, bytes).unwrap();
    let error = SqliteStore::open(&damaged).await.unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
}

#[tokio::test]
async fn the_file_is_its_owners_alone_and_names_of_all_kinds_work() {
    let place = Place::new();
    for name in ["jobs.db", "with %20 and ü?mode=ro#.db"] {
        let path = place.dir.path().join(name);
        let _store = SqliteStore::open(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

fn synchronous(store: &Path) -> (String, i64) {
    let connection = Connection::open(store).unwrap();
    let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    (mode, connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0)).unwrap())
}

#[tokio::test]
async fn the_store_opens_again_with_everything_in_it() {
    let place = Place::new();
    for n in 1..=3 {
        for durability in [Durability::PowerLoss, Durability::ProcessDeath] {
            let store = SqliteStore::builder(place.path()).durability(durability).open().await.unwrap();
            let job = Job::new("greet", n).into_stored(DEFAULT_MAX_ARGS).unwrap();
            store.insert(vec![job]).await.unwrap();
        }
    }
    assert_eq!(synchronous(&place.path()), ("wal".to_owned(), 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_can_be_opened_by_many_at_once() {
    for _ in 0..20 {
        let place = Place::new();
        let opens: Vec<_> = (0..8).map(|_| tokio::spawn(SqliteStore::open(place.path()))).collect();
        for open in opens {
            open.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_lose_nothing_and_lease_nothing_twice() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    let work = |store: SqliteStore| {
        tokio::spawn(async move {
            let mut mine = Vec::new();
            for n in 0..300 {
                let job = Job::new("greet", n).into_stored(DEFAULT_MAX_ARGS).unwrap();
                store.insert(vec![job]).await.unwrap();
                mine.extend(lease(&store, 2).await.jobs.into_iter().map(|lease| lease.key.id));
            }
            mine
        })
    };
    let (first, second) = (work(one.clone()), work(two));
    let (mut all, more) = (first.await.unwrap(), second.await.unwrap());
    all.extend(more);
    all.extend(lease(&one, 1_000).await.jobs.into_iter().map(|lease| lease.key.id));
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((count, all.len()), (600, 600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_request_in_a_group_fails_alone() {
    let place = Place::new();
    let store = place.open().await;
    // A job that the database itself refuses, so that the whole group has to be rolled back first.
    place.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN new.kind = 'refused' BEGIN SELECT raise(ABORT, 'not this one'); END",
    );
    let inserts: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            let kind = if n % 50 == 7 { "refused" } else { "greet" };
            let job = Job::new(kind, n).into_stored(DEFAULT_MAX_ARGS).unwrap();
            tokio::spawn(async move { store.insert(vec![job]).await.map(drop).map_err(|error| error.to_string()) })
        })
        .collect();
    let mut failed = 0;
    for insert in inserts {
        if let Err(error) = insert.await.unwrap() {
            assert!(error.contains("not this one"), "{error}");
            failed += 1;
        }
    }
    assert_eq!(failed, 4);
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 196);
}

#[tokio::test]
async fn a_locked_database_refuses_after_a_while_and_works_again_when_it_is_free() {
    let place = Place::new();
    let store = place.open().await;
    let big = || Job::new("greet", "x".repeat(100_000)).into_stored(DEFAULT_MAX_ARGS).unwrap();
    store.insert(vec![big()]).await.unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.insert(vec![big()]).await.unwrap_err();
    assert!(error.to_string().contains("locked by another process") && !error.is_unknown(), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    store.insert(vec![big()]).await.unwrap();
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 2);
}

/// One that begins to read, and wants to write only then, would be refused at once, whatever the timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reads_before_it_writes_waits_for_another_writer() {
    let place = Place::new();
    let store = place.open().await;
    place.sql("INSERT INTO jobs(kind) VALUES ('greet')");
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; INSERT INTO jobs(kind) VALUES ('greet')").unwrap();
    let leasing = tokio::spawn({
        let store = store.clone();
        async move { lease(&store, 10).await.jobs.len() }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(leasing.await.unwrap(), 2, "what was committed meanwhile is seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_insert_is_whole_or_nothing_and_harms_nobody() {
    let place = Place::new();
    let store = place.open().await;
    let job = |n: usize| Job::new("greet", n).into_stored(DEFAULT_MAX_ARGS).unwrap();
    let batches: Vec<Vec<NewJob>> = (0..30).map(|n| (0..10).map(|_| job(n)).collect()).collect();
    for (polls, batch) in batches.iter().enumerate() {
        let mut insert = store.insert(batch.clone());
        for _ in 0..polls {
            if poll_fn(|cx| Poll::Ready(insert.as_mut().poll(cx).is_ready())).await {
                break;
            }
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    }
    for batch in batches {
        let answers = store.insert(batch).await.unwrap();
        let new = answers.iter().filter(|answer| matches!(answer, Inserted::New(_))).count();
        assert!(new == 0 || new == 10, "{answers:?}");
    }
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 300);
}
