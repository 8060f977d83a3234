//! Who waits for jobs of another process hears of them, and finds them when nothing is heard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use support::{Other, Place, job};
use work_core::Queue;
use work_core::store::Store;
use work_postgres::PostgresStore;

/// How long a wait takes during which `act` runs.
async fn wait(store: &PostgresStore, act: impl Future<Output = ()>) -> Duration {
    let queues = [Queue::DEFAULT];
    let mut ready = store.ready(&queues);
    assert!(!poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await);
    let start = Instant::now();
    act.await;
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("woken");
    start.elapsed()
}

/// Until nobody is woken without a reason in less than this: then notifications arrive.
const BY_CHANCE: Duration = Duration::from_millis(400);

async fn until_it_listens(store: &PostgresStore) {
    for _ in 0..100 {
        if wait(store, async {}).await > BY_CHANCE {
            return;
        }
    }
    panic!("notifications never arrived");
}

async fn listeners(place: &Place, other: &Other) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN \"work:NAME\"'";
    other.number(&sql.replace("NAME", &place.schema)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_of_another_process_wakes_who_waits() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    until_it_listens(&one).await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let insert = async { drop(two.insert(vec![job("greet", 1)]).await.unwrap()) };
        fastest = fastest.min(wait(&one, insert).await);
    }
    assert!(fastest < BY_CHANCE, "woken by chance after {fastest:?}, not by the insert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enqueue_wakes_who_waits_if_it_is_asked_to() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    until_it_listens(&store).await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let enqueue = other.run("SELECT work.enqueue('greet', '1', '{\"notify\": true}')");
        fastest = fastest.min(wait(&store, async { enqueue.await.unwrap() }).await);
    }
    assert!(fastest < BY_CHANCE, "woken by chance after {fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_found_when_notifications_are_cut_and_they_come_back_by_themselves() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    until_it_listens(&store).await;
    assert_eq!(listeners(&place, &other).await, 1);
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN \"work:NAME\"'";
    assert_eq!(other.number(&cut.replace("NAME", &place.schema)).await, 1);
    // Nobody tells of a job that came by SQL; whoever waits looks now and then.
    let enqueue = async { other.run("SELECT work.enqueue('greet')").await.unwrap() };
    assert!(wait(&store, enqueue).await < Duration::from_secs(10));
    assert_eq!(support::lease(&store, 1).await.jobs.len(), 1);
    until_it_listens(&store).await;
    assert_eq!(listeners(&place, &other).await, 1, "it listens again, once");
}

#[tokio::test]
async fn who_only_makes_jobs_has_no_connection_that_listens() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(vec![job("greet", 1)]).await.unwrap();
    assert_eq!(listeners(&place, &place.other().await).await, 0);
}
