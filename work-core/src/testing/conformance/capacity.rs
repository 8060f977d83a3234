//! Queues that take only so many jobs.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::queues::Running;
use super::runner::becomes;
use super::*;
use crate::runner::Queues;
use crate::store::{CancelOutcome, Inserted, JobFilter};
use crate::{OnConflict, PerformError, QueueFull, QueueWorker, Router, StoreError, Unique, Worker};

async fn try_insert(store: &dyn Inspect, jobs: impl IntoIterator<Item = Job>) -> Result<Vec<Inserted>, StoreError> {
    store.insert(jobs.into_iter().map(stored).collect()).await
}

async fn refused(store: &dyn Inspect, jobs: impl IntoIterator<Item = Job>) -> QueueFull {
    let error = try_insert(store, jobs).await.expect_err("there is no room");
    assert!(!error.is_unknown() && !error.is_full() && !error.is_busy(), "{error:?}");
    error.queue_full().unwrap_or_else(|| panic!("{error:?}")).clone()
}

async fn open(store: &dyn Inspect, queue: &'static str) -> u64 {
    store.counts(JobFilter::all().queue(queue)).await.expect("counts").open()
}

async fn lease_of(store: &dyn Inspect, queue: &'static str, limit: usize) -> Vec<Lease> {
    store.lease(Want { queues: vec![queue.into()], ..want(limit) }).await.expect("lease").jobs
}

/// By type and as a whole; what waits, waits for later and runs is counted, what has ended is not.
pub async fn a_full_queue_refuses_until_jobs_have_ended(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let of = |n| job(n).queue("a");
    assert_eq!(store.bound_queue("a".into(), Some(3)).await.expect("bound"), None);
    insert(&*store, [of(0), of(1).scheduled_at(start() + seconds(60))]).await;
    let full = refused(&*store, [of(2), job(90), of(3)]).await;
    assert_eq!((full.queue.as_str(), full.capacity, full.depth, full.given, full.room()), ("a", 3, 2, 2, 1));
    assert!(full.to_string().contains("queue a is full: 2 of its 3 jobs wait or run, and 2 more do not fit"), "{full}");
    assert_eq!((open(&*store, "a").await, open(&*store, "default").await), (2, 0), "all or nothing");
    insert(&*store, [of(2), job(90)]).await;
    assert_eq!(refused(&*store, [of(3)]).await.depth, 3);
    insert(&*store, (0..10).map(job)).await;

    let leased = lease_of(&*store, "a", 9).await;
    assert_eq!(leased.len(), 2);
    refused(&*store, [of(3)]).await;
    settle(&*store, end(&leased[0], Status::INTERNAL_ERROR, Settlement::Retry { at: start() + seconds(5) })).await;
    refused(&*store, [of(3)]).await;
    settle(&*store, complete(&leased[1])).await;
    let ids = insert(&*store, [of(3)]).await;
    refused(&*store, [of(4)]).await;
    assert_eq!(store.cancel(ids).await.expect("cancel"), [CancelOutcome::Cancelled]);
    clock.advance(seconds(6));
    let again = lease_of(&*store, "a", 9).await;
    settle(&*store, end(&again[0], Status::BAD_REQUEST, Settlement::Discard)).await;
    insert(&*store, [of(4), of(5)]).await;
    assert_eq!(open(&*store, "a").await, 3);
    assert_eq!(store.bound_queue("a".into(), None).await.expect("free"), Some(3));
    insert(&*store, (6..20).map(of)).await;
}

/// A repeat answers the job that is there: what was unknown can always be cleared up.
pub async fn a_job_that_is_there_needs_no_room(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    store.bound_queue("a".into(), Some(2)).await.expect("bound");
    let (first, second) = (stored(job(0).queue("a")), stored(job(1).queue("a").unique(Unique::new("k"))));
    let (one, two) = (first.parts.id, second.parts.id);
    store.insert(vec![first.clone(), second]).await.expect("insert");
    let key = |n| job(n).queue("a").unique(Unique::new("k"));
    let again = vec![first, stored(key(5))];
    assert_eq!(store.insert(again).await.expect("known"), [Inserted::Duplicate(one), Inserted::Duplicate(two)]);
    let replaces = |n| job(n).queue("a").unique(Unique::new("k").on_conflict(OnConflict::ReplaceArgs));
    assert_eq!(refused(&*store, [replaces(7), job(8).queue("a")]).await.given, 1);
    assert_eq!(&*get(&*store, two).await.job.args, b"1", "nothing is changed by what is refused");
    assert_eq!(try_insert(&*store, [replaces(7)]).await.expect("known"), [Inserted::Duplicate(two)]);
    assert_eq!(&*get(&*store, two).await.job.args, b"7");
    let (repeats, others) = ((0..50).map(|_| [key(1)]), (0..50).map(|n| [job(n).queue("a")]));
    for jobs in repeats {
        assert_eq!(try_insert(&*store, jobs).await.expect("known"), [Inserted::Duplicate(two)]);
    }
    for jobs in others {
        refused(&*store, jobs).await;
    }
}

/// What was accepted is never lost for want of room.
pub async fn what_follows_an_accepted_job_goes_into_a_full_queue(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    store.bound_queue("a".into(), Some(1)).await.expect("bound");
    insert(&*store, [job(0), job(1).queue("a")]).await;
    let parent = lease_one(&*store).await;
    let then = vec![stored(job(2).queue("a")), stored(job(3).queue("a"))];
    assert_eq!(settle(&*store, Settle { then, ..complete(&parent) }).await, Settled::Done);
    assert_eq!(open(&*store, "a").await, 3);
    let full = refused(&*store, [job(4).queue("a")]).await;
    assert_eq!((full.capacity, full.given, full.room()), (1, 1, 0));
    let ran = lease_of(&*store, "a", 9).await;
    for lease in &ran {
        settle(&*store, end(lease, Status::BAD_REQUEST, Settlement::Discard)).await;
    }
    insert(&*store, [job(4).queue("a")]).await;
    assert!(store.retry(ran[0].job.parts.id).await.expect("retry"), "a person knows better");
    assert_eq!(open(&*store, "a").await, 2);
}

/// Each of them sees what the others did.
pub async fn a_capacity_holds_among_32_callers(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    store.bound_queue("a".into(), Some(100)).await.expect("bound");
    let callers = (0..32_u32).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut accepted = 0;
            for round in 0..10 {
                let size = (n + round) % 3 + 1;
                match try_insert(&*store, (0..size).map(|n| job(n).queue("a"))).await {
                    Ok(_) => accepted += size,
                    Err(error) => _ = error.queue_full().expect("full, and nothing else"),
                }
            }
            accepted
        })
    });
    let mut accepted = 0;
    for caller in callers.collect::<Vec<_>>() {
        accepted += caller.await.expect("a caller");
    }
    assert!((98..=100).contains(&accepted), "{accepted}: a batch of three may find room for two");
    assert_eq!(open(&*store, "a").await, u64::from(accepted));
}

/// Ten times what fits: they are told, come again, and what was accepted is done once.
pub async fn producers_that_are_too_fast_are_told_and_lose_nothing(make: &impl MakeStore) {
    const CAPACITY: u32 = 50;
    let (store, _) = store(make).await;
    store.bound_queue("a".into(), Some(CAPACITY)).await.expect("bound");
    let (done, gate) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let (counted, opens) = (done.clone(), gate.clone());
    let handler = move || {
        let (counted, opens) = (counted.clone(), opens.clone());
        async move {
            opens.cancelled().await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    let router = Router::new().route("test", handler);
    let running = Running::start(&store, &router, Queues::strict(["a"]), 4);
    let worker = QueueWorker::new(store.clone(), router);
    let (refused, mut refusals) = tokio::sync::mpsc::channel(10 * CAPACITY as usize);
    let producers = (0..10 * CAPACITY).map(|n| {
        let (worker, refused, gate) = (worker.clone(), refused.clone(), gate.clone());
        tokio::spawn(async move {
            loop {
                match worker.perform(job(n).queue("a").priority((n % 10) as u8)).await {
                    Err(PerformError::QueueFull(full)) => _ = refused.try_send(full),
                    answer => return answer.expect("accepted").id(),
                }
                gate.cancelled().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    for _ in CAPACITY..10 * CAPACITY {
        let full = refusals.recv().await.expect("nine of ten are refused");
        assert_eq!((full.capacity, full.depth, full.given), (CAPACITY, u64::from(CAPACITY), 1));
    }
    assert_eq!(open(&*store, "a").await, u64::from(CAPACITY));
    gate.cancel();
    while !producers.iter().all(tokio::task::JoinHandle::is_finished) {
        let open = open(&*store, "a").await;
        assert!(open <= u64::from(CAPACITY), "{open} wait or run");
    }
    for producer in producers {
        producer.await.expect("a producer");
    }
    becomes(async || open(&*store, "a").await == 0).await;
    running.stop().await;
    assert_eq!(done.load(Ordering::SeqCst), 10 * CAPACITY as usize);
}

/// A handler that is in the full queue is refused too, and does not wait for itself.
pub async fn a_handler_that_inserts_into_its_own_full_queue_is_told(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    store.bound_queue("a".into(), Some(1)).await.expect("bound");
    let (told, mut answers) = tokio::sync::mpsc::channel(1);
    let inner = store.clone();
    let router = Router::new().route("test", move || {
        let (store, told) = (inner.clone(), told.clone());
        async move { told.send(refused(&*store, [job(1).queue("a")]).await.depth).await.expect("heard") }
    });
    let running = Running::start(&store, &router, Queues::strict(["a"]), 4);
    let worker = QueueWorker::new(store, router);
    worker.perform(job(0).queue("a")).await.expect("accepted");
    assert_eq!(answers.recv().await, Some(1));
    running.stop().await;
}

/// It is listed with its queue; what is none is refused.
pub async fn a_capacity_is_part_of_what_a_queue_tells(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    assert_eq!(store.bound_queue("a".into(), Some(3)).await.expect("bound"), None);
    assert_eq!(store.bound_queue("a".into(), Some(10_000_000)).await.expect("bound"), Some(3));
    insert(&*store, [job(1)]).await;
    let queues = store.queues().await.expect("queues");
    let capacities: Vec<_> = queues.iter().map(|info| (info.queue.as_str(), info.capacity)).collect();
    assert_eq!(capacities, [("a", Some(10_000_000)), ("default", None)]);
    assert_eq!(store.bound_queue("b".into(), None).await.expect("was free"), None);
    for (queue, given) in [("a", 0), ("a", 10_000_001), ("no queue", 1), ("a:*", 1)] {
        let error = store.bound_queue(queue.into(), Some(given)).await.expect_err("refused").to_string();
        let says = if queue == "a" { "capacity" } else { "invalid queue name" };
        assert!(error.contains(says), "{error}");
    }
}
