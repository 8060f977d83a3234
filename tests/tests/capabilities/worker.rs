//! The verbs of a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{Instant, sleep};
use work_core::{
    Accepted, Args, Context, Job, JobId, LocalWorker, Overlap, PerformError, QueueWorker, Router, Schedule, State,
    Status, Worker, source, store::MemoryStore,
};

use crate::{Meter, millis};

#[tokio::test(start_paused = true)]
async fn eight_synchronous_performs_overlap_and_an_asynchronous_one_returns_at_once() {
    let meter = Meter::default();
    let worker = LocalWorker::new(Router::new().route("slow", meter.taking(millis(50))));
    let start = Instant::now();
    let all = (0..8).map(|_| async { worker.perform(Job::new("slow", ())).await.unwrap().outcome().await.unwrap() });
    futures_util::future::join_all(all).await;
    assert!(start.elapsed() < millis(60), "{:?}", start.elapsed());
    let start = Instant::now();
    drop(worker.perform(Job::new("slow", ())).await.unwrap());
    assert!(start.elapsed() < millis(5));
    worker.stop().await;
    assert_eq!((meter.runs(), meter.most()), (9, 8));
}

#[tokio::test(start_paused = true)]
async fn a_handler_performs_on_its_own_worker_even_with_one_slot_for_others_to_run() {
    async fn outer(State(worker): State<Arc<std::sync::OnceLock<LocalWorker>>>) -> Status {
        let inner = worker.get().unwrap().perform(Job::new("inner", ())).await.unwrap();
        inner.outcome().await.unwrap().status()
    }
    let slot = Arc::new(std::sync::OnceLock::new());
    let router = Router::new().route("outer", outer).with_state(slot.clone());
    let router = router.merge(Router::new().route("inner", async || Status::NO_RESPONSE)).unwrap();
    let worker = LocalWorker::builder(router).concurrency(2).build().unwrap();
    slot.set(worker.clone()).unwrap();
    let outcome = worker.perform(Job::new("outer", ())).await.unwrap().outcome();
    assert_eq!(tokio::time::timeout(millis(100), outcome).await.unwrap().unwrap().status(), Status::NO_RESPONSE);
}

#[tokio::test(start_paused = true)]
async fn perform_in_and_at_run_once_when_due_and_at_once_if_that_is_past() {
    let start = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let clock = work_core::Clock::tokio(start);
    let meter = Meter::default();
    let router = Router::new().route("due", meter.taking(millis(0)));
    let worker = LocalWorker::builder(router).clock(clock.clone()).build().unwrap();
    drop(worker.perform_in(Job::new("due", ()), millis(100)).await.unwrap());
    drop(worker.perform_at(Job::new("due", ()), start + chrono::TimeDelta::milliseconds(100)).await.unwrap());
    sleep(millis(99)).await;
    assert_eq!(meter.runs(), 0);
    sleep(millis(51)).await;
    assert_eq!(meter.runs(), 2);
    drop(worker.perform_at(Job::new("due", ()), start).await.unwrap());
    drop(worker.perform_at(Job::new("due", ()), chrono::DateTime::UNIX_EPOCH).await.unwrap());
    drop(worker.perform_in(Job::new("due", ()), millis(0)).await.unwrap());
    sleep(millis(20)).await;
    assert_eq!(meter.runs(), 5);
    let cancelled = worker.perform_in(Job::new("due", ()), millis(50)).await.unwrap();
    assert!(worker.cancel(cancelled.id()).await.unwrap());
    assert!(!worker.cancel(cancelled.id()).await.unwrap(), "it is gone");
    assert_eq!(cancelled.outcome().await.unwrap().status(), Status::CANCELLED);
    sleep(millis(100)).await;
    assert_eq!(meter.runs(), 5);
}

#[tokio::test(start_paused = true)]
async fn perform_every_never_overlaps_nor_bursts_unless_it_is_told_to() {
    let meter = Meter::default();
    let worker = LocalWorker::new(Router::new().route("slow", meter.taking(millis(35))));
    let every = worker.perform_every(Job::new("slow", ()), Schedule::every(millis(10)).unwrap()).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(meter.runs(), 1, "the first run is at once");
    sleep(millis(361)).await;
    every.cancel();
    every.ended().await;
    assert!((10..=11).contains(&meter.runs()), "{}", meter.runs());
    assert_eq!(meter.most(), 1);
    assert_eq!(every.made() + every.skipped(), 37, "every slot is a run or is counted as skipped");

    let meter = Meter::default();
    let router = Router::new().route("slow", meter.taking(millis(35)));
    let worker = LocalWorker::builder(router).concurrency(3).build().unwrap();
    let schedule = Schedule::every(millis(10)).unwrap().overlap(Overlap::Allow);
    let every = worker.perform_every(Job::new("slow", ()), schedule.clone()).await.unwrap();
    sleep(millis(361)).await;
    every.cancel();
    assert_eq!(meter.most(), 3, "capped by the concurrency");
    let meter = Meter::default();
    let worker = LocalWorker::new(Router::new().route("slow", meter.taking(millis(35))));
    let every = worker.perform_every(Job::new("slow", ()), schedule).await.unwrap();
    sleep(millis(361)).await;
    every.cancel();
    assert_eq!(meter.most(), 4);
}

#[tokio::test(start_paused = true)]
async fn perform_every_does_not_drift() {
    let late = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (late, start) = (late.clone(), Instant::now());
        move || {
            let micros = start.elapsed().as_micros();
            late.fetch_max((micros % 10_000) as usize, Ordering::SeqCst);
            std::future::ready(())
        }
    };
    let worker = LocalWorker::new(Router::new().route("tick", handler));
    let every = worker.perform_every(Job::new("tick", ()), Schedule::every(millis(10)).unwrap()).await.unwrap();
    sleep(millis(100_000)).await;
    every.cancel();
    assert!((10_000..=10_001).contains(&every.made()), "{}", every.made());
    assert!(late.load(Ordering::SeqCst) <= 1_000, "tokio's timers have milliseconds");
}

#[tokio::test]
async fn a_thousand_messages_of_a_closed_channel_are_a_thousand_runs_and_none_is_cancelled() {
    let meter = Meter::default();
    let worker =
        LocalWorker::builder(Router::new().route("item", meter.taking(millis(2)))).concurrency(50).build().unwrap();
    let (sender, items) = tokio::sync::mpsc::channel(1_000);
    for n in 0..1_000 {
        sender.send(n).await.unwrap();
    }
    drop(sender);
    let receiving = worker.perform_receive("item", source::channel(items)).await.unwrap();
    receiving.ended().await;
    worker.stop().await;
    assert_eq!((meter.runs(), meter.cancelled(), receiving.made()), (1_000, 0, 1_000));
    assert!(meter.most() <= 50);
}

#[tokio::test]
async fn two_hundred_times_performed_and_stopped_the_job_has_finished() {
    for round in 0..200 {
        let meter = Meter::default();
        let worker = LocalWorker::new(Router::new().route("slow", meter.taking(millis(round % 3))));
        drop(worker.perform(Job::new("slow", ())).await.unwrap());
        worker.stop().await;
        assert_eq!((meter.runs(), meter.now(), meter.cancelled()), (1, 0, 0), "round {round}");
        assert!(matches!(worker.perform(Job::new("slow", ())).await, Err(PerformError::Stopped)));
        assert_eq!(meter.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_a_deadline_returns_on_time_and_names_what_it_cut_off() {
    let meter = Meter::default();
    let router = Router::new().route("slow", meter.taking(millis(10_000))).route("quick", meter.taking(millis(20)));
    let worker = LocalWorker::builder(router).concurrency(2).build().unwrap();
    let mut handles = Vec::new();
    for kind in ["slow", "quick", "slow", "slow"] {
        handles.push(worker.perform(Job::new(kind, ())).await.unwrap());
    }
    let delayed = worker.perform_in(Job::new("quick", ()), millis(60_000)).await.unwrap();
    let start = Instant::now();
    let stopped = worker.stop_within(millis(100)).await;
    assert!(start.elapsed() < millis(700), "{:?}", start.elapsed());
    let named =
        |ids: &[(JobId, work_core::Kind)]| ids.iter().map(|(id, _)| *id).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(named(&stopped.interrupted), [handles[0].id(), handles[2].id()].into());
    assert_eq!(named(&stopped.unstarted), [handles[3].id(), delayed.id()].into());
    assert_eq!((meter.now(), meter.cancelled(), worker.len()), (0, 2, 0));
    assert!(delayed.outcome().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn at_most_four_of_a_thousand_run_at_once_and_a_full_worker_lets_its_caller_choose() {
    let meter = Meter::default();
    let router = Router::new().route("slow", meter.taking(millis(1)));
    let worker = LocalWorker::builder(router).concurrency(4).capacity(100).build().unwrap();
    for _ in 0..1_000 {
        drop(worker.perform(Job::new("slow", ())).await.unwrap());
    }
    while worker.len() < worker.capacity() {
        drop(worker.try_perform(Job::new("slow", ())).unwrap());
    }
    let full = worker.try_perform(Job::new("slow", 77)).unwrap_err();
    let PerformError::Full { mut job, capacity } = full else { panic!("{full}") };
    assert_eq!((job.take_args::<i32>().unwrap(), capacity), (77, 100));
    worker.stop().await;
    assert_eq!(meter.most(), 4);
    assert!(meter.runs() >= 1_000);
}

#[tokio::test]
async fn every_verb_of_a_durable_worker_refuses_an_unknown_kind_by_its_name() {
    let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("known", async || {}));
    let job = || Job::new("nobody", ());
    let every = Schedule::every(millis(10)).unwrap();
    let items = futures_util::stream::iter([1]);
    for error in [
        worker.perform(job()).await.err(),
        worker.perform_at(job(), chrono::DateTime::UNIX_EPOCH).await.err(),
        worker.perform_in(job(), millis(5)).await.err(),
        worker.perform_every(job(), every).await.err(),
        worker.perform_receive("nobody", items).await.err(),
        worker.perform_many([job()]).await.err(),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.ends_with("no handler of kind \"nobody\"; the router has: known"), "{error}");
    }
}

#[tokio::test]
async fn a_second_job_of_an_id_or_a_unique_key_is_the_first_one() {
    async fn echo(Args(n): Args<u32>, context: Context) -> work_core::Json<u32> {
        context.cancellation().cancelled().await;
        work_core::Json(n)
    }
    let worker = LocalWorker::new(Router::new().route("echo", echo));
    let job = Job::new("echo", 1_u32).unique(work_core::Unique::new("one"));
    let first = worker.perform(job.clone()).await.unwrap();
    let second = worker.perform(job).await.unwrap();
    let third = worker.perform(Job::new("echo", 2_u32).unique(work_core::Unique::new("one"))).await.unwrap();
    assert_eq!(
        [first.accepted(), second.accepted(), third.accepted()],
        [Accepted::New, Accepted::Duplicate, Accepted::Duplicate]
    );
    assert_eq!(first.id(), third.id());
    worker.cancel(first.id()).await.unwrap();
    for handle in [first, second, third] {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    }
    let free =
        worker.perform_in(Job::new("echo", 3_u32).unique(work_core::Unique::new("one")), millis(5)).await.unwrap();
    assert_eq!(free.accepted(), Accepted::New);
    worker.cancel(free.id()).await.unwrap();
}
