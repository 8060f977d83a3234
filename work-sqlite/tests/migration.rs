//! Files of earlier versions are brought up to date, and what is in them goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::time::Duration;

use rusqlite::Connection;
use work_core::limit::Rate;
use work_core::store::{Inspect, JobFilter, Store, Want};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState};
use work_sqlite::SqliteStore;

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_and_its_jobs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../src/sql/1_jobs.sql")).unwrap();
    old.execute_batch(
        "CREATE TABLE work_schema (version INTEGER NOT NULL) STRICT; INSERT INTO work_schema VALUES (1);
        INSERT INTO jobs (kind, args) VALUES ('waits', '1');
        INSERT INTO jobs (kind, state, finished_at, status) VALUES ('dead', 'discarded', 5, 500);
        INSERT INTO attempts VALUES (2, 1, 500, 'it broke', NULL, 5);",
    )
    .unwrap();
    drop(old);
    let store = SqliteStore::open(&path).await.unwrap();
    store.insert(vec![Job::new("new", 2).tag("t").into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let want = Want { limit: 9, worker: "w".into(), ..Want::default() };
    let kinds: Vec<_> = store.lease(want).await.unwrap().jobs.into_iter().map(|lease| lease.job.parts.kind).collect();
    assert_eq!(kinds.iter().map(work_core::Kind::as_str).collect::<Vec<_>>(), ["waits", "new"]);
    let dead = JobFilter::all().state(JobState::Discarded).error_contains("broke");
    assert_eq!(store.retry_all(dead, 10).await.unwrap(), 1);
    let found: i64 =
        Connection::open(&path).unwrap().query_row("SELECT version FROM work_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(found, SqliteStore::SCHEMA_VERSION);
}

/// As the second and the third version left it, with a limit in the third.
#[tokio::test]
async fn files_of_later_versions_are_brought_up_to_date_and_their_limits_stand() {
    let steps = [
        include_str!("../src/sql/1_jobs.sql"),
        include_str!("../src/sql/2_operate.sql"),
        include_str!("../src/sql/3_queues.sql"),
    ];
    for version in 2..=steps.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let old = Connection::open(&path).unwrap();
        steps[..version].iter().for_each(|step| old.execute_batch(step).unwrap());
        old.execute_batch(&format!(
            "CREATE TABLE work_schema (version INTEGER NOT NULL) STRICT; INSERT INTO work_schema VALUES ({version});
            INSERT INTO jobs (kind, args) VALUES ('a', '1'), ('b', '2'), ('c', '3');"
        ))
        .unwrap();
        if version == 3 {
            old.execute_batch("INSERT INTO limits VALUES ('default', 2);").unwrap();
        }
        drop(old);
        let store = SqliteStore::open(&path).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let rate = Rate::sliding_window(1, Duration::from_secs(3_600)).unwrap();
        assert_eq!(store.declare_rate("default".into(), rate.clone()).await.unwrap(), rate);
        let want = || Want { limit: 9, ..Want::default() };
        assert_eq!(store.lease(want()).await.unwrap().jobs.len(), 1, "version {version}");
        store.rate_queue("default".into(), None).await.unwrap();
        let rest = if version == 3 { 1 } else { 2 };
        assert_eq!(store.lease(want()).await.unwrap().jobs.len(), rest, "version {version}");
    }
}
