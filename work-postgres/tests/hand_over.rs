//! An idle runner gets a job of its own process in the transaction that inserts it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::task::Poll;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::poll_immediate;
use support::{Place, complete, count, job, lease, want};
use work_core::store::{Settled, Store};
use work_core::{Clock, DEFAULT_MAX_ARGS, Job, JobState, Queue};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_gets_the_job_with_its_insert_and_nobody_else_does() {
    let place = Place::new();
    let store = place.open().await;
    let mut handed = store.hand_over(want(5));
    assert!(poll_immediate(&mut handed).await.is_none());
    let id = store.insert(vec![job("greet", 1), job("greet", 2)]).await.unwrap()[0].id();
    let handed = tokio::time::timeout(SOON, handed).await.unwrap();
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
    for _ in 0..20 {
        let mut handed = store.hand_over(want(5));
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
    let mut handed = store.hand_over(want(5));
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
    let queues = [Queue::DEFAULT];
    let mut ready = store.ready(&queues);
    let mut handed = store.hand_over(want(5));
    assert!(poll_immediate(&mut ready).await.is_none());
    assert!(poll_immediate(&mut handed).await.is_none());
    let mut later = job("greet", 1);
    later.parts.scheduled_at = Some(Clock::system().now() + TimeDelta::hours(1));
    let other = Job::new("greet", 1).queue("other").into_stored(DEFAULT_MAX_ARGS).unwrap();
    let again = later.clone();
    store.insert(vec![later, other]).await.unwrap();
    store.insert(vec![again]).await.unwrap();
    assert!(poll_immediate(&mut handed).await.is_none());
    // The next one is, and with it whatever else is due.
    store.insert(vec![job("greet", 2)]).await.unwrap();
    let told = std::future::poll_fn(|cx| match handed.as_mut().poll(cx) {
        Poll::Ready(handed) => Poll::Ready(Some(handed)),
        Poll::Pending => ready.as_mut().poll(cx).map(|()| None),
    });
    let told = tokio::time::timeout(SOON, told).await.expect("told in one way or the other");
    let jobs = match told {
        Some(handed) => handed.leased.jobs,
        None => lease(&store, 5).await.jobs,
    };
    assert_eq!(jobs.len(), 1);
    assert_eq!(&*jobs[0].job.args, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_jobs_than_it_wants_the_rest_is_told_of() {
    let place = Place::new();
    let store = place.open().await;
    let queues = [Queue::DEFAULT];
    let mut ready = store.ready(&queues);
    let mut handed = store.hand_over(want(1));
    assert!(poll_immediate(&mut ready).await.is_none());
    assert!(poll_immediate(&mut handed).await.is_none());
    store.insert(vec![job("greet", 1), job("greet", 2)]).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, handed).await.unwrap().leased.jobs.len(), 1);
    tokio::time::timeout(SOON, ready).await.expect("told");
    assert_eq!(lease(&store, 5).await.jobs.len(), 1);
}
