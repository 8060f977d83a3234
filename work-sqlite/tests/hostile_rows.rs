//! Rows written by hand, at the edges of what a column can hold: none of them stops the jobs beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use work_core::store::{
    Inspect, JobFilter, Lease, Order, Rescued, Settle, Settled, Settlement, Store, StoredJob, Want,
};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, Status};
use work_sqlite::SqliteStore;

async fn place() -> (TempDir, PathBuf, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = SqliteStore::open(&path).await.unwrap();
    (dir, path, store)
}

async fn lease(store: &SqliteStore, limit: usize) -> Vec<Lease> {
    let want = Want { limit, worker: "test".into(), ..Want::default() };
    store.lease(want).await.unwrap().jobs
}

async fn dead(store: &SqliteStore) -> Vec<StoredJob> {
    let filter = JobFilter::all().state(JobState::Discarded);
    store.list(filter, Order::OldestFirst, None, 100).await.unwrap().jobs
}

#[tokio::test]
async fn numbers_at_the_edge_of_64_bits_are_dead_letters_and_the_queue_goes_on() {
    let (_dir, path, store) = place().await;
    let (least, most) = (i64::MIN, i64::MAX);
    for (column, value) in [
        ("fence", most),
        ("fence", least),
        ("attempt", most),
        ("attempt", least),
        ("attempt", 25),
        ("max_attempts", most),
        ("priority", least),
        ("priority", most),
        ("expires_at", least),
    ] {
        let other = Connection::open(&path).unwrap();
        other.execute(&format!("INSERT INTO jobs (kind, {column}) VALUES ('bad', ?1)"), [value]).unwrap();
    }
    let texts = [("unique_key", "CAST(x'ff' AS TEXT)"), ("kind", "CAST(x'ff' AS TEXT)"), ("queue", "'default'")];
    for (column, value) in texts {
        let kind = if column == "kind" { "" } else { "kind, " };
        let name = if column == "kind" { "" } else { "'bad', " };
        let sql = format!("INSERT INTO jobs ({kind}{column}, expires_at) VALUES ({name}{value}, 1)");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    }
    store.insert(vec![Job::new("fine", ()).into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let leases = lease(&store, 100).await;
    assert_eq!(leases.iter().map(|lease| lease.job.parts.kind.as_str()).collect::<Vec<_>>(), ["fine"]);
    let dead = dead(&store).await;
    assert_eq!(dead.len(), 12);
    assert!(dead.iter().all(|job| job.last_error().is_some_and(|error| !error.message.is_empty())), "{dead:?}");
}

#[tokio::test]
async fn due_times_at_the_edge_of_64_bits_are_now_or_never() {
    let (_dir, path, store) = place().await;
    for at in [i64::MIN, i64::MAX] {
        let sql = "INSERT INTO jobs (kind, scheduled_at, created_at) VALUES ('edge', ?1, ?1)";
        Connection::open(&path).unwrap().execute(sql, [at]).unwrap();
    }
    assert_eq!(lease(&store, 10).await.len(), 1);
    assert_eq!(store.list(JobFilter::default(), Order::OldestFirst, None, 10).await.unwrap().jobs.len(), 2);
}

#[tokio::test]
async fn a_running_row_written_by_hand_does_not_stop_the_rescue_of_others() {
    let (_dir, path, store) = place().await;
    let rows =
        ["-5, 1, 0, 1", "9223372036854775807, 1, 0, 1", "0, -9223372036854775808, 0, 1", "0, 1, 7, 1", "0, 1, 0, NULL"];
    for row in rows {
        let columns = "kind, state, crashes, attempt, cancel_requested, lease_until";
        let sql = format!("INSERT INTO jobs ({columns}) VALUES ('bad', 'running', {row})");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    }
    let rescued = store.rescue(100, 3).await.unwrap();
    assert_eq!(rescued, Rescued { available: 3, discarded: 1 });
    let counts = store.counts(JobFilter::default()).await.unwrap();
    assert_eq!((counts.of(JobState::Running), counts.of(JobState::Cancelled)), (0, 1));
}

#[tokio::test]
async fn a_row_whose_id_is_none_is_a_dead_letter_with_its_on_error_job_and_holds_its_key() {
    let (_dir, path, store) = place().await;
    let stored = |job: Job| job.into_stored(DEFAULT_MAX_ARGS).unwrap();
    let unique = || Job::new("bad", ()).unique(work_core::Unique::while_kept("k"));
    store.insert(vec![stored(unique().on_error(Job::new("oops", ())))]).await.unwrap();
    Connection::open(&path).unwrap().execute_batch("UPDATE jobs SET id = x'01020304'").unwrap();
    // Whoever asks for the key is answered, and stops nobody in the same batch.
    let inserted = store.insert(vec![stored(unique()), stored(Job::new("fine", ()))]).await.unwrap();
    assert_eq!(inserted.len(), 2);
    let mut kinds = Vec::new();
    // The on-error job may be due in the lease that makes it.
    for _ in 0..2 {
        kinds.extend(lease(&store, 10).await.iter().map(|lease| lease.job.parts.kind.to_string()));
        assert_eq!(dead(&store).await.len(), 1);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["fine", "oops"]);
}

#[tokio::test]
async fn a_row_that_waits_for_a_key_and_was_never_due_goes_on() {
    let (_dir, path, store) = place().await;
    let sql = "INSERT INTO jobs (kind, after_key) VALUES ('bad', 'nobody')";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    store.insert(vec![Job::new("fine", ()).into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    store.rescue(100, 3).await.unwrap();
    assert_eq!(lease(&store, 10).await.len(), 2);
}

#[tokio::test]
async fn a_queue_whose_name_is_no_text_does_not_stop_the_queues_of_other_keys() {
    let (_dir, path, store) = place().await;
    let sql = "INSERT INTO jobs (kind, queue) VALUES ('bad', CAST(x'6d61696c3aff' AS TEXT))";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    for key in ["a", "z"] {
        let job = Job::new("fine", ()).queue(work_core::Queue::of_key("mail", key));
        store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    }
    let queues = vec![work_core::Queue::each_key("mail")];
    let want = Want { queues, limit: 10, worker: "test".into(), ..Want::default() };
    assert_eq!(store.lease(want).await.unwrap().jobs.len(), 2);
}

#[tokio::test]
async fn limits_and_workers_that_are_none_limit_nothing_and_are_shown() {
    let (_dir, path, store) = place().await;
    let rows = "INSERT INTO limits VALUES ('default', -1), ('mail', 99999999999);
        INSERT INTO rates VALUES ('default', 'even', 99999999999, 5, 1, NULL), ('mail', 'even', 1, 5, 99999999999, CAST(x'ff' AS TEXT));
        INSERT INTO paused VALUES (CAST(x'ff' AS TEXT), 1);
        INSERT INTO workers SELECT CAST(x'ff' AS TEXT), CAST(x'ff' AS TEXT), -1, CAST(x'ff' AS TEXT), CAST(x'ff' AS TEXT), -1, -1, 0,
            9223372036854775807;";
    Connection::open(&path).unwrap().execute_batch(rows).unwrap();
    store.insert(vec![Job::new("fine", ()).into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    assert_eq!(lease(&store, 10).await.len(), 1);
    assert_eq!(store.workers().await.unwrap()[0].pid, 0);
    let queues = store.queues().await.unwrap();
    assert!(queues.iter().all(|queue| queue.at_most.is_none() && queue.rate.is_none()), "{queues:?}");
}

#[tokio::test]
async fn an_error_that_is_no_text_is_shown_as_far_as_it_is_one() {
    let (_dir, path, store) = place().await;
    store.insert(vec![Job::new("bad", ()).into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE jobs SET max_attempts = 0, tags = CAST(x'ff' AS TEXT)")
        .unwrap();
    assert_eq!(lease(&store, 10).await.len(), 0);
    Connection::open(&path).unwrap().execute_batch("UPDATE attempts SET message = CAST(x'61ff' AS TEXT)").unwrap();
    let job = dead(&store).await.pop().unwrap();
    assert_eq!(job.last_error().unwrap().message, "a\u{fffd}");
    store.delete(vec![job.job.parts.id]).await.unwrap();
    assert!(dead(&store).await.is_empty());
}

#[tokio::test]
async fn a_settlement_of_a_row_that_was_deleted_does_not_reach_its_successor() {
    let (_dir, path, store) = place().await;
    let one = |kind| Job::new(kind, ()).into_stored(DEFAULT_MAX_ARGS).unwrap();
    store.insert(vec![one("first")]).await.unwrap();
    let first = lease(&store, 1).await.pop().unwrap();
    Connection::open(&path).unwrap().execute_batch("DELETE FROM jobs").unwrap();
    store.insert(vec![one("second")]).await.unwrap();
    let second = lease(&store, 1).await.pop().unwrap();
    assert_eq!((first.key.row, first.key.fence), (second.key.row, second.key.fence), "SQLite gives the row again");
    let done = |lease: &Lease| Settle {
        key: lease.key,
        status: Status::SUCCESS,
        settlement: Settlement::Complete { output: None },
        error: None,
        then: vec![],
    };
    assert_eq!(store.extend(vec![first.key], Duration::from_secs(9)).await.unwrap(), []);
    assert_eq!(store.settle(vec![done(&first), done(&second)]).await.unwrap(), [Settled::Lost, Settled::Done]);
}

#[tokio::test]
async fn a_timeout_below_a_millisecond_is_not_zero() {
    let (_dir, _, store) = place().await;
    let job = Job::new("quick", ()).timeout(Duration::from_micros(500));
    store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    let leases = lease(&store, 1).await;
    assert_eq!(leases[0].job.parts.timeout, Some(Duration::from_millis(1)));
}

#[tokio::test]
async fn a_dead_letter_that_had_every_attempt_there_is_can_be_retried() {
    let (_dir, path, store) = place().await;
    let job = Job::new("stubborn", ()).max_attempts(1000);
    let id = job.id();
    store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    Connection::open(&path).unwrap().execute_batch("UPDATE jobs SET state = 'discarded', attempt = 1000").unwrap();
    assert!(store.retry(id).await.unwrap());
    assert_eq!(lease(&store, 1).await.len(), 1);
}
