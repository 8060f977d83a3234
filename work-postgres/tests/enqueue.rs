//! Unique keys of jobs that come by plain SQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use support::{Other, Place, complete, count, in_state, lease};
use work_core::JobState;
use work_core::store::Store;

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
