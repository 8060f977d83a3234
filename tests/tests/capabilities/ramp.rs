//! The concurrent-job runner.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use work_core::source::Delivery;
use work_core::{
    ConcurrentJob, Job, LocalWorker, QueueWorker, Router, Source, Status, Worker, source, store::MemoryStore,
};

use crate::{Meter, millis};

fn worker(meter: &Meter, time: Duration) -> LocalWorker {
    LocalWorker::new(Router::new().route("job", meter.taking(time)))
}

#[tokio::test(start_paused = true)]
async fn one_worker_more_after_each_interval_up_to_the_maximum() {
    let meter = Meter::default();
    let load = ConcurrentJob::every(&worker(&meter, millis(1)), Job::new("job", ()), millis(50))
        .max_workers(20)
        .start_interval(millis(100))
        .start()
        .unwrap();
    sleep(millis(50)).await;
    for k in 0..25 {
        assert_eq!(load.running_workers(), 20.min(1 + k), "at {k} × 100 ms");
        sleep(millis(100)).await;
    }
    load.stop().await;
    assert_eq!((load.running_workers(), meter.now()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn fifty_workers_started_every_50_ms_make_about_213_runs_in_5_s() {
    let meter = Meter::default();
    let load = ConcurrentJob::every(&worker(&meter, millis(1)), Job::new("job", ()), millis(1_000))
        .max_workers(50)
        .start_interval(millis(50))
        .start()
        .unwrap();
    sleep(millis(4_999)).await;
    load.stop().await;
    // The sum over k of floor(5 - 0.05 k) + 1, less what falls on the last instant.
    assert!((202..=224).contains(&meter.runs()), "{}", meter.runs());
}

#[tokio::test(start_paused = true)]
async fn once_is_one_run_for_each_worker_and_then_it_ends_by_itself() {
    let meter = Meter::default();
    let start = Instant::now();
    let load = ConcurrentJob::once(&worker(&meter, millis(5)), Job::new("job", ()))
        .max_workers(3)
        .start_interval(millis(50))
        .start()
        .unwrap();
    load.ended().await;
    assert!(start.elapsed() < millis(200));
    sleep(millis(500)).await;
    assert_eq!((meter.runs(), load.performed(), load.running_workers()), (3, 3, 0));
}

/// Counts how many workers ask it.
struct Counted {
    left: usize,
    lives: Arc<AtomicUsize>,
}

impl Source for Counted {
    type Item = usize;

    fn poll_receive(mut self: Pin<&mut Self>, _: &mut Poll_<'_>) -> Poll<Option<Delivery<usize>>> {
        if self.left == 0 {
            self.lives.fetch_add(1, Ordering::SeqCst);
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Delivery::new(self.left)))
    }
}

#[tokio::test(start_paused = true)]
async fn receiving_ends_with_its_source_and_makes_no_more_workers_than_the_maximum() {
    let (meter, lives) = (Meter::default(), Arc::<AtomicUsize>::default());
    let source = Counted { left: 1_000, lives: lives.clone() };
    let load = ConcurrentJob::receive(&worker(&meter, millis(1)), "job", source)
        .max_workers(4)
        .start_interval(millis(20))
        .start()
        .unwrap();
    load.ended().await;
    sleep(millis(500)).await;
    assert_eq!((meter.runs(), meter.cancelled(), load.performed()), (1_000, 0, 1_000));
    assert!(lives.load(Ordering::SeqCst) <= 4 && meter.most() <= 4);
}

/// Panics when it is asked for the third time.
struct Fragile(usize);

impl Source for Fragile {
    type Item = usize;

    fn poll_receive(mut self: Pin<&mut Self>, _: &mut Poll_<'_>) -> Poll<Option<Delivery<usize>>> {
        self.0 += 1;
        assert_ne!(self.0, 3, "the source is broken for a moment");
        if self.0 > 10 { Poll::Ready(None) } else { Poll::Ready(Some(Delivery::new(self.0))) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_is_replaced_within_one_interval() {
    let meter = Meter::default();
    let load = ConcurrentJob::receive(&worker(&meter, millis(1)), "job", Fragile(0))
        .max_workers(1)
        .start_interval(millis(100))
        .start()
        .unwrap();
    sleep(millis(50)).await;
    assert_eq!((load.running_workers(), meter.runs()), (0, 2));
    sleep(millis(60)).await;
    load.ended().await;
    assert_eq!(meter.runs(), 9);
}

#[tokio::test(start_paused = true)]
async fn stop_returns_when_the_running_jobs_are_done_and_the_worker_itself_goes_on() {
    let meter = Meter::default();
    let worker = worker(&meter, millis(30));
    let load = ConcurrentJob::every(&worker, Job::new("job", ()), millis(40)).max_workers(2).start().unwrap();
    sleep(millis(10)).await;
    let start = Instant::now();
    load.stop().await;
    assert!(start.elapsed() <= millis(100));
    assert_eq!((meter.now(), meter.cancelled()), (0, 0));
    let again = worker.perform(Job::new("job", ())).await.unwrap();
    assert_eq!(again.outcome().await.unwrap().status(), Status::SUCCESS);

    let until = ConcurrentJob::every(&worker, Job::new("job", ()), millis(40)).start().unwrap();
    until.run_until(sleep(millis(100))).await;
    assert_eq!(until.running_workers(), 0);
}

#[tokio::test]
async fn receivers_that_are_stopped_midway_lose_no_message() {
    for round in 0..20_u64 {
        let meter = Meter::default();
        let (sender, items) = async_channel::bounded(100);
        (0..100_u32).for_each(|n| sender.try_send(n).unwrap());
        let load = ConcurrentJob::receive(&worker(&meter, millis(1)), "job", items.clone())
            .max_workers(10)
            .start_interval(millis(1))
            .start()
            .unwrap();
        sleep(millis(round % 10)).await;
        load.stop().await;
        assert_eq!(meter.runs() + items.len(), 100, "round {round}");
        assert_eq!((meter.now(), meter.cancelled()), (0, 0));
    }
}

#[tokio::test]
async fn it_runs_on_a_durable_worker_too() {
    let meter = Meter::default();
    let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("job", meter.taking(millis(1))));
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let (sender, items) = tokio::sync::mpsc::channel(20);
    let load = ConcurrentJob::receive(&worker, "job", source::channel(items)).max_workers(3).start().unwrap();
    for n in 0..20 {
        sender.send(n).await.unwrap();
    }
    drop(sender);
    load.ended().await;
    worker.stop().await;
    running.await.unwrap().unwrap();
    assert_eq!(meter.runs(), 20);
}
