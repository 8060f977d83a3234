//! Tests of what cannot be brought about from outside: requests that reach into the thread that writes.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};
use tempfile::TempDir;
use work_core::store::{Inspect, JobFilter, NewJob, Store};
use work_core::{DEFAULT_MAX_ARGS, Job, StoreError};

use crate::SqliteStore;
use crate::error::{Phase, failure, store_error};

async fn place() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("jobs.db")).await.unwrap();
    (dir, store)
}

fn job(bytes: usize) -> NewJob {
    Job::new("greet", "x".repeat(bytes)).into_stored(DEFAULT_MAX_ARGS).unwrap()
}

async fn total(store: &SqliteStore) -> u64 {
    store.counts(JobFilter::default()).await.unwrap().total()
}

async fn check(store: &SqliteStore) {
    let integrity = store.write(1, (), |connection, _, ()| {
        connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    });
    assert_eq!(integrity.await.unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_a_rejection_and_the_store_goes_on_when_there_is_room() {
    let (_dir, store) = place().await;
    store.insert(vec![job(10)]).await.unwrap();
    let pages = |pages: u32| {
        store.write(1, pages, |connection, _, pages| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
        })
    };
    pages(40).await.unwrap();
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.insert(vec![job(50_000)]).await })
        })
        .collect();
    let mut stored = 1;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert!(error.is_full() && !error.is_busy() && !error.is_unknown(), "{error}"),
        }
    }
    assert!(stored < 33, "the disk was full");
    assert_eq!(total(&store).await, stored, "what was answered is what is stored");
    pages(1_000_000).await.unwrap();
    store.insert(vec![job(50_000)]).await.unwrap();
    assert_eq!(total(&store).await, stored + 1);
    check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_the_error_of_its_request_alone() {
    let (_dir, store) = place().await;
    let before = store.insert(vec![job(1)]);
    let panics = store.write(1, (), |connection, _, ()| -> rusqlite::Result<()> {
        connection.execute("DELETE FROM jobs", [])?;
        panic!("a bug of ours")
    });
    let after = store.insert(vec![job(1)]);
    let (before, panicked, after) = tokio::join!(before, panics, after);
    assert!(panicked.unwrap_err().to_string().contains("a bug of ours"));
    assert!(before.is_ok() && after.is_ok());
    assert_eq!(total(&store).await, 2);
    let read: Result<(), StoreError> = crate::store::call(store.reader(), 1, (), |_, _, ()| panic!("another")).await;
    assert!(read.unwrap_err().to_string().contains("another"));
    assert_eq!(total(&store).await, 2);
}

#[tokio::test]
async fn after_an_error_of_the_disk_the_file_is_opened_again() {
    let (_dir, store) = place().await;
    store.insert(vec![job(1)]).await.unwrap();
    let mark = |value: i64| {
        store.write(1, value, |connection, _, value| connection.pragma_update(None, "cache_spill", *value))
    };
    mark(12_345).await.unwrap();
    let spill = || {
        store.write(1, (), |connection, _, ()| {
            connection.pragma_query_value(None, "cache_spill", |row| row.get::<_, i64>(0))
        })
    };
    assert_eq!(spill().await.unwrap(), 12_345);
    let fails =
        store.write(1, (), |_, _, ()| -> rusqlite::Result<()> { Err(failure(ffi::SQLITE_IOERR_FSYNC, &"gone")) });
    assert!(!fails.await.unwrap_err().is_unknown(), "it was before the commit");
    assert_ne!(spill().await.unwrap(), 12_345, "a setting of the old connection");
    store.insert(vec![job(1)]).await.unwrap();
    assert_eq!(total(&store).await, 2);
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_made_anew_when_the_disk_failed() {
    let (dir, store) = place().await;
    let path = dir.path().join("jobs.db");
    let fails =
        store.write(1, (), |_, _, ()| -> rusqlite::Result<()> { Err(failure(ffi::SQLITE_IOERR_FSYNC, &"gone")) });
    assert!(fails.await.is_err());
    std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    let error = store.insert(vec![job(1)]).await.unwrap_err();
    assert!(error.to_string().contains("jobs.db: cannot be opened") && !error.is_unknown(), "{error}");
    assert!(!path.exists());
    std::fs::rename(dir.path().join("elsewhere"), &path).unwrap();
    store.insert(vec![job(1)]).await.unwrap();
}

#[test]
fn only_a_failed_flush_of_a_commit_leaves_the_answer_open() {
    for (code, phase, unknown) in [
        (ffi::SQLITE_IOERR_FSYNC, Phase::Commit, true),
        (ffi::SQLITE_IOERR_WRITE, Phase::Commit, true),
        (ffi::SQLITE_IOERR_WRITE, Phase::Run, false),
        (ffi::SQLITE_FULL, Phase::Commit, false),
        (ffi::SQLITE_BUSY, Phase::Commit, false),
        (ffi::SQLITE_BUSY, Phase::Begin, false),
        (ffi::SQLITE_READONLY, Phase::Begin, false),
        (ffi::SQLITE_CORRUPT, Phase::Run, false),
    ] {
        assert_eq!(store_error(&failure(code, &"x"), phase).is_unknown(), unknown, "{code} {phase:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_locked_database_wait_together_and_not_one_after_the_other() {
    let (dir, store) = place().await;
    let short = store.write(1, (), |connection, _, ()| connection.busy_timeout(Duration::from_millis(500)));
    short.await.unwrap();
    let other = Connection::open(dir.path().join("jobs.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = Instant::now();
    // The first may be alone in its group; the others wait behind it.
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.insert(vec![job(1)]).await })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(error.is_busy() && !error.is_full() && !error.is_unknown(), "{error}");
    }
    assert!(before.elapsed() < Duration::from_secs(6), "{:?}", before.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    store.insert(vec![job(1)]).await.unwrap();
    assert_eq!(total(&store).await, 1);
}
