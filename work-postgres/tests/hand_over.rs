//! An idle runner gets a job of its own process in the transaction that inserts it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::poll_immediate;
use support::{Place, complete, count, job, lease, want};
use work_core::store::{Settled, Store};
use work_core::{Args, Clock, DEFAULT_MAX_ARGS, Job, JobState, Queue, QueueWorker, Router, Worker};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_gets_the_job_with_its_insert_and_nobody_else_does() {
    let place = Place::new();
    let store = place.open().await;
    let mut never = Box::pin(std::future::pending());
    let mut handed = store.hand_over(want(5), never.as_mut());
    assert!(poll_immediate(&mut handed).await.is_none());
    let id = store.insert(vec![job("greet", 1), job("greet", 2)]).await.unwrap()[0].id();
    let handed = tokio::time::timeout(SOON, handed).await.unwrap().expect("jobs");
    assert_eq!(handed.leased.jobs.len(), 2);
    assert_eq!((handed.leased.jobs[0].key.id, handed.leased.jobs[0].attempt), (id, 1));
    assert!(lease(&store, 10).await.jobs.is_empty());
    let settled = store.settle(handed.leased.jobs.iter().map(complete).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Done]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_given_back_with_its_attempt() {
    let place = Place::new();
    let store = place.open().await;
    let mut never = Box::pin(std::future::pending());
    for _ in 0..20 {
        let mut handed = store.hand_over(want(5), never.as_mut());
        assert!(poll_immediate(&mut handed).await.is_none());
        let insert = store.insert(vec![job("greet", 1)]);
        // Dropped while the insert is under way, or after it.
        let (inserted, ()) = tokio::join!(insert, async {
            tokio::task::yield_now().await;
            drop(handed);
        });
        let id = inserted.unwrap()[0].id();
        let found = tokio::time::timeout(SOON, async {
            loop {
                if let [found] = &*lease(&store, 5).await.jobs {
                    return found.clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let found = found.await.expect("given back");
        assert_eq!((found.key.id, found.attempt), (id, 1));
        store.settle(vec![complete(&found)]).await.unwrap();
    }
    // Kept until after the insert, and then not looked at.
    let mut handed = store.hand_over(want(5), never.as_mut());
    assert!(poll_immediate(&mut handed).await.is_none());
    store.insert(vec![job("greet", 1)]).await.unwrap();
    assert_eq!(count(&store, JobState::Running).await, 1);
    drop(handed);
    let back = async { while count(&store, JobState::Available).await == 0 {} };
    tokio::time::timeout(SOON, back).await.expect("given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_other_queues_later_jobs_and_duplicates_are_not_handed_over() {
    let place = Place::new();
    let store = place.open().await;
    let mut never = Box::pin(std::future::pending());
    let mut handed = store.hand_over(want(5), never.as_mut());
    assert!(poll_immediate(&mut handed).await.is_none());
    let mut later = job("greet", 1);
    later.parts.scheduled_at = Some(Clock::system().now() + TimeDelta::hours(1));
    let other = Job::new("greet", 1).queue("other").into_stored(DEFAULT_MAX_ARGS).unwrap();
    let again = later.clone();
    store.insert(vec![later, other]).await.unwrap();
    store.insert(vec![again]).await.unwrap();
    assert!(poll_immediate(&mut handed).await.is_none());
    // The next one is.
    store.insert(vec![job("greet", 2)]).await.unwrap();
    let handed = tokio::time::timeout(SOON, handed).await.unwrap().expect("a job");
    assert_eq!(handed.leased.jobs.len(), 1);
    assert_eq!(&*handed.leased.jobs[0].job.args, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_jobs_than_it_wants_the_rest_is_told_of() {
    let place = Place::new();
    let store = place.open().await;
    let queues = [Queue::DEFAULT];
    let mut ready = store.ready(&queues);
    // Registered here, and the offer waits for nothing else.
    assert!(poll_immediate(&mut ready).await.is_none());
    let mut never = Box::pin(std::future::pending());
    let mut handed = store.hand_over(want(1), never.as_mut());
    assert!(poll_immediate(&mut handed).await.is_none());
    store.insert(vec![job("greet", 1), job("greet", 2)]).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, handed).await.unwrap().expect("a job").leased.jobs.len(), 1);
    tokio::time::timeout(SOON, ready).await.expect("told");
    assert_eq!(lease(&store, 5).await.jobs.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_one_caller_run_in_their_order_whether_handed_over_or_not() {
    let place = Place::new();
    let store = place.open().await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let log = ran.clone();
    let handler = async move |Args(n): Args<u32>| log.lock().unwrap().push(n);
    let worker = QueueWorker::builder(store, Router::new().route("note", handler)).concurrency(1).build().unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    for n in 0..2_000_u32 {
        worker.perform(Job::new("note", n)).await.unwrap();
    }
    let all = async {
        while ran.lock().unwrap().len() < 2_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("all ran");
    worker.stop().await;
    running.await.unwrap().unwrap();
    assert!(ran.lock().unwrap().iter().copied().eq(0..2_000), "{:?}", ran.lock().unwrap());
}
