//! Unique keys of jobs that come by plain SQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::Duration;

use support::{Other, Place, complete, count, in_state, lease};
use work_core::JobState;
use work_core::store::{Lease, Settled, Store};
use work_postgres::PostgresStore;

/// The job that the call answers.
async fn enqueue(other: &Other, args: &str, options: &str) -> String {
    let sql = format!("SELECT work.enqueue('k', '{args}', '{options}')::text");
    other.text(&sql).await
}

#[tokio::test]
async fn a_key_with_a_window_is_free_after_it() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    let hourly = r#"{"unique_key": "digest", "unique_within_ms": 3600000}"#;
    let first = enqueue(&other, "1", hourly).await;
    let leased = lease(&store, 1).await.jobs;
    store.settle(vec![complete(&leased[0])]).await.unwrap();
    assert_eq!(enqueue(&other, "2", hourly).await, first);
    other.run("UPDATE work.history SET created_at = created_at - '1 hour'::interval").await.unwrap();
    let second = enqueue(&other, "3", hourly).await;
    assert_ne!(second, first);
    assert_eq!(enqueue(&other, "4", hourly).await, second);
    assert_eq!(count(&store, JobState::Available).await, 1);
}

#[tokio::test]
async fn the_latest_args_count_once_their_transaction_commits() {
    let place = Place::new();
    let store = place.open().await;
    let (one, two) = (place.other().await, place.other().await);
    let latest = r#"{"unique_key": "k", "on_conflict": "replace_args"}"#;
    let first = enqueue(&one, "1", latest).await;
    for (n, end) in [(2, "ROLLBACK"), (3, "COMMIT"), (4, "ROLLBACK")] {
        two.run("BEGIN").await.unwrap();
        assert_eq!(enqueue(&two, &n.to_string(), latest).await, first);
        assert!(lease(&store, 1).await.jobs.is_empty(), "who gives it other args holds it");
        two.run(end).await.unwrap();
    }
    let leased = lease(&store, 1).await.jobs;
    assert_eq!(leased[0].job.args, "3");
    assert_eq!(enqueue(&one, "5", latest).await, first);
    assert_eq!(in_state(&store, JobState::Running).await[0].job.args, "3");
}

const AFTER: &str = r#"{"unique_key": "k", "on_conflict": "run_after"}"#;

/// Leases until there is something, as a runner does.
async fn next(store: &PostgresStore) -> Lease {
    for _ in 0..100 {
        if let Some(lease) = lease(store, 1).await.jobs.pop() {
            return lease;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was due for two seconds");
}

#[tokio::test]
async fn a_job_that_is_joined_starts_after_the_transaction_that_joins_it() {
    let place = Place::new();
    let store = place.open().await;
    let (one, two) = (place.other().await, place.other().await);
    let first = enqueue(&one, "1", AFTER).await;
    two.run("BEGIN").await.unwrap();
    assert_eq!(enqueue(&two, "2", AFTER).await, first);
    assert_eq!(enqueue(&one, "3", AFTER).await, first, "nobody waits for it");
    assert!(lease(&store, 1).await.jobs.is_empty());
    two.run("COMMIT").await.unwrap();
    let running = next(&store).await;
    let second = enqueue(&one, "4", AFTER).await;
    assert_ne!(second, first);
    two.run("BEGIN").await.unwrap();
    assert_eq!(enqueue(&two, "5", AFTER).await, second);
    let settled = tokio::time::timeout(Duration::from_secs(5), store.settle(vec![complete(&running)])).await;
    assert_eq!(settled.unwrap().unwrap(), [Settled::Done], "who ends a job waits for no transaction of others");
    assert!(lease(&store, 1).await.jobs.is_empty());
    two.run("COMMIT").await.unwrap();
    assert_eq!(next(&store).await.job.args, "4");
}

#[tokio::test]
async fn a_job_that_waits_exists_exactly_if_its_transaction_commits() {
    let place = Place::new();
    let store = place.open().await;
    let (one, two) = (place.other().await, place.other().await);
    for (end, expected) in [("ROLLBACK", None), ("COMMIT", Some("2"))] {
        enqueue(&one, "1", AFTER).await;
        let running = next(&store).await;
        two.run("BEGIN").await.unwrap();
        enqueue(&two, "2", AFTER).await;
        store.settle(vec![complete(&running)]).await.unwrap();
        assert!(lease(&store, 1).await.jobs.is_empty());
        two.run(end).await.unwrap();
        match expected {
            None => assert_eq!(count(&store, JobState::Available).await, 0),
            Some(args) => assert_eq!(next(&store).await.job.args, args, "its holder has ended meanwhile"),
        }
    }
}

#[tokio::test]
async fn who_takes_the_key_of_a_holder_that_was_deleted_by_hand_holds_up_nobody() {
    let place = Place::new();
    let store = place.open().await;
    let (one, two) = (place.other().await, place.other().await);
    enqueue(&one, "1", AFTER).await;
    next(&store).await;
    enqueue(&one, "2", AFTER).await;
    two.run("DELETE FROM work.jobs WHERE state = 'running'").await.unwrap();
    two.run("BEGIN").await.unwrap();
    enqueue(&two, "3", AFTER).await;
    let leased = tokio::time::timeout(Duration::from_secs(2), lease(&store, 1)).await.unwrap();
    assert!(leased.jobs.is_empty(), "nobody knows yet whose key it is");
    store.rescue(10, 3).await.unwrap();
    two.run("COMMIT").await.unwrap();
    let third = next(&store).await;
    assert_eq!(third.job.args, "3");
    assert!(lease(&store, 1).await.jobs.is_empty());
    store.settle(vec![complete(&third)]).await.unwrap();
    assert_eq!(next(&store).await.job.args, "2");
}
