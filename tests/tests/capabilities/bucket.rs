//! Capacity, ids, life spans, cancel and rescue; and the buffered queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use work_core::{
    Accepted, Args, Clock, Job, JobId, LocalWorker, Outcome, PerformError, Rescued, Router, Status, Unique, Worker,
};

use crate::{Meter, millis};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_concurrent_fills_into_five_are_five() {
    for _ in 0..50 {
        let meter = Meter::default();
        let router = Router::new().route("slow", meter.taking(Duration::from_secs(600)));
        let worker = LocalWorker::builder(router).capacity(5).build().unwrap();
        let fills = (0..64).map(|n| {
            let worker = worker.clone();
            tokio::spawn(async move {
                match n % 2 {
                    0 => worker.try_perform(Job::new("slow", ())).is_ok(),
                    _ => {
                        let later = worker.perform_in(Job::new("slow", ()), Duration::from_secs(600));
                        tokio::time::timeout(millis(20), later).await.is_ok_and(|accepted| accepted.is_ok())
                    }
                }
            })
        });
        let accepted = futures_util::future::join_all(fills.collect::<Vec<_>>()).await;
        assert_eq!(accepted.into_iter().filter(|fill| *fill.as_ref().unwrap()).count(), 5);
        assert_eq!(worker.len(), 5);
        worker.rescue(|_, _| {});
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_fills_of_one_id_are_one_in_every_round() {
    let worker = LocalWorker::new(Router::new().route("later", async || {}));
    for round in 0..300 {
        let (id, accepted) = (JobId::new(), Arc::<AtomicUsize>::default());
        let fills = (0..64).map(|n| {
            let (worker, accepted) = (worker.clone(), accepted.clone());
            tokio::spawn(async move {
                let job = Job::new("later", n).with_id(id).unique(Unique::new(format!("bucket:{round}")));
                let handle = worker.perform_in(job, Duration::from_secs(600)).await.unwrap();
                assert_eq!(handle.id(), id);
                accepted.fetch_add(usize::from(handle.accepted() == Accepted::New), Ordering::SeqCst);
            })
        });
        for fill in fills.collect::<Vec<_>>() {
            fill.await.unwrap();
        }
        assert_eq!((accepted.load(Ordering::SeqCst), worker.len()), (1, 1), "round {round}");
        assert!(worker.cancel(id).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_expires_before_it_starts_is_exhausted_once_and_never_runs() {
    let clock = Clock::tokio("2026-01-01T00:00:00Z".parse().unwrap());
    let meter = Meter::default();
    let router = Router::new().route("slow", meter.taking(millis(200)));
    let worker = LocalWorker::builder(router).concurrency(1).clock(clock.clone()).build().unwrap();
    drop(worker.perform(Job::new("slow", ())).await.unwrap());
    let expiring = worker.perform(Job::new("slow", ()).expires_at(clock.now() + millis(100))).await.unwrap();
    let outcome = expiring.outcome().await.unwrap();
    assert!(outcome.error().unwrap().message.contains("expired before it started"));
    worker.stop().await;
    assert_eq!((meter.runs(), worker.counts().expired), (1, 1));

    let worker = LocalWorker::new(Router::new().route("slow", async || {}));
    let expires = Clock::system().now() + millis(100);
    let late = worker.perform_in(Job::new("slow", ()).expires_at(expires), millis(200)).await.unwrap_err();
    assert!(late.to_string().starts_with("expires_at"), "{late}");
    assert!(late.to_string().contains("use an instant after it is due"), "{late}");
}

#[tokio::test(start_paused = true)]
async fn cancelling_works_before_it_is_due_while_it_waits_and_while_it_runs() {
    let meter = Meter::default();
    let router = Router::new().route("slow", meter.taking(millis(60_000)));
    let worker = LocalWorker::builder(router).concurrency(1).build().unwrap();
    let running = worker.perform(Job::new("slow", ())).await.unwrap();
    let waiting = worker.perform(Job::new("slow", ())).await.unwrap();
    let delayed = worker.perform_in(Job::new("slow", ()), millis(10)).await.unwrap();
    tokio::task::yield_now().await;
    let start = Instant::now();
    for handle in [waiting, delayed, running] {
        assert!(worker.cancel(handle.id()).await.unwrap());
        assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    }
    assert!(start.elapsed() <= millis(100));
    sleep(millis(100)).await;
    assert_eq!((meter.runs(), meter.cancelled(), worker.len()), (1, 1, 0));
    assert_eq!(worker.counts().cancelled, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rescue_hands_out_every_unfinished_job_whole_and_leaves_an_empty_usable_worker() {
    for round in 0..50_u64 {
        let meter = Meter::default();
        let inner = meter.clone();
        let handler = move |Args(n): Args<u64>| {
            let meter = inner.clone();
            async move {
                // One of them ends about when the others are rescued.
                let time = if n == 0 { millis(round % 5) } else { millis(60_000) };
                meter.run(sleep(time)).await;
            }
        };
        let router = Router::new().route("slow", handler);
        let worker = LocalWorker::builder(router).concurrency(6).keep_args().build().unwrap();
        let mut handles = Vec::new();
        for n in 0..8_u64 {
            handles.push(worker.perform(Job::new("slow", n)).await.unwrap());
        }
        drop(worker.perform_in(Job::new("slow", 8_u64), millis(60_000)).await.unwrap());
        sleep(millis(2)).await;
        let mut saved = Vec::new();
        worker.rescue(|mut job, was| saved.push((job.take_args::<u64>().unwrap(), was)));
        assert!(worker.is_empty());
        let counts = worker.counts();
        assert_eq!(counts.submitted, counts.open() + counts.ended(), "{counts:?}");
        assert_eq!(counts.rescued + counts.succeeded, 9, "{counts:?}");
        assert_eq!(saved.len() as u64, counts.rescued);
        let mut ids: Vec<u64> = saved.iter().map(|(n, _)| *n).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), saved.len(), "each once");
        assert!(saved.contains(&(8, Rescued::Delayed)));
        for handle in handles {
            let status = handle.outcome().await.unwrap().status();
            assert!([Status::CANCELLED, Status::SUCCESS].contains(&status));
        }
        let next = worker.perform(Job::new("slow", 0_u64)).await.unwrap();
        assert_eq!(next.outcome().await.unwrap().status(), Status::SUCCESS);
        worker.stop().await;
        assert_eq!(meter.now(), 0, "what was rescued was told to stop");
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_knows_its_length_and_dispatches_promptly() {
    let meter = Meter::default();
    let worker =
        LocalWorker::builder(Router::new().route("ten", meter.taking(millis(10)))).capacity(10).build().unwrap();
    assert_eq!((worker.len(), worker.capacity()), (0, 10));
    for _ in 0..2 {
        drop(worker.perform_in(Job::new("ten", ()), millis(1)).await.unwrap());
    }
    assert_eq!((worker.len(), meter.runs()), (2, 0), "nothing runs before it is due");
    for (concurrency, jobs, time, bound) in [(4, 40, 10, 150), (8, 80, 50, 600)] {
        let meter = Meter::default();
        let router = Router::new().route("job", meter.taking(millis(time)));
        let worker = LocalWorker::builder(router).concurrency(concurrency).build().unwrap();
        let start = Instant::now();
        for _ in 0..jobs {
            drop(worker.perform(Job::new("job", ())).await.unwrap());
        }
        worker.stop().await;
        assert!(start.elapsed() <= millis(bound), "{:?}", start.elapsed());
        assert_eq!((meter.runs(), meter.most()), (jobs, concurrency));
    }
}

#[tokio::test]
async fn stopping_drains_what_is_queued_and_a_stopped_or_idle_worker_stops_at_once() {
    let meter = Meter::default();
    let router = Router::new().route("job", meter.taking(millis(1)));
    let worker = LocalWorker::builder(router).concurrency(4).build().unwrap();
    for _ in 0..100 {
        drop(worker.perform(Job::new("job", ())).await.unwrap());
    }
    worker.stop().await;
    assert_eq!((meter.runs(), worker.len()), (100, 0));
    worker.stop().await;
    LocalWorker::new(Router::new()).stop().await;
    let refused = worker.perform(Job::new("job", ())).await.unwrap_err();
    assert!(matches!(refused, PerformError::Stopped), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_producers_of_twenty_thousand_lose_nothing_and_leave_no_task_behind() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let runs = Arc::<AtomicUsize>::default();
    let counted = runs.clone();
    let handler = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    };
    let worker = LocalWorker::new(Router::new().route("count", handler));
    let producers: Vec<_> = (0..8)
        .map(|_| {
            let worker = worker.clone();
            tokio::spawn(async move {
                for n in 0..20_000_u32 {
                    drop(worker.perform(Job::new("count", n)).await.unwrap());
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    worker.stop().await;
    assert_eq!((runs.load(Ordering::SeqCst), worker.counts().succeeded), (160_000, 160_000));
    let settled = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
            sleep(millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("every task ends");
}

#[tokio::test]
async fn the_counts_add_up_at_every_sample() {
    let meter = Meter::default();
    let inner = meter.clone();
    let handler = move |Args(n): Args<u32>| {
        let meter = inner.clone();
        async move {
            meter.run(tokio::task::yield_now()).await;
            if n % 7 == 0 { Outcome::new(Status::INTERNAL_ERROR) } else { Outcome::done() }
        }
    };
    let worker = LocalWorker::builder(Router::new().route("count", handler)).concurrency(50).build().unwrap();
    let mut performed = 0;
    for n in 0..10_000_u32 {
        let job = Job::new("count", n);
        let _ = match n % 10 {
            0 => worker.perform_in(job, millis(u64::from(n % 3))).await.unwrap(),
            _ => worker.perform(job).await.unwrap(),
        };
        performed += 1;
        if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
        let counts = worker.counts();
        assert_eq!(counts.submitted, performed);
        assert_eq!(
            counts.submitted,
            counts.succeeded + counts.failed + counts.delayed + counts.waiting + counts.running
        );
    }
    while worker.counts().delayed > 0 {
        sleep(millis(1)).await;
    }
    worker.stop().await;
    let counts = worker.counts();
    assert_eq!((counts.open(), counts.failed, counts.succeeded), (0, 1_429, 8_571), "{counts:?}");
}
