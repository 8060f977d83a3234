//! What other connections to the same file do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;
use work_core::Queue;
use work_core::store::Store;
use work_sqlite::SqliteStore;

async fn place() -> (TempDir, PathBuf, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = SqliteStore::open(&path).await.unwrap();
    (dir, path, store)
}

#[tokio::test]
async fn an_insert_of_another_connection_wakes_who_waits() {
    let (_dir, path, store) = place().await;
    let queues = [Queue::DEFAULT];
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let mut ready = store.ready(&queues);
        assert!(!poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await);
        let before = Instant::now();
        Connection::open(&path).unwrap().execute_batch("INSERT INTO jobs(kind) VALUES ('greet')").unwrap();
        tokio::time::timeout(Duration::from_secs(5), ready).await.expect("woken");
        fastest = fastest.min(before.elapsed());
    }
    // Without a reason nobody is woken before half a second has passed.
    assert!(fastest < Duration::from_millis(450), "woken by chance after {fastest:?}, not by the insert");
}

#[tokio::test]
async fn who_waits_in_vain_looks_again_after_a_while() {
    let (_dir, _, store) = place().await;
    let before = Instant::now();
    tokio::time::timeout(Duration::from_secs(3), store.ready(&[Queue::DEFAULT])).await.expect("woken");
    assert!(before.elapsed() > Duration::from_millis(100), "that is polling");
}
